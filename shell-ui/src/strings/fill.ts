// Puts values into sentences. Pure, so that every language can be tested without a page.

import { type Strings, en } from "./en.ts";
import type { Plural } from "./en.ts";

export type { Plural, Strings };
export { en };

/** Puts values where `{name}` is. */
export function fill(sentence: string, values: Record<string, string | number>): string {
  return sentence.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

/** A sentence cut at its `{name}`s: texts and names in turn. */
export function pieces(sentence: string): { text: string; slot: boolean }[] {
  return sentence
    .split(/\{(\w+)\}/)
    .map((text, at) => ({ text, slot: at % 2 === 1 }))
    .filter((piece) => piece.slot || piece.text !== "");
}

/** The form of a sentence for a number, with the number in it. */
export function plural(forms: Plural, count: number, language: string): string {
  const form = new Intl.PluralRules(language).select(count) === "one" ? forms.one : forms.other;
  return fill(form, { count: new Intl.NumberFormat(language).format(count) });
}

/** The language to speak to someone who prefers `wanted`, best first. */
export function chooseLanguage(wanted: readonly string[], spoken: readonly string[]): string {
  for (const tag of wanted) {
    const base = tag.toLowerCase().split("-")[0] ?? "";
    if (spoken.includes(base)) return base;
  }
  return spoken[0] ?? "en";
}
