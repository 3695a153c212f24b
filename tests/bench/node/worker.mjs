// The worker for Node, as src/apps/mod.rs describes it. `node worker.mjs REDIS_URL`
import { createInterface } from "node:readline";
import { Emitter } from "@socket.io/redis-emitter";
import { createClient } from "redis";

const client = createClient({ url: process.argv[2] });
await client.connect();
const room = new Emitter(client).to("hall");
console.log("ready");

for await (const line of createInterface({ input: process.stdin })) {
  const [first, count] = line.split(" ").map(Number);
  for (let number = first; number < first + count; number++) {
    room.emit("news", String(number).padStart(8, "0").padEnd(128, "x"));
  }
}
