// The fragment of the address, where there is one: a page inside a notebook's frame (srcdoc) has no address of its own,
// and the browser refuses to write one. The page works all the same; only its links cannot be copied there.
/** Writes the fragment of the address, as a new entry of the history or in place of the last. */
export function putFragment(fragment: string, how: 'push' | 'replace'): void {
  try {
    if (how === 'push') history.pushState(null, '', fragment);
    else history.replaceState(null, '', fragment);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/** The same page over another run, of which nothing of the old view fits but what `fragment` says. */
export function beginAnew(fragment = ''): void {
  history.replaceState(null, '', location.pathname + fragment);
  location.reload();
}
