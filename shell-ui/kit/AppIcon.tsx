import { For, type JSX, Show, createMemo, createSignal } from "solid-js";

import { appSeed, cellAt, identicon } from "./identicon.ts";

type Size = "small" | "medium" | "large";

/** The picture of an app: its own, or one made from its id. Decoration: the name stands beside it. */
export function AppIcon(props: { appId: string; src?: string | undefined; size?: Size }): JSX.Element {
  const [broken, setBroken] = createSignal<string>();
  const classes = () => ({
    "k-app-icon-small": props.size === "small",
    "k-app-icon-large": props.size === "large",
  });
  return (
    <Show
      when={props.src !== undefined && props.src !== broken() && props.src}
      fallback={<Identicon appId={props.appId} classes={classes()} />}
    >
      {(src) => (
        <img
          class="k-app-icon"
          classList={classes()}
          src={src()}
          alt=""
          decoding="async"
          draggable={false}
          onError={() => setBroken(src())}
        />
      )}
    </Show>
  );
}

function Identicon(props: { appId: string; classes: Record<string, boolean> }): JSX.Element {
  const made = createMemo(() => identicon(appSeed(props.appId)));
  return (
    <svg class="k-app-icon" classList={props.classes} viewBox="0 0 100 100" aria-hidden="true">
      <rect width="100" height="100" fill="rgb(240,240,240)" />
      <For each={made().cells}>
        {([column, row]) => {
          const { x, y, size } = cellAt(column, row);
          return <rect x={x} y={y} width={size} height={size} fill={`hsl(${made().hue},50%,70%)`} />;
        }}
      </For>
    </svg>
  );
}
