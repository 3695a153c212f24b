// Uses the chat of examples/flask as two people do, and prints what each is told: flask.mjs URL JOB ARG…, where JOB is the program of the job.

import { execFileSync } from "node:child_process";
import { io } from "socket.io-client";

const [url, job, ...args] = process.argv.slice(2);
const PATIENCE = 10_000;
const told = {};

/** Connects somebody; whatever comes is kept, and can be awaited. */
function person(name) {
  const heard = (told[name || "nobody"] = []);
  const socket = io(url, { auth: { name }, forceNew: true, reconnection: false });
  const waiting = [];
  const hear = (...words) => {
    heard.push(words);
    waiting.splice(0).forEach((look) => look());
  };
  socket.on("connect_error", ({ message, data }) => hear("connect_error", message, data ?? null));
  socket.on("disconnect", (reason) => hear("disconnect", reason));
  socket.onAny(hear);
  return {
    /** Waits until so many things were heard. */
    async heard(count) {
      const late = setTimeout(() => fail(`${name} heard only ${JSON.stringify(heard)}`), PATIENCE);
      while (heard.length < count) await new Promise((resolve) => waiting.push(resolve));
      clearTimeout(late);
    },
    ask: (...words) =>
      new Promise((resolve) => {
        const answered = (late, ...answer) => resolve(late ? fail(`${words} is not answered`) : hear("ack", ...answer));
        socket.timeout(PATIENCE).emit(...words, answered);
      }),
    close: () => socket.disconnect(),
  };
}

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

await person("").heard(1);
const ann = person("ann");
await ann.heard(1);
const bob = person("bob");
await bob.heard(1);
await ann.ask("join", "tea");
await bob.ask("join", "tea");
await ann.heard(4);
await ann.ask("say", "tea", "a cup?");
await bob.heard(4);
await bob.ask("say", "tea", "  ");
await bob.ask("say", "tea", "yes — «please» ☕");
await bob.ask("say", "tea", "two");
await ann.heard(8);
execFileSync(job, args, { stdio: "inherit" });
await Promise.all([ann.heard(9), bob.heard(10)]);
await bob.ask("leave", "tea");
await ann.heard(10);
bob.close();
await ann.heard(11);
ann.close();
console.log(JSON.stringify(told));
