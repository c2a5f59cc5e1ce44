// The person's language: words, numbers, dates, and how they are put together.

import { For, type JSX, Show } from "solid-js";

import { type Problem } from "../api/problem.ts";
import { formatExact, formatSince, formatSize, formatSoon, formatUntil, formatWhen, plain } from "../format.ts";
import { type Plural, type Strings, chooseLanguage, en, fill, pieces, plural } from "./fill.ts";

const SPOKEN = ["en", "de"];

/** Language of the words. */
export const language = chooseLanguage(navigator.languages, SPOKEN);
/** Language of numbers and dates: the region the person lives in, if they have named it. */
const region = navigator.languages.find((tag) => tag.toLowerCase().split("-")[0] === language) ?? language;

/** The words. Loaded before the first page is drawn. */
export let s: Strings = en;

export async function loadStrings(): Promise<void> {
  if (language === "de") s = (await import("./de.ts")).de;
  document.documentElement.lang = language;
}

export const say = fill;
export const count = (forms: Plural, number: number) => plural(forms, number, region);
export const size = (bytes: number) => formatSize(bytes, region);
export const when = (time: number, now = Date.now()) => formatWhen(time, now, region) ?? s.justNow;
export const since = (time: number, now = Date.now()) => formatSince(time, now, region);
export const until = (time: number, now = Date.now()) => formatUntil(time, now, region);
/** When something will be: "in 20 minutes", or as after "until". */
export const soon = (time: number, now = Date.now()) => formatSoon(time, now, region);
/** The day of something, and its time of day. */
export const day = (at: number) => new Intl.DateTimeFormat(region, { dateStyle: "full" }).format(at);
export const time = (at: number) => new Intl.DateTimeFormat(region, { timeStyle: "short" }).format(at);
export const exact = (time: number) => formatExact(time, region);

/** What went wrong, for the person. The server speaks English; its own sentence is shown where ours would say less. */
export function explain(problem: Problem): string {
  const known = problem.reason === undefined ? undefined : s.packageProblems[problem.reason];
  if (known !== undefined) return known;
  const own = (s.problems as Record<string, string>)[problem.code];
  const specific = ["bad-request", "bad-package", "bad-backup", "grain-failed", "weak-password"].includes(problem.code);
  if (specific && problem.message && (language === "en" || own === undefined)) return plain(problem.message, 400);
  return own ?? (plain(problem.message, 400) || s.problems.unknown);
}

/** Words that a person or a package chose: shown as text, bounded, with a direction of their own. */
export function Foreign(props: { text: string | null | undefined; limit?: number }): JSX.Element {
  return <bdi>{plain(props.text, props.limit)}</bdi>;
}

/** A sentence with foreign words in it. */
export function Phrase(props: { of: string; with: Record<string, string> }): JSX.Element {
  return (
    <For each={pieces(props.of)}>
      {(piece) => (
        <Show when={piece.slot} fallback={piece.text}>
          <Foreign text={props.with[piece.text]} />
        </Show>
      )}
    </For>
  );
}
