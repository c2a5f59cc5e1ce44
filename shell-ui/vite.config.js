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
  },
});
