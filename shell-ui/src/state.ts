// What the shell knows for the moment. The server holds the truth; this is its latest answer, kept fresh by events.

import { batch, createSignal, onCleanup } from "solid-js";
import { createStore, reconcile } from "solid-js/store";

import { clearToasts } from "../kit/index.ts";
import { api } from "./api/client.ts";
import { listen } from "./api/events.ts";
import { type Problem, asProblem } from "./api/problem.ts";
import type { App, Grain, Home, Me, More, Offer, ServerEvent, Settings, UploadEvent, Warning } from "./api/types.ts";
import { go } from "./navigation.ts";
import { paths } from "./routes.ts";

/** Whether the shell knows enough to draw a page, and what it lacks. */
export type Readiness = "loading" | "failed" | "ready";

interface Known {
  readiness: Readiness;
  problem: Problem | undefined;
  settings: Settings | undefined;
  me: Me | undefined;
  /** `undefined` until the first answer. */
  apps: App[] | undefined;
  grains: Grain[] | undefined;
  /** Where to go on if these are not all. */
  more: More;
  /** Things that were asked for by name, and are not there. */
  absent: Record<string, true>;
  /** What others offer and one has not answered. */
  offers: Offer[];
  /** How many notifications are unread. */
  unread: number;
  /** What apps asked for while the person was elsewhere: the request, by the thing that asks. */
  asked: Record<string, string>;
  warnings: Warning[];
  homeProblem: Problem | undefined;
  /** The connection that brings events: `down` only once it has been up or tried. */
  connection: "up" | "down" | "unknown";
}

const [known, set] = createStore<Known>({
  readiness: "loading",
  problem: undefined,
  settings: undefined,
  me: undefined,
  apps: undefined,
  grains: undefined,
  more: { grains: null, trash: null },
  absent: {},
  offers: [],
  unread: 0,
  asked: {},
  warnings: [],
  homeProblem: undefined,
  connection: "unknown",
});
export { known };

/** Goes up when the connection is back after a loss, once what was missed is known. */
const [returns, setReturns] = createSignal(0);
export { returns };

const [uploadEvent, setUploadEvent] = createSignal<UploadEvent>();
/** The latest word on an upload. */
export { uploadEvent };

let stopListening: (() => void) | undefined;

/** Asks the server who is there and what for. */
export async function start(): Promise<void> {
  set({ readiness: "loading", problem: undefined });
  try {
    const settings = await api.settings();
    if (settings.signedIn) void refresh();
    const me = settings.signedIn ? await api.me() : undefined;
    batch(() => set({ settings, me, readiness: "ready" }));
    if (me) attend();
  } catch (thrown) {
    set({ problem: asProblem(thrown), readiness: "failed" });
  }
}

/** Somebody has signed in here. */
export function welcome(me: Me): void {
  set("settings", (settings) => settings && { ...settings, setUp: true, signedIn: true });
  set({ me });
  void refresh();
  attend();
}

/** Nobody is signed in any more; nothing of theirs stays in the page. */
export function farewell(): void {
  stopListening?.();
  stopListening = undefined;
  // What is still on its way is for somebody who has left.
  answered = ++askings;
  clearToasts();
  batch(() => {
    set("settings", (settings) => settings && { ...settings, signedIn: false });
    set({ me: undefined, apps: undefined, grains: undefined, offers: [], unread: 0, warnings: [], homeProblem: undefined, connection: "unknown" });
    set("asked", reconcile({}));
    set("absent", reconcile({}));
    reached = {};
  });
  // What apps were given to show (frame/template.ts) goes with whoever it was for.
  sessionStorage.clear();
}

/** Signs out, here and on the server. */
export async function signOut(): Promise<void> {
  await api.signOut();
  farewell();
  go(paths.signIn);
}

// How often everything was asked for, and which of these answers is the latest that came.
let askings = 0;
let answered = 0;
// For each answer on its way, what was heard since it was asked for: it may be older than that.
const underway = new Set<ServerEvent[]>();

/** Asks for everything the person has. */
export async function refresh(): Promise<void> {
  const asking = ++askings;
  const since: ServerEvent[] = [];
  underway.add(since);
  try {
    const home = await api.home();
    if (asking < answered) return;
    answered = asking;
    batch(() => {
      set("apps", reconcile(home.apps, { key: "appId" }));
      set("grains", reconcile([...home.grains, ...beyond(home)], { key: "id" }));
      set("more", home.more ? { grains: goOn("grains", home.more), trash: goOn("trash", home.more) } : { grains: null, trash: null });
      set("offers", reconcile(home.offers ?? [], { key: "id" }));
      set({ unread: home.notifications ?? 0, warnings: home.warnings ?? [], homeProblem: undefined });
      since.forEach(takeIn);
    });
  } catch (thrown) {
    // What a later answer, or signing out, has overtaken is no problem any more.
    if (asking >= answered) noteProblem(asProblem(thrown));
  } finally {
    underway.delete(since);
  }
}

// How far each list was read, where that is further than its first part.
let reached: Partial<More> = {};

const goOn = (list: keyof More, more: More): string | null => {
  const further = reached[list];
  return more[list] === null || further === undefined ? more[list] : further;
};

