// What the pages about one thing have in common: they need to know it, and they lead back to it.

import "../sharing/sharing.css";

import { type JSX, Match, Show, Switch, createEffect } from "solid-js";

import { BackIcon, Skeleton } from "../../kit/index.ts";
import type { Grain } from "../api/types.ts";
import { Loading, NotFound, Trouble } from "../parts.tsx";
import { paths } from "../routes.ts";
import { grainById, isSettled, known, lookUp, refresh } from "../state.ts";
import { Phrase } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { usePageTitle } from "../title.ts";

export function AboutThing(props: { id: string; title: string; name: string; children: (grain: Grain) => JSX.Element }): JSX.Element {
  usePageTitle(() => (grainById(props.id) ? `${props.name} · ${grainById(props.id)?.title}` : props.name));
  createEffect(() => known.grains !== undefined && void lookUp(props.id));
  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <Switch fallback={<NotFound />}>
        <Match when={known.grains === undefined && known.homeProblem}>
          {(problem) => <Trouble problem={problem()} retry={() => void refresh()} />}
        </Match>
        <Match when={!isSettled(props.id)}>
          <Loading>
            <Skeleton class="skeleton-line skeleton-title" />
            <Skeleton class="skeleton-block" />
          </Loading>
        </Match>
        <Match when={grainById(props.id)}>
          {(grain) => (
            <>
              <Show when={grain().trashed === null}>
                <a class="back-link" href={paths.grain(props.id)}>
                  <BackIcon />
                  <span>
                    <Phrase of={m.back} with={{ title: grain().title }} />
                  </span>
                </a>
              </Show>
              <h1 tabindex="-1">
                <Phrase of={props.title} with={{ title: grain().title }} />
              </h1>
              {props.children(grain())}
            </>
          )}
        </Match>
      </Switch>
    </main>
  );
}
