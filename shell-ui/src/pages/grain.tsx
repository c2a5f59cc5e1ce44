// One thing, open: a thin bar, and the app's page in all the rest.

import { type JSX, Match, Show, Switch, createEffect, createSignal, on, onCleanup } from "solid-js";

import {
  AlertIcon,
  BackIcon,
  Button,
  ButtonLink,
  EmptyState,
  ListIcon,
  Menu,
  MenuItem,
  MenuLink,
  MenuNote,
  OfflineIcon,
  PencilIcon,
  ReloadIcon,
  RestoreIcon,
  SettingsIcon,
  Spinner,
  TrashIcon,
  toast,
} from "../../kit/index.ts";
import { moveToTrash, restore, tell } from "../acts.tsx";
import { api } from "../api/client.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import type { GrainState, Opened } from "../api/types.ts";
import { plain } from "../format.ts";
import { GrainFrame } from "../frame/GrainFrame.tsx";
import { go, settle, visit } from "../navigation.ts";
import { Connection, Late, NotFound, Picture } from "../parts.tsx";
import { insideFrom, paths } from "../routes.ts";
import { attempt, grainById, known, putGrain, returns } from "../state.ts";
import { Phrase, explain, s, say, size } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";
import { SettingsDialog } from "./settings.tsx";
import { TitleField } from "./title-field.tsx";

type Phase =
  | { is: "opening" }
  /** The frame is there; `loaded` once its first page has come. */
  | { is: "open"; opened: Opened; loaded: boolean }
  | { is: "problem"; problem: Problem };

