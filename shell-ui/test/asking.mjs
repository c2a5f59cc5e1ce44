// Apps that ask and speak, programs that connect, copies: in Chromium over the mock.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LOOKS, dialog, frameOf, grainCalled, heading, household, person, pictures, server, toast, visit } from "./browser.mjs";

const said = (page) => frameOf(page).locator("#said");

/** Opens a thing and its buttons for asking. */
async function openAsking(page, grain) {
  await page.goto(`/grain/${grain.id}`);
  await frameOf(page).getByText("Connections").click();
}
/** What was cancelled is forgotten by the server too. */
async function forgotten(page, state) {
  while (state.requests.size > 0) await page.waitForResponse((response) => response.request().method() === "DELETE");
}
/** A promise, and what resolves it. */
function signal() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return [promise, resolve];
}
const ask = (page, name) => frameOf(page).getByRole("button", { name }).click();

for (const look of LOOKS) {
  test(`apps and programs, ${look[0]}: pictures, names, sizes`, async () => {
    const state = household();
    const { page, end } = await visit({ look, expected: [400, 422] });
    const { shot, found } = pictures(page, look);
    const calendar = grainCalled(state, "Family calendar");

    await openAsking(page, grainCalled(state, "Moving house"));
    await ask(page, "Choose a calendar");
    await dialog(page).getByText("Choir").click();
    await shot("picker", { full: false });
    await page.keyboard.press("Escape");
    await ask(page, "Choose a website");
    await dialog(page).getByLabel("Address of the website").fill("not an address");
    await dialog(page).getByRole("button", { name: "Use this" }).click();
    await dialog(page).getByText("That is not the address of a website.").waitFor();
    await shot("picker-address", { full: false });
    await page.keyboard.press("Escape");
    await ask(page, "Choose something new");
    await dialog(page).getByText("You can make it now.").waitFor();
    await shot("picker-new", { full: false });
    await page.keyboard.press("Escape");
    await ask(page, "Choose a page");
    await dialog(page).getByText("Recipes").click();
    await dialog(page).getByRole("button", { name: "Use this" }).click();
    await dialog(page).locator("iframe").contentFrame().getByText("Which page?").waitFor();
    await shot("picker-inside", { full: false });
    await page.keyboard.press("Escape");
    await ask(page, "Connect a program");
    await frameOf(page).locator("#offer iframe").contentFrame().getByRole("button", { name: "Copy" }).waitFor();
    await shot("template", { full: false });
    await ask(page, "Who can see this?");
    await dialog(page).getByText("Nobody else can open it.").waitFor();
    await shot("access-dialog", { full: false });

    await page.goto(`/grain/${calendar.id}/devices`);
    await page.getByText("Ada’s phone can do everything").waitFor();
    await shot("devices");
    await page.getByRole("button", { name: "Connect a program" }).click();
    await dialog(page).getByLabel("What do you connect?").fill("Tablet");
    await shot("device-add", { full: false });
    await dialog(page).getByRole("button", { name: "Make a password" }).click();
    await dialog(page).getByText("Type this into").waitFor();
    await dialog(page).getByText("Git", { exact: true }).click();
    await shot("device-ready", { full: false });
    await dialog(page).getByRole("button", { name: "Done" }).click();
    await page.goto(`/grain/${grainCalled(state, "Recipes").id}/devices`);
    await page.getByText("No program uses it yet.").waitFor();
    await shot("devices-none");

    await page.goto(`/grain/${calendar.id}/history`);
    await page.getByText("made a link: can view").waitFor();
    await shot("history");
    state.tampered = true;
    await page.goto("/history");
    await page.getByText("This list was changed from outside.").waitFor();
    await shot("history-broken");

    await page.goto("/notifications");
    await page.getByText("Bela moved “Dentist”").waitFor();
    await shot("notifications");
    await page.getByRole("button", { name: /^More for this message: Bela/ }).click();
    await shot("notification-menu", { check: false });
    await page.keyboard.press("Escape");
    state.notifications.clear();
    await page.reload();
    await heading(page, "Nothing new").waitFor();
    await shot("notifications-none");

    await page.goto("/restore");
    await shot("restore");
    await page.locator("input[type=file]").setInputFiles({ name: "holiday.zip", mimeType: "application/zip", buffer: Buffer.from("no") });
    await page.getByText("This backup cannot be restored").waitFor();
    await shot("restore-refused");
    assert.deepEqual(found, [], "nothing to stumble over, nothing to miss");
    await end();
  });
}

