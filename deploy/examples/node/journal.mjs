// A file of JSON lines that only grows while a program runs, and is on disk before anybody is told so. It stands in for the
// database that a worker of your own has. One process at a time may have it open.

import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

// openJournal reads the lines that are there and leaves out those that keep does not want any more. The file is written anew
// once at the start: what a crash left of a last line would else be the beginning of the next one.
export async function openJournal(file, keep = () => true) {
  const lines = (await read(file)).filter(keep);
  const fresh = `${file}.new`;
  const out = await open(fresh, "w", 0o600);
  await out.writeFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  await out.sync();
  await rename(fresh, file);
  await syncFolder(dirname(file));
  return { lines, append: appender(out) };
}

async function read(file) {
  const text = await readFile(file, "utf8").catch((err) => {
    if (err.code === "ENOENT") return "";
    throw err;
  });
  const whole = text.split("\n").slice(0, -1); // what follows the last line break was never confirmed
  return whole.map((line) => JSON.parse(line));
}

// A rename survives a power cut once the folder is written.
async function syncFolder(folder) {
  const handle = await open(folder, "r");
  await handle.sync();
  await handle.close();
}

// appender returns a function that resolves when its lines are on disk. Calls are carried out one after the other, so lines do
// not mix. After an error nobody knows what the disk holds, so every later call fails as well.
function appender(out) {
  let last = Promise.resolve();
  return (...lines) => {
    last = last.then(async () => {
      await out.appendFile(lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
      await out.sync();
    });
    return last;
  };
}
