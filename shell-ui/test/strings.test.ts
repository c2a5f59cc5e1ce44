import assert from "node:assert/strict";
import test from "node:test";

import { de } from "../src/strings/de.ts";
import { moreDe } from "../src/strings/more-de.ts";
import { moreEn } from "../src/strings/more-en.ts";
import { chooseLanguage, en, fill, pieces, plural } from "../src/strings/fill.ts";

type Leaf = [path: string, text: string];

function leaves(value: unknown, path = ""): Leaf[] {
  if (typeof value === "string") return [[path, value]];
  return Object.entries(value as object).flatMap(([name, inner]) => leaves(inner, `${path}.${name}`));
}

test("every language says the same things with the same values", () => {
  const slots = (text: string) => [...text.matchAll(/\{\w+\}/g)].map(String).sort();
  const english = new Map(leaves({ en, more: moreEn }));
  const german = new Map(leaves({ en: de, more: moreDe }));
  assert.deepEqual([...german.keys()].sort(), [...english.keys()].sort());
  for (const [path, text] of english) {
    assert.deepEqual(slots(german.get(path) ?? ""), slots(text), path);
    if (text !== "") assert.notEqual(german.get(path), "", path);
  }
});

test("the shell speaks as its people do", () => {
  for (const [path, text] of [...leaves(en), ...leaves(de), ...leaves(moreEn), ...leaves(moreDe)]) {
    // The ending of a file's name is what people see in their folder.
    assert.doesNotMatch(text.replaceAll(".spk", ""), /\b(grain|spk|package|sandbox|capability|powerbox|webkey|iframe)\b/i, `${path}: ${text}`);
  }
});

test("values are put in as text", () => {
  assert.equal(fill("{a} and {b}", { a: "{b}", b: "$&" }), "{b} and $&");
  assert.equal(fill("{a} {missing}", { a: 1 }), "1 {missing}");
  assert.deepEqual(pieces("New {noun}!"), [
    { text: "New ", slot: false },
    { text: "noun", slot: true },
    { text: "!", slot: false },
  ]);
});

test("numbers choose the form", () => {
  const forms = { one: "{count} thing", other: "{count} things" };
  assert.equal(plural(forms, 1, "en"), "1 thing");
  assert.equal(plural(forms, 0, "en"), "0 things");
  assert.equal(plural(forms, 1200, "de"), "1.200 things");
});

test("the first language somebody knows is taken", () => {
  assert.equal(chooseLanguage(["fr-FR", "de-AT", "en"], ["en", "de"]), "de");
  assert.equal(chooseLanguage(["fr"], ["en", "de"]), "en");
  assert.equal(chooseLanguage([], ["en", "de"]), "en");
});
