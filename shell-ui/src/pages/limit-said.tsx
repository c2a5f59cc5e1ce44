// Why a thing was stopped, in the person's language, and where that can be changed.

import type { JSX } from "solid-js";

import { ButtonLink } from "../../kit/index.ts";
import type { LimitMet } from "../api/types.ts";
import { paths } from "../routes.ts";
import { m } from "../strings/more.ts";
import { limitWords } from "./limit-words.ts";

export function LimitSaid(props: { id: string; limit: LimitMet; otherwise: string }): JSX.Element {
  return (
    <>
      <p class="problem-words">{limitWords(props.limit, props.otherwise)}</p>
      <div class="k-actions">
        <ButtonLink href={paths.settings(props.id)}>{m.limits.change}</ButtonLink>
      </div>
    </>
  );
}
