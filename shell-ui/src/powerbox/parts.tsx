// Pieces that the steps of the picker share.

import { type JSX, Show } from "solid-js";

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
