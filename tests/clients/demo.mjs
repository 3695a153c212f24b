// Looks at the demo page as a visitor does: demo.mjs URL FOLDER.
//
// Joins a room, sends, sees the own message, prints `command: …` (what the page says to try next) and waits for
// the event of that command, or of any other, that has the data `hello from a worker`. Leaves screenshots in FOLDER.

import { chromium } from "playwright-core";

const [url, folder] = process.argv.slice(2);
const PATIENCE = 10_000;

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu"],
});

async function open(viewport) {
  const page = await browser.newPage({ viewport });
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => fail(`the page fails: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && fail(`the page complains: ${message.text()}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url)) fail(`the page asks for ${request.url()}`);
  });
  await page.goto(url);
  await page.locator("#status", { hasText: /\bconnected\b/i }).waitFor();
  return page;
}

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

async function check(holds, what) {
  if (!holds) fail(`not so: ${what}`);
}

const desktop = await open({ width: 1280, height: 800 });
const text = (selector) => desktop.locator(selector).innerText();
await check(/websocket|polling/i.test(await text("#transport")), "#transport names a transport");
await check(/[\w-]{16,}/.test(await text("#sid")), "#sid shows the sid");

await desktop.locator("#room").fill("lobby");
await desktop.locator("#join").click();
await desktop.locator("#rooms", { hasText: "lobby" }).waitFor();
await desktop.locator("#text").fill("good evening");
await desktop.locator("#send").click();
await desktop.locator("#events", { hasText: "good evening" }).waitFor();

const phone = await open({ width: 390, height: 844 });
const width = await phone.evaluate(() => document.documentElement.scrollWidth);
await check(width <= 390, `the page is as wide as the phone, not ${width}`);

console.log(`command: ${await text("#command")}`);
for (const [page, name] of [[desktop, "desktop"], [phone, "phone"]]) {
  await page.locator("#events", { hasText: "hello from a worker" }).waitFor();
  await page.screenshot({ path: `${folder}/demo-${name}.png`, fullPage: true });
}
await browser.close();
console.log("done");
