// CloudEvents 1.0 over NATS, as the contract has them: written in structured or binary mode, read in either.

const structured = "application/cloudevents+json";

// encode returns subject, headers and body of an event. Ids are unique per source only, so the Nats-Msg-Id, by which the
// broker knows a repetition, holds both. Only the subject says whose event it is.
export function encode(subject, event, { binary = false } = {}) {
  const msgID = `${event.source}#${event.id}`;
  if (!binary) return { subject, msgID, headers: { "Content-Type": structured }, body: JSON.stringify(event) };
  const { data, datacontenttype, ...attributes } = event;
  const headers = { "Content-Type": datacontenttype ?? "application/json" };
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) headers[`ce-${name}`] = percentEncode(String(value));
  }
  return { subject, msgID, headers, body: JSON.stringify(data) };
}

// percentEncode leaves what a header can hold: printable ASCII, without blanks, quotes and the percent sign itself.
function percentEncode(value) {
  return value.replace(/[^\x21-\x7e]|["%]/gu, encodeURIComponent);
}

// Unreadable says why a message is no event of ours, and nothing of what is in it.
export class Unreadable extends Error {}

// decode reads a message into an event, with the tenant of its subject. It looks at the body and at the headers of
// CloudEvents alone. Whether a message is one of the broker's own (no messages, heartbeat, consumer deleted) is known by
// where it arrives: those come to our inbox, and the client keeps them; a stored message comes under its own subject. So an
// empty message with a header "Status: 409", which some clients take for the broker's word, is an unreadable event here.
export function decode(message) {
  const tenant = message.subject.split(".")[1];
  const header = {};
  for (const name of message.headers?.keys() ?? []) header[name.toLowerCase()] = message.headers.get(name);
  const json = parse(message.data);
  const isBinary = header["ce-specversion"] !== undefined && !header["content-type"]?.startsWith("application/cloudevents");
  const event = isBinary ? { ...attributesOf(header), data: json } : json;
  if (event.specversion !== "1.0" || !event.id || !event.source || !event.type) throw new Unreadable("not a CloudEvent 1.0");
  if (typeof event.data !== "object" || event.data === null) throw new Unreadable("no data");
  return { ...event, tenant };
}

function parse(bytes) {
  let json;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Unreadable("not JSON"); // without the parser's words, which quote the message
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Unreadable("not a JSON object");
  return json;
}

function attributesOf(header) {
  const attributes = {};
  for (const [name, value] of Object.entries(header)) {
    if (name.startsWith("ce-")) attributes[name.slice(3)] = percentDecode(value);
  }
  return attributes;
}

function percentDecode(value) {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
