import assert from "node:assert/strict";
import test from "node:test";

import { type Strength, handleFrom, isHandle, strengthOf } from "../src/password.ts";

test("passwords are judged as a guesser would", () => {
  const cases: [string, Strength][] = [
    ["", "none"],
    ["Tr0ub4d&3", "short"],
    ["aaaaaaaaaaaaaa", "obvious"],
    ["password12", "obvious"],
    ["adalovelaceada", "obvious"],
    ["abcdefghij", "obvious"],
    ["1234567890", "obvious"],
    ["mondaymonday", "weak"],
    ["correct horse battery", "strong"],
    ["g7!kQ2zz#pLw", "strong"],
    ["moped lamp", "good"],
  ];
  for (const [password, strength] of cases) assert.equal(strengthOf(password, ["Ada Lovelace", "ada"]), strength, password);
});

test("a user name is made from a name as the server takes it", () => {
  const cases: [string, string][] = [
    ["Ada Lovelace", "ada"],
    ["Jürgen Müller", "juergen"],
    ["Zoë", "zoe"],
    ["  3PO ", "po"],
    ["李雷", ""],
    ["Groß", "gross"],
  ];
  for (const [name, handle] of cases) {
    assert.equal(handleFrom(name), handle, name);
    assert.ok(handle === "" || isHandle(handle));
  }
  for (const handle of ["", "1a", "A", "a b", "a-b", "a".repeat(33)]) assert.equal(isHandle(handle), false, handle);
});