test("an app asks, and gets what the person chose, exactly so", async () => {
  const state = household();
  const { page, end } = await visit({ expected: [400] });
  await openAsking(page, grainCalled(state, "Moving house"));
  await ask(page, "Choose a calendar");
  await dialog(page).getByText("Moving house asks for something to use for “Choose a calendar”.").waitFor();
  // One picker at a time.
  await dialog(page).getByRole("button", { name: "Use this" }).click();
  await dialog(page).getByText("Choose one first.").waitFor();
  await dialog(page).getByText("Family calendar").click();
  await dialog(page).getByText("Reader", { exact: true }).click();
  await dialog(page).getByRole("button", { name: "Use this" }).click();
  await toast(page, "Moving house can use Family calendar now.").waitFor();
  const reply = JSON.parse(await said(page).textContent());
  assert.deepEqual(Object.keys(reply).sort(), ["descriptor", "rpcId", "token"]);
  assert.equal(reply.rpcId, 1);
  assert.match(reply.token, /^[\w-]{43}$/);

  // Escape, and the button, cancel.
  await ask(page, "Choose a wiki");
  await dialog(page).getByText("Which one?").waitFor();
  await page.keyboard.press("Escape");
  await frameOf(page).getByText('{"rpcId":2,"canceled":true}').waitFor();
  await page.waitForFunction(() => document.querySelector("dialog") === null);
  await forgotten(page, state);

  // Something to type; what the server refuses is said where it was typed.
  await ask(page, "Choose a website");
  await dialog(page).getByLabel("Address of the website").fill("nonsense");
  await dialog(page).getByRole("button", { name: "Use this" }).click();
  await dialog(page).getByText("That is not the address of a website.").waitFor();
  await dialog(page).getByLabel("Address of the website").fill("https://trains.example/");
  await dialog(page).getByRole("button", { name: "Use this" }).click();
  await toast(page, "Moving house can use https://trains.example/ now.").waitFor();

  // Something new.
  const before = state.grains.size;
  await ask(page, "Choose something new");
  await dialog(page).getByRole("button", { name: "New wiki" }).click();
  await toast(page, "Moving house can use wiki now.").waitFor();
  assert.equal(state.grains.size, before + 1);

  // What was given stands in the settings, and can be taken back.
  await page.goto(`/grain/${grainCalled(state, "Moving house").id}/settings`);
  await page.getByRole("button", { name: "Take back: Family calendar" }).click();
  await dialog(page).getByRole("button", { name: "Take back" }).click();
  await toast(page, "Taken back.").waitFor();
  // So can what it does by itself.
  state.jobs.push({ id: "j9", grain: grainCalled(state, "Moving house").id, name: "Watch prices", period: "weekly", next: Date.now() + 9e7, created: Date.now(), problem: null });
  await page.reload();
  await page.getByRole("button", { name: "End it: Watch prices" }).click();
  await dialog(page).getByRole("button", { name: "End it" }).click();
  await page.getByText("Nothing: it rests when nobody uses it.").waitFor();
  assert.equal(state.jobs.some((one) => one.id === "j9"), false);
  assert.equal([...state.held.values()].some((one) => one.what === "Family calendar"), false);
  await end();
});

test("the thing that gives asks further on a page of its own", async () => {
  const state = household();
  const { page, end } = await visit();
  await openAsking(page, grainCalled(state, "Moving house"));
  await ask(page, "Choose a page");
  await dialog(page).getByText("Recipes").click();
  await dialog(page).getByRole("button", { name: "Use this" }).click();
  await dialog(page).getByRole("heading", { name: "Recipes asks what exactly" }).waitFor();
  await dialog(page).locator("iframe").contentFrame().getByRole("button", { name: "Soups" }).click();
  await toast(page, "Moving house can use Recipes now.").waitFor();
  assert.deepEqual(Object.keys(JSON.parse(await said(page).textContent())).sort(), ["descriptor", "rpcId", "token"]);
  await end();
});

