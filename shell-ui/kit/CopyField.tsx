import { type JSX, Show, createSignal, createUniqueId } from "solid-js";

import { Button } from "./Button.tsx";
import { CheckIcon, CopyIcon } from "./icons.tsx";

/** Something to take elsewhere: it cannot be changed, but marked and copied. */
export function CopyField(props: {
  label: string;
  value: string;
  words: { copy: string; copyThis: string; copied: string; cannot: string };
  autofocus?: boolean;
}): JSX.Element {
  const id = createUniqueId();
  let input!: HTMLInputElement;
  const [outcome, setOutcome] = createSignal<"copied" | "cannot">();
  const copy = async () => {
    setOutcome((await copyText(props.value, input)) ? "copied" : "cannot");
  };
  return (
    <div class="k-field k-copy">
      <label for={id}>{props.label}</label>
      <div class="k-copy-box">
        <input
          ref={input}
          id={id}
          class="k-input"
          readonly
          dir="ltr"
          spellcheck={false}
          value={props.value}
          onFocus={(event) => event.currentTarget.select()}
        />
        <Button autofocus={props.autofocus ?? false} aria-label={props.words.copyThis} onClick={() => void copy()}>
          <Show when={outcome() === "copied"} fallback={<CopyIcon />}>
            <CheckIcon />
          </Show>
          {props.words.copy}
        </Button>
      </div>
      <p class="k-hint" role="status">
        {outcome() && props.words[outcome() ?? "copied"]}
      </p>
    </div>
  );
}

/** Copies; `field` shows the same text and helps where pages may not use the clipboard. Whether it went well. */
async function copyText(text: string, field: HTMLInputElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without a secure connection there is no clipboard for pages, but the old command works on what is marked.
    field.focus();
    field.select();
    return document.execCommand("copy");
  }
}
