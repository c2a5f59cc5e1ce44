// Solid's DOM runtime with one function of our own: `template`, which compiled components call to make their nodes.
// Solid's writes `innerHTML`; this one builds the nodes. So the page needs no Trusted Types policy at all, and the
// content security policy can say `require-trusted-types-for 'script'; trusted-types 'none'`: no string, from whom
// ever, becomes markup in the shell.

import { untrack } from "solid-js";

import { type MarkupNode, parseMarkup } from "./markup.ts";

export * from "solid-js/web";

const SVG = "http://www.w3.org/2000/svg";

/** What compiled components call for each piece of markup; the nodes are built once and then cloned. */
export function template(text: string, isImportNode?: boolean, isSvg?: boolean): () => Node {
  let node: Node | undefined;
  const first = () => {
    if (!node) {
      const root = build(inert(), parseMarkup(text), null);
      // A piece of a drawing comes wrapped in <svg>, which gives it its namespace.
      node = (isSvg && root.firstChild) || root;
    }
    return node;
  };
  return isImportNode
    ? () => untrack(() => document.importNode(first(), true))
    : () => first().cloneNode(true);
}

/** A document in which nothing loads or runs. */
function inert(): Document {
  return document.createElement("template").content.ownerDocument;
}

function build(owner: Document, markup: MarkupNode, namespace: string | null): Node {
  if (markup === null) return owner.createComment("");
  if (typeof markup === "string") return owner.createTextNode(markup);
  const space = markup.tag === "svg" ? SVG : namespace;
  const element = space ? owner.createElementNS(space, markup.tag) : owner.createElement(markup.tag);
  for (const [name, value] of markup.attributes) element.setAttribute(name, value);
  for (const child of markup.children) element.append(build(owner, child, space));
  return element;
}
