// Fails on what the page may never do: build markup from text, run text as code, ask a network, or set a style by
// attribute (the content security policy would block it). Model text is hostile; textContent and CSSOM are enough.
// Every exported name has a comment that editors show. --self-test checks first that every rule can fail.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const rules = [
  [/\b(inner|outer)HTML\b/, 'node.innerHTML = x'],
  [/\binsertAdjacentHTML\b/, 'node.insertAdjacentHTML("beforeend", x)'],
  [/\bdangerouslySetInnerHTML\b/, '<p dangerouslySetInnerHTML={x} />'],
  [/\bdocument\s*\.\s*write(ln)?\b/, 'document.write(x)'],
  [/\beval\s*\(/, 'eval(x)'],
  [/\bnew\s+Function\b/, 'new Function(x)'],
  [/\bset(Timeout|Interval)\s*\(\s*['"`]/, 'setTimeout("x()", 1)'],
  [/\b(setHTML|setHTMLUnsafe|srcdoc|createContextualFragment|DOMParser|XSLTProcessor)\b/, 'frame.srcdoc = x'],
  [/\b(fetch|importScripts|import)\s*\(/, 'fetch("x")'],
  [/\b(XMLHttpRequest|WebSocket|EventSource|sendBeacon|RTCPeerConnection)\b/, 'new WebSocket(x)'],
  [/setAttribute\s*\(\s*['"`](style|on\w+|href|src)/, 'a.setAttribute("style", x)'],
  [/\bstyle=["'`]/, '<p style="color:red">'],
  [/\bstyle=\{\s*['"`]/, '<p style={`color:red`}>'],
  [/@ts-(ignore|nocheck)|\bas any\b|:\s*any\b/, 'const x: any = 1'],
];

const EXPORTED = /^export (async |abstract )*(function|const|class|interface|type) (\w+)/;

// One module may ask the server that sent the page; everywhere else a request is a mistake.
const asks = 'source_http.ts';

function findings(text, name) {
  const out = [];
  const lines = text.split('\n');
  lines.forEach((line, i) => {
    const exported = line.match(EXPORTED)?.[3];
    if (exported && !/\*\/\s*$/.test(lines[i - 1] ?? ''))
      out.push(`${name}:${i + 1}: ${exported} has no /** comment */`);
    const code = line.replace(/^\s*(\/\/|\*|\/\*).*$/, '');
    for (const [rule, example] of rules) {
      if (example === 'fetch("x")' && name.endsWith(asks)) continue;
      if (rule.test(code)) out.push(`${name}:${i + 1}: ${rule.source}: ${line.trim()}`);
    }
    if (line.length > 120) out.push(`${name}:${i + 1}: line of ${line.length} characters, 120 at most`);
  });
  return out;
}

if (process.argv.includes('--self-test')) {
  for (const [rule, example] of rules) {
    if (!findings(example, 'example').length) throw new Error(`lint rule cannot fail: ${rule.source}`);
  }
  if (!findings('export const x = 1;', 'example').length) throw new Error('lint allows exports without a comment');
  if (findings('/** One. */\nexport const x = 1;', 'example').length) throw new Error('lint refuses a comment');
  if (findings('node.textContent = token;', 'example').length) throw new Error('lint refuses textContent');
  process.exit(0);
}

const src = fileURLToPath(new URL('src', import.meta.url));
const files = readdirSync(src, { recursive: true }).filter((f) => /\.(tsx?|css)$/.test(f));
if (files.length < 5) throw new Error(`lint found only ${files.length} files under ${src}`);
const all = files.flatMap((f) => findings(readFileSync(join(src, f), 'utf8'), join('src', f)));
if (all.length) {
  console.error(all.join('\n'));
  process.exit(1);
}
console.log(`lint: ${files.length} files, nothing forbidden`);
