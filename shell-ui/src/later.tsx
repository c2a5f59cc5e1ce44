// Pages that most visits do not need arrive when they are opened, or before, when the browser has nothing else to do.

import { type Component, type JSX, Show, createSignal, onMount } from "solid-js";

import { Problem } from "./api/problem.ts";
import { focusPage } from "./navigation.ts";
import { Trouble } from "./parts.tsx";

const unloaded = new Set<() => Promise<unknown>>();

/** A page from a module of its own. */
export function later<P extends object>(load: () => Promise<Component<P>>): Component<P> {
  return waiting(load, (problem) => (
    <main class="page page-narrow" id="content" tabindex="-1" aria-busy={!problem()}>
      <Show when={problem()}>{(what) => <Trouble problem={what()} retry={() => location.reload()} />}</Show>
    </main>
  ));
}

/** A dialog or another part of a page, from a module of its own. */
export function laterPart<P extends object>(load: () => Promise<Component<P>>): Component<P> {
  return waiting(load, (problem) => <Show when={problem()}>{(what) => <Trouble problem={what()} retry={() => location.reload()} />}</Show>, true);
}

function waiting<P extends object>(
  load: () => Promise<Component<P>>,
  meanwhile: (problem: () => Problem | undefined) => JSX.Element,
  part = false,
): Component<P> {
  let found: Component<P> | undefined;
  const fetch = async () => {
    found ??= await load();
    unloaded.delete(fetch);
    return found;
  };
  unloaded.add(fetch);

  return (props: P): JSX.Element => {
    const [page, setPage] = createSignal(found);
    const [problem, setProblem] = createSignal<Problem>();
    onMount(() => {
      if (page()) return;
      fetch().then(
        (loaded) => {
          setPage(() => loaded);
          if (!part) focusPage();
        },
        // No connection, or the server has newer pages: loading everything again helps against both.
        (thrown: unknown) => setProblem(new Problem("offline", String(thrown))),
      );
    });
    return (
      <Show when={page()} keyed fallback={meanwhile(problem)}>
        {(Page) => <Page {...props} />}
      </Show>
    );
  };
}

/** Fetches what is still missing, one after the other, when there is time. */
export function fetchAhead(): void {
  const [next] = unloaded;
  if (!next) return;
  whenIdle(() => {
    next().then(fetchAhead, () => undefined);
  });
}

/** Runs something when the browser has nothing else to do. */
export function whenIdle(run: () => void): void {
  const idle = window.requestIdleCallback ?? ((run: () => void) => setTimeout(run, 500));
  idle(run);
}
