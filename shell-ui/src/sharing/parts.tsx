// What the pages about sharing have in common: choosing a role, a person and a day, and showing what is shown once.

import { For, type JSX, Show, createMemo, createSignal } from "solid-js";

import { Button, ChoiceList, CopyField, SendIcon, TextField } from "../../kit/index.ts";
import type { Person, Role, Sharing, Way } from "../api/types.ts";
import { dayOf, endOfDay, plain } from "../format.ts";
import { Foreign, count, say, until } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { roleFrom, roleKey, shorten } from "./ways.ts";

/** From this many people on, searching is faster than looking. */
const WORTH_SEARCHING = 6;
/** People listed before one searches. */
const MOST = 8;

/** What somebody can do, in the app's words. `keep` adds a first choice, such as "Nothing". */
export function RolePicker(props: {
  legend: string;
  of: Pick<Sharing, "roles" | "mayGiveAll">;
  value: Role | undefined;
  onValue: (role: Role | undefined) => void;
  nothing?: { title: string; text: string };
}): JSX.Element {
  const options = () => [
    ...(props.nothing ? [{ value: "nothing", title: props.nothing.title, text: props.nothing.text }] : []),
    ...props.of.roles.map((role) => ({
      value: String(role.index),
      title: <Foreign text={role.title} limit={60} />,
      text: <Foreign text={role.description || role.can} limit={200} />,
      disabledBecause: role.mayGive ? undefined : m.share.notYours,
    })),
    ...(props.value && roleKey(props.value) === "default" ? [{ value: "default", title: m.share.appDefault }] : []),
    ...(props.of.mayGiveAll ? [{ value: "all", title: m.share.everything, text: m.share.everythingText }] : []),
  ];
  return (
    <Show when={options().length > 1}>
      <ChoiceList
        legend={props.legend}
        options={options()}
        value={props.value ? roleKey(props.value) : "nothing"}
        onValue={(key) => props.onValue(key === "nothing" ? undefined : roleFrom(key))}
      />
    </Show>
  );
}

/** Somebody of this server. */
export function PersonPicker(props: {
  people: Person[];
  value: string | undefined;
  onValue: (id: string) => void;
  error?: string | undefined;
}): JSX.Element {
  const [query, setQuery] = createSignal("");
  const others = () => props.people.filter((person) => !person.me);
  const found = createMemo(() => {
    const text = query().trim().toLocaleLowerCase().replace(/^@/, "");
    return others().filter((person) => `${person.name}\n${person.handle}`.toLocaleLowerCase().includes(text));
  });
  const shown = () => {
    const first = found().slice(0, MOST);
    const chosen = others().find((person) => person.id === props.value);
    return chosen && !first.includes(chosen) ? [chosen, ...first] : first;
  };
  return (
    <Show when={others().length > 0} fallback={<p class="k-soft">{m.share.nobodyElse}</p>}>
      <div class="person-picker">
        <Show when={others().length >= WORTH_SEARCHING}>
          <TextField label={m.share.findPerson} type="search" value={query()} onValue={setQuery} autocomplete="off" maxlength={80} />
          <p class="k-hidden" role="status">
            {query().trim() ? count(m.share.peopleFound, found().length) : ""}
          </p>
        </Show>
        <Show when={shown().length > 0} fallback={<p class="k-soft">{say(m.share.nobodyFound, { query: plain(query(), 40) })}</p>}>
          <ChoiceList
            legend={m.share.person}
            error={props.error}
            options={shown().map((person) => ({
              value: person.id,
              title: <Foreign text={person.name} limit={60} />,
              text: <bdi>@{plain(person.handle, 40)}</bdi>,
              picture: <Face name={person.name} />,
            }))}
            value={props.value}
            onValue={props.onValue}
          />
        </Show>
      </div>
    </Show>
  );
}

/** The first letter of a name. Decoration: the name stands beside it. */
export function Face(props: { name: string | null | undefined }): JSX.Element {
  return (
    <span class="initial" aria-hidden="true">
      {[...plain(props.name, 40)][0]?.toLocaleUpperCase() ?? "?"}
    </span>
  );
}

/** A day in the future, or none. */
export function UntilField(props: { value: string; onValue: (day: string) => void }): JSX.Element {
  return (
    <TextField
      class="until"
      label={m.share.until}
      hint={m.share.untilHint}
      type="date"
      min={dayOf(Date.now())}
      value={props.value}
      onValue={props.onValue}
      error={isPast(props.value) ? m.share.untilPast : undefined}
    />
  );
}

export const isPast = (day: string): boolean => day !== "" && (endOfDay(day) ?? 0) <= Date.now();

/** Something that is shown once, to copy or to send. */
export function OnceShown(props: { label: string; value: string; message?: string; autofocus?: boolean }): JSX.Element {
  // Where there is a share sheet, it is what people know.
  const send = () => navigator.share({ text: props.message ?? "", url: props.value }).catch(() => undefined);
  return (
    <div class="once">
      <CopyField
        label={props.label}
        value={props.value}
        autofocus={props.autofocus ?? false}
        words={{ copy: m.copy, copyThis: say(m.copyThis, { what: props.label }), copied: m.copied, cannot: m.cannotCopy }}
      />
      <Show when={props.message !== undefined && typeof navigator.share === "function"}>
        <Button onClick={() => void send()}>
          <SendIcon /> {m.sendOn}
        </Button>
      </Show>
    </div>
  );
}

/** What a way is called in a sentence. */
export function wayName(way: Way): string {
  if (way.kind === "person") return way.me ? m.you : plain(way.name, 60);
  const label = plain(way.label, 60);
  if (way.kind === "device") return label || m.access.device;
  return label ? say(m.access.linkFor, { label }) : m.access.link;
}

/** "Anna can edit until Friday." */
export function sentence(name: string | undefined, can: string, expires: number | null): string {
  const values = { name: name ?? "", can: plain(can, 80), when: expires === null ? "" : until(expires) };
  const { plain: other, until: otherUntil, you, youUntil } = m.sentence;
  if (name === undefined) return say(expires === null ? you : youUntil, values);
  return say(expires === null ? other : otherUntil, values);
}

/** Names in a sentence: "Bela", "Bela and Chiara", "Bela and 3 others". */
export function list(names: string[]): string {
  const { first, others } = shorten(names);
  if (others > 0) return say(count(m.access.others, others), { names: first[0] ?? "" });
  return first.length === 2 ? say(m.access.and, { first: first[0] ?? "", second: first[1] ?? "" }) : (first[0] ?? "");
}

/** Lines of small facts with dots between them. */
export function Facts(props: { of: (string | undefined | false)[] }): JSX.Element {
  const shown = () => props.of.filter((fact): fact is string => typeof fact === "string" && fact !== "");
  return (
    <For each={shown()}>
      {(fact, at) => (
        <>
          {at() > 0 && " · "}
          <bdi>{fact}</bdi>
        </>
      )}
    </For>
  );
}

