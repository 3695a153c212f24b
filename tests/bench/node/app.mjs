// The tiny app on Socket.IO for Node, as src/apps/mod.rs describes it. `node app.mjs [REDIS_URL]`
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);

const [redis] = process.argv.slice(2);
if (redis) {
  const publishing = createClient({ url: redis });
  const listening = publishing.duplicate();
  await Promise.all([publishing.connect(), listening.connect()]);
  io.adapter(createAdapter(publishing, listening));
}

io.on("connection", (socket) => {
  const { room } = socket.handshake.auth;
  if (room) socket.join(room);
  socket.on("broadcast", (room, first, count) => {
    for (let number = first; number < first + count; number++) {
      io.to(room).emit("news", String(number).padStart(8, "0").padEnd(128, "x"));
    }
  });
  socket.on("echo", (text, ack) => ack(text));
});

http.listen(0, "127.0.0.1", () => console.log(`listening address=127.0.0.1:${http.address().port}`));
