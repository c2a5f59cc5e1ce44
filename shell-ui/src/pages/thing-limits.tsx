// What a thing takes of the server, how much it may take, and which limit it met.

import { For, type JSX, Match, Show, Switch, createResource, createSignal } from "solid-js";

import { AlertIcon, Button, Dialog, ProgressBar, Skeleton, TextField, toast } from "../../kit/index.ts";
import { tell } from "../acts.tsx";
import { connecting } from "../api/connecting.ts";
import { asProblem } from "../api/problem.ts";
import type { Amount, Grain, LimitChange, LimitName, Limits } from "../api/types.ts";
import { Trouble } from "../parts.tsx";
import { attempt } from "../state.ts";
import { s, say, size, when } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { limitWords } from "./limit-words.ts";

const NAMES: readonly LimitName[] = ["memory", "disk", "files", "processes"];
/** What one types. Memory comes in powers of two, as everybody sells and states it; storage in those of ten, as in the rest of
 * the shell. */
const UNIT: Record<LimitName, number> = { memory: 1 << 20, disk: 1e9, files: 1, processes: 1 };

const plainNumber = (number: number) => new Intl.NumberFormat(document.documentElement.lang).format(number);
const memorySize = (bytes: number) => size(bytes < 2 ** 30 ? (bytes / 2 ** 20) * 1e6 : (bytes / 2 ** 30) * 1e9);
const amount = (name: LimitName, number: number) => (name === "memory" ? memorySize(number) : name === "disk" ? size(number) : plainNumber(number));

export function ThingLimits(props: { grain: Grain }): JSX.Element {
  const [limits, { refetch, mutate }] = createResource(() => attempt(connecting.limits(props.grain.id)));
  const [changing, setChanging] = createSignal(false);
  const shown = () => (limits.error === undefined ? limits.latest : undefined);

  const change = async (to: LimitChange): Promise<boolean> => {
    const before = shown();
    return tell(connecting.changeLimits(props.grain.id, to), (now) => {
      mutate(now);
      const words = now.applies === "next-start" ? m.limits.savedLater : m.limits.saved;
      const back: LimitChange = {};
      for (const name of Object.keys(to) as LimitName[]) if (before) back[name] = before.limits[name].limit;
      toast(words, { label: s.thing.undo, run: () => void tell(connecting.changeLimits(props.grain.id, back), (again) => void mutate(again)) });
    });
  };

  return (
    <section class="section" aria-labelledby="limits">
      <h2 id="limits" class="eyebrow">
        {m.limits.title}
      </h2>
      <Switch fallback={<Skeleton class="skeleton-block" />}>
        <Match when={limits.error !== undefined}>
          <Trouble problem={asProblem(limits.error)} retry={() => void refetch()} />
        </Match>
        <Match when={shown()}>
          {(now) => (
            <>
              <Show when={now().full}>
                {(full) => (
                  <p class="way-state" role="status">
                    <AlertIcon size={14} /> {limitWords(full())}
                  </p>
                )}
              </Show>
              <For each={NAMES}>{(name) => <Bar name={name} of={now().limits[name]} running={now().running} />}</For>
              <Show when={now().processor !== null}>
                <p class="k-soft">{say(m.limits.processor, { time: duration(now().processor ?? 0) })}</p>
              </Show>
              <Met of={now()} />
              <div class="buttons">
                <Button onClick={() => setChanging(true)}>{m.limits.change}</Button>
              </div>
              <Show when={changing()}>
                <ChangeLimits of={now()} onSave={change} onClose={() => setChanging(false)} />
              </Show>
            </>
          )}
        </Match>
      </Switch>
    </section>
  );
}

function Bar(props: { name: LimitName; of: Amount; running: boolean }): JSX.Element {
  const limit = () => amount(props.name, props.of.limit);
  const value = () => {
    const { used } = props.of;
    if (used !== null) return say(m.limits.usedOf, { used: amount(props.name, used), limit: limit() });
    return say(props.running ? m.limits.unknownOf : m.limits.asleepOf, { limit: limit() });
  };
  return <ProgressBar label={m.limits.names[props.name]} value={value()} done={props.of.used ?? 0} total={props.of.limit} />;
}

