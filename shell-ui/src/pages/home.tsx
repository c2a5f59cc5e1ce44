// Everything the person has, and the way to something new.

import { For, type JSX, Match, Show, Switch, createEffect, createMemo, createSignal, onCleanup, onMount } from "solid-js";

import {
  Button,
  ButtonLink,
  EmptyState,
  ListIcon,
  Menu,
  MenuItem,
  MenuLink,
  Notice,
  PencilIcon,
  PeopleIcon,
  PlusIcon,
  SearchIcon,
  SettingsIcon,
  SignOutIcon,
  Skeleton,
  TrashIcon,
} from "../../kit/index.ts";
import { LeaveDialog, RenameDialog, createThing, moveToTrash } from "../acts.tsx";
import { api } from "../api/client.ts";
import type { App, Grain, GrainPage } from "../api/types.ts";
import { type Period, periodOf, plain } from "../format.ts";
import { startLatest, startsAhead } from "../ahead.ts";
import { laterPart } from "../later.tsx";
import { MoreButton, Picture, Trouble } from "../parts.tsx";
import { paths } from "../routes.ts";
import { attempt, grainById, known, refresh, things, usedAt } from "../state.ts";
import { Foreign, Phrase, count, exact, s, say, until, when } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";

const Offers = laterPart(async () => (await import("../offers.tsx")).Offers);
const ShareDialog = laterPart(async () => (await import("../sharing/ShareDialog.tsx")).ShareDialog);

const PERIODS: Period[] = ["today", "week", "earlier"];
/** How long a person pauses at the end of a word, in milliseconds: then the server is asked for what is not here. */
const PAUSE = 150;
/** From this many things on, searching is faster than looking. */
const WORTH_SEARCHING = 5;

export function HomePage(): JSX.Element {
  usePageTitle(() => s.home.title);
  const apps = () => [...(known.apps ?? [])].sort((a, b) => a.title.localeCompare(b.title));
  return (
    <main class="page" id="content" tabindex="-1">
      <h1 tabindex="-1">
        <Phrase of={s.home.greeting} with={{ name: known.me?.name ?? "" }} />
      </h1>
      <For each={known.warnings}>
        {(warning) => (
          <Notice kind="warning">
            <p>
              {s.home.warnings[warning.code] ?? <Foreign text={warning.message} limit={400} />}
            </p>
          </Notice>
        )}
      </For>
      <Show when={known.homeProblem}>{(problem) => <Trouble problem={problem()} retry={() => void refresh()} />}</Show>
      <Show when={known.grains !== undefined && known.offers.length > 0}>
        <Offers />
      </Show>
      <Switch>
        <Match when={known.apps === undefined || known.grains === undefined}>
          <Show when={!known.homeProblem}>
            <Loading />
          </Show>
        </Match>
        <Match when={apps().length === 0 && things().length === 0}>
          <EmptyState picture={<PlusIcon size={32} />} title={s.home.emptyTitle}>
            <p class="k-soft">{s.home.emptyText}</p>
            <ButtonLink kind="primary" href={paths.choose}>
              {s.home.emptyAction}
            </ButtonLink>
            <a class="quiet-link" href={paths.restore}>
              {s.home.restore}
            </a>
          </EmptyState>
        </Match>
        <Match when={true}>
          <div class="home">
            <NewThings apps={apps()} />
            <Things />
            <Apps apps={apps()} />
          </div>
        </Match>
      </Switch>
    </main>
  );
}

function Loading(): JSX.Element {
  return (
    <div>
      <p class="k-hidden" role="status">
        {s.home.loading}
      </p>
      <div class="home">
        <div class="home-new">
          <div class="new-list">
            <For each={[1, 2, 3]}>{() => <Skeleton class="skeleton-new" />}</For>
          </div>
        </div>
        <div class="list things">
          <For each={[1, 2, 3, 4]}>
            {() => (
              <div class="row">
                <Skeleton class="skeleton-icon" />
                <div class="row-words">
                  <Skeleton class="skeleton-line" />
                  <Skeleton class="skeleton-line skeleton-short" />
                </div>
              </div>
            )}
          </For>
        </div>
      </div>
    </div>
  );
}

