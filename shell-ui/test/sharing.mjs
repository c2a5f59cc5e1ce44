// Sharing in Chromium over the mock: giving, taking, seeing who has access, being shared with, and what happens when it ends.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { LOOKS, SCREENS, dialog, frameOf, grainCalled, heading, household, person, pictures, server, toast, visit } from "./browser.mjs";

const tokenIn = (url) => url.slice(url.indexOf("#") + 1);

for (const look of LOOKS) {
  test(`sharing, ${look[0]}: pictures, names, sizes`, async () => {
    const state = household();
    const { page, end } = await visit({ look, expected: [404, 403] });
    const { shot, found } = pictures(page, look);
    const calendar = grainCalled(state, "Family calendar");

    await page.goto("/");
    await page.getByRole("heading", { name: "Offered to you" }).waitFor();
    await shot("home-offers");

    await page.goto(`/grain/${calendar.id}`);
    await frameOf(page).getByRole("heading", { name: "calendar" }).waitFor();
    await page.getByRole("button", { name: "Share", exact: true }).click();
    await dialog(page).getByText("A person").waitFor();
    await dialog(page).getByText("Bela Bartók").waitFor();
    await shot("share-person", { full: false });
    await dialog(page).getByText("A link", { exact: true }).click();
    await dialog(page).getByText("More choices").click();
    await shot("share-link", { full: false });
    await dialog(page).getByLabel("What is this link for?").fill("Grandparents");
    await dialog(page).getByRole("button", { name: "Make the link" }).click();
    await dialog(page).getByRole("heading", { name: "The link is ready" }).waitFor();
    await shot("share-link-ready", { full: false });
    await page.keyboard.press("Escape");

    await page.goto(`/grain/${calendar.id}/access`);
    await page.getByText("Dmitri Shostakovich can view").waitFor();
    await shot("access");
    await page.getByRole("button", { name: "Change access: Link: Neighbours" }).click();
    await shot("access-menu", { check: false });
    await page.getByRole("menuitem", { name: "Change …" }).click();
    await dialog(page).waitFor();
    await shot("access-change", { full: false });
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Change access: Link: Neighbours" }).click();
    await page.getByRole("menuitem", { name: "End the link …" }).click();
    await dialog(page).getByText("came in by this link").waitFor();
    await shot("access-end", { full: false });
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Hand it over" }).click();
    await dialog(page).getByText("Bela Bartók").waitFor();
    await shot("hand-over", { full: false });
    await page.keyboard.press("Escape");
    await page.goto(`/grain/${grainCalled(state, "Recipes").id}/access`);
    await page.getByText("Nobody else can open it.").waitFor();
    await shot("access-nobody");

    await page.goto("/people");
    await page.getByText("@bela").waitFor();
    await page.getByRole("button", { name: "Invite somebody new" }).click();
    await dialog(page).getByLabel("Who is it for?").fill("Aunt Emmy");
    await dialog(page).getByRole("button", { name: "Make the invitation" }).click();
    await dialog(page).getByLabel("The invitation", { exact: true }).waitFor();
    const invitation = await dialog(page).getByLabel("The invitation", { exact: true }).inputValue();
    await shot("invitation", { full: false });
    await dialog(page).getByRole("button", { name: "Done" }).click();
    await shot("people");

    await page.goto(`/shared#${"P".repeat(43)}`);
    await heading(page, "This link does not work").waitFor();
    await shot("shared-gone");
    const recipes = grainCalled(state, "Recipes");
    server.mock.sharing.newWay(grainCalled(state, "Garden"), person(state, "chiara").id, { kind: "link", token: "G".repeat(43), role: { index: 1 } });
    await page.goto(`/shared#${"G".repeat(43)}`);
    await heading(page, "Garden").waitFor();
    await shot("shared");
    await page.getByRole("button", { name: "Open without adding it" }).click();
    await frameOf(page).getByRole("heading", { name: "board" }).waitFor();
    await shot("shared-open", { full: false });

    await page.goto(`/grain/${grainCalled(state, "Choir").id}`);
    await frameOf(page).getByRole("heading", { name: "calendar" }).waitFor();
    server.mock.sharing.changing(grainCalled(state, "Choir"), () => {
      for (const way of state.ways.values()) if (way.grain === grainCalled(state, "Choir").id) state.ways.delete(way.id);
    });
    await page.getByRole("heading", { name: "You cannot open Choir any more" }).waitFor();
    await shot("ended", { full: false });

    await page.goto(`/grain/${recipes.id}`);
    await page.goto("/");
    await page.getByRole("button", { name: "Your account" }).click();
    await page.getByRole("menuitem", { name: "Sign out" }).click();
    await heading(page, "Sign in").waitFor();
    await page.goto(`/shared#${"G".repeat(43)}`);
    await heading(page, "Garden").waitFor();
    await shot("shared-stranger");
    await page.goto(`/join#${tokenIn(invitation)}`);
    await heading(page, "Welcome").waitFor();
    await page.getByLabel("Your name").fill("Emmy Noether");
    await shot("join");
    await page.goto("/join#nonsense");
    await page.getByLabel("Your name").fill("Eve");
    await page.getByLabel("Password", { exact: true }).fill("four unrelated words here");
    await page.getByRole("button", { name: "Create my account" }).click();
    await heading(page, "This invitation does not work").waitFor();
    await shot("join-bad");
    assert.deepEqual(found, [], "nothing to stumble over, nothing to miss");
    await end();
  });
}

