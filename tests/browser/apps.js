// What a person does with each sample app, inside the frame that shows it. Every app has two halves: `use` makes
// something, `find` (in a later session, after everything was killed) sees it again.

import assert from "node:assert/strict";

const DAY = "20270315";

/** Radicale: makes a calendar in its own pages, then puts an entry into it as a calendar client would. */
export const radicale = {
  sample: "radicale",
  title: "Radicale",
  noun: "calendar",
  async use(frame) {
    await collections(frame);
    await frame.getByTitle("Create a new addressbook or calendar").click();
    const form = frame.locator("#createcollectionscene");
    await form.locator('[data-name="displayname"]').fill("Summer plans");
    await form.getByRole("button", { name: "Create" }).click();
    await frame.getByText("Summer plans").first().waitFor();

    const event = [
      "BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Percloud//Browser test//EN", "BEGIN:VEVENT", "UID:picnic",
      `DTSTAMP:${DAY}T080000Z`, `DTSTART:${DAY}T110000Z`, `DTEND:${DAY}T120000Z`, "SUMMARY:Picnic at the lake",
      "END:VEVENT", "END:VCALENDAR", "",
    ].join("\r\n");
    const status = await frame.locator("body").evaluate(async (_body, event) => {
      const listing = await fetch("/me/", { method: "PROPFIND", headers: { Depth: "1" } });
      const paths = [...(await listing.text()).matchAll(/<href>(\/me\/[^<]+\/)<\/href>/g)].map((match) => match[1]);
      const put = await fetch(`${paths[0]}picnic.ics`, { method: "PUT", headers: { "Content-Type": "text/calendar" }, body: event });
      return put.status;
    }, event);
    assert.equal(status, 201, "the entry is stored");
  },
  async find(frame) {
    await collections(frame);
    await frame.getByText("Summer plans").first().waitFor();
    const calendar = await frame.locator("body").evaluate(async () => {
      const listing = await fetch("/me/", { method: "PROPFIND", headers: { Depth: "1" } });
      const paths = [...(await listing.text()).matchAll(/<href>(\/me\/[^<]+\/)<\/href>/g)].map((match) => match[1]);
      return (await fetch(paths[0])).text();
    });
    assert.match(calendar, /SUMMARY:Picnic at the lake/);
  },
};

/**
 * Signs in at Radicale's own pages. They ask for a name since they probe without cookies whether anybody may come in;
 * the session is the proof of who one is, so any name and password do.
 */
async function collections(frame) {
  const form = frame.locator('#loginscene form[data-name="form"]');
  await form.locator('[data-name="user"]').fill("me");
  await form.locator('[data-name="password"]').fill("of no importance");
  await form.getByRole("button", { name: "Next" }).click();
  await frame.locator("#collectionsscene").waitFor();
  await frame.getByText("me's Collections").waitFor();
}

/** TiddlyWiki: writes a note and waits until its server has it. */
export const tiddlywiki = {
  sample: "tiddlywiki",
  title: "TiddlyWiki",
  noun: "notebook",
  async use(frame) {
    await frame.getByRole("button", { name: "new tiddler", exact: true }).click();
    const draft = frame.getByRole("region", { name: "Editor" });
    await draft.locator("input.tc-titlebar").fill("Lighthouses");
    await draft.locator("iframe").contentFrame().locator("textarea").fill("The one on the cape was built in 1883.");
    const stored = frame.page().waitForResponse((response) => {
      const request = response.request();
      return request.method() === "PUT" && request.url().includes("/tiddlers/Lighthouses") && response.ok();
    });
    await draft.getByRole("button", { name: "Confirm changes to this tiddler" }).click();
    await frame.getByText("The one on the cape was built in 1883.").first().waitFor();
    await stored;
  },
  async find(frame) {
    await frame.getByRole("searchbox").fill("Lighthouses");
    await frame.locator(".tc-search-results").getByRole("link", { name: "Lighthouses" }).first().click();
    await frame.getByText("The one on the cape was built in 1883.").first().waitFor();
  },
};

/** DokuWiki: writes a page in its editor. */
export const dokuwiki = {
  sample: "dokuwiki",
  title: "DokuWiki",
  noun: "wiki",
  async use(frame) {
    await follow(frame, "/doku.php?id=recipes&do=edit");
    await frame.locator("#wiki__text").fill("====== Recipes ======\n\nBread: flour, water, salt, **time**.\n");
    await frame.getByRole("button", { name: "Save" }).click();
    await frame.getByRole("heading", { name: "Recipes" }).waitFor();
    await frame.locator("strong", { hasText: "time" }).waitFor();
  },
  async find(frame) {
    await follow(frame, "/doku.php?id=recipes");
    await frame.getByText("Bread: flour, water, salt,").waitFor();
  },
};

/** cgit: browses the repository made with the grain: its history, a commit, a file. */
export const cgit = {
  sample: "cgit",
  title: "cgit",
  noun: "Git browser",
  async use(frame) {
    await frame.getByRole("link", { name: "welcome.git", exact: true }).click();
    await frame.getByRole("link", { name: "log", exact: true }).first().click();
    await frame.getByRole("link", { name: "Greet the person by name" }).click();
    await frame.getByText('printf("Hello, %s\\n"').waitFor();
    await frame.getByRole("link", { name: "tree", exact: true }).first().click();
    await frame.getByRole("link", { name: "hello.c", exact: true }).click();
    await frame.getByText("int main(int argc, char **argv)").waitFor();
  },
  async find(frame) {
    await frame.getByRole("link", { name: "welcome.git", exact: true }).click();
    await frame.getByRole("link", { name: "Say what this repository is for" }).waitFor();
  },
};

/** The native guestbook: leaves a few words. */
export const guestbook = {
  sample: "guestbook",
  title: "Guestbook",
  noun: "guestbook",
  async use(frame) {
    await frame.getByLabel(/name/i).fill("Grace");
    await frame.getByLabel(/message|words/i).fill("A fine place to stay.");
    await frame.getByRole("button").first().click();
    await frame.getByText("A fine place to stay.").waitFor();
  },
  async find(frame) {
    await frame.getByText("A fine place to stay.").waitFor();
  },
};

export const apps = [guestbook, radicale, tiddlywiki, dokuwiki, cgit];

/** Goes to an address of the same app, as following a link does. */
async function follow(frame, path) {
  await frame.locator("body").evaluate((_body, path) => window.location.assign(path), path);
}
