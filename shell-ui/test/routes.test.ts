import assert from "node:assert/strict";
import test from "node:test";

import { INSIDE_LIMIT, insideFrom, isOwnPath, parseRoute, paths, readInside, readShared } from "../src/routes.ts";

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
    [paths.access("g_1"), { page: "access", id: "g_1" }],
    [paths.devices("g_1"), { page: "devices", id: "g_1" }],
    [paths.settings("g_1"), { page: "settings", id: "g_1" }],
    [paths.history("g_1"), { page: "history", id: "g_1" }],
    [paths.serverHistory, { page: "server-history" }],
    [paths.people, { page: "people" }],
    [paths.notifications, { page: "notifications" }],
    [paths.restore, { page: "restore" }],
    [paths.join, { page: "join" }],
    ["/shared", { page: "shared" }],
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

test("a sharing link says what it gives and where it leads", () => {
  const token = "Ab-_".repeat(11).slice(0, 43);
  assert.deepEqual(readShared(`#${token}`), { token, inside: "/" });
  assert.deepEqual(readShared(`#${token}/june?x=1#15`), { token, inside: "/june?x=1#15" });
  assert.equal(paths.shared(token, "/june#15"), `/shared#${token}/june#15`);
  assert.deepEqual(readShared(`#${token}//evil.example/`), { token, inside: "/" });
  for (const fragment of ["", "#", `#${token}x`, `#${token.slice(1)}`, `#${token.slice(1)}!`, `#/${token}`, token]) assert.equal(readShared(fragment), undefined, fragment);
});
