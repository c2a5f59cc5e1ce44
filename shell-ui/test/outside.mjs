// Apps that ask for what lies outside the server, websites, the network, ports: in Chromium over the mock.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { LOOKS, SCREENS, frameOf, heading, household, misses, server, stumbles, toast, visit } from "./browser.mjs";

const grainCalled = (state, title) => [...state.grains.values()].find((grain) => grain.title === title);
const dialog = (page) => page.getByRole("dialog");
const button = (page, name) => dialog(page).getByRole("button", { name, exact: true });
const radio = (page, name) => dialog(page).getByRole("radio", { name });
const field = (page, name) => dialog(page).getByLabel(name, { exact: true });
const said = (page) => frameOf(page).locator("#said");
const ask = (page, name) => frameOf(page).getByRole("button", { name, exact: true }).click();
const held = (state) => [...state.held.values()].slice(2).map(({ what, from }) => [what, from]);

async function openAsking(page, grain) {
  await page.goto(`/grain/${grain.id}`);
  await frameOf(page).getByText("Connections").click();
}
/** Whether one sees it, and not the buttons in front of it. */
const isInSight = (locator) =>
  locator.evaluate((element) => {
    const box = element.getBoundingClientRect();
    return element.contains(document.elementFromPoint(box.x + 4, box.y + box.height / 2));
  });
/** What has the focus, as one would call it. */
const focused = (page) =>
  page.evaluate(() => {
    const has = document.activeElement;
    return has?.labels?.[0]?.textContent ?? has?.textContent ?? "";
  });

for (const look of LOOKS) {
  test(`what lies outside, ${look[0]}: pictures, names, sizes`, async () => {
    const state = household();
    const { page, end } = await visit({ look, expected: [400] });
    const found = [];
    const shot = async (name, { full = false } = {}) => {
      await page.screenshot({ path: join(SCREENS, `outside-${name}-${look[0]}.png`), fullPage: full });
      found.push(...(await stumbles(page)).map((what) => [name, ...what]));
      if (look[1].width < 1000) found.push(...(await misses(page)).map((what) => [name, what]));
    };
    const board = grainCalled(state, "Moving house");
    await openAsking(page, board);

    await ask(page, "Choose anything");
    await dialog(page).getByText("The whole network, encrypted").waitFor();
    await radio(page, /^Another website/).check();
    await shot("list");
    await button(page, "Continue").click();
    await field(page, "Address of the website").waitFor();
    await shot("typed-back");
    await page.keyboard.press("Escape");

    await ask(page, "Talk to GitHub");
    await dialog(page).getByText("https://api.github.com/repos").waitFor();
    await shot("fixed");
    await button(page, "Connect").click();
    await dialog(page).getByText("Choose how to sign in there.").waitFor();
    await shot("fixed-unchosen");
    await radio(page, /access key/).check();
    await field(page, "Access key").fill("ghp with spaces");
    await button(page, "Connect").click();
    await dialog(page).getByText("An access key has no spaces").waitFor();
    assert.ok(await isInSight(dialog(page).getByText("An access key has no spaces")), "what is wrong is not below the buttons");
    await shot("fixed-key");
    await page.keyboard.press("Escape");

    const long = `https://${"very".repeat(15)}.example/${"long".repeat(30)}/${"longer/".repeat(30)}`;
    const request = server.mock.connecting.ask(board, [...state.people.values()][0], { query: [Buffer.from(long).toString("base64")], label: "Far".repeat(100) });
    server.mock.tell({ type: "asked", request, grain: board.id });
    await dialog(page).getByText("It will reach only").waitFor();
    await shot("long");
    await page.keyboard.press("Escape");

    await ask(page, "Talk to the weather station");
    await radio(page, /user name and password/).check();
    await field(page, "User name there").fill("bela");
    await field(page, "Password there").fill("nine lives");
    await button(page, "Show password").click();
    await shot("unencrypted");
    await page.keyboard.press("Escape");

    await ask(page, "Talk to any one place");
    await field(page, "Address of the website").fill("printer.local");
    await shot("typed");
    await button(page, "Connect").click();
    await dialog(page).getByText("belongs to the server’s own network").waitFor();
    await shot("typed-refused");
    await field(page, "Address of the website").fill("http://bela:nine%20lives@trains.example/board");
    await field(page, "Address of the website").blur();
    await dialog(page).getByText("The address had a user name").waitFor();
    await shot("typed-moved");
    await page.keyboard.press("Escape");

    for (const [name, asked] of [["network", "Whisper to everybody"], ["ports", "Listen"]]) {
      await ask(page, asked);
      await button(page, "Continue").waitFor();
      await shot(name);
      await button(page, "Continue").click();
      await button(page, "Yes, let it").waitFor();
      await shot(`${name}-sure`);
      await button(page, "Yes, let it").click();
      await toast(page, "Moving house can use").last().waitFor();
    }
    const url = "https://api.github.com/repos";
    state.held.set("w", { id: "w", grain: board.id, label: "Issues", what: "a website", from: url, by: "Ada Lovelace", created: Date.now() });
    await page.goto(`/grain/${board.id}/settings`);
    await page.getByText("The website api.github.com").waitFor();
    await shot("held", { full: true });
    assert.deepEqual(found, [], "nothing to stumble over, nothing to miss");
    await end();
  });
}

