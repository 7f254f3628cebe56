// npm test: makes the pages under test once for all files, and runs every *.test.mjs, or those named.
import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { pages } from './open.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const named = process.argv.slice(2);
const files = named.length ? named : readdirSync(here).filter((name) => name.endsWith('.test.mjs')).sort();
const given = process.env.BAREATTN_PAGES;
process.env.BAREATTN_PAGES = pages();
const done = spawnSync(process.execPath, ['--test', '--test-concurrency=1', ...files], { cwd: here, stdio: 'inherit' });
if (!given) rmSync(process.env.BAREATTN_PAGES, { recursive: true });
process.exit(done.status ?? 1);
