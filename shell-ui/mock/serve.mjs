// Serves the built shell with the headers of the real server, over the mock: `node mock/serve.mjs [port]`.

import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { offerTemplateHeaders, pageHeaders } from "./policy.mjs";
import { createMock } from "./server.mjs";

const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const KINDS = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

/** Every file of the build by its path, read once: a build that goes on meanwhile changes nothing here. */
function readBuild() {
  const files = new Map();
  for (const entry of readdirSync(DIST, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile()) files.set(path.slice(DIST.length), readFileSync(path));
  }
  return files;
}

/** Starts on a loopback port (0: any); resolves to the mock, the address and what stops it. */
export function serve({ port = 0, pace } = {}) {
  const mock = createMock({ pace });
  const files = readBuild();
  const server = createServer((request, response) => {
    mock.handle(request, response, () => {
      const { pathname } = new URL(request.url, "http://shell");
      const hashed = pathname.startsWith("/assets/");
      if (hashed && !files.has(pathname)) return response.writeHead(404).end();
      const offer = pathname === "/offer-template" || pathname === "/offer-template.html";
      const path = offer ? "/offer-template.html" : files.has(pathname) ? pathname : "/index.html";
      const brotli = /\bbr\b/.test(request.headers["accept-encoding"] ?? "") ? files.get(`${path}.br`) : undefined;
      response.writeHead(200, {
        ...(offer ? offerTemplateHeaders : pageHeaders)("http", request.headers.host),
        "Content-Type": KINDS[extname(path)] ?? "application/octet-stream",
        "Cache-Control": hashed ? "public, max-age=31536000, immutable" : "no-cache",
        ...(brotli && { "Content-Encoding": "br" }),
      });
      response.end(brotli ?? files.get(path));
    });
  });
  return new Promise((resolve) => {
    server.listen(port, "127.0.0.1", () => {
      const { port: given } = server.address();
      resolve({
        mock,
        url: `http://percloud.localhost:${given}`,
        stop: () =>
          new Promise((done) => {
            server.close(done);
            server.closeAllConnections();
          }),
      });
    });
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { mock, url } = await serve({ port: Number(process.argv[2] ?? 6090) });
  mock.seed();
  console.log(`${url}  (user name "ada", password "${mock.state.me.password}")`);
}
