import assert from "node:assert/strict";
import test from "node:test";

import { Allowance } from "../src/frame/allowance.ts";
import { pageOf, readMessage, sessionOrigin } from "../src/frame/messages.ts";

test("an app may name its place and its title, nothing else", () => {
  assert.deepEqual(readMessage({ setPath: "/x?y#z" }), { kind: "path", path: "/x?y#z" });
  assert.deepEqual(readMessage({ setPath: "" }), { kind: "path", path: "/" });
  assert.deepEqual(readMessage({ setTitle: "June" }), { kind: "title", title: "June" });
  assert.deepEqual(readMessage({ setTitle: "" }), { kind: "title", title: "" });
  assert.equal(readMessage({ setTitle: "x".repeat(9999) })?.kind, "title");
  for (const data of [null, undefined, "setTitle", 7, [], {}, { setTitle: 7 }, { setPath: "//evil" }, { setPath: 7, setTitle: "x" }, { requestLogout: {} }, { overlaySignin: { creatingAccount: true } }, { powerboxRequest: 7 }, { renderTemplate: "x" }, { startSharing: 1 }, { showConnectionGraph: true }]) {
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

test("what an app asks for is read, in the order of its forerunner", () => {
  const query = ["EAZQAQEAABEBF1EEAQH/", "AA-_", ""];
  assert.deepEqual(readMessage({ powerboxRequest: { rpcId: { deep: [1] }, query, saveLabel: { defaultText: "Dates" } } }), {
    kind: "powerbox",
    rpcId: { deep: [1] },
    query,
    label: "Dates",
  });
  assert.deepEqual(readMessage({ powerboxRequest: { rpcId: 1 } }), { kind: "powerbox", rpcId: 1, query: [], label: "" });
  assert.deepEqual(readMessage({ startSharing: {} }), { kind: "share", suffix: "/" });
  assert.deepEqual(readMessage({ startSharing: { pathname: "/june", hash: "#15" } }), { kind: "share", suffix: "/june#15" });
  assert.deepEqual(readMessage({ startSharing: { pathname: "//evil.example/" } }), { kind: "share", suffix: "/" });
  assert.deepEqual(readMessage({ showConnectionGraph: {} }), { kind: "access" });
  assert.deepEqual(readMessage({ getGrainTitle: {}, rpcId: "a", subscribe: true }), { kind: "name", rpcId: "a", subscribe: true });
  // One key per message.
  assert.deepEqual(readMessage({ setPath: "/x", powerboxRequest: { rpcId: 1 } }), { kind: "path", path: "/x" });
  assert.equal(readMessage({ requestLogout: {}, powerboxRequest: { rpcId: 1 } }), undefined);
});

test("what is too much is refused, and the app is told why", () => {
  for (const powerboxRequest of [
    { rpcId: 1, query: "x" },
    { rpcId: 1, query: [7] },
    { rpcId: 1, query: ["<script>"] },
    { rpcId: 1, query: Array(33).fill("") },
    { rpcId: 1, query: ["a".repeat(48_001)] },
  ]) {
    const read = readMessage({ powerboxRequest });
    assert.equal(read?.kind, "refused", JSON.stringify(powerboxRequest).slice(0, 60));
    assert.equal(read?.kind === "refused" && read.rpcId, 1);
  }
  // What cannot even be answered is ignored.
  assert.equal(readMessage({ powerboxRequest: { rpcId: "x".repeat(2000) } }), undefined);
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  assert.equal(readMessage({ powerboxRequest: { rpcId: circle } }), undefined);
});

test("a template is taken with what is known of it, and nothing else", () => {
  const template = "curl https://x:$API_TOKEN@$API_HOST/";
  const read = readMessage({
    renderTemplate: {
      rpcId: "1",
      template,
      petname: "x".repeat(500),
      roleAssignment: { roleId: 2 },
      forSharing: true,
      clipboardButton: "left",
      style: { color: "#12aB34", background: "url(x)" },
      unauthenticated: { options: { dav: ["1"] } },
      clientapp: "Notes",
    },
  });
  assert.deepEqual(read, {
    kind: "template",
    rpcId: "1",
    template: {
      template,
      label: "x".repeat(200),
      role: { index: 2 },
      forSharing: true,
      button: "left",
      color: "#12aB34",
      unauthenticated: { options: { dav: ["1"] } },
      clientApp: "notes",
    },
  });
  const plain = readMessage({ renderTemplate: { rpcId: 1, template: "", clipboardButton: "middle", style: { color: "red" }, roleAssignment: { allAccess: null } } });
  assert.deepEqual(plain, { kind: "template", rpcId: 1, template: { template: "", role: { all: true } } });
  for (const fields of [{ template: 7 }, { template: "x".repeat(16_385) }, { template: "", clientapp: "a b" }, { template: "", unauthenticated: "x".repeat(5000) }, { template: "", roleAssignment: { roleId: -1 } }]) {
    assert.equal(readMessage({ renderTemplate: { rpcId: 1, ...fields } })?.kind, "refused", JSON.stringify(fields).slice(0, 60));
  }
});

test("a session is called by the first label of its host", () => {
  assert.equal(pageOf("http://ui-1a.percloud.localhost:6080"), "ui-1a");
  assert.equal(pageOf("nonsense"), "");
});

test("bursts are allowed, floods are not", () => {
  const allowance = new Allowance(3, 0.5, 0);
  assert.deepEqual([0, 0, 0, 0].map((now) => allowance.take(now)), [true, true, true, false]);
  assert.equal(allowance.take(1000), false);
  assert.equal(allowance.take(2000), true);
  assert.equal(allowance.take(2000), false);
  // A clock that goes back gives nothing.
  assert.equal(allowance.take(0), false);
  assert.deepEqual([60_000, 60_000, 60_000, 60_000].map((now) => allowance.take(now)), [true, true, true, false]);
});
