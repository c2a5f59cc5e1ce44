// What a page of an app asks for, one at a time: the only link between the messages of its frame and the picker.

import { createEffect, createSignal, onCleanup } from "solid-js";

import { asProblem } from "../api/problem.ts";
import type { Granted } from "../api/types.ts";
import type { Reply } from "../frame/GrainFrame.tsx";
import type { Ask } from "../frame/messages.ts";
import { known, takeUp } from "../state.ts";

/** A picker that is open: for a page that waits for an answer, or for the app's server side, which waits elsewhere. */
export type Picking =
  | { from: "page"; query: string[]; label: string; answer: (outcome: Outcome) => void }
  | { from: "server"; request: string; answer: (outcome: Outcome) => void };

/** What becomes of a request. */
export type Outcome = { is: "granted"; granted: Granted } | { is: "cancelled" } | { is: "failed"; why: string };

export interface Opening {
  /** The person is to share this, with links that lead to `suffix`. */
  share(suffix: string): void;
  access(): void;
  /** What the thing is called by its owner. */
  name(): string;
  /** Whether something else is in front of the page. */
  busy(): boolean;
}

export function createAsking(grainId: string, opening: Opening) {
  const [picking, setPicking] = createSignal<Picking>();
  const names = new Map<unknown, Reply>();

  const end = () => setPicking(undefined);
  // What the app's server side asks for waits until nothing else is in front of the page.
  createEffect(() => {
    if (known.asked[grainId] === undefined || picking() || opening.busy()) return;
    const request = takeUp(grainId);
    if (request !== undefined) setPicking({ from: "server", request, answer: end });
  });
  // Whoever leaves the page has not chosen; the page that asked is gone, too.
  onCleanup(end);

  function hear(ask: Ask, reply: Reply): void {
    switch (ask.kind) {
      case "share":
        if (!opening.busy() && !picking()) opening.share(ask.suffix);
        return;
      case "access":
        if (!opening.busy() && !picking()) opening.access();
        return;
      case "name": {
        reply({ rpcId: ask.rpcId, grainTitle: opening.name() });
        if (ask.subscribe && names.size < 8) names.set(JSON.stringify(ask.rpcId), (message) => reply({ rpcId: ask.rpcId, ...message }));
        return;
      }
      case "template":
        void import("../frame/template.ts")
          .then(({ renderTemplate }) => renderTemplate(grainId, ask.template))
          .then(
            (uri) => reply({ rpcId: ask.rpcId, uri }),
            (thrown: unknown) => reply({ rpcId: ask.rpcId, error: reason(thrown) }),
          );
        return;
      case "powerbox":
        if (picking() || opening.busy()) return reply({ rpcId: ask.rpcId, error: "another request is on the screen already" });
        return void setPicking({
          from: "page",
          query: ask.query,
          label: ask.label,
          answer(outcome) {
            end();
            if (outcome.is === "granted") reply({ rpcId: ask.rpcId, token: outcome.granted.token, descriptor: outcome.granted.descriptor });
            else if (outcome.is === "cancelled") reply({ rpcId: ask.rpcId, canceled: true });
            else reply({ rpcId: ask.rpcId, error: outcome.why });
          },
        });
      case "refused":
    }
  }

  return {
    picking,
    hear,
    /** The title is another one now: those who asked to be told are told. */
    renamed(title: string) {
      for (const tell of names.values()) tell({ grainTitle: title });
    },
    /** A new page is in the frame; what the old one asked for is nobody's any more. */
    forget() {
      names.clear();
      if (picking()?.from === "page") end();
    },
  };
}

/** Why something failed, for an app: English, as its own messages are. */
function reason(thrown: unknown): string {
  const problem = asProblem(thrown);
  return problem.message || problem.code;
}
