// Choices that are no things of a person but ways out of this server: what they are called, and what is typed for them.

import { createStore } from "solid-js/store";

import type { Choice, Credential } from "../api/types.ts";
import { plain } from "../format.ts";
import { m } from "../strings/more.ts";

/** Whether more has to be said before this is given. */
export function isOutside(choice: Choice): boolean {
  return choice.kind === "website" || choice.kind === "network" || choice.kind === "interface";
}

/** Whether the person types the address of this website. */
export function isTyped(choice: Choice): boolean {
  return choice.kind === "website" && !choice.url;
}

/** What a choice is called in the list, and in a few more words. `others` are those it stands beside. */
export function wordsOf(choice: Choice, others: Choice[]): { title: string; text: string } {
  switch (choice.kind) {
    case "website":
      if (!isTyped(choice)) break;
      return { title: others.some((one) => one.kind === "website" && one.id !== choice.id) ? m.outside.website.another : m.outside.website.name, text: m.outside.website.text };
    case "network":
      return isEncrypted(choice)
        ? { title: m.outside.network.nameTls, text: m.outside.network.textTls }
        : { title: m.outside.network.name, text: m.outside.network.text };
    case "interface":
      return { title: m.outside.ports.name, text: m.outside.ports.text };
  }
  return { title: plain(choice.title, 80), text: [m.picker.kinds[choice.kind], plain(choice.detail, 120)].filter(Boolean).join(" · ") };
}

/** Of the network: whether every connection is encrypted. */
export function isEncrypted(choice: Choice): boolean {
  return choice.id === "network:tls";
}

export type SignIn = "none" | Credential["kind"];

/** What was typed for a website; it outlives a look back at the list. */
export interface Draft {
  address: string;
  signIn: SignIn | undefined;
  user: string;
  password: string;
  key: string;
}

export function createDraft(signIn: SignIn | undefined) {
  return createStore<Draft>({ address: "", signIn, user: "", password: "", key: "" });
}
