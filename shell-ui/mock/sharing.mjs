// Who may do what in the mock: people, ways into a grain, offers, links, history. The rules are the server's in small
// (union over ways, intersection along one), so that what the shell shows after a change is what would be true.

import { randomBytes } from "node:crypto";

import { Refusal, document, json } from "./answers.mjs";

const DAY = 24 * 3_600_000;
const id = () => randomBytes(11).toString("hex");
const secretText = () => randomBytes(32).toString("base64url");
const notFound = () => new Refusal(404, "not-found", "There is nothing here.");
const bad = (message) => new Refusal(400, "bad-request", message);

const text = (value, limit, what) => {
  if (value === undefined || value === null) return null;
  if (typeof value !== "string" || value.length > limit) throw bad(`${what} is too long.`);
  return value.trim() || null;
};

export function createSharing(state, { tell, packages }) {
  const appOf = (grain) => Object.values(packages).find((pack) => pack.packageId === grain.packageId) ?? {};
  const rolesOf = (grain) => appOf(grain).roles ?? [];
  const everything = (grain) => new Set(["all", ...rolesOf(grain).flatMap((role) => role.permissions)]);

  function permissions(grain, role) {
    if (role.all) return everything(grain);
    const found = role.index === undefined ? rolesOf(grain).find((one) => one.isDefault) : rolesOf(grain)[role.index];
    return new Set(found?.permissions ?? []);
  }

  const both = (a, b) => new Set([...a].filter((one) => b.has(one)));
  const waysOf = (grain) => [...state.ways.values()].filter((way) => way.grain === grain.id);

  /** Why a way gives nothing of itself, or nothing. */
  function stopped(way) {
    if (way.acceptance !== "accepted") return way.acceptance;
    if (way.expires !== null && way.expires <= Date.now()) return "expired";
    return undefined;
  }

  /** What comes through a way, or `undefined` when nobody gets in by it. */
  function carried(grain, way, seen = new Set()) {
    if (stopped(way) || seen.has(way.id)) return undefined;
    const within = new Set(seen).add(way.id);
    const link = way.kind === "person" && way.via && state.ways.get(way.via)?.kind === "link" ? state.ways.get(way.via) : undefined;
    const given = link ? carried(grain, link, within) : passable(grain, way.by, within);
    return given && both(given, permissions(grain, way.role));
  }

  const union = (sets) => sets.filter(Boolean).reduce((all, one) => new Set([...(all ?? []), ...one]), undefined);
  const own = (grain, person) => waysOf(grain).filter((way) => way.kind === "person" && way.person === person);

  /** What a person may pass on. */
  function passable(grain, person, seen) {
    if (grain.owner === person) return everything(grain);
    return union(own(grain, person).filter((way) => way.mayReshare).map((way) => carried(grain, way, seen)));
  }

  /** What a person may do; `undefined` without access. */
  function held(grain, person) {
    if (grain.trashed !== null && grain.owner !== person) return undefined;
    const paths = grain.owner === person ? everything(grain) : union(own(grain, person).map((way) => carried(grain, way)));
    const ceiling = state.ceilings.get(`${grain.id} ${person}`);
    return paths && ceiling ? both(paths, permissions(grain, ceiling)) : paths;
  }

  function words(grain, set) {
    if (set.has("all") || rolesOf(grain).length === 0) return "can do everything";
    const same = rolesOf(grain).find((role) => role.permissions.length === set.size && role.permissions.every((one) => set.has(one)));
    return same?.can ?? (set.size === 0 ? "can open it" : "can do some things");
  }

  const nameOf = (person) => state.people.get(person)?.name ?? "Somebody";

  /** A grain as one person sees it. */
  function seen(grain, person) {
    const { owner, ...facts } = grain;
    const mine = owner === person;
    const can = held(grain, person) ?? new Set();
    const called = state.names.get(`${grain.id} ${person}`);
    const ends = own(grain, person).filter((way) => carried(grain, way)).map((way) => way.expires);
    return {
      ...facts,
      title: called ?? grain.title,
      ownersTitle: called && called !== grain.title ? grain.title : null,
      mine,
      owner: nameOf(owner),
      can: mine ? null : words(grain, can),
      mayShare: passable(grain, person) !== undefined,
      expires: mine || ends.includes(null) || ends.length === 0 ? null : Math.max(...ends),
      unread: grain.unreadBy?.includes(person) ?? false,
    };
  }

  function viewWay(grain, way, person) {
    const gives = carried(grain, way);
    const target = way.person && state.people.get(way.person);
    return {
      id: way.id,
      kind: way.kind,
      name: target?.name ?? null,
      handle: target?.handle ?? null,
      me: way.person === person,
      label: way.label,
      role: way.role,
      can: words(grain, gives ?? permissions(grain, way.role)),
      via: way.via,
      by: nameOf(way.by),
      byMe: way.by === person,
      created: way.created,
      expires: way.expires,
      lastUsed: way.lastUsed,
      singleUse: way.singleUse,
      used: way.used,
      mayReshare: way.mayReshare,
      state: stopped(way) ?? (gives ? "active" : "idle"),
      mayChange: grain.owner === person || way.by === person,
    };
  }

  const audit = (grain, who, what) => state.history.unshift({ time: Date.now(), grain: grain?.id ?? null, who: who && nameOf(who), what });

  /** Runs a change and tells everybody whom it concerns: who gained, lost, or may do otherwise. */
  function changing(grain, run) {
    const before = new Map([...state.people.keys()].map((person) => [person, held(grain, person)]));
    const result = run();
    for (const person of state.people.keys()) {
      const had = before.get(person);
      const has = held(grain, person);
      if (has && state.accepted(grain, person)) {
        tell({ type: "grain", grain: seen(grain, person) }, [person]);
        tell({ type: "sharing", grain: grain.id }, [person]);
      } else if (had) tell({ type: "grain-deleted", id: grain.id }, [person]);
      if (had && (!has || had.size !== has.size || [...had].some((one) => !has.has(one)))) closePages(grain, (page) => page.person === person);
    }
    closePages(grain, (page) => page.link && !(state.ways.has(page.link) && carried(grain, state.ways.get(page.link))));
    return result;
  }

  function closePages(grain, ends) {
    for (const [label, page] of state.pages) {
      if (page.grain !== grain.id || !ends(page)) continue;
      state.pages.delete(label);
      if (page.person) tell({ type: "page-closed", page: label }, [page.person]);
    }
  }

  state.accepted = (grain, person) => grain.owner === person || own(grain, person).some((way) => way.acceptance === "accepted");

  function newWay(grain, by, facts) {
    const via = facts.via ?? (grain.owner === by ? null : (own(grain, by).find((way) => way.mayReshare)?.id ?? null));
    const way = { id: id(), grain: grain.id, kind: "person", by, role: {}, label: null, created: Date.now(), expires: null, lastUsed: null, singleUse: false, used: false, mayReshare: false, acceptance: "accepted", note: null, ...facts, via };
    state.ways.set(way.id, way);
    return way;
  }

  const below = (way) => [...state.ways.values()].filter((one) => one.via === way.id).flatMap((one) => [one, ...below(one)]);

  function readRole(grain, role, giver) {
    if (typeof role !== "object" || role === null) throw bad("A role is missing.");
    if (role.index !== undefined && !rolesOf(grain)[role.index]) throw bad("The app has no such role.");
    const wanted = permissions(grain, role);
    const may = passable(grain, giver) ?? new Set();
    if (![...wanted].every((one) => may.has(one))) throw new Refusal(403, "may-not-share", "You cannot give what you do not have.");
    return role;
  }

  function readExpiry(value) {
    if (value === undefined || value === null) return null;
    if (typeof value !== "number" || value <= Date.now()) throw bad("The end must be in the future.");
    return value;
  }

  function linkFor(token) {
    const way = typeof token === "string" && [...state.ways.values()].find((one) => one.kind === "link" && one.token === token);
    const grain = way && state.grains.get(way.grain);
    if (!grain || grain.trashed !== null || !carried(grain, way)) throw notFound();
    return { way, grain };
  }

  function offersFor(person) {
    const shares = [...state.ways.values()].filter((way) => way.person === person && stopped(way) === "pending");
    const shown = (grain, facts) => ({ title: grain.title, appTitle: grain.appTitle, icon: grain.icon, note: null, expires: null, ...facts });
    return [
      ...shares.map((way) => {
        const grain = state.grains.get(way.grain);
        return shown(grain, { id: way.id, kind: "share", by: nameOf(way.by), can: words(grain, permissions(grain, way.role)), note: way.note, created: way.created, expires: way.expires });
      }),
      ...[...state.transfers.values()]
        .filter((transfer) => transfer.to === person)
        .map((transfer) => shown(state.grains.get(transfer.grain), { id: transfer.id, kind: "transfer", by: nameOf(transfer.by), can: "can do everything", created: transfer.created })),
    ];
  }

  /** Calls that need no account. Whether this was one. */
  async function forStrangers({ method, path, request, response, person, signIn, openPage }) {
    const call = `${method} ${path.join("/")}`;
    if (call === "POST join") {
      const body = await document(request);
      const invitation = [...state.invitations.values()].find((one) => one.secret === body.secret && one.expires > Date.now());
      if (!invitation) throw new Refusal(403, "wrong-secret", "This invitation is unknown, used or expired.");
      if (body.password.length < 10) throw new Refusal(400, "weak-password", "A password has at least 10 characters.");
      if ([...state.people.values()].some((one) => one.handle === body.handle)) throw bad("Somebody here has this user name already.");
      state.invitations.delete(invitation.id);
      const fresh = { id: id(), name: body.name, handle: body.handle, password: body.password, role: "member" };
      state.people.set(fresh.id, fresh);
      audit(null, fresh.id, "came by an invitation");
      signIn(201, fresh);
      return true;
    }
    if (path[0] !== "links" || method !== "POST") return false;
    const body = await document(request);
    const { way, grain } = linkFor(body.token);
    if (path[1] === "look") {
      const has = person && held(grain, person.id) && state.accepted(grain, person.id) ? grain.id : null;
      json(response, 200, { title: grain.title, appTitle: grain.appTitle, icon: grain.icon, by: nameOf(way.by), can: words(grain, carried(grain, way)), expires: way.expires, grain: has });
      return true;
    }
    if (path[1] === "open") {
      let token;
      if (way.singleUse) {
        token = secretText();
        Object.assign(way, { token, singleUse: false, used: true });
      }
      way.lastUsed = Date.now();
      json(response, 200, { ...openPage(grain, { path: body.path, link: way.id }), ...(token && { token }) });
      return true;
    }
    if (path[1] === "accept" && person) {
      const mine = held(grain, person.id);
      if (!mine) {
        changing(grain, () => newWay(grain, way.by, { person: person.id, via: way.id, role: { all: true }, mayReshare: way.mayReshare, lastUsed: Date.now() }));
        if (way.singleUse) Object.assign(way, { token: secretText(), used: true });
        audit(grain, person.id, `came by the link ${way.label ? `“${way.label}”` : "without a name"}`);
      }
      way.lastUsed = Date.now();
      json(response, 201, seen(grain, person.id));
      return true;
    }
    return false;
  }

  /** Calls about people and offers. Whether this was one. */
  async function forPeople({ method, path, request, response, person, origin }) {
    const [kind, which, act] = path;
    const done = (status, value) => (value === undefined ? response.writeHead(status).end() : json(response, status, value), true);
    const call = `${method} ${kind}${which ? " ID" : ""}${act ? ` ${act}` : ""}`;
    const isOwner = person.role === "owner";
    switch (call) {
      case "GET people":
        return done(200, { people: [person, ...[...state.people.values()].filter((one) => one !== person)].map((one) => ({ id: one.id, name: one.name, handle: one.handle, me: one === person })) });
      case "GET invitations":
        if (!isOwner) throw notFound();
        return done(200, { invitations: [...state.invitations.values()].map(({ secret: _, ...shown }) => shown) });
      case "POST invitations": {
        if (!isOwner) throw notFound();
        const body = await document(request);
        const invitation = { id: id(), note: text(body.note, 200, "The note"), created: Date.now(), expires: Date.now() + 7 * DAY };
        const secret = secretText();
        state.invitations.set(invitation.id, { ...invitation, secret });
        audit(null, person.id, "made an invitation");
        return done(201, { invitation, url: `${origin}/join#${secret}` });
      }
      case "DELETE invitations ID":
        if (!isOwner || !state.invitations.delete(which)) throw notFound();
        return done(204);
      case "GET history":
        return done(200, { entries: state.history.slice(0, 500).map(({ grain: _, ...entry }) => entry), intact: !state.tampered });
      case "POST offers ID accept":
      case "POST offers ID decline": {
        const transfer = state.transfers.get(which);
        const way = state.ways.get(which);
        if (transfer?.to === person.id) {
          const grain = state.grains.get(transfer.grain);
          state.transfers.delete(which);
          if (act === "decline") return done(204);
          const before = grain.owner;
          changing(grain, () => {
            grain.owner = person.id;
            for (const one of own(grain, person.id)) state.ways.delete(one.id);
            for (const one of waysOf(grain)) if (one.by === before) one.by = person.id;
            if (transfer.keep) newWay(grain, person.id, { person: before, role: transfer.keep });
          });
          audit(grain, person.id, `took it over from ${nameOf(before)}`);
          return done(200, seen(grain, person.id));
        }
        if (way?.person !== person.id || way.acceptance !== "pending") throw notFound();
        const grain = state.grains.get(way.grain);
        changing(grain, () => (way.acceptance = act === "accept" ? "accepted" : "declined"));
        audit(grain, person.id, act === "accept" ? "accepted" : "declined");
        return act === "accept" ? done(200, seen(grain, person.id)) : done(204);
      }
      default:
        return false;
    }
  }

  /** Calls about one grain's sharing. Whether this was one. */
  async function forGrain({ method, path, request, response, person, grain, origin }) {
    const [, , act, which] = path;
    const done = (status, value) => (value === undefined ? response.writeHead(status).end() : json(response, status, value), true);
    const may = passable(grain, person.id);
    switch (`${method} ${act}${which ? " ID" : ""}`) {
      case "GET sharing": {
        const ways = waysOf(grain).filter((way) => may || way.person === person.id);
        const owner = state.people.get(grain.owner);
        return done(200, {
          roles: rolesOf(grain).map((role, index) => ({ index, title: role.title, can: role.can, description: role.description ?? "", isDefault: role.isDefault ?? false, mayGive: role.permissions.every((one) => may?.has(one)) })),
          mayGiveAll: may?.has("all") ?? false,
          mayShare: may !== undefined,
          limited: state.ceilings.has(`${grain.id} ${person.id}`),
          owner: { name: owner.name, handle: owner.handle, me: owner === person },
          ways: ways.map((way) => viewWay(grain, way, person.id)),
        });
      }
      case "POST shares": {
        const body = await document(request);
        if (!may) throw new Refusal(403, "may-not-share", "You may not pass this on.");
        const facts = { role: readRole(grain, body.role, person.id), label: text(body.label, 200, "The label"), expires: readExpiry(body.expires), mayReshare: body.mayReshare === true, note: text(body.note, 500, "The note") };
        if (body.to?.link) {
          const token = secretText();
          const way = changing(grain, () => newWay(grain, person.id, { ...facts, kind: "link", token, singleUse: body.singleUse === true }));
          audit(grain, person.id, `made a link: ${words(grain, permissions(grain, way.role))}`);
          return done(201, { way: viewWay(grain, way, person.id), url: `${origin}/shared#${token}` });
        }
        const target = state.people.get(body.to?.person);
        if (!target || target === person) throw bad("There is no such person.");
        const way = changing(grain, () => newWay(grain, person.id, { ...facts, person: target.id, acceptance: "pending" }));
        audit(grain, person.id, `shared it with ${target.name}: ${words(grain, permissions(grain, way.role))}`);
        tell({ type: "offers" }, [target.id]);
        return done(201, { way: viewWay(grain, way, person.id) });
      }
      case "PATCH shares ID":
      case "DELETE shares ID": {
        const way = state.ways.get(which);
        if (way?.grain !== grain.id || !(grain.owner === person.id || way.by === person.id)) throw notFound();
        const body = await document(request);
        if (method === "PATCH") {
          const facts = {
            ...(body.label !== undefined && { label: text(body.label, 200, "The label") }),
            ...(body.role !== undefined && { role: readRole(grain, body.role, person.id) }),
            ...(body.expires !== undefined && { expires: readExpiry(body.expires) }),
            ...(body.mayReshare !== undefined && { mayReshare: body.mayReshare === true }),
          };
          changing(grain, () => Object.assign(way, facts));
          audit(grain, person.id, `changed what ${way.person ? nameOf(way.person) : "a link"} gives: ${words(grain, permissions(grain, way.role))}`);
          return done(200, viewWay(grain, way, person.id));
        }
        changing(grain, () => {
          if (body.onlyLink) {
            for (const one of state.ways.values()) {
              if (one.via === way.id) Object.assign(one, { via: way.via, by: way.by, role: way.role, expires: one.expires ?? way.expires });
            }
          } else for (const one of below(way)) state.ways.delete(one.id);
          state.ways.delete(way.id);
        });
        audit(grain, person.id, `ended the access of ${way.person ? nameOf(way.person) : "a link"}`);
        return done(204);
      }
      case "PATCH access": {
        const { role } = await document(request);
        if (typeof role !== "object" || role === null) throw bad("A role is missing.");
        changing(grain, () => (role.all ? state.ceilings.delete(`${grain.id} ${person.id}`) : state.ceilings.set(`${grain.id} ${person.id}`, role)));
        return done(200, seen(grain, person.id));
      }
      case "POST leave":
        if (grain.owner === person.id) throw bad("It is yours: hand it over, or move it to the trash.");
        changing(grain, () => {
          for (const way of own(grain, person.id)) for (const one of [way, ...below(way)]) state.ways.delete(one.id);
        });
        audit(grain, person.id, "left");
        return done(204);
      case "POST transfer": {
        const body = await document(request);
        const target = state.people.get(body.person);
        if (grain.owner !== person.id) throw notFound();
        if (!target || target === person) throw bad("There is no such person.");
        const transfer = { id: id(), grain: grain.id, by: person.id, to: target.id, keep: body.keep, created: Date.now() };
        state.transfers.set(transfer.id, transfer);
        tell({ type: "offers" }, [target.id]);
        audit(grain, person.id, `offered it to ${target.name}`);
        return done(201, {});
      }
      case "GET history":
        if (grain.owner !== person.id) throw notFound();
        return done(200, { entries: state.history.filter((entry) => entry.grain === grain.id).slice(0, 500).map(({ grain: _, ...entry }) => entry), intact: !state.tampered });
      default:
        return false;
    }
  }

  return { seen, held, passable, permissions, words, rolesOf, changing, newWay, offersFor, audit, nameOf, forStrangers, forPeople, forGrain };
}
