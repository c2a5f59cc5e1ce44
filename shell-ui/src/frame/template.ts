// An app shows how to connect a program: the server makes the password, a page of the shell's own shows it inside the
// app's page. The app never sees the password; it learns only the address of that page.

import { connecting } from "../api/connecting.ts";
import type { Template } from "./messages.ts";

/** The same text asked for again this soon is the same password, in milliseconds (it dies after 5 minutes unused). */
const REUSE = 150_000;
/** Texts kept for pages that may still show them. */
const MOST = 32;

/** What `offer-template.ts` finds in this tab's storage, by the random name behind its `#`. */
export interface Shown {
  text: string;
  link?: string;
  button?: "left" | "right";
  color?: string;
  /** Where and with what the page keeps the password alive. */
  address: string;
  token: string;
}

const recent = new Map<string, { uri: string; until: number }>();

/** Makes the text; the address of the page that shows it. */
export async function renderTemplate(grainId: string, template: Template): Promise<string> {
  const key = JSON.stringify([grainId, template]);
  const known = recent.get(key);
  if (known && known.until > Date.now() && sessionStorage.getItem(storageKey(nameIn(known.uri))) !== null) return known.uri;

  const { button, color, ...body } = template;
  const rendered = await connecting.template(grainId, body);
  const shown: Shown = {
    text: rendered.text,
    ...(rendered.link !== undefined && { link: rendered.link }),
    ...(button && { button }),
    ...(color && { color }),
    address: `${location.protocol}//${rendered.host}/`,
    token: rendered.token,
  };
  // 128 random bits: another app that embeds the page cannot name this text.
  const name = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  forgetOldest();
  sessionStorage.setItem(storageKey(name), JSON.stringify(shown));
  const uri = `${location.origin}/offer-template.html#${name}`;
  recent.set(key, { uri, until: Date.now() + REUSE });
  return uri;
}

const storageKey = (name: string) => `template ${name}`;
const nameIn = (uri: string) => uri.slice(uri.indexOf("#") + 1);

function forgetOldest() {
  for (const [key, { uri }] of [...recent].slice(0, Math.max(0, recent.size - MOST + 1))) {
    sessionStorage.removeItem(storageKey(nameIn(uri)));
    recent.delete(key);
  }
}
