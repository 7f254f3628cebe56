// Bundles the page: src/main.tsx and src/page.css to page.js and page.css in the folder given (dist by default).
// Deterministic: the same sources and package-lock.json give the same bytes, so that the page's hashes can be compared.
// Refuses a bundle that could not stand inside an HTML <script> or <style> element.
import { build } from 'esbuild';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const outdir = process.argv[2] ?? join(here, 'dist');

await build({
  absWorkingDir: here,
  entryPoints: { page: 'src/main.tsx' },
  outdir,
  bundle: true,
  format: 'iife',
  target: ['es2022', 'chrome109', 'firefox113', 'safari16.4'],
  minify: true,
  charset: 'ascii',
  legalComments: 'none',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  logLevel: 'warning',
});
await build({
  absWorkingDir: here,
  entryPoints: { page: 'src/page.css' },
  outdir,
  bundle: true,
  minify: true,
  logLevel: 'warning',
});

for (const name of ['page.js', 'page.css']) {
  const text = readFileSync(join(outdir, name), 'utf8');
  if (/<\/(script|style)|<!--/i.test(text)) {
    throw new Error(`${name} contains a sequence that ends or changes its element; write it in pieces`);
  }
}
