// One app: what to start with it, what was made with it, and how to part from it.

import { For, type JSX, Match, Show, Switch, createSignal } from "solid-js";

import { Button, ButtonLink, Skeleton, toast } from "../../kit/index.ts";
import { ConfirmDialog, RenameDialog, createThing, tell } from "../acts.tsx";
import { api } from "../api/client.ts";
import type { App, Grain } from "../api/types.ts";
import { plain } from "../format.ts";
import { go } from "../navigation.ts";
import { NotFound, Trouble } from "../parts.tsx";
import { paths } from "../routes.ts";
import { appById, dropApp, known, refresh, things, trashed } from "../state.ts";
import { Foreign, Phrase, count, s, say } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";
import { ThingRow } from "./home.tsx";
import { AboutHead, Facts } from "./install.tsx";

export function AppPage(props: { appId: string }): JSX.Element {
  usePageTitle(() => appById(props.appId)?.title);
  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <Switch fallback={<NotFound />}>
        <Match when={appById(props.appId)}>{(app) => <About app={app()} />}</Match>
        <Match when={known.homeProblem}>{(problem) => <Trouble problem={problem()} retry={() => void refresh()} />}</Match>
        <Match when={known.apps === undefined}>
          <p class="k-hidden" role="status">
            {s.loading}
          </p>
          <div class="about-head">
            <Skeleton class="skeleton-icon-large" />
            <div class="row-words">
              <Skeleton class="skeleton-line skeleton-title" />
              <Skeleton class="skeleton-line skeleton-short" />
            </div>
          </div>
        </Match>
      </Switch>
    </main>
  );
}

function About(props: { app: App }): JSX.Element {
  const [asking, setAsking] = createSignal(false);
  const [creating, setCreating] = createSignal<number>();
  const [renaming, setRenaming] = createSignal<Grain>();
  const own = () => things().filter((grain) => grain.appId === props.app.appId);
  const ownTrash = () => trashed().filter((grain) => grain.appId === props.app.appId);
  const inUse = () => {
    const all = own().length + ownTrash().length;
    if (all === 0) return undefined;
    const inTrash = ownTrash().length > 0 ? ` ${count(s.app.inTrash, ownTrash().length)}` : "";
    return count(s.app.inUse, all) + inTrash;
  };
  const uninstall = async () => {
    const { appId, packageId, title } = props.app;
    await tell(api.removePackage(packageId), () => {
      go(paths.home, { replace: true });
      dropApp(appId);
      toast(say(s.app.uninstalled, { title: plain(title) }));
    });
  };
  return (
    <>
      <AboutHead of={props.app} />
      <section aria-labelledby="create">
        <h2 id="create" class="eyebrow">
          {s.app.create}
        </h2>
        <ul class="creates">
          <For each={props.app.actions}>
            {(action) => (
              <li class="create">
                <Button
                  kind="primary"
                  busy={creating() === action.index}
                  onClick={() => {
                    setCreating(action.index);
                    void createThing(props.app.packageId, action.index).finally(() => setCreating(undefined));
                  }}
                >
                  <span>
                    <Phrase of={s.home.newThing} with={{ noun: plain(action.noun, 60) }} />
                  </span>
                </Button>
                <Show when={plain(action.description)}>
                  <p class="k-soft k-small">
                    <Foreign text={action.description} limit={200} />
                  </p>
                </Show>
              </li>
            )}
          </For>
        </ul>
      </section>
      <section aria-labelledby="made">
        <h2 id="made" class="eyebrow">
          {own().length > 0 ? count(s.app.things, own().length) : s.app.noThings}
        </h2>
        <Show when={own().length > 0}>
          <ul class="list">
            <For each={own()}>{(grain) => <ThingRow grain={grain} onRename={() => setRenaming(grain)} />}</For>
          </ul>
        </Show>
      </section>
      <section aria-labelledby="about">
        <h2 id="about" class="eyebrow">
          {s.app.about}
        </h2>
        <Facts of={props.app} />
      </section>
      <div class="decide">
        <ButtonLink href={paths.choose}>{s.app.update}</ButtonLink>
        <div class="decide-last">
          <Button wide class="quiet-danger" disabledBecause={inUse()} onClick={() => setAsking(true)}>
            {s.app.uninstall}
          </Button>
        </div>
      </div>
      <ConfirmDialog
        open={asking()}
        question={s.app.uninstallTitle}
        values={{ title: props.app.title }}
        text={s.app.uninstallText}
        yes={s.app.uninstall}
        no={s.cancel}
        onYes={uninstall}
        onClose={() => setAsking(false)}
      />
      <RenameDialog grain={renaming()} onClose={() => setRenaming(undefined)} />
    </>
  );
}
