// What happened to one thing, or on the server: who shared, changed and ended what.

import "../sharing/sharing.css";

import { For, type JSX, Match, Show, Switch, createMemo, createResource } from "solid-js";

import { Notice, Skeleton } from "../../kit/index.ts";
import { asProblem } from "../api/problem.ts";
import { sharing } from "../api/sharing.ts";
import type { History } from "../api/types.ts";
import { plain } from "../format.ts";
import { Trouble } from "../parts.tsx";
import { attempt } from "../state.ts";
import { day, exact, time } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { usePageTitle } from "../title.ts";
import { AboutThing } from "./about-thing.tsx";

/** As many as the server tells. */
const MOST = 500;

export function HistoryPage(props: { id?: string }): JSX.Element {
  return (
    <Show
      when={props.id}
      fallback={
        <main class="page page-narrow" id="content" tabindex="-1">
          <ServerTitle />
          <Entries />
        </main>
      }
    >
      {(id) => (
        <AboutThing id={id()} title={m.history.titleOf} name={m.history.title}>
          {() => <Entries id={id()} />}
        </AboutThing>
      )}
    </Show>
  );
}

function ServerTitle(): JSX.Element {
  usePageTitle(() => m.history.title);
  return <h1 tabindex="-1">{m.history.title}</h1>;
}

function Entries(props: { id?: string }): JSX.Element {
  const [history, { refetch }] = createResource(() => attempt(sharing.history(props.id)));
  return (
    <>
      <p class="k-soft">{m.history.intro}</p>
      <Switch fallback={<Skeleton class="skeleton-block" />}>
        <Match when={history.error}>
          <Trouble problem={asProblem(history.error)} retry={() => void refetch()} />
        </Match>
        <Match when={history()}>{(now) => <Days of={now()} />}</Match>
      </Switch>
    </>
  );
}

function Days(props: { of: History }): JSX.Element {
  const days = createMemo(() => {
    const all: { day: string; entries: History["entries"] }[] = [];
    for (const entry of props.of.entries) {
      const name = day(entry.time);
      const last = all[all.length - 1];
      if (last?.day === name) last.entries.push(entry);
      else all.push({ day: name, entries: [entry] });
    }
    return all;
  });
  return (
    <>
      <Show when={!props.of.intact}>
        <Notice kind="problem">
          <p>{m.history.broken}</p>
        </Notice>
      </Show>
      <Show when={props.of.entries.length > 0} fallback={<p class="k-soft">{m.history.empty}</p>}>
        <div class="days">
          <For each={days()}>
            {(group) => (
              <section class="section" aria-label={group.day}>
                <h2 class="group-name">{group.day}</h2>
                <ul class="list entries">
                  <For each={group.entries}>
                    {(entry) => (
                      <li class="entry">
                        <time datetime={new Date(entry.time).toISOString()} title={exact(entry.time)}>
                          {time(entry.time)}
                        </time>
                        <p>
                          <Show when={plain(entry.who, 60)}>
                            {(who) => (
                              <>
                                <strong>
                                  <bdi>{who()}</bdi>
                                </strong>{" "}
                              </>
                            )}
                          </Show>
                          <bdi>{plain(entry.what, 200)}</bdi>
                        </p>
                      </li>
                    )}
                  </For>
                </ul>
              </section>
            )}
          </For>
        </div>
        <Show when={props.of.entries.length >= MOST}>
          <p class="k-soft k-small">{m.history.most}</p>
        </Show>
      </Show>
    </>
  );
}
