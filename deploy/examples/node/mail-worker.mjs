// A complete mail worker, to run in place of `billcenter run mailer`: it sends the mails that events on MAIL ask for, and says on
// ENROLLMENT what became of the activation mails.
//
//   node mail-worker.mjs --link-key-file FILE --ledger FILE [--smtp smtp://127.0.0.1:1025] [--tenants tenants.json]
//   node mail-worker.mjs --self-test activation-links.json
//
// The order is what it promises by: claim in the ledger, send, write down the outcome, publish it and await the PubAck, and only
// then acknowledge the request. Killed anywhere in between, the request comes again and goes on where it stopped.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { brokerOptions, connect, publish } from "./broker.mjs";
import { decode, encode, Unreadable } from "./cloudevents.mjs";
import { openLedger } from "./ledger.mjs";
import { activationLetter, noticeLetter, resetLetter, securityNoticeLetter } from "./letters.mjs";
import { mint, readKey, selfTest } from "./link.mjs";
import { NotSent, relayAt, send } from "./smtp.mjs";

const { values: options } = parseArgs({
  options: {
    ...brokerOptions,
    smtp: { type: "string", default: process.env.SMTP_URL ?? "smtp://127.0.0.1:1025" },
    tenants: { type: "string", default: new URL("tenants.json", import.meta.url).pathname },
    "link-key-file": { type: "string" },
    ledger: { type: "string" },
    "self-test": { type: "string" },
  },
});

if (options["self-test"]) {
  console.log(`${selfTest(options["self-test"])} test vectors agree`);
  process.exit(0);
}
if (!options["link-key-file"] || !options.ledger) {
  console.error("usage: mail-worker.mjs --link-key-file FILE --ledger FILE | --self-test FILE");
  process.exit(2);
}

const minute = 60_000;
const lanes = 8; // mails on their way at a time
const pauses = [1, 5, 15, 60, 180].map((n) => n * minute); // after each "not now" of the relay; the last goes on
const noticeLife = 5 * 24 * 60 * minute; // RFC 5321 section 4.5.4.1

const tenants = JSON.parse(readFileSync(options.tenants, "utf8"));
const linkKey = readKey(options["link-key-file"]);
const relay = relayAt(options.smtp);
const ledger = await openLedger(options.ledger);
const { nc, js } = await connect("example mail worker", options);

// Later: the request cannot be handled yet. It comes again after the pause, for as long as the stream keeps it.
class Later extends Error {
  constructor(message, pause) {
    super(message);
    this.pause = pause;
  }
}

// Misconfigured: nothing can be handled until a person mends something. Requests stay where they are.
class Misconfigured extends Error {}

async function activation(event, delivery) {
  const request = event.data;
  const { generation, number = 1 } = request;
  check(request, "enrollmentId", ["to", "username", "accountNumber"]);
  for (const count of [generation, number, request.validForSeconds]) {
    if (!Number.isInteger(count) || count < 1 || count > 0xffffffff) throw new Unreadable("generation, number or validForSeconds is no count");
  }
  const tenant = tenantOf(event);
  const mail = {
    id: `${request.enrollmentId}.activation.${generation}.${number}@${new URL(tenant.baseURL).hostname}`,
    series: request.enrollmentId,
    place: [generation, number],
    giveUpAt: instant(request.requestedAt) + request.validForSeconds * 1000,
  };
  const token = mint(linkKey, { tenant: event.tenant, enrollmentId: request.enrollmentId, generation, address: request.to });
  // The host comes from our own settings, never from the event.
  const link = `${tenant.baseURL.replace(/\/$/, "")}/activate/${token}`;
  const outcome = await deliver(mail, activationLetter(tenant, mail.id, request, link), delivery);
  await publish(js, "ENROLLMENT", outcomeFact(event, generation, outcome));
}

