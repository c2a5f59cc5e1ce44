// Starts `percloud serve` on a free port with a folder of its own, kills all of it, starts it again.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as pause } from "node:timers/promises";

/** How long anything may take before it counts as never happening, in milliseconds. */
export const DEADLINE = 60_000;

const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const target = process.env.PERCLOUD_TARGET || join(repository, "target");

/** A file below cargo's target folder. */
export function built(...parts) {
  const path = join(target, ...parts);
  if (!existsSync(path)) throw new Error(`${path} is missing; \`cargo xtask test browser\` builds it`);
  return path;
}

/** Where screenshots and traces go. */
export const output = join(target, "browser");

export class Server {
  #folder = mkdtempSync(join(tmpdir(), "percloud-browser-"));
  #child;
  #more;

  /** Further arguments to `percloud serve`. */
  constructor(...more) {
    this.#more = more;
  }

  /** Starts it; resolves when it is ready. */
  async start() {
    const log = join(this.#folder, "log");
    const arguments_ = ["serve", "--data", join(this.#folder, "data"), "--runtime", join(this.#folder, "run"), "--listen", "127.0.0.1:0", ...this.#more];
    const child = spawn(built("release", "percloud"), arguments_, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child = child;
    child.stderr.on("data", (bytes) => appendFileSync(log, bytes));
    const failed = new Promise((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`the server ended with ${code}:\n${existsSync(log) ? readFileSync(log, "utf8") : ""}`)));
    });
    failed.catch(() => {});
    const lines = createInterface({ input: child.stdout });
    const ready = new Promise((resolve) => {
      lines.on("line", (line) => {
        const url = /^Percloud is ready at (\S+)/.exec(line)?.[1];
        if (url) {
          this.url = url.replace(/\/$/, "");
          // The link that follows is there only until somebody has set the server up.
          if (this.setupUrl) resolve();
        }
        const setup = /^Set it up at (\S+)/.exec(line)?.[1];
        if (setup) this.setupUrl = setup;
        if (this.url && this.setupUrl) resolve();
      });
    });
    await Promise.race([ready, failed, pause(DEADLINE, undefined, { ref: false }).then(() => { throw new Error("the server did not get ready"); })]);
  }

  /** Ends every process of it with SIGKILL and waits until none is left. */
  kill() {
    return this.#end("SIGKILL", () => true);
  }

  /** Asks it to stop, which removes its control groups too, and waits until nothing is left. */
  stop() {
    return this.#end("SIGTERM", ({ pid }) => pid === this.#child.pid);
  }

  async #end(signal, chosen) {
    if (!this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const all = tree(this.#child.pid);
    this.url = undefined;
    for (const { pid } of all.filter(chosen)) {
      try { process.kill(pid, signal); } catch { /* it ended by itself */ }
    }
    const end = Date.now() + DEADLINE;
    while (all.some(runs)) {
      if (Date.now() > end) throw new Error(`left behind: ${all.filter(runs).map(({ pid }) => pid)}`);
      await pause(10);
    }
  }

  /** Ends it and removes its folder. */
  async remove() {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** What it logged. */
  log() {
    const log = join(this.#folder, "log");
    return existsSync(log) ? readFileSync(log, "utf8") : "";
  }

  get folder() {
    return this.#folder;
  }
}

/** A process and everything below it, each with its start time, so that a reused number is no mistake. */
function tree(pid) {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((name) => stat(Number(name))).filter(Boolean);
  const found = all.filter((process) => process.pid === pid);
  for (let index = 0; index < found.length; index += 1) found.push(...all.filter(({ parent }) => parent === found[index].pid));
  return found;
}

function runs({ pid, started }) {
  const now = stat(pid);
  return now !== undefined && now.started === started && now.state !== "Z";
}

/** `proc_pid_stat(5)`: the name in parentheses may hold anything, so fields are counted from its end. */
function stat(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { pid, state: fields[0], parent: Number(fields[1]), started: fields[19] };
  } catch {
    return undefined;
  }
}