test("an app that asks a hundred times is answered a hundred times and asked once", async () => {
  const state = household();
  const { page, end } = await visit();
  await openAsking(page, grainCalled(state, "Moving house"));
  await frameOf(page).locator("body").evaluate(() => {
    window.answers = [];
    addEventListener("message", (event) => window.answers.push(event.data));
  });
  await ask(page, "Ask a hundred times");
  await dialog(page).getByText("Which one?").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("dialog").length === 1);
  await page.keyboard.press("Escape");
  await frameOf(page).getByText('{"rpcId":"flood 0","canceled":true}').waitFor();
  const answers = await frameOf(page).locator("body").evaluate(() => window.answers);
  assert.equal(answers.filter((answer) => answer.error).length, 99);
  await forgotten(page, state);
  await end();
});

test("an app asks through its server side, here and from elsewhere; and shows other things", async () => {
  const state = household();
  const { page, end } = await visit();
  const ada = person(state, "ada");
  const [board, recipes] = [grainCalled(state, "Moving house"), grainCalled(state, "Recipes")];
  await page.goto(`/grain/${board.id}`);
  await frameOf(page).getByRole("heading", { name: "board" }).waitFor();
  const request = server.mock.connecting.ask(board, ada, { query: [Buffer.from("calendar").toString("base64")], label: "Dates" });
  // It waits until nothing else is in front of the page.
  await page.getByRole("button", { name: "Share", exact: true }).click();
  await dialog(page).getByRole("heading", { name: "Share Moving house" }).waitFor();
  server.mock.tell({ type: "asked", request, grain: board.id }, [ada.id]);
  await page.keyboard.press("Escape");
  await dialog(page).getByText("for “Dates”").waitFor();
  await dialog(page).getByText("Choir").click();
  await dialog(page).getByRole("button", { name: "Use this" }).click();
  await toast(page, "Moving house can use Choir now.").waitFor();
  // Somebody else is on the screen: a message leads there.
  const second = server.mock.connecting.ask(recipes, ada, { query: [Buffer.from("calendar").toString("base64")], label: "Dates" });
  server.mock.tell({ type: "asked", request: second, grain: recipes.id }, [ada.id]);
  await toast(page, "Recipes asks you to choose something.").getByRole("button", { name: "Choose" }).click();
  await frameOf(page).getByRole("heading", { name: "wiki" }).waitFor();
  await dialog(page).getByText("Which one?").waitFor();
  await page.keyboard.press("Escape");
  server.mock.tell({ type: "show", grain: board.id, path: "/june", newTab: false, from: recipes.id }, [ada.id]);
  await page.waitForURL(new RegExp(`/grain/${board.id}#/june$`));
  await frameOf(page).getByRole("heading", { name: "board" }).waitFor();
  // What another thing's page asks to be shown is nothing to the one on the screen.
  server.mock.tell({ type: "show", grain: recipes.id, path: "/", newTab: false, from: recipes.id }, [ada.id]);
  server.mock.tell({ type: "show", grain: recipes.id, path: "/new", newTab: true, from: board.id }, [ada.id]);
  await toast(page, "There is something to see in Recipes.").waitFor();
  assert.equal(new URL(page.url()).pathname, `/grain/${board.id}`);
  await end();
});