async function notice(event, delivery) {
  const request = event.data;
  check(request, "enrollmentId", ["to", "accountNumber"]);
  const tenant = tenantOf(event);
  const mail = {
    id: `${request.enrollmentId}.notice.1.1@${new URL(tenant.baseURL).hostname}`,
    series: `${request.enrollmentId} notice`,
    place: [1, 1],
    giveUpAt: instant(request.activatedAt) + noticeLife,
  };
  await deliver(mail, noticeLetter(tenant, mail.id, request), delivery); // no fact follows
}

async function reset(event, delivery) {
  const request = event.data;
  check(request, "resetId", ["to", "username"]);
  if (!Number.isInteger(request.validForSeconds)) throw new Unreadable("validForSeconds is no count");
  const tenant = tenantOf(event);
  const until = instant(request.requestedAt) + request.validForSeconds * 1000;
  const mail = {
    id: `${request.resetId}.password-reset.1.1@${new URL(tenant.baseURL).hostname}`,
    series: `${request.resetId} password-reset`,
    place: [1, 1],
    giveUpAt: until,
  };
  const purpose = "billcenter/password-reset/v1";
  const token = mint(linkKey, { tenant: event.tenant, enrollmentId: request.resetId, generation: 1, address: request.to, purpose });
  const link = `${tenant.baseURL.replace(/\/$/, "")}/reset-password/${token}`;
  await deliver(mail, resetLetter(tenant, mail.id, request, link, until), delivery); // no fact follows
}

async function securityNotice(event, delivery) {
  const request = event.data;
  check(request, "noticeId", ["to", "kind"]);
  const tenant = tenantOf(event);
  const id = `${request.noticeId}.${request.kind}.1.1@${new URL(tenant.baseURL).hostname}`;
  const content = securityNoticeLetter(tenant, id, request);
  // Words of another kind would be wrong: it waits for the worker that knows it.
  if (!content) throw new Later(`no letter for ${request.kind}`, 10 * minute);
  const mail = {
    id,
    series: `${request.noticeId} ${request.kind}`,
    place: [1, 1],
    giveUpAt: instant(request.occurredAt) + noticeLife,
  };
  await deliver(mail, content, delivery); // no fact follows
}

const handlers = new Map([
  ["net.billcenter.activation.requested.v1", activation],
  ["net.billcenter.enrollment-notice.requested.v1", notice],
  ["net.billcenter.password-reset.requested.v1", reset],
  ["net.billcenter.security-notice.requested.v1", securityNotice],
]);

// check looks at what would go wrong unseen. The address must be one that SMTP cannot read as something else.
function check(request, id, texts) {
  for (const name of [id, ...texts]) {
    if (typeof request[name] !== "string" || request[name] === "") throw new Unreadable(`data.${name} is missing`);
  }
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(request[id])) throw new Unreadable(`data.${id} is not a UUID`);
  if (!/^[^\s<>()[\]\\,;:@"%!]+@[^\s<>()[\]\\,;:@"%!]+$/.test(request.to)) throw new Unreadable("data.to is not a plain address");
}

function instant(text) {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new Unreadable("a time is missing or not RFC 3339");
  return ms;
}

function tenantOf(event) {
  const tenant = tenants[event.tenant];
  if (!tenant) throw new Later(`unknown tenant ${event.tenant}`, 10 * minute);
  return tenant;
}

// Requests for the same mail that are here at the same time: the broker delivers again what takes longer than its AckWait.
const busy = new Set();

// deliver brings a mail to its outcome, from the ledger or by sending it.
async function deliver(mail, content, delivery) {
  if (busy.has(mail.id)) throw new Later("the mail is being sent", minute);
  busy.add(mail.id);
  try {
    return (await ledger.claim(mail)) ?? (await attempt(mail, content, delivery));
  } finally {
    busy.delete(mail.id);
  }
}

async function attempt(mail, content, delivery) {
  try {
    await send(relay, content);
  } catch (err) {
    const pause = pauses[Math.min(delivery, pauses.length) - 1];
    // No answer to the whole mail: the claim stays, so that the ledger counts it and allows another try, or not.
    if (!(err instanceof NotSent)) throw new Later(err.message, pause);
    if (err.isFinal) return ledger.refused(mail, err.smtpStatus);
    await ledger.release(mail);
    if (err.isMisconfigured) throw new Misconfigured(err.message);
    // It comes back when it is to be given up at the latest.
    throw new Later(err.message, Math.min(pause, Math.max(mail.giveUpAt - Date.now(), minute)));
  }
  return ledger.accepted(mail);
}