test("an app is let to one address, with a sign-in it never sees", async () => {
  const state = household();
  const { page, end } = await visit();
  const board = grainCalled(state, "Moving house");
  await openAsking(page, board);
  await ask(page, "Talk to GitHub");
  await dialog(page).getByRole("heading", { name: "Let Moving house talk to api.github.com" }).waitFor();
  await dialog(page).getByText("Moving house asks for this for “Talk to GitHub”.").waitFor();
  await dialog(page).getByText("https://api.github.com/repos", { exact: true }).waitFor();
  await dialog(page).getByText("It will reach only this address and what is below it; nothing else on the Internet.").waitFor();
  // There is no list to go back to, and nothing is chosen: whoever types into the app as this appears gives nothing away.
  assert.equal(await button(page, "Back to the list").count(), 0);
  assert.match(await focused(page), /^Moving house asks for this/);
  for (const key of ["Enter", "Space", "Enter"]) await page.keyboard.press(key);
  assert.deepEqual(held(state), []);
  await button(page, "Connect").click();
  await dialog(page).getByRole("alert").getByText("Choose how to sign in there.").waitFor();
  assert.equal(await focused(page), "No sign-in");

  // A key is asked for, stays hidden until one wants to see it, and must be one.
  await radio(page, /access key/).check();
  const key = field(page, "Access key");
  assert.equal(await key.getAttribute("type"), "password");
  assert.equal(await key.getAttribute("autocomplete"), "off");
  await dialog(page).getByRole("group", { description: "Percloud keeps it and signs in by itself. The app never sees it." }).waitFor();
  await button(page, "Connect").click();
  await dialog(page).getByText("Please fill this in.").waitFor();
  assert.equal(await focused(page), "Access key");
  await key.fill("two words");
  await dialog(page).getByText("An access key has no spaces").waitFor();
  await key.fill(" ghp_0123 ");
  await button(page, "Show access key").click();
  assert.equal(await key.getAttribute("type"), "text");
  assert.equal(await button(page, "Hide access key").getAttribute("aria-pressed"), "true");
  await page.route("**/choose", async (route) => {
    await new Promise((done) => setTimeout(done, 300));
    await route.continue();
  });
  await button(page, "Connect").click();
  assert.equal(await button(page, "Connect").getAttribute("aria-busy"), "true");
  await toast(page, "Moving house can use api.github.com now.").waitFor();
  assert.deepEqual(state.credentials, [{ url: "https://api.github.com/repos", credential: { kind: "bearer", token: "ghp_0123" } }]);
  assert.deepEqual(Object.keys(JSON.parse(await said(page).textContent())).sort(), ["descriptor", "rpcId", "token"]);
  assert.equal((await page.content()).includes("ghp_0123"), false);
  await page.unroute("**/choose");

  // It stands in the settings, in words, and can be taken back.
  await page.goto(`/grain/${board.id}/settings`);
  await page.getByText("only https://api.github.com/repos and what is below it").waitFor();
  await page.getByRole("button", { name: "Take back: The website api.github.com" }).click();
  await dialog(page).getByRole("button", { name: "Take back" }).click();
  await toast(page, "Taken back.").waitFor();
  assert.deepEqual(held(state), []);
  await end();
});

