// Answers the shell API (docs/shell-api.md) and session hosts from memory: for development and tests without a server.
// Behaves as the broker and the edge do where the shell can see it, refusals included.

import { randomBytes } from "node:crypto";

import { Refusal, document, json, text } from "./answers.mjs";
import { createConnecting, seedSharing } from "./connecting.mjs";
import { family, household, makeGrain, packages, picture } from "./samples.mjs";
import { createSharing } from "./sharing.mjs";

const SECRET = "a".repeat(64);

/** `pace` is how long each step of an upload and of a start takes, in milliseconds. */
export function createMock({ pace = 120 } = {}) {
  const state = {
    setUp: true,
    secret: SECRET,
    people: new Map(),
    /** The server's owner. */
    get me() {
      return [...this.people.values()].find((one) => one.role === "owner");
    },
    set me(facts) {
      const owner = this.me ?? family()[0];
      this.people.set(owner.id, Object.assign(owner, facts));
    },
    /** Who is signed in, by cookie. */
    cookies: new Map(),
    ways: new Map(),
    ceilings: new Map(),
    names: new Map(),
    transfers: new Map(),
    invitations: new Map(),
    history: [],
    /** Whether somebody has changed the history from outside. */
    tampered: false,
    devices: new Map(),
    jobs: [],
    /** What grains hold of others. */
    held: new Map(),
    requests: new Map(),
    /** With what apps sign in at websites. */
    credentials: [],
    /** Passwords that apps had made, and how long each was last kept alive, in milliseconds. */
    tokens: new Map(),
    notifications: new Map(),
    /** Packages by id, staged and installed. */
    packages: new Map(),
    apps: new Map(),
    grains: new Map(),
    pages: new Map(),
    warnings: [],
    failures: 0,
    /** Who hears events, by connection. */
    streams: new Map(),
    logs: new Set(),
    /** Answers every call as a server that is being restarted. */
    down: false,
    /** How the next open ends. */
    failNextStart: false,
    /** What the next start waits for. */
    waits: undefined,
    /** Gives what an answer about everything, already made, waits for. */
    homeWaits: undefined,
    handedOver: [],
    /** What was to be started ahead, in order. */
    prepared: [],
  };

  const later = (steps, run) => new Promise((done) => setTimeout(() => done(run?.()), steps * pace));

  function seed() {
    state.setUp = true;
    for (const name of ["calendar", "wiki", "board"]) install(packages[name]);
    const people = family();
    for (const person of people) state.people.set(person.id, person);
    const grains = household(people.map((person) => person.id));
    for (const grain of grains) state.grains.set(grain.id, grain);
    const [ada, bela, chiara, dmitri] = people;
    seedSharing(state, { sharing, connecting, ada, bela, chiara, dmitri, grains });
  }

  const sharing = createSharing(state, { tell, packages });
  const connecting = createConnecting(state, {
    tell,
    sharing,
    openPage,
    create(grain) {
      state.grains.set(grain.id, grain);
      tell({ type: "grain", grain: sharing.seen(grain, grain.owner) }, [grain.owner]);
      return grain;
    },
  });

  /** As if the server were new. */
  function reset({ setUp = false } = {}) {
    for (const response of [...state.streams.keys(), ...state.logs]) response.destroy();
    state.setUp = setUp;
    state.tampered = false;
    state.down = false;
    state.failures = 0;
    state.homeWaits = undefined;
    for (const part of [state.cookies, state.packages, state.apps, state.grains, state.pages, state.streams, state.logs]) part.clear();
    for (const part of [state.people, state.ways, state.ceilings, state.names, state.transfers, state.invitations, state.devices, state.held, state.requests, state.tokens, state.notifications]) part.clear();
    for (const part of [state.handedOver, state.history, state.jobs, state.credentials]) part.length = 0;
  }

  /** As if the server had been stopped and started: sessions of pages are gone, and everything sleeps. */
  function restart() {
    state.pages.clear();
    for (const grain of state.grains.values()) grain.state = "asleep";
    for (const response of [...state.streams.keys(), ...state.logs]) response.destroy();
  }

  /** Keeps starts and uploads waiting until the returned function is called. */
  function hold() {
    let release;
    state.waits = new Promise((resolve) => {
      release = () => {
        state.waits = undefined;
        resolve();
      };
    });
    return release;
  }

  function install(pack) {
    state.packages.set(pack.packageId, pack);
    const { packageId, appId, title, version, marketingVersion, author, icon, actions } = pack;
    const app = { appId, packageId, title, version, marketingVersion, author, icon, actions };
    state.apps.set(appId, app);
    return app;
  }

  function view(pack) {
    const app = state.apps.get(pack.appId);
    const installed = app?.packageId === pack.packageId;
    const { picture: _, roles: __, ...shown } = pack;
    return {
      ...shown,
      state: installed ? "installed" : "staged",
      replaces: app && !installed ? { version: app.version, marketingVersion: app.marketingVersion } : null,
    };
  }

  /** Says something to everybody, or to some. */
  function tell(event, people) {
    for (const [response, person] of state.streams) {
      if (!people || people.includes(person)) response.write(`data: ${JSON.stringify(event)}\n\n`);
    }
  }

  function change(grain, facts) {
    if ("trashed" in facts) return sharing.changing(grain, () => Object.assign(grain, facts));
    Object.assign(grain, facts);
    for (const person of state.people.keys()) {
      if (sharing.held(grain, person) && state.accepted(grain, person)) tell({ type: "grain", grain: sharing.seen(grain, person) }, [person]);
    }
    return grain;
  }

  function handle(request, response, next) {
    const [host] = (request.headers.host ?? "").split(":");
    if (!/^(ui|api)-/.test(host)) state.authority = request.headers.host;
    const url = new URL(request.url, `http://${request.headers.host}`);
    if (host.startsWith("api-")) return void connecting.api(request, response);
    if (host.startsWith("ui-")) return void session(host, request, response, url);
    if (!url.pathname.startsWith("/api/")) return next();
    if (state.down) return void response.destroy();
    answer(request, response, url).catch((error) => {
      if (error instanceof Refusal) return json(response, error.status, { error: error.body });
      console.error(error);
      if (!response.headersSent) json(response, 500, { error: { code: "unavailable", message: "The mock failed." } });
    });
  }

  async function answer(request, response, url) {
    const { method } = request;
    const path = url.pathname.slice("/api/".length).split("/");
    if (method !== "GET" && request.headers["x-percloud"] !== "1") throw new Refusal(403, "cross-site", "Refused.");
    const cookie = /(?:^|; )percloud=([0-9a-f]+)/.exec(request.headers.cookie ?? "")?.[1];
    const person = state.people.get(state.cookies.get(cookie));
    const signedIn = person !== undefined;
    const viewMe = ({ id, name, handle, role }) => ({ id, name, handle, role });
    const signIn = (status, who) => {
      const fresh = randomBytes(16).toString("hex");
      state.cookies.set(fresh, who.id);
      json(response, status, viewMe(who), { "Set-Cookie": `percloud=${fresh}; HttpOnly; SameSite=Strict; Path=/` });
    };

    switch (`${method} ${path[0]}`) {
      case "GET settings":
        return json(response, 200, { title: "Percloud", version: "0.1.0", setUp: state.setUp, signedIn, warnings: [] });
      case "POST setup": {
        const body = await document(request);
        if (state.setUp) throw new Refusal(409, "already-set-up", "This server is already set up; sign in instead.");
        if (body.secret !== state.secret) throw new Refusal(403, "wrong-secret", "That is not the setup secret.");
        if (body.password.length < 10) throw new Refusal(400, "weak-password", "A password has at least 10 characters.");
        state.me = { name: body.name, handle: body.handle, password: body.password };
        state.setUp = true;
        return signIn(201, state.me);
      }
      case "POST session": {
        const body = await document(request);
        if (state.failures >= 3) throw new Refusal(429, "too-many-attempts", "Too many attempts.", { retryAfter: 30 });
        const who = [...state.people.values()].find((one) => one.handle === body.handle);
        if (!who || body.password !== who.password) {
          state.failures += 1;
          throw new Refusal(403, "wrong-credentials", "That handle and password do not go together.");
        }
        return signIn(200, who);
      }
      default:
    }
    const origin = `http://${request.headers.host}`;
    const given = { method, path, request, response, person, origin, host: request.headers.host, signIn, openPage: (grain, facts) => openPage(grain, facts) };
    if (await sharing.forStrangers(given)) return;
    if (!signedIn) throw new Refusal(401, "signed-out", "Sign in first.");

    switch (path.length === 1 && `${method} ${path[0]}`) {
      case "DELETE session":
        state.cookies.delete(cookie);
        return response.writeHead(204).end();
      case "GET me":
        return json(response, 200, viewMe(person));
      case "GET home": {
        const grains = [...state.grains.values()].filter((grain) => sharing.held(grain, person.id) && state.accepted(grain, person.id));
        const answer = structuredClone({
          apps: [...state.apps.values()],
          grains: grains.map((grain) => sharing.seen(grain, person.id)),
          offers: sharing.offersFor(person.id),
          notifications: connecting.unread(person.id),
          warnings: person.role === "owner" ? state.warnings : [],
        });
        await state.homeWaits?.();
        return json(response, 200, answer);
      }
      case "GET events":
        response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
        response.write('data: {"type":"hello"}\n\n');
        state.streams.set(response, person.id);
        return response.on("close", () => state.streams.delete(response));
      case "POST packages":
        return upload(request, response);
      case "POST grains": {
        const body = await document(request);
        const app = [...state.apps.values()].find((one) => one.packageId === body.packageId);
        const action = app?.actions.find((one) => one.index === body.action);
        if (!action) throw new Refusal(400, "bad-request", "This app has no such action.");
        const title = body.title ?? action.noun[0].toUpperCase() + action.noun.slice(1);
        const grain = makeGrain(app, { title, noun: action.noun, owner: person.id });
        state.grains.set(grain.id, grain);
        tell({ type: "grain", grain: sharing.seen(grain, person.id) }, [person.id]);
        return json(response, 201, sharing.seen(grain, person.id));
      }
      default:
    }

    if ((await sharing.forPeople(given)) || (await connecting.forPerson(given))) return;
    const [kind, id, act, name] = path;
    if (kind === "packages") {
      const pack = state.packages.get(id);
      if (!pack) throw new Refusal(404, "not-found", "There is nothing here.");
      if (method === "GET" && !act) return json(response, 200, view(pack));
      if (method === "GET" && act === "icons" && name && pack.picture) {
        response.writeHead(200, { "Content-Type": "image/svg+xml", "Cache-Control": "private, max-age=31536000, immutable", "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'" });
        return response.end(picture(pack.picture));
      }
      if (method === "POST" && act === "install") {
        const app = install(pack);
        tell({ type: "app", app });
        return json(response, 200, app);
      }
      if (method === "DELETE") {
        const installed = state.apps.get(pack.appId)?.packageId === id;
        if (installed && [...state.grains.values()].some((grain) => grain.appId === pack.appId)) {
          throw new Refusal(409, "in-use", "Things made with this app still exist; delete them first.");
        }
        state.packages.delete(id);
        if (installed) {
          state.apps.delete(pack.appId);
          tell({ type: "app-removed", appId: pack.appId });
        }
        return response.writeHead(204).end();
      }
    }
    if (kind === "grains") {
      const grain = state.grains.get(id);
      // What one may not see does not exist.
      if (!grain || !sharing.held(grain, person.id) || !state.accepted(grain, person.id)) throw new Refusal(404, "not-found", "There is nothing here.");
      const mine = grain.owner === person.id;
      const now = () => sharing.seen(grain, person.id);
      if (method === "GET" && !act) return json(response, 200, now());
      if ((await sharing.forGrain({ ...given, grain })) || (await connecting.forGrain({ ...given, grain }))) return;
      if (method === "POST" && act === "open") {
        const body = await document(request);
        if (grain.trashed !== null) throw new Refusal(409, "in-trash", "This is in the trash; restore it to use it.");
        grain.unreadBy = grain.unreadBy?.filter((one) => one !== person.id);
        return json(response, 200, openPage(grain, { path: body.path, person: person.id }));
      }
      if (method === "PATCH" && !act) {
        const body = await document(request);
        if (body.title !== undefined && body.title.trim() === "") throw new Refusal(400, "bad-request", "A title cannot be empty.");
        if (!mine && body.relaxedPolicy !== undefined) throw new Refusal(404, "not-found", "There is nothing here.");
        if (mine) change(grain, body);
        else {
          state.names.set(`${id} ${person.id}`, body.title);
          tell({ type: "grain", grain: now() }, [person.id]);
        }
        return json(response, 200, now());
      }
      if (method === "POST" && act === "prepare") {
        state.prepared.push(grain.title);
        return json(response, 202, {});
      }
      // All below is the owner's.
      if (!mine) throw new Refusal(404, "not-found", "There is nothing here.");
      if (method === "GET" && act === "log") return log(grain, response);
      if (method === "DELETE" && !act) {
        if (grain.trashed === null) throw new Refusal(409, "not-in-trash", "Move this to the trash first.");
        state.grains.delete(id);
        tell({ type: "grain-deleted", id });
        return response.writeHead(204).end();
      }
      if (method === "POST" && act === "trash") change(grain, { trashed: Date.now(), state: "asleep" });
      else if (method === "POST" && act === "restore") change(grain, { trashed: null });
      else if (method === "POST" && act === "restart") change(grain, { state: "asleep", problem: null, limit: null });
      else throw new Refusal(404, "not-found", "There is nothing here.");
      return json(response, 200, now());
    }
    throw new Refusal(404, "not-found", "There is nothing here.");
  }

  /** A session host and the secret that opens it: for a person, for whoever holds a link, or to choose something in. */
  function openPage(grain, { path = "/", person, link, asks }) {
    const label = `ui-${randomBytes(16).toString("hex")}`;
    const secret = randomBytes(32).toString("hex");
    state.pages.set(label, { grain: grain.id, secret, cookie: undefined, path, person, link, asks, started: start(grain) });
    return { host: `http://${label}.${state.authority}`, secret };
  }

  async function start(grain) {
    if (grain.state === "running") return true;
    change(grain, { state: "starting", problem: null, limit: null });
    const fails = state.failNextStart;
    state.failNextStart = false;
    await (state.waits ?? later(4));
    if (fails) change(grain, { state: "failed", problem: "The app stopped with code 1 before it answered." });
    else change(grain, { state: "running", lastUsed: Date.now(), size: grain.size ?? 184_000 });
    return !fails;
  }

  async function upload(request, response) {
    const uploadId = request.headers["x-upload-id"] ?? "";
    if (!/^[\w-]{1,64}$/.test(uploadId)) throw new Refusal(400, "bad-request", "The header X-Upload-Id is missing.");
    let gone = false;
    response.on("close", () => (gone = !response.writableEnded));
    const total = Number(request.headers["content-length"] ?? 0);
    let first = "";
    let done = 0;
    for await (const chunk of request) {
      if (first === "") first = chunk.toString("latin1", 0, 64);
      done += chunk.length;
    }
    const name = first.split(/\s/, 1)[0];
    for (const stage of ["verifying", "unpacking"]) {
      for (let part = 1; part <= 4; part += 1) {
        if (gone) return;
        tell({ type: "upload", uploadId, stage, done: Math.round((total * part) / 4), total });
        await later(1);
      }
      if (stage === "unpacking") await state.waits;
      if (stage === "verifying" && !(name in packages)) {
        const reason = name === "tampered" ? "bad-signature" : "wrong-magic";
        tell({ type: "upload", uploadId, stage: "failed", done, total });
        throw new Refusal(422, "bad-package", `This is not a package: ${reason}.`, { reason });
      }
    }
    if (gone) return;
    tell({ type: "upload", uploadId, stage: "done", done, total });
    state.packages.set(packages[name].packageId, packages[name]);
    json(response, 201, view(packages[name]));
  }

  function log(grain, response) {
    response.writeHead(200, { "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store" });
    response.write(`** starting ${grain.title}\n\u001b[32minfo\u001b[0m listening on port 8000\n`);
    let count = 0;
    const timer = setInterval(() => response.write(`GET /day/${(count += 1)} 200 ${3 + (count % 9)} ms\n`), pace * 2);
    state.logs.add(response);
    response.on("close", () => {
      clearInterval(timer);
      state.logs.delete(response);
    });
  }

  /** A session host: hands over, then shows a page that speaks to the shell as Sandstorm apps do. */
  async function session(host, request, response, url) {
    const [label] = host.split(".");
    const page = state.pages.get(label);
    const closed = (status, text) => response.writeHead(status, { "Content-Type": "text/html; charset=utf-8" }).end(`<!doctype html><meta name="color-scheme" content="light dark"><p>${text}`);
    if (state.down) return response.destroy();
    if (!page) return closed(404, "This page is closed. Open it again from Percloud.");
    if (url.pathname === "/_percloud/enter") {
      const body = await text(request);
      const fits = request.method === "POST" && page.secret !== undefined && body === `secret=${page.secret}`;
      state.handedOver.push({ fits, origin: request.headers.origin, referer: request.headers.referer, url: request.url });
      if (!fits) return closed(404, "This page was opened already, or too long ago. Open it again from Percloud.");
      page.secret = undefined;
      page.cookie = randomBytes(16).toString("hex");
      await page.started;
      return response.writeHead(303, { Location: page.path, "Set-Cookie": `page=${page.cookie}; HttpOnly; Path=/` }).end();
    }
    if (!request.headers.cookie?.includes(`page=${page.cookie}`)) return closed(404, "This page is closed. Open it again from Percloud.");
    if (!(await page.started)) return closed(503, "The app did not start.");
    const grain = state.grains.get(page.grain);
    if (request.method === "POST" && url.pathname === "/choose" && page.asks) {
      connecting.answerFromPage(page);
      return response.writeHead(204).end();
    }
    const shell = `http://${host.slice(label.length + 1)}:${url.port}`;
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": `default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; frame-src ${shell}; frame-ancestors http://${host.slice(label.length + 1)}:${url.port}` });
    response.end(page.asks ? choicePage(grain) : appPage(grain, url.pathname));
  }

  return { handle, state, seed, reset, restart, hold, tell, change, packages, sharing, connecting };
}

