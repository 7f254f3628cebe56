#!/usr/bin/env python3
"""The demonstration of broken weighting: three faults in the real model over a real text, what the diagnosis says to each,
and the weighting restored, as pages to open side by side. Run by `./x demo --broken`; with --tables it also writes the
measured figures to docs/figures/broken-weighting.json and into docs/broken-weighting.md. Standard library only.

    tools/broken_weighting.py [--out FOLDER] [--tables]
"""
import argparse
import html
import json
import os
import subprocess
import sys
from pathlib import Path

from marked import put_between

ROOT = Path(__file__).resolve().parents[1]
BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
TEXT = ROOT / "examples/text/alice.txt"
SCENES = [("peripheral:100", "A peripheral token made central"),
          ("noise:16", "Noise weighted like signal"),
          ("contradiction:100", "Heads contradicting each other")]
TOKENS = 96
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:92rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
p,blockquote{max-width:48rem}h2{margin-top:3rem;border-top:1px solid #ccc;padding-top:1.5rem}
.text{font-family:Georgia,serif;white-space:pre-wrap}mark{background:#f6c27a;color:#1b1b1b;padding:.1em 0;border-radius:.2em}
.said{display:flex;flex-wrap:wrap;gap:0 3rem;align-items:center}table{border-collapse:collapse}
td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ccc}th:first-child,td:first-child{text-align:left}
blockquote{margin:.5rem 0;padding:.2rem 1rem;border-left:4px solid #b5560f}
.pages{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,34rem),1fr));gap:1rem;margin-top:1rem}
figure{margin:0}iframe{width:100%;height:58rem;border:1px solid #ccc;border-radius:.5rem}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}a{color:#9cf}h2,td,th,iframe{border-color:#444}}"""


def tokens_of_the_text():
    """The pieces of the tokens that are looked at, as the command prints them, with newlines as they are."""
    done = subprocess.run([BIN, "tokenize", "-m", MODEL, "--ids", str(TEXT)], stdout=subprocess.PIPE, check=True)
    count = len(done.stdout.split())
    done = subprocess.run([BIN, "tokenize", "-m", MODEL, str(TEXT)], stdout=subprocess.PIPE, check=True)
    rows = [line[17:] for line in done.stdout.decode().splitlines()]
    if len(rows) != count:
        sys.exit("bareattn tokenize: one line a token was needed")
    return [row.replace("\\n", "\n") for row in rows[:TOKENS]]


def marked(pieces, one):
    """The text, with the tokens that were broken marked: those that the diagnosis would have the weights taken back from."""
    spans = [span for i in one["findings"][0]["remedy"]["interventions"] for span in i["keys"]]
    text = "".join(f"<mark>{html.escape(p)}</mark>" if any(b <= at < e for b, e in spans) else html.escape(p)
                   for at, p in enumerate(pieces))
    return text.replace("</mark><mark>", "")


def address(one, state):
    """The page, open at the head that shows it most; where heads are pulled apart, beside one of the other side."""
    first = one["findings"][0]
    beside = f"&with={first['heads'][-1 if first['head'] == first['heads'][0] else 0]}"
    return f"{one['fault'].split(':')[0]}-{state}.html#head={first['head']}&scale=linear&first=hidden" + (
        beside if first["check"] == "heads-in-contradiction" else f"&key={first['token']}")


def run(folder):
    faults = [part for fault, _ in SCENES for part in ("--fault", fault)]
    done = subprocess.run([BIN, "break", "-m", MODEL, *faults, "--seed", "2", "--first", str(TOKENS), "--fast", "--restore", "--pages",
                           str(folder), "--json", str(TEXT)], stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("bareattn break failed")
    return json.loads(done.stdout)["runs"]


def figures_of(one):
    return [(title, one["restored"][key]["perplexity"], one["restored"][key]["moved"])
            for key, title in (("meant", "as the model is"), ("broken", "broken"), ("restored", "restored"))]


def index(runs, pieces):
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
             f"<title>Broken weighting, and restored</title><style>{STYLE}</style><h1>Broken weighting, and restored</h1>",
             "<p>One model, one text, three ways in which weighting can go wrong. Each is done to the model on purpose; the ",
             "diagnosis sees only the broken run's queries, keys and row sums, and is told nothing. The pages below are the real ",
             "ones: every head and every weight of the run, broken on the left, restored on the right.</p>",
             "<p>A few heads that are pulled one way hardly move the perplexity of so short a text, to either side: others carry ",
             "what is needed. The weights show it long before the words do. This explains weighting in a language model; it says ",
             "nothing about people.</p>"]
    for (_, title), one in zip(SCENES, runs):
        first = one["findings"][0]
        rows = "".join(f"<tr><td>{t}<td>{p:.2f}<td>{100 * m:.1f} %" for t, p, m in figures_of(one))
        frames = "".join(
            f"<figure><figcaption><a href='{html.escape(address(one, state))}'>{said}</a></figcaption>"
            f"<iframe loading=lazy src='{html.escape(address(one, state))}' title='{html.escape(title)}: {state}'></iframe></figure>"
            for state, said in (("broken", "Broken: open this page"), ("restored", "Restored: open this page")))
        parts.append(
            f"<h2>{html.escape(title)}</h2><p>Done on purpose: {html.escape(one['what'])}. In the text, marked:</p>"
            f"<p class=text>{marked(pieces, one)} …</p><div class=said><div>"
            f"<p>The diagnosis ({html.escape(first['check'])}, head {html.escape(str(first['head']))}):</p>"
            f"<blockquote>{html.escape(first['sentence'])}<br>Undone by: {html.escape(first['remedy']['what'])}.</blockquote></div>"
            f"<table><tr><th>run<th>perplexity<th>weight elsewhere{rows}</table></div><div class=pages>{frames}</div>")
    return "\n".join(parts) + "</html>\n"


def table(runs):
    lines = []
    for (_, title), one in zip(SCENES, runs):
        first = one["findings"][0]
        after = one["restored"]["findings"]
        lines += [f"### {title}", "", f"Done: {one['what']}. The diagnosis says `{first['check']}`, head {first['head']}:", "",
                  f"> {first['sentence']}", "", f"Undone by: {first['remedy']['what']}. After that, the diagnosis finds "
                  f"{'nothing' if not after else ', '.join(f['check'] for f in after)}.", "",
                  "| run | perplexity | weight that rests elsewhere |", "|---|---|---|"]
        lines += [f"| {t} | {p:.2f} | {100 * m:.1f} % |" for t, p, m in figures_of(one)] + [""]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out/broken")
    parser.add_argument("--tables", action="store_true")
    choice = parser.parse_args()
    choice.out.mkdir(parents=True, exist_ok=True)
    runs = run(choice.out)
    (choice.out / "index.html").write_text(index(runs, tokens_of_the_text()))
    for (_, title), one in zip(SCENES, runs):
        print(f"{title}: {one['findings'][0]['sentence']}")
        for t, p, m in figures_of(one):
            print(f"  {t}: perplexity {p:.2f}, {100 * m:.1f} % of the weight elsewhere")
    if choice.tables:
        for one in runs:
            one["findings"] = [{k: f[k] for k in ("check", "severity", "head", "token", "value", "sentence", "remedy")}
                               for f in one["findings"]]
        (ROOT / "docs/figures/broken-weighting.json").write_text(json.dumps(runs, indent=1) + "\n")
        put_between(ROOT / "docs/broken-weighting.md", "<!-- scenes -->", "<!-- end -->", "\n".join(table(runs)))


if __name__ == "__main__":
    main()
