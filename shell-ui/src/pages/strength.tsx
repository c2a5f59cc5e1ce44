import { For, type JSX } from "solid-js";

import type { Strength } from "../password.ts";
import { s } from "../strings/index.tsx";

const STEPS: Record<Strength, number> = { none: 0, short: 1, obvious: 1, weak: 2, good: 3, strong: 4 };

/** How good the password is, in a picture and in words that are read out as they change. */
export function StrengthMeter(props: { strength: Strength }): JSX.Element {
  return (
    <div class="strength" data-strength={props.strength}>
      <span class="strength-steps" aria-hidden="true">
        <For each={[1, 2, 3, 4]}>{(step) => <i classList={{ on: step <= STEPS[props.strength] }} />}</For>
      </span>
      <p class="k-small" role="status" aria-label={s.strength.label}>
        {s.strength[props.strength]}
      </p>
    </div>
  );
}
