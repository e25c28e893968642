// What became of each mail. The broker delivers a request again whenever it is not sure that it was handled, even one that was
// acknowledged, if it is killed right after; the ledger is what keeps such a repetition from being a second mail.

import { openJournal } from "./journal.mjs";

const day = 24 * 60 * 60 * 1000;

// A mail whose outcome nobody knows (we were killed, or the relay's answer never came) is sent this often at most, under the same
// Message-ID, so that a mail program can fold the copies.
const maxUncertainSends = 3;

// openLedger loads the ledger. Every method resolves once its line is on disk. A mail is {id, series, place, giveUpAt}: of a
// series, a mail in a later place makes those before it pointless. An outcome is {state: "accepted" | "failed", at, reason?,
// smtpStatus?} and stays the same however often it is read, so that a fact that is told again is the same fact, word by word.
export async function openLedger(file) {
  // The stream keeps a request for 7 days; after that nothing is delivered again.
  const journal = await openJournal(file, (line) => Date.now() - Date.parse(line.at) < 8 * day);
  const sends = new Map(); // of unknown outcome, by mail
  const outcomes = new Map();
  const newest = new Map(); // place, by series

  function take({ mail, series, place, ...entry }) {
    if (isLater(place, newest.get(series))) newest.set(series, place);
    if (entry.state === "sending") sends.set(mail, (sends.get(mail) ?? 0) + 1);
    else if (entry.state === "released") sends.set(mail, (sends.get(mail) ?? 1) - 1);
    else outcomes.set(mail, entry);
  }
  journal.lines.forEach(take);

  async function write({ id, series, place }, entry) {
    const line = { mail: id, series, place, at: new Date().toISOString(), ...entry };
    await journal.append(line);
    take(line);
    return outcomes.get(id);
  }

  return {
    // claim returns the outcome of a mail that has one. Without one the caller sends the mail, and then settles or releases it.
    async claim(mail) {
      const known = outcomes.get(mail.id);
      if (known) return known;
      const failed = (reason) => write(mail, { state: "failed", reason });
      if ((sends.get(mail.id) ?? 0) >= maxUncertainSends) return failed("mail-outcome-unknown");
      if (Date.now() >= mail.giveUpAt) return failed("mail-never-accepted");
      // While this one waited, the address was corrected or another mail asked for.
      if (isLater(newest.get(mail.series), mail.place)) return failed("mail-superseded");
      return write(mail, { state: "sending" });
    },
    accepted: (mail) => write(mail, { state: "accepted" }),
    refused: (mail, smtpStatus) => write(mail, { state: "failed", reason: "mail-rejected", smtpStatus }),
    // release takes the claim back: the mail was certainly not sent, and may be later.
    release: (mail) => write(mail, { state: "released" }),
  };
}

function isLater(a, b) {
  if (!a || !b) return Boolean(a);
  return a[0] > b[0] || (a[0] === b[0] && a[1] > b[1]);
}
