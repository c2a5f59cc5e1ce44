// Serves the built shell with the headers of the real server, over the mock: `node mock/serve.mjs [port]`.

import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

import { pageHeaders } from "./policy.mjs";
import { createMock } from "./server.mjs";

const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const KINDS = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".webmanifest": "application/manifest+json",
};

/** Starts on a loopback port (0: any); resolves to the mock, the address and what stops it. */
export function serve({ port = 0, pace } = {}) {
  const mock = createMock({ pace });
  const server = createServer((request, response) => {
    mock.handle(request, response, () => {
      const { pathname } = new URL(request.url, "http://shell");
      const hashed = pathname.startsWith("/assets/");
      let path = join(DIST, normalize(pathname));
      if (pathname === "/" || !statSync(path, { throwIfNoEntry: false })?.isFile()) {
        if (hashed) return response.writeHead(404).end();
        path = join(DIST, "index.html");
      }
      const coding = /\bbr\b/.test(request.headers["accept-encoding"] ?? "") && statSync(`${path}.br`, { throwIfNoEntry: false }) ? "br" : undefined;
      response.writeHead(200, {
        ...pageHeaders("http", request.headers.host),
        "Content-Type": KINDS[extname(path)] ?? "application/octet-stream",
        "Cache-Control": hashed ? "public, max-age=31536000, immutable" : "no-cache",
        ...(coding && { "Content-Encoding": coding }),
      });
      response.end(readFileSync(coding ? `${path}.br` : path));
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
