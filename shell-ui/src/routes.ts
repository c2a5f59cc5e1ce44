// Addresses of the shell: the address says what is on the screen, and nothing else does.

export type Route =
  | { page: "home" }
  | { page: "setup" }
  | { page: "sign-in" }
  | { page: "choose" }
  | { page: "install"; packageId: string }
  | { page: "app"; appId: string }
  | { page: "grain"; id: string }
  | { page: "log"; id: string }
  | { page: "access"; id: string }
  | { page: "devices"; id: string }
  | { page: "settings"; id: string }
  | { page: "history"; id: string }
  | { page: "trash" }
  | { page: "people" }
  | { page: "notifications" }
  | { page: "restore" }
  | { page: "server-history" }
  | { page: "shared" }
  | { page: "join" }
  | { page: "unknown" };

/** Reads a path. Ids are opaque; here they only must look like ids. */
export function parseRoute(path: string): Route {
  const parts = path.split("/").filter((part) => part !== "");
  const [first, second, third] = parts;
  const known = (length: number) => parts.length === length;
  if (known(0)) return { page: "home" };
  if (known(1) && isPlain(first)) return { page: first };
  if (known(1) && first === "install") return { page: "choose" };
  if (known(1) && first === "history") return { page: "server-history" };
  if (second !== undefined && /^[\w-]{1,128}$/.test(second)) {
    if (known(2) && first === "install") return { page: "install", packageId: second };
    if (known(2) && first === "apps") return { page: "app", appId: second };
    if (known(2) && first === "grain") return { page: "grain", id: second };
    if (known(3) && first === "grain" && isAbout(third)) return { page: third, id: second } as Route;
  }
  return { page: "unknown" };
}

const PLAIN = ["setup", "sign-in", "trash", "people", "notifications", "restore", "shared", "join"] as const;
const ABOUT = ["log", "access", "devices", "settings", "history"] as const;
const isPlain = (part: string | undefined): part is (typeof PLAIN)[number] => (PLAIN as readonly unknown[]).includes(part);
const isAbout = (part: string | undefined): part is (typeof ABOUT)[number] => (ABOUT as readonly unknown[]).includes(part);

export const paths = {
  home: "/",
  setup: "/setup",
  signIn: "/sign-in",
  choose: "/install",
  trash: "/trash",
  people: "/people",
  notifications: "/notifications",
  restore: "/restore",
  serverHistory: "/history",
  join: "/join",
  install: (packageId: string) => `/install/${packageId}`,
  app: (appId: string) => `/apps/${appId}`,
  /** `inside` is where in the app one is; it stays behind the `#`, so that it never reaches a server's log. */
  grain: (id: string, inside = "/") => `/grain/${id}${inside === "/" ? "" : `#${inside}`}`,
  log: (id: string) => `/grain/${id}/log`,
  access: (id: string) => `/grain/${id}/access`,
  devices: (id: string) => `/grain/${id}/devices`,
  settings: (id: string) => `/grain/${id}/settings`,
  history: (id: string) => `/grain/${id}/history`,
  /** A sharing link as it stands in the address bar. */
  shared: (token: string, inside = "/") => `/shared#${token}${inside === "/" ? "" : inside}`,
};

/** What a sharing link's fragment holds: the token, and where in the app it leads. `undefined` when it is not one. */
export function readShared(fragment: string): { token: string; inside: string } | undefined {
  const [, token, rest] = /^#([\w-]{43})(\/.*)?$/s.exec(fragment) ?? [];
  return token === undefined ? undefined : { token, inside: readInside(rest ?? "/") ?? "/" };
}

/** Longest path inside an app that is kept in the address. */
export const INSIDE_LIMIT = 2048;

/** The path inside an app from the fragment of an address; `/` for everything that is not one. */
export function insideFrom(fragment: string): string {
  return readInside(fragment.startsWith("#") ? fragment.slice(1) : fragment) ?? "/";
}

/** A place in an app as an address would hold it, or `undefined` if an app may not call this the place where it is. */
export function readInside(path: unknown): string | undefined {
  if (typeof path !== "string" || path.length > INSIDE_LIMIT || !path.startsWith("/")) return undefined;
  let url: URL;
  try {
    url = new URL(path, "http://inside");
  } catch {
    return undefined;
  }
  const inside = url.pathname + url.search + url.hash;
  // What begins with two slashes would be another host; it can come about by taking out `..`, too.
  const stays = url.origin === "http://inside" && url.username === "" && !inside.startsWith("//");
  return stays && inside.length <= INSIDE_LIMIT ? inside : undefined;
}

/** Where to go after signing in: a page of the shell, never another site. */
export function isOwnPath(path: unknown): path is string {
  return typeof path === "string" && path.length <= 4096 && /^\/(?![/\\])/.test(path);
}
