// Apps and things such as a family has, for development and tests.

import { createHash } from "node:crypto";

const ALPHABET = "0123456789acdefghjkmnpqrstuvwxyz";

/** Ids as real ones look, always the same for the same words. */
const appId = (words) =>
  [...createHash("sha512").update(words).digest()].slice(0, 52).map((byte) => ALPHABET[byte % 32]).join("");
const packageId = (words) => createHash("sha256").update(words).digest("hex").slice(0, 32);

const author = (name, site) => ({
  name,
  contactEmail: name && `hello@${site}`,
  website: site && `https://${site}/`,
  codeUrl: site && `https://${site}/source`,
});

function pack(key, version, facts) {
  return {
    packageId: packageId(`${key} ${version}`),
    appId: appId(key),
    version,
    marketingVersion: "",
    author: author(null, null),
    license: { kind: "none", name: "", text: null },
    shortDescription: "",
    size: 1_000_000,
    icon: null,
    state: "staged",
    replaces: null,
    wants: [],
    actions: [],
    roles: [],
    ...facts,
    icon: facts.picture ? `/api/packages/${packageId(`${key} ${version}`)}/icons/appGrid` : null,
  };
}

const calendar = {
  title: "Radicale",
  author: author("The Radicale authors", "radicale.example"),
  license: { kind: "open-source", name: "GPL-3.0-or-later", text: null },
  shortDescription: "Calendars and address books that your phone can use too.",
  size: 21_400_000,
  picture: { background: "#3a6ea5", path: "M24 30h52v46H24zM24 42h52M36 22v14M64 22v14" },
  roles: [
    { title: "Editor", can: "can edit", description: "Add, move and delete appointments.", permissions: ["see", "change"], isDefault: true },
    { title: "Reader", can: "can view", description: "See appointments, and change nothing.", permissions: ["see"] },
  ],
  actions: [{ index: 0, noun: "calendar", title: "New calendar", description: "Appointments, to-dos and people, on all your devices." }],
};

/** Packages that can be "uploaded": a file that begins with the name brings the package. */
export const packages = {
  calendar: pack("calendar", 32, { ...calendar, marketingVersion: "3.5.4" }),
  "calendar-new": pack("calendar", 33, { ...calendar, marketingVersion: "3.6.0" }),
  wiki: pack("wiki", 7, {
    title: "TiddlyWiki",
    marketingVersion: "5.3.6",
    author: author("Jeremy Ruston", "tiddlywiki.example"),
    license: { kind: "open-source", name: "BSD-3-Clause", text: "Copyright (c) the authors of TiddlyWiki.\nRedistribution and use are permitted." },
    shortDescription: "A notebook of small linked pages.",
    size: 48_900_000,
    actions: [{ index: 0, noun: "wiki", title: "New wiki", description: "Notes that link to each other." }],
  }),
  board: pack("board", 12, {
    title: "Kanboard",
    marketingVersion: "1.2.40",
    author: author("Kanboard contributors", "kanboard.example"),
    license: { kind: "open-source", name: "MIT", text: null },
    shortDescription: "See what is to be done, and by whom.",
    size: 15_200_000,
    picture: { background: "#7a4fa3", path: "M22 24h16v52H22zM44 24h16v34H44zM66 24h12v44H66z" },
    roles: [
      { title: "Planner", can: "can plan", description: "Everything, the columns too.", permissions: ["see", "move", "columns"], isDefault: true },
      { title: "Helper", can: "can move cards", description: "Move cards and say something about them.", permissions: ["see", "move"] },
      { title: "Onlooker", can: "can look", description: "", permissions: ["see"] },
    ],
    actions: [
      { index: 0, noun: "board", title: "New board", description: "A board with columns for a project." },
      { index: 1, noun: "shopping list", title: "New shopping list", description: "The same, ready for the kitchen door." },
    ],
  }),
  proprietary: pack("proprietary", 1, {
    title: "Ledger Pro",
    marketingVersion: "1.0",
    author: author("Ledger Pro Ltd.", "ledger.example"),
    license: {
      kind: "proprietary",
      name: "",
      text: Array.from({ length: 12 }, (_, at) => `${at + 1}. You may use this software for yourself and your household. You may not sell it.`).join("\n\n"),
    },
    shortDescription: "Keeps the books of a household.",
    size: 9_800_000,
    wants: [{ code: "mail", message: "To send you a reminder by mail when a bill is due" }],
    actions: [{ index: 0, noun: "ledger", title: "New ledger", description: "" }],
  }),
  hostile: pack("hostile", 1, {
    title: `\u202e<img src=x onerror=alert(1)>${"Very".repeat(80)}long`,
    marketingVersion: "<b>9</b>",
    author: { name: "</bdi><script>alert(2)</script>", contactEmail: "a@b", website: "javascript:alert(3)", codeUrl: "https://user:pass@evil.example/" },
    license: { kind: "open-source", name: "<i>none</i>", text: "\u0000\u202eabc" },
    shortDescription: "<svg onload=alert(4)>",
    actions: [{ index: 0, noun: "<u>thing</u>", title: "", description: "" }],
  }),
};

