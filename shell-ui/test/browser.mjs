// A browser over the mock, with the real headers, for the tests beside; pictures go to test/screens/ (or below
// PERCLOUD_TARGET), 360 and 1280 wide, light and dark.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { serve } from "../mock/serve.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
export const SCREENS = process.env.PERCLOUD_TARGET ? join(process.env.PERCLOUD_TARGET, "shell-ui-screens") : here("./screens");
const PROGRAM = process.env.PERCLOUD_CHROMIUM ?? "/usr/bin/chromium";
const AXE = readFileSync(here("../node_modules/axe-core/axe.min.js"), "utf8");

export const PHONE = { width: 360, height: 740 };
export const DESK = { width: 1280, height: 800 };
export const LOOKS = [
  ["360-light", PHONE, "light"],
  ["360-dark", PHONE, "dark"],
  ["1280-light", DESK, "light"],
  ["1280-dark", DESK, "dark"],
];

let browser;
/** The mock and its address, once the first test runs. */
export let server;

before(async () => {
  assert.ok(existsSync(here("../dist/index.html")), "the shell is built (npm run build)");
  mkdirSync(SCREENS, { recursive: true });
  server = await serve({ pace: 60 });
  browser = await chromium.launch({
    executablePath: PROGRAM,
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

/** A browser of its own, whose complaints fail the test. `expected` are statuses or words that the console may hold. */
export async function visit({ signedIn = true, as, look = LOOKS[0], expected = [], locale = "en-GB" } = {}) {
  const [, viewport, colorScheme] = look;
  // A phone has a finger, and scroll bars that take no room.
  const phone = viewport === PHONE ? { isMobile: true, hasTouch: true } : {};
  const context = await browser.newContext({ ...phone, viewport, colorScheme, locale, baseURL: server.url, reducedMotion: "reduce" });
  const complaints = [];
  await context.exposeBinding("complain", (_, what) => complaints.push(what));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => {
      if (!window.expectViolations) window.complain(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
    });
  });
  context.setDefaultTimeout(10_000);
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(`error: ${error.stack ?? error}`));
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const text = message.text();
    // True of pages of the same origin; an app's page is on a host of its own.
    if (text.includes("can escape its sandboxing")) return;
    if (expected.some((status) => text.includes(typeof status === "number" ? `status of ${status}` : status))) return;
    complaints.push(`console: ${text}`);
  });
  if (signedIn) {
    await page.goto("/sign-in");
    const who = as ?? server.mock.state.me;
    await page.getByLabel("User name").or(page.getByLabel("Benutzername")).fill(who.handle);
    await page.getByLabel(/^(Password|Passwort)$/).fill(who.password);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: who.name }).waitFor();
  }
  return {
    page,
    context,
    complaints,
    async end() {
      await context.close();
      assert.deepEqual(complaints, []);
    },
  };
}

/** What a screen reader's user would stumble over, as axe sees it. */
export async function stumbles(page) {
  // Injected past the content security policy, into a world of its own.
  const session = await page.context().newCDPSession(page);
  const { frameTree } = await session.send("Page.getFrameTree");
  const { executionContextId } = await session.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id, worldName: "axe" });
  await session.send("Runtime.evaluate", { expression: AXE, contextId: executionContextId });
  const { result } = await session.send("Runtime.evaluate", {
    expression: `axe.run(document, { iframes: false, resultTypes: ["violations"] }).then(({ violations }) => JSON.stringify(violations.map(({ id, impact, nodes }) => [id, impact, nodes.map((node) => node.html.slice(0, 160) + " — " + node.failureSummary.split("\\n")[1])])))`,
    contextId: executionContextId,
    awaitPromise: true,
    returnByValue: true,
  });
  await session.detach();
  assert.ok(result.value, "axe ran");
  return JSON.parse(result.value);
}

/** Buttons and links too small for a finger, and what is wider than the screen. */
export async function misses(page) {
  const small = await page.evaluate(() =>
    [...document.querySelectorAll("button, a, summary, .k-choice, input:not([type=file])")]
      .filter((element) => element.checkVisibility() && !element.closest(".k-hidden, .facts, .k-check") && !element.matches(".k-choice input") && !element.matches(".skip, .row-link"))
      .map((element) => [element.getBoundingClientRect(), element.outerHTML.slice(0, 100)])
      .filter(([box]) => box.width > 0 && (box.height < 43.5 || box.width < 43.5))
      .map(([box, html]) => `${Math.round(box.width)}×${Math.round(box.height)} ${html}`),
  );
  const overflow = await page.evaluate(() => Math.max(...[document.documentElement, ...document.querySelectorAll("dialog")].map((one) => one.scrollWidth - one.clientWidth)));
  return overflow > 0 ? [...small, `${overflow} pixels too wide`] : small;
}

/** Takes pictures of a page's screens in one look, and finds on each what there is to stumble over and to miss. */
export function pictures(page, look) {
  const found = [];
  const shot = async (name, { check = true, full = true } = {}) => {
    await page.screenshot({ path: join(SCREENS, `${name}-${look[0]}.png`), fullPage: full });
    if (!check) return;
    found.push(...(await stumbles(page)).map((what) => [name, ...what]));
    if (look[1] === PHONE) found.push(...(await misses(page)).map((what) => [name, what]));
  };
  return { shot, found };
}

export const file = (name, size = 200_000) => ({ name: `${name}.spk`, mimeType: "application/octet-stream", buffer: Buffer.concat([Buffer.from(`${name} `), Buffer.alloc(size)]) });
export const heading = (page, name) => page.getByRole("heading", { level: 1, name });
export const dialog = (page) => page.getByRole("dialog");
export const frameOf = (page) => page.locator("iframe.app-frame").contentFrame();
export const toast = (page, text) => page.locator(".k-toast", { hasText: text });

export const grainCalled = (state, title) => [...state.grains.values()].find((grain) => grain.title === title);
export const person = (state, handle) => [...state.people.values()].find((one) => one.handle === handle);

/** A household that has lived here for a while. */
export function household() {
  server.mock.reset();
  server.mock.seed();
  server.mock.state.me = { name: "Ada Lovelace", handle: "ada", password: "correct horse battery" };
  // What the broker says where an ordinary user runs it: with a path longer than a phone is wide.
  server.mock.state.warnings = [
    { code: "weaker-sandbox", message: "no control group (/sys/fs/cgroup/memory/percloud/delegated/cgroup.procs of 15228: Permission denied (os error 13)): memory is bounded per process, not per grain" },
  ];
  return server.mock.state;
}