test("a thing is shared with a person, who accepts, is told of every change, and loses it", async () => {
  const state = household();
  const board = grainCalled(state, "Moving house");
  const ada = await visit();
  const bela = await visit({ as: person(state, "bela"), expected: [404] });

  // Given, from the menu of the home page.
  await ada.page.goto("/");
  await ada.page.getByRole("button", { name: "More for Moving house" }).click();
  await ada.page.getByRole("menuitem", { name: "Share" }).click();
  await dialog(ada.page).getByRole("button", { name: "Share", exact: true }).click();
  await dialog(ada.page).getByText("Choose who to share it with.").waitFor();
  await dialog(ada.page).getByText("Bela Bartók").click();
  await dialog(ada.page).getByText("Helper", { exact: true }).click();
  await dialog(ada.page).getByText("More choices").click();
  await dialog(ada.page).getByLabel("Until").fill("2099-03-01");
  await dialog(ada.page).getByLabel("A few words with it").fill("Can you take the kitchen?");
  await dialog(ada.page).getByRole("button", { name: "Share", exact: true }).click();
  await toast(ada.page, "Bela Bartók can now find it among their things.").waitFor();
  const way = [...state.ways.values()].find((one) => one.grain === board.id);
  assert.deepEqual(way.role, { index: 1 });
  assert.equal(new Date(way.expires).getFullYear(), 2099);

  // Taken: it appears by itself, with who, what and until when.
  await bela.page.goto("/");
  await bela.page.getByText("Ada Lovelace shares this with you: you can move cards until 1 March 2099.").waitFor();
  await bela.page.getByText("Can you take the kitchen?").waitFor();
  await bela.page.getByRole("button", { name: "Accept Moving house" }).click();
  await toast(bela.page, "Moving house is among your things.").getByRole("button", { name: "Open" }).click();
  await frameOf(bela.page).getByRole("heading", { name: "board" }).waitFor();

  // Another name for it, for oneself alone.
  await bela.page.goto("/");
  await bela.page.getByRole("button", { name: "More for Moving house" }).click();
  await bela.page.getByRole("menuitem", { name: "Call it otherwise" }).click();
  await dialog(bela.page).getByText("Only you see this name. Ada Lovelace calls it “Moving house”.").waitFor();
  await dialog(bela.page).getByLabel("Name").fill("Ada moves");
  await dialog(bela.page).getByRole("button", { name: "Save" }).click();
  await bela.page.getByRole("link", { name: "Ada moves" }).waitFor();
  assert.equal(board.title, "Moving house");
  await bela.page.getByRole("link", { name: "Ada moves" }).click();
  await frameOf(bela.page).getByRole("heading", { name: "board" }).waitFor();

  // Changed: the page is opened anew and says what one can do now; and taken back.
  await ada.page.goto(`/grain/${board.id}/access`);
  await ada.page.getByRole("button", { name: "Change access: Bela Bartók" }).click();
  await ada.page.getByRole("menuitem", { name: "Change …" }).click();
  await dialog(ada.page).getByText("Onlooker").click();
  await dialog(ada.page).getByRole("button", { name: "Save" }).click();
  await toast(bela.page, "What you can do here has changed: you can look now.").waitFor();
  await frameOf(bela.page).getByRole("heading", { name: "board" }).waitFor();
  assert.equal([...state.pages.values()].filter((one) => one.grain === board.id).length, 1, "one page closed, one opened");
  await ada.page.getByText("Bela Bartók can look until 1 March 2099").waitFor();
  await toast(ada.page, "Bela Bartók: can look.").getByRole("button", { name: "Undo" }).click();
  await ada.page.getByText("Bela Bartók can move cards until 1 March 2099").waitFor();
  await toast(bela.page, "you can move cards now").waitFor();
  await frameOf(bela.page).getByRole("heading", { name: "board" }).waitFor();

  // Ended: the page gives way.
  await ada.page.getByRole("button", { name: "Change access: Bela Bartók" }).click();
  await ada.page.getByRole("menuitem", { name: "End access …" }).click();
  await dialog(ada.page).getByRole("button", { name: "End access" }).click();
  await bela.page.getByRole("heading", { name: "You cannot open Ada moves any more" }).waitFor();
  await ada.page.getByText("Nobody else can open it.").waitFor();
  await ada.end();
  await bela.end();
});

