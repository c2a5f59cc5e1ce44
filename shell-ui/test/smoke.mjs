// The built shell in Chromium, over the mock, with the real headers: everything a person does in the first week.
// Pictures of every screen go to test/screens/ (or below PERCLOUD_TARGET), 360 and 1280 wide, light and dark.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { LOOKS, SCREENS, file, frameOf, grainCalled, heading, household, misses, pictures, server, stumbles, toast, visit } from "./browser.mjs";

test("from the printed link to the first calendar, and through its life", async () => {
  server.mock.reset();
  const { state } = server.mock;
  const { page, end } = await visit({ signedIn: false, expected: [403, 422] });

  // Setup: the secret comes with the link and leaves the address.
  await page.goto(`/setup#${"b".repeat(64)}`);
  await heading(page, "Welcome to your own cloud").waitFor();
  assert.equal(new URL(page.url()).hash, "");
  await page.getByRole("button", { name: "Create my account" }).click();
  assert.equal(await page.getByLabel("Your name").getAttribute("aria-invalid"), "true");
  await page.getByLabel("Your name").fill("Ada Lovelace");
  assert.equal(await page.getByLabel("User name").inputValue(), "ada");
  await page.getByLabel("Password", { exact: true }).fill("short");
  await page.getByText("Too short yet.").first().waitFor();
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByText("Strong.").waitFor();
  await page.getByRole("button", { name: "Create my account" }).click();
  // A wrong secret is said, and can be typed.
  await page.getByRole("alert").getByText("not the setup code").waitFor();
  await page.getByLabel("Setup code").fill(state.secret);
  await page.getByRole("button", { name: "Create my account" }).click();

  // Nothing yet: the way to the first app.
  await heading(page, "Hello, Ada Lovelace").waitFor();
  await page.getByRole("link", { name: "Install your first app" }).click();
  await heading(page, "Install an app").waitFor();

  // A file that is none is refused in words; a changed one too.
  const picker = page.locator("input[type=file]");
  await picker.setInputFiles({ ...file("holiday"), name: "holiday.jpg" });
  await page.getByText("This is not the file of an app").waitFor();
  await end();
});

