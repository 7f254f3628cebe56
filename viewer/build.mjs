// Bundles the page: src/main.tsx and src/page.css to page.js and page.css in the folder given (dist by default), with the
// notices of the licences of every package whose code is in it. Deterministic: the same sources and package-lock.json give
// the same bytes, so that the page's hashes can be compared. Refuses a package without a licence text, and a bundle that
// could not stand inside an HTML <script> or <style> element.
import { build } from 'esbuild';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const outdir = process.argv[2] ?? join(here, 'dist');

/** The module "notices", see src/notices.d.ts. */
const noticesOf = (notices) => ({
  name: 'notices',
  setup(bundle) {
    bundle.onResolve({ filter: /^notices$/ }, ({ path }) => ({ path, namespace: 'notices' }));
    bundle.onLoad({ filter: /.*/, namespace: 'notices' }, () => ({
      contents: `export const notices = ${JSON.stringify(notices)};`,
      loader: 'js',
    }));
  },
});

/** Every licence text once, with the packages among the inputs of a bundle that it is of. */
function gather(inputs) {
  const found = new Map();
  const folders = Object.keys(inputs).map((path) => path.match(/^(.*\/)?node_modules\/(@[^/]+\/)?[^/]+(?=\/)/)?.[0]);
  for (const folder of [...new Set(folders.filter(Boolean))].sort()) {
    const { name, version } = JSON.parse(readFileSync(join(here, folder, 'package.json'), 'utf8'));
    const file = readdirSync(join(here, folder)).find((entry) => /^(licen[cs]e|copying)(\.|$)/i.test(entry));
    if (!file) throw new Error(`${name} is in the bundle and has no licence text in ${folder}`);
    const text = readFileSync(join(here, folder, file), 'utf8').trim();
    found.set(text, [...(found.get(text) ?? []), `${name} ${version}`]);
  }
  return [...found].map(([text, packages]) => ({ packages: packages.join(', '), text }));
}

const script = (notices, more) =>
  build({
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
    plugins: [noticesOf(notices)],
    ...more,
  });
const { metafile } = await script([], { write: false, metafile: true });
await script(gather(metafile.inputs), {});
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
