// Where the person is, and going elsewhere without loading the page again.

import { createSignal } from "solid-js";

import { type Route, parseRoute } from "./routes.ts";

const [path, setPath] = createSignal(location.pathname);
const [visit, setVisit] = createSignal(0);

/** The page on the screen. */
export const route = (): Route => parseRoute(path());
/** Goes up with every navigation, also to the same page. */
export { visit };

/** Goes to a page. `replace` leaves no step back to the present one. */
export function go(to: string, { replace = false, from }: { replace?: boolean; from?: string } = {}): void {
  history[replace ? "replaceState" : "pushState"](from === undefined ? null : { from }, "", to);
  arrived();
}

/** The page that sent the person here, if it said so. */
export function sentFrom(): unknown {
  return (history.state as { from?: unknown } | null)?.from;
}

/** Changes what is behind the `#` without this being a step back or a navigation. */
export function settle(to: string): void {
  history.replaceState(history.state, "", to);
}

/** Puts the focus where the page begins, so that it is read out, unless the page has put it somewhere better. */
export function focusPage(): void {
  queueMicrotask(() => {
    const main = document.querySelector("main");
    const has = document.activeElement;
    if (has?.matches("input, textarea") && main?.contains(has)) return;
    const field = main?.querySelector<HTMLElement>("[autofocus]");
    (field ?? document.querySelector<HTMLElement>("h1[tabindex]") ?? main)?.focus({ preventScroll: true });
  });
}

function arrived() {
  setPath(location.pathname);
  setVisit((count) => count + 1);
}

addEventListener("popstate", arrived);

// Links stay links (open in a new tab, copy, middle click); a plain click does not load the page again.
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest("a") : null;
  if (!link || link.target || link.origin !== location.origin || link.hasAttribute("download")) return;
  event.preventDefault();
  go(link.pathname + link.search + link.hash);
});
