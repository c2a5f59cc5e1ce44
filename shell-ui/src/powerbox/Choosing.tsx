// What there is to choose from.

import { For, type JSX, Match, Show, Switch, createMemo, createSignal, onMount } from "solid-js";

import { Button, ChoiceList, type ChoiceOption, LinkIcon, PlusIcon, TextField, UserIcon } from "../../kit/index.ts";
import type { Chosen } from "../api/connecting.ts";
import type { Choice, PowerboxRequest } from "../api/types.ts";
import { plain } from "../format.ts";
import { Picture } from "../parts.tsx";
import { grainById } from "../state.ts";
import { Foreign, Phrase, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { GlobeIcon, NetworkIcon, PortIcon } from "./icons.tsx";
import { isOutside, wordsOf } from "./outside.ts";
import { Address, Refused, once } from "./parts.tsx";

/** From this many choices on, searching is faster than looking. */
const WORTH_SEARCHING = 7;

export function Choosing(props: {
  of: PowerboxRequest;
  /** What was looked at before. */
  last: string | undefined;
  app: string;
  busy: boolean;
  problem: string | undefined;
  /** There is more to say about this choice. */
  onOutside: (choice: Choice) => void;
  onChoose: (body: Chosen, title: string) => void;
  onCancel: () => void;
}): JSX.Element {
  // What fits best comes first; otherwise the server's order stands. Nothing is chosen yet: an app may ask in the middle of a
  // double click or of typing.
  const all = [...props.of.choices].sort((a, b) => Number(b.preferred) - Number(a.preferred));
  const [choice, setChoice] = createSignal<string | undefined>(props.last ?? (all.length === 1 && all[0]?.asksText !== undefined ? all[0].id : undefined));
  const [role, setRole] = createSignal<string>();
  const [text, setText] = createSignal("");
  const [query, setQuery] = createSignal("");
  const [tried, setTried] = createSignal(false);
  const searchable = (one: Choice) => {
    const { title, text } = wordsOf(one, all);
    return `${title}\n${text}`;
  };
  const found = createMemo(() => {
    const wanted = query().trim().toLocaleLowerCase();
    return all.filter((one) => one.id === choice() || searchable(one).toLocaleLowerCase().includes(wanted));
  });
  const chosen = () => all.find((one) => one.id === choice());
  const goesOn = () => {
    const now = chosen();
    return now !== undefined && isOutside(now);
  };
  const roles = () => chosen()?.roles ?? [];
  const chosenRole = () => roles().find((one) => String(one.index) === role()) ?? roles()[0];

  let form!: HTMLFormElement;
  // Back from a closer look, one goes on where one was.
  onMount(() => {
    if (props.last !== undefined) form.querySelector<HTMLElement>("input:checked")?.focus();
  });

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    setTried(true);
    const now = chosen();
    if (!now || (now.asksText !== undefined && text().trim() === "")) return;
    if (isOutside(now)) return props.onOutside(now);
    const as = chosenRole();
    props.onChoose(
      { choice: now.id, ...(as && { role: { index: as.index } }), ...(now.asksText !== undefined && { text: text().trim() }) },
      now.asksText === undefined ? plain(now.title, 60) : plain(text(), 60),
    );
  };

  return (
    <form class="bare" novalidate ref={form} onSubmit={submit} on:mousedown={once} on:click={once}>
      <p>
        <Phrase of={props.of.label ? m.picker.introFor : m.picker.intro} with={{ app: props.app, label: plain(props.of.label, 80) }} />
      </p>
      <Show when={all.length >= WORTH_SEARCHING}>
        <TextField label={m.picker.filter} type="search" value={query()} onValue={setQuery} autocomplete="off" maxlength={80} />
      </Show>
      <Show
        when={all.length > 0}
        fallback={<p class="k-soft">{props.of.makeable.length > 0 ? m.picker.nothingMake : m.picker.nothing}</p>}
      >
        <Show when={found().length > 0} fallback={<p class="k-soft">{say(m.picker.nothingFound, { query: plain(query(), 40) })}</p>}>
          <div class="picker-choices">
            <ChoiceList
              legend={m.picker.choices}
              hideLegend
              options={found().map((one) => asOption(one, all))}
              value={choice()}
              onValue={setChoice}
              error={tried() && !chosen() ? m.picker.chooseFirst : undefined}
            />
          </div>
        </Show>
      </Show>
      <Show when={chosen()?.asksText}>
        {(asks) => (
          <TextField
            label={plain(asks(), 120)}
            value={text()}
            onValue={setText}
            error={tried() && text().trim() === "" ? m.picker.typeFirst : undefined}
            maxlength={2000}
            inputmode={chosen()?.kind === "address" ? "url" : chosen()?.kind === "email" ? "email" : "text"}
            autocapitalize="none"
            autocomplete="off"
            spellcheck={false}
          />
        )}
      </Show>
      <Switch>
        <Match when={roles().length > 1}>
          <ChoiceList
            legend={say(m.picker.canDo, { app: props.app })}
            options={roles().map((one) => ({ value: String(one.index), title: <Foreign text={one.title} limit={60} />, text: <Foreign text={one.can} limit={120} /> }))}
            value={String(chosenRole()?.index)}
            onValue={setRole}
          />
        </Match>
        <Match when={roles()[0]}>
          {(only) => (
            <p>
              <Phrase of={m.picker.canDoOnly} with={{ app: props.app, can: plain(only().can, 80) }} />
            </p>
          )}
        </Match>
      </Switch>
      <Show when={props.of.makeable.length > 0}>
        <div class="picker-make" role="group" aria-label={m.picker.make}>
          <p class="k-soft k-small">{m.picker.make}</p>
          <div class="buttons">
            <For each={props.of.makeable}>
              {(one) => (
                <Button busy={props.busy} onClick={() => props.onChoose({ make: { packageId: one.packageId, action: one.action } }, plain(one.noun, 60))}>
                  <PlusIcon />
                  <span>
                    <Phrase of={m.picker.makeThis} with={{ noun: plain(one.noun, 60) }} />
                  </span>
                </Button>
              )}
            </For>
          </div>
        </div>
      </Show>
      <Refused text={props.problem} />
      <div class="k-actions">
        <Button onClick={props.onCancel}>{s.cancel}</Button>
        <Show when={all.length > 0}>
          <Button kind="primary" type="submit" busy={props.busy}>
            {goesOn() ? m.outside.next : m.picker.use}
          </Button>
        </Show>
      </div>
    </form>
  );
}

function asOption(choice: Choice, all: Choice[]): ChoiceOption {
  const { title, text } = wordsOf(choice, all);
  return {
    value: choice.id,
    title: <Foreign text={title} limit={80} />,
    ...(text && { text: <Address text={text} /> }),
    picture:
      choice.kind === "grain" ? (
        <Picture of={{ appId: grainById(choice.id)?.appId ?? "", icon: choice.icon }} size="small" />
      ) : (
        <span class="way-mark">{MARKS[choice.kind]({})}</span>
      ),
  };
}

/** Pictures of what has none of its own. */
const MARKS = { person: UserIcon, email: LinkIcon, address: LinkIcon, website: GlobeIcon, network: NetworkIcon, interface: PortIcon };
