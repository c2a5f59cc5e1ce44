// The title of the browser's tab: the page first, so that tabs can be told apart.

import { createEffect } from "solid-js";

import { plain } from "./format.ts";
import { s } from "./strings/index.tsx";

export function usePageTitle(title: () => string | undefined): void {
  createEffect(() => {
    const text = plain(title(), 100);
    document.title = text ? `${text} · ${s.product}` : s.product;
  });
}
