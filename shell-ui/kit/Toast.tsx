import { For, type JSX, Show, createSignal, onCleanup, onMount } from "solid-js";

import { CloseIcon } from "./icons.tsx";

interface Toast {
  id: number;
  message: string;
  action: { label: string; run: () => void } | undefined;
}

/** How long a message stays when nobody touches it, in milliseconds; longer when there is something to decide. */
const STAY = 6_000;
const STAY_TO_DECIDE = 12_000;
const MOST = 2;

const [toasts, setToasts] = createSignal<Toast[]>([]);
let count = 0;

/** Says something that needs no answer, with at most one thing to do about it. */
export function toast(message: string, action?: Toast["action"]): void {
  setToasts((all) => [...all, { id: (count += 1), message, action }].slice(-MOST));
}

export function clearToasts(): void {
  setToasts([]);
}

/** The place where messages appear; once per page. */
export function ToastRegion(props: { label: string; dismiss: string }): JSX.Element {
  return (
    <section class="k-toasts" aria-label={props.label}>
      <div class="k-hidden" role="status">
        <For each={toasts()}>{(one) => <p>{one.message}</p>}</For>
      </div>
      <For each={toasts()}>{(one) => <ToastCard toast={one} dismiss={props.dismiss} />}</For>
    </section>
  );
}

function ToastCard(props: { toast: Toast; dismiss: string }): JSX.Element {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const gone = () => setToasts((all) => all.filter((one) => one.id !== props.toast.id));
  const hold = () => clearTimeout(timer);
  const release = () => {
    hold();
    timer = setTimeout(gone, props.toast.action ? STAY_TO_DECIDE : STAY);
  };
  onMount(release);
  onCleanup(hold);
  return (
    <div class="k-toast" onPointerEnter={hold} onPointerLeave={release} onFocusIn={hold} onFocusOut={release}>
      <p>{props.toast.message}</p>
      <Show when={props.toast.action}>
        {(action) => (
          <button
            type="button"
            class="k-toast-action"
            onClick={() => {
              gone();
              action().run();
            }}
          >
            {action().label}
          </button>
        )}
      </Show>
      <button type="button" aria-label={props.dismiss} onClick={gone}>
        <CloseIcon />
      </button>
    </div>
  );
}