test("an address is typed as people type; what is wrong with it is said there", async () => {
  const state = household();
  const { page, end } = await visit({ expected: [400, "ERR_EMPTY_RESPONSE", "ERR_CONNECTION", "ERR_INCOMPLETE"] });
  await openAsking(page, grainCalled(state, "Moving house"));
  await ask(page, "Talk to any one place");
  await dialog(page).getByRole("heading", { name: "Let Moving house talk to a website" }).waitFor();
  const address = field(page, "Address of the website");
  assert.equal(await focused(page), "Address of the website");
  await page.keyboard.press("Enter");
  await dialog(page).getByText("Please fill this in.").waitFor();
  for (const [typed, why] of [
    ["not an address", "This is not the address of a website."],
    ["ftp://trains.example/", "The address has to begin with https:// or http://."],
    ["trains.example/#today", "Leave out everything from “#” on."],
    ["trains.example/?day=1", "Leave out everything from “?” on."],
  ]) {
    await address.fill(typed);
    await page.keyboard.press("Enter");
    await dialog(page).getByText(why).waitFor();
    assert.equal(await address.getAttribute("aria-invalid"), "true");
    assert.equal(await address.inputValue(), typed);
    assert.equal(await focused(page), "Address of the website");
  }

  // What follows from the address is said as it is typed: https, unless one says otherwise.
  await address.fill("trains.example/board");
  await dialog(page).getByText("It will reach only https://trains.example/board and what is below it").waitFor();
  assert.equal(await dialog(page).getByRole("alert").count(), 0);
  await address.fill("http://trains.example/board");
  await dialog(page).getByRole("alert").getByText("Nothing is encrypted on the way to trains.example.").waitFor();

  // User name and password do not stay where everybody sees them.
  await address.fill("https://bela:nine%20lives@printer.local/");
  await page.keyboard.press("Enter");
  await dialog(page).getByRole("status").getByText("The address had a user name or password in it.").waitFor();
  assert.equal(await address.inputValue(), "https://printer.local/");
  assert.equal(await field(page, "User name there").inputValue(), "bela");
  assert.equal(await field(page, "Password there").inputValue(), "nine lives");
  assert.equal(await field(page, "Password there").getAttribute("type"), "password");
  assert.deepEqual(held(state), [], "not sent before the person has seen it");

  // What the server refuses is said beside the address; what was typed stays.
  await button(page, "Connect").click();
  await dialog(page).getByText("This address belongs to the server’s own network.").waitFor();
  assert.equal(await focused(page), "Address of the website");
  assert.equal(await field(page, "Password there").inputValue(), "nine lives");
  await address.fill("https://trains.example/board");
  assert.equal(await dialog(page).getByText("belongs to the server’s own network").count(), 0);

  // So it does when the server is away.
  state.down = true;
  await button(page, "Connect").click();
  await dialog(page).getByRole("alert").getByText("The server cannot be reached.").waitFor();
  state.down = false;
  assert.equal(await address.inputValue(), "https://trains.example/board");
  await button(page, "Connect").click();
  await toast(page, "Moving house can use trains.example now.").waitFor();
  assert.deepEqual(state.credentials, [{ url: "https://trains.example/board", credential: { kind: "basic", user: "bela", password: "nine lives" } }]);
  await end();
});

test("from the list and back, nothing typed is lost", async () => {
  const state = household();
  const { page, end } = await visit();
  await openAsking(page, grainCalled(state, "Moving house"));
  await ask(page, "Choose anything");
  await dialog(page).getByRole("heading", { name: "Which one?" }).waitFor();
  // By what they are called here, and by what is said of them.
  for (const [query, name] of [["address", /Another website/], ["repos", /api\.github\.com/], ["encrypted", /The whole network/], ["ports", /Ports of this server/]]) {
    await dialog(page).getByRole("searchbox", { name: "Search" }).fill(query);
    await radio(page, name).first().waitFor();
  }
  await dialog(page).getByRole("searchbox", { name: "Search" }).fill("website");
  await radio(page, "Another website").check();
  // The second half of a double click is not an answer to the next question.
  await button(page, "Continue").dblclick();
  await field(page, "Address of the website").fill("trains.example");
  await radio(page, /access key/).check();
  await field(page, "Access key").fill("k3y");
  await button(page, "Back to the list").click();
  await radio(page, "Another website").waitFor();
  assert.equal(await radio(page, "Another website").isChecked(), true);
  assert.match(await focused(page), /Another website/);
  await radio(page, "api.github.com").check();
  await button(page, "Continue").click();
  await dialog(page).getByRole("heading", { name: "Let Moving house talk to api.github.com" }).waitFor();
  assert.equal(await radio(page, "No sign-in").isChecked(), true);
  await button(page, "Back to the list").click();
  await radio(page, "Another website").check();
  await page.keyboard.press("Enter");
  await field(page, "Address of the website").waitFor();
  assert.equal(await field(page, "Address of the website").inputValue(), "trains.example");
  assert.equal(await field(page, "Access key").inputValue(), "k3y");
  // What is of one's own, too, is still there to choose.
  await button(page, "Back to the list").click();
  await radio(page, "Choir").check();
  await button(page, "Use this").click();
  await toast(page, "Moving house can use Choir now.").waitFor();
  await end();
});

