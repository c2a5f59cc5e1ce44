import assert from "node:assert/strict";
import test from "node:test";

import { appSeed, cellAt, identicon } from "../kit/identicon.ts";

test("the seed is the app id's index modulo 16, digit by digit", () => {
  assert.equal(appSeed("0123456789acdefghjkmnpqrstuvwxyz0000"), "0123456789abcdef0123456789abcdef");
  assert.equal(appSeed("ABC").length, 32);
});

test("even digits fill, middle column first, then outward on both sides", () => {
  const digits = "01111" + "10111" + "11011";
  const { cells } = identicon(`${digits}${"0".repeat(17)}`);
  assert.deepEqual(cells, [
    [2, 0],
    [1, 1],
    [3, 1],
    [0, 2],
    [4, 2],
  ]);
});

test("the last seven digits are the colour", () => {
  assert.equal(identicon(`${"1".repeat(25)}0000000`).hue, 0);
  assert.equal(identicon(`${"1".repeat(25)}fffffff`).hue, 360);
  assert.equal(identicon(`${"1".repeat(25)}7ffffff`).hue, 180);
});

test("the picture is mirrored and keeps its margin", () => {
  const { cells } = identicon(appSeed("vxe8awcxvtj6yu0vgjpm1tsaeu7x8v8tfp71tyvnm6ykkephu9q0"));
  for (const [column, row] of cells) assert.ok(cells.some(([other, same]) => other === 4 - column && same === row));
  assert.deepEqual(cellAt(0, 0), { x: 8, y: 8, size: 16.8 });
  assert.ok(Math.abs(cellAt(4, 4).x + 16.8 - 92) < 1e-9);
});
