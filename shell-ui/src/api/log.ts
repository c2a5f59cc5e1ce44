// Follows the log of a running thing, line by line and bounded, whatever an app writes.

import { Problem, asProblem, problemFrom } from "./problem.ts";

/** Longest line shown, in characters; apps write what they like. */
export const LINE_LIMIT = 2000;

/** Cuts text that arrives in pieces into lines without colour codes and other control characters. */
export class LineCutter {
  #rest = "";

  /** Takes the next piece; returns the lines completed by it. */
  push(piece: string): string[] {
    const lines = (this.#rest + piece).split("\n");
    this.#rest = lines.pop() ?? "";
    // A line without an end is cut, so that nothing grows without bound.
    while (this.#rest.length > LINE_LIMIT) {
      lines.push(this.#rest.slice(0, LINE_LIMIT));
      this.#rest = this.#rest.slice(LINE_LIMIT);
    }
    return lines.map(cleanLine);
  }
}

/** A line as it is shown: no escape sequences, no control characters, no direction tricks, bounded. */
export function cleanLine(line: string): string {
  return line
    .slice(0, 4 * LINE_LIMIT)
    .replace(/\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[@-Z\\-_])/g, "")
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "")
    .slice(0, LINE_LIMIT);
}

/** Follows a log until `signal` says stop. Ends by returning when the server ends it, by throwing a problem otherwise. */
export async function followLog(grainId: string, signal: AbortSignal, lines: (lines: string[]) => void): Promise<void> {
  try {
    const response = await fetch(`/api/grains/${encodeURIComponent(grainId)}/log?backlog=262144`, { signal, cache: "no-store" });
    if (!response.ok) throw problemFrom(response.status, await response.text());
    if (!response.body) throw new Problem("garbled");
    const cutter = new LineCutter();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const complete = cutter.push(decoder.decode(value, { stream: true }));
      if (complete.length > 0) lines(complete);
    }
  } catch (thrown) {
    throw signal.aborted ? new Problem("cancelled") : asProblem(thrown);
  }
}
