// Bundles the page into dist/: names carry a hash of the content, and each file lies there plain, as gzip and as brotli.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const OUT = join(import.meta.dirname, "dist");

const bundled = await build({
  entryPoints: [join(import.meta.dirname, "src/main.ts")],
  bundle: true,
  minify: true,
  write: false,
  outdir: OUT,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "eof",
  logLevel: "warning",
});

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT);

function put(name, bytes) {
  const brotli = { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } };
  writeFileSync(join(OUT, name), bytes);
  writeFileSync(join(OUT, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  writeFileSync(join(OUT, `${name}.br`), brotliCompressSync(bytes, brotli));
  return brotliCompressSync(bytes, brotli).length;
}

let weight = 0;
let html = readFileSync(join(import.meta.dirname, "src/index.html"), "utf8");
const icon = { path: "icon.svg", contents: readFileSync(join(import.meta.dirname, "src/icon.svg")) };
for (const { path, contents } of [...bundled.outputFiles, icon]) {
  const hash = createHash("sha256").update(contents).digest("hex").slice(0, 12);
  const plain = basename(path);
  const name = plain.replace(extname(plain), `.${hash}${extname(plain)}`);
  html = html.replace(`"${plain}"`, `"assets/${name}"`);
  weight += put(name, contents);
}
weight += put("index.html", Buffer.from(html));
console.log(`page: ${(weight / 1000).toFixed(1)} kB compressed`);
