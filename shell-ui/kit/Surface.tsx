import { type JSX, Show } from "solid-js";

import { AlertIcon, InfoIcon } from "./icons.tsx";

export function Card(props: { class?: string; children: JSX.Element }): JSX.Element {
  return (
    <div class="k-card" classList={{ [props.class ?? ""]: props.class !== undefined }}>
      {props.children}
    </div>
  );
}

/** Something one should read before going on. A problem is announced as it appears. */
export function Notice(props: { kind?: "info" | "warning" | "problem"; children: JSX.Element }): JSX.Element {
  const kind = () => props.kind ?? "info";
  return (
    <div
      class="k-notice"
      classList={{ "k-notice-problem": kind() === "problem", "k-notice-warning": kind() === "warning" }}
      role={kind() === "problem" ? "alert" : undefined}
    >
      <Show when={kind() === "info"} fallback={<AlertIcon />}>
        <InfoIcon />
      </Show>
      <div class="k-notice-body">{props.children}</div>
    </div>
  );
}

/** A page or list with nothing on it: what it is for, and the next step. */
export function EmptyState(props: {
  picture: JSX.Element;
  kind?: "problem";
  title: string;
  /** The page's own heading, or one below it. */
  level?: 1 | 2;
  children?: JSX.Element;
}): JSX.Element {
  return (
    <div class="k-empty">
      <div class="k-empty-picture" classList={{ "k-empty-problem": props.kind === "problem" }}>
        {props.picture}
      </div>
      <Show when={props.level === 1} fallback={<h2>{props.title}</h2>}>
        <h1 tabindex="-1">{props.title}</h1>
      </Show>
      {props.children}
    </div>
  );
}
