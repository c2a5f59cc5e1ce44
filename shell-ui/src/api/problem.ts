// Why a call did not happen, whoever is to blame: the server's code, or one of ours for what never reached it.

/** `offline`: no answer came. `cancelled`: the person stopped it. `garbled`: the answer was not ours. */
export type OwnCode = "offline" | "cancelled" | "garbled";

export class Problem extends Error {
  /** Stable code of docs/shell-api.md, or one of ours. */
  readonly code: string;
  /** Why a package is refused, as a stable word. */
  readonly reason: string | undefined;
  /** Seconds to wait before trying again. */
  readonly retryAfter: number | undefined;

  constructor(code: string, message = "", more: { reason?: string | undefined; retryAfter?: number | undefined } = {}) {
    super(message);
    this.name = "Problem";
    this.code = code;
    this.reason = more.reason;
    this.retryAfter = more.retryAfter;
  }

  /** Whether trying the same again may help. */
  get passing(): boolean {
    return this.code === "offline" || this.code === "unavailable";
  }
}

/** Reads an error answer. Never throws: an answer that is not ours is a problem too. */
export function problemFrom(status: number, body: string): Problem {
  try {
    const { error } = JSON.parse(body) as { error?: Record<string, unknown> };
    if (error && typeof error["code"] === "string") {
      const retryAfter = error["retryAfter"];
      return new Problem(error["code"], typeof error["message"] === "string" ? error["message"].slice(0, 1000) : "", {
        reason: typeof error["reason"] === "string" ? error["reason"] : undefined,
        retryAfter: typeof retryAfter === "number" && retryAfter > 0 ? Math.min(Math.ceil(retryAfter), 86_400) : undefined,
      });
    }
  } catch {
    // Falls through: a proxy's page, or nothing.
  }
  return new Problem(status >= 500 ? "unavailable" : "garbled");
}

/** Whatever was thrown, as a problem. */
export function asProblem(thrown: unknown): Problem {
  return thrown instanceof Problem ? thrown : new Problem("offline", String(thrown));
}