export function GrainPage(props: { id: string }): JSX.Element {
  const id = props.id;
  const grain = () => grainById(id);
  const title = () => plain(grain()?.title);
  const [phase, setPhase] = createSignal<Phase>({ is: "opening" });
  const [pageTitle, setPageTitle] = createSignal("");
  const [editing, setEditing] = createSignal(false);
  const [configuring, setConfiguring] = createSignal(false);
  /** The page in the frame has lost its server for good. */
  const [lost, setLost] = createSignal(false);
  /** A failure from before the latest attempt is no news. */
  const [pardoned, setPardoned] = createSignal(false);
  let inside = insideFrom(location.hash);
  let attempts = 0;
  onCleanup(() => (attempts += 1));
  usePageTitle(() => plain(pageTitle()) || grain()?.title);

  const open = async () => {
    const mine = (attempts += 1);
    setLost(false);
    setPardoned(true);
    setPageTitle("");
    setPhase({ is: "opening" });
    try {
      const opened = await attempt(api.open(id, inside));
      if (mine === attempts) setPhase({ is: "open", opened, loaded: false });
    } catch (thrown) {
      if (mine === attempts) setPhase({ is: "problem", problem: asProblem(thrown) });
    }
  };
  void open();

  createEffect(
    on(
      () => grain()?.state,
      (state) => {
        if (state !== "failed") setPardoned(false);
      },
      { defer: true },
    ),
  );
  const failed = () => grain()?.state === "failed" && !pardoned();

  // Steps back and forward, and typed addresses, lead to another place in the same app.
  createEffect(
    on(
      visit,
      () => {
        const wanted = insideFrom(location.hash);
        if (wanted === inside) return;
        inside = wanted;
        void open();
      },
      { defer: true },
    ),
  );

  // Sessions end with the server, running things too: what ran before the loss and sleeps after it was restarted.
  let before: GrainState | undefined;
  createEffect(
    on(
      () => known.connection,
      (connection) => {
        if (connection === "down") before = grain()?.state;
      },
    ),
  );
  createEffect(
    on(
      returns,
      () => {
        const now = phase();
        if (now.is === "problem" && now.problem.passing) void open();
        else if (now.is === "open" && before === "running" && grain()?.state !== "running") setLost(true);
      },
      { defer: true },
    ),
  );

  const restart = () =>
    tell(api.restart(id), (now) => {
      putGrain(now);
      toast(say(s.thing.restarted, { title: plain(now.title) }));
      void open();
    });
  const trash = async () => {
    const now = grain();
    if (now && (await moveToTrash(now))) go(paths.home);
  };

  const openedPhase = () => {
    const now = phase();
    return now.is === "open" ? now : undefined;
  };
  const waiting = () => !failed() && (phase().is === "opening" || openedPhase()?.loaded === false);
  const trouble = () => {
    const now = phase();
    return now.is === "problem" ? now.problem : undefined;
  };
  const inTrash = () => (grain() ? grain()?.trashed !== null : trouble()?.code === "in-trash");
  const missing = () => trouble()?.code === "not-found" || (known.grains !== undefined && !grain() && phase().is !== "opening");

  return (
    <div class="grain">
      <header class="grain-bar">
        <a class="k-icon-button" href={paths.home} aria-label={s.thing.back} title={s.thing.back}>
          <BackIcon />
        </a>
        <Show when={grain()}>
          {(now) => (
            <>
              <Picture of={now()} size="small" />
              <TitleField id={id} title={now().title} editing={editing()} setEditing={setEditing} />
              <Show when={!inTrash()}>
              <Menu label={say(s.thing.menu, { title: title() })}>
                <MenuItem icon={<PencilIcon />} onSelect={() => queueMicrotask(() => setEditing(true))}>
                  {s.thing.rename}
                </MenuItem>
                <MenuItem icon={<ReloadIcon />} onSelect={() => void open()}>
                  {s.thing.reload}
                </MenuItem>
                <MenuItem icon={<RestoreIcon />} onSelect={() => void restart()}>
                  {s.thing.restart}
                </MenuItem>
                <MenuLink icon={<ListIcon />} href={paths.log(id)}>
                  {s.thing.log}
                </MenuLink>
                <MenuItem icon={<SettingsIcon />} onSelect={() => setConfiguring(true)}>
                  {s.thing.settings}
                </MenuItem>
                <MenuItem icon={<TrashIcon />} danger onSelect={() => void trash()}>
                  {s.thing.trash}
                </MenuItem>
                <MenuNote>
                  <p>
                    <Phrase of={s.thing.aboutApp} with={{ app: now().appTitle }} />
                  </p>
                  <p>
                    <Show when={now().size !== null} fallback={s.thing.sizeUnknown}>
                      {say(s.thing.size, { size: size(now().size ?? 0) })}
                    </Show>
                  </p>
                </MenuNote>
              </Menu>
              </Show>
              <SettingsDialog
                grain={now()}
                open={configuring()}
                onClose={() => setConfiguring(false)}
                onSaved={() => void open()}
              />
            </>
          )}
        </Show>
      </header>
      <Connection />
      <Show when={lost()}>
        <div class="lost" role="status">
          <p>{s.thing.lostConnection}</p>
          <Button kind="primary" onClick={() => void open()}>
            {s.thing.reconnect}
          </Button>
        </div>
      </Show>
      <main class="grain-stage" id="content" tabindex="-1">
        <Switch>
          <Match when={missing()}>
            <NotFound />
          </Match>
          <Match when={inTrash()}>
            <EmptyState picture={<TrashIcon size={32} />} title={say(s.thing.inTrashTitle, { title: title() })}>
              <p class="k-soft">{s.thing.inTrashText}</p>
              <Button
                kind="primary"
                onClick={() =>
                  void restore(id).then((well) => {
                    if (well) void open();
                  })
                }
              >
                {s.thing.restore}
              </Button>
            </EmptyState>
          </Match>
          <Match when={failed()}>
            <EmptyState kind="problem" picture={<AlertIcon size={32} />} title={say(s.thing.problemTitle, { title: title() })}>
              <div role="alert">
                <p class="k-soft">{s.thing.problemText}</p>
                <Show when={plain(grain()?.problem, 300)}>
                  {(text) => (
                    <p class="problem-words">
                      <bdi>{text()}</bdi>
                    </p>
                  )}
                </Show>
              </div>
              <div class="k-actions">
                <ButtonLink href={paths.log(id)}>{s.thing.log}</ButtonLink>
                <Button kind="primary" onClick={() => void open()}>
                  {s.tryAgain}
                </Button>
              </div>
            </EmptyState>
          </Match>
          <Match when={trouble()}>
            {(problem) => (
              <EmptyState
                kind="problem"
                picture={problem().code === "offline" ? <OfflineIcon size={32} /> : <AlertIcon size={32} />}
                title={say(s.thing.cannotOpen, { title: title() || s.product })}
              >
                <p role="alert">{explain(problem())}</p>
                <Button kind="primary" onClick={() => void open()}>
                  {s.tryAgain}
                </Button>
              </EmptyState>
            )}
          </Match>
          <Match when={openedPhase()?.opened} keyed>
            {(opened) => (
              <GrainFrame
                opened={opened}
                label={say(s.thing.frame, { title: title(), app: plain(grain()?.appTitle, 60) })}
                onLoad={() => {
                  setPhase({ is: "open", opened, loaded: true });
                  setPardoned(false);
                }}
                onProblem={(problem) => setPhase({ is: "problem", problem })}
                onTitle={setPageTitle}
                onPath={(path) => {
                  inside = path;
                  settle(paths.grain(id, path));
                }}
              />
            )}
          </Match>
        </Switch>
        <Show when={waiting() && !missing() && !inTrash()}>
          <div class="starting" role="status">
            <Late>
              <p class="starting-words">
                <Spinner />
                <span>
                  <Show when={title()} fallback={s.loading}>
                    <Phrase of={s.thing.starting} with={{ title: title() }} />
                  </Show>
                </span>
              </p>
              <Late after={8000}>
                <p class="k-soft k-small">{s.thing.stillStarting}</p>
              </Late>
            </Late>
          </div>
        </Show>
      </main>
    </div>
  );
}
