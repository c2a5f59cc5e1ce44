// Sharing in Chromium over the mock: giving, taking, seeing who has access, being shared with, and what happens when it ends.

import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { LOOKS, SCREENS, frameOf, heading, household, misses, server, stumbles, toast, visit } from "./browser.mjs";

const grainCalled = (state, title) => [...state.grains.values()].find((grain) => grain.title === title);
const person = (state, handle) => [...state.people.values()].find((one) => one.handle === handle);
const dialog = (page) => page.getByRole("dialog");
const tokenIn = (url) => url.slice(url.indexOf("#") + 1);

for (const look of LOOKS) {
  test(`sharing, ${look[0]}: pictures, names, sizes`, async () => {
    const state = household();
    const { page, end } = await visit({ look, expected: [404, 403] });
    const wide = look[1].width > 1000;
    const found = [];
    const shot = async (name, { check = true, full = true } = {}) => {
      await page.screenshot({ path: join(SCREENS, `${name}-${look[0]}.png`), fullPage: full });
      if (!check) return;
      found.push(...(await stumbles(page)).map((what) => [name, ...what]));
      if (!wide) found.push(...(await misses(page)).map((what) => [name, what]));
    };
    const calendar = grainCalled(state, "Family calendar");

    await page.goto("/");
    await page.getByRole("heading", { name: "Offered to you" }).waitFor();
    await shot("home-offers");

    await page.goto(`/grain/${calendar.id}`);
    await frameOf(page).getByRole("heading", { name: "calendar" }).waitFor();
    await page.getByRole("button", { name: "Share", exact: true }).click();
    await dialog(page).getByText("With a person").waitFor();
    await dialog(page).getByText("Bela Bartók").waitFor();
    await shot("share-person", { full: false });
    await dialog(page).getByText("By a link").click();
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