test("a text with a password is shown in the app's page, and not to the app", async () => {
  const state = household();
  const { page, end } = await visit();
  await openAsking(page, grainCalled(state, "Moving house"));
  await ask(page, "Connect a program");
  const shown = frameOf(page).locator("#offer iframe").contentFrame();
  await shown.getByText(/git clone http:\/\/git:[\w-]{43}@api-[0-9a-f]{32}\.percloud\.localhost:\d+\/ moving-house/).waitFor();
  const reply = JSON.parse(await said(page).textContent());
  assert.deepEqual(Object.keys(reply).sort(), ["rpcId", "uri"]);
  assert.match(reply.uri, /\/offer-template\.html#[0-9a-f]{32}$/);
  assert.equal(state.devices.size, 3);
  // Asked again at once, it is the same; and what it is called can be asked, too.
  await ask(page, "What am I called?");
  await frameOf(page).getByText('{"rpcId":"title","grainTitle":"Moving house"}').waitFor();
  await ask(page, "Connect a program");
  await frameOf(page).getByText(reply.uri).waitFor();
  assert.equal(state.devices.size, 3);
  const [[token, kept]] = state.tokens;
  assert.equal(kept, 300_000, "the password is kept alive while it is on the screen");
  assert.equal((await page.content()).includes(token), false);
  // The app that asked to be told of a new title is told.
  await page.getByRole("button", { name: "More for Moving house" }).click();
  await page.getByRole("menuitem", { name: "Rename" }).click();
  await page.getByLabel("Rename Moving house").fill("Moved");
  await page.keyboard.press("Enter");
  await frameOf(page).getByText('{"rpcId":"title","grainTitle":"Moved"}').waitFor();
  // A name that is no text's shows nothing.
  await page.goto(`/offer-template.html#${"0".repeat(32)}`);
  await page.getByText("This text is not here any more.").waitFor();
  await end();
});

test("a program gets a password, once, and loses it", async () => {
  const state = household();
  const { page, end } = await visit();
  await page.goto(`/grain/${grainCalled(state, "Recipes").id}/devices`);
  await page.getByRole("button", { name: "Connect a program" }).click();
  await dialog(page).getByRole("button", { name: "Make a password" }).click();
  await dialog(page).getByText("Please fill this in.").waitFor();
  await dialog(page).getByLabel("What do you connect?").fill("Tablet");
  await dialog(page).getByRole("button", { name: "Make a password" }).click();
  assert.match(await dialog(page).getByLabel("Password", { exact: true }).inputValue(), /^[\w-]{43}$/);
  assert.equal(await dialog(page).getByLabel("User name", { exact: true }).inputValue(), "ada");
  assert.match(await dialog(page).getByLabel("Address", { exact: true }).inputValue(), /^http:\/\/api-/);
  await dialog(page).getByRole("button", { name: "Done" }).click();
  await page.getByRole("button", { name: "Disconnect Tablet" }).click();
  await dialog(page).getByRole("button", { name: "Disconnect" }).click();
  await page.getByText("No program uses it yet.").waitFor();
  await end();
});

test("apps speak, and are read, silenced and stopped", async () => {
  const state = household();
  const { page, end } = await visit();
  await page.goto("/");
  await page.getByRole("link", { name: "3 new messages from your apps" }).waitFor();
  server.mock.connecting.notify(person(state, "ada").id, { grain: grainCalled(state, "Recipes").id, title: "Recipes", text: "A comment on soup", path: "/soup" });
  await page.getByRole("link", { name: "4 new messages from your apps" }).click();
  await page.getByRole("button", { name: "Stop it: Keeps in touch with the removal company" }).click();
  await toast(page, "It was stopped.").waitFor();
  await page.getByRole("button", { name: /^More for this message: Three pages/ }).click();
  await page.getByRole("menuitem", { name: "No more about this" }).click();
  await page.getByText("Three pages were changed").waitFor({ state: "detached" });
  await page.getByRole("link", { name: "A comment on soup" }).click();
  await frameOf(page).getByText("/soup").waitFor();
  await page.goto("/notifications");
  const asked = page.waitForRequest((request) => request.method() === "POST");
  await page.getByRole("button", { name: "Mark all as read" }).click();
  assert.match((await asked).url(), /\/notifications\/read$/, "one request, however many there are");
  await page.getByRole("link", { name: "Messages from your apps" }).waitFor();
  await page.reload();
  await page.getByRole("link", { name: "Messages from your apps" }).waitFor();
  await end();
});

/** Each with a word of its sentence, in either language. */
const LIMITS = {
  memory: ["It needed more memory", "mehr Arbeitsspeicher"],
  processes: ["more processes than", "mehr Prozesse"],
  disk: ["takes all the space", "den ganzen Platz"],
  files: ["keeps as many files", "so viele Dateien auf"],
  log: ["into its log", "in sein Protokoll"],
  processor: ["kept a processor busy", "einen Prozessor beschäftigt"],
  "open-files": ["as many files open", "so viele Dateien geöffnet"],
  calls: ["more than it finishes", "mehr, als es zu Ende bringt"],
  answers: ["said nothing while", "gab keine Antwort"],
  "server-disk": ["The disk of this server", "Die Festplatte dieses Servers"],
};
const WARNINGS = {
  "disk-short": ["nothing on it can grow", "kann nichts darauf wachsen"],
  "edge-fails": ["Pages may fail to load", "dass Seiten nicht laden"],
  "egress-fails": ["they reach none", "erreichen sie keinen"],
  "broker-fails": ["Everything begins anew", "beginnt alles von vorn"],
  "store-damaged": ["newest state that can be trusted", "auf den Verlass ist"],
  "store-failed": ["the server starts anew by itself", "startet der Server von selbst neu"],
  "launcher-fails": ["takes all that run along", "alle mit, die gerade laufen"],
};

for (const [look, locale] of [...LOOKS.map((look) => [look, "en-GB"]), [LOOKS[0], "de-DE"]]) {
  test(`what met a limit and what fails is said in words of ours, ${look[0]} ${locale}`, async () => {
    const state = household();
    const language = locale === "en-GB" ? 0 : 1;
    const name = (screen) => (language === 0 ? screen : `${screen}-german`);
    const message = "A sentence of the server’s.";
    state.warnings.push(...Object.keys(WARNINGS).map((code) => ({ code, message })), { code: "of-later", message });
    for (const limit of Object.keys(LIMITS)) {
      server.mock.connecting.notify(person(state, "ada").id, { grain: grainCalled(state, "Recipes").id, title: "Recipes", text: message, limit });
    }
    const { page, end } = await visit({ look, locale });
    const { shot, found } = pictures(page, look);
    await page.goto("/");
    for (const words of Object.values(WARNINGS)) await page.getByText(words[language]).waitFor();
    assert.equal(await page.getByText(message).count(), 1, "what this shell does not know yet has the server's words");
    await shot(name("home-warnings"));
    await page.goto("/notifications");
    for (const words of Object.values(LIMITS)) await page.getByText(words[language]).first().waitFor();
    assert.equal(await page.getByText(message).count(), 0);
    await shot(name("notifications-limits"));
    assert.deepEqual(found, []);
    await end();
  });
}

test("what is heard while an older answer is on its way outlasts it", async () => {
  const state = household();
  const { page, end } = await visit();
  await page.goto("about:blank");
  while (state.streams.size > 0) await new Promise(setImmediate);
  const [held, release] = signal();
  const [made, make] = signal();
  // Made before the message, when the page hears events already, and come after it.
  state.homeWaits = () => {
    if (state.streams.size > 0) make();
    return held;
  };
  await page.goto("/");
  await made;
  server.mock.connecting.notify(person(state, "ada").id, { title: "Recipes", text: "A comment on soup" });
  server.mock.change(grainCalled(state, "Recipes"), { title: "Soups" });
  await page.getByRole("link", { name: "4 new messages from your apps" }).waitFor();
  release();
  await page.getByRole("link", { name: "Soups" }).first().waitFor();
  await page.getByRole("link", { name: "4 new messages from your apps" }).waitFor();
  await end();
});

test("a backup goes out and comes back; a copy stands beside", async () => {
  const state = household();
  const { page, end } = await visit({ expected: [409, 422] });
  const recipes = grainCalled(state, "Recipes");
  await page.goto(`/grain/${recipes.id}/settings`);
  const arriving = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download a backup" }).click();
  const download = await arriving;
  assert.equal(download.suggestedFilename(), "Recipes.zip");
  await page.getByRole("button", { name: "Make a copy" }).click();
  await toast(page, "Copy of Recipes is a copy of its own now.").waitFor();

  await page.goto("/restore");
  const picker = page.locator("input[type=file]");
  await picker.setInputFiles({ name: "holiday.zip", mimeType: "application/zip", buffer: Buffer.from("no") });
  await page.getByText("This backup cannot be restored").waitFor();
  await picker.setInputFiles(await download.path());
  await frameOf(page).getByRole("heading", { name: "wiki" }).waitFor();
  assert.equal([...state.grains.values()].filter((grain) => grain.title === "Recipes").length, 2);
  // Without its app it waits for the app.
  state.apps.delete(recipes.appId);
  await page.goto("/restore");
  await picker.setInputFiles(await download.path());
  await page.getByText("Install the app first").waitFor();
  await end();
});
