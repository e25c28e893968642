// What the mails say. Bring your own words and layout; keep what the comments ask for.

// letter returns the parts that all mails have.
function letter(tenant, to, id, subject, lines) {
  return {
    from: tenant.from,
    replyTo: tenant.replyTo,
    to,
    // The same for every copy of a mail: RFC 5322 section 3.6.4.
    messageId: `<${id}>`,
    subject,
    text: lines.join("\n"),
    // RFC 3834 and Exchange: no vacation notes, please.
    headers: { "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All" },
  };
}

// activationLetter goes to an address that somebody typed. A mistyped one leads it to a stranger, so it holds no more than the end of
// the account number.
export function activationLetter(tenant, id, { to, username, companyName, accountNumber, validForSeconds }, link) {
  const whose = companyName ? `the account of ${oneLine(companyName)}` : "an account";
  const end = tail(accountNumber);
  return letter(tenant, to, id, `Finish signing up for your ${tenant.name} account`, [
    `Hello ${oneLine(username)},`,
    "",
    `you signed up for online access to ${whose}`,
    `with ${tenant.name}${end && ` (account number ending in ${end})`}.`,
    "",
    "To finish, open this link and choose a password:",
    "",
    `   ${link}`,
    "",
    `The link works for ${inWords(validForSeconds)}. If this was not you, do nothing: the request ends by itself.`,
    "",
    `Questions? ${tenant.support}`,
  ]);
}

// noticeLetter goes to the billing address of record. It does not say which username or address was chosen (47 CFR 64.2010 (f)).
export function noticeLetter(tenant, id, { to, companyName, accountNumber, activatedAt }) {
  const account = oneLine(accountNumber) + (companyName ? ` (${oneLine(companyName)})` : "");
  const when = new Intl.DateTimeFormat("en-US", { dateStyle: "full", timeStyle: "short", timeZone: tenant.timeZone });
  return letter(tenant, to, id, `Online access was set up for your ${tenant.name} account`, [
    `Online access to account ${account} with ${tenant.name} was set up on`,
    `${when.format(new Date(activatedAt))}.`,
    "",
    "If you or a colleague did this, nothing is left to do. If nobody at your company did, tell us right away.",
    "",
    tenant.support,
  ]);
}

// resetLetter names the username, too: customers who forgot only that one ask for the same mail.
export function resetLetter(tenant, id, { to, username }, link, until) {
  const when = new Intl.DateTimeFormat("en-US", { dateStyle: "full", timeStyle: "long", timeZone: tenant.timeZone });
  return letter(tenant, to, id, `Your ${tenant.name} username, and a link for a new password`, [
    `Your username is ${oneLine(username)}.`,
    "",
    "To choose a new password, open this link:",
    "",
    `   ${link}`,
    "",
    `It works once, until ${when.format(new Date(until))}. If this was not you, do nothing: your password stays as it is.`,
    "",
    `Questions? ${tenant.support}`,
  ]);
}

// oneLine keeps somebody else's text from starting a line of its own.
function oneLine(text) {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}]/gu, " ").trim();
}

// tail is what the owner of an account recognizes; a short number has none.
function tail(account) {
  const characters = [...oneLine(account)];
  return characters.slice(characters.length - Math.min(4, Math.floor(characters.length / 2))).join("");
}

function inWords(seconds) {
  const [size, unit] = [[86400, "day"], [3600, "hour"]].find(([size]) => seconds % size === 0) ?? [60, "minute"];
  const n = Math.floor(seconds / size);
  return `${n} ${unit}${n === 1 ? "" : "s"}`;
}
