// How often a page may do something: in bursts, but not for ever.

export class Allowance {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #since: number;

  /** `burst` at once, and `perSecond` in the long run. */
  constructor(burst: number, perSecond: number, now: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
    this.#since = now;
  }

  /** Whether one more is allowed now (milliseconds). */
  take(now: number): boolean {
    const passed = Math.max(0, now - this.#since) / 1000;
    this.#left = Math.min(this.#burst, this.#left + passed * this.#perSecond);
    this.#since = now;
    if (this.#left < 1) return false;
    this.#left -= 1;
    return true;
  }
}
