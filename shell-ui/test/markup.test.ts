import assert from "node:assert/strict";
import test from "node:test";

import { parseMarkup } from "../src/solid/markup.ts";

test("compiled templates are read as they were written", () => {
  assert.deepEqual(parseMarkup('<div class="a b" hidden></div>'), {
    tag: "div",
    attributes: [
      ["class", "a b"],
      ["hidden", ""],
    ],
    children: [],
  });
  assert.deepEqual(parseMarkup('<p>a &amp; b<!><input type="text"><br>c<!$></p>'), {
    tag: "p",
    attributes: [],
    children: ["a & b", null, { tag: "input", attributes: [["type", "text"]], children: [] }, { tag: "br", attributes: [], children: [] }, "c", null],
  });
  assert.equal(parseMarkup("<svg><path></path></svg>").children.length, 1);
});

test("what no compiler writes is refused", () => {
  for (const text of ["", "text", "<a></a><b></b>", "<a>", "</a>", "<a></b>", "<a <b></b></a>", "<a x='y'></a>", "<a x=y></a>", "<p>&nbsp;</p>", "<p>&#60;</p>", "<!-- x --><a></a>", "<!doctype html>", '<a x="&copy;"></a>']) {
    assert.throws(() => parseMarkup(text), SyntaxError, text);
  }
});
