// Starts a thing before it is opened: nearly all of the wait is the app's own start.

import { api } from "./api/client.ts";
import type { Grain } from "./api/types.ts";
import { whenIdle } from "./later.tsx";

/** How long one stays on a link that is about to be opened; passing over takes less. */
const DWELL = 80;
/** A thing that was started runs on for at least as long. */
const FRESH = 60_000;

/** What was used so lately is likely to be wanted again. */
const LATELY = 12 * 3_600_000;
/** So much of that is started. */
const FEW = 2;

const started = new Map<string, number>();

function start(id: string): void {
  const now = Date.now();
  if (now - (started.get(id) ?? -FRESH) < FRESH) return;
  started.set(id, now);
  // What fails is told when the thing is opened.
  api.prepare(id).catch(() => undefined);
}

let begun = false;

/** Starts what was used last, once per visit, when the first page is there and the browser has nothing else to do. */
export function startLatest(things: () => Grain[]): void {
  if (begun) return;
  begun = true;
  whenIdle(() => {
    if (document.visibilityState !== "visible") return;
    const since = Date.now() - LATELY;
    const wanted = things().filter((thing) => thing.lastUsed !== null && thing.lastUsed > since);
    for (const thing of wanted.slice(0, FEW)) if (thing.state === "asleep") start(thing.id);
  });
}

/** Handlers for a link to a thing: pointing at it for a moment, or reaching it with the keyboard, starts it. */
export function startsAhead(id: string) {
  let waiting: ReturnType<typeof setTimeout> | undefined;
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => start(id), DWELL);
  };
  const never = () => clearTimeout(waiting);
  return { onPointerEnter: soon, onPointerLeave: never, onPointerDown: () => start(id), onFocus: soon, onBlur: never };
}
