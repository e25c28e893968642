// The broker: how the three programs connect to it, and how two of them publish.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as dial, credsAuthenticator, errors, headers } from "@nats-io/transport-node";
import { jetstream, JetStreamApiError } from "@nats-io/jetstream";

// The flags that every program has, for parseArgs.
export const brokerOptions = {
  nats: { type: "string", default: process.env.NATS_URL ?? "nats://127.0.0.1:4222" },
  creds: { type: "string", default: process.env.NATS_CREDS },
  "nats-ca": { type: "string", default: process.env.NATS_CA },
};

// connect goes on reconnecting for as long as the program runs: an outage of the broker is to be waited out, and each
// program holds on to what has no answer yet.
export async function connect(name, options) {
  const servers = options.nats.split(",").map((url) => new URL(url.trim()));
  const { username, password, protocol, hostname } = servers[0]; // the client does not read them out of a URL
  // The host is for a server that is known by its IP address, which the client hands to nobody: Node would check the
  // certificate for "localhost". A name goes before it.
  const tls = { caFile: options["nats-ca"], host: hostname };
  const nc = await dial({
    name,
    servers: servers.map((url) => url.host),
    maxReconnectAttempts: -1,
    ...(username && { user: decodeURIComponent(username), pass: decodeURIComponent(password) }),
    ...(options.creds && { authenticator: credsAuthenticator(readFileSync(options.creds)) }),
    ...((options["nats-ca"] || protocol === "tls:") && { tls }),
  });
  return { nc, js: jetstream(nc) };
}

// publish stores one encoded event and returns the broker's PubAck. Only a PubAck says that the event is stored: without
// one it is sent again, under the same Nats-Msg-Id, by which the broker drops the copy if the first was stored after all
// (the PubAck then says duplicate).
export async function publish(js, stream, event, { patience = 60_000 } = {}) {
  const sent = headers();
  for (const [name, value] of Object.entries(event.headers)) sent.set(name, value);
  const giveUp = Date.now() + patience;
  for (let pause = 100; ; pause = Math.min(pause * 2, 5_000)) {
    try {
      return await js.publish(event.subject, event.body, {
        headers: sent,
        msgID: event.msgID,
        timeout: 5_000,
        expect: { streamName: stream }, // a PubAck of any other stream is not the promise that we want
      });
    } catch (err) {
      if (isFinal(err) || Date.now() > giveUp) throw new Error(`publish ${event.msgID}: ${err.message}`, { cause: err });
      await sleep(pause);
    }
  }
}

// isFinal tells a broker that will never take the event from one that is away or full just now.
function isFinal(err) {
  if (err instanceof JetStreamApiError) return err.status === 400;
  return [err, err.cause].some((e) => e instanceof errors.PermissionViolationError || e instanceof errors.InvalidArgumentError);
}
