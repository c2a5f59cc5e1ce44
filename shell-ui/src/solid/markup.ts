// Reads the markup that the Solid compiler puts into a template: well-formed, every tag closed, every value quoted.
// Anything else is refused, so that this can never become a parser of foreign HTML.

export interface MarkupElement {
  tag: string;
  attributes: [name: string, value: string][];
  children: MarkupNode[];
}

/** An element, a text, or (as `null`) the place of an expression. */
export type MarkupNode = MarkupElement | string | null;

const TOKEN = /<!\$?>|<\/([\w-]+)>|<([\w-]+)((?:\s+[\w:-]+(?:="[^"]*")?)*)\s*(\/?)>|[^<]+/y;
const ATTRIBUTE = /([\w:-]+)(?:="([^"]*)")?/g;
const VOID = new Set(["br", "hr", "img", "input", "link", "meta", "wbr"]);
const ENTITIES: Record<string, string> = { "&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"' };

/** Returns the single root of a compiled template. Throws when it is not one. */
export function parseMarkup(text: string): MarkupElement {
  const root: MarkupElement = { tag: "", attributes: [], children: [] };
  const open = [root];
  let at = 0;
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text);
    const parent = open[open.length - 1];
    if (!token || !parent) throw new SyntaxError(`not a compiled template, at ${at}: ${text}`);
    at = TOKEN.lastIndex;
    const [whole, closed, tag, attributes, selfClosed] = token;
    if (tag) {
      const element: MarkupElement = { tag, attributes: [], children: [] };
      for (const [, name, value] of attributes?.matchAll(ATTRIBUTE) ?? []) {
        if (name) element.attributes.push([name, decode(value ?? "")]);
      }
      parent.children.push(element);
      if (!selfClosed && !VOID.has(tag)) open.push(element);
    } else if (closed) {
      if (parent.tag !== closed) throw new SyntaxError(`</${closed}> closes <${parent.tag}> in ${text}`);
      open.pop();
    } else {
      parent.children.push(whole.startsWith("<!") ? null : decode(whole));
    }
  }
  const only = root.children[0];
  if (open.length !== 1 || root.children.length !== 1 || typeof only !== "object" || !only) {
    throw new SyntaxError(`not one closed element: ${text}`);
  }
  return only;
}

function decode(text: string): string {
  return text.replace(/&[^;\s]*;?/g, (entity) => {
    const character = ENTITIES[entity];
    if (character === undefined) throw new SyntaxError(`unexpected ${entity} in a compiled template`);
    return character;
  });
}
