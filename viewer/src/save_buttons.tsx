// The buttons that save: of a map PNG and SVG, of the focused row CSV and JSON; of the grid all heads.
import { useState } from 'preact/hooks';
import { headName, headOf, layerOf } from './data';
import { type Pair, differenceOf } from './compare';
import { count, errorText, label } from './format';
import { ink } from './gutters';
import type { RowView } from './head';
import type { MapView } from './map';
import { csvBlob, download, jsonBlob, pngBlob, slug, svgBlob } from './save';
import type { Store } from './state';

interface ButtonsProps {
  kinds: readonly (readonly [string, string, () => Blob | Promise<Blob>])[]; // extension, what it holds, maker
  name: string; // of the file, without its extension
}

function Buttons({ kinds, name }: ButtonsProps) {
  const [said, setSaid] = useState('');
  const save = async (extension: string, make: () => Blob | Promise<Blob>): Promise<void> => {
    try {
      download(`${name}.${extension}`, await make());
      setSaid(`Saved ${name}.${extension}`);
    } catch (error) {
      setSaid(errorText(error));
    }
  };
  return (
    <div class="choice save" role="group" aria-label="Save">
      <span class="legend" aria-hidden="true">
        Save
      </span>
      <div class="options">
        {kinds.map(([extension, what, make]) => (
          <button
            type="button"
            key={extension}
            aria-label={`Save ${what} as ${extension.toUpperCase()}`}
            onClick={() => void save(extension, make)}
          >
            {extension.toUpperCase()}
          </button>
        ))}
      </div>
      <span role="status" class="saved">
        {said}
      </span>
    </div>
  );
}

interface SaveViewProps {
  store: Store;
  view: { current: MapView | null };
  row: RowView;
  other: { name: string; row: RowView; pair: Pair } | null;
  head: number;
}

export function SaveView({ store, view, row, other, head }: SaveViewProps) {
  const { data } = store;
  const where = `layer ${layerOf(data, head)}, head ${headOf(data, head)}`;
  const against = other ? `-vs-${other.name.replace('.', '-')}` : '';
  const name = `bareattn-${slug(data.title || data.model.name)}-${headName(data, head).replace('.', '-')}${against}`;
  const map = (): MapView => {
    if (!view.current) throw new Error('the map is not there yet');
    return view.current;
  };
  const svg = (): Blob => {
    const c = ink();
    const text =
      `Attention of ${where} of ${data.model.name} over ${count(data.run.tokens)} tokens. ` +
      'Rows look, columns are looked at.';
    return svgBlob(map().scene(), `${data.title || data.model.name}: ${where}`, text, c.paper, c.text);
  };
  const csv = (): Blob => {
    const head = ['key', 'token', 'weight', ...(other ? [`weight_${other.name}`, 'difference'] : [])];
    const line = (w: number, j: number): (string | number)[] => {
      const there = other?.row.weights[j] ?? NaN;
      return [j, data.tokens[j] ?? '', w, ...(other ? [there, differenceOf(other.pair, w, there)] : [])];
    };
    return csvBlob([head, ...Array.from(row.weights, line)]);
  };
  const json = (): Blob =>
    jsonBlob({
      model: data.model.name,
      title: data.title,
      layer: layerOf(data, head),
      head: headOf(data, head),
      row: row.row,
      token: data.tokens[row.row],
      exact: row.exact,
      rows: row.rows,
      tokens: data.tokens.slice(0, row.row + 1),
      weights: Array.from(row.weights),
      ...(other ? { other: { head: other.name, exact: other.row.exact, weights: Array.from(other.row.weights) } } : {}),
      view: location.hash,
    });
  const rowName = `row ${count(row.row)} ${label(data.tokens[row.row])}`;
  return (
    <Buttons
      name={name}
      kinds={[
        ['png', 'the map', () => pngBlob(map().snapshot(`${data.title || data.model.name} \u00B7 ${where}`))],
        ['svg', 'the map', svg],
        ['csv', rowName, csv],
        ['json', rowName, json],
      ]}
    />
  );
}

export function SaveHeads({ store }: { store: Store }) {
  const { data } = store;
  const ids = data.measures.map((m) => m.id);
  const csv = (): Blob =>
    csvBlob([
      ['layer', 'head', 'role', 'evidence', ...ids],
      ...data.means.map((means, h) => [
        layerOf(data, h),
        headOf(data, h),
        data.roles[h]?.name ?? '',
        data.roles[h]?.evidence ?? '',
        ...means,
      ]),
    ]);
  const json = (): Blob =>
    jsonBlob({
      model: data.model,
      run: data.run,
      title: data.title,
      measures: data.measures,
      heads: data.means.map((means, h) => ({
        layer: layerOf(data, h),
        head: headOf(data, h),
        role: data.roles[h],
        means: Object.fromEntries(means.map((v, m) => [ids[m], v])),
      })),
    });
  return (
    <Buttons
      name={`bareattn-${slug(data.title || data.model.name)}-heads`}
      kinds={[
        ['csv', 'the measures of all heads', csv],
        ['json', 'the measures of all heads', json],
      ]}
    />
  );
}
