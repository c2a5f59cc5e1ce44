// What an app says of itself, before anything of it runs, and the decision.

import { For, type JSX, Match, Show, Switch, createSignal } from "solid-js";

import { Button, ButtonLink, Checkbox, LockIcon, Notice, Skeleton, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { api } from "../api/client.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import type { Author, License, Package } from "../api/types.ts";
import { plain, plainText, webAddress } from "../format.ts";
import { focusPage, go } from "../navigation.ts";
import { Picture, Trouble } from "../parts.tsx";
import { paths } from "../routes.ts";
import { appById, attempt, putApp } from "../state.ts";
import { Foreign, Phrase, s, say, size } from "../strings/index.tsx";
import { usePageTitle } from "../title.ts";

export function InstallPage(props: { packageId: string }): JSX.Element {
  const [found, setFound] = createSignal<Package>();
  const [problem, setProblem] = createSignal<Problem>();
  usePageTitle(() => found()?.title ?? s.install.title);
  const load = async () => {
    setProblem(undefined);
    try {
      setFound(await attempt(api.package(props.packageId)));
    } catch (thrown) {
      setProblem(asProblem(thrown));
    }
    focusPage();
  };
  void load();
  return (
    <main class="page page-narrow" id="content" tabindex="-1">
      <Switch>
        <Match when={found()}>{(pack) => <Decision pack={pack()} />}</Match>
        <Match when={problem()}>
          {(what) => (
            <>
              <h1 tabindex="-1">{s.install.title}</h1>
              <Show when={what().code === "not-found"} fallback={<Trouble problem={what()} retry={() => void load()} />}>
                <p>{s.install.gone}</p>
              </Show>
              <ButtonLink kind="primary" href={paths.choose}>
                {s.install.another}
              </ButtonLink>
            </>
          )}
        </Match>
        <Match when={true}>
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
          <Skeleton class="skeleton-block" />
        </Match>
      </Switch>
    </main>
  );
}

function Decision(props: { pack: Package }): JSX.Element {
  const [accepted, setAccepted] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const older = () => (props.pack.replaces?.version ?? -1) > props.pack.version;
  const mustAccept = () => props.pack.license.kind === "proprietary";
  const installed = () => props.pack.state === "installed";

  const install = async () => {
    setBusy(true);
    const done = props.pack.replaces ? s.install.updated : s.install.done;
    await tell(api.install(props.pack.packageId), (app) => {
      putApp(app);
      go(paths.app(app.appId), { replace: true });
      toast(say(done, { title: plain(app.title) }));
    });
    setBusy(false);
  };
  const notNow = () => {
    // Forgetting is the server's business too, but leaving does not wait for it.
    void api.removePackage(props.pack.packageId).catch(() => undefined);
    go(appById(props.pack.appId) ? paths.app(props.pack.appId) : paths.home, { replace: true });
  };

  return (
    <>
      <AboutHead of={props.pack} />
      <Show when={plain(props.pack.shortDescription)}>
        <p class="lead">
          <Foreign text={props.pack.shortDescription} limit={300} />
        </p>
      </Show>
      <Show when={installed()}>
        <Notice>
          <p>{s.install.already}</p>
        </Notice>
      </Show>
      <Show when={props.pack.replaces}>
        {(old) => (
          <Notice kind={older() ? "warning" : "info"}>
            <p>
              <Phrase
                of={older() ? s.install.downgrades : s.install.updates}
                with={{
                  old: versionWord(old().marketingVersion, old().version),
                  new: versionWord(props.pack.marketingVersion, props.pack.version),
                }}
              />
            </p>
          </Notice>
        )}
      </Show>
      <section class="k-card" aria-labelledby="wants">
        <h2 id="wants">{s.install.wantsTitle}</h2>
        <Show
          when={props.pack.wants.length > 0}
          fallback={
            <p class="wants-nothing">
              <LockIcon />
              <span>{s.install.wantsNothing}</span>
            </p>
          }
        >
          <p>{s.install.wantsSome}</p>
          <ul class="wants">
            <For each={props.pack.wants.slice(0, 30)}>
              {(want) => (
                <li>
                  <Foreign text={want.message} limit={300} />
                </li>
              )}
            </For>
          </ul>
        </Show>
      </section>
      <Facts of={props.pack} />
      <Terms license={props.pack.license} />
      <Show when={mustAccept() && !installed()}>
        <Checkbox label={s.install.accept} checked={accepted()} onChecked={setAccepted} />
      </Show>
      <div class="decide">
        <Show
          when={!installed()}
          fallback={
            <ButtonLink kind="primary" href={paths.app(props.pack.appId)}>
              {s.install.open}
            </ButtonLink>
          }
        >
          <div class="decide-yes">
            <Button
              kind="primary"
              wide
              busy={busy()}
              disabledBecause={mustAccept() && !accepted() ? s.install.acceptFirst : undefined}
              onClick={() => void install()}
            >
              {older() ? s.install.goBack : props.pack.replaces ? s.install.update : s.install.install}
            </Button>
          </div>
          <Button onClick={notNow}>{s.install.notNow}</Button>
        </Show>
      </div>
    </>
  );
}

function versionWord(marketing: string, version: number): string {
  return plain(marketing, 40) || String(version);
}

/** Picture, name, and who made it. */
export function AboutHead(props: { of: { appId: string; icon: string | null; title: string; author: Author } }): JSX.Element {
  return (
    <header class="about-head">
      <Picture of={props.of} size="large" />
      <div class="about-words">
        <h1 tabindex="-1">
          <Foreign text={props.of.title} limit={80} />
        </h1>
        <p class="k-soft">
          <Show when={plain(props.of.author.name)} fallback={s.install.byUnknown}>
            {(name) => <Phrase of={s.install.by} with={{ author: name() }} />}
          </Show>
        </p>
      </div>
    </header>
  );
}

/** What is known of an app, line by line. */
export function Facts(props: {
  of: { marketingVersion: string; version: number; author: Author; size?: number; license?: License };
}): JSX.Element {
  const license = () => {
    const { kind, name } = props.of.license ?? { kind: "none" as const, name: "" };
    if (kind !== "open-source") return s.install.licenses[kind];
    return plain(name) ? say(s.install.licenses["open-source"], { name: plain(name, 80) }) : s.install.licenses["open-source-unnamed"];
  };
  return (
    <dl class="facts">
      <div>
        <dt>{s.install.version}</dt>
        <dd>
          <Phrase
            of={s.install.versionValue}
            with={{ marketing: plain(props.of.marketingVersion, 40) || String(props.of.version), number: String(props.of.version) }}
          />
        </dd>
      </div>
      <Show when={props.of.license}>
        <div>
          <dt>{s.install.license}</dt>
          <dd>
            <bdi>{license()}</bdi>
          </dd>
        </div>
      </Show>
      <Show when={props.of.size}>
        {(bytes) => (
          <div>
            <dt>{s.install.size}</dt>
            <dd>{size(bytes())}</dd>
          </div>
        )}
      </Show>
      <OutsideLink name={s.install.website} address={props.of.author.website} />
      <OutsideLink name={s.install.code} address={props.of.author.codeUrl} />
      <Show when={plain(props.of.author.contactEmail)}>
        {(mail) => (
          <div>
            <dt>{s.install.contact}</dt>
            <dd>
              <Foreign text={mail()} limit={100} />
            </dd>
          </div>
        )}
      </Show>
    </dl>
  );
}

function OutsideLink(props: { name: string; address: string | null }): JSX.Element {
  return (
    <Show when={webAddress(props.address)}>
      {(url) => (
        <div>
          <dt>{props.name}</dt>
          <dd>
            <a href={url().href} target="_blank" rel="noopener noreferrer">
              <Foreign text={url().hostname + url().pathname.replace(/\/$/, "")} limit={60} />
            </a>
          </dd>
        </div>
      )}
    </Show>
  );
}

function Terms(props: { license: License }): JSX.Element {
  const binding = () => props.license.kind === "proprietary";
  return (
    <Show when={plainText(props.license.text).trim()}>
      {(text) => (
        <details class="terms" open={binding()}>
          <summary>{binding() ? s.install.licenseText : s.install.noticeText}</summary>
          <div class="terms-text" tabindex="0" role="region" aria-label={binding() ? s.install.terms : s.install.noticeText} dir="auto">
            {text()}
          </div>
        </details>
      )}
    </Show>
  );
}
