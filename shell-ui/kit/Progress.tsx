import { type JSX, Show, createUniqueId } from "solid-js";

/** How far something is. `done` and `total` in any unit; without `total` it only says that it goes on. */
export function ProgressBar(props: { label: string; value?: string; done: number; total: number | null }): JSX.Element {
  const id = createUniqueId();
  return (
    <div class="k-progress">
      <div class="k-progress-words">
        <span id={id}>{props.label}</span>
        <Show when={props.value}>
          <span class="k-soft">{props.value}</span>
        </Show>
      </div>
      <Show when={props.total} fallback={<progress aria-labelledby={id} />}>
        {(total) => <progress aria-labelledby={id} value={Math.min(props.done, total())} max={total()} />}
      </Show>
    </div>
  );
}

export function Spinner(): JSX.Element {
  return <span class="k-spinner" aria-hidden="true" />;
}

/** The shape of something that is still on its way. The page says once, in words, that it loads. */
export function Skeleton(props: { class?: string }): JSX.Element {
  return <span class="k-skeleton" classList={{ [props.class ?? ""]: props.class !== undefined }} aria-hidden="true" />;
}
