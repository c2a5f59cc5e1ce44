// Reads the address of a website as a person types it. Pure.

/** Longest address the server takes, in bytes. */
const LENGTH_LIMIT = 1024;

/** Why an address cannot be used. */
export type AddressProblem = "empty" | "malformed" | "scheme" | "query" | "fragment" | "long";

export type Reading =
  | { is: "bad"; why: AddressProblem }
  /** User name and password stand in it, where everybody would see them; `rest` is the address without them. */
  | { is: "signed"; user: string; password: string; rest: string }
  /** In normal form, as it is sent: what the person sees is what the app gets. */
  | { is: "good"; url: string; host: string; encrypted: boolean };

/** What looks like a user or a host with a port, and is a scheme. */
const OTHER_SCHEME = /^(?:about|blob|data|file|javascript|mailto|tel):/i;

export function readAddress(typed: string): Reading {
  const text = typed.trim();
  if (text === "") return bad("empty");
  if (OTHER_SCHEME.test(text)) return bad("scheme");
  const whole = /^(?:https?:|[a-z][a-z0-9+.-]*:\/\/)/i.test(text) ? text : `https://${text}`;
  let url: URL;
  try {
    url = new URL(whole);
  } catch {
    return bad("malformed");
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return bad("scheme");
  if (url.username !== "" || url.password !== "") {
    const { username, password } = url;
    url.username = "";
    url.password = "";
    return { is: "signed", user: decoded(username), password: decoded(password), rest: url.href };
  }
  // The text and not its parts: an empty query is one, too.
  if (url.href.includes("#")) return bad("fragment");
  if (url.href.includes("?")) return bad("query");
  if (url.href.length > LENGTH_LIMIT) return bad("long");
  return { is: "good", url: url.href, host: url.host, encrypted: url.protocol === "https:" };
}

function bad(why: AddressProblem): Reading {
  return { is: "bad", why };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
