// A running `bareattn serve` for the browser tests, and a page of it that reports all it does wrong: errors, requests to
// anywhere else, violations of its policy. A command or model that is missing is a failure.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fresh } from './open.mjs';
import { closes } from './testing.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
export const bin = process.env.BAREATTN_BIN ?? join(root, 'build', 'bareattn');
export const model = process.env.BAREATTN_MODEL ?? join(root, 'models', 'SmolLM2-135M-Instruct.Q4_1.gguf');
for (const path of [bin, model]) assert.ok(existsSync(path), `${path} is missing (./x build, ./x model)`);

export async function serve(...args) {
  const child = spawn(bin, ['serve', '--json', ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  closes(() => child.kill('SIGINT'));
  const line = await new Promise((done, fail) => {
    let text = '';
    child.stdout.on('data', (part) => {
      text += part;
      if (text.includes('\n')) done(text);
    });
    child.on('exit', (code) => fail(new Error(`serve ended with ${code}`)));
  });
  const server = { process: child, ...JSON.parse(line) };
  server.status = async () =>
    (
      await fetch(`http://127.0.0.1:${server.port}/api/status`, { headers: { Authorization: `Bearer ${server.token}` } })
    ).json();
  return server;
}

export async function visit(server, { hash = '', ...options } = {}) {
  const context = await fresh('gpu', { viewport: { width: 1400, height: 900 }, reducedMotion: 'reduce', ...options });
  const page = await context.newPage();
  const wrong = [];
  const origin = `http://127.0.0.1:${server.port}/`;
  page.on('console', (m) => {
    if (m.type() === 'error') wrong.push(m.text());
  });
  page.on('pageerror', (e) => wrong.push(`exception: ${e.message}`));
  page.on('request', (r) => {
    if (!r.url().startsWith(origin)) wrong.push(`request: ${r.url()}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (e) => window.violations.push(e.violatedDirective));
    window.alert = () => window.violations.push('alert was called');
  });
  await page.goto(`${server.url}${hash && `&${hash}`}`);
  await page.waitForSelector(hash.includes('head=') ? '#map-how' : '[role=gridcell]');
  return {
    page,
    clean: async () => {
      assert.deepEqual(await page.evaluate(() => window.violations), []);
      assert.deepEqual(wrong, []);
      await context.close();
    },
  };
}
