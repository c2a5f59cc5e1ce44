import { For, type JSX, Show, createUniqueId } from "solid-js";

export interface ChoiceOption {
  value: string;
  title: JSX.Element;
  text?: JSX.Element;
  picture?: JSX.Element;
  /** Why it cannot be chosen. It stays in sight, and says so. */
  disabledBecause?: string | undefined;
}

/** One of several, each with room for a picture and an explanation. */
export function ChoiceList(props: {
  legend: string;
  options: ChoiceOption[];
  value: string | undefined;
  onValue: (value: string) => void;
  /** The name is read out, but not shown. */
  hideLegend?: boolean;
  error?: string | undefined;
}): JSX.Element {
  const name = createUniqueId();
  return (
    <fieldset class="k-choices" aria-describedby={props.error ? `${name}-error` : undefined}>
      <legend classList={{ "k-hidden": props.hideLegend ?? false }}>{props.legend}</legend>
      <div class="k-choices-box">
        <For each={props.options}>
          {(option) => (
            <label class="k-choice" classList={{ "k-choice-off": option.disabledBecause !== undefined }}>
              <input
                type="radio"
                name={name}
                value={option.value}
                checked={props.value === option.value}
                disabled={option.disabledBecause !== undefined}
                onChange={() => props.onValue(option.value)}
              />
              {option.picture}
              <span class="k-choice-words">
                <span class="k-choice-title">{option.title}</span>
                <Show when={option.disabledBecause ?? option.text}>{(text) => <span class="k-choice-text">{text()}</span>}</Show>
              </span>
            </label>
          )}
        </For>
      </div>
      <Show when={props.error}>
        <p class="k-error" id={`${name}-error`} role="alert">
          {props.error}
        </p>
      </Show>
    </fieldset>
  );
}

/** A few ways to go on, of which one is shown below. */
export function Segments(props: {
  legend: string;
  options: { value: string; label: string; icon?: JSX.Element }[];
  value: string;
  onValue: (value: string) => void;
}): JSX.Element {
  const name = createUniqueId();
  return (
    <fieldset class="k-segments">
      <legend class="k-hidden">{props.legend}</legend>
      <For each={props.options}>
        {(option) => (
          <label>
            <input type="radio" class="k-hidden" name={name} checked={props.value === option.value} onChange={() => props.onValue(option.value)} />
            <span>
              {option.icon}
              {option.label}
            </span>
          </label>
        )}
      </For>
    </fieldset>
  );
}