function NewThings(props: { apps: App[] }): JSX.Element {
  const [creating, setCreating] = createSignal<string>();
  const create = (app: App, index: number) => {
    if (creating()) return;
    setCreating(`${app.appId} ${index}`);
    void createThing(app.packageId, index).finally(() => setCreating(undefined));
  };
  return (
      <section class="home-new" aria-labelledby="start-new">
        <h2 id="start-new" class="eyebrow">
          {s.home.startNew}
        </h2>
        <ul class="new-list">
          <For each={props.apps}>
            {(app) => (
              <For each={app.actions}>
                {(action) => (
                  <li>
                    <Button
                      class="new-button"
                      busy={creating() === `${app.appId} ${action.index}`}
                      title={plain(action.description, 200) || plain(app.title)}
                      onClick={() => create(app, action.index)}
                    >
                      <Picture of={app} />
                      <span class="new-name">
                        <Phrase of={s.home.newThing} with={{ noun: plain(action.noun, 60) }} />
                      </span>
                    </Button>
                  </li>
                )}
              </For>
            )}
          </For>
          <li>
            <ButtonLink class="new-button new-install" href={paths.choose}>
              <span class="new-plus" aria-hidden="true">
                <PlusIcon />
              </span>
              <span class="new-name">{s.home.installAnother}</span>
            </ButtonLink>
          </li>
        </ul>
      </section>
  );
}

function Apps(props: { apps: App[] }): JSX.Element {
  return (
    <section class="home-apps" aria-labelledby="your-apps">
      <h2 id="your-apps" class="eyebrow">
        {s.home.apps}
      </h2>
      <ul class="app-links">
        <For each={props.apps}>
          {(app) => (
            <li>
              <a href={paths.app(app.appId)}>
                <Picture of={app} size="small" />
                <Foreign text={app.title} limit={60} />
              </a>
            </li>
          )}
        </For>
      </ul>
      <a class="quiet-link" href={paths.restore}>
        {s.home.restore}
      </a>
    </section>
  );
}

function Things(): JSX.Element {
  const [query, setQuery] = createSignal("");
  const [renaming, setRenaming] = createSignal<Grain>();
  onMount(() => startLatest(things));
  const own = () => things().filter((grain) => grain.mine);
  const wanted = () => query().trim().toLocaleLowerCase();
  const [there, setThere] = createSignal<GrainPage & { text: string }>();
  // What is not known here the server looks for.
  createEffect(() => {
    const text = wanted();
    if (text === "" || known.more.grains === null) return;
    const timer = setTimeout(() => {
      attempt(api.grains({ search: text })).then(
        (page) => setThere({ ...page, text }),
        () => {},
      );
    }, PAUSE);
    onCleanup(() => clearTimeout(timer));
  });
  const elsewhere = () => {
    const page = there();
    return page?.text === wanted() ? page : undefined;
  };
  const found = createMemo(() => {
    const text = wanted();
    if (text === "") return things();
    const more = elsewhere()?.grains.filter((grain) => !grainById(grain.id)) ?? [];
    return [...here(text), ...more].sort((a, b) => usedAt(b) - usedAt(a));
  });
  const here = (text: string) =>
    things().filter((grain) =>
      `${grain.title}\n${grain.appTitle}\n${grain.noun}\n${grain.mine ? "" : `${grain.owner}\n${grain.ownersTitle ?? ""}`}`.toLocaleLowerCase().includes(text),
    );
  const tally = () => (elsewhere()?.more ? say(s.home.foundMore, { count: String(found().length) }) : count(s.home.found, found().length));
  const groups = createMemo(() => {
    const now = Date.now();
    const all = found().filter((grain) => grain.mine);
    return PERIODS.map((period) => ({ period, grains: all.filter((grain) => periodOf(usedAt(grain), now) === period) })).filter(
      (group) => group.grains.length > 0,
    );
  });

  const shared = () => found().filter((grain) => !grain.mine);

  return (
    <section class="things" aria-labelledby="things-title">
      <div class="things-head">
        <h2 id="things-title" class="eyebrow">
          {s.home.recent}
        </h2>
      </div>
      <Show when={things().length >= WORTH_SEARCHING}>
        <div class="search" role="search">
          <SearchIcon />
          <input
            class="k-input"
            type="search"
            aria-label={s.home.search}
            placeholder={s.home.search}
            value={query()}
            onInput={(event) => setQuery(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") setQuery("");
            }}
            autocomplete="off"
            enterkeyhint="search"
          />
        </div>
      </Show>
      <p class="k-hidden" role="status">
        {wanted() ? tally() : ""}
      </p>
      <Show
        when={things().length > 0}
        fallback={
          <div class="quiet-empty">
            <h3>{s.home.noThingsTitle}</h3>
            <p class="k-soft">{s.home.noThingsText}</p>
          </div>
        }
      >
        <Show
          when={found().length > 0}
          fallback={
            <Show when={known.more.grains === null || elsewhere()}>
              <p class="k-soft quiet-empty">{say(s.home.searchNothing, { query: plain(query(), 60) })}</p>
            </Show>
          }
        >
          <Show when={own().length === 0 && !wanted()}>
            <div class="quiet-empty">
              <h3>{s.home.noThingsTitle}</h3>
              <p class="k-soft">{s.home.noThingsText}</p>
            </div>
          </Show>
          <For each={groups()}>
            {(group) => (
              <div class="group">
                <h3 class="group-name">{s.home.periods[group.period]}</h3>
                <ul class="list">
                  <For each={group.grains}>{(grain) => <ThingRow grain={grain} onRename={() => setRenaming(grain)} />}</For>
                </ul>
              </div>
            )}
          </For>
          <Show when={wanted() === ""}>
            <MoreButton list="grains" />
          </Show>
          <Show when={shared().length > 0}>
            <div class="group">
              <h2 class="eyebrow">{s.home.shared}</h2>
              <ul class="list">
                <For each={shared()}>{(grain) => <ThingRow grain={grain} onRename={() => setRenaming(grain)} />}</For>
              </ul>
            </div>
          </Show>
        </Show>
      </Show>
      <RenameDialog grain={renaming()} onClose={() => setRenaming(undefined)} />
    </section>
  );
}

