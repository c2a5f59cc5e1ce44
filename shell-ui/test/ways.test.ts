import assert from "node:assert/strict";
import test from "node:test";

import type { RoleChoice, Way } from "../src/api/types.ts";
import { type Branch, below, firstRole, roleFrom, roleKey, shorten, tree } from "../src/sharing/ways.ts";

const way = (id: string, via: string | null): Way => ({
  id,
  via,
  kind: "person",
  name: id,
  handle: id,
  me: false,
  label: null,
  role: {},
  can: "can edit",
  by: "ada",
  byMe: true,
  created: 0,
  expires: null,
  lastUsed: null,
  singleUse: false,
  used: false,
  mayReshare: false,
  state: "active",
  mayChange: true,
});

const outline = (branches: Branch[]): unknown[] => branches.map((branch) => [branch.way.id, ...outline(branch.children)]);
const count = (branches: Branch[]): number => branches.reduce((sum, branch) => sum + 1 + count(branch.children), 0);

test("ways hang below what they came by, in the order given", () => {
  assert.deepEqual(outline(tree([way("c", "b"), way("a", null), way("b", "a"), way("d", "a")])), [["a", ["b", ["c"]], ["d"]]]);
});

test("nothing is lost and nothing shown twice, whatever the server says", () => {
  for (const ways of [
    [way("a", "a")],
    [way("a", "b"), way("b", "a")],
    [way("a", "b"), way("b", "c"), way("c", "a"), way("d", "c")],
    [way("a", "gone")],
  ]) {
    assert.equal(count(tree(ways)), ways.length, JSON.stringify(ways.map(({ id, via }) => [id, via])));
  }
});

test("a long chain is a tree, too", () => {
  const chain = Array.from({ length: 2000 }, (_, at) => way(String(at), at === 0 ? null : String(at - 1)));
  assert.equal(tree(chain).length, 1);
  assert.equal(below(chain, "0").length, 1999);
});

test("what hangs below a way is found once, without the way itself", () => {
  const ways = [way("a", null), way("b", "a"), way("c", "b"), way("d", null), way("x", "y"), way("y", "x")];
  assert.deepEqual(below(ways, "a").map(({ id }) => id), ["b", "c"]);
  assert.deepEqual(below(ways, "d"), []);
  assert.deepEqual(below(ways, "x").map(({ id }) => id), ["y"]);
});

test("a new share has the app's own default, if one may give it", () => {
  const role = (index: number, facts: Partial<RoleChoice>): RoleChoice => ({ index, title: "", can: "", description: "", isDefault: false, mayGive: true, ...facts });
  assert.deepEqual(firstRole({ roles: [role(0, {}), role(1, { isDefault: true })], mayGiveAll: true }), { index: 1 });
  assert.deepEqual(firstRole({ roles: [role(0, { mayGive: false, isDefault: true }), role(1, {})], mayGiveAll: false }), { index: 1 });
  assert.deepEqual(firstRole({ roles: [], mayGiveAll: true }), { all: true });
  assert.deepEqual(firstRole({ roles: [], mayGiveAll: false }), {});
});

test("a role survives being a choice", () => {
  for (const role of [{ all: true }, {}, { index: 0 }, { index: 3 }] as const) assert.deepEqual(roleFrom(roleKey(role)), role);
});

test("many names are a name and a number", () => {
  assert.deepEqual(shorten(["a"]), { first: ["a"], others: 0 });
  assert.deepEqual(shorten(["a", "b"]), { first: ["a", "b"], others: 0 });
  assert.deepEqual(shorten(["a", "b", "c", "d"]), { first: ["a"], others: 3 });
});
