// What every browser test is made with. `test` has a time limit that fails it by name, and closes what it opened however
// it ends, so that nothing left open keeps the runner waiting. `soon` asks again until what is asserted holds: a page
// shows a thing a moment after its cause, and on a busy machine the moment is long. The limit of a file: run.mjs.
import { test as plain } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

const LIMIT = 300_000; // ms of one test; where the machine has nothing else to do the slowest takes 20 s
export const PATIENCE = 90_000; // ms until what should hold soon must hold: pages have taken 30 s to open beside a compiler
let closings = [];

/// Closed at the end of the running test, last opened first. Closing twice must be harmless.
export function closes(close) {
  closings.push(close);
}

async function closeOpened() {
  const all = closings.reverse();
  closings = [];
  for (const close of all) await close();
}

/// A test: name, options (as of node:test; `timeout` in ms) where there are any, what it does.
export function test(name, ...given) {
  const body = given.pop();
  plain(name, { timeout: LIMIT, ...given[0] }, async (t) => {
    t.after(closeOpened);
    await body(t);
  });
}

/// Runs `check` until it throws nothing, and gives what it gives; what it threw last is thrown when patience ends.
export async function soon(check, patience = PATIENCE) {
  for (const end = performance.now() + patience; ; ) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await pause(50);
  }
}
