// Starts a thing before it is opened: nearly all of the wait is the app's own start.

import { api } from "./api/client.ts";

/** How long one stays on a link that is about to be opened; passing over takes less. */
const DWELL = 80;
/** A thing that was started runs on for at least as long. */
const FRESH = 60_000;

const started = new Map<string, number>();

function start(id: string): void {
  const now = Date.now();
  if (now - (started.get(id) ?? -FRESH) < FRESH) return;
  started.set(id, now);
  // What fails is told when the thing is opened.
  api.prepare(id).catch(() => undefined);
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