test("the whole network and ports are given after two questions, by the owner of the server alone", async () => {
  const state = household();
  const { page, end } = await visit();
  const board = grainCalled(state, "Moving house");
  await openAsking(page, board);
  await ask(page, "Talk to everybody");
  await dialog(page).getByRole("heading", { name: "Which one?" }).waitFor();
  await dialog(page).getByRole("radio").first().waitFor();
  assert.equal(await dialog(page).getByRole("radio").count(), 2);
  await radio(page, /^The whole network Any kind/).check();
  await button(page, "Continue").dblclick();
  await dialog(page).getByRole("heading", { name: "Let Moving house talk to the whole Internet" }).waitFor();
  await dialog(page).getByText("Moving house could then talk to every computer on the Internet in your server’s name.", { exact: true }).waitFor();
  await dialog(page).getByText("without encryption").waitFor();
  // Neither question is answered by a key that was meant for the one before.
  assert.match(await focused(page), /^Moving house asks for this/);
  await page.keyboard.press("Enter");
  await dialog(page).getByRole("heading", { name: "talk to the whole Internet" }).waitFor();
  await button(page, "Continue").dblclick();
  await dialog(page).getByRole("heading", { name: "Really the whole Internet?" }).waitFor();
  assert.match(await focused(page), /until you take it back/);
  await page.keyboard.press("Enter");
  await button(page, "No, go back").click();
  await dialog(page).getByRole("heading", { name: "Let Moving house talk to the whole Internet" }).waitFor();
  await button(page, "Back to the list").click();
  await radio(page, /encrypted connections/).check();
  await button(page, "Continue").click();
  await dialog(page).getByText("Its connections are encrypted").waitFor();
  assert.deepEqual(held(state), []);
  await button(page, "Continue").click();
  await button(page, "Yes, let it").click();
  await toast(page, "Moving house can use the whole network now.").waitFor();

  await ask(page, "Listen");
  await dialog(page).getByRole("heading", { name: "Let Moving house listen on ports of this server" }).waitFor();
  // The keyboard is enough.
  for (const name of ["Cancel", "Continue"]) {
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), name);
  }
  await page.keyboard.press("Enter");
  await dialog(page).getByRole("heading", { name: "Really ports of this server?" }).waitFor();
  for (const name of ["No, go back", "Yes, let it"]) {
    await page.keyboard.press("Tab");
    assert.equal(await focused(page), name);
  }
  await page.keyboard.press("Enter");
  await toast(page, "Moving house can use ports of this server now.").waitFor();
  assert.deepEqual(held(state), [
    ["the whole network", null],
    ["ports of this machine", null],
  ]);
  await page.goto(`/grain/${board.id}/settings`);
  await page.getByRole("button", { name: "Take back: The whole network" }).waitFor();
  await page.getByRole("button", { name: "Take back: Ports of this server" }).waitFor();
  await page.getByText("other computers reach it directly").waitFor();
  await end();

  // Everybody else is not even offered it.
  const bela = [...state.people.values()].find((one) => one.handle === "bela");
  const other = await visit({ as: bela });
  await openAsking(other.page, grainCalled(state, "Choir"));
  await ask(other.page, "Talk to everybody");
  await dialog(other.page).getByText("You have nothing that fits.").waitFor();
  assert.equal(await button(other.page, "Continue").count(), 0);
  await button(other.page, "Cancel").click();
  await ask(other.page, "Talk to any one place");
  await field(other.page, "Address of the website").waitFor();
  await other.page.keyboard.press("Escape");
  await frameOf(other.page).getByText('"canceled":true').waitFor();
  await other.end();
});

test("what lies outside is asked for in German, too", async () => {
  const state = household();
  const { page, end } = await visit({ locale: "de-DE", expected: [400] });
  const board = grainCalled(state, "Moving house");
  await openAsking(page, board);
  await ask(page, "Talk to any one place");
  await field(page, "Adresse der Website").fill("http://printer.local");
  await radio(page, /Benutzername und Passwort/).check();
  await field(page, "Benutzername dort").fill("bela");
  await button(page, "Verbinden").click();
  await dialog(page).getByText("Der Server nimmt das nicht an: This address belongs").waitFor();
  await page.screenshot({ path: join(SCREENS, "outside-typed-german-360-light.png") });
  await page.keyboard.press("Escape");
  await ask(page, "Whisper to everybody");
  await dialog(page).getByRole("heading", { name: "Moving house mit dem ganzen Internet sprechen lassen" }).waitFor();
  await page.screenshot({ path: join(SCREENS, "outside-network-german-360-light.png") });
  await button(page, "Weiter").click();
  await button(page, "Ja, zulassen").click();
  await page.goto(`/grain/${board.id}/settings`);
  await page.getByText("Das ganze Netz").waitFor();
  await heading(page, "Einstellungen von Moving house").waitFor();
  await end();
});
