// "Which one?": an app asks for something to use, and the person says which of their things it shall be, or none.

import "../sharing/sharing.css";
import "./picker.css";

import { For, type JSX, Match, Show, Switch, createMemo, createSignal, onCleanup } from "solid-js";

import { Button, ChoiceList, type ChoiceOption, Dialog, LinkIcon, PlusIcon, SearchIcon, Spinner, TextField, UserIcon, toast } from "../../kit/index.ts";
import { type Chosen, connecting } from "../api/connecting.ts";
import { asProblem } from "../api/problem.ts";
import type { Choice, Grain, Granted, Opened, PowerboxRequest } from "../api/types.ts";
import { plain } from "../format.ts";
import { GrainFrame } from "../frame/GrainFrame.tsx";
import { Picture } from "../parts.tsx";
import { attempt, grainById, hearing } from "../state.ts";
import { Foreign, Phrase, explain, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import type { Outcome, Picking } from "./session.ts";

/** From this many choices on, searching is faster than looking. */
const WORTH_SEARCHING = 7;

type Stage = { is: "loading" } | { is: "choosing"; of: PowerboxRequest } | { is: "inside"; of: PowerboxRequest; opened: Opened; title: string };

export function Picker(props: { grain: Grain; page: string; picking: Picking }): JSX.Element {
  const { picking } = props;
  const app = () => plain(props.grain.title, 60);
  const [stage, setStage] = createSignal<Stage>({ is: "loading" });
  const [busy, setBusy] = createSignal(false);
  const [problem, setProblem] = createSignal<string>();
  let request: string | undefined;
  let answered = false;
  /** What the person chose last, for the words afterwards. */
  let chosen = "";

  const answer = (outcome: Outcome) => {
    if (answered) return;
    answered = true;
    // Not before it has been read: a request must not vanish while it is on its way.
    if (outcome.is !== "granted") void loaded.then(forget);
    if (outcome.is === "granted") toast(say(m.picker.given, { app: app(), title: chosen }));
    picking.answer(outcome);
  };
  const forget = () => {
    if (request !== undefined) void connecting.cancel(request).catch(() => undefined);
  };
  const cancel = () => answer({ is: "cancelled" });
  // Left in any other way, nothing was chosen.
  onCleanup(cancel);

  const load = async () => {
    try {
      if (picking.from === "server") request = picking.request;
      else request = await attempt(connecting.ask(props.grain.id, { page: props.page, query: picking.query, ...(picking.label && { label: picking.label }) }));
      if (answered) return;
      const of = await attempt(connecting.request(request));
      if (!answered) setStage({ is: "choosing", of });
    } catch (thrown) {
      if (answered) return;
      const what = asProblem(thrown);
      toast(picking.from === "page" ? say(m.picker.failed, { app: app() }) : explain(what));
      answer({ is: "failed", why: what.message || what.code });
    }
  };
  const loaded = load();

  hearing((event) => {
    if (event.type === "answer" && event.request === request) answer({ is: "granted", granted: { token: event.token, descriptor: event.descriptor } });
  });

  const choose = async (body: Chosen, title: string) => {
    const now = stage();
    if (busy() || request === undefined || now.is !== "choosing") return;
    chosen = title;
    setBusy(true);
    setProblem(undefined);
    try {
      const outcome = await attempt(connecting.choose(request, body));
      if ("open" in outcome) setStage({ is: "inside", of: now.of, opened: outcome.open, title: grainById(outcome.grain)?.title ?? title });
      else answer({ is: "granted", granted: outcome satisfies Granted });
    } catch (thrown) {
      setProblem(explain(asProblem(thrown)));
    } finally {
      setBusy(false);
    }
  };

  const inside = () => {
    const now = stage();
    return now.is === "inside" ? now : undefined;
  };
  const choosing = () => {
    const now = stage();
    return now.is === "choosing" ? now.of : undefined;
  };

  return (
    <Dialog open wide={inside() !== undefined} title={inside() ? <Phrase of={m.picker.inside} with={{ title: inside()?.title ?? "" }} /> : m.picker.which} onClose={cancel}>
      <Switch>
        <Match when={stage().is === "loading"}>
          <p class="picker-loading" role="status">
            <Spinner /> {m.loading}
          </p>
        </Match>
        <Match when={inside()} keyed>
          {(now) => (
            <>
              <div class="picker-frame">
                <GrainFrame
                  opened={now.opened}
                  label={say(m.picker.insideFrame, { title: plain(now.title) })}
                  onLoad={() => undefined}
                  onProblem={(what) => setProblem(explain(what))}
                  onTitle={() => undefined}
                  onPath={() => undefined}
                  onAsk={(ask, reply) => {
                    // One question at a time: what is asked here is answered first.
                    if ("rpcId" in ask) reply({ rpcId: ask.rpcId, error: "this page is itself an answer to a request" });
                  }}
                />
              </div>
              <Problem text={problem()} />
              <div class="k-actions">
                <Button onClick={() => setStage({ is: "choosing", of: now.of })}>{m.picker.back}</Button>
                <Button onClick={cancel}>{s.cancel}</Button>
              </div>
            </>
          )}
        </Match>
        <Match when={choosing()} keyed>
          {(of) => <Choosing of={of} app={app()} busy={busy()} problem={problem()} onChoose={(body, title) => void choose(body, title)} onCancel={cancel} />}
        </Match>
      </Switch>
    </Dialog>
  );
}

function Choosing(props: {
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
      <Problem text={props.problem} />
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

function Problem(props: { text: string | undefined }): JSX.Element {
  return (
    <Show when={props.text}>
      <p class="k-error" role="alert">
        {props.text}
      </p>
    </Show>
  );
}
