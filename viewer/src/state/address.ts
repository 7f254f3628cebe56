// The fragment of the address, where there is one: a page inside a notebook's frame (srcdoc) has no address of its own,
// and the browser refuses to write one. The page works all the same; only its links cannot be copied there.
export function putFragment(fragment: string, how: 'push' | 'replace'): void {
  try {
    if (how === 'push') history.pushState(null, '', fragment);
    else history.replaceState(null, '', fragment);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

/// The same page over another run: nothing of the old view fits it.
export function beginAnew(): void {
  history.replaceState(null, '', location.pathname);
  location.reload();
}
