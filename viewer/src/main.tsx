// Where the page starts: finds its source, shows the app, and if anything fails says what, in words.
import { render } from 'preact';
import { App } from './app';
import { type PageData, checkPageData, givenData } from './data/data';
import { errorText } from './data/format';
import type { Source } from './source/source';
import { FileSource } from './source/source_file';
import { HttpSource } from './source/source_http';
import { Store } from './state/state';

const root = document.getElementById('app')!;

function fail(error: unknown): void {
  const p = document.createElement('p');
  p.className = 'failure';
  p.setAttribute('role', 'alert');
  p.textContent = `This page cannot be shown: ${errorText(error)}`;
  root.before(p);
}

function show(source: Source): void {
  render(<App store={new Store(source)} />, root);
  performance.mark('bareattn-shown');
}

try {
  const given = givenData();
  // At once where the file holds all: the first paint does not wait for a turn of the event loop.
  if (given.source)
    HttpSource.open({ ...given, source: given.source })
      .then(show)
      .catch(fail);
  else show(new FileSource(checkPageData(given as PageData)));
} catch (error) {
  fail(error);
}
