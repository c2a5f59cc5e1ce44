import { type JSX, Show, createEffect, createSignal, on } from "solid-js";

import { PencilIcon } from "../../kit/index.ts";
import { TITLE_LIMIT, rename } from "../acts.tsx";
import { plain } from "../format.ts";
import { Foreign, s, say } from "../strings/index.tsx";

/** The name of a thing, changed where it stands: Enter or leaving keeps the new one, Escape the old one. */
export function TitleField(props: {
  id: string;
  title: string;
  editing: boolean;
  setEditing: (editing: boolean) => void;
}): JSX.Element {
  const [text, setText] = createSignal("");
  let input: HTMLInputElement | undefined;
  let button: HTMLButtonElement | undefined;

  createEffect(
    on(
      () => props.editing,
      (editing) => {
        if (!editing) return;
        setText(props.title);
        queueMicrotask(() => {
          input?.focus();
          input?.select();
        });
      },
    ),
  );

  const end = (keep: boolean, giveBack: boolean) => {
    if (!props.editing) return;
    const wanted = text().trim();
    props.setEditing(false);
    if (giveBack) queueMicrotask(() => button?.focus());
    if (keep && wanted !== "" && wanted !== props.title) void rename(props.id, wanted);
  };

  return (
    <Show
      when={props.editing}
      fallback={
        <h1 class="grain-title" tabindex="-1">
          <button ref={(element) => (button = element)} type="button" title={s.thing.rename} onClick={() => props.setEditing(true)}>
            <Foreign text={props.title} />
            <PencilIcon size={16} />
          </button>
        </h1>
      }
    >
      <form
        class="grain-title"
        onSubmit={(event) => {
          event.preventDefault();
          end(true, true);
        }}
      >
        <input
          ref={(element) => (input = element)}
          class="k-input"
          aria-label={say(s.thing.renameHint, { title: plain(props.title) })}
          value={text()}
          maxlength={TITLE_LIMIT}
          dir="auto"
          autocomplete="off"
          enterkeyhint="done"
          onInput={(event) => setText(event.currentTarget.value)}
          onBlur={() => end(true, false)}
          onKeyDown={(event) => {
            if (event.key !== "Escape") return;
            event.stopPropagation();
            end(false, true);
          }}
        />
      </form>
    </Show>
  );
}
