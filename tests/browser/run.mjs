// npm test: makes the pages under test once for all files, and runs every *.test.mjs, or those named, two at a
// time (much of a test is waiting), each one's lines together. Each file is a process group with a time limit: one that is passed is named, killed with all it started, and
// counted as a failure, so that the runner ends whatever a page or a server does. The limit of a test: testing.mjs.
import { spawn } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { pages } from './open.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const named = process.argv.slice(2);
const files = named.length ? named : readdirSync(here).filter((name) => name.endsWith('.test.mjs')).sort();
// Minutes of one file; with nothing else on two cores the longest takes a tenth of it.
const LIMIT = Number(process.env.BAREATTN_FILE_MINUTES ?? (process.env.BAREATTN_LONG ? 240 : 40));
const AT_ONCE = Number(process.env.BAREATTN_FILES_AT_ONCE ?? 2);
const totals = { tests: 0, pass: 0, fail: 0, cancelled: 0, skipped: 0, todo: 0 };
const failed = [];
const running = new Set();

const end = (child, signal) => {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It has ended by itself.
  }
};
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
  process.once(signal, () => {
    for (const child of running) end(child, 'SIGKILL');
    process.exit(1);
  });

/// Runs a file and then prints its lines, but for the totals, which are added up.
async function run(file) {
  const begun = performance.now();
  const lines = [file];
  const child = spawn(process.execPath, ['--test-reporter=spec', file], { cwd: here, stdio: ['ignore', 'pipe', 'inherit'], detached: true });
  running.add(child);
  const timer = setTimeout(() => {
    lines.push(`\u2716 ${file} did not end within ${LIMIT} minutes`);
    end(child, 'SIGKILL');
  }, LIMIT * 60_000);
  let wrong = 0;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [, key, n] = line.match(/^\S+ (tests|pass|fail|cancelled|skipped|todo) (\d+)$/) ?? [];
    if (key) totals[key] += Number(n);
    else if (!/^\S+ (suites|duration_ms) [\d.]+$/.test(line)) lines.push(line);
    if (key === 'fail' || key === 'cancelled') wrong += Number(n);
  });
  const status = await new Promise((done) => child.on('close', done));
  clearTimeout(timer);
  running.delete(child);
  console.log(`\n${lines.join('\n')}\n${file}: ${((performance.now() - begun) / 1e3).toFixed(0)} s`);
  if (status === 0) return;
  failed.push(file);
  if (wrong > 0) return;
  ++totals.tests; // it did not come to its tests, or not to their end
  ++totals.fail;
}

const given = process.env.BAREATTN_PAGES;
process.env.BAREATTN_PAGES = pages();
const waiting = [...files];
const lane = async () => {
  while (waiting.length) await run(waiting.shift());
};
await Promise.all(Array.from({ length: AT_ONCE }, lane));
if (!given) rmSync(process.env.BAREATTN_PAGES, { recursive: true });
console.log();
for (const [key, n] of Object.entries(totals)) console.log(`\u2139 ${key} ${n}`);
for (const file of failed) console.log(`FAILED: ${file}`);
process.exit(failed.length ? 1 : 0);
