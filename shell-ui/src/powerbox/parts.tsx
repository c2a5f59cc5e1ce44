// Pieces that the steps of the picker share.

import { For, type JSX, Show } from "solid-js";

import { Button } from "../../kit/index.ts";
import { plain } from "../format.ts";
import { Phrase, s } from "../strings/index.tsx";
import { m } from "../strings/more.ts";

/** Who asks for what is shown, and what for. With `focus`, a step begins here: where Enter and Space give nothing away,
 * should an app ask in the middle of typing. */
export function Asked(props: { app: string; label: string; focus: boolean }): JSX.Element {
  return (
    <p tabindex={props.focus ? "-1" : undefined} autofocus={props.focus}>
      <Phrase of={props.label ? m.outside.asksFor : m.outside.asks} with={{ app: props.app, label: plain(props.label, 80) }} />
    </p>
  );
}

/** What went wrong with the choice as a whole. */
export function Refused(props: { text: string | undefined }): JSX.Element {
  return (
    <Show when={props.text}>
      <p class="k-error" role="alert">
        {props.text}
      </p>
    </Show>
  );
}

/** The ways on; back, where there is something to go back to. */
export function Actions(props: { onBack: (() => void) | undefined; onCancel: () => void; children: JSX.Element }): JSX.Element {
  return (
    <div class="k-actions">
      <Show when={props.onBack}>
        {(back) => (
          <Button class="picker-back" onClick={() => back()()}>
            {m.picker.back}
          </Button>
        )}
      </Show>
      <Button onClick={props.onCancel}>{s.cancel}</Button>
      {props.children}
    </div>
  );
}

/** Words with an address in them, which is better cut behind a slash than within a word. */
export function Address(props: { text: string }): JSX.Element {
  return (
    <bdi>
      <For each={props.text.split(/(?<=[^/]\/)(?=[^/])/)}>
        {(piece) => (
          <>
            {piece}
            <wbr />
          </>
        )}
      </For>
    </bdi>
  );
}

/**
 * For forms: the second half of a double click on one of their last buttons does nothing and takes no focus. It was meant
 * for what stood there before.
 */
export const once = {
  capture: true,
  handleEvent(event: MouseEvent): void {
    if (event.detail < 2 || !(event.target instanceof Element) || !event.target.closest(".k-actions button, [type=submit]")) return;
    event.preventDefault();
    event.stopPropagation();
  },
};
