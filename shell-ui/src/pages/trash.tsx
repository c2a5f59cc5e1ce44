import { For, type JSX, Match, Show, Switch, createSignal } from "solid-js";

import { Button, EmptyState, TrashIcon, toast } from "../../kit/index.ts";
import { ConfirmDialog, deleteForEver, restore, tell } from "../acts.tsx";
import { api } from "../api/client.ts";
import type { Grain } from "../api/types.ts";
import { plain } from "../format.ts";
import { Loading, MoreButton, Picture, Trouble } from "../parts.tsx";
import { dropGrain, known, readOn, refresh, trashed } from "../state.ts";
import { Foreign, count, s, say, when } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";

export function TrashPage(): JSX.Element {
  usePageTitle(() => s.trash.title);
  const [asking, setAsking] = createSignal<Grain>();
  const [askingAll, setAskingAll] = createSignal(false);

  // What stood under the finger is gone afterwards; the focus goes where the list begins.
  const refocus = () => queueMicrotask(() => document.querySelector<HTMLElement>("main h1")?.focus());

  const emptyAll = async () => {
    let well = true;
    for (;;) {
      const all = trashed().map((grain) => grain.id);
      for (const id of all) well = (await tell(api.remove(id), () => dropGrain(id))) && well;
      if (!well || known.more.trash === null) break;
      well = await tell(readOn("trash"));
    }
    if (well) toast(s.trash.emptied);
    refocus();
  };

  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <Switch>
        <Match when={known.homeProblem}>
          {(problem) => (
            <>
              <h1 tabindex="-1">{s.trash.title}</h1>
              <Trouble problem={problem()} retry={() => void refresh()} />
            </>
          )}
        </Match>
        <Match when={known.grains === undefined}>
          <h1 tabindex="-1">{s.trash.title}</h1>
          <Loading words={s.trash.loading} />
        </Match>
        <Match when={trashed().length === 0}>
          <EmptyState level={1} picture={<TrashIcon size={32} />} title={s.trash.emptyTitle}>
            <p class="k-soft">{s.trash.emptyText}</p>
          </EmptyState>
        </Match>
        <Match when={true}>
          <div class="title-row">
            <h1 tabindex="-1">{s.trash.title}</h1>
            <Button kind="quiet" class="quiet-danger" onClick={() => setAskingAll(true)}>
              {s.trash.empty}
            </Button>
          </div>
          <p class="k-soft">{s.trash.intro}</p>
          <ul class="list">
            <For each={trashed()}>
              {(grain) => (
                <li class="row row-wide">
                  <Picture of={grain} />
                  <div class="row-words">
                    <p class="row-name">
                      <Foreign text={grain.title} />
                    </p>
                    <p class="row-about">
                      <Foreign text={grain.appTitle} limit={60} /> · {say(s.trash.since, { when: when(grain.trashed ?? 0) })}
                    </p>
                  </div>
                  <div class="row-actions">
                    <Button
                      aria-label={say(s.trash.restoreThis, { title: plain(grain.title) })}
                      onClick={() => void restore(grain.id).then(refocus)}
                    >
                      {s.trash.restore}
                    </Button>
                    <Button
                      kind="quiet"
                      class="quiet-danger"
                      aria-label={say(s.trash.deleteThis, { title: plain(grain.title) })}
                      onClick={() => setAsking(grain)}
                    >
                      {s.trash.delete}
                    </Button>
                  </div>
                </li>
              )}
            </For>
          </ul>
          <MoreButton list="trash" />
        </Match>
      </Switch>
      <Show when={asking()} keyed>
        {(grain) => (
          <ConfirmDialog
            open
            question={s.trash.deleteTitle}
            values={{ title: grain.title }}
            text={s.trash.deleteText}
            yes={s.trash.delete}
            no={s.trash.keep}
            onYes={() => deleteForEver(grain).then(refocus)}
            onClose={() => setAsking(undefined)}
          />
        )}
      </Show>
      <ConfirmDialog
        open={askingAll()}
        question={known.more.trash === null ? count(s.trash.emptyAsk, trashed().length) : s.trash.emptyAskAll}
        text={trashed().length === 1 ? s.trash.deleteText : s.trash.emptyWarning}
        yes={s.trash.delete}
        no={s.trash.keepAll}
        onYes={emptyAll}
        onClose={() => setAskingAll(false)}
      />
    </main>
  );
}
