// Words for a limit that a thing met: on its settings page, its closed page and among the notifications.

import type { LimitMet } from "../api/types.ts";
import { m } from "../strings/more.ts";

/** A limit this shell does not know of yet still has a sentence of the server's. */
export function limitWords(limit: LimitMet, otherwise = ""): string {
  return m.limits.met[limit] ?? otherwise;
}
