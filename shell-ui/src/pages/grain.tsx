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
  LockIcon,
  OfflineIcon,
  PencilIcon,
  PeopleIcon,
  PhoneIcon,
  ReloadIcon,
  RestoreIcon,
  SettingsIcon,
  SignOutIcon,
  TrashIcon,
  toast,
} from "../../kit/index.ts";
import { LeaveDialog, moveToTrash, restore, tell } from "../acts.tsx";
import { api } from "../api/client.ts";
import { Problem, asProblem } from "../api/problem.ts";
import type { GrainState, Opened } from "../api/types.ts";
import { plain } from "../format.ts";
import { Allowance } from "../frame/allowance.ts";
import { GrainFrame } from "../frame/GrainFrame.tsx";
import { pageOf } from "../frame/messages.ts";
import { laterPart } from "../later.tsx";
import { go, settle, visit } from "../navigation.ts";
import { Connection, NotFound, Picture, Starting } from "../parts.tsx";
import { createAsking } from "../powerbox/session.ts";
import { insideFrom, paths, readInside } from "../routes.ts";
import { attempt, dropGrain, grainById, hearing, isSettled, known, lookUp, putGrain, returns } from "../state.ts";
import { Phrase, explain, s, say, size } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";
import { TitleField } from "./title-field.tsx";

const AccessDialog = laterPart(async () => (await import("../sharing/AccessDialog.tsx")).AccessDialog);
const LimitSaid = laterPart(async () => (await import("./limit-said.tsx")).LimitSaid);
const Picker = laterPart(async () => (await import("../powerbox/Picker.tsx")).Picker);
const ShareDialog = laterPart(async () => (await import("../sharing/ShareDialog.tsx")).ShareDialog);

type Phase =
  | { is: "opening" }
  /** The frame is there; `loaded` once its first page has come. */
  | { is: "open"; opened: Opened; loaded: boolean }
  | { is: "problem"; problem: Problem }
  /** The person may not be here any more; what it was called, and whose it was. */
  | { is: "ended"; title: string; owner: string };