test("install, create, open, rename, trash, undo, restore, delete", async () => {
  server.mock.reset();
  const { state } = server.mock;
  state.setUp = true;
  state.me = { name: "Ada Lovelace", handle: "ada", password: "correct horse battery" };
  const { page, end } = await visit({ expected: [422] });
  await page.getByRole("link", { name: "Install your first app" }).click();
  const picker = page.locator("input[type=file]");
  await picker.setInputFiles(file("tampered"));
  await page.getByText("The file was changed after its maker signed it").waitFor();

  // Install.
  await picker.setInputFiles(file("calendar"));
  await page.getByRole("progressbar").waitFor();
  await heading(page, "Radicale").waitFor();
  await page.getByText("by The Radicale authors").waitFor();
  await page.getByText("Open source: GPL-3.0-or-later").waitFor();
  await page.getByText("It cannot see your other things").waitFor();
  assert.equal(state.apps.size, 0, "nothing is installed before the decision");
  await page.getByRole("button", { name: "Install", exact: true }).click();
  await toast(page, "Radicale is installed.").waitFor();

  // Create and open.
  await page.getByRole("button", { name: "New calendar" }).click();
  await frameOf(page).getByRole("heading", { name: "calendar" }).waitFor();
  const [grain] = state.grains.values();
  assert.equal(new URL(page.url()).pathname, `/grain/${grain.id}`);
  assert.deepEqual(
    state.handedOver.map(({ fits, origin, url }) => ({ fits, origin, url })),
    [{ fits: true, origin: server.url, url: "/_percloud/enter" }],
  );

  // The app says where one is; what it may not say is ignored.
  await frameOf(page).getByRole("button", { name: "Go to June" }).click();
  await page.waitForURL(/#\/june$/);
  await page.waitForFunction(() => document.title === "June · Percloud");
  await frameOf(page).getByRole("button", { name: "Misbehave" }).click();
  await page.waitForURL(/#\/june\/31$/);
  assert.equal(await page.title(), "June · Percloud");
  // A step back in the address is a step back in the app.
  await page.reload();
  await frameOf(page).getByText("/june/31").waitFor();

  // Rename in place.
  await page.getByRole("heading", { level: 1 }).getByRole("button", { name: "Calendar" }).click();
  const name = page.getByLabel("Rename Calendar");
  await name.fill("Family calendar");
  await name.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Family calendar" }).waitFor();
  assert.equal(grain.title, "Family calendar");

  // Trash and undo.
  const menu = page.getByRole("button", { name: "More for Family calendar" });
  await menu.click();
  await page.getByText("Uses 184 kB").waitFor();
  await page.getByRole("menuitem", { name: "Move to trash" }).click();
  await heading(page, "Hello, Ada Lovelace").waitFor();
  assert.notEqual(grain.trashed, null);
  await toast(page, "Family calendar is in the trash.").getByRole("button", { name: "Undo" }).click();
  await page.getByRole("link", { name: "Family calendar" }).waitFor();
  assert.equal(grain.trashed, null);

  // Trash, restore from the trash, trash, delete for ever.
  const discard = async () => {
    await page.getByRole("button", { name: "More for Family calendar" }).click();
    await page.getByRole("menuitem", { name: "Move to trash" }).click();
    await toast(page, "Family calendar is in the trash.").last().waitFor();
  };
  await discard();
  await page.getByRole("button", { name: "Your account" }).click();
  await page.getByRole("menuitem", { name: "Trash" }).click();
  await page.getByRole("button", { name: "Put back Family calendar" }).click();
  await heading(page, "The trash is empty").waitFor();
  await page.getByRole("link", { name: "Percloud" }).click();
  await discard();
  await page.goto("/trash");
  await page.getByRole("button", { name: "Delete for ever: Family calendar" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Keep it" }).click();
  assert.equal(state.grains.size, 1);
  await page.getByRole("button", { name: "Delete for ever: Family calendar" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete for ever" }).click();
  await heading(page, "The trash is empty").waitFor();
  assert.equal(state.grains.size, 0);

  // With nothing left, the app may go.
  await page.goto(`/apps/${[...state.apps.keys()][0]}`);
  await page.getByRole("button", { name: "Uninstall" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Uninstall" }).click();
  await page.getByRole("link", { name: "Install your first app" }).waitFor();
  assert.equal(state.apps.size, 0);
  await end();
});

test("the keyboard is enough", async () => {
  const state = household();
  const { page, end } = await visit();
  const key = (name) => page.keyboard.press(name);
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent?.trim());
  const tabTo = async (wanted) => {
    for (let step = 0; step < 60; step += 1) {
      if ((await focused()) === wanted) return;
      await key("Tab");
    }
    assert.fail(`Tab never reached ${wanted}`);
  };
  await page.goto("/");
  await heading(page, "Hello, Ada Lovelace").waitFor();
  await page.getByRole("link", { name: "Recipes" }).waitFor();
  await key("Tab");
  assert.equal(await focused(), "Skip to the content");
  await key("Enter");
  // A new board, by its button.
  await tabTo("New board");
  await key("Enter");
  await frameOf(page).getByRole("heading", { name: "board" }).waitFor();
  assert.equal(await focused(), "Board", "the focus is on the heading of the new page");
  // Rename through the menu.
  await tabTo("More for Board");
  await key("ArrowDown");
  assert.equal(await focused(), "Rename");
  await key("ArrowUp");
  assert.equal(await focused(), "Move to trash");
  await key("Escape");
  assert.equal(await focused(), "More for Board");
  await key("Enter");
  await key("Enter");
  await page.keyboard.type("Summer party");
  await key("Enter");
  await page.getByRole("heading", { level: 1, name: "Summer party" }).waitFor();
  assert.equal(await focused(), "Summer party");
  // Letters find their way in a menu. Sharing: a dialog that gives the focus back.
  await tabTo("More for Summer party");
  await key("Enter");
  await page.keyboard.type("s");
  assert.equal(await focused(), "Show the log");
  await page.keyboard.type("s");
  assert.equal(await focused(), "Settings");
  await key("Escape");
  await tabTo("Share");
  await key("Enter");
  await page.getByRole("dialog", { name: "Share Summer party" }).waitFor();
  await key("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(), "Share");
  await tabTo("More for Summer party");
  // Trash, and undo.
  await key("ArrowUp");
  await key("Enter");
  await toast(page, "Summer party is in the trash.").waitFor();
  await tabTo("Undo");
  await key("Enter");
  await page.getByRole("link", { name: "Summer party" }).waitFor();
  assert.equal([...state.grains.values()].find((grain) => grain.title === "Summer party").trashed, null);
  await end();
});

test("what was used last is started once the first page is there", async () => {
  const state = household();
  for (const grain of state.grains.values()) grain.lastUsed -= 86_400_000;
  grainCalled(state, "Moving house").lastUsed = Date.now() - 3_600_000;
  const { page, end } = await visit();
  const link = () => page.getByRole("link", { name: "Moving house", exact: true });
  await link().waitFor();
  await page.waitForFunction(() => performance.getEntriesByType("resource").some((one) => one.name.endsWith("/prepare")));
  // Of what is there in this test: a word of the one before may come late.
  const started = () => state.prepared.filter((title) => ["Family calendar", "Moving house", "Recipes"].includes(title));
  assert.deepEqual(started(), ["Moving house"]);
  // Once per visit: coming back to the first page is no new one.
  await page.getByRole("link", { name: "Recipes", exact: true }).click();
  await frameOf(page).locator("h1").waitFor();
  await page.goBack();
  await link().waitFor();
  await page.evaluate(() => new Promise((done) => requestIdleCallback(done)));
  assert.deepEqual(started().filter((title) => title === "Moving house"), ["Moving house"]);
  await end();
});

for (const look of LOOKS) {
  test(`a start says what one waits for, sooner or later, and never for a moment only, ${look[0]}`, async () => {
    const state = household();
    const { page, end } = await visit({ look });
    const { shot, found } = pictures(page, look);
    const recipes = grainCalled(state, "Recipes");
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 60_000);
    const release = server.mock.hold();
    await page.goto(`/grain/${recipes.id}`);
    const words = page.locator(".starting");
    await words.waitFor({ state: "attached" });
    await page.clock.runFor(140);
    assert.equal(await words.innerText(), "");
    await page.clock.runFor(20);
    assert.equal((await words.innerText()).trim(), "Starting Recipes …");
    await shot("starting");
    await page.clock.runFor(3000);
    await words.getByText("Still starting.").waitFor();
    await shot("still-starting");
    await page.clock.runFor(12_000);
    await words.getByText("This is taking unusually long.").waitFor();
    assert.equal(await words.getByText("Still starting.").count(), 0);
    assert.equal(await words.getByRole("link", { name: "Show the log" }).getAttribute("href"), `/grain/${recipes.id}/log`);
    await shot("slow-start");
    // Once more: it waits for the same start, from the beginning.
    await words.getByRole("button", { name: "Try again" }).click();
    release();
    await frameOf(page).locator("h1").waitFor();
    await words.waitFor({ state: "detached" });
    assert.deepEqual(found, []);
    await end();
  });
}

test("a start is told of in German, too", async () => {
  const state = household();
  const { page, end } = await visit({ locale: "de-DE" });
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 60_000);
  const release = server.mock.hold();
  await page.goto(`/grain/${grainCalled(state, "Recipes").id}`);
  const words = page.locator(".starting");
  await words.waitFor({ state: "attached" });
  await page.clock.runFor(200);
  assert.equal((await words.innerText()).trim(), "Recipes startet …");
  await page.clock.runFor(3000);
  await words.getByText("Startet noch.").waitFor();
  await page.clock.runFor(12_000);
  await words.getByText("Das dauert ungewöhnlich lange.").waitFor();
  await words.getByRole("link", { name: "Protokoll zeigen" }).waitFor();
  release();
  await frameOf(page).locator("h1").waitFor();
  await end();
});

test("a thing one points at or reaches with the keyboard is started ahead, one passed over is not", async () => {
  const { state } = (household(), server.mock);
  const { page, end } = await visit();
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 60_000);
  // What is started without being asked for is another test's.
  for (const grain of state.grains.values()) grain.lastUsed -= 86_400_000;
  await page.reload();
  const link = page.getByRole("link", { name: "Moving house", exact: true });
  await link.waitFor();
  state.prepared.length = 0;
  await link.hover();
  await page.mouse.move(0, 0);
  await page.clock.runFor(1000);
  assert.deepEqual(state.prepared, []);
  const asked = () => page.waitForResponse((response) => response.url().endsWith("/prepare"));
  let answer = asked();
  await link.hover();
  await page.clock.runFor(100);
  assert.equal((await answer).status(), 202);
  assert.deepEqual(state.prepared, ["Moving house"]);
  // Once is enough for a while.
  await page.mouse.move(0, 0);
  await link.hover();
  await page.clock.runFor(1000);
  answer = asked();
  await page.getByRole("link", { name: "Recipes", exact: true }).focus();
  await page.clock.runFor(100);
  await answer;
  assert.deepEqual(state.prepared, ["Moving house", "Recipes"]);
  await end();
});

test("no string becomes markup, and packages speak as text only", async () => {
  household();
  // The attempts below are the browser's to complain of.
  const { page, end } = await visit({ expected: ["requires 'Trusted", "trusted-types 'none'"] });
  const blocked = await page.evaluate(() => {
    window.expectViolations = true;
    const tried = [
      () => (document.body.innerHTML = "<b>x</b>"),
      () => document.body.insertAdjacentHTML("beforeend", "<b>x</b>"),
      () => window.trustedTypes.createPolicy("any", {}),
      () => document.createElement("script").setAttribute("src", "/x.js"),
    ];
    return tried.map((attempt) => {
      try {
        attempt();
        return "went through";
      } catch (error) {
        return error.name;
      }
    });
  });
  assert.deepEqual(blocked, ["TypeError", "TypeError", "TypeError", "TypeError"]);
  await page.goto("/install");
  await page.locator("input[type=file]").setInputFiles(file("hostile"));
  await page.getByRole("heading", { level: 1, name: "<img src=x onerror=alert(1)>Very" }).waitFor();
  await page.getByText("by </bdi><script>alert(2)</script>").waitFor();
  assert.equal(await page.getByRole("link", { name: /evil|javascript/ }).count(), 0);
  assert.ok((await heading(page, /img/).textContent()).length <= 80);
  assert.deepEqual(await misses(page), []);
  await end();
});

test("too many attempts are told with the time to wait", async () => {
  household();
  const { page, complaints, context } = await visit({ signedIn: false, expected: [403, 429] });
  await page.goto("/grain/whatever");
  await heading(page, "Sign in").waitFor();
  for (let attempt = 0; attempt < 4; attempt += 1) {
    await page.getByLabel("User name").fill("ada");
    await page.getByLabel("Password", { exact: true }).fill(`wrong ${attempt}`);
    const answered = page.waitForResponse((response) => response.url().endsWith("/api/session"));
    await page.getByRole("button", { name: "Sign in" }).click();
    await answered;
    if (attempt < 3) await page.getByRole("alert").getByText("do not go together").waitFor();
  }
  await page.getByText(/Wait \d+ seconds?\./).waitFor();
  assert.equal(await page.getByRole("button", { name: "Sign in" }).getAttribute("aria-disabled"), "true");
  assert.deepEqual(await stumbles(page), []);
  await context.close();
  assert.deepEqual(complaints, []);
});

test("a lost server is told, and what it lost comes back", async () => {
  const state = household();
  const { page, context, complaints } = await visit();
  await page.getByRole("link", { name: "Family calendar" }).click();
  await frameOf(page).getByRole("heading", { name: "calendar" }).waitFor();
  state.down = true;
  server.mock.restart();
  await page.getByText("No connection. Trying again …").waitFor();
  state.down = false;
  await page.getByText("this page has lost its connection").waitFor();
  await page.getByRole("button", { name: "Connect again" }).click();
  await frameOf(page).getByRole("heading", { name: "calendar" }).waitFor();
  await page.getByText("this page has lost its connection").waitFor({ state: "detached" });
  // Signed out elsewhere: here too, and back to the same place afterwards.
  const place = page.url();
  server.mock.tell({ type: "signed-out" });
  await heading(page, "Sign in").waitFor();
  await page.getByLabel("User name").fill("ada");
  await page.getByLabel("Password", { exact: true }).fill(state.me.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await frameOf(page).getByRole("heading", { name: "calendar" }).waitFor();
  assert.equal(page.url(), place);
  await context.close();
  // The browser itself writes of every request that found no server; nothing else may have gone wrong.
  assert.deepEqual(complaints.filter((text) => !text.includes("net::ERR_")), []);
});

test("a thing that fails says so and can be tried again", async () => {
  const state = household();
  const { page, end } = await visit({ expected: [503] });
  state.failNextStart = true;
  await page.getByRole("link", { name: "Recipes" }).click();
  await page.getByRole("heading", { name: "Recipes has stopped" }).waitFor();
  await page.getByText("stopped with code 1").waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await frameOf(page).getByRole("heading", { name: "wiki" }).waitFor();
  await end();
});

test("an upload can be stopped", async () => {
  const state = household();
  const { page, end } = await visit();
  await page.goto("/install");
  const release = server.mock.hold();
  await page.locator("input[type=file]").setInputFiles(file("calendar-new"));
  await page.getByText("Unpacking", { exact: true }).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await toast(page, "Stopped. Nothing was installed.").waitFor();
  release();
  await page.getByRole("button", { name: "Choose a file" }).waitFor();
  assert.equal(state.packages.size, 3);
  await end();
});

test("the shell speaks German to those who do", async () => {
  household();
  const { page, end } = await visit({ locale: "de-DE" });
  await heading(page, "Hallo, Ada Lovelace").waitFor();
  assert.equal(await page.locator("html").getAttribute("lang"), "de");
  await page.getByRole("button", { name: "Neu: calendar" }).waitFor();
  await page.screenshot({ path: join(SCREENS, "home-german-360-light.png"), fullPage: true });
  await end();
});

for (const look of LOOKS) {
  test(`every screen, ${look[0]}: pictures, names, sizes`, async () => {
    const state = household();
    const { page, end } = await visit({ look, expected: [409, 422, 503] });
    const { shot, found } = pictures(page, look);
    let release;
    const grains = [...state.grains.values()];
    const [calendar] = state.apps.values();

    await page.goto("/");
    await page.getByRole("link", { name: "Recipes" }).waitFor();
    await shot("home");
    await page.getByRole("button", { name: "More for Recipes" }).click();
    await shot("home-menu", { check: false });
    await page.getByRole("menuitem", { name: "Rename" }).click();
    await page.getByRole("dialog").waitFor();
    await shot("rename");
    await page.keyboard.press("Escape");
    await page.getByRole("searchbox").or(page.getByRole("search").getByRole("textbox")).fill("zzz");
    await page.getByText("Nothing called").waitFor();
    await shot("home-search");
    await page.getByRole("searchbox").fill("");
    await page.getByRole("button", { name: "More for Moving house" }).click();
    await page.getByRole("menuitem", { name: "Move to trash" }).click();
    await toast(page, "Moving house is in the trash.").waitFor();
    await shot("toast", { check: false });

    await page.goto("/trash");
    await page.getByText("Old shopping list").waitFor();
    await shot("trash");
    await page.getByRole("button", { name: "Empty the trash" }).click();
    await page.getByRole("dialog").waitFor();
    await shot("trash-ask");
    await page.keyboard.press("Escape");

    await page.goto(`/apps/${calendar.appId}`);
    await page.getByRole("button", { name: "New calendar" }).waitFor();
    await shot("app");

    await page.goto("/install");
    await page.getByRole("button", { name: "Choose a file" }).waitFor();
    await shot("choose");
    const picker = page.locator("input[type=file]");
    release = server.mock.hold();
    await picker.setInputFiles(file("calendar-new"));
    await page.getByText("Unpacking", { exact: true }).waitFor();
    await shot("progress");
    release();
    await heading(page, "Radicale").waitFor();
    await page.getByText("This replaces it with").waitFor();
    await shot("install-update");
    await page.goto("/install");
    await picker.setInputFiles(file("proprietary"));
    await heading(page, "Ledger Pro").waitFor();
    await shot("install");
    await page.goto("/install");
    await picker.setInputFiles(file("tampered"));
    await page.getByText("This file cannot be installed").waitFor();
    await shot("install-refused");

    await page.goto(`/grain/${grains[0].id}`);
    await frameOf(page).getByRole("heading", { name: "calendar" }).waitFor();
    await shot("grain", { full: false });
    await page.getByRole("button", { name: "More for Family calendar" }).click();
    await shot("grain-menu", { check: false, full: false });
    await page.getByRole("menuitem", { name: "Settings" }).click();
    await heading(page, "Settings of Family calendar").waitFor();
    await page.getByText("Send reminders").waitFor();
    await page.getByRole("progressbar", { name: "Space on the disk" }).waitFor();
    await page.getByRole("button", { name: "Change the limits" }).click();
    const disk = page.getByLabel("Space on the disk, in GB");
    await disk.fill("none");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText(/^Between .* and /).waitFor();
    await shot("settings-limits");
    await disk.fill("4");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText(/ of 4 GB$/).waitFor();
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByText(/ of 10 GB$/).waitFor();
    await shot("settings");
    state.failNextStart = true;
    release = server.mock.hold();
    await page.goto(`/grain/${grains[3].id}`);
    await page.getByText("letters, transcribed and in order …").waitFor();
    await shot("grain-starting", { full: false });
    release();
    await page.getByRole("button", { name: "Try again" }).waitFor();
    await shot("grain-problem", { full: false });
    await page.goto(`/grain/${grains[5].id}`);
    await page.getByRole("heading", { name: "Old shopping list is in the trash" }).waitFor();
    await shot("grain-trashed", { full: false });

    await page.goto(`/grain/${grains[0].id}/log`);
    await page.getByText("listening on port 8000").waitFor();
    await shot("log");
    await page.goto("/no/such/page");
    await heading(page, "There is nothing here").waitFor();
    await shot("not-found");

    await page.getByRole("button", { name: "Your account" }).click();
    await shot("account-menu", { check: false });
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await heading(page, "Sign in").waitFor();
    await shot("sign-in");

    server.mock.reset();
    await page.goto(`/setup#${state.secret}`);
    await page.getByLabel("Your name").fill("Ada Lovelace");
    await page.getByLabel("Password", { exact: true }).fill("correct horse");
    await shot("setup");
    await page.getByRole("button", { name: "Create my account" }).click();
    await page.getByRole("link", { name: "Install your first app" }).waitFor();
    await shot("empty");
    assert.deepEqual(found, [], "nothing to stumble over, nothing to miss");
    await end();
  });
}
