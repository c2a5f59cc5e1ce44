import { type JSX, Show, createEffect, createUniqueId, onCleanup } from "solid-js";

export interface DialogProps {
  open: boolean;
  onClose: () => void;
  title: JSX.Element;
  /** For more than a question. */
  wide?: boolean;
  children: JSX.Element;
}

/** A question or a form in front of the page. The browser keeps the focus inside and gives it back. */
export function Dialog(props: DialogProps): JSX.Element {
  return (
    <Show when={props.open}>
      <OpenDialog {...props} />
    </Show>
  );
}

/** Where one goes on: what asks for the focus, what is chosen, or the first thing to use. Never a frame: from in there,
 * Escape would not be heard. */
function focusFirst(dialog: HTMLElement): void {
  const usable = dialog.querySelector("[autofocus]") ?? dialog.querySelector("input:checked, input:not(:disabled), textarea, button, a[href]");
  if (usable instanceof HTMLElement) usable.focus();
}

function OpenDialog(props: DialogProps): JSX.Element {
  const id = createUniqueId();
  let dialog!: HTMLDialogElement;
  const before = document.activeElement;
  createEffect(() => {
    dialog.showModal();
    // What comes or changes while the dialog is open takes the focus, if nothing in it has it any more.
    const arrivals = new MutationObserver(() => {
      const has = document.activeElement;
      if (has === dialog || has === document.body || has === null) focusFirst(dialog);
    });
    arrivals.observe(dialog, { childList: true, subtree: true });
    onCleanup(() => {
      arrivals.disconnect();
      dialog.close();
      // Closed and gone in one step, the browser has no time to give the focus back.
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    });
  });
  return (
    <dialog
      ref={dialog}
      class="k-dialog"
      classList={{ "k-dialog-wide": props.wide ?? false }}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        props.onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog) props.onClose();
      }}
    >
      <div class="k-dialog-inside">
        <h2 id={id}>{props.title}</h2>
        {props.children}
      </div>
    </dialog>
  );
}
