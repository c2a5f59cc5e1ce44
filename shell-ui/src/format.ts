// How sizes, times and foreign words are shown.

/** Bytes in the person's language: "340 kB", "1.2 MB". Units of 1000, as file managers and phones count. */
export function formatSize(bytes: number, language: string): string {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;
  let unit = 0;
  let amount = Math.max(0, bytes);
  while (unit < units.length - 1 && amount >= 999.5) {
    amount /= 1000;
    unit += 1;
  }
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit: units[unit] ?? "byte",
    unitDisplay: unit === 0 ? "long" : "short",
    maximumFractionDigits: unit > 0 && amount < 9.95 ? 1 : 0,
  }).format(amount);
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** When something was, as one would say it: "5 minutes ago", "yesterday", "3 March". `undefined` for just now. */
export function formatWhen(time: number, now: number, language: string): string | undefined {
  const past = Math.max(0, now - time);
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  if (past < MINUTE) return undefined;
  if (past < HOUR) return relative.format(-Math.floor(past / MINUTE), "minute");
  const days = daysBetween(time, now);
  if (days === 0) return relative.format(-Math.floor(past / HOUR), "hour");
  if (days < 7) return relative.format(-days, "day");
  const sameYear = new Date(time).getFullYear() === new Date(now).getFullYear();
  return new Intl.DateTimeFormat(language, {
    day: "numeric",
    month: "long",
    ...(sameYear ? {} : { year: "numeric" }),
  }).format(time);
}

/** Since when something is, as one would say it after "since": "yesterday", "Friday", "3 March". */
export function formatSince(time: number, now: number, language: string): string {
  const days = daysBetween(time, now);
  if (days <= 1) return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(-Math.max(0, days), "day");
  if (days < 7) return new Intl.DateTimeFormat(language, { weekday: "long" }).format(time);
  const sameYear = new Date(time).getFullYear() === new Date(now).getFullYear();
  return new Intl.DateTimeFormat(language, { day: "numeric", month: "long", ...(sameYear ? {} : { year: "numeric" }) }).format(time);
}

/** Until when something holds, as one would say it after "until": "tomorrow", "Friday", "3 March". */
export function formatUntil(time: number, now: number, language: string): string {
  const days = daysBetween(now, time);
  if (days === 0) return new Intl.DateTimeFormat(language, { timeStyle: "short" }).format(time);
  if (days === 1) return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(1, "day");
  if (days > 1 && days < 7) return new Intl.DateTimeFormat(language, { weekday: "long" }).format(time);
  const sameYear = new Date(time).getFullYear() === new Date(now).getFullYear();
  return new Intl.DateTimeFormat(language, { day: "numeric", month: "long", ...(sameYear ? {} : { year: "numeric" }) }).format(time);
}

/** When something will be, as one would say it: "in 20 minutes", "tomorrow", "3 March". */
export function formatSoon(time: number, now: number, language: string): string {
  const ahead = time - now;
  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  if (ahead < HOUR) return relative.format(Math.max(0, Math.round(ahead / MINUTE)), "minute");
  return daysBetween(now, time) === 0 ? relative.format(Math.round(ahead / HOUR), "hour") : formatUntil(time, now, language);
}

/** The end of a day that a date field names ("2026-03-01"), on the person's own calendar; `undefined` when it names none. */
export function endOfDay(date: string): number | undefined {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(date) ?? [];
  if (year === undefined) return undefined;
  const end = new Date(Number(year), Number(month) - 1, Number(day), 23, 59, 59);
  return Number.isNaN(end.getTime()) ? undefined : end.getTime();
}

/** The day of a time as a date field holds it. */
export function dayOf(time: number): string {
  const date = new Date(time);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** The exact time, for those who ask for it. */
export function formatExact(time: number, language: string): string {
  return new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "short" }).format(time);
}

export type Period = "today" | "week" | "earlier";

/** The heading under which something last used at `time` is listed. */
export function periodOf(time: number, now: number): Period {
  const days = daysBetween(time, now);
  return days <= 0 ? "today" : days < 7 ? "week" : "earlier";
}

/** How many midnights lie between two times, on the person's own calendar. */
function daysBetween(time: number, now: number): number {
  const midnight = (at: number) => {
    const date = new Date(at);
    // At noon, so that a change of clocks does not make a day vanish.
    return new Date(date.getFullYear(), date.getMonth(), date.getDate(), 12).getTime();
  };
  return Math.round((midnight(now) - midnight(time)) / DAY);
}

/** Words that a package or a person chose, as they may be shown: one line, bounded, without characters that turn text
 * around or hide. The element that shows them isolates their direction. */
export function plain(text: string | null | undefined, limit = 120): string {
  const clean = (text ?? "")
    .slice(0, 4 * limit)
    .replace(/[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]/g, "")
    .replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ")
    .trim();
  const characters = [...clean];
  return characters.length > limit ? `${characters.slice(0, limit - 1).join("").trimEnd()}…` : clean;
}

/** Longer foreign text with its line breaks, such as a licence. */
export function plainText(text: string | null | undefined, limit = 100_000): string {
  const clean = (text ?? "")
    .slice(0, limit)
    .replace(/\r\n?/g, "\n")
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "");
  return (text ?? "").length > limit ? `${clean}…` : clean;
}

/** An address that a package gives, if it is one of the web; `undefined` for everything else. */
export function webAddress(text: string | null | undefined): URL | undefined {
  if (!text || text.length > 1000) return undefined;
  try {
    const url = new URL(text);
    return (url.protocol === "https:" || url.protocol === "http:") && url.username === "" && url.password === "" ? url : undefined;
  } catch {
    return undefined;
  }
}

/** An icon's address, if it is where icons are. */
export function iconAddress(icon: string | null): string | undefined {
  return icon !== null && /^\/api\/packages\/[\w-]{1,128}\/icons\/\w{1,32}$/.test(icon) ? icon : undefined;
}
