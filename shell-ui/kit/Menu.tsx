import { type JSX, Show, createSignal, createUniqueId, onCleanup } from "solid-js";

import { IconButton } from "./Button.tsx";
import { MoreIcon } from "./icons.tsx";

/** A button that opens a short list of things to do. Children: `MenuItem`, `MenuLink`, `MenuNote`. */
export function Menu(props: { label: string; icon?: JSX.Element; children: JSX.Element }): JSX.Element {
  const id = createUniqueId();
  const [open, setOpen] = createSignal(false);
  const [up, setUp] = createSignal(false);
  let box!: HTMLDivElement;
  let button!: HTMLButtonElement;

  const items = () => [...box.querySelectorAll<HTMLElement>('[role="menuitem"]')];
  const focus = (index: number) => {
    const all = items();
    all[(index + all.length) % all.length]?.focus();
  };
  const show = (first: boolean) => {
    setOpen(true);
    const list = box.querySelector('[role="menu"]');
    const below = innerHeight - button.getBoundingClientRect().bottom;
    setUp(list !== null && list.getBoundingClientRect().height > below - 8 && button.getBoundingClientRect().top > below);
    focus(first ? 0 : -1);
  };
  const close = (giveBack: boolean) => {
    if (!open()) return;
    setOpen(false);
    if (giveBack) button.focus();
  };

  const outside = (event: PointerEvent) => {
    if (!box.contains(event.target as Node)) close(false);
  };
  document.addEventListener("pointerdown", outside);
  // A click into an app's frame is no event here, but takes the focus of the window.
  const away = () => close(false);
  addEventListener("blur", away);
  onCleanup(() => {
    document.removeEventListener("pointerdown", outside);
    removeEventListener("blur", away);
  });

  const onKeyDown = (event: KeyboardEvent) => {
    if (!open()) {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        show(event.key === "ArrowDown");
      }
      return;
    }
    const at = items().indexOf(document.activeElement as HTMLElement);
    if (event.key === "ArrowDown") focus(at + 1);
    else if (event.key === "ArrowUp") focus(at < 0 ? -1 : at - 1);
    else if (event.key === "Home") focus(0);
    else if (event.key === "End") focus(-1);
    else if (event.key === "Escape") close(true);
    else if (event.key === "Tab") return close(false);
    else if (event.key.length === 1 && /\S/.test(event.key)) {
      const all = items();
      const order = [...all.slice(at + 1), ...all.slice(0, at + 1)];
      order.find((item) => item.textContent?.trim().toLowerCase().startsWith(event.key.toLowerCase()))?.focus();
      return;
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div class="k-menu" ref={box} onKeyDown={onKeyDown}>
      <IconButton
        ref={button}
        label={props.label}
        aria-haspopup="menu"
        aria-expanded={open()}
        aria-controls={open() ? id : undefined}
        onClick={() => (open() ? close(true) : show(true))}
      >
        {props.icon ?? <MoreIcon />}
      </IconButton>
      <Show when={open()}>
        <div
          class="k-menu-list"
          classList={{ "k-menu-up": up() }}
          role="menu"
          id={id}
          aria-label={props.label}
          onClick={(event) => {
            const item = event.target instanceof Element ? event.target.closest('[role="menuitem"]') : null;
            // The focus goes back first, so that a dialog opened by the item knows where to return it.
            if (item) queueMicrotask(() => setOpen(false));
          }}
        >
          {props.children}
        </div>
      </Show>
    </div>
  );
}

export function MenuItem(props: { icon?: JSX.Element; danger?: boolean; onSelect: () => void; children: JSX.Element }): JSX.Element {
  return (
    <button
      type="button"
      role="menuitem"
      tabindex="-1"
      class="k-menu-item"
      classList={{ "k-menu-item-danger": props.danger ?? false }}
      onClick={(event) => {
        const button = event.currentTarget.closest(".k-menu")?.querySelector<HTMLElement>("[aria-haspopup]");
        button?.focus();
        props.onSelect();
      }}
    >
      {props.icon}
      <span>{props.children}</span>
    </button>
  );
}

export function MenuLink(props: { icon?: JSX.Element; href: string; children: JSX.Element }): JSX.Element {
  return (
    <a role="menuitem" tabindex="-1" class="k-menu-item" href={props.href}>
      {props.icon}
      <span>{props.children}</span>
    </a>
  );
}

/** Something to read at the end of a menu. */
export function MenuNote(props: { children: JSX.Element }): JSX.Element {
  return (
    <div class="k-menu-note" role="presentation">
      {props.children}
    </div>
  );
}