// outcomeFact says what became of an activation mail. Its id is derived from the request, and all that it says comes from the
// request and the ledger: however often the request is delivered, the fact is the same one.
function outcomeFact(request, generation, outcome) {
  const name = outcome.state === "accepted" ? "activation-mailed" : "activation-mail-failed";
  const type = `net.billcenter.enrollment.${name}.v1`;
  const { enrollmentId, accountRef } = request.data;
  const cause = [request.tenant, `${request.source}#${request.id}`, "mail outcome"].join("\n");
  return encode(`enrollment.${request.tenant}.${name}`, {
    specversion: "1.0",
    id: createHash("sha256").update(cause).digest("hex").slice(0, 32),
    source: `//${request.tenant}.billcenter.net/mail-worker`,
    type,
    subject: enrollmentId,
    time: outcome.at,
    datacontenttype: "application/json",
    dataschema: `https://schemas.billcenter.net/events/${type}.json`,
    traceparent: request.traceparent,
    data: {
      // The keyed hash of the account is Bill Center's alone to make. A request of an earlier release lacks it.
      accountRef: accountRef ?? `enrollment.${enrollmentId}`,
      enrollmentId,
      occurredAt: outcome.at, // from here on the link lives
      reason: outcome.reason,
      generation,
      smtpStatus: outcome.smtpStatus,
    },
  });
}

// settle handles one message and gives the broker its answer. An error of a kind that nobody thought of is tried again, for
// ever and ever more slowly: that delays a mail and never loses one.
async function settle(message) {
  const delivery = message.info.deliveryCount;
  const entry = { sequence: message.seq, delivery };
  const working = setInterval(() => message.working(), 30_000); // AckWait is two minutes
  try {
    const event = decode(message);
    entry.event = event.id;
    const handle = handlers.get(event.type);
    // A type or a major version of the future: it stays on the stream for the worker that will know it.
    if (!handle) throw new Later(`no handler for ${event.type}`, 10 * minute);
    await handle(event, delivery);
    await message.ackAck(); // and if this answer is lost, the ledger knows the mail
    log("done", entry);
  } catch (err) {
    if (err instanceof Unreadable) {
      // No try will ever read it. It is delivered no more, but stays on the stream: `nats stream get MAIL <sequence>`.
      message.term(err.message);
      return log("unreadable", { ...entry, error: err.message });
    }
    if (err instanceof Misconfigured) stop(1);
    message.nak(err.pause ?? Math.min(1000 * 2 ** Math.min(delivery - 1, 6), minute));
    log("again", { ...entry, error: err.message });
  } finally {
    clearInterval(working);
  }
}

// log tells ids and reasons; never an address, a link or a payload.
function log(what, entry) {
  console.error(JSON.stringify({ time: new Date().toISOString(), what, ...entry }));
}

let stopping = false;

function stop(code = 0) {
  stopping = true;
  process.exitCode = code || process.exitCode;
}
process.on("SIGTERM", () => stop());
process.on("SIGINT", () => stop());
nc.closed().then(() => stopping || stop(1));

// lane asks for one message at a time: what lies in a client's buffer is not being handled, and its AckWait is running.
async function lane(consumer) {
  while (!stopping) {
    try {
      const message = await consumer.next({ expires: 5_000 });
      if (message) await settle(message);
    } catch (err) {
      log("broker", { error: err.message });
      await sleep(1_000);
    }
  }
}

// The durable is made by `billcenter migrate` (and by `up`). A worker that made its own would read everything again.
const consumer = await js.consumers.get("MAIL", "mailer");
log("ready", { lanes });
await Promise.all(Array.from({ length: lanes }, () => lane(consumer)));
await nc.drain();
