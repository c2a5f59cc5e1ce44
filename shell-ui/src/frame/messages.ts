// What an app's page may say to the shell (Sandstorm's window messages). Hostile input: everything is checked and
// bounded, and what is not understood is ignored.

import type { Role } from "../api/types.ts";
import { readInside } from "../routes.ts";

/** What an app wants answered or opened, as opposed to what it tells of itself. */
export type Ask =
  | { kind: "share"; suffix: string }
  | { kind: "access" }
  | { kind: "template"; rpcId: unknown; template: Template }
  | { kind: "powerbox"; rpcId: unknown; query: string[]; label: string }
  | { kind: "name"; rpcId: unknown; subscribe: boolean }
  /** Understood, and not as it should be: the app is told why. */
  | { kind: "refused"; rpcId: unknown; error: string };

export type FromApp = { kind: "path"; path: string } | { kind: "title"; title: string } | Ask;

/** A text in which the shell puts a password for a program, for the app to show (`renderTemplate`). */
export interface Template {
  template: string;
  label?: string;
  role?: Role;
  forSharing?: true;
  unauthenticated?: unknown;
  clientApp?: string;
  button?: "left" | "right";
  color?: string;
}

/** Longest title an app can give the page, in characters. */
const TITLE_LIMIT = 200;
/** Longest name for what an app asks for, or for a program, in characters. */
const LABEL_LIMIT = 200;
/** Most descriptors in a request, and how long all of them may be together; the server takes bodies of 64 KiB. */
const QUERY_COUNT = 32;
const QUERY_LIMIT = 48_000;
const TEMPLATE_LIMIT = 16_384;
const UNAUTHENTICATED_LIMIT = 4096;
const RPC_ID_LIMIT = 1024;

type Fields = Record<string, unknown>;

/** Reads one message. As its forerunner, the shell acts on one key per message, in this order. */
export function readMessage(data: unknown): FromApp | undefined {
  if (!isObject(data)) return undefined;
  const { setPath, startSharing, overlaySignin, requestLogout, showConnectionGraph, setTitle, renderTemplate, powerboxRequest, getGrainTitle } = data;
  if (setPath !== undefined) {
    const path = setPath === "" ? "/" : readInside(setPath);
    return path === undefined ? undefined : { kind: "path", path };
  }
  if (startSharing !== undefined) return isObject(startSharing) ? { kind: "share", suffix: readSuffix(startSharing) } : undefined;
  // Pages of apps do not sign anybody in or out here.
  if (overlaySignin !== undefined || requestLogout !== undefined) return undefined;
  if (showConnectionGraph !== undefined) return isObject(showConnectionGraph) ? { kind: "access" } : undefined;
  if (setTitle !== undefined) return typeof setTitle === "string" ? { kind: "title", title: setTitle.slice(0, TITLE_LIMIT) } : undefined;
  if (renderTemplate !== undefined) return isObject(renderTemplate) ? readTemplate(renderTemplate) : undefined;
  if (powerboxRequest !== undefined) return isObject(powerboxRequest) ? readPowerbox(powerboxRequest) : undefined;
  if (getGrainTitle !== undefined) {
    const rpcId = readRpcId(data["rpcId"]);
    return rpcId === TOO_LONG ? undefined : { kind: "name", rpcId, subscribe: data["subscribe"] === true };
  }
  return undefined;
}

const isObject = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value);

/** Where in the app a link shall lead; its start, when that is no place in it. */
function readSuffix({ pathname, hash }: Fields): string {
  const path = typeof pathname === "string" && pathname !== "" ? pathname : "/";
  const fragment = typeof hash === "string" && hash !== "" ? (hash.startsWith("#") ? hash : `#${hash}`) : "";
  return readInside(path + fragment) ?? "/";
}

function readPowerbox(fields: Fields): FromApp | undefined {
  const rpcId = readRpcId(fields["rpcId"]);
  if (rpcId === TOO_LONG) return undefined;
  const { query = [], saveLabel } = fields;
  const texts = Array.isArray(query) && query.length <= QUERY_COUNT && query.every((one) => typeof one === "string") ? (query as string[]) : undefined;
  if (!texts) return { kind: "refused", rpcId, error: `query must be a list of at most ${QUERY_COUNT} strings` };
  if (texts.reduce((sum, one) => sum + one.length, 0) > QUERY_LIMIT) return { kind: "refused", rpcId, error: "query is too long" };
  // Either alphabet, with or without padding.
  if (!texts.every((one) => /^[\w+/-]*={0,2}$/.test(one))) return { kind: "refused", rpcId, error: "query is not base64" };
  const label = isObject(saveLabel) && typeof saveLabel["defaultText"] === "string" ? saveLabel["defaultText"].slice(0, LABEL_LIMIT) : "";
  return { kind: "powerbox", rpcId, query: texts, label };
}

function readTemplate(fields: Fields): FromApp | undefined {
  const rpcId = readRpcId(fields["rpcId"]);
  if (rpcId === TOO_LONG) return undefined;
  const refuse = (error: string): FromApp => ({ kind: "refused", rpcId, error });
  const { template, petname, roleAssignment, forSharing, clipboardButton, style, unauthenticated, clientapp } = fields;
  if (typeof template !== "string" || template.length > TEMPLATE_LIMIT) return refuse(`template must be a string of at most ${TEMPLATE_LIMIT} characters`);
  const made: Template = { template };
  if (typeof petname === "string" && petname !== "") made.label = petname.slice(0, LABEL_LIMIT);
  if (roleAssignment !== undefined && roleAssignment !== null) {
    const role = readRole(roleAssignment);
    if (!role) return refuse("roleAssignment is not one");
    made.role = role;
  }
  if (forSharing === true) made.forSharing = true;
  if (clipboardButton === "left" || clipboardButton === "right") made.button = clipboardButton;
  const color = isObject(style) ? style["color"] : undefined;
  if (typeof color === "string" && /^#[0-9a-f]{6}$/i.test(color)) made.color = color;
  if (unauthenticated !== undefined && unauthenticated !== null) {
    const text = asJson(unauthenticated);
    if (text === undefined || text.length > UNAUTHENTICATED_LIMIT) return refuse(`unauthenticated must be at most ${UNAUTHENTICATED_LIMIT} characters of JSON`);
    made.unauthenticated = JSON.parse(text);
  }
  if (clientapp !== undefined && clientapp !== null) {
    if (typeof clientapp !== "string" || !/^[a-z][a-z0-9+.-]{0,31}$/i.test(clientapp)) return refuse("clientapp must be the name of a scheme");
    made.clientApp = clientapp.toLowerCase();
  }
  return { kind: "template", rpcId, template: made };
}

function readRole(value: unknown): Role | undefined {
  if (!isObject(value)) return undefined;
  const { roleId } = value;
  if ("allAccess" in value) return { all: true };
  if (Number.isInteger(roleId) && (roleId as number) >= 0 && (roleId as number) <= 65_535) return { index: roleId as number };
  return "none" in value ? {} : undefined;
}

const TOO_LONG = Symbol("too long");

/** What an app tells its own requests apart by: anything, but not much of it. */
function readRpcId(value: unknown): unknown {
  if (value === undefined || value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "string") return value.length <= RPC_ID_LIMIT ? value : TOO_LONG;
  const text = asJson(value);
  return text === undefined || text.length > RPC_ID_LIMIT ? TOO_LONG : JSON.parse(text);
}

function asJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
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

/** What events call the session behind a host: the first label of its name. */
export function pageOf(host: string): string {
  return /^https?:\/\/([^./:]+)/.exec(host)?.[1] ?? "";
}
