// The calls of docs/shell-api.md that every visit needs, one function each; the others are beside, and load later.

import { Problem, problemFrom } from "./problem.ts";
import type { App, Grain, GrainPage, Home, Me, Opened, Package, Settings } from "./types.ts";

/** Sent with whatever changes something: only the shell's own scripts can (docs/shell-api.md, Rules). */
export const MARK = { "X-Percloud": "1" };

/** Makes one call. Throws a `Problem` for everything but the answer. */
export async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, headers: { Accept: "application/json" }, cache: "no-store" };
  if (method !== "GET") init.headers = { ...init.headers, ...MARK };
  if (body !== undefined) {
    init.headers = { ...init.headers, "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(`/api${path}`, init);
    text = await response.text();
  } catch (error) {
    throw new Problem("offline", String(error));
  }
  if (!response.ok) throw problemFrom(response.status, text);
  if (response.status === 204 || text === "") return undefined as T;
  try {
    return JSON.parse(text) as T;
  } catch {
    throw new Problem("garbled");
  }
}

const id = encodeURIComponent;

export const api = {
  settings: () => call<Settings>("GET", "/settings"),
  setUp: (body: { secret: string; name: string; handle: string; password: string }) => call<Me>("POST", "/setup", body),
  signIn: (body: { handle: string; password: string }) => call<Me>("POST", "/session", body),
  signOut: () => call<void>("DELETE", "/session"),
  me: () => call<Me>("GET", "/me"),
  home: () => call<Home>("GET", "/home"),
  grains: (asked: { search?: string; after?: string; trashed?: boolean }) =>
    call<GrainPage>("GET", `/grains?${Object.entries(asked).map(([name, value]) => `${name}=${id(String(value))}`).join("&")}`),
  package: (packageId: string) => call<Package>("GET", `/packages/${id(packageId)}`),
  install: (packageId: string) => call<App>("POST", `/packages/${id(packageId)}/install`),
  removePackage: (packageId: string) => call<void>("DELETE", `/packages/${id(packageId)}`),
  create: (body: { packageId: string; action: number; title?: string }) => call<Grain>("POST", "/grains", body),
  grain: (grainId: string) => call<Grain>("GET", `/grains/${id(grainId)}`),
  change: (grainId: string, body: { title?: string; relaxedPolicy?: boolean }) =>
    call<Grain>("PATCH", `/grains/${id(grainId)}`, body),
  open: (grainId: string, path: string) => call<Opened>("POST", `/grains/${id(grainId)}/open`, { path }),
  prepare: (grainId: string) => call<void>("POST", `/grains/${id(grainId)}/prepare`),
  trash: (grainId: string) => call<Grain>("POST", `/grains/${id(grainId)}/trash`),
  restore: (grainId: string) => call<Grain>("POST", `/grains/${id(grainId)}/restore`),
  restart: (grainId: string) => call<Grain>("POST", `/grains/${id(grainId)}/restart`),
  remove: (grainId: string) => call<void>("DELETE", `/grains/${id(grainId)}`),
  leave: (grainId: string) => call<void>("POST", `/grains/${id(grainId)}/leave`),
};
