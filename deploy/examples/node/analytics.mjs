// An analytics consumer: counts the steps of the funnel from the facts on ENROLLMENT, and prints them as JSON.
//
//   node analytics.mjs --once                              all facts there are, from the beginning
//   node analytics.mjs --until 100                         until so many facts are counted
//   node analytics.mjs --durable NAME --journal FILE …     goes on where it stopped, with a consumer that was made for it
//
// A fact arrives at least once, in any order. So it is counted by (tenant, source, id), which name it, and a step is reached by an
// enrollment and not by a message.

import { parseArgs } from "node:util";
import { brokerOptions, connect } from "./broker.mjs";
import { decode, Unreadable } from "./cloudevents.mjs";
import { openJournal } from "./journal.mjs";

const { values: options } = parseArgs({
  options: {
    ...brokerOptions,
    tenant: { type: "string" }, // one tenant's facts only
    durable: { type: "string" },
    journal: { type: "string" },
    once: { type: "boolean", default: false },
    until: { type: "string" },
  },
});
if (Boolean(options.durable) !== Boolean(options.journal)) {
  console.error("analytics.mjs: --durable and --journal go together: the broker does not send again what was acknowledged");
  process.exit(2);
}
const enough = options.until === undefined ? Infinity : Number(options.until);

const steps = ["invited", "registered", "activation-mailed", "activation-opened", "activated", "signed-in", "invoice-viewed"];

const seen = new Set(); // grows with the facts; a program for years of them keeps it in its database, beside what it counts
const facts = new Map(); // how many, by name
const reached = new Map(); // by which enrollments or accounts, by name
let duplicates = 0;
let unreadable = 0;

// count takes a fact in once and reports whether it was new.
function count({ key, name, journey }) {
  if (seen.has(key)) return false;
  seen.add(key);
  facts.set(name, (facts.get(name) ?? 0) + 1);
  if (!reached.has(name)) reached.set(name, new Set());
  reached.get(name).add(journey);
  return true;
}

// read makes a line of a message: what is counted and nothing more. undefined: it is not for us.
function read(message) {
  try {
    const event = decode(message);
    if (options.tenant && event.tenant !== options.tenant) return undefined;
    // Another major version is another fact: it is counted under its own name until somebody learns to read it.
    const name = event.type.replace(/^net\.billcenter\.enrollment\./, "").replace(/\.v1$/, "");
    const journey = event.data.enrollmentId ?? event.data.accountRef; // there is no enrollment before a registration
    return { key: [event.tenant, event.source, event.id].join("\n"), name, journey: `${event.tenant}\n${journey}` };
  } catch (err) {
    if (!(err instanceof Unreadable)) throw err;
    unreadable++; // one bad message must not hold up the good ones behind it
    return undefined;
  }
}

const { nc, js } = await connect("example analytics", options);
const journal = options.journal && (await openJournal(options.journal));
journal?.lines.forEach(count);

// Without a name the client makes an ordered consumer: it reads from the first fact on, keeps no place on the broker, and repairs
// gaps by itself. It needs the right to create consumers, which an account for analytics rather has not.
const consumer = await js.consumers.get("ENROLLMENT", options.durable);

while (seen.size < enough) {
  const batch = [];
  for await (const message of await consumer.fetch({ max_messages: 500, expires: 1_000 })) batch.push(message);
  const fresh = [];
  for (const message of batch) {
    const line = read(message);
    if (line && !count(line)) duplicates++;
    else if (line) fresh.push(line);
  }
  if (journal) {
    await journal.append(...fresh); // on disk first: what is acknowledged does not come again
    await Promise.all(batch.map((message) => message.ackAck()));
  }
  if (options.once && batch.length === 0 && (await consumer.info()).num_pending === 0) break;
}

console.log(
  JSON.stringify(
    {
      facts: seen.size,
      duplicates,
      unreadable,
      steps: steps.map((step) => ({ step, facts: facts.get(step) ?? 0, reached: reached.get(step)?.size ?? 0 })),
      others: Object.fromEntries([...facts].filter(([name]) => !steps.includes(name))),
    },
    null,
    2,
  ),
);
await nc.drain();
