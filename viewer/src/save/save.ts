// What saving needs: names of files in plain letters, the download itself, CSV and JSON. Everything is made in the
// page and handed to the browser; nothing is asked of a network. Tokens come from strangers: in CSV a cell that a
// spreadsheet would run as a formula is defused. What stands in the files: row_file.ts, heads_file.ts; pictures:
// figure.ts.
/** A name of a file in plain letters. */
export const slug = (text: string): string =>
  text
    .toLowerCase()
    .normalize('NFKD')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40)
    .replace(/-+$/, '') || 'page';

/** Hands a file to the browser. */
export function download(name: string, content: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  window.setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Rows as CSV that spreadsheets read as text and numbers. */
export const csvBlob = (rows: (string | number | null)[][]): Blob =>
  // The mark at the start tells spreadsheets that it is UTF-8.
  new Blob(['\uFEFF', rows.map((r) => r.map(csvCell).join(',')).join('\r\n'), '\r\n'], {
    type: 'text/csv;charset=utf-8',
  });
/** A value as JSON; numbers that JSON does not know are null. */
export const jsonBlob = (value: unknown): Blob =>
  new Blob(
    [JSON.stringify(value, (_, v: unknown) => (typeof v === 'number' && !Number.isFinite(v) ? null : v), 1), '\n'],
    {
      type: 'application/json',
    },
  );

/**
 * One cell. Texts that begin as a formula would (= + - @, also behind blanks or control characters) get an apostrophe.
 */
function csvCell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : 'NaN';
  // eslint-disable-next-line no-control-regex
  const risky = /^[\s\u0000-\u001F\u200B-\u200F\u202A-\u202E\u2060\uFEFF]*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]/.test(value);
  // eslint-disable-next-line no-control-regex
  const safe = (risky || /^[\t\r\n]/.test(value) ? `'${value}` : value).replace(/\u0000/g, '\uFFFD');
  return `"${safe.replace(/"/g, '""')}"`;
}
