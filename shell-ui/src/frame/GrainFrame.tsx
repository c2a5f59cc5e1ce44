// The frame in which an app shows its page: on a host of its own, entered with a secret that works once. The only code
// that posts into or listens to a frame.

import { type JSX, createUniqueId, onCleanup, onMount } from "solid-js";

import { Problem } from "../api/problem.ts";
import type { Opened } from "../api/types.ts";
import { Allowance } from "./allowance.ts";
import { type Ask, readMessage, sessionOrigin } from "./messages.ts";

/** Answers the page that asked, and no other. */
export type Reply = (message: Record<string, unknown>) => void;

export interface GrainFrameProps {
  opened: Opened;
  /** What the frame shows, for those who cannot see it. */
  label: string;
  onLoad: () => void;
  onProblem: (problem: Problem) => void;
  onTitle: (title: string) => void;
  onPath: (path: string) => void;
  /** The page wants something answered or opened. */
  onAsk: (ask: Ask, reply: Reply) => void;
}

export function GrainFrame(props: GrainFrameProps): JSX.Element {
  const name = `page-${createUniqueId()}`;
  let frame!: HTMLIFrameElement;
  let origin: string | undefined;
  let entered = false;
  // A page that talks without end is not listened to without end; and nobody is asked things without end.
  const talk = new Allowance(200, 20, Date.now());
  const questions = new Allowance(8, 0.2, Date.now());

  const reply: Reply = (message) => {
    if (origin !== undefined) frame.contentWindow?.postMessage(message, origin);
  };
  const onMessage = (event: MessageEvent<unknown>) => {
    // Both: the window could have gone elsewhere, and another window could be on that origin.
    if (origin === undefined || event.source !== frame.contentWindow || event.origin !== origin) return;
    if (!talk.take(Date.now())) return;
    const message = readMessage(event.data);
    if (!message) return;
    if (message.kind === "path") props.onPath(message.path);
    else if (message.kind === "title") props.onTitle(message.title);
    else if (message.kind === "refused") reply({ rpcId: message.rpcId, error: message.error });
    else if (message.kind === "name" || questions.take(Date.now())) props.onAsk(message, reply);
    else if ("rpcId" in message) reply({ rpcId: message.rpcId, error: "too many requests; try again later" });
  };
  addEventListener("message", onMessage);
  onCleanup(() => removeEventListener("message", onMessage));

  onMount(() => {
    origin = sessionOrigin(props.opened.host, location);
    if (origin === undefined) {
      props.onProblem(new Problem("garbled"));
      return;
    }
    entered = true;
    enter(origin, props.opened.secret, name);
  });

  return (
    <iframe
      ref={frame}
      class="app-frame"
      name={name}
      title={props.label}
      // An app may not send the window of the shell elsewhere; what it opens in new tabs is ordinary.
      sandbox="allow-downloads allow-forms allow-modals allow-pointer-lock allow-popups allow-popups-to-escape-sandbox allow-same-origin allow-scripts"
      allow="clipboard-write; fullscreen"
      onLoad={() => {
        if (entered) props.onLoad();
      }}
    />
  );
}

/** Hands the secret to the session's host: in the body of a form, so that it is in no address, log or history. */
function enter(origin: string, secret: string, target: string): void {
  const form = document.createElement("form");
  form.method = "post";
  form.action = `${origin}/_percloud/enter`;
  form.target = target;
  form.hidden = true;
  const field = document.createElement("input");
  field.type = "hidden";
  field.name = "secret";
  field.value = secret;
  form.append(field);
  document.body.append(form);
  form.submit();
  form.remove();
}
