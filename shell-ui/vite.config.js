import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";
import solid from "vite-plugin-solid";

import { createMock } from "./mock/server.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Answers the shell API and session hosts during development, so that no server is needed. */
const mockApi = {
  name: "percloud-mock-api",
  configureServer(server) {
    const mock = createMock();
    mock.seed();
    server.middlewares.use((request, response, next) => mock.handle(request, response, next));
  },
};

/** Parts of the kit that only later pages use, though its table of contents names them. */
const LATER = [here("kit/Choices.tsx"), here("kit/CopyField.tsx")];

const first = new Set();

/** Everything the first page needs is one file: its parts would otherwise be a dozen small requests. */
function firstPage(id, chunking) {
  if (first.size === 0) {
    const queue = [here("src/main.tsx")];
    for (let next = queue.pop(); next !== undefined; next = queue.pop()) {
      if (first.has(next) || LATER.includes(next)) continue;
      first.add(next);
      queue.push(...(chunking.getModuleInfo(next)?.importedIds ?? []));
    }
  }
  return first.has(id) ? "first" : null;
}

export default defineConfig({
  plugins: [
    solid({
      solid: {
        // Compiled templates are built node by node (src/solid/dom.ts), never by `innerHTML`: Trusted Types forbid it.
        moduleName: "percloud-dom",
        omitQuotes: false,
        omitAttributeSpacing: false,
        omitLastClosingTag: false,
        omitNestedClosingTags: false,
      },
    }),
    mockApi,
  ],
  resolve: { alias: { "percloud-dom": here("src/solid/dom.ts") } },
  server: { allowedHosts: [".localhost"] },
  build: {
    target: "es2022",
    // Nothing becomes a data: address and nothing is injected: the content security policy has no exceptions.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // The page inside apps' pages that shows a password is small and knows nothing of the shell.
    rolldownOptions: {
      input: { index: here("index.html"), "offer-template": here("offer-template.html") },
      output: { codeSplitting: { groups: [{ name: firstPage }] } },
    },
  },
});
