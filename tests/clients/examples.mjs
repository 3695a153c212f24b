// Uses an example's page as visitors do, in a real browser: examples.mjs EXAMPLE URL [URL], for clock, counter and irc.
//
// The second URL is that of another gateway, for the second visitor. The one script that pages load from elsewhere comes from npm's package.

import { chromium } from "playwright-core";
import { io } from "socket.io-client";

const [example, url, other = url] = process.argv.slice(2);
const PATIENCE = 10_000;
const SCRIPT = new URL("node_modules/socket.io-client/dist/socket.io.min.js", import.meta.url).pathname;

const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  headless: true,
  args: ["--no-sandbox", "--disable-gpu"],
});

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

/** A browser of its own, which remembers nothing of the others. */
async function visitor() {
  const context = await browser.newContext();
  context.setDefaultTimeout(PATIENCE);
  context.on("weberror", (error) => fail(`the page fails: ${error.error().message}`));
  await context.route(/^https:/, (route) => {
    if (!route.request().url().endsWith("/socket.io.min.js")) fail(`the page asks for ${route.request().url()}`);
    return route.fulfill({ path: SCRIPT, contentType: "text/javascript", headers: { "access-control-allow-origin": "*" } });
  });
  return context;
}

async function open(url, context) {
  const page = await (context ?? (await visitor())).newPage();
  await page.goto(url);
  return page;
}

/** Waits until an element has this text and no other. */
function shows(page, selector, text) {
  const element = page.locator(selector, { hasText: text instanceof RegExp ? text : new RegExp(`^\\s*${text}\\s*$`) });
  return element.waitFor().catch(async () => {
    fail(`${selector} should show ${text} and shows ${await page.locator(selector).allInnerTexts()}`);
  });
}

const examples = {
  async clock() {
    const page = await open(url);
    await shows(page, "#status", "connected");
    await shows(page, "#time", /\d:\d\d/);
    const time = await page.locator("#time").innerText();
    await page.waitForFunction((time) => document.getElementById("time").innerText !== time, time);
  },

  async counter() {
    const [one, two] = [await open(url), await open(other)];
    for (const page of [one, two]) await shows(page, "#connected", 2);
    for (const page of [one, two, two]) await page.locator("#add").click();
    for (const page of [one, two]) await shows(page, "#value", 3);
    await two.close();
    await shows(one, "#connected", 1);
  },

  async irc() {
    const enter = async (page, name) => {
      await page.locator("#name").fill(name);
      await page.locator("#name").press("Enter");
      await shows(page, "#status", `connected as ${name}`);
    };
    const say = async (page, text) => {
      await page.locator("#text").fill(text);
      await page.locator("#text").press("Enter");
    };
    const reads = (page, ...lines) => Promise.all(lines.map((line) => shows(page, "li", new RegExp(` ${line}$`))));

    const context = await visitor();
    const ann = await open(url, context);
    await shows(ann, "#status", /name\?/);
    await enter(ann, "ann");
    await reads(ann, "ann joined, 1 online");
    const bob = await open(other);
    await enter(bob, "bob");
    await reads(ann, "bob joined, 2 online");
    await say(bob, "good evening");
    await reads(ann, "bob: good evening");
    await say(ann, "and to <b>you</b>");
    await reads(bob, "bob: good evening", "ann: and to <b>you</b>");

    // A known user is not asked again, and reads what was said.
    await bob.close();
    await reads(ann, "bob left, 1 online");
    await ann.close();
    const again = await open(url, context);
    await shows(again, "#status", "connected as ann");
    await reads(again, "bob: good evening", "ann: and to <b>you</b>");

    const gateway = new URL(url).searchParams.get("gateway") ?? url;
    const others = Array.from({ length: 19 }, (_, number) => io(gateway, { auth: { name: `user ${number}` }, forceNew: true }));
    await Promise.all(others.map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
    const late = await open(url);
    await late.locator("#name").fill("late");
    await late.locator("#name").press("Enter");
    await shows(late, "#status", "20 users are here already");
    others.forEach((socket) => socket.disconnect());
  },
};

await examples[example]();
await browser.close();
console.log("done");
