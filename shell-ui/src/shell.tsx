// What surrounds every page: the bar, the connection's state, messages, and which page is shown.

import { type JSX, Match, Show, Switch, createEffect, on } from "solid-js";

import {
  BellIcon,
  Button,
  ClockIcon,
  CloudMark,
  EmptyState,
  Menu,
  MenuItem,
  MenuLink,
  MenuNote,
  OfflineIcon,
  PeopleIcon,
  SignOutIcon,
  Spinner,
  ToastRegion,
  TrashIcon,
  UserIcon,
  toast,
} from "../kit/index.ts";
import { tell } from "./acts.tsx";
import { DropZone } from "./dropping.tsx";
import { plain } from "./format.ts";
import { fetchAhead, later } from "./later.tsx";
import { focusPage, go, route, visit } from "./navigation.ts";
import { GrainPage } from "./pages/grain.tsx";
import { HomePage } from "./pages/home.tsx";
import { SignInPage } from "./pages/sign-in.tsx";
import { Connection, Late, NotFound } from "./parts.tsx";
import { isOwnPath, paths } from "./routes.ts";
import { grainById, hearing, known, signOut, start } from "./state.ts";
import { Phrase, count, explain, s, say } from "./strings/index.tsx";

const AccessPage = later(async () => (await import("./pages/access.tsx")).AccessPage);
const AppPage = later(async () => (await import("./pages/app.tsx")).AppPage);
const ChoosePage = later(async () => (await import("./pages/choose.tsx")).ChoosePage);
const DevicesPage = later(async () => (await import("./pages/devices.tsx")).DevicesPage);
const HistoryPage = later(async () => (await import("./pages/history.tsx")).HistoryPage);
const InstallPage = later(async () => (await import("./pages/install.tsx")).InstallPage);
const JoinPage = later(async () => (await import("./pages/join.tsx")).JoinPage);
const LogPage = later(async () => (await import("./pages/log.tsx")).LogPage);
const NotificationsPage = later(async () => (await import("./pages/notifications.tsx")).NotificationsPage);
const PeoplePage = later(async () => (await import("./pages/people.tsx")).PeoplePage);
const RestorePage = later(async () => (await import("./pages/restore.tsx")).RestorePage);
const SetupPage = later(async () => (await import("./pages/setup.tsx")).SetupPage);
const SharedPage = later(async () => (await import("./pages/shared.tsx")).SharedPage);
const ThingSettingsPage = later(async () => (await import("./pages/thing-settings.tsx")).ThingSettingsPage);
const TrashPage = later(async () => (await import("./pages/trash.tsx")).TrashPage);

export function Shell(): JSX.Element {
  return (
    <>
      <Switch>
        <Match when={known.readiness === "loading"}>
          <div class="boot">
            <Late>
              <p role="status">
                <Spinner /> {s.loading}
              </p>
            </Late>
          </div>
        </Match>
        <Match when={known.readiness === "failed"}>
          <main class="page page-narrow">
            <EmptyState level={1} picture={<OfflineIcon size={32} />} title={s.product}>
              <p role="alert">{known.problem && explain(known.problem)}</p>
              <Button kind="primary" onClick={() => void start()}>
                {s.tryAgain}
              </Button>
            </EmptyState>
          </main>
        </Match>
        <Match when={known.readiness === "ready"}>
          <Pages />
        </Match>
      </Switch>
      <ToastRegion label={s.messages} dismiss={s.dismiss} />
    </>
  );
}