export function GrainPage(props: { id: string }): JSX.Element {
  const id = props.id;
  const grain = () => grainById(id);
  const title = () => plain(grain()?.title);
  const [phase, setPhase] = createSignal<Phase>({ is: "opening" });
  const [pageTitle, setPageTitle] = createSignal("");
  const [editing, setEditing] = createSignal(false);
  const [leaving, setLeaving] = createSignal(false);
  /** The share dialog, with where in the app its links lead. */
  const [sharing, setSharing] = createSignal<string>();
  const [listing, setListing] = createSignal(false);
  /** The page in the frame has lost its server for good. */
  const [lost, setLost] = createSignal(false);
  /** A failure from before the latest attempt is no news. */
  const [pardoned, setPardoned] = createSignal(false);
  let inside = insideFrom(location.hash);
  let attempts = 0;
  onCleanup(() => (attempts += 1));
  const asking = createAsking(id, {
    share: setSharing,
    access: () => setListing(true),
    name: () => plain(grain()?.ownersTitle ?? grain()?.title),
    busy: () => sharing() !== undefined || listing() || leaving() || editing(),
  });
  usePageTitle(() => plain(pageTitle()) || grain()?.title);

  const open = async () => {
    const mine = (attempts += 1);
    setLost(false);
    setPardoned(true);
    setPageTitle("");
    asking.forget();
    setPhase({ is: "opening" });
    try {
      const opened = await attempt(api.open(id, inside));
      if (mine !== attempts) return;
      setPhase({ is: "open", opened, loaded: false });
      couldBefore = grain()?.can;
    } catch (thrown) {
      if (mine === attempts) setPhase({ is: "problem", problem: asProblem(thrown) });
    }
  };

  // What the person may do here has changed: the server has closed the page, and opens another one, or none.
  let couldBefore: string | null | undefined;
  const reopenings = new Allowance(4, 0.1, Date.now());
  const reopen = async () => {
    const { title: name = "", owner = "" } = grain() ?? {};
    const mine = (attempts += 1);
    asking.forget();
    if (!reopenings.take(Date.now())) return setPhase({ is: "problem", problem: new Problem("unavailable", s.thing.closedOften) });
    setPhase({ is: "opening" });
    try {
      const now = await attempt(api.grain(id));
      putGrain(now);
      if (mine !== attempts) return;
      const changed = couldBefore !== undefined && now.can !== couldBefore;
      void open();
      if (changed) toast(now.can === null ? s.thing.reopened : say(s.thing.nowCan, { can: plain(now.can, 80) }));
    } catch (thrown) {
      const problem = asProblem(thrown);
      if (problem.code === "not-found") dropGrain(id);
      if (mine !== attempts) return;
      setPhase(problem.code === "not-found" && name !== "" ? { is: "ended", title: name, owner } : { is: "problem", problem });
    }
  };
  hearing((event) => {
    const now = phase();
    if (event.type === "page-closed" && now.is === "open" && pageOf(now.opened.host) === event.page) void reopen();
    else if (event.type === "show" && event.from === id && document.visibilityState === "visible") {
      const to = paths.grain(event.grain, readInside(event.path) ?? "/");
      if (!event.newTab) return go(to);
      // Browsers open a tab only when somebody asks for it just now.
      toast(say(s.thing.showsElsewhere, { title: plain(grainById(event.grain)?.title) || s.product }), { label: s.thing.open, run: () => void window.open(to, "_blank", "noopener") });
    }
  });
  // What is not there any more may be gone before its page is closed.
  let last: { title: string; owner: string } | undefined;
  createEffect(() => {
    const now = grain();
    if (now) last = now.mine ? undefined : { title: now.title, owner: now.owner };
    else if (known.grains !== undefined && last && phase().is !== "ended") {
      attempts += 1;
      asking.forget();
      setPhase({ is: "ended", ...last });
    }
  });
  createEffect(() => asking.renamed(plain(grain()?.ownersTitle ?? grain()?.title)));
  createEffect(() => known.grains !== undefined && void lookUp(id));
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
  const missing = () => trouble()?.code === "not-found" || (isSettled(id) && !grain() && phase().is !== "opening" && phase().is !== "ended");
  const ended = () => {
    const now = phase();
    return now.is === "ended" ? now : undefined;
  };

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
              <Show when={now().mayShare}>
                <Button class="share-button" onClick={() => setSharing("/")}>
                  <PeopleIcon />
                  <span>{s.thing.share}</span>
                </Button>
              </Show>
              <Menu label={say(s.thing.menu, { title: title() })}>
                <MenuItem icon={<PencilIcon />} onSelect={() => queueMicrotask(() => setEditing(true))}>
                  {now().mine ? s.thing.rename : s.thing.renameOwn}
                </MenuItem>
                <MenuLink icon={<PeopleIcon />} href={paths.access(id)}>
                  {s.thing.access}
                </MenuLink>
                <MenuLink icon={<PhoneIcon />} href={paths.devices(id)}>
                  {s.thing.devices}
                </MenuLink>
                <MenuItem icon={<ReloadIcon />} onSelect={() => void open()}>
                  {s.thing.reload}
                </MenuItem>
                <Show
                  when={now().mine}
                  fallback={
                    <MenuItem icon={<SignOutIcon />} danger onSelect={() => setLeaving(true)}>
                      {s.thing.leave}
                    </MenuItem>
                  }
                >
                  <MenuItem icon={<RestoreIcon />} onSelect={() => void restart()}>
                    {s.thing.restart}
                  </MenuItem>
                  <MenuLink icon={<ListIcon />} href={paths.log(id)}>
                    {s.thing.log}
                  </MenuLink>
                  <MenuLink icon={<SettingsIcon />} href={paths.settings(id)}>
                    {s.thing.settings}
                  </MenuLink>
                  <MenuItem icon={<TrashIcon />} danger onSelect={() => void trash()}>
                    {s.thing.trash}
                  </MenuItem>
                </Show>
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
              <LeaveDialog grain={leaving() ? now() : undefined} onClose={() => setLeaving(false)} />
              <Show when={sharing() !== undefined}>
                <ShareDialog grain={now()} suffix={sharing()} onClose={() => setSharing(undefined)} />
              </Show>
              <Show when={listing()}>
                <AccessDialog
                  grain={now()}
                  onClose={() => setListing(false)}
                  onLeave={() => {
                    setListing(false);
                    setLeaving(true);
                  }}
                />
              </Show>
              <Show when={asking.picking()} keyed>
                {(picking) => <Picker grain={now()} page={pageOf(openedPhase()?.opened.host ?? "")} picking={picking} />}
              </Show>
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
      <Show when={grain()?.state === "running" && grain()?.limit}>
        {(limit) => (
          <div class="lost" role="status">
            <LimitSaid id={id} limit={limit()} otherwise="" />
          </div>
        )}
      </Show>
      <main class="grain-stage" id="content" tabindex="-1">
        <Switch>
          <Match when={ended()}>
            {(now) => (
              <EmptyState level={1} picture={<LockIcon size={32} />} title={say(s.thing.endedTitle, { title: plain(now().title) })}>
                <p class="k-soft" role="alert">
                  {now().owner ? say(s.thing.endedText, { owner: plain(now().owner, 60) }) : s.thing.endedTextUnnamed}
                </p>
                <ButtonLink kind="primary" href={paths.home}>
                  {s.goHome}
                </ButtonLink>
              </EmptyState>
            )}
          </Match>
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
                <Show
                  when={grain()?.limit}
                  fallback={
                    <Show when={plain(grain()?.problem, 300)}>
                      {(text) => (
                        <p class="problem-words">
                          <bdi>{text()}</bdi>
                        </p>
                      )}
                    </Show>
                  }
                >
                  {(limit) => <LimitSaid id={id} limit={limit()} otherwise={plain(grain()?.problem, 300)} />}
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
                onAsk={asking.hear}
              />
            )}
          </Match>
        </Switch>
        <Show when={waiting() && !missing() && !inTrash()}>
          <Starting title={title()} runs={grain()?.state === "running"} log={grain()?.mine ? paths.log(id) : undefined} retry={() => void open()} />
        </Show>
      </main>
    </div>
  );
}
