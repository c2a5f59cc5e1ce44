import assert from "node:assert/strict";
import test from "node:test";

import { readMessage, sessionOrigin } from "../src/frame/messages.ts";

test("an app may name its place and its title, nothing else", () => {
  assert.deepEqual(readMessage({ setPath: "/x?y#z" }), { kind: "path", path: "/x?y#z" });
  assert.deepEqual(readMessage({ setPath: "" }), { kind: "path", path: "/" });
  assert.deepEqual(readMessage({ setTitle: "June" }), { kind: "title", title: "June" });
  assert.deepEqual(readMessage({ setTitle: "" }), { kind: "title", title: "" });
  assert.equal(readMessage({ setTitle: "x".repeat(9999) })?.kind, "title");
  for (const data of [null, undefined, "setTitle", 7, [], {}, { setTitle: 7 }, { setPath: "//evil" }, { setPath: 7, setTitle: "x" }, { requestLogout: {} }, { powerboxRequest: { rpcId: 1 } }]) {
    assert.equal(readMessage(data), undefined, JSON.stringify(data));
  }
});

test("the secret goes to hosts right below the shell's own", () => {
  const shell = { protocol: "http:", hostname: "percloud.localhost", port: "6080" };
  assert.equal(sessionOrigin("http://ui-1a.percloud.localhost:6080", shell), "http://ui-1a.percloud.localhost:6080");
  const home = { protocol: "https:", hostname: "cloud.example", port: "" };
  assert.equal(sessionOrigin("https://ui-1a.cloud.example", home), "https://ui-1a.cloud.example");
  for (const host of [
    "http://percloud.localhost:6080",
    "http://ui-1a.percloud.localhost:6081",
    "https://ui-1a.percloud.localhost:6080",
    "http://ui-1a.percloud.localhost.evil.example:6080",
    "http://evilpercloud.localhost:6080",
    "http://a.b.percloud.localhost:6080",
    "http://ui-1a.percloud.localhost:6080/x",
    "http://ui-1a.percloud.localhost:6080?x",
    "http://me@ui-1a.percloud.localhost:6080",
    "javascript:alert(1)",
    "",
  ]) {
    assert.equal(sessionOrigin(host, shell), undefined, host);
  }
});
