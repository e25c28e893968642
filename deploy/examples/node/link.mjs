// The links in mails, which every mail worker derives for itself so that they never travel on the bus.

import { createHmac } from "node:crypto";
import { readFileSync, statSync } from "node:fs";

// mint returns the token of a link:
//
//   token = base64url, unpadded, of (enrollment id, 16 bytes ‖ generation, 4 bytes ‖ the first 20 bytes of mac)
//   mac   = HMAC-SHA256 under the link key of five parts, each preceded by its length in bytes:
//           "billcenter/activation/v1", tenant, enrollment id, generation, address
//
// Numbers are 32 bits, big-endian. The address is taken as it stands in ActivationRequested: any change of it, of case even,
// makes a link that does not work. A link to reset a password is made in the same way with the purpose
// "billcenter/password-reset/v1", the reset's id in the enrollment's place, and generation 1.
export function mint(key, { tenant, enrollmentId, generation, address, purpose = "billcenter/activation/v1" }) {
  const id = Buffer.from(enrollmentId.replaceAll("-", ""), "hex");
  if (id.length !== 16) throw new Error("the id is not a UUID");
  const mac = createHmac("sha256", key);
  for (const part of [purpose, tenant, id, uint32(generation), address]) {
    const bytes = Buffer.from(part);
    mac.update(uint32(bytes.length)).update(bytes);
  }
  return Buffer.concat([id, uint32(generation), mac.digest().subarray(0, 20)]).toString("base64url");
}

function uint32(n) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(n);
  return bytes;
}

// readKey takes the link key, 32 bytes in hex or base64, from a file that only its owner and group may read.
export function readKey(file) {
  if (statSync(file).mode & 0o007) throw new Error(`link key ${file}: others may read it; run: chmod o= ${file}`);
  return decodeKey(readFileSync(file, "utf8").trim(), file);
}

function decodeKey(text, name) {
  const key = Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? "hex" : "base64");
  if (key.length !== 32) throw new Error(`link key ${name}: ${key.length} bytes, not 32 in hex or base64`);
  return key;
}

// selfTest holds mint against the contract's test vectors and returns how many there are.
export function selfTest(file) {
  const { vectors } = JSON.parse(readFileSync(file, "utf8"));
  for (const v of vectors) {
    if (mint(decodeKey(v.linkKey, v.name), v) !== v.token) throw new Error(`test vector "${v.name}": another token`);
  }
  if (vectors.length === 0) throw new Error(`${file}: no test vectors`);
  return vectors.length;
}