function Pages(): JSX.Element {
  // Which page may be shown depends on who is there.
  createEffect(() => {
    const { page } = route();
    if (!known.settings?.setUp) {
      if (page !== "setup") go(paths.setup, { replace: true });
    } else if (page === "shared" || page === "join") {
      // For everybody: whoever holds the link need not be anybody here.
    } else if (!known.me) {
      if (page !== "sign-in") go(paths.signIn, { replace: true, from: location.pathname + location.hash });
    } else if (page === "setup" || page === "sign-in") {
      const from = (history.state as { from?: unknown } | null)?.from;
      go(isOwnPath(from) ? from : paths.home, { replace: true });
    }
  });

  // Once what the person wants to see is there, the rest may follow.
  createEffect(() => {
    if (known.grains) fetchAhead();
  });

  // An app asks by itself while something else is on the screen: a message leads there.
  hearing((event) => {
    if (event.type !== "asked") return;
    const now = route();
    if (now.page === "grain" && now.id === event.grain) return;
    toast(say(s.thing.asksElsewhere, { title: plain(grainById(event.grain)?.title) || s.product }), {
      label: s.thing.choose,
      run: () => go(paths.grain(event.grain)),
    });
  });

  // After a navigation the focus is where the new page begins.
  createEffect(
    on(
      visit,
      () => {
        scrollTo(0, 0);
        focusPage();
      },
      { defer: true },
    ),
  );

  const keyed = <P extends ReturnType<typeof route>["page"]>(page: P) => {
    const now = route();
    return now.page === page ? (now as Extract<ReturnType<typeof route>, { page: P }>) : undefined;
  };
  const inside = (page: ReturnType<typeof route>["page"]) => known.me !== undefined && route().page === page;

  return (
    <Switch>
      <Match when={!known.settings?.setUp && route().page === "setup"}>
        <SetupPage />
      </Match>
      <Match when={known.settings?.setUp && !known.me && route().page === "sign-in"}>
        <SignInPage />
      </Match>
      <Match when={known.settings?.setUp && route().page === "shared"}>
        <SharedPage />
      </Match>
      <Match when={known.settings?.setUp && route().page === "join"}>
        <JoinPage />
      </Match>
      <Match when={known.me && keyed("grain")?.id} keyed>
        {(id) => <GrainPage id={id} />}
      </Match>
      <Match when={known.me && known.settings?.setUp}>
        <Bar />
        <Connection />
        <Switch
          fallback={
            <main class="page page-narrow" id="content" tabindex="-1">
              <Show when={!inside("setup") && !inside("sign-in")}>
                <NotFound />
              </Show>
            </main>
          }
        >
          <Match when={inside("home")}>
            <HomePage />
          </Match>
          <Match when={inside("choose")}>
            <ChoosePage />
          </Match>
          <Match when={keyed("install")?.packageId} keyed>
            {(packageId) => <InstallPage packageId={packageId} />}
          </Match>
          <Match when={keyed("app")?.appId} keyed>
            {(appId) => <AppPage appId={appId} />}
          </Match>
          <Match when={keyed("log")?.id} keyed>
            {(id) => <LogPage id={id} />}
          </Match>
          <Match when={keyed("access")?.id} keyed>
            {(id) => <AccessPage id={id} />}
          </Match>
          <Match when={keyed("devices")?.id} keyed>
            {(id) => <DevicesPage id={id} />}
          </Match>
          <Match when={keyed("settings")?.id} keyed>
            {(id) => <ThingSettingsPage id={id} />}
          </Match>
          <Match when={keyed("history")?.id} keyed>
            {(id) => <HistoryPage id={id} />}
          </Match>
          <Match when={inside("server-history")}>
            <HistoryPage />
          </Match>
          <Match when={inside("people")}>
            <PeoplePage />
          </Match>
          <Match when={inside("notifications")}>
            <NotificationsPage />
          </Match>
          <Match when={inside("restore")}>
            <RestorePage />
          </Match>
          <Match when={inside("trash")}>
            <TrashPage />
          </Match>
        </Switch>
        <DropZone />
      </Match>
    </Switch>
  );
}

function Bar(): JSX.Element {
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => {
        event.preventDefault();
        document.querySelector<HTMLElement>("main")?.focus();
      }}>
        {s.skipToContent}
      </a>
      <header class="bar">
        <a class="bar-mark" href={paths.home} title={s.goHome}>
          <CloudMark />
          <span>{plain(known.settings?.title, 40) || s.product}</span>
        </a>
        <nav class="bar-end" aria-label={s.account.menu}>
          <Bell />
          <Menu label={s.account.menu} icon={<Initial />}>
            <MenuLink href={paths.people} icon={<PeopleIcon />}>
              {s.account.people}
            </MenuLink>
            <MenuLink href={paths.serverHistory} icon={<ClockIcon />}>
              {s.account.history}
            </MenuLink>
            <MenuLink href={paths.trash} icon={<TrashIcon />}>
              {s.account.trash}
            </MenuLink>
            <MenuItem
              icon={<SignOutIcon />}
              onSelect={() => void tell(signOut(), () => toast(s.account.signedOut))}
            >
              {s.account.signOut}
            </MenuItem>
            <MenuNote>
              <Phrase of={s.account.signedInAs} with={{ name: known.me?.name ?? "" }} />
            </MenuNote>
          </Menu>
        </nav>
      </header>
    </>
  );
}

/** What the apps have to say, and whether there is something new. */
function Bell(): JSX.Element {
  const name = () => (known.unread > 0 ? count(s.account.unread, known.unread) : s.account.notifications);
  return (
    <a class="k-icon-button bell" href={paths.notifications} aria-label={name()} title={name()}>
      <BellIcon />
      <Show when={known.unread > 0}>
        <span class="bell-count" aria-hidden="true">
          {known.unread > 99 ? "99+" : known.unread}
        </span>
      </Show>
    </a>
  );
}

function Initial(): JSX.Element {
  const letter = () => [...plain(known.me?.name, 40)][0]?.toLocaleUpperCase();
  return (
    <span class="initial" aria-hidden="true">
      {letter() ?? <UserIcon />}
    </span>
  );
}
