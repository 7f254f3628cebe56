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
STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
h2{margin-top:2.5rem}table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ccc}
th:first-child,td:first-child{text-align:left}blockquote{margin:.5rem 0;padding:.2rem 1rem;border-left:4px solid #888}
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}a{color:#9cf}}"""


def run(folder):
    faults = [part for fault, _ in SCENES for part in ("--fault", fault)]
    done = subprocess.run([BIN, "break", "-m", MODEL, *faults, "--seed", "2", "--first", "96", "--fast", "--restore", "--pages",
                           str(folder), "--json", str(TEXT)], stdout=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit("bareattn break failed")
    return json.loads(done.stdout)["runs"]


def figures_of(one):
    return [(title, one["restored"][key]["perplexity"], one["restored"][key]["moved"])
            for key, title in (("meant", "as the model is"), ("broken", "broken"), ("restored", "restored"))]


def index(runs):
    parts = ["<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
             f"<title>Broken weighting, and restored</title><style>{STYLE}</style><h1>Broken weighting, and restored</h1>",
             "<p>One model, one text, three ways in which weighting can go wrong. Each page shows every head and every weight of ",
             "its run. This explains weighting in a language model; it says nothing about people.</p>"]
    for (_, title), one in zip(SCENES, runs):
        name = one["fault"].split(":")[0]
        first = one["findings"][0]
        rows = "".join(f"<tr><td>{t}<td>{p:.2f}<td>{100 * m:.1f} %" for t, p, m in figures_of(one))
        parts.append(
            f"<h2>{html.escape(title)}</h2><p>Done on purpose: {html.escape(one['what'])}.</p>"
            f"<p>The diagnosis, from the weights alone ({html.escape(first['check'])}, head {html.escape(str(first['head']))}):</p>"
            f"<blockquote>{html.escape(first['sentence'])}<br>Undone by: {html.escape(first['remedy']['what'])}.</blockquote>"
            f"<table><tr><th>run<th>perplexity<th>weight elsewhere{rows}</table>"
            f"<p><a href='{name}-broken.html'>The page, broken</a> · <a href='{name}-restored.html'>the page, restored</a></p>")
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
    (choice.out / "index.html").write_text(index(runs))
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