test("a link is followed without an account, and kept by signing in", async () => {
  const state = household();
  const ada = await visit();
  const board = grainCalled(state, "Moving house");
  await ada.page.addInitScript(() => {
    // A browser with a share sheet.
    navigator.share = async (what) => void (window.sent = what);
  });
  await ada.page.goto(`/grain/${board.id}`);
  await frameOf(ada.page).getByRole("heading", { name: "board" }).waitFor();
  // The app's own button: the link leads to the same place in it.
  await frameOf(ada.page).getByText("Connections").click();
  await frameOf(ada.page).getByRole("button", { name: "Share this day" }).click();
  await dialog(ada.page).getByText("A link", { exact: true }).click();
  await dialog(ada.page).getByText("More choices").click();
  await dialog(ada.page).getByText("For one use").click();
  await dialog(ada.page).getByRole("button", { name: "Make the link" }).click();
  const url = await dialog(ada.page).getByLabel("The link", { exact: true }).inputValue();
  assert.match(url, /\/shared#[\w-]{43}\/june#15$/);
  await dialog(ada.page).getByRole("button", { name: "Send …" }).click();
  assert.deepEqual(await ada.page.evaluate(() => window.sent), { text: "Moving house, shared with you", url });
  await dialog(ada.page).getByRole("button", { name: "Copy: The link" }).click();
  await dialog(ada.page).getByText("Copied.").waitFor();

  const stranger = await visit({ signedIn: false, expected: [404] });
  await stranger.page.goto(url);
  await heading(stranger.page, "Moving house").waitFor();
  await stranger.page.getByText("You can plan.").waitFor();
  assert.equal(stranger.page.url(), url, "looking spends nothing");
  await stranger.page.getByRole("button", { name: "Open", exact: true }).click();
  await frameOf(stranger.page).getByText("/june").waitFor();
  await stranger.page.getByText("This link was for one use.").waitFor();
  const traded = stranger.page.url();
  assert.notEqual(traded, url, "the link is spent, and what it was traded for is in the address");
  await stranger.page.reload();
  await heading(stranger.page, "Moving house").waitFor();
  await stranger.page.goto(url);
  await heading(stranger.page, "This link does not work").waitFor();

  // Signing in comes back to the link, and then it is one's own.
  await stranger.page.goto(traded);
  await heading(stranger.page, "Moving house").waitFor();
  await stranger.page.getByRole("button", { name: "Sign in to keep it" }).click();
  await stranger.page.getByLabel("User name").fill("dmitri");
  await stranger.page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await stranger.page.keyboard.press("Enter");
  await stranger.page.getByRole("button", { name: "Add to my things" }).click();
  await frameOf(stranger.page).getByRole("heading", { name: "board" }).waitFor();
  assert.equal(new URL(stranger.page.url()).pathname, `/grain/${board.id}`);
  // Whoever has it already goes straight there.
  await stranger.page.goto(traded);
  await stranger.page.waitForURL(/\/grain\//);
  await ada.end();
  await stranger.end();
});

for (const [answer, stays] of [
  ["Only the link", true],
  ["End their access too", false],
]) {
  test(`ending a link: ${answer}`, async () => {
    const state = household();
    const { page, end } = await visit();
    await page.goto(`/grain/${grainCalled(state, "Family calendar").id}/access`);
    await page.getByRole("button", { name: "Change access: Link: Neighbours" }).click();
    await page.getByRole("menuitem", { name: "End the link …" }).click();
    await dialog(page).getByText("Chiara Margarita Cozzolani came in by this link.").waitFor();
    await dialog(page).getByRole("button", { name: answer }).click();
    await page.getByText("Link: Neighbours").waitFor({ state: "detached" });
    await page.getByText("Bela Bartók can edit").waitFor();
    assert.equal(await page.getByText("Chiara Margarita Cozzolani can view").count(), stays ? 1 : 0);
    await end();
  });
}

test("a thing changes hands only when both want it", async () => {
  const state = household();
  const recipes = grainCalled(state, "Recipes");
  const ada = await visit();
  await ada.page.goto(`/grain/${recipes.id}/access`);
  await ada.page.getByRole("button", { name: "Hand it over" }).click();
  await dialog(ada.page).getByText("Chiara Margarita Cozzolani").click();
  await dialog(ada.page).getByRole("button", { name: "Offer it" }).click();
  await toast(ada.page, "Chiara Margarita Cozzolani was asked.").waitFor();
  assert.equal(recipes.owner, person(state, "ada").id);
  const chiara = await visit({ as: person(state, "chiara") });
  await chiara.page.getByText("Ada Lovelace wants to give this to you").waitFor();
  await chiara.page.getByRole("button", { name: "Accept Recipes" }).click();
  await toast(chiara.page, "Recipes is among your things.").waitFor();
  assert.equal(recipes.owner, person(state, "chiara").id);
  // Ada keeps what she wanted to keep, now as a guest; and may leave.
  await ada.page.goto("/");
  await ada.page.getByText("Chiara Margarita Cozzolani · can do everything").waitFor();
  await ada.page.getByRole("button", { name: "More for Recipes" }).click();
  await ada.page.getByRole("menuitem", { name: "Leave" }).click();
  await dialog(ada.page).getByRole("button", { name: "Leave" }).click();
  await toast(ada.page, "You have left Recipes.").waitFor();
  assert.equal([...state.ways.values()].filter((way) => way.grain === recipes.id).length, 0);
  await ada.end();
  await chiara.end();
});

test("one limits oneself, and lifts the limit", async () => {
  const state = household();
  const { page, end } = await visit({ as: person(state, "bela") });
  await page.goto(`/grain/${grainCalled(state, "Family calendar").id}/access`);
  await page.getByText("You can edit.").waitFor();
  await page.getByRole("button", { name: "Limit what you can do" }).click();
  await dialog(page).getByRole("button", { name: "Limit what you can do" }).click();
  await page.getByText("You can view.").waitFor();
  await toast(page, "You can view here now.").getByRole("button", { name: "Undo" }).click();
  await page.getByText("You can edit.").waitFor();
  await end();
});

test("an invitation becomes an account, once", async () => {
  const state = household();
  const ada = await visit();
  await ada.page.goto("/people");
  await ada.page.getByRole("button", { name: "Invite somebody new" }).click();
  await dialog(ada.page).getByRole("button", { name: "Make the invitation" }).click();
  const url = await dialog(ada.page).getByLabel("The invitation", { exact: true }).inputValue();
  const fresh = await visit({ signedIn: false, expected: [400, 403] });
  await fresh.page.goto(url);
  await fresh.page.getByLabel("Your name").fill("Ada Two");
  await fresh.page.getByLabel("User name").fill("ada");
  await fresh.page.getByLabel("Password", { exact: true }).fill("four unrelated words here");
  await fresh.page.getByRole("button", { name: "Create my account" }).click();
  await fresh.page.getByRole("alert").getByText("has this user name already").waitFor();
  await fresh.page.getByLabel("User name").fill("ada2");
  await fresh.page.getByRole("button", { name: "Create my account" }).click();
  await heading(fresh.page, "Hello, Ada Two").waitFor();
  assert.equal(new URL(fresh.page.url()).hash, "");
  assert.equal(state.invitations.size, 0);
  // A member neither sees invitations nor makes them.
  await fresh.page.goto("/people");
  await fresh.page.getByText("@ada2").waitFor();
  assert.equal(await fresh.page.getByRole("button", { name: "Invite somebody new" }).count(), 0);
  await ada.end();
  await fresh.end();
});

test("sharing speaks German to those who do", async () => {
  const state = household();
  const { page, end } = await visit({ locale: "de-DE" });
  await page.getByText("Dmitri Shostakovich möchte Ihnen das geben").waitFor();
  await page.screenshot({ path: join(SCREENS, "home-offers-german-360-light.png"), fullPage: true });
  await page.goto(`/grain/${grainCalled(state, "Family calendar").id}/access`);
  await page.getByText("Bela Bartók: can edit").waitFor();
  await page.screenshot({ path: join(SCREENS, "access-german-360-light.png"), fullPage: true });
  await page.getByRole("button", { name: "Teilen" }).click();
  await dialog(page).getByText("Bela Bartók").waitFor();
  await page.screenshot({ path: join(SCREENS, "share-german-360-light.png") });
  await end();
});
