// Drives many socket.io-client clients for the tests: requests come in as JSON lines, reports go out as JSON lines.
//
// A request `{"id", "op", ...}` is answered by `{"reply": id, "ok": value}` or `{"reply": id, "error": text}`.
// What happens to a client is reported as `{"client": name, "kind": ..., ...}`.

import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import io2 from "socket.io-client-2";
import { io as io3 } from "socket.io-client-3";
import msgpack from "socket.io-msgpack-parser";
import { decode, encode } from "./values.mjs";

const clients = new Map();
const versions = { 2: io2, 3: io3, 4: io };
const parsers = { msgpack };

function write(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Keeps the numbered events of each emitter instead of reporting them; their arguments are (emitter, number). */
class Counter {
  /** Of each emitter its numbers, in the order of their arrival. */
  numbers = new Map();

  see([emitter, number]) {
    if (!this.numbers.has(emitter)) this.numbers.set(emitter, []);
    this.numbers.get(emitter).push(number);
  }

  summary() {
    let received = 0;
    let disorder = 0;
    for (const numbers of this.numbers.values()) {
      received += numbers.length;
      let last = -1;
      for (const number of numbers) {
        if (number <= last) disorder += 1;
        else last = number;
      }
    }
    return { received, disorder };
  }

  take() {
    const numbers = Object.fromEntries(this.numbers);
    this.numbers.clear();
    return numbers;
  }
}

/** Calls `listen` with each event; version 2 has no `onAny`. */
function onAny(socket, listen) {
  if (socket.onAny) return socket.onAny(listen);
  socket.onevent = ({ data, id }) => listen(...data, ...(id === undefined ? [] : [socket.ack(id)]));
}

function open(request) {
  const { client: name, url, namespace = "/", transports, path, auth, parser, share, count } = request;
  const { replies = {}, version = 4 } = request;
  const options = { path, auth, forceNew: true, reconnectionDelay: 50 };
  if (transports) options.transports = transports;
  if (parser) options.parser = parsers[parser];
  const socket = share
    ? clients.get(share).socket.io.socket(namespace, { auth })
    : versions[version](url + namespace, options);
  const counter = new Counter();
  const upgraded = new Promise((resolve) => {
    socket.io.on("open", () => socket.io.engine.once("upgrade", (transport) => resolve(transport.name)));
  });
  clients.set(name, { socket, counter, upgraded });
  const report = (kind, more) => write({ client: name, kind, ...more });
  socket.on("connect", () => report("connect", { sid: socket.id }));
  socket.on("disconnect", (reason) => report("disconnect", { reason }));
  socket.on("connect_error", (error) => report("connect_error", { message: error.message, data: encode(error.data) }));
  // How version 2 says that it is refused: with the data, or where there are none, the message.
  if (version === 2) socket.on("error", (data) => report("connect_error", { message: data.message ?? data, data }));
  onAny(socket, (event, ...args) => {
    if (event === count) return counter.see(args);
    const ack = typeof args.at(-1) === "function" ? args.pop() : undefined;
    report("event", { event, args: encode(args) });
    if (ack && event in replies) ack(...decode(replies[event]));
  });
}

const operations = {
  connect: open,
  async emit({ client, event, args, ack, timeout = 8000 }) {
    const { socket } = clients.get(client);
    if (!ack) {
      socket.emit(event, ...decode(args));
      return null;
    }
    return new Promise((resolve, reject) => {
      const overdue = setTimeout(() => reject(new Error(`no ack of ${event} within ${timeout} ms`)), timeout);
      socket.emit(event, ...decode(args), (...answer) => {
        clearTimeout(overdue);
        resolve(encode(answer));
      });
    });
  },
  upgraded({ client }) {
    return clients.get(client).upgraded;
  },
  transport({ client }) {
    return clients.get(client).socket.io.engine.transport.name;
  },
  summary({ client }) {
    return clients.get(client).counter.summary();
  },
  numbers({ clients: names }) {
    return names.map((name) => clients.get(name).counter.take());
  },
  disconnect({ client }) {
    clients.get(client).socket.disconnect();
  },
};

async function answer(line) {
  const request = JSON.parse(line);
  try {
    write({ reply: request.id, ok: (await operations[request.op](request)) ?? null });
  } catch (error) {
    write({ reply: request.id, error: String(error?.message ?? error) });
  }
}

createInterface({ input: process.stdin })
  .on("line", answer)
  .on("close", () => process.exit(0));
