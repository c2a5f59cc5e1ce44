import assert from "node:assert/strict";
import test from "node:test";

import { INSIDE_LIMIT, insideFrom, isOwnPath, parseRoute, paths, readInside } from "../src/routes.ts";

test("every address that the shell makes leads to the page it names", () => {
  const cases: [string, ReturnType<typeof parseRoute>][] = [
    [paths.home, { page: "home" }],
    [paths.setup, { page: "setup" }],
    [paths.signIn, { page: "sign-in" }],
    [paths.choose, { page: "choose" }],
    [paths.trash, { page: "trash" }],
    [paths.install("abc-1"), { page: "install", packageId: "abc-1" }],
    [paths.app("x9"), { page: "app", appId: "x9" }],
    [paths.grain("g_1"), { page: "grain", id: "g_1" }],
    [paths.log("g_1"), { page: "log", id: "g_1" }],
  ];
  for (const [path, route] of cases) assert.deepEqual(parseRoute(path), route, path);
});

test("addresses that are not pages are unknown", () => {
  for (const path of ["/nope", "/grain", "/grain/a/b", "/grain/a/log/x", "/apps", "/install/a/b", "/grain/a%2Fb", "/grain/<b>", `/grain/${"a".repeat(129)}`]) {
    assert.deepEqual(parseRoute(path), { page: "unknown" }, path);
  }
});

test("a place in an app travels behind the # and back", () => {
  assert.equal(paths.grain("g", "/day/1?x=2#y"), "/grain/g#/day/1?x=2#y");
  assert.equal(insideFrom("#/day/1?x=2#y"), "/day/1?x=2#y");
  assert.equal(paths.grain("g", "/"), "/grain/g");
  assert.equal(insideFrom(""), "/");
});

test("an app cannot name a place outside itself", () => {
  for (const path of ["", "x", "//evil.example/", "/\\evil.example", "\\/evil.example", "/..//evil.example", "/./\\evil.example", "javascript:alert(1)", `/${"a".repeat(INSIDE_LIMIT)}`, `/${"é".repeat(INSIDE_LIMIT / 2)}`, 7, null, {}]) {
    assert.equal(readInside(path), undefined, JSON.stringify(path));
  }
  assert.equal(insideFrom("#//evil.example/"), "/");
});

test("a place in an app is kept as an address holds it", () => {
  assert.equal(readInside("/a b/é?q=ü#\u0000z\n"), "/a%20b/%C3%A9?q=%C3%BC#%00z");
  assert.equal(readInside("/a/../b/./c"), "/b/c");
});

test("signing in leads back to a page of the shell and nowhere else", () => {
  assert.equal(isOwnPath("/grain/x#/y"), true);
  for (const path of ["//evil.example", "/\\evil.example", "https://evil.example", "", undefined]) assert.equal(isOwnPath(path), false);
});
