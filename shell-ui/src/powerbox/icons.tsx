// Pictures of what lies outside; as the kit's own, but they arrive with the picker.

import type { JSX } from "solid-js";

const icon = (path: string) => (): JSX.Element => (
  <svg width="20" height="20" viewBox="0 0 20 20" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
    <path d={path} />
  </svg>
);

export const GlobeIcon = icon("M10 17.5a7.5 7.5 0 1 0 0-15 7.5 7.5 0 0 0 0 15zM2.5 10h15M10 2.5c2.2 2.1 3.2 4.6 3.2 7.5s-1 5.4-3.2 7.5c-2.2-2.1-3.2-4.6-3.2-7.5s1-5.4 3.2-7.5z");
export const NetworkIcon = icon("M7.8 3h4.4v4H7.8zM2.5 13h4.4v4H2.5zM13.1 13h4.4v4h-4.4zM10 7v3M4.7 13v-3h10.6v3");
export const PortIcon = icon("M3 4.5h14v7.5H3zM6 12v4M10 12v4M14 12v4M6.2 8.2v.1M9 8.2v.1");
