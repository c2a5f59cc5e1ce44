import { type JSX, Show, createSignal, createUniqueId, splitProps } from "solid-js";

import { IconButton } from "./Button.tsx";
import { EyeIcon, EyeOffIcon } from "./icons.tsx";

export interface TextFieldProps extends Omit<JSX.InputHTMLAttributes<HTMLInputElement>, "onInput" | "value"> {
  label: string;
  value: string;
  onValue: (value: string) => void;
  hint?: string | undefined;
  error?: string | undefined;
  /** Names of the button that shows and hides what is typed; makes this a field for a secret. */
  reveal?: { show: string; hide: string };
}

/** One line of text with its name, a hint and what is wrong with it. */
export function TextField(props: TextFieldProps): JSX.Element {
  const [own, rest] = splitProps(props, ["label", "value", "onValue", "hint", "error", "reveal", "id", "type", "class"]);
  const made = createUniqueId();
  const id = () => own.id ?? made;
  const [shown, setShown] = createSignal(false);
  const described = () =>
    [own.error && `${id()}-error`, own.hint && `${id()}-hint`].filter(Boolean).join(" ") || undefined;
  const input = (
    <input
      {...rest}
      id={id()}
      class="k-input"
      type={own.reveal ? (shown() ? "text" : "password") : (own.type ?? "text")}
      value={own.value}
      aria-invalid={own.error ? "true" : undefined}
      aria-describedby={described()}
      onInput={(event) => own.onValue(event.currentTarget.value)}
    />
  );
  return (
    <div class="k-field" classList={{ [own.class ?? ""]: own.class !== undefined }}>
      <label for={id()}>{own.label}</label>
      <Show when={own.reveal} fallback={input}>
        {(names) => (
          <div class="k-field-box">
            {input}
            <IconButton
              label={shown() ? names().hide : names().show}
              aria-pressed={shown()}
              aria-controls={id()}
              onClick={() => setShown(!shown())}
            >
              <Show when={shown()} fallback={<EyeIcon />}>
                <EyeOffIcon />
              </Show>
            </IconButton>
          </div>
        )}
      </Show>
      <Show when={own.error}>
        <p class="k-error" id={`${id()}-error`}>
          {own.error}
        </p>
      </Show>
      <Show when={own.hint}>
        <p class="k-hint" id={`${id()}-hint`}>
          {own.hint}
        </p>
      </Show>
    </div>
  );
}

export function Checkbox(props: {
  label: JSX.Element;
  checked: boolean;
  onChecked: (checked: boolean) => void;
}): JSX.Element {
  return (
    <label class="k-check">
      <input type="checkbox" checked={props.checked} onChange={(event) => props.onChecked(event.currentTarget.checked)} />
      <span>{props.label}</span>
    </label>
  );
}