const escape = (words) => words.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

/** A page such as an app might show; it tells the shell its title and where in it one is. */
function appPage(grain, path) {
  const days = Array.from({ length: 35 }, (_, at) => `<td>${(at % 31) + 1}`);
  const rows = Array.from({ length: 5 }, (_, at) => `<tr>${days.slice(at * 7, at * 7 + 7).join("")}`).join("");
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(grain.title)}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;margin:1.5rem;color:#222;background:#fff}table{width:100%;border-collapse:collapse;table-layout:fixed}td{border:1px solid #ddd;height:4rem;padding:.25rem .5rem;vertical-align:top;color:#555}button{font:inherit;padding:.5rem 1rem}</style>
<h1>${escape(grain.noun)}</h1><p id="where">${escape(path)}</p>
<p><button id="next">Go to June</button> <button id="evil">Misbehave</button></p><details><summary>Connections</summary><p>
<button data-ask="calendar">Choose a calendar</button> <button data-ask="wiki">Choose a wiki</button> <button data-ask="page">Choose a page</button> <button data-ask="address">Choose a website</button>
<button data-ask="https://api.github.com/repos">Talk to GitHub</button> <button data-ask="http://weather.example/station/7">Talk to the weather station</button> <button data-ask="website">Talk to any one place</button>
<button data-ask="network">Talk to everybody</button> <button data-ask="network:tls">Whisper to everybody</button> <button data-ask="interface">Listen</button> <button data-ask="anything">Choose anything</button>
<button data-ask="new">Choose something new</button> <button data-ask="nothing">Choose nothing</button> <button id="share">Share this day</button> <button id="who">Who can see this?</button>
<button id="template">Connect a program</button> <button id="title">What am I called?</button> <button id="flood">Ask a hundred times</button></p><output id="said"></output><div id="offer"></div></details><table>${rows}</table>
<script>
const say = (message) => window.parent.postMessage(message, "*");
next.onclick = () => { history.pushState(null, "", "/june"); where.textContent = "/june"; say({ setPath: "/june" }); say({ setTitle: "June" }); };
evil.onclick = () => { say({ setPath: "//evil.example/" }); say({ setPath: "javascript:alert(1)" }); say({ setTitle: { toString: 1 } }); say("x"); say(null); say({ setPath: "/june/31" }); };
addEventListener("message", (event) => {
  if (event.source !== window.parent) return;
  said.textContent = JSON.stringify(event.data);
  if (typeof event.data.uri === "string") {
    const frame = document.createElement("iframe");
    frame.src = event.data.uri;
    frame.style = "width: 100%; height: 6rem; border: 0";
    offer.replaceChildren(frame);
  }
});
let asked = 0;
for (const button of document.querySelectorAll("[data-ask]")) {
  button.onclick = () => say({ powerboxRequest: { rpcId: (asked += 1), query: [btoa(button.dataset.ask)], saveLabel: { defaultText: button.textContent } } });
}
share.onclick = () => say({ startSharing: { pathname: "/june", hash: "#15" } });
who.onclick = () => say({ showConnectionGraph: {} });
title.onclick = () => say({ getGrainTitle: {}, rpcId: "title", subscribe: true });
template.onclick = () => say({ renderTemplate: { rpcId: "template", template: "git clone http://git:$API_TOKEN@$API_HOST/ $GRAIN_TITLE_SLUG", petname: "Git", clipboardButton: "right", style: { color: "#7a4fa3" } } });
flood.onclick = () => { for (let at = 0; at < 100; at += 1) say({ powerboxRequest: { rpcId: "flood " + at, query: [btoa("calendar")] } }); };
</script>`;
}

/** A page on which a provider asks further what exactly is meant. */
function choicePage(grain) {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(grain.title)}</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;margin:1.5rem;color:#222;background:#fff}button{font:inherit;padding:.75rem 1rem;display:block;width:100%;margin:.5rem 0;text-align:start}</style>
<script>addEventListener("click", (event) => event.target.closest("button") && fetch("/choose", { method: "POST" }));</script>
<h1>Which page?</h1><button>Soups</button><button>Cakes</button><button>Everything</button>`;
}
