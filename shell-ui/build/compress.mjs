// Lays a .gz and a .br beside every file of dist/ that gets smaller by it, so that the server never compresses anything.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const WORTH_IT = new Set([".js", ".css", ".html", ".svg", ".json", ".webmanifest", ".txt"]);

const rows = [];
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || !WORTH_IT.has(extname(entry.name))) continue;
  const path = join(entry.parentPath ?? entry.path, entry.name);
  const plain = readFileSync(path);
  const gzip = gzipSync(plain, { level: 9 });
  const brotli = brotliCompressSync(plain, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: plain.length },
  });
  if (gzip.length < plain.length) writeFileSync(`${path}.gz`, gzip);
  if (brotli.length < plain.length) writeFileSync(`${path}.br`, brotli);
  rows.push({ file: path.slice(dist.length + 1), bytes: plain.length, gzip: gzip.length, brotli: brotli.length });
}
console.table(rows.sort((a, b) => a.file.localeCompare(b.file)));
