// Light or dark.

export const darkQuery = window.matchMedia('(prefers-color-scheme: dark)');

/// Light or dark: as the system says until the person says otherwise (for this visit: a file has nowhere to keep it).
export function isDark(): boolean {
  const chosen = document.documentElement.dataset['theme'];
  return chosen ? chosen === 'dark' : darkQuery.matches;
}
