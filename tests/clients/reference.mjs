// The reference application on Node's own server, to show that the tests of the protocol are neutral.
//
// It has what those tests need: the settings, namespaces and events of gateway/examples/reference.rs, but no cluster.
// The environment may change the address and the durations of the heartbeat, as there.

import { createServer } from "node:http";
import { Server } from "socket.io";

const setting = (name, fallback) => process.env[`HALLPORTER_${name}`] ?? fallback;
const milliseconds = (text) => parseFloat(text) * (text.endsWith("ms") ? 1 : 1000);

const stats = { connects: 0, disconnects: 0, namespaces: {}, tasks: 0 };
const reasons = new Map();

const http = createServer((request, response) => {
  if (request.url === "/_stats") return response.end(JSON.stringify(stats));
  response.writeHead(404).end();
});
const io = new Server(http, {
  pingInterval: milliseconds(setting("ENGINE__PING_INTERVAL", "1s")),
  pingTimeout: milliseconds(setting("ENGINE__PING_TIMEOUT", "1500ms")),
  connectTimeout: 1000,
  maxHttpBufferSize: 1e6,
  allowEIO3: true,
  cleanupEmptyChildNamespaces: true,
  cors: { origin: true, credentials: true },
});

function authorize(socket, next) {
  const { token } = socket.handshake.auth;
  if (token === "deny") return next(Object.assign(new Error("not authorized"), { data: { code: "E_AUTH" } }));
  setTimeout(next, token === "slow" ? 300 : 0);
}

function target(socket, { room, except = [], self = false, volatile = false }) {
  let operator = self ? socket.nsp : socket.broadcast;
  if (room !== undefined) operator = operator.to(room);
  operator = operator.except(except);
  return volatile ? operator.volatile : operator;
}

/** The argument `data`, which may be missing. */
const data = (request) => ("data" in request ? [request.data] : []);

const events = {
  message: (socket, args) => void socket.emit("message-back", ...args),
  "message-with-ack": (_socket, args, ack) => ack(...args),
  echo: (_socket, args, ack) => ack(...args),
  ask: (socket, [request], ack) =>
    socket.timeout(request.timeout).emit(request.event, ...data(request), (error, answer) =>
      ack(error ? { ok: false, error: "timeout" } : { ok: true, data: answer ?? null }),
    ),
  join(socket, [rooms], ack) {
    socket.join(rooms);
    ack("ok");
  },
  leave(socket, [rooms], ack) {
    for (const room of [rooms].flat()) socket.leave(room);
    ack("ok");
  },
  rooms: (socket, _args, ack) => ack([...socket.rooms]),
  broadcast(socket, [request], ack) {
    target(socket, request).emit(request.event, ...data(request));
    ack("ok");
  },
  async "broadcast-ack"(socket, [request], ack) {
    const operator = request.room === undefined ? socket.nsp : socket.nsp.to(request.room);
    const asked = (await operator.fetchSockets()).length;
    operator
      .timeout(request.timeout)
      .emit(request.event, ...data(request), (_error, acks) => ack({ acks, failed: asked - acks.length }));
  },
  "to-id"(socket, [request], ack) {
    socket.nsp.to(request.id).emit(request.event, ...data(request));
    ack("ok");
  },
  info(socket, _args, ack) {
    const { headers, address, url } = socket.handshake;
    const { transport } = socket.handshake.query;
    ack({ sid: socket.id, ns: socket.nsp.name, query: url.split("?")[1] ?? "", headers, address, transport });
  },
  kick: (socket) => void socket.disconnect(),
  "last-disconnect": (_socket, [tag], ack) => ack(reasons.get(tag) ?? null),
  burst(socket, [{ n, size, volatile = false }], ack) {
    const text = "x".repeat(size);
    for (let index = 0; index < n; index += 1) (volatile ? socket.volatile : socket).emit("burst", index, text);
    ack({});
  },
  flood(socket, [{ ms, size }]) {
    const text = "x".repeat(size);
    const timer = setInterval(() => {
      for (let index = 0; index < 10; index += 1) socket.emit("flood", text);
    }, 5);
    setTimeout(() => clearInterval(timer), ms);
  },
  work: () => {},
  panic() {
    throw new Error("asked to");
  },
};

function serve(socket) {
  const { name } = socket.nsp;
  stats.connects += 1;
  stats.namespaces[name] = (stats.namespaces[name] ?? 0) + 1;
  socket.emit("auth", socket.handshake.auth);
  socket.onAny((event, ...args) => {
    const ack = typeof args.at(-1) === "function" ? args.pop() : () => {};
    if (Object.hasOwn(events, event)) events[event](socket, args, ack);
    else socket.emit("fallback", event, ...args);
  });
  socket.on("disconnect", (reason) => {
    stats.disconnects += 1;
    stats.namespaces[name] -= 1;
    if (stats.namespaces[name] === 0) delete stats.namespaces[name];
    const { tag } = socket.handshake.auth;
    if (tag) reasons.set(tag, reason);
  });
}

for (const name of ["/", "/custom", "/other", /^\/tenant-[A-Za-z0-9_-]+$/]) {
  io.of(name).use(authorize).on("connection", serve);
}
process.on("uncaughtException", (error) => console.error(error.message));

const [host, port] = setting("LISTEN", "127.0.0.1:3000").split(":");
http.listen(Number(port), host, () => console.log(`listening address=${host}:${http.address().port}`));
