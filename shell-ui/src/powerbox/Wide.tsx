// The whole network, or ports of this server: given after a warning, and after a second question.

import { For, type JSX } from "solid-js";

import { Button, Notice } from "../../kit/index.ts";
import type { Problem } from "../api/problem.ts";
import type { Choice } from "../api/types.ts";
import { Phrase, explain } from "../strings/index.tsx";
import { m } from "../strings/more.ts";
import { isEncrypted } from "./outside.ts";
import { Actions, Asked, Refused, once } from "./parts.tsx";

export function Warning(props: {
  choice: Choice;
  label: string;
  app: string;
  onNext: () => void;
  onBack: (() => void) | undefined;
  onCancel: () => void;
}): JSX.Element {
  const words = () => (props.choice.kind === "network" ? m.outside.network : m.outside.ports);
  const points = () =>
    props.choice.kind === "network" ? [...m.outside.network.points, isEncrypted(props.choice) ? m.outside.network.tlsPoint : m.outside.network.plainPoint] : m.outside.ports.points;
  return (
    <form
      class="bare"
      on:mousedown={once}
      on:click={once}
      onSubmit={(event) => {
        event.preventDefault();
        props.onNext();
      }}
    >
      <Asked app={props.app} label={props.label} focus />
      <Notice kind="warning">
        <p>
          <strong>
            <Phrase of={words().warning} with={{ app: props.app }} />
          </strong>
        </p>
        <ul class="picker-points">
          <For each={points()}>{(point) => <li>{point}</li>}</For>
        </ul>
      </Notice>
      <p class="k-soft">{words().advice}</p>
      <Actions onBack={props.onBack} onCancel={props.onCancel}>
        <Button type="submit">{m.outside.next}</Button>
      </Actions>
    </form>
  );
}

export function Sure(props: { choice: Choice; app: string; busy: boolean; problem: Problem | undefined; onYes: () => void; onNo: () => void }): JSX.Element {
  return (
    <form
      class="bare"
      on:mousedown={once}
      on:click={once}
      onSubmit={(event) => {
        event.preventDefault();
        props.onYes();
      }}
    >
      <p tabindex="-1" autofocus>
        <Phrase of={props.choice.kind === "network" ? m.outside.network.sure : m.outside.ports.sure} with={{ app: props.app }} />
      </p>
      <Refused text={props.problem && explain(props.problem)} />
      <div class="k-actions">
        <Button onClick={props.onNo}>{m.outside.no}</Button>
        <Button kind="danger" type="submit" busy={props.busy}>
          {m.outside.yes}
        </Button>
      </div>
    </form>
  );
}
