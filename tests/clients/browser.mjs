// Has socket.io-client in a real browser do what clients do, on every transport: browser.mjs URL PROXY.
//
// The page comes from PROXY, which is another origin and passes on to URL. When `cut` is printed, the connections of
// PROXY are expected to fail, and the client has to come back.

import { chromium } from "playwright-core";

const [url, proxy] = process.argv.slice(2);
const PATIENCE = 10_000;

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage();
page.setDefaultTimeout(PATIENCE);
page.on("pageerror", (error) => fail(error.message));
await page.goto(`${proxy}/_stats`);
await page.addScriptTag({ path: new URL("node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url).pathname });

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

/** Runs in the page; what it returns is what it found, to be compared with what is expected. */
async function use({ url, transports }) {
  const options = { transports, forceNew: true, timeout: 5000 };
  const event = (socket, name) => new Promise((resolve) => socket.once(name, (...args) => resolve(args)));
  const socket = io(url, options);
  const other = io(`${url}/custom`, options);
  await Promise.all([event(socket, "auth"), event(other, "auth")]);
  if (transports.length > 1 && socket.io.engine.transport.name === "polling") await event(socket.io.engine, "upgrade");
  const bytes = (view) => [...new Uint8Array(view)];
  const [text, buffer, blob] = await socket.emitWithAck("echo", [
    "grüß € 😀",
    new Uint8Array([0, 255]),
    new Blob(["blob"]),
  ]);
  await socket.emitWithAck("join", "browsers");
  const news = event(socket, "news");
  await socket.emitWithAck("broadcast", { event: "news", data: { image: new Uint8Array([7]) }, room: "browsers", self: true });
  const { image } = (await news)[0];
  const { ns } = await other.emitWithAck("info");
  const denied = io(url, { ...options, auth: { token: "deny" } });
  const [refusal] = await event(denied, "connect_error");
  const found = {
    transport: socket.io.engine.transport.name,
    echo: [text, bytes(buffer), String.fromCharCode(...bytes(blob))],
    news: bytes(image),
    namespace: ns,
    refusal: [refusal.message, refusal.data],
  };
  for (const each of [socket, other, denied]) each.disconnect();
  return found;
}

for (const transports of [["polling"], ["websocket"], ["polling", "websocket"]]) {
  const found = JSON.stringify(await page.evaluate(use, { url, transports }));
  const expected = JSON.stringify({
    transport: transports.at(-1),
    echo: ["grüß € 😀", [0, 255], "blob"],
    news: [7],
    namespace: "/custom",
    refusal: ["not authorized", { code: "E_AUTH" }],
  });
  if (found !== expected) fail(`${transports} finds ${found}, not ${expected}`);
}

const reconnected = await page.evaluateHandle(async (url) => {
  const socket = io(url, { transports: ["websocket"], reconnectionDelay: 50 });
  await new Promise((resolve) => socket.once("auth", resolve));
  return { again: new Promise((resolve) => socket.once("auth", resolve)) };
}, proxy);
console.log("cut");
await page.evaluate(({ again }) => again, reconnected);
await browser.close();
console.log("done");
