// The runner itself: a test that waits for ever fails by its name and what it opened is closed; a file that does not end
// is named, killed and counted, and the next one runs.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { closes, soon, test } from './testing.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const head = `import { closes, test } from ${JSON.stringify(new URL('testing.mjs', import.meta.url).href)};\n`;

/// What the runner says of these files, and its status.
function run(files, minutes) {
  const folder = mkdtempSync(join(tmpdir(), 'bareattn-runner-'));
  closes(() => rmSync(folder, { recursive: true, force: true }));
  const paths = Object.entries(files).map(([name, text]) => {
    writeFileSync(join(folder, name), head + text);
    return join(folder, name);
  });
  const env = { ...process.env, BAREATTN_PAGES: folder, BAREATTN_FILE_MINUTES: String(minutes) };
  const { status, stdout } = spawnSync(process.execPath, ['run.mjs', ...paths], { cwd: here, env, encoding: 'utf8' });
  return { status, stdout };
}

test('a test that waits for ever fails by its name, and what it opened is closed', () => {
  const { status, stdout } = run(
    {
      'waits.mjs': `
        test('the one that waits', { timeout: 300 }, async () => {
          const timer = setInterval(() => undefined, 1000); // as a server would keep the file from ending
          closes(() => (clearInterval(timer), console.log('closed')));
          await new Promise(() => undefined);
        });
        test('the one after it', () => undefined);`,
    },
    2,
  );
  assert.equal(status, 1, stdout);
  assert.match(stdout, /\u2716 the one that waits[\s\S]*timed out after 300ms/);
  assert.match(stdout, /^closed$/m);
  assert.match(stdout, /\u2714 the one after it/);
  assert.match(stdout, /\u2139 pass 1\n/);
});

test('a file that does not end is named, killed and counted, and the next one runs', () => {
  const { status, stdout } = run(
    {
      'ends_not.mjs': `test('it passes', () => undefined); setInterval(() => undefined, 1000);`,
      'next.mjs': `test('the next', () => undefined);`,
    },
    0.1,
  );
  assert.equal(status, 1, stdout);
  assert.match(stdout, /ends_not\.mjs did not end within 0\.1 minutes/);
  assert.match(stdout, /\u2714 the next/);
  assert.match(stdout, /\u2139 tests 2\n\u2139 pass 1\n\u2139 fail 1\n/); // its own totals it did not come to say
  assert.match(stdout, /FAILED: .*ends_not\.mjs\n$/);
  assert.doesNotMatch(stdout, /FAILED: .*next\.mjs/);
});

test('what is so a moment later is waited for, and what is never so is said', async () => {
  let asked = 0;
  await soon(() => assert.ok(++asked > 3));
  assert.equal(asked, 4);
  await assert.rejects(soon(() => assert.fail('it is not so'), 100), /it is not so/);
});
