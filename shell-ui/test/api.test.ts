import assert from "node:assert/strict";
import test from "node:test";

import { parseEvent, pauseBefore } from "../src/api/events.ts";
import { LINE_LIMIT, LineCutter, cleanLine } from "../src/api/log.ts";
import { Problem, asProblem, problemFrom } from "../src/api/problem.ts";

test("an error answer keeps its code, reason and waiting time", () => {
  const problem = problemFrom(429, '{"error":{"code":"too-many-attempts","message":"Wait.","retryAfter":26.2,"reason":"r"}}');
  assert.deepEqual([problem.code, problem.message, problem.retryAfter, problem.reason], ["too-many-attempts", "Wait.", 27, "r"]);
});

test("answers of somebody else are problems too", () => {
  for (const body of ["", "<html>", "null", "[]", '{"error":7}', '{"error":{"code":7}}']) {
    assert.equal(problemFrom(502, body).code, "unavailable", body);
    assert.equal(problemFrom(404, body).code, "garbled", body);
  }
  assert.equal(problemFrom(400, '{"error":{"code":"x","message":7,"retryAfter":-1}}').retryAfter, undefined);
});

test("what was thrown becomes a problem once", () => {
  const problem = new Problem("in-use");
  assert.equal(asProblem(problem), problem);
  assert.equal(asProblem(new TypeError("fetch")).code, "offline");
  assert.equal(new Problem("offline").passing, true);
  assert.equal(problem.passing, false);
});

test("pauses between attempts grow, stay bounded and differ", () => {
  assert.deepEqual([pauseBefore(0, 0), pauseBefore(0, 1)], [250, 500]);
  assert.deepEqual([pauseBefore(3, 0), pauseBefore(3, 1)], [2000, 4000]);
  assert.deepEqual([pauseBefore(99, 0), pauseBefore(99, 1)], [5_000, 10_000]);
});

test("events that make no sense are passed over", () => {
  assert.deepEqual(parseEvent('{"type":"hello"}'), { type: "hello" });
  for (const data of ["", "x", "null", "7", "{}", '{"type":7}']) assert.equal(parseEvent(data), undefined, data);
});

test("a log arrives in pieces and is shown in lines", () => {
  const cutter = new LineCutter();
  assert.deepEqual(cutter.push("a\nb"), ["a"]);
  assert.deepEqual(cutter.push("c\r\n\nd"), ["bc", ""]);
  assert.deepEqual(cutter.push("\n"), ["d"]);
});

test("a line without an end does not grow without bound", () => {
  const cutter = new LineCutter();
  const lines = Array.from({ length: 50 }, () => cutter.push("x".repeat(1000))).flat();
  assert.ok(lines.length >= 24 && lines.every((line) => line.length <= LINE_LIMIT));
});

test("colour codes and direction tricks do not reach the page", () => {
  assert.equal(cleanLine("\u001b[1;32mok\u001b[0m \u001b]0;title\u0007done\u202e\u0000"), "ok done");
  assert.equal(cleanLine("tab\tstays"), "tab\tstays");
});
