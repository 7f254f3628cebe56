#!/usr/bin/env python3
"""The tables of docs/roles.md between its `roles` marks, made from docs/figures/roles.json, which is what
`bareattn roles --no-cache --json` printed. No number there is typed by hand; tests/cli/test_roles.py holds the two
against each other. Usage: roles_figures.py [--write]: prints the tables, or writes them into the document."""
import json
import sys
from pathlib import Path

from marked import put_between

ROOT = Path(__file__).resolve().parent.parent
RESULT, DOCUMENT = ROOT / "docs/figures/roles.json", ROOT / "docs/roles.md"
BEGIN, END = "<!-- roles: begin (tools/roles_figures.py --write) -->", "<!-- roles: end -->"
SHOWN = 5


def name(head):
    return f"{head['layer']}.{head['head']}"


def recipe_row(recipe, heads):
    key = recipe["id"]
    having = [h for h in heads if key in h["roles"]]
    named = sum(h["role"] == key for h in heads)
    best = sorted(having, key=lambda h: -h["scores"][key][0])[:SHOWN]
    shown = ", ".join(f"{name(h)} {h['scores'][key][0]:.2f} ({h['scores'][key][1]:.2f}–{h['scores'][key][2]:.2f})" for h in best)
    stability = "–" if recipe["stability"] is None else f"{recipe['stability']:.3f}"
    return f"| `{key}` | {len(having)} | {named} | {stability} | {shown or '–'} |"


def tables(data):
    heads, check = data["heads"], data["ablation"]
    count, sure = len(heads), sum(h["sure"] for h in heads)
    mixed = sum(h["role"] == "mixed" for h in heads)
    lines = [f"{data['samples']} samples, seed {data['seed']}, {data['precision']}. Intervals in brackets.", "",
             "| role | heads | named so | stable | the strongest |", "|---|---|---|---|---|"]
    lines += [recipe_row(r, heads) for r in data["recipes"]]
    lines += ["", f"{mixed} of {count} heads have none of these (`mixed`). {100 * data['same_name']:.0f} % of the heads get the same name "
              f"from both halves; for {sure} of {count} the whole interval is on one side. The model answered "
              f"{data['needles_answered']} of {data['samples']} needles.", "",
              "| zeroed | loss, first copy | loss, second copy | change |", "|---|---|---|---|",
              f"| nothing | {check['loss_first']:.3f} | {check['loss_repeat']:.3f} | |"]
    base, random = check["loss_repeat"], check["loss_repeat_random"]
    top = ", ".join(f"{a}.{b}" for a, b in check["heads"])
    mean = sum(random) / len(random)
    lines += [f"| the {len(check['heads'])} strongest induction heads ({top}) | {check['loss_first_ablated']:.3f} | "
              f"{check['loss_repeat_ablated']:.3f} | {check['loss_repeat_ablated'] - base:+.3f} |",
              f"| as many others of the same layers, mean of {len(random)} draws | | {mean:.3f} | {mean - base:+.3f} "
              f"({min(random) - base:+.3f} to {max(random) - base:+.3f}) |"]
    return "\n".join(lines) + "\n"


def main():
    text = tables(json.loads(RESULT.read_text()))
    if "--write" in sys.argv:
        put_between(DOCUMENT, BEGIN, END, text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
