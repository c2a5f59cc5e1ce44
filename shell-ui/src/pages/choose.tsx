// Choosing the file of an app, and watching it arrive.

import { type JSX, createEffect, createSignal, on } from "solid-js";

import { take } from "../dropping.tsx";
import { plain } from "../format.ts";
import { upload } from "../sending.ts";
import { s, say } from "../strings/index.tsx";
import { Choosing } from "./choosing.tsx";

export function ChoosePage(): JSX.Element {
  const stage = () => {
    const now = upload();
    return now ? say(s.install.stages[now.stage], { file: plain(now.name, 60) }) : "";
  };
  return (
    <Choosing
      words={s.install}
      accept=".spk"
      onFiles={take}
      otherWay={
        <p class="drop-words">
          <strong>{s.install.drop}</strong>
          <span class="k-soft">{s.install.or}</span>
        </p>
      }
      stage={stage()}
      announced={<Announced />}
    />
  );
}

/** Read out when the stage changes, not with every byte. */
function Announced(): JSX.Element {
  const [announced, setAnnounced] = createSignal("");
  createEffect(
    on(
      () => upload()?.stage,
      (stage) => stage && setAnnounced(s.install.announce[stage]),
    ),
  );
  return (
    <p class="k-hidden" role="status">
      {announced()}
    </p>
  );
}
