// "Which one?": an app asks for something to use, and the person says which of their things it shall be, or none.

import "../sharing/sharing.css";
import "./picker.css";

import { type JSX, Match, Switch, createSignal, onCleanup } from "solid-js";

import { Button, Dialog, Spinner, toast } from "../../kit/index.ts";
import { type Chosen, connecting } from "../api/connecting.ts";
import { asProblem } from "../api/problem.ts";
import type { Grain, Granted, Opened, PowerboxRequest } from "../api/types.ts";
import { plain } from "../format.ts";
import { GrainFrame } from "../frame/GrainFrame.tsx";
import { attempt, grainById, hearing } from "../state.ts";
import { Phrase, explain, s, say } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { Choosing } from "./Choosing.tsx";
import { Refused } from "./parts.tsx";
import type { Outcome, Picking } from "./session.ts";

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
              <Refused text={problem()} />
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
