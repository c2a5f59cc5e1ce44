// Two people in two browsers on one server: sharing, using, limiting, taking back, while a socket is open.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { launch } from "./chromium.js";
import { DEADLINE, Server, built, output } from "./server.js";
import * as shell from "./shell.js";

// The website that apps are let to is on this machine, which is closed to them otherwise.
const server = new Server("--open-address", "127.0.0.1/32");
let browser;
let ada;
let bela;
let failed = false;

before(async () => {
  mkdirSync(output, { recursive: true });
  browser = await launch();
  await server.start();
  ada = await somebody();
  bela = await somebody();
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

/** A browser profile of its own. */
async function somebody() {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce" });
  context.setDefaultTimeout(20_000);
  return context.newPage();
}

function step(name, body) {
  test(name, { timeout: 3 * DEADLINE }, async () => {
    try {
      await body();
    } catch (error) {
      failed = true;
      const file = name.replace(/\W+/g, "-");
      await ada.screenshot({ path: join(output, `failed-${file}-ada.png`) }).catch(() => {});
      await bela.screenshot({ path: join(output, `failed-${file}-bela.png`) }).catch(() => {});
      throw error;
    }
  });
}

const dialog = (page) => page.getByRole("dialog");

/** Opens a socket to the app from its page, hears it answer, and returns how to wait for its end. */
async function socket(frame) {
  await frame.evaluate(
    () =>
      new Promise((resolve, reject) => {
        const socket = new WebSocket(`${location.origin.replace("http", "ws")}/echo`);
        window.closed = new Promise((over) => socket.addEventListener("close", () => over(performance.now())));
        socket.addEventListener("message", resolve);
        socket.addEventListener("error", () => reject(new Error("the socket failed")));
        socket.addEventListener("open", () => socket.send("hello"));
      }),
  );
  return frame.evaluateHandle(() => window.closed).catch(() => undefined);
}

let book;
let path;

step("somebody is invited and makes an account", async () => {
  await shell.setUp(ada, server.setupUrl);
  await shell.install(ada, server.url, built("samples", "guestbook.spk"), "Guestbook");
  path = await shell.create(ada, server.url, "guestbook");
  book = `${server.url}${path}`;
  await shell.grainFrame(ada);
  await ada.goto(`${server.url}/people`);
  await ada.getByRole("button", { name: "Invite somebody new" }).click();
  await dialog(ada).getByRole("button", { name: "Make the invitation" }).click();
  const invitation = await dialog(ada).getByLabel("The invitation", { exact: true }).inputValue();
  await bela.goto(invitation);
  await bela.getByLabel("Your name").fill("Bela Bartók");
  await bela.getByLabel("User name").fill("bela");
  await bela.getByLabel("Password", { exact: true }).fill("four unrelated words here");
  await bela.getByRole("button", { name: "Create my account" }).click();
  await bela.getByRole("heading", { name: "Hello, Bela" }).first().waitFor();
  await bela.goto(book);
  await bela.getByRole("heading", { name: /not here|nothing here|not found|cannot/i }).first().waitFor();
});

step("a thing is shared with a person, who is asked and then has it", async () => {
  await bela.goto(server.url);
  await ada.goto(book);
  await shell.grainFrame(ada);
  await ada.getByRole("button", { name: "Share", exact: true }).click();
  await dialog(ada).getByText("Bela Bartók").click();
  await ada.screenshot({ path: join(output, "share-1280-light.png") });
  await dialog(ada).getByRole("button", { name: "Share", exact: true }).click();
  // It appears by itself.
  await bela.getByRole("button", { name: /^Accept / }).click();
  await bela.goto(book);
  const frame = await shell.grainFrame(bela);
  await frame.getByLabel("Name").fill("Bela");
  await frame.getByLabel("Message").fill("I was here");
  await frame.getByRole("button", { name: "Sign the book" }).click();
  await frame.getByText("I was here").waitFor();
  await ada.reload();
  await (await shell.grainFrame(ada)).getByText("I was here").waitFor();
});

step("a smaller role ends the open page and its socket, and opens it anew with less", async () => {
  const frame = await shell.grainFrame(bela);
  const closed = await socket(frame);
  await ada.goto(`${book}/access`);
  await ada.screenshot({ path: join(output, "access-1280-light.png") });
  await ada.getByRole("button", { name: "Change access: Bela Bartók" }).click();
  await ada.getByRole("menuitem", { name: "Change …" }).click();
  await dialog(ada).getByText("reader", { exact: true }).click();
  await dialog(ada).getByRole("button", { name: "Save" }).click();
  await bela.getByText(/What you can do here has changed/).first().waitFor();
  assert.ok(closed === undefined || frame.isDetached() || (await frame.evaluate(() => window.closed).then(() => true, () => true)));
  const now = await shell.grainFrame(bela);
  const seen = await now.evaluate(async () => (await fetch("/whoami")).json());
  assert.deepEqual(seen.permissions, [true, false]);
});

step("what is taken back gives way at once, and stays so", async () => {
  const frame = await shell.grainFrame(bela);
  await socket(frame);
  await ada.goto(`${book}/access`);
  await ada.getByRole("button", { name: "Change access: Bela Bartók" }).click();
  await ada.getByRole("menuitem", { name: "End access …" }).click();
  const begun = Date.now();
  await dialog(ada).getByRole("button", { name: "End access" }).click();
  await bela.getByRole("heading", { name: /You cannot open .* any more/ }).waitFor();
  assert.ok(Date.now() - begun < 5000, "the page was cut in time");
  await bela.screenshot({ path: join(output, "ended-1280-light.png") });
  await bela.goto(server.url);
  await bela.getByRole("heading", { name: /Hello|Nothing here yet/ }).first().waitFor();
  assert.equal(await bela.getByRole("link", { name: "Guestbook" }).count(), 0);
});

step("a link lets a stranger in until it is ended", async () => {
  await ada.goto(book);
  await shell.grainFrame(ada);
  await ada.getByRole("button", { name: "Share", exact: true }).click();
  await dialog(ada).getByText("A link", { exact: true }).click();
  await dialog(ada).getByRole("button", { name: "Make the link" }).click();
  const url = await dialog(ada).getByLabel("The link", { exact: true }).inputValue();
  assert.match(url, /\/shared#[\w-]{43}$/);
  const stranger = await somebody();
  await stranger.goto(url);
  await stranger.getByText(/Ada Lovelace/).first().waitFor();
  await stranger.screenshot({ path: join(output, "shared-1280-light.png") });
  await stranger.getByRole("button", { name: "Open", exact: true }).click();
  const frame = await shell.grainFrame(stranger);
  await frame.getByText("I was here").waitFor();
  await ada.goto(`${book}/access`);
  await ada.getByRole("button", { name: /^Change access: / }).first().click();
  await ada.getByRole("menuitem", { name: "End the link …" }).click();
  await dialog(ada).getByRole("button", { name: /End/ }).first().click();
  await ada.getByText("Nobody else can open it.").waitFor();
  await stranger.goto(server.url);
  await stranger.goto(url);
  await stranger.getByRole("heading", { name: "This link does not work" }).waitFor();
  await stranger.context().close();
});

step("one book asks for another, and a person chooses", async () => {
  await shell.create(ada, server.url, "guestbook");
  const frame = await shell.grainFrame(ada);
  // The book asks as Sandstorm's apps do: a message to the window around it.
  const answer = frame.evaluate(
    () =>
      new Promise((resolve) => {
        addEventListener("message", (event) => event.data?.rpcId === 7 && resolve(event.data));
        parent.postMessage({ powerboxRequest: { rpcId: 7, query: ["EAZQAQEAABEBF1EEAQH_x80lxnnjecgAAAA"], saveLabel: { defaultText: "a book" } } }, "*");
      }),
  );
  await dialog(ada).locator("label").first().click();
  await ada.screenshot({ path: join(output, "picker-1280-light.png") });
  await dialog(ada).getByRole("button", { name: "Use this" }).click();
  const inner = await dialog(ada).locator("iframe").elementHandle({ timeout: DEADLINE });
  const provider = await inner.contentFrame();
  await provider.waitForURL((url) => url.hostname.startsWith("ui-"), { timeout: DEADLINE, waitUntil: "load" });
  // The shell takes the frame away as soon as there is an answer, which may be before the page that gave it hears so.
  const provided = provider.evaluate(async () => (await fetch("/caps/fulfil?need=read")).json());
  await provided.catch((error) => assert.match(error.message, /detached|destroyed|closed/));
  const { token, descriptor } = await answer;
  assert.match(token, /^[\w-]{43}$/);
  assert.ok(descriptor.length > 20);
  const claimed = await frame.evaluate(async (token) => (await fetch(`/caps/claim?need=read&token=${token}`)).json(), token);
  assert.deepEqual(claimed, { held: 0 });
  const used = await frame.evaluate(async () => (await fetch("/caps/use?held=0")).json());
  assert.deepEqual(used, { entries: 1 });
});

step("a book is let to a website by its person, and to that alone", async () => {
  const asked = [];
  const site = createServer((request, response) => {
    asked.push([request.url, request.headers.authorization]);
    response.setHeader("Content-Type", "application/json").end(JSON.stringify({ entries: 42 }));
  });
  await new Promise((ready) => site.listen(0, "127.0.0.1", ready));
  try {
    const { port } = site.address();
    const place = await shell.create(ada, server.url, "guestbook");
    const frame = await shell.grainFrame(ada);
    const answer = frame.evaluate(
      () =>
        new Promise((resolve) => {
          addEventListener("message", (event) => event.data?.rpcId === 8 && resolve(event.data));
          parent.postMessage({ powerboxRequest: { rpcId: 8, query: ["EAZQAQEAABEBF1EEAQH_x80lxnnjecgAAAA"], saveLabel: { defaultText: "a guest" } } }, "*");
        }),
    );
    await dialog(ada).getByRole("radio", { name: /website/i }).check();
    await dialog(ada).getByRole("button", { name: "Continue", exact: true }).click();
    await dialog(ada).getByLabel("Address of the website", { exact: true }).fill(`http://127.0.0.1:${port}/guests`);
    await dialog(ada).getByRole("radio", { name: /user name and password/ }).check();
    await dialog(ada).getByLabel("User name there").fill("ada");
    await dialog(ada).getByLabel("Password there").fill("lovelace");
    await ada.screenshot({ path: join(output, "website-1280-light.png") });
    await dialog(ada).getByRole("button", { name: "Connect", exact: true }).click();
    const { token } = await answer;
    const get = (path) => frame.evaluate(async (path) => (await fetch(path)).json(), path);
    const { held } = await get(`/caps/claim?need=read&token=${token}`);
    assert.deepEqual(await get(`/caps/use?held=${held}`), { entries: 42 });
    assert.deepEqual(asked, [["/guests", `Basic ${btoa("ada:lovelace")}`]]);

    // It stands in the thing's settings, and ends there.
    const { token: kept } = await get(`/caps/save?held=${held}`);
    assert.match(kept, /^[\w-]{43}$/);
    await ada.goto(`${server.url}${place}/settings`);
    await ada.getByText(`The website 127.0.0.1:${port}`).waitFor();
    await ada.screenshot({ path: join(output, "website-held-1280-light.png") });
  } finally {
    site.closeAllConnections();
    await new Promise((closed) => site.close(closed));
  }
});
