// What there is to choose from.

import { For, type JSX, Match, Show, Switch, createMemo, createSignal } from "solid-js";

import { Button, ChoiceList, type ChoiceOption, LinkIcon, PlusIcon, SearchIcon, TextField, UserIcon } from "../../kit/index.ts";
import type { Chosen } from "../api/connecting.ts";
import type { Choice, PowerboxRequest } from "../api/types.ts";
import { plain } from "../format.ts";
import { Picture } from "../parts.tsx";
import { grainById } from "../state.ts";
import { Foreign, Phrase, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { Refused } from "./parts.tsx";

/** From this many choices on, searching is faster than looking. */
const WORTH_SEARCHING = 7;

export function Choosing(props: {
  of: PowerboxRequest;
  app: string;
  busy: boolean;
  problem: string | undefined;
  onChoose: (body: Chosen, title: string) => void;
  onCancel: () => void;
}): JSX.Element {
  // What fits best comes first; otherwise the server's order stands. Nothing is chosen yet: an app may ask in the middle of a
  // double click or of typing.
  const all = [...props.of.choices].sort((a, b) => Number(b.preferred) - Number(a.preferred));
  const [choice, setChoice] = createSignal<string | undefined>(all.length === 1 && all[0]?.asksText !== undefined ? all[0].id : undefined);
  const [role, setRole] = createSignal<string>();
  const [text, setText] = createSignal("");
  const [query, setQuery] = createSignal("");
  const [tried, setTried] = createSignal(false);
  const found = createMemo(() => {
    const wanted = query().trim().toLocaleLowerCase();
    return all.filter((one) => one.id === choice() || `${one.title}\n${one.detail}`.toLocaleLowerCase().includes(wanted));
  });
  const chosen = () => all.find((one) => one.id === choice());
  const roles = () => chosen()?.roles ?? [];
  const chosenRole = () => roles().find((one) => String(one.index) === role()) ?? roles()[0];

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    setTried(true);
    const now = chosen();
    if (!now || (now.asksText !== undefined && text().trim() === "")) return;
    const as = chosenRole();
    props.onChoose(
      { choice: now.id, ...(as && { role: { index: as.index } }), ...(now.asksText !== undefined && { text: text().trim() }) },
      now.asksText === undefined ? plain(now.title, 60) : plain(text(), 60),
    );
  };

  return (
    <form class="bare" novalidate onSubmit={submit}>
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
              options={found().map(asOption)}
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
            {m.picker.use}
          </Button>
        </Show>
      </div>
    </form>
  );
}

function asOption(choice: Choice): ChoiceOption {
  const kind = m.picker.kinds[choice.kind];
  const detail = [kind, plain(choice.detail, 120)].filter(Boolean).join(" · ");
  return {
    value: choice.id,
    title: <Foreign text={choice.title} limit={80} />,
    ...(detail && { text: <bdi>{detail}</bdi> }),
    picture: (
      <Switch
        fallback={
          <span class="way-mark">
            <LinkIcon />
          </span>
        }
      >
        <Match when={choice.kind === "grain"}>
          <Picture of={{ appId: grainById(choice.id)?.appId ?? "", icon: choice.icon }} size="small" />
        </Match>
        <Match when={choice.kind === "person"}>
          <span class="way-mark">
            <UserIcon />
          </span>
        </Match>
        <Match when={choice.kind === "network"}>
          <span class="way-mark">
            <SearchIcon />
          </span>
        </Match>
      </Switch>
    ),
  };
}
