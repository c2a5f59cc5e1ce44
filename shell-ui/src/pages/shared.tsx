// Where a sharing link leads: what it is, from whom, what one can do; then the thing itself. With or without an account.

import "../sharing/sharing.css";

import { type JSX, Match, Show, Switch, createEffect, createSignal, on, onCleanup } from "solid-js";

import { AlertIcon, Button, ButtonLink, Card, CloudMark, EmptyState, LinkIcon, Notice, OfflineIcon, Spinner, toast } from "../../kit/index.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import { sharing } from "../api/sharing.ts";
import type { LinkView, Opened } from "../api/types.ts";
import { iconAddress, plain } from "../format.ts";
import { GrainFrame } from "../frame/GrainFrame.tsx";
import { go, settle, visit } from "../navigation.ts";
import { Late, Picture, Starting } from "../parts.tsx";
import { paths, readShared } from "../routes.ts";
import { known, putGrain } from "../state.ts";
import { Foreign, Phrase, explain, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { sentence } from "../sharing/parts.tsx";
import { usePageTitle } from "../title.ts";

type Phase =
  | { is: "looking" }
  | { is: "gone" }
  | { is: "problem"; problem: Problem }
  | { is: "seen"; view: LinkView }
  | { is: "open"; view: LinkView; opened: Opened; loaded: boolean };

export function SharedPage(): JSX.Element {
  const [phase, setPhase] = createSignal<Phase>({ is: "looking" });
  const [busy, setBusy] = createSignal<"accept" | "open">();
  const [pageTitle, setPageTitle] = createSignal("");
  /** The link was for one use, and what is in the address now is what it was traded for. */
  const [traded, setTraded] = createSignal(false);
  let link = readShared(location.hash);
  let attempts = 0;
  onCleanup(() => (attempts += 1));

  const view = () => {
    const now = phase();
    return now.is === "seen" || now.is === "open" ? now.view : undefined;
  };
  usePageTitle(() => plain(pageTitle()) || view()?.title || m.shared.title);

  /** A link that gives nothing is a page of its own; everything else is a problem that may pass. */
  const fail = (thrown: unknown) => {
    const problem = asProblem(thrown);
    setPhase(problem.code === "not-found" ? { is: "gone" } : { is: "problem", problem });
  };

  const look = async () => {
    const mine = (attempts += 1);
    if (!link) return setPhase({ is: "gone" });
    setPhase({ is: "looking" });
    try {
      const found = await sharing.look(link.token);
      if (mine !== attempts) return;
      // Whoever has it already wants the thing, not to be asked again.
      if (found.grain !== null) return go(paths.grain(found.grain, link.inside), { replace: true });
      setPhase({ is: "seen", view: found });
    } catch (thrown) {
      if (mine === attempts) fail(thrown);
    }
  };
  void look();

  // Somebody followed another link in this tab, or went back.
  createEffect(
    on(
      visit,
      () => {
        const now = readShared(location.hash);
        if (now?.token === link?.token && now?.inside === link?.inside) return;
        link = now;
        setTraded(false);
        void look();
      },
      { defer: true },
    ),
  );

  const accept = async () => {
    if (!link || busy()) return;
    setBusy("accept");
    try {
      const grain = await sharing.acceptLink(link.token);
      putGrain(grain);
      toast(say(m.shared.accepted, { title: plain(grain.title) }));
      // Traded for a thing of one's own: the token leaves the address and its history.
      go(paths.grain(grain.id, link.inside), { replace: true });
    } catch (thrown) {
      fail(thrown);
    } finally {
      setBusy(undefined);
    }
  };

  const open = async () => {
    const now = phase();
    if (!link || busy() || now.is !== "seen") return;
    setBusy("open");
    try {
      const { token, ...opened } = await sharing.openLink(link.token, link.inside);
      if (token !== undefined) {
        link = { ...link, token };
        setTraded(true);
        settle(paths.shared(token, link.inside));
      }
      setPhase({ is: "open", view: now.view, opened, loaded: false });
    } catch (thrown) {
      fail(thrown);
    } finally {
      setBusy(undefined);
    }
  };
  const signIn = () => go(paths.signIn, { from: location.pathname + location.hash });

  const opened = () => {
    const now = phase();
    return now.is === "open" ? now : undefined;
  };

  return (
    <Show
      when={opened()}
      fallback={
        <main class="page page-door" id="content" tabindex="-1">
          <Switch>
            <Match when={phase().is === "looking"}>
              <Late>
                <p class="starting-words" role="status">
                  <Spinner /> {m.shared.looking}
                </p>
              </Late>
            </Match>
            <Match when={phase().is === "gone"}>
              <EmptyState level={1} picture={<LinkIcon size={32} />} title={m.shared.goneTitle}>
                <p class="k-soft">{m.shared.goneText}</p>
                <ButtonLink href={paths.home}>{s.goHome}</ButtonLink>
              </EmptyState>
            </Match>
            <Match when={phase().is === "problem" && (phase() as { problem: Problem }).problem}>
              {(problem) => (
                <EmptyState
                  level={1}
                  kind="problem"
                  picture={problem().code === "offline" ? <OfflineIcon size={32} /> : <AlertIcon size={32} />}
                  title={m.shared.title}
                >
                  <p role="alert">{explain(problem())}</p>
                  <Button kind="primary" onClick={() => void look()}>
                    {s.tryAgain}
                  </Button>
                </EmptyState>
              )}
            </Match>
            <Match when={view()}>
              {(now) => (
                <Invitation view={now()} busy={busy()} onAccept={() => void accept()} onOpen={() => void open()} onSignIn={signIn} />
              )}
            </Match>
          </Switch>
        </main>
      }
    >
      {(now) => (
        <div class="grain">
          <header class="grain-bar">
            <LinkPicture view={now().view} size="small" />
            <h1 class="grain-title guest-title" tabindex="-1">
              <Foreign text={now().view.title} />
              <span class="guest-note">{m.shared.guest}</span>
            </h1>
            <Show
              when={known.me}
              fallback={
                <Button kind="quiet" onClick={signIn}>
                  {m.shared.signIn}
                </Button>
              }
            >
              <Button kind="quiet" busy={busy() === "accept"} onClick={() => void accept()}>
                {m.shared.accept}
              </Button>
            </Show>
          </header>
          <Show when={traded()}>
            <div class="guest-hint">
              <Notice>
                <p>{m.shared.once}</p>
              </Notice>
            </div>
          </Show>
          <main class="grain-stage" id="content" tabindex="-1">
            <GrainFrame
              opened={now().opened}
              label={say(m.shared.frame, { title: plain(now().view.title), app: plain(now().view.appTitle, 60) })}
              onLoad={() => {
                const at = opened();
                if (at) setPhase({ ...at, loaded: true });
              }}
              onProblem={(problem) => setPhase({ is: "problem", problem })}
              onTitle={setPageTitle}
              onPath={(path) => {
                if (!link) return;
                link = { ...link, inside: path };
                settle(paths.shared(link.token, path));
              }}
              onAsk={(ask, reply) => {
                // Without an account there is nothing to choose from, and nobody to ask.
                if (ask.kind === "name") reply({ rpcId: ask.rpcId, grainTitle: now().view.title });
                else if (ask.kind === "powerbox" || ask.kind === "template") reply({ rpcId: ask.rpcId, error: "This page was opened by a link; sign in to connect things." });
              }}
            />
            <Show when={!now().loaded}>
              <Starting title={plain(now().view.title)} retry={() => location.reload()} />
            </Show>
          </main>
        </div>
      )}
    </Show>
  );
}

function Invitation(props: { view: LinkView; busy: "accept" | "open" | undefined; onAccept: () => void; onOpen: () => void; onSignIn: () => void }): JSX.Element {
  return (
    <>
      <header class="door-head">
        <LinkPicture view={props.view} size="large" />
        <h1 tabindex="-1">
          <Foreign text={props.view.title} />
        </h1>
        <p class="k-soft">
          <Phrase of={m.shared.by} with={{ by: plain(props.view.by, 60) }} /> · <Foreign text={props.view.appTitle} limit={60} />
        </p>
      </header>
      <Card class="bare">
        <p>
          <bdi>{sentence(undefined, props.view.can, props.view.expires)}.</bdi>
        </p>
        <Show
          when={known.me}
          fallback={
            <>
              <Button kind="primary" wide busy={props.busy === "open"} onClick={props.onOpen}>
                {m.shared.open}
              </Button>
              <Button wide onClick={props.onSignIn}>
                {m.shared.signIn}
              </Button>
              <p class="k-soft k-small">{m.shared.noAccount}</p>
            </>
          }
        >
          <Button kind="primary" wide busy={props.busy === "accept"} onClick={props.onAccept}>
            {m.shared.accept}
          </Button>
          <Button wide busy={props.busy === "open"} onClick={props.onOpen}>
            {m.shared.justOpen}
          </Button>
          <p class="k-soft k-small">{m.shared.justOpenText}</p>
        </Show>
      </Card>
    </>
  );
}

/** The app's picture; without an account icons cannot be fetched, and the mark of the house stands there. */
function LinkPicture(props: { view: LinkView; size: "small" | "large" }): JSX.Element {
  return (
    <Show when={known.me && iconAddress(props.view.icon)} fallback={<CloudMark size={props.size === "large" ? 56 : 28} />}>
      <Picture of={{ appId: "", icon: props.view.icon }} size={props.size} />
    </Show>
  );
}
