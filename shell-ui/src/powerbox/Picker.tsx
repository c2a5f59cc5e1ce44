// "Which one?": an app asks for something to use, and the person says which of their things it shall be, or none.

import "../sharing/sharing.css";
import "./picker.css";

import { type JSX, Match, Switch, createSignal, onCleanup } from "solid-js";

import { Button, Dialog, Spinner, toast } from "../../kit/index.ts";
import { type Chosen, connecting } from "../api/connecting.ts";
import { type Problem, asProblem } from "../api/problem.ts";
import type { Choice, Grain, Granted, Opened, PowerboxRequest } from "../api/types.ts";
import { plain } from "../format.ts";
import { GrainFrame } from "../frame/GrainFrame.tsx";
import { attempt, grainById, hearing } from "../state.ts";
import { Phrase, explain, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { Choosing } from "./Choosing.tsx";
import { Website } from "./Website.tsx";
import { Sure, Warning } from "./Wide.tsx";
import { createDraft, isOutside, isTyped } from "./outside.ts";
import { Refused } from "./parts.tsx";
import type { Outcome, Picking } from "./session.ts";

type Stage =
  | { is: "loading" }
  /** `last` was looked at before. */
  | { is: "choosing"; of: PowerboxRequest; last?: string }
  /** More has to be said about one choice; the only one there is, or one from the list. */
  | { is: "outside"; of: PowerboxRequest; choice: Choice; only: boolean; sure: boolean }
  | { is: "inside"; of: PowerboxRequest; opened: Opened; title: string };

export function Picker(props: { grain: Grain; page: string; picking: Picking }): JSX.Element {
  const { picking } = props;
  const app = () => plain(props.grain.title, 60);
  const [stage, setStage] = createSignal<Stage>({ is: "loading" });
  const [busy, setBusy] = createSignal(false);
  const [problem, setProblem] = createSignal<Problem>();
  let request: string | undefined;
  let answered = false;
  /** What the person chose last, for the words afterwards. */
  let chosen = "";
  const drafts = new Map<string, ReturnType<typeof createDraft>>();

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
      if (answered) return;
      const [only, ...others] = of.choices;
      if (only && isOutside(only) && others.length === 0 && of.makeable.length === 0) setStage({ is: "outside", of, choice: only, only: true, sure: false });
      else setStage({ is: "choosing", of });
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
    if (busy() || request === undefined || now.is === "loading" || now.is === "inside") return;
    chosen = title;
    setBusy(true);
    setProblem(undefined);
    try {
      const outcome = await attempt(connecting.choose(request, body));
      if ("open" in outcome) setStage({ is: "inside", of: now.of, opened: outcome.open, title: grainById(outcome.grain)?.title ?? title });
      else answer({ is: "granted", granted: outcome satisfies Granted });
    } catch (thrown) {
      setProblem(asProblem(thrown));
    } finally {
      setBusy(false);
    }
  };

  const explained = () => {
    const what = problem();
    return what && explain(what);
  };
  const turn = (to: Stage) => {
    setProblem(undefined);
    setStage(to);
  };
  const draftOf = (choice: Choice, only: boolean) => {
    // Nothing is chosen for anybody: one of the two, the website or the way in, is the person's own act.
    const draft = drafts.get(choice.id) ?? createDraft(only && !isTyped(choice) ? undefined : "none");
    drafts.set(choice.id, draft);
    return draft;
  };

  const inside = () => {
    const now = stage();
    return now.is === "inside" ? now : undefined;
  };
  const choosing = () => {
    const now = stage();
    return now.is === "choosing" ? now : undefined;
  };
  const outside = () => {
    const now = stage();
    return now.is === "outside" ? now : undefined;
  };
  const title = (): JSX.Element => {
    const now = stage();
    if (now.is === "inside") return <Phrase of={m.picker.inside} with={{ title: now.title }} />;
    if (now.is !== "outside") return m.picker.which;
    const { website, network, ports } = m.outside;
    if (now.choice.kind === "website") return <Phrase of={isTyped(now.choice) ? website.titleTyped : website.title} with={{ app: app(), place: now.choice.title }} />;
    const words = now.choice.kind === "network" ? network : ports;
    return <Phrase of={now.sure ? words.sureTitle : words.title} with={{ app: app() }} />;
  };

  return (
    <Dialog open wide={inside() !== undefined} title={title()} onClose={cancel}>
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
                  onProblem={setProblem}
                  onTitle={() => undefined}
                  onPath={() => undefined}
                  onAsk={(ask, reply) => {
                    // One question at a time: what is asked here is answered first.
                    if ("rpcId" in ask) reply({ rpcId: ask.rpcId, error: "this page is itself an answer to a request" });
                  }}
                />
              </div>
              <Refused text={explained()} />
              <div class="k-actions">
                <Button onClick={() => turn({ is: "choosing", of: now.of })}>{m.picker.back}</Button>
                <Button onClick={cancel}>{s.cancel}</Button>
              </div>
            </>
          )}
        </Match>
        <Match when={choosing()} keyed>
          {(now) => (
            <Choosing
              of={now.of}
              last={now.last}
              app={app()}
              busy={busy()}
              problem={explained()}
              onOutside={(choice) => turn({ is: "outside", of: now.of, choice, only: false, sure: false })}
              onChoose={(body, title) => void choose(body, title)}
              onCancel={cancel}
            />
          )}
        </Match>
        <Match when={outside()} keyed>
          {(now) => {
            const { of, choice } = now;
            const back = now.only ? undefined : () => turn({ is: "choosing", of, last: choice.id });
            if (choice.kind === "website") {
              return (
                <Website
                  choice={choice}
                  label={of.label}
                  app={app()}
                  draft={draftOf(choice, now.only)}
                  busy={busy()}
                  problem={problem()}
                  onEdit={() => setProblem(undefined)}
                  onChoose={(body, title) => void choose(body, title)}
                  onBack={back}
                  onCancel={cancel}
                />
              );
            }
            if (!now.sure) return <Warning choice={choice} label={of.label} app={app()} onNext={() => turn({ ...now, sure: true })} onBack={back} onCancel={cancel} />;
            const given = choice.kind === "network" ? m.outside.network.given : m.outside.ports.given;
            return (
              <Sure choice={choice} app={app()} busy={busy()} problem={problem()} onYes={() => void choose({ choice: choice.id }, given)} onNo={() => turn({ ...now, sure: false })} />
            );
          }}
        </Match>
      </Switch>
    </Dialog>
  );
}
