// Light or dark.

/** What the system asks for. */
export const darkQuery = window.matchMedia('(prefers-color-scheme: dark)');
const KEPT = 'bareattn-theme';

/** Storage may be refused: in a notebook's frame, or for a file. */
function kept(): string | null {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null;
  }
}

/** Light or dark: as the system says until the person says otherwise. */
export function isDark(): boolean {
  const chosen = document.documentElement.dataset['theme'];
  return chosen ? chosen === 'dark' : darkQuery.matches;
}

/** Takes a theme whatever the system asks for, and keeps it where a browser keeps anything. */
export function chooseTheme(theme: 'light' | 'dark'): void {
  document.documentElement.dataset['theme'] = theme;
  try {
    localStorage.setItem(KEPT, theme);
  } catch {
    // Then it is for this visit.
  }
  window.dispatchEvent(new Event('themechange'));
}

const before = kept();
if (before === 'light' || before === 'dark') document.documentElement.dataset['theme'] = before;
