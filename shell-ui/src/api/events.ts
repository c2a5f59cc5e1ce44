// Hears what changes on the server, for as long as somebody is signed in, and comes back by itself.

import type { ServerEvent } from "./types.ts";

/** Longest pause between attempts, in milliseconds. */
const LONGEST_PAUSE = 10_000;

/** Out of sight for this long, a connection is renewed, in milliseconds. */
const SLEEP = 30_000;

export interface EventSink {
  event(event: ServerEvent): void;
  /** The connection is there (`again`: after it had been lost, so that something may have been missed). */
  up(again: boolean): void;
  down(): void;
}

/** How long to wait before attempt number `attempt` (from 0), in milliseconds; `chance` is between 0 and 1. */
export function pauseBefore(attempt: number, chance: number): number {
  const longest = Math.min(LONGEST_PAUSE, 500 * 2 ** Math.min(attempt, 10));
  return Math.round(longest * (0.5 + chance / 2));
}

/** Starts listening; returns what ends it. */
export function listen(sink: EventSink): () => void {
  let source: EventSource | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  let before = false;
  let ended = false;

  const lost = () => {
    source?.close();
    source = undefined;
    clearTimeout(timer);
    if (ended) return;
    sink.down();
    timer = setTimeout(connect, pauseBefore(attempt++, Math.random()));
  };

  function connect() {
    clearTimeout(timer);
    source?.close();
    const opened = new EventSource("/api/events");
    source = opened;
    // The server answers only once it listens for this client, so nothing after this is missed.
    opened.onopen = () => {
      attempt = 0;
      sink.up(before);
      before = true;
    };
    opened.onmessage = (message: MessageEvent<string>) => {
      const event = parseEvent(message.data);
      if (event) sink.event(event);
    };
    opened.onerror = lost;
  }

  // A phone that wakes up or finds a network again need not wait for the pause to end; and a connection that slept
  // with it may be dead without knowing.
  let asleepSince = Infinity;
  const hurry = () => {
    if (document.visibilityState === "hidden") {
      asleepSince = Date.now();
      return;
    }
    const slept = Date.now() - asleepSince > SLEEP;
    asleepSince = Infinity;
    if (!ended && (!source || slept)) connect();
  };
  addEventListener("online", hurry);
  document.addEventListener("visibilitychange", hurry);
  connect();

  return () => {
    ended = true;
    source?.close();
    clearTimeout(timer);
    removeEventListener("online", hurry);
    document.removeEventListener("visibilitychange", hurry);
  };
}

/** Reads one event; `undefined` for what a newer server may say. */
export function parseEvent(data: string): ServerEvent | undefined {
  try {
    const event = JSON.parse(data) as { type?: unknown } | null;
    return typeof event?.type === "string" ? (event as ServerEvent) : undefined;
  } catch {
    return undefined;
  }
}
