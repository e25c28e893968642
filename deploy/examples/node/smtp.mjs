// Hands one mail to an SMTP relay, and tells apart what a ledger must know: taken, refused, not now, and nobody knows.
//
// It drives nodemailer's SMTPConnection rather than its transport, since everything hangs on where a mail failed: the transport
// does not tell a connection that broke before the whole mail was out (not sent) from one that broke after it (unknown).

import { Readable } from "node:stream";
import MailComposer from "nodemailer/lib/mail-composer";
import SMTPConnection from "nodemailer/lib/smtp-connection";

// NotSent: the relay did certainly not take the mail. Its text holds no word of the relay's, which may quote the address.
export class NotSent extends Error {
  constructor(err) {
    super(`SMTP ${err.command}: ${err.responseCode ? `the relay answered ${err.responseCode}` : err.code}`);
    this.smtpStatus = err.responseCode; // absent: the relay gave no answer
    // Nothing can be sent until a person mends the settings. RFC 4954 section 6.
    this.isMisconfigured = ["EAUTH", "ETLS"].includes(err.code) || [530, 534, 535, 538].includes(err.responseCode);
    // This mail will never be taken. A 5xx before MAIL FROM is about us and not about the mail.
    this.isFinal = !this.isMisconfigured && err.responseCode >= 500 && ["MAIL FROM", "RCPT TO", "DATA"].includes(err.command);
  }
}

// Uncertain: the whole mail was out, and no answer came.
export class Uncertain extends Error {}

// relayAt reads smtp://[user:password@]host:port (STARTTLS, required unless the relay is on this machine) or smtps://…
export function relayAt(url) {
  const { protocol, hostname, port, username, password } = new URL(url);
  const secure = protocol === "smtps:";
  const here = ["127.0.0.1", "[::1]", "localhost"].includes(hostname);
  return {
    connection: {
      host: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port) || (secure ? 465 : 587),
      secure,
      requireTLS: !secure && !here,
      ignoreTLS: !secure && here,
      connectionTimeout: 5_000,
      greetingTimeout: 10_000,
      socketTimeout: 30_000,
    },
    auth: username ? { user: decodeURIComponent(username), pass: decodeURIComponent(password) } : undefined,
  };
}

// send resolves once the relay has taken responsibility for the mail. It throws NotSent or Uncertain.
export async function send(relay, mail) {
  const composed = new MailComposer(mail).compile();
  const content = Readable.from([await composed.build()]);
  let out = false; // once all of it went to the connection, only an answer tells
  content.once("end", () => (out = true));
  const connection = new SMTPConnection(relay.connection);
  try {
    await new Promise((resolve, reject) => {
      const next = (step) => (err) => (err ? reject(err) : step());
      connection.once("error", reject);
      connection.once("end", () => reject(Object.assign(new Error("closed"), { code: "ECONNECTION", command: "CONN" })));
      const hand = () => connection.send(composed.getEnvelope(), content, next(resolve));
      connection.connect(next(() => (relay.auth ? connection.login(relay.auth, next(hand)) : hand())));
    });
  } catch (err) {
    if (out && !err.responseCode) throw new Uncertain("SMTP: no answer to the whole mail; it may have been sent");
    throw new NotSent(err);
  } finally {
    connection.on("error", () => {}); // the mail is settled, whatever becomes of the farewell
    connection.quit();
  }
}
