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
export function activationLetter(tenant, id, request, link) {
  const { to, username, companyName, accountNumber, validForSeconds, signedUpAt, signedUpWith, hasLogIn } = request;
  const whose = companyName ? `the account of ${oneLine(companyName)}` : "an account";
  const end = tail(accountNumber);
  const when = new Intl.DateTimeFormat("en-US", { dateStyle: "full", timeStyle: "long", timeZone: tenant.timeZone });
  const began = signedUpAt ? ` Somebody gave your address on ${when.format(new Date(signedUpAt))}${signedUpWith ? `, with ${oneLine(signedUpWith)}` : ""}.` : "";
  const logIn = hasLogIn ? ["This address has a log-in already. The account can be added to it instead: log in and choose “Add another account”.", ""] : [];
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
    `The link works for ${inWords(validForSeconds)}.`,
    "",
    ...logIn,
    `This was not you?${began} Cancel the sign-up here, or do nothing: it ends by itself.`,
    "",
    `   ${link}/not-me`,
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

// securityNoticeLetter tells somebody what was done, or tried, to their account or log-in; nothing for a kind that it does not
// know. It has no link: a forged copy of one that has none is told from it.
export function securityNoticeLetter(tenant, id, { kind, to, username, companyName, accountNumber, occurredAt }) {
  const format = new Intl.DateTimeFormat("en-US", { dateStyle: "full", timeStyle: "short", timeZone: tenant.timeZone });
  const when = format.format(new Date(occurredAt));
  const company = companyName ? ` (${oneLine(companyName)})` : "";
  const account = accountNumber ? `account ${oneLine(accountNumber)}${company}` : "your account";
  const end = accountNumber ? tail(accountNumber) : "";
  const words = {
    "code-tried": ["A registration code of your account was tried again", [
      `Somebody tried to sign up for ${account} on ${when}, with one of its registration codes.`,
      "Online access was set up before, so nobody got in. If nobody at your company did this, tell us.",
    ]],
    "locked": ["Wrong registration codes were tried for your account", [
      `Somebody tried several wrong registration codes for ${account}, the last one on ${when}.`,
      "Nobody got in, and nothing of yours is locked. If you get this message again, tell us.",
    ]],
    // Nobody may have confirmed the address: no more than the end of the account number.
    "enrollment-closed": ["Your sign-up has ended: the account was closed", [
      `Billing closed the account${end && ` ending in ${end}`} that you signed up for. Your sign-up ended on ${when}.`,
      "If the account should not be closed, call us.",
    ]],
    "password-changed": ["The password of your log-in was changed", [
      `The password of ${username ? oneLine(username) : "your log-in"} was changed on ${when}.`,
      "If it was not you, set a new password at once on the log-in page, and tell us.",
    ]],
  }[kind];
  return words && letter(tenant, to, id, `${tenant.name}: ${words[0]}`, [...words[1], "", tenant.support]);
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
