// Makes a module of ../src ready for node --test: bundled as the page bundles it, and imported. For modules that need no
// document; of a window they find the little that is asked for while a module begins.
import { build } from 'esbuild';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

globalThis.window ??= { matchMedia: () => ({ matches: false }) };

/** What the module at `path` under src exports. */
export async function load(path) {
  const folder = mkdtempSync(join(tmpdir(), 'bareattn-module-'));
  const outfile = join(folder, 'module.mjs');
  try {
    await build({
      absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
      entryPoints: [`src/${path}`],
      outfile,
      bundle: true,
      format: 'esm',
      target: 'es2022',
      jsx: 'automatic',
      jsxImportSource: 'preact',
      logLevel: 'error',
    });
    return await import(pathToFileURL(outfile));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
