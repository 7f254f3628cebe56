#!/usr/bin/env python3
"""The figures of the README: one table between its `figures` marks, made from docs/figures/look.json, which bench/look.py
measured. Usage: figures.py [--write] [RESULT.json]: prints the table, or writes it into the README. No number of the
table is typed by hand; tests/cli/test_documents.py holds README and JSON against each other.
"""
import json
import sys
from pathlib import Path

from marked import put_between

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "docs/figures/look.json"
BEGIN, END = "<!-- figures: begin (tools/figures.py --write) -->", "<!-- figures: end -->"
PEERS = {
    "llama_cpp": "llama.cpp {version}, prefill of {tokens:,} tokens, nothing observed",
    "sdpa": "PyTorch {version}, the same, f32, fused attention, nothing observed",
    "eager_weights": "PyTorch {version}, the same, f32, returning its weights",
}


def rows(result):
    """What was measured, its figure, the peak memory; best told first."""
    threads = result["threads"]
    for look in result["look"]:
        yield (f"`bareattn look`, {look['tokens']:,} tokens, page included, {look['precision']}",
               f"{look['seconds']:.1f} s", f"{look['peak_megabytes']:,.0f} MB")
    for run in result["prefill"]:
        if run["threads"] == threads:
            what = f"prefill of {run['tokens']:,} tokens, {run['precision']}"
            if run.get("attention", run["precision"]) != run["precision"]:
                what += f", attention {run['attention']}"
            yield f"{what}, every head observed", f"{run['tokens_per_second_observed']:,.0f} tokens/s", ""
            yield f"{what}, nothing observed", f"{run['tokens_per_second']:,.0f} tokens/s", ""
    for kind, text in PEERS.items():
        peer = result[kind]
        if "absent" in peer:
            yield f"{kind}: could not be measured", "–", ""
        else:
            yield (text.format(**peer | {"version": peer["version"].split("+")[0]}),
                   f"{peer['tokens_per_second']:,.0f} tokens/s", f"{peer['peak_megabytes']:,.0f} MB")


def table(result):
    lines = ["| what | figure | peak memory |", "|---|--:|--:|", *(f"| {' | '.join(row)} |" for row in rows(result))]
    note = (f"{result['cpu']}, {result['threads']} threads, {result['memory_gib']} GiB, {result['system']}, "
            f"{result['date']}, commit {result['commit']}; SmolLM2-135M, Q4_1, the same file for all. Medians.")
    return "\n".join([*lines, "", note, ""])


def main():
    arguments = sys.argv[1:]
    write = "--write" in arguments
    paths = [a for a in arguments if a != "--write"]
    text = table(json.loads(Path(paths[0] if paths else RESULT).read_text(encoding="utf-8")))
    if write:
        put_between(ROOT / "README.md", BEGIN, END, text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
