// What surrounds every page: the bar, the connection's state, messages, and which page is shown.

import { type JSX, Match, Show, Switch, createEffect, on } from "solid-js";

import {
  Button,
  CloudMark,
  EmptyState,
  Menu,
  MenuItem,
  MenuLink,
  MenuNote,
  OfflineIcon,
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
import { known, signOut, start } from "./state.ts";
import { Phrase, explain, s } from "./strings/index.tsx";

const AppPage = later(async () => (await import("./pages/app.tsx")).AppPage);
const ChoosePage = later(async () => (await import("./pages/choose.tsx")).ChoosePage);
const InstallPage = later(async () => (await import("./pages/install.tsx")).InstallPage);
const LogPage = later(async () => (await import("./pages/log.tsx")).LogPage);
const SetupPage = later(async () => (await import("./pages/setup.tsx")).SetupPage);
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
          <Menu label={s.account.menu} icon={<Initial />}>
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

function Initial(): JSX.Element {
  const letter = () => [...plain(known.me?.name, 40)][0]?.toLocaleUpperCase();
  return (
    <span class="initial" aria-hidden="true">
      {letter() ?? <UserIcon />}
    </span>
  );
}
