// What an app's page may say to the shell (Sandstorm's window messages). Hostile input: everything is checked, and
// what is not understood is ignored.

import { readInside } from "../routes.ts";

export type FromApp = { kind: "path"; path: string } | { kind: "title"; title: string };

/** Longest title an app can give the page, in characters. */
const TITLE_LIMIT = 200;

/** Reads one message. As its forerunner, the shell acts on one key per message, in this order. */
export function readMessage(data: unknown): FromApp | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const { setPath, setTitle } = data as Record<string, unknown>;
  if (setPath !== undefined) {
    const path = setPath === "" ? "/" : readInside(setPath);
    return path === undefined ? undefined : { kind: "path", path };
  }
  if (typeof setTitle === "string") return { kind: "title", title: setTitle.slice(0, TITLE_LIMIT) };
  return undefined;
}

/** The origin of a session host, if the address names one of this shell's; the server is not asked to be trusted with
 * where a secret goes. */
export function sessionOrigin(host: string, shell: { protocol: string; hostname: string; port: string }): string | undefined {
  let url: URL;
  try {
    url = new URL(host);
  } catch {
    return undefined;
  }
  const label = url.hostname.endsWith(`.${shell.hostname}`) ? url.hostname.slice(0, -shell.hostname.length - 1) : "";
  const fits =
    /^[a-z0-9-]{1,63}$/.test(label) &&
    url.protocol === shell.protocol &&
    url.port === shell.port &&
    url.username === "" &&
    url.password === "" &&
    url.pathname === "/" &&
    url.search === "" &&
    url.hash === "";
  return fits ? url.origin : undefined;
}
