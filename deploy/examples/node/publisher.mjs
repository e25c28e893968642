// A billing publisher: says that invoices were e-mailed.
//
//   node publisher.mjs [--tenant mongo] [--binary] FILE     .json: an object or an array; else NDJSON; - for standard input
//   node publisher.mjs --data '{"accountNumber": …}'
//
// Each item is the data of an InvoiceEmailed or a whole CloudEvent. Check a file first with `billcenter events validate FILE`:
// an event that breaks the contract is taken by the broker, and becomes a dead letter at the reader.

import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { brokerOptions, connect, publish } from "./broker.mjs";
import { encode } from "./cloudevents.mjs";

const { values: options, positionals: files } = parseArgs({
  allowPositionals: true,
  options: {
    ...brokerOptions,
    tenant: { type: "string", default: "mongo" },
    source: { type: "string" }, // names this publisher: ids must be unique under it
    data: { type: "string", multiple: true, default: [] },
    binary: { type: "boolean", default: false },
  },
});
if (files.length + options.data.length === 0) {
  console.error("usage: publisher.mjs [--tenant ID] [--binary] FILE... | --data JSON...");
  process.exit(2);
}
const source = options.source ?? `//${options.tenant}.billcenter.net/billing`;

// How many events may wait for their PubAck at a time. Each is stored on disk before it is acknowledged, so one at a time
// would spend its time waiting.
const window = 256;

const types = new Map([
  ["net.billcenter.invoice.emailed.v1", "invoice.emailed"],
  ["net.billcenter.account.closed.v1", "account.closed"],
  ["net.billcenter.payment-method.changed.v1", "payment-method.changed"],
]);

function toEvent(item) {
  if (item.specversion) return item;
  const type = "net.billcenter.invoice.emailed.v1";
  return {
    specversion: "1.0",
    id: idOf(item),
    source,
    type,
    subject: item.accountNumber,
    time: item.emailedAt,
    datacontenttype: "application/json",
    dataschema: `https://schemas.billcenter.net/events/${type}.json`,
    data: item,
  };
}

// idOf derives the id from what the event says. A second run, after a crash or to be sure, repeats the same ids and changes
// nothing; and no two events that differ share an id, which would make the second one a dead letter.
function idOf(data) {
  return createHash("sha256").update(canonical({ tenant: options.tenant, data })).digest("hex").slice(0, 40);
}

// canonical writes JSON with sorted names: the same data is the same text, whoever exported it.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
  return `{${members.join(",")}}`;
}

// items yields what is to be published with where it stood. A line is read when there is room for it, so an NDJSON file of any
// size needs little memory; a .json file is read whole.
async function* items() {
  for (const [i, text] of options.data.entries()) yield { at: `--data ${i + 1}`, text };
  for (const file of files) {
    if (file.endsWith(".json")) {
      for (const [i, item] of [JSON.parse(readFileSync(file, "utf8"))].flat().entries()) yield { at: `${file}[${i}]`, item };
      continue;
    }
    let line = 0;
    for await (const text of createInterface({ input: file === "-" ? process.stdin : createReadStream(file), crlfDelay: Infinity })) {
      line++;
      if (text.trim() !== "") yield { at: `${file}:${line}`, text };
    }
  }
}

const count = { published: 0, duplicates: 0, failed: 0 };

async function send(js, { at, text, item = undefined }) {
  try {
    const event = toEvent(item ?? JSON.parse(text));
    const tokens = types.get(event.type);
    if (!tokens) throw new Error("the type is none of billing's");
    const ack = await publish(js, "BILLING", encode(`billing.${options.tenant}.${tokens}`, event, options));
    count[ack.duplicate ? "duplicates" : "published"]++;
  } catch (err) {
    count.failed++;
    // A parser's message quotes its input, and the input holds a registration code.
    console.error(`${at}: ${err instanceof SyntaxError ? "not JSON" : err.message}`);
  }
}

const { nc, js } = await connect("example publisher", options);
const waiting = new Set();
for await (const item of items()) {
  const sent = send(js, item).finally(() => waiting.delete(sent));
  waiting.add(sent);
  if (waiting.size >= window) await Promise.race(waiting);
}
await Promise.all(waiting);
await nc.drain();
console.log(JSON.stringify(count));
process.exitCode = count.failed ? 1 : 0;
