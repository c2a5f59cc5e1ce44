// From an empty server to every sample app in use, and back again after everything was killed.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { apps } from "./apps.js";
import { launch } from "./chromium.js";
import { DEADLINE, Server, built, output } from "./server.js";
import * as shell from "./shell.js";

/** Sizes and schemes in which pages are photographed. */
const VIEWS = [360, 1280].flatMap((width) => ["light", "dark"].map((scheme) => ({ width, scheme })));

const server = new Server();
const places = new Map();
let browser;
let context;
let page;
let failed = false;

before(async () => {
  mkdirSync(output, { recursive: true });
  browser = await launch();
  await server.start();
  await freshPage();
}, { timeout: DEADLINE });

after(async () => {
  await browser?.close();
  if (failed) {
    await server.kill();
    console.error(`the server's folder is kept in ${server.folder}; its log:\n${server.log().slice(-8000)}`);
  } else {
    await server.remove();
  }
});

/** A browser that has never seen this server. */
async function freshPage() {
  await context?.close();
  context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
  context.setDefaultTimeout(20_000);
  page = await context.newPage();
}

/** A test that leaves a picture behind when it fails. */
function step(name, body) {
  test(name, { timeout: 3 * DEADLINE }, async () => {
    try {
      await body();
    } catch (error) {
      failed = true;
      await page.screenshot({ path: join(output, `failed-${name.replace(/\W+/g, "-")}.png`) }).catch(() => {});
      throw error;
    }
  });
}

/** Photographs the page as it is, in every size and scheme. */
async function photograph(name) {
  for (const { width, scheme } of VIEWS) {
    await page.setViewportSize({ width, height: 800 });
    await page.emulateMedia({ colorScheme: scheme });
    await page.screenshot({ path: join(output, `${name}-${width}-${scheme}.png`), animations: "disabled" });
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wider <= 0, `${name} is ${wider} px too wide for ${width} px`);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: "light" });
}

step("the owner sets the server up", async () => {
  await page.goto(server.setupUrl);
  await page.getByLabel("Your name").waitFor();
  await photograph("setup");
  await shell.setUp(page, server.setupUrl);
  await photograph("empty-home");
});

for (const app of apps) {
  step(`${app.title} is installed`, async () => {
    await shell.install(page, server.url, built("samples", `${app.sample}.spk`), app.title);
    await photograph(`installed-${app.sample}`);
  });

  step(`${app.title} is used`, async () => {
    places.set(app, await shell.create(page, server.url, app.noun));
    await app.use(await shell.grainFrame(page));
    await photograph(`used-${app.sample}`);
  });
}

step("home shows everything that was made", async () => {
  await page.goto(server.url);
  for (const app of apps) await page.getByText(app.title).first().waitFor();
  await photograph("home");
});

step("everything is killed and started again", async () => {
  await server.kill();
  await server.start();
  await freshPage();
  await shell.signIn(page, server.url);
});

for (const app of apps) {
  step(`${app.title} still has what was made`, async () => {
    const place = places.get(app);
    assert.ok(place, "it was made before");
    await page.goto(`${server.url}${place}`);
    await app.find(await shell.grainFrame(page));
    await photograph(`found-${app.sample}`);
  });
}
