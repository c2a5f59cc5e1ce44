// What can be set for one thing, what it does by itself, what it may use of others, and copies of it.

import { For, type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";

import { AlertIcon, Button, ButtonLink, Checkbox, ClockIcon, DownloadIcon, Skeleton, toast } from "../../kit/index.ts";
import { ConfirmDialog, tell } from "../acts.tsx";
import { api } from "../api/client.ts";
import { connecting } from "../api/connecting.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import type { Grain, Held, Job } from "../api/types.ts";
import { plain, webAddress } from "../format.ts";
import { go } from "../navigation.ts";
import { Trouble } from "../parts.tsx";
import { paths } from "../routes.ts";
import { Facts } from "../sharing/parts.tsx";
import { attempt, putGrain } from "../state.ts";
import { Foreign, s, say, soon } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { AboutThing } from "./about-thing.tsx";
import { ThingLimits } from "./thing-limits.tsx";

export function ThingSettingsPage(props: { id: string }): JSX.Element {
  return (
    <AboutThing id={props.id} title={m.thing.title} name={s.thing.settings}>
      {(grain) => (
        <>
          <Show when={grain.mine}>
            <Pages grain={grain} />
          </Show>
          <Show when={grain.mine}>
            <ThingLimits grain={grain} />
          </Show>
          <Jobs grain={grain} />
          <Authority grain={grain} />
          <Show when={grain.mine}>
            <Copies grain={grain} />
            <div class="buttons">
              <ButtonLink href={paths.history(props.id)}>{m.thing.history}</ButtonLink>
              <ButtonLink href={paths.log(props.id)}>{m.thing.log}</ButtonLink>
            </div>
          </Show>
        </>
      )}
    </AboutThing>
  );
}

function Section(props: { id: string; title: string; children: JSX.Element }): JSX.Element {
  return (
    <section class="section" aria-labelledby={props.id}>
      <h2 id={props.id} class="eyebrow">
        {props.title}
      </h2>
      {props.children}
    </section>
  );
}

function Pages(props: { grain: Grain }): JSX.Element {
  const set = (relaxedPolicy: boolean) => tell(api.change(props.grain.id, { relaxedPolicy }), putGrain);
  return (
    <Section id="pages" title={m.thing.pages}>
      <Checkbox
        checked={props.grain.relaxedPolicy}
        onChecked={(relaxed) =>
          void set(relaxed).then((well) => {
            if (well) toast(s.settings.saved, { label: s.thing.undo, run: () => void set(!relaxed) });
          })
        }
        label={
          <>
            <strong>{s.settings.relaxed}</strong>
            <span class="check-more">{s.settings.relaxedText}</span>
          </>
        }
      />
    </Section>
  );
}

/** A list that was asked for: on its way, empty, there, or why not. */
function Listed<T>(props: { of: { (): T[] | undefined; error: unknown }; retry: () => void; empty: string; children: (one: T) => JSX.Element }): JSX.Element {
  const problem = (): Problem | undefined => (props.of.error === undefined ? undefined : asProblem(props.of.error));
  return (
    <Switch fallback={<Skeleton class="skeleton-line" />}>
      <Match when={problem()}>{(what) => <Trouble problem={what()} retry={props.retry} />}</Match>
      <Match when={props.of()?.length === 0}>
        <p class="k-soft">{props.empty}</p>
      </Match>
      <Match when={props.of()}>
        {(all) => (
          <ul class="list">
            <For each={all()}>{props.children}</For>
          </ul>
        )}
      </Match>
    </Switch>
  );
}

function Jobs(props: { grain: Grain }): JSX.Element {
  const [jobs, { refetch, mutate }] = createResource(() => attempt(connecting.jobs(props.grain.id)));
  const [asking, setAsking] = createSignal<Job>();
  const end = async () => {
    const one = asking();
    if (!one) return;
    await tell(connecting.takeBack(props.grain.id, one.id), () => {
      mutate((all) => all?.filter((other) => other.id !== one.id));
      toast(say(m.thing.jobEnded, { name: plain(one.name, 60) }));
    });
  };
  const often = (job: Job) => (job.period === null ? m.thing.once : (m.thing.periods[job.period] ?? plain(job.period, 40)));
  return (
    <Section id="jobs" title={m.thing.jobs}>
      <Listed of={jobs} retry={() => void refetch()} empty={m.thing.noJobs}>
        {(job) => (
          <li class="row row-wide row-text">
            <span class="way-mark" aria-hidden="true">
              <ClockIcon />
            </span>
            <div class="row-words">
              <p class="row-name">
                <Foreign text={job.name} limit={80} />
              </p>
              <p class="way-about">
                <Facts of={[often(job), say(m.thing.jobNext, { when: soon(job.next) })]} />
              </p>
              <Show when={plain(job.problem, 200)}>
                {(text) => (
                  <p class="way-state">
                    <AlertIcon size={14} /> <bdi>{text()}</bdi>
                  </p>
                )}
              </Show>
            </div>
            <Show when={props.grain.mine}>
              <div class="row-actions">
                <Button class="quiet-danger" aria-label={say(m.thing.endJobThis, { name: plain(job.name, 60) })} onClick={() => setAsking(job)}>
                  {m.thing.endJob}
                </Button>
              </div>
            </Show>
          </li>
        )}
      </Listed>
      <ConfirmDialog
        open={asking() !== undefined}
        question={m.thing.endJobTitle}
        values={{ name: asking()?.name ?? "" }}
        text={say(m.thing.endJobText, { title: plain(props.grain.title) })}
        yes={m.thing.endJob}
        no={m.thing.keep}
        onYes={end}
        onClose={() => setAsking(undefined)}
      />
    </Section>
  );
}

function Authority(props: { grain: Grain }): JSX.Element {
  const [held, { refetch, mutate }] = createResource(() => attempt(connecting.held(props.grain.id)));
  const [asking, setAsking] = createSignal<Held>();
  const takeBack = async () => {
    const one = asking();
    if (!one) return;
    await tell(connecting.takeBack(props.grain.id, one.id), () => {
      mutate((all) => all?.filter((other) => other.id !== one.id));
      toast(m.thing.takenBack);
    });
  };
  return (
    <Section id="held" title={m.thing.held}>
      <Listed of={held} retry={() => void refetch()} empty={m.thing.heldNothing}>
        {(one) => (
          <li class="row row-wide row-text">
            <div class="row-words">
              <p class="row-name">
                <Foreign text={heldWords(one).what} limit={100} />
              </p>
              <p class="way-about">
                <Facts
                  of={[
                    plain(one.label, 60),
                    heldWords(one).reach,
                    one.by !== null && say(m.thing.heldBy, { by: plain(one.by, 60) }),
                  ]}
                />
              </p>
            </div>
            <Show when={props.grain.mine}>
              <div class="row-actions row-actions-flush">
                <Button class="quiet-danger" aria-label={say(m.thing.takeBackThis, { what: plain(heldWords(one).what, 60) })} onClick={() => setAsking(one)}>
                  {m.thing.takeBack}
                </Button>
              </div>
            </Show>
          </li>
        )}
      </Listed>
      <ConfirmDialog
        open={asking() !== undefined}
        question={m.thing.takeBackTitle}
        text={say(m.thing.takeBackText, { title: plain(props.grain.title) })}
        yes={m.thing.takeBack}
        no={m.thing.keep}
        onYes={takeBack}
        onClose={() => setAsking(undefined)}
      />
    </Section>
  );
}

/** What is held, and where it leads. For what lies outside this server the API has fixed words; people read ours. */
function heldWords(one: Held): { what: string; reach: string | false } {
  const words = m.outside.held;
  const site = one.what === "a website" ? webAddress(one.from) : undefined;
  if (site) return { what: say(words.website, { place: site.host }), reach: say(words.websiteReach, { address: plain(site.href, 400) }) };
  if (one.from === null && one.what === "the whole network") return { what: words.network, reach: words.networkReach };
  if (one.from === null && one.what === "ports of this machine") return { what: words.ports, reach: words.portsReach };
  return { what: one.what, reach: one.from !== null && say(m.thing.heldFrom, { from: plain(one.from, 60) }) };
}

function Copies(props: { grain: Grain }): JSX.Element {
  const [busy, setBusy] = createSignal(false);
  const duplicate = () => {
    setBusy(true);
    void tell(connecting.duplicate(props.grain.id), (copy) => {
      putGrain(copy);
      toast(say(m.thing.duplicated, { title: plain(copy.title) }), { label: s.thing.open, run: () => go(paths.grain(copy.id)) });
    }).finally(() => setBusy(false));
  };
  return (
    <Section id="copies" title={m.thing.copies}>
      <p class="k-soft">{m.thing.backupText}</p>
      <div class="buttons">
        <ButtonLink href={connecting.backup(props.grain.id)} download="">
          <DownloadIcon /> {m.thing.backup}
        </ButtonLink>
      </div>
      <p class="k-soft">{m.thing.duplicateText}</p>
      <div class="buttons">
        <Button busy={busy()} onClick={duplicate}>
          {m.thing.duplicate}
        </Button>
      </div>
    </Section>
  );
}
