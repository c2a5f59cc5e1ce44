import assert from "node:assert/strict";
import test from "node:test";

import { dayOf, endOfDay, formatSince, formatSoon, formatUntil, formatSize, formatWhen, iconAddress, periodOf, plain, plainText, webAddress } from "../src/format.ts";

const spaces = (text: string | undefined) => text?.replace(/[\u00a0\u202f]/g, " ");

test("sizes are rounded and carry the unit that fits", () => {
  const cases: [number, string][] = [
    [0, "0 bytes"],
    [1, "1 byte"],
    [999, "999 bytes"],
    [1000, "1 kB"],
    [1234, "1.2 kB"],
    [999_499, "999 kB"],
    [999_500, "1 MB"],
    [12_345_678, "12 MB"],
    [5e15, "5,000 TB"],
    [-4, "0 bytes"],
  ];
  for (const [bytes, text] of cases) assert.equal(spaces(formatSize(bytes, "en")), text, String(bytes));
  assert.equal(spaces(formatSize(1_500_000, "de")), "1,5 MB");
});

test("times are told as one would say them", () => {
  const now = new Date(2026, 10, 24, 9, 30).getTime();
  const at = (...parts: [number, number, number, number, number]) => formatWhen(new Date(...parts).getTime(), now, "en");
  assert.equal(formatWhen(now - 59_000, now, "en"), undefined);
  assert.equal(at(2026, 10, 24, 9, 25), "5 minutes ago");
  assert.equal(at(2026, 10, 24, 7, 0), "2 hours ago");
  assert.equal(at(2026, 10, 23, 23, 0), "yesterday");
  assert.equal(at(2026, 10, 19, 12, 0), "5 days ago");
  assert.equal(at(2026, 2, 3, 12, 0), "March 3");
  assert.equal(at(2024, 2, 3, 12, 0), "March 3, 2024");
  assert.equal(formatWhen(now + 60_000, now, "en"), undefined, "a clock that is ahead is no future");
});

test("days are counted by midnights", () => {
  const now = new Date(2026, 10, 24, 0, 10).getTime();
  assert.equal(periodOf(new Date(2026, 10, 24, 0, 1).getTime(), now), "today");
  assert.equal(periodOf(new Date(2026, 10, 23, 23, 59).getTime(), now), "week");
  assert.equal(periodOf(new Date(2026, 10, 17, 23, 59).getTime(), now), "earlier");
});

test("foreign words are one bounded line that cannot turn the text around it", () => {
  assert.equal(plain("  a\n\tb  "), "a b");
  assert.equal(plain("gpj.\u202eexe\u2066\u200b\ufeff"), "gpj.exe");
  assert.equal(plain("\u0000a\u009f b"), "a b");
  assert.equal(plain("x".repeat(500), 10), `${"x".repeat(9)}…`);
  assert.equal([...plain("👪".repeat(50), 10)].length, 10);
  assert.equal(plain(null), "");
});

test("licences keep their lines and lose the rest", () => {
  assert.equal(plainText("a\r\nb\u202e\u0000c"), "a\nbc");
  assert.equal(plainText("abc", 2), "ab…");
});

test("only addresses of the web become links", () => {
  assert.equal(webAddress("https://a.example/x")?.href, "https://a.example/x");
  for (const text of ["javascript:alert(1)", "data:text/html,x", "https://user:pass@a.example", "ftp://a", "", null, "x", `https://a/${"x".repeat(1000)}`]) {
    assert.equal(webAddress(text), undefined, String(text));
  }
});

test("only the server's own icons are shown", () => {
  assert.equal(iconAddress("/api/packages/ab12/icons/appGrid"), "/api/packages/ab12/icons/appGrid");
  for (const icon of [null, "https://evil.example/x.png", "//evil/x", "/api/packages/../../x/icons/appGrid", "/api/session"]) {
    assert.equal(iconAddress(icon), undefined);
  }
});

test("an end and a beginning are said as one says them", () => {
  const now = new Date(2026, 2, 4, 12).getTime();
  const at = (day: number, hour = 12) => new Date(2026, 2, day, hour).getTime();
  assert.equal(formatUntil(at(4, 18), now, "en-GB"), "18:00");
  assert.equal(formatUntil(at(5), now, "en-GB"), "tomorrow");
  assert.equal(formatUntil(at(6), now, "en-GB"), "Friday");
  assert.equal(formatUntil(at(11), now, "en-GB"), "11 March");
  assert.equal(formatUntil(new Date(2027, 2, 6).getTime(), now, "de"), "6. März 2027");
  assert.equal(formatSince(at(4, 1), now, "de"), "heute");
  assert.equal(formatSince(at(3), now, "en-GB"), "yesterday");
  assert.equal(formatSince(at(1), now, "en-GB"), "Sunday");
  assert.equal(formatSince(new Date(2025, 11, 24).getTime(), now, "en-GB"), "24 December 2025");
  assert.equal(formatSoon(now + 20 * 60_000, now, "en-GB"), "in 20 minutes");
  assert.equal(formatSoon(now + 3 * 3_600_000, now, "en-GB"), "in 3 hours");
  assert.equal(formatSoon(at(5), now, "en-GB"), "tomorrow");
});

test("a day is a date field's and back, and lasts until its end", () => {
  const end = endOfDay("2026-03-01") ?? 0;
  assert.equal(new Date(end).getHours(), 23);
  assert.equal(dayOf(end), "2026-03-01");
  for (const text of ["", "1 March", "2026-3-1", "20260301"]) assert.equal(endOfDay(text), undefined, text);
});
