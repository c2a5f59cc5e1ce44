// How good a new password is. A hint for the person; the server decides what it takes (its rules are repeated here so
// that nobody has to find them out one by one).

export type Strength = "none" | "short" | "obvious" | "weak" | "good" | "strong";

/** Shortest password the server takes, in characters. */
export const PASSWORD_MINIMUM = 10;

const COMMON = ["password", "passwort", "qwert", "letmein", "iloveyou", "welcome", "willkommen", "geheim", "admin", "123456", "abcdef", "asdf", "hallo"];

export function strengthOf(password: string, own: string[]): Strength {
  const length = [...password].length;
  if (length === 0) return "none";
  if (length < PASSWORD_MINIMUM) return "short";
  const lower = password.toLowerCase();
  let rest = lower;
  for (const word of [...own.flatMap((text) => text.toLowerCase().split(/\s+/)), ...COMMON]) {
    if (word.length >= 3) rest = rest.replaceAll(word, "");
  }
  const distinct = new Set(rest).size;
  if (rest.length < 4 || distinct <= 2 || steps(lower) > length * 0.6) return "obvious";
  const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\p{N}/u, /[^\p{L}\p{N}]/u].filter((kind) => kind.test(password)).length;
  // Length counts most; what is repeated, in sequence or well known counts little.
  const worth = Math.min(rest.length, distinct * 1.5) - steps(rest) * 0.8 + kinds * 1.2;
  return worth < 9.5 ? "weak" : worth < 15 ? "good" : "strong";
}

/** How often a character follows its neighbour: "abc", "321". */
function steps(text: string): number {
  let count = 0;
  for (let at = 1; at < text.length; at += 1) {
    if (Math.abs(text.charCodeAt(at) - text.charCodeAt(at - 1)) === 1) count += 1;
  }
  return count;
}

/** A handle made from a name, as the server takes it: `^[a-z_][a-z0-9_]*$`, at most 32. */
export function handleFrom(name: string): string {
  const plain = name
    .trim()
    .toLowerCase()
    .replaceAll("ß", "ss")
    .replace(/[äöü]/g, (letter) => `${({ ä: "a", ö: "o", ü: "u" } as Record<string, string>)[letter]}e`)
    .normalize("NFD")
    .replace(/\p{M}/gu, "")
    .split(/\s+/)[0] ?? "";
  return plain.replace(/[^a-z0-9_]/g, "").replace(/^[0-9]+/, "").slice(0, 32);
}

export function isHandle(text: string): boolean {
  return /^[a-z_][a-z0-9_]{0,31}$/.test(text);
}