function Met(props: { of: Limits }): JSX.Element {
  return (
    <Show when={props.of.met.length > 0} fallback={<p class="k-soft">{m.limits.metNone}</p>}>
      <ul class="list">
        <For each={props.of.met}>
          {(met) => (
            <li class="row row-wide row-text">
              <div class="row-words">
                <p class="row-name">{limitWords(met.limit)}</p>
                <p class="way-about">{when(met.time)}</p>
              </div>
            </li>
          )}
        </For>
      </ul>
    </Show>
  );
}

function ChangeLimits(props: { of: Limits; onSave: (to: LimitChange) => Promise<boolean>; onClose: () => void }): JSX.Element {
  const typed = (name: LimitName, number: number) => String(Math.round((number / UNIT[name]) * 100) / 100);
  const fields = NAMES.map((name) => {
    const [text, setText] = createSignal(typed(name, props.of.limits[name].limit));
    return { name, text, setText, before: text() };
  });
  const [tried, setTried] = createSignal(false);
  const [busy, setBusy] = createSignal(false);
  const wanted = (name: LimitName, text: string) => {
    const number = Number(text.replace(",", "."));
    return text.trim() !== "" && Number.isFinite(number) ? Math.round(number * UNIT[name]) : undefined;
  };
  const error = (name: LimitName, text: string): string | undefined => {
    const { least, most, used, limit } = props.of.limits[name];
    const number = wanted(name, text);
    if (number === undefined || number < least || number > most) return say(m.limits.between, { least: amount(name, least), most: amount(name, most) });
    if ((name === "disk" || name === "files") && used !== null && number < used && number < limit) return say(m.limits.inUse, { used: amount(name, used) });
    return undefined;
  };
  // What nobody touched is not sent, so that rounding changes nothing.
  const changed = () => fields.filter((field) => field.text() !== field.before);
  const save = (event: Event) => {
    event.preventDefault();
    setTried(true);
    if (changed().some((field) => error(field.name, field.text()))) return;
    const to: LimitChange = {};
    for (const field of changed()) to[field.name] = wanted(field.name, field.text()) ?? null;
    if (Object.keys(to).length === 0) return props.onClose();
    setBusy(true);
    void props
      .onSave(to)
      .then((well) => well && props.onClose())
      .finally(() => setBusy(false));
  };
  const usual = () => {
    for (const field of fields) field.setText(typed(field.name, Math.min(props.of.limits[field.name].usual, props.of.limits[field.name].most)));
  };
  return (
    <Dialog open title={m.limits.changeTitle} onClose={props.onClose}>
      <form class="bare" novalidate onSubmit={save}>
        <p class="k-soft">{props.of.mayRaise ? m.limits.raiseText : m.limits.lowerText}</p>
        <For each={fields}>
          {(field) => (
            <TextField
              label={m.limits.fields[field.name]}
              hint={say(m.limits.usual, { usual: amount(field.name, props.of.limits[field.name].usual) })}
              error={tried() && field.text() !== field.before ? error(field.name, field.text()) : undefined}
              value={field.text()}
              onValue={field.setText}
              inputmode="decimal"
              autocomplete="off"
              required
            />
          )}
        </For>
        <div class="k-actions">
          <Button onClick={usual}>{m.limits.backToUsual}</Button>
          <Button onClick={props.onClose}>{s.cancel}</Button>
          <Button kind="primary" type="submit" busy={busy()}>
            {s.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Milliseconds as one would say them: "12 s", "3 min", "2 h". */
function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  const [number, unit] = seconds < 120 ? [seconds, "second"] : seconds < 7200 ? [Math.round(seconds / 60), "minute"] : [Math.round(seconds / 3600), "hour"];
  return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" }).format(number);
}
