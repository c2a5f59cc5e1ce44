// Pieces that several pages share and that know what the shell knows.

import { type JSX, Show, createSignal, onCleanup } from "solid-js";

import { AppIcon, Button, ButtonLink, EmptyState, Notice, OfflineIcon, SearchIcon, Skeleton, Spinner, toast } from "../kit/index.ts";
import { type Problem, asProblem } from "./api/problem.ts";
import type { More } from "./api/types.ts";
import { iconAddress } from "./format.ts";
import { paths } from "./routes.ts";
import { known, readOn } from "./state.ts";
import { Phrase, explain, s } from "./strings/index.tsx";

/** Shows something only if it takes long enough to be noticed, and for so long. */
export function Late(props: { after?: number; until?: number; children: JSX.Element }): JSX.Element {
  const [shown, setShown] = createSignal(false);
  const timers = [setTimeout(() => setShown(true), props.after ?? 300)];
  if (props.until !== undefined) timers.push(setTimeout(() => setShown(false), props.until));
  onCleanup(() => timers.forEach(clearTimeout));
  return <Show when={shown()}>{props.children}</Show>;
}

/** How long an app's start may take, in milliseconds, before one is told that it goes on, and that this is not as it should be. */
const STILL = 3000;
const SLOW = 15_000;

/**
 * Stands where an app's page will be, and says what one waits for. Nothing for a moment: most apps are there before it is
 * over. `log` is where its owner finds what it has said.
 */
export function Starting(props: { title: string; runs?: boolean; log?: string | undefined; retry: () => void }): JSX.Element {
  return (
    <div class="starting">
      <Late after={150}>
        <div class="starting-words" role="status">
          <Spinner />
          <p>
            <Show when={props.title} fallback={s.loading}>
              <Phrase of={props.runs ? s.thing.loadingPage : s.thing.starting} with={{ title: props.title }} />
            </Show>
          </p>
        </div>
        <div class="starting-more" role="status">
          <Late after={STILL} until={SLOW}>
            <p class="k-soft">{s.thing.stillStarting}</p>
          </Late>
          <Late after={SLOW}>
            <p class="k-soft">{props.log ? s.thing.slowStart : s.thing.slowStartShared}</p>
            <div class="k-actions">
              <Show when={props.log}>{(log) => <ButtonLink href={log()}>{s.thing.log}</ButtonLink>}</Show>
              <Button onClick={props.retry}>{s.tryAgain}</Button>
            </div>
          </Late>
        </div>
      </Late>
    </div>
  );
}

/** Stands where something will be once the server has answered; `words` are for who does not see it. */
export function Loading(props: { words?: string; children?: JSX.Element }): JSX.Element {
  return (
    <>
      <p class="k-hidden" role="status">
        {props.words ?? s.loading}
      </p>
      {props.children ?? <Skeleton class="skeleton-block" />}
    </>
  );
}

/** Says when the server has been out of reach for a moment; short losses are nobody's business. */
export function Connection(): JSX.Element {
  return (
    <div class="connection" role="status">
      <Show when={known.connection === "down"}>
        <Late after={1500}>
          <p>
            <OfflineIcon /> {s.connection.lost}
          </p>
        </Late>
      </Show>
    </div>
  );
}

/** Leads on where a list is not complete. */
export function MoreButton(props: { list: keyof More }): JSX.Element {
  const [busy, setBusy] = createSignal(false);
  const read = () => {
    setBusy(true);
    void readOn(props.list)
      .catch((thrown: unknown) => toast(explain(asProblem(thrown))))
      .finally(() => setBusy(false));
  };
  return (
    <Show when={known.more[props.list] !== null}>
      <Button kind="quiet" class="more" busy={busy()} onClick={read}>
        {s.home.more}
      </Button>
    </Show>
  );
}

export function NotFound(): JSX.Element {
  return (
    <EmptyState level={1} picture={<SearchIcon size={32} />} title={s.notFound.title}>
      <p class="k-soft">{s.notFound.text}</p>
      <ButtonLink kind="primary" href={paths.home}>
        {s.goHome}
      </ButtonLink>
    </EmptyState>
  );
}

/** The picture of a thing or an app. */
export function Picture(props: {
  of: { appId: string; icon: string | null };
  size?: "small" | "medium" | "large";
}): JSX.Element {
  return <AppIcon appId={props.of.appId} src={iconAddress(props.of.icon)} size={props.size ?? "medium"} />;
}

/** What went wrong on a page, and the way out. */
export function Trouble(props: { problem: Problem; retry?: () => void }): JSX.Element {
  return (
    <Notice kind="problem">
      <p>{explain(props.problem)}</p>
      <Show when={props.retry}>{(retry) => <Button onClick={() => retry()()}>{s.tryAgain}</Button>}</Show>
    </Notice>
  );
}
