// Where the page starts: reads the description, shows the app, and if anything fails says what, in words.
import { render } from 'preact';
import { App } from './app';
import { readPageData } from './data';
import { Store } from './state';

const root = document.getElementById('app')!;

function fail(error: unknown): void {
  const p = document.createElement('p');
  p.className = 'failure';
  p.setAttribute('role', 'alert');
  p.textContent = `This page cannot be shown: ${error instanceof Error ? error.message : String(error)}`;
  root.before(p);
}

try {
  render(<App store={new Store(readPageData())} />, root);
  performance.mark('bareattn-shown');
} catch (error) {
  fail(error);
}