/** One thing: where to, what it is, when it was used, and what can be done with it. */
export function ThingRow(props: { grain: Grain; onRename: () => void }): JSX.Element {
  const [sharing, setSharing] = createSignal(false);
  const [leaving, setLeaving] = createSignal(false);
  return (
    <li class="row">
      <Picture of={props.grain} />
      <div class="row-words">
        <a class="row-link" href={paths.grain(props.grain.id)} {...startsAhead(props.grain.id)}>
          <Foreign text={props.grain.title} />
        </a>
        <p class="row-about" classList={{ "row-about-two": !props.grain.mine }}>
          <Show when={props.grain.unread}>
            <span class="unread" role="img" aria-label={s.home.unread} title={s.home.unread} />
          </Show>
          <Show when={props.grain.mine} fallback={<From grain={props.grain} />}>
            <Show
              when={stateWords(props.grain)}
              fallback={
                <>
                  <Foreign text={props.grain.appTitle} limit={60} /> · <LastUsed grain={props.grain} />
                </>
              }
            >
              {(words) => (
                <>
                  <span class="state" data-state={props.grain.state}>
                    <i aria-hidden="true" />
                    {words()}
                  </span>
                  {" · "}
                  <Foreign text={props.grain.appTitle} limit={60} />
                </>
              )}
            </Show>
          </Show>
        </p>
      </div>
      <Menu label={say(s.home.moreFor, { title: plain(props.grain.title) })}>
        <MenuItem icon={<PencilIcon />} onSelect={props.onRename}>
          {props.grain.mine ? s.thing.rename : s.thing.renameOwn}
        </MenuItem>
        <Show when={props.grain.mayShare}>
          <MenuItem icon={<PlusIcon />} onSelect={() => setSharing(true)}>
            {s.thing.share}
          </MenuItem>
        </Show>
        <MenuLink icon={<PeopleIcon />} href={paths.access(props.grain.id)}>
          {s.thing.access}
        </MenuLink>
        <Show
          when={props.grain.mine}
          fallback={
            <MenuItem icon={<SignOutIcon />} danger onSelect={() => setLeaving(true)}>
              {s.thing.leave}
            </MenuItem>
          }
        >
          <MenuLink icon={<ListIcon />} href={paths.log(props.grain.id)}>
            {s.thing.log}
          </MenuLink>
          <MenuLink icon={<SettingsIcon />} href={paths.settings(props.grain.id)}>
            {s.thing.settings}
          </MenuLink>
          <MenuItem icon={<TrashIcon />} danger onSelect={() => void moveToTrash(props.grain)}>
            {s.thing.trash}
          </MenuItem>
        </Show>
      </Menu>
      <Show when={sharing()}>
        <ShareDialog grain={props.grain} onClose={() => setSharing(false)} />
      </Show>
      <LeaveDialog grain={leaving() ? props.grain : undefined} onClose={() => setLeaving(false)} />
    </li>
  );
}

/** Whose it is, and what one can do with it. */
function From(props: { grain: Grain }): JSX.Element {
  const values = () => ({
    owner: plain(props.grain.owner, 60),
    can: plain(props.grain.can, 80),
    when: props.grain.expires === null ? "" : until(props.grain.expires),
    title: plain(props.grain.ownersTitle),
  });
  return (
    <>
      <Phrase of={props.grain.expires === null ? s.home.from : s.home.fromUntil} with={values()} />
      <Show when={props.grain.ownersTitle}>
        {" · "}
        <Foreign text={props.grain.ownersTitle} />
      </Show>
    </>
  );
}

function stateWords(grain: Grain): string | undefined {
  return { running: s.home.running, starting: s.home.starting, failed: s.home.failed, asleep: undefined }[grain.state];
}

function LastUsed(props: { grain: Grain }): JSX.Element {
  return (
    <Show when={props.grain.lastUsed} fallback={s.home.neverUsed}>
      {(time) => (
        <time datetime={new Date(time()).toISOString()} title={exact(time())}>
          {when(time())}
        </time>
      )}
    </Show>
  );
}
