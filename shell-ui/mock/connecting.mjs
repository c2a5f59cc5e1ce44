// Programs and devices, what apps ask for, what they say, and copies: the rest of what the mock answers.

import { randomBytes } from "node:crypto";

import { Refusal, document, json } from "./answers.mjs";
import { makeGrain } from "./samples.mjs";

const HOUR = 3_600_000;
const id = () => randomBytes(11).toString("hex");
const notFound = () => new Refusal(404, "not-found", "There is nothing here.");
const bad = (message) => new Refusal(400, "bad-request", message);

/** Ways out of the server. */
const website = (url, at) => ({ id: `website:${at}`, kind: "website", title: new URL(url).host, detail: url, url, icon: null, preferred: false });
const typedWebsite = { id: "website", kind: "website", title: "", detail: "", url: null, icon: null, preferred: false };
const network = (how) => ({ id: `network:${how}`, kind: "network", title: "", detail: "", icon: null, preferred: false });
const ports = { id: "interface", kind: "interface", title: "", detail: "", icon: null, preferred: false };

export function createConnecting(state, { tell, sharing, openPage, create }) {
  const unread = (person) => [...state.notifications.values()].filter((one) => one.person === person && !one.read).length;
  const tellUnread = (person) => tell({ type: "notifications", unread: unread(person) }, [person]);

  function notify(person, facts) {
    const one = { id: id(), person, grain: null, title: "", text: "", from: null, icon: null, path: null, time: Date.now(), read: false, ongoing: false, count: 1, limit: null, ...facts };
    state.notifications.set(one.id, one);
    tellUnread(person);
    return one;
  }

  /** What a thing takes against what it may take. */
  function limitsOf(grain, person) {
    const mayRaise = person.role === "owner";
    const of = (name, used, usual, least, most) => ({ used, limit: grain.ownLimits?.[name] ?? usual, usual, least, most: mayRaise ? most : usual });
    const awake = grain.state === "running";
    return {
      limits: {
        memory: of("memory", awake ? 83_000_000 : null, 512 * 2 ** 20, 64 * 2 ** 20, 64 * 2 ** 30),
        processes: of("processes", awake ? 7 : null, 512, 16, 16_384),
        disk: of("disk", grain.size, 1e10, 2e7, 1.6e13),
        files: of("files", 412, 1_000_000, 1000, 100_000_000),
      },
      processor: awake ? 754_000 : null,
      met: (grain.metLimits ?? []).map((met) => ({ ...met, text: "It met a limit." })),
      running: awake,
      full: null,
      mayRaise,
    };
  }

  function addDevice(grain, person, facts) {
    const role = facts.role ?? { all: true };
    const can = sharing.words(grain, new Set([...sharing.permissions(grain, role)].filter((one) => sharing.held(grain, person.id).has(one))));
    const device = { id: id(), grain: grain.id, person: person.id, label: facts.label, role, can, kind: "password", who: person.name, created: Date.now(), lastUsed: null, lastAgent: null, expires: null, ...facts };
    state.devices.set(device.id, device);
    return device;
  }
  const viewDevice = ({ grain: _, person: owner, ...shown }, person) => ({ ...shown, mine: owner === person.id });

  /** Calls about one grain. Whether this was one. */
  async function forGrain({ method, path, request, response, person, grain, host }) {
    const [, , act, which] = path;
    const done = (status, value) => (value === undefined ? response.writeHead(status).end() : json(response, status, value), true);
    const mine = grain.owner === person.id;
    switch (`${method} ${act}${which ? " ID" : ""}`) {
      case "GET devices":
        return done(200, { devices: [...state.devices.values()].filter((one) => one.grain === grain.id && (mine || one.person === person.id)).map((one) => viewDevice(one, person)) });
      case "POST devices": {
        const body = await document(request);
        if (typeof body.label !== "string" || body.label.trim() === "" || body.label.length > 200) throw bad("A device needs a name.");
        const device = addDevice(grain, person, { label: body.label.trim(), ...(body.role && { role: body.role }), expires: body.expires ?? null });
        sharing.audit(grain, person.id, `connected “${device.label}”`);
        return done(201, { device: viewDevice(device, person), password: randomBytes(32).toString("base64url"), user: person.handle, url: `http://api-${randomBytes(16).toString("hex")}.${host}/` });
      }
      case "DELETE devices ID": {
        const device = state.devices.get(which);
        if (device?.grain !== grain.id || !(mine || device.person === person.id)) throw notFound();
        state.devices.delete(which);
        sharing.audit(grain, person.id, `disconnected “${device.label}”`);
        return done(204);
      }
      case "POST templates": {
        const body = await document(request);
        if (typeof body.template !== "string" || body.template.length > 16_384) throw bad("The template is too long.");
        if (body.unauthenticated && JSON.stringify(body.unauthenticated).length > 4096) throw bad("That is too much for those without a password.");
        const device = addDevice(grain, person, { label: body.label ?? "connected external app", kind: "app" });
        const token = randomBytes(32).toString("base64url");
        state.tokens.set(token, 0);
        const apiHost = `api-${randomBytes(16).toString("hex")}.${host}`;
        const slug = grain.title.trim().toLowerCase().replace(/\s+/g, "-").replace(/[^\w-]/g, "").replace(/-+/g, "-");
        const rendered = body.template.replaceAll("$API_TOKEN", token).replaceAll("$API_HOST", apiHost).replaceAll("$GRAIN_TITLE_SLUG", slug);
        return done(201, { device: device.id, token, host: apiHost, text: rendered, ...(body.clientApp && { link: `clientapp-${body.clientApp}:http://${apiHost}#${token}` }) });
      }
      case "GET jobs":
        return done(200, { jobs: state.jobs.filter((one) => one.grain === grain.id).map(({ grain: _, ...shown }) => shown) });
      case "GET limits":
        if (!mine) throw notFound();
        return done(200, limitsOf(grain, person));
      case "PATCH limits": {
        if (!mine) throw notFound();
        const body = await document(request);
        const now = limitsOf(grain, person);
        for (const [name, wanted] of Object.entries(body)) {
          const of = now.limits[name];
          if (!of || (wanted !== null && !(wanted >= of.least && wanted <= of.most))) throw bad("This limit cannot be set.");
          (grain.ownLimits ??= {})[name] = wanted ?? of.usual;
        }
        return done(200, { ...limitsOf(grain, person), applies: "now" });
      }
      case "GET authority":
        return done(200, { held: [...state.held.values()].filter((one) => one.grain === grain.id).map(({ grain: _, ...shown }) => shown) });
      case "DELETE authority ID": {
        const job = state.jobs.findIndex((one) => one.id === which && one.grain === grain.id);
        if (job >= 0) state.jobs.splice(job, 1);
        else if (state.held.get(which)?.grain === grain.id) state.held.delete(which);
        else throw notFound();
        return done(204);
      }
      case "POST requests": {
        const { page, query, label } = await document(request);
        if (state.pages.get(page)?.grain !== grain.id || state.pages.get(page)?.person !== person.id) throw notFound();
        if (!Array.isArray(query) || query.length > 32 || !query.every((one) => typeof one === "string" && /^[\w+/=-]*$/.test(one))) throw bad("The request makes no sense.");
        return done(201, { request: ask(grain, person, { page, query, label }) });
      }
      case "GET backup": {
        const name = `${grain.title}.zip`;
        response.writeHead(200, { "Content-Type": "application/zip", "Content-Disposition": `attachment; filename="grain.zip"; filename*=UTF-8''${encodeURIComponent(name)}` });
        response.end(Buffer.concat([Buffer.from(`PK ${grain.appId} ${name}`), Buffer.alloc(2000)]));
        return true;
      }
      case "POST duplicate": {
        const { owner: _, ...facts } = grain;
        const copy = makeGrain({ ...facts, title: facts.appTitle }, { ...facts, id: id(), title: `Copy of ${grain.title}`, created: Date.now(), lastUsed: null, state: "asleep", owner: person.id });
        create(copy);
        return done(201, sharing.seen(copy, person.id));
      }
      default:
        return false;
    }
  }

  /** A request for something, in front of a person. What is asked for is the first query, in words, as base64. */
  function ask(grain, person, { page = null, query, label }) {
    const request = { id: id(), grain: grain.id, person: person.id, page, label: label ?? "", wants: Buffer.from(query[0] ?? "", "base64").toString() };
    state.requests.set(request.id, request);
    return request.id;
  }

  function choices(request) {
    const things = (noun) =>
      [...state.grains.values()]
        .filter((one) => one.noun === noun && one.trashed === null && one.id !== request.grain && sharing.held(one, request.person))
        .map((one) => ({
          id: one.id,
          kind: "grain",
          title: sharing.seen(one, request.person).title,
          detail: one.owner === request.person ? one.appTitle : `${one.appTitle}, from ${sharing.nameOf(one.owner)}`,
          icon: one.icon,
          preferred: one.owner === request.person,
          roles: sharing.rolesOf(one).map((role, index) => ({ index, title: role.title, can: role.can })),
        }));
    const makeable = (noun) =>
      [...state.apps.values()].flatMap((app) => app.actions.filter((action) => action.noun === noun).map((action) => ({ packageId: app.packageId, action: action.index, title: app.title, noun, icon: app.icon })));
    switch (request.wants) {
      case "person":
        return { choices: [...state.people.values()].filter((one) => one.id !== request.person).map((one) => ({ id: one.id, kind: "person", title: one.name, detail: one.handle, icon: null, preferred: false })), makeable: [] };
      case "address":
        return { choices: [{ id: "address", kind: "address", title: "A place on the web", detail: "", icon: null, preferred: false, asksText: "Address of the website" }], makeable: [] };
      case "nothing":
        return { choices: [], makeable: [] };
      case "website":
        return { choices: outside(request, [typedWebsite]), makeable: [] };
      case "network":
        return { choices: outside(request, [network("plain"), network("tls")]), makeable: [] };
      case "network:tls":
        return { choices: outside(request, [network("tls")]), makeable: [] };
      case "interface":
        return { choices: outside(request, [ports]), makeable: [] };
      case "anything":
        return { choices: [...things("calendar"), ...outside(request, [website("https://api.github.com/repos", 0), typedWebsite, network("plain"), network("tls"), ports])], makeable: makeable("wiki") };
      case "new":
        return { choices: [], makeable: makeable("wiki") };
      default:
        if (/^https?:/.test(request.wants)) return { choices: [website(request.wants, 0)], makeable: [] };
        return { choices: things(request.wants === "page" ? "wiki" : request.wants), makeable: makeable(request.wants) };
    }
  }

  /** What lies outside; all but websites is for the server's owner. */
  const outside = (request, all) => all.filter((one) => one.kind === "website" || request.person === state.me.id);

  /** What choosing something outside is worth, or why it is refused. */
  function chooseOutside(asked, choice, body) {
    if (choice.kind === "network") return grant(asked, null, "the whole network", null);
    if (choice.kind === "interface") return grant(asked, null, "ports of this machine", null);
    const { url = choice.url, credential } = body.website ?? {};
    if (choice.url && url !== choice.url) throw bad("The app asked for another address.");
    let address;
    try {
      address = new URL(url);
    } catch {
      throw bad("This is not the address of a website.");
    }
    if (!/^https?:$/.test(address.protocol) || address.username || address.password || /[?#]/.test(url) || url !== address.href) throw bad("This is not the address of a website.");
    if (address.hostname.endsWith(".local")) throw bad("This address belongs to the server’s own network.");
    const fits =
      credential === null ||
      (credential?.kind === "bearer" && typeof credential.token === "string" && /^[\x21-\x7e]+$/.test(credential.token)) ||
      (credential?.kind === "basic" && typeof credential.user === "string" && !credential.user.includes(":") && typeof credential.password === "string");
    if (!fits) throw bad("One cannot sign in with this.");
    const given = grant(asked, null, "a website", url);
    state.credentials.push({ url, credential });
    return given;
  }

  const grant = (request, grain, what, from) => {
    const held = { id: id(), grain: request.grain, label: request.label || what, what, from, by: sharing.nameOf(request.person), created: Date.now() };
    state.held.set(held.id, held);
    state.requests.delete(request.id);
    return { token: randomBytes(32).toString("base64url"), descriptor: Buffer.from(`descriptor of ${what}`).toString("base64url") };
  };

  /** Calls about requests, notifications and backups. Whether this was one. */
  async function forPerson({ method, path, request, response, person }) {
    const [kind, which, act] = path;
    const done = (status, value) => (value === undefined ? response.writeHead(status).end() : json(response, status, value), true);
    const asked = kind === "requests" ? state.requests.get(which) : undefined;
    if (kind === "requests" && asked?.person !== person.id) throw notFound();
    switch (`${method} ${kind}${which ? " ID" : ""}${act ? ` ${act}` : ""}`) {
      case "GET requests ID":
        return done(200, { grain: asked.grain, label: asked.label, ...choices(asked) });
      case "DELETE requests ID":
        state.requests.delete(which);
        return done(204);
      case "POST requests ID choose": {
        const body = await document(request);
        if (body.make) {
          const app = [...state.apps.values()].find((one) => one.packageId === body.make.packageId);
          const action = app?.actions[body.make.action];
          if (!action) throw bad("This app has no such action.");
          const made = create(makeGrain(app, { title: action.noun[0].toUpperCase() + action.noun.slice(1), noun: action.noun, owner: person.id }));
          return done(200, grant(asked, made, made.title, made.title));
        }
        const choice = choices(asked).choices.find((one) => one.id === body.choice);
        if (!choice) throw notFound();
        if (choice.asksText && (typeof body.text !== "string" || !/^https?:\/\/[^\s/]+/.test(body.text))) throw bad("That is not the address of a website.");
        if (["website", "network", "interface"].includes(choice.kind)) return done(200, chooseOutside(asked, choice, body));
        const grain = state.grains.get(choice.id);
        if (asked.wants === "page" && grain) {
          const opened = openPage(grain, { person: person.id, asks: asked.id });
          return done(200, { open: opened, grain: grain.id });
        }
        return done(200, grant(asked, grain, choice.title, choice.title));
      }
      case "GET notifications":
        return done(200, { notifications: [...state.notifications.values()].filter((one) => one.person === person.id).sort((a, b) => b.time - a.time).map(({ person: _, ...shown }) => shown) });
      case "POST notifications ID": {
        if (which === "read") {
          const { until } = await document(request);
          for (const one of state.notifications.values()) if (one.person === person.id && one.time <= until) one.read = true;
          tellUnread(person.id);
          return done(204);
        }
        const one = state.notifications.get(which);
        const { act: wanted } = await document(request);
        if (one?.person !== person.id) throw notFound();
        if (wanted === "read") one.read = true;
        else if (wanted === "cancel" && one.ongoing) state.notifications.delete(which);
        else if (["dismiss", "mute-thread"].includes(wanted)) state.notifications.delete(which);
        else if (wanted === "mute-grain") {
          for (const other of [...state.notifications.values()]) if (other.grain === one.grain && other.person === person.id) state.notifications.delete(other.id);
        } else throw bad("That cannot be done with it.");
        tellUnread(person.id);
        return done(204);
      }
      case "POST backups": {
        const chunks = [];
        for await (const chunk of request) chunks.push(chunk);
        const [, appId, name] = /^PK (\w+) (.*)\.zip\0/.exec(Buffer.concat(chunks).toString("latin1", 0, 400)) ?? [];
        if (!appId) throw new Refusal(422, "bad-backup", "This is not a backup: it is not a zip.", { reason: "not-a-zip" });
        const app = state.apps.get(appId);
        if (!app) throw new Refusal(409, "app-missing", "The app it was made with is not installed here.");
        const grain = create(makeGrain(app, { title: Buffer.from(name, "latin1").toString(), noun: app.actions[0].noun, owner: person.id }));
        return done(201, sharing.seen(grain, person.id));
      }
      default:
        return false;
    }
  }

  /** What a provider's own page does when the person has chosen there. */
  function answerFromPage(page) {
    const asked = state.requests.get(page.asks);
    if (!asked) return;
    const grain = state.grains.get(page.grain);
    tell({ type: "answer", request: asked.id, ...grant(asked, grain, `A page of ${grain.title}`, grain.title) }, [asked.person]);
  }

  /** An API host, as far as the shell's own pages call one: to keep a password alive. */
  function api(request, response) {
    const cors = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": request.headers["access-control-request-headers"] ?? "", "Cache-Control": "no-store", Vary: "Authorization" };
    const token = /^Bearer ([\w-]{43})$/.exec(request.headers.authorization ?? "")?.[1];
    if (request.method === "OPTIONS") return response.writeHead(204, cors).end();
    if (!state.tokens.has(token)) return response.writeHead(401, { ...cors, "WWW-Authenticate": 'Basic realm="Percloud", charset="UTF-8"' }).end();
    state.tokens.set(token, Number(request.headers["x-sandstorm-token-keepalive"] ?? 0));
    return response.writeHead(200, cors).end();
  }

  return { api, forGrain, forPerson, notify, unread, ask, addDevice, answerFromPage };
}

/** What a household has besides its things: who shares what with whom, and what the apps say. */
export function seedSharing(state, { sharing, connecting, ada, bela, chiara, dmitri, grains }) {
  const now = Date.now();
  const DAY = 24 * HOUR;
  const [calendar, recipes, moving] = grains;
  const way = (grain, by, facts) => sharing.newWay(grain, by.id, facts);
  const belas = way(calendar, ada, { person: bela.id, role: { index: 0 }, mayReshare: true, created: now - 80 * DAY, lastUsed: now - 3 * HOUR });
  way(calendar, bela, { person: dmitri.id, role: { index: 1 }, via: belas.id, created: now - 9 * DAY, acceptance: "pending", note: "The dates of the choir are in it." });
  const neighbours = way(calendar, ada, { kind: "link", token: "N".repeat(43), label: "Neighbours", role: { index: 1 }, created: now - 30 * DAY, lastUsed: now - 2 * DAY, expires: now + 3 * DAY });
  way(calendar, ada, { person: chiara.id, via: neighbours.id, role: { all: true }, created: now - 28 * DAY, lastUsed: now - 2 * DAY });
  way(calendar, ada, { kind: "link", token: "P".repeat(43), label: "The plumber", role: { index: 1 }, created: now - 20 * DAY, expires: now - 13 * DAY, lastUsed: now - 15 * DAY });
  way(calendar, ada, { kind: "link", token: "O".repeat(43), label: null, role: { index: 1 }, created: now - 2 * DAY, singleUse: true });
  const [choir, garden, minutes] = grains.slice(-3);
  way(choir, bela, { person: ada.id, role: { index: 1 }, created: now - 12 * DAY, expires: now + 4 * DAY, lastUsed: now - DAY });
  way(garden, chiara, { person: ada.id, role: { index: 0 }, acceptance: "pending", note: "For planning the beds together", created: now - HOUR });
  way(minutes, dmitri, { person: ada.id, role: { all: true }, mayReshare: true, created: now - 40 * DAY });
  state.names.set(`${minutes.id} ${ada.id}`, "House meetings");
  minutes.unreadBy = [ada.id];
  state.transfers.set("t1", { id: "t1", grain: minutes.id, by: dmitri.id, to: ada.id, created: now - 2 * HOUR });

  connecting.addDevice(calendar, ada, { label: "Ada’s phone", created: now - 60 * DAY, lastUsed: now - 20 * 60_000, lastAgent: "iOS calendar" });
  connecting.addDevice(calendar, bela, { label: "Office computer", role: { index: 1 }, created: now - 12 * DAY });
  state.jobs.push({ id: "j1", grain: calendar.id, name: "Fetch public holidays", period: "daily", next: now + 6 * HOUR, created: now - 80 * DAY, problem: null });
  state.jobs.push({ id: "j2", grain: calendar.id, name: "Send reminders", period: "hourly", next: now + 20 * 60_000, created: now - 80 * DAY, problem: "The last time it did not get through to the mail server." });
  state.held.set("h1", { id: "h1", grain: calendar.id, label: "Birthdays", what: "Family contacts, can read", from: "Contacts", by: "Ada Lovelace", created: now - 50 * DAY });
  state.held.set("h2", { id: "h2", grain: calendar.id, label: "Holidays", what: "holidays.example", from: null, by: "Ada Lovelace", created: now - 80 * DAY });
  connecting.notify(ada.id, { grain: calendar.id, title: "Family calendar", text: "Bela moved “Dentist” to Thursday, 9:30", from: "Bela Bartók", icon: calendar.icon, path: "/day/dentist", time: now - 25 * 60_000 });
  connecting.notify(ada.id, { grain: recipes.id, title: "Recipes", text: "It tried to start more processes than it may.", limit: "processes", icon: recipes.icon, time: now - 3 * HOUR });
  recipes.metLimits = [{ limit: "processes", time: now - 3 * HOUR }];
  connecting.notify(ada.id, { grain: recipes.id, title: "Recipes", text: "Three pages were changed", icon: recipes.icon, path: "/changes", time: now - 5 * HOUR, count: 3 });
  connecting.notify(ada.id, { grain: moving.id, title: "Moving house", text: "Keeps in touch with the removal company", icon: moving.icon, ongoing: true, read: true, time: now - 2 * DAY });
  state.history.length = 0;
  const past = (ago, grain, who, what) => state.history.push({ time: now - ago, grain: grain?.id ?? null, who: who?.name ?? null, what });
  past(2 * HOUR, minutes, dmitri, "offered it to Ada Lovelace");
  past(2 * DAY, calendar, ada, "made a link: can view");
  past(9 * DAY, calendar, bela, "shared it with Dmitri Shostakovich: can view");
  past(13 * DAY, calendar, null, "the link “The plumber” came to its end");
  past(28 * DAY, calendar, chiara, "came by the link “Neighbours”");
  past(30 * DAY, calendar, ada, "made the link “Neighbours”: can view");
  past(80 * DAY, calendar, ada, "shared it with Bela Bartók: can edit");
}