/** Things known already that a first part need not name: they come after its end. */
function beyond(home: Home): Grain[] {
  const named = new Set(home.grains.map((grain) => grain.id));
  const rest = (trash: boolean) => {
    if (!home.more?.[trash ? "trash" : "grains"]) return [];
    const time = (grain: Grain) => (trash ? (grain.trashed ?? 0) : usedAt(grain));
    const of = (all: Grain[]) => all.filter((grain) => grain.mine && (grain.trashed !== null) === trash);
    const end = Math.min(...of(home.grains).map(time));
    return of(known.grains ?? []).filter((grain) => !named.has(grain.id) && time(grain) <= end);
  };
  return [...rest(false), ...rest(true)];
}

/** Asks for the next part of a list. */
export async function readOn(list: keyof More): Promise<void> {
  const after = known.more[list];
  if (after === null) return;
  const page = await attempt(api.grains({ after, trashed: list === "trash" }));
  batch(() => {
    page.grains.forEach(putGrain);
    reached[list] = page.more;
    set("more", list, page.more);
  });
}

/** Asks for a thing that may be one of those not known yet. */
export async function lookUp(id: string): Promise<void> {
  if (isSettled(id)) return;
  try {
    putGrain(await attempt(api.grain(id)));
  } catch (thrown) {
    if (asProblem(thrown).code === "not-found") set("absent", id, true);
  }
}

/** Whether it is known if there is such a thing. */
export const isSettled = (id: string): boolean =>
  known.grains !== undefined && (grainById(id) !== undefined || (known.more.grains === null && known.more.trash === null) || known.absent[id] === true);

function noteProblem(problem: Problem) {
  if (problem.code === "signed-out") farewell();
  else set({ homeProblem: problem });
}

/** A call whose `signed-out` leads to the sign-in page, wherever it was made. */
export async function attempt<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (thrown) {
    const problem = asProblem(thrown);
    if (problem.code === "signed-out") farewell();
    throw problem;
  }
}

function attend() {
  stopListening?.();
  stopListening = listen({
    event: hear,
    up(again) {
      set({ connection: "up" });
      // The first time too: something may have changed between the first answer and now.
      void refresh().then(() => again && setReturns((times) => times + 1));
    },
    down() {
      if (known.connection === "down") return;
      set({ connection: "down" });
      // A refused connection looks like a lost one from here; this tells them apart.
      api.me().catch((thrown: unknown) => {
        if (asProblem(thrown).code === "signed-out") farewell();
      });
    },
  });
}

const listeners = new Set<(event: ServerEvent) => void>();

/** Hears every event for as long as the component that asks is there, after the state has taken it in. */
export function hearing(listener: (event: ServerEvent) => void): void {
  listeners.add(listener);
  onCleanup(() => listeners.delete(listener));
}

function hear(event: ServerEvent) {
  takeIn(event);
  if (isFact(event)) for (const since of underway) since.push(event);
  for (const listener of [...listeners]) listener(event);
}

/** Whether it says how something is now, which an answer says too. */
const isFact = ({ type }: ServerEvent): boolean => ["grain", "grain-deleted", "app", "app-removed", "notifications"].includes(type);

function takeIn(event: ServerEvent) {
  switch (event.type) {
    case "grain":
      return putGrain(event.grain);
    case "grain-deleted":
      return dropGrain(event.id);
    case "app":
      return putApp(event.app);
    case "app-removed":
      return set("apps", (apps) => apps?.filter((app) => app.appId !== event.appId));
    case "upload":
      return setUploadEvent(event);
    case "signed-out":
      return farewell();
    case "offers":
      return void refresh();
    case "notifications":
      return set({ unread: event.unread });
    case "asked":
      return set("asked", event.grain, event.request);
    case "hello":
  }
}

/** What a call or an event says of one thing. */
export function putGrain(grain: Grain): void {
  const at = known.grains?.findIndex((one) => one.id === grain.id) ?? -1;
  if (at >= 0) set("grains", at, reconcile(grain));
  else set("grains", (all) => all && [...all, grain]);
}

/** A request that an app made by itself has been taken up. */
export function takeUp(id: string): string | undefined {
  const request = known.asked[id];
  if (request !== undefined) set("asked", id, undefined as never);
  return request;
}

export function dropOffer(id: string): void {
  set("offers", (all) => all.filter((one) => one.id !== id));
}

export function setUnread(unread: number): void {
  set({ unread });
}

export function dropGrain(id: string): void {
  set("grains", (all) => all?.filter((one) => one.id !== id));
}

export function putApp(app: App): void {
  const at = known.apps?.findIndex((one) => one.appId === app.appId) ?? -1;
  if (at >= 0) set("apps", at, reconcile(app));
  else set("apps", (all) => all && [...all, app]);
}

/** The app's record, whatever package of it is meant. */
export function dropApp(appId: string): void {
  set("apps", (all) => all?.filter((one) => one.appId !== appId));
}

export const grainById = (id: string): Grain | undefined => known.grains?.find((grain) => grain.id === id);
export const appById = (appId: string): App | undefined => known.apps?.find((app) => app.appId === appId);
/** What is not in the trash, latest used first. */
export const things = (): Grain[] =>
  (known.grains ?? []).filter((grain) => grain.trashed === null).sort((a, b) => usedAt(b) - usedAt(a));
export const trashed = (): Grain[] =>
  (known.grains ?? []).filter((grain) => grain.trashed !== null).sort((a, b) => (b.trashed ?? 0) - (a.trashed ?? 0));
export const usedAt = (grain: Grain): number => grain.lastUsed ?? grain.created;