/** The picture of a package, drawn. */
export function picture({ background, path }) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100"><rect width="100" height="100" fill="${background}"/><path d="${path}" fill="none" stroke="#fff" stroke-width="6" stroke-linejoin="round"/></svg>`;
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

let made = 0;

export function makeGrain(app, facts) {
  made += 1;
  return {
    id: packageId(`grain ${made}`).slice(0, 22),
    title: "Untitled",
    appId: app.appId,
    appTitle: app.title,
    packageId: app.packageId,
    icon: app.icon,
    noun: "thing",
    created: Date.now(),
    lastUsed: null,
    size: null,
    state: "asleep",
    problem: null,
    limit: null,
    trashed: null,
    relaxedPolicy: false,
    ...facts,
  };
}

/** The people of a household. */
export function family() {
  const person = (handle, name, role) => ({ id: packageId(`person ${handle}`).slice(0, 22), name, handle, password: "correct horse battery", role });
  return [person("ada", "Ada Lovelace", "owner"), person("bela", "Bela Bartók", "member"), person("chiara", "Chiara Margarita Cozzolani", "member"), person("dmitri", "Dmitri Shostakovich", "member")];
}

/** The things of a household; `owners` are the family's ids. */
export function household([ada, bela, chiara, dmitri]) {
  const now = Date.now();
  const { calendar, wiki, board } = packages;
  return [
    makeGrain(calendar, { title: "Family calendar", noun: "calendar", created: now - 90 * DAY, lastUsed: now - 4 * 60_000, size: 2_340_000, state: "running" }),
    makeGrain(wiki, { title: "Recipes", noun: "wiki", created: now - 60 * DAY, lastUsed: now - 2 * DAY, size: 18_700_000 }),
    makeGrain(board, { title: "Moving house", noun: "board", created: now - 20 * DAY, lastUsed: now - 3 * DAY, size: 940_000 }),
    makeGrain(wiki, { title: "Grandmother’s letters, transcribed and in order", noun: "wiki", created: now - 200 * DAY, lastUsed: now - 40 * DAY, size: 61_200_000 }),
    makeGrain(board, { title: "Allotment", noun: "board", created: now - 300 * DAY, lastUsed: now - 120 * DAY, size: 310_000, state: "failed", problem: "The app needed more memory than it may use and was stopped.", limit: "memory" }),
    makeGrain(board, { title: "Old shopping list", noun: "shopping list", created: now - 30 * DAY, lastUsed: now - 25 * DAY, size: 120_000, trashed: now - 6 * DAY }),
    makeGrain(calendar, { title: "Choir", noun: "calendar", owner: bela, created: now - 100 * DAY, lastUsed: now - DAY }),
    makeGrain(board, { title: "Garden", noun: "board", owner: chiara, created: now - 10 * DAY, lastUsed: now - 2 * 3_600_000 }),
    makeGrain(wiki, { title: "Minutes of the house", noun: "wiki", owner: dmitri, created: now - 400 * DAY, lastUsed: now - 5 * DAY }),
  ].map((grain) => ({ ...grain, owner: grain.owner ?? ada }));
}
