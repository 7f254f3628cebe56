"""What steering costs and does: a table's price by processor time, windows with and without the first tokens, induction
heads ablated on repeated text, boosted instructions followed.

steering.py [PART...] [--write]: runs build/bench/steering_effects for all parts or those named (cost window repeat
boost), prints tables, writes out/bench/steering.json, where parts that were not run stay as they were; --write puts both
into docs/ (figures/steering.json and the marked part of steering.md). The cost wants a machine that does nothing else.
"""
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from marked import put_between  # noqa: E402

MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
EFFECTS = os.environ.get("BAREATTN_EFFECTS", str(ROOT / "build/bench/steering_effects"))
TEXT = ROOT / "tests/golden/text/tom-sawyer.txt"
PARTS = ("cost", "window", "repeat", "boost")
BEGIN, END = "<!-- figures: begin (bench/steering.py --write) -->", "<!-- figures: end -->"


def percent(ratio):
    return f"{100 * (ratio - 1):+.1f} %"


def cost(found):
    lines = ["**Cost.** Two boosted spans and a temperature in every head, against no table; processor time, in turns on "
             "one machine. The middle is the median of the pairs' ratios.", "",
             "| what | without | with | middle | of the medians | pairs from | to |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, what in (("prefill", "prefill of {tokens:,} tokens"), ("attention", "attention of one layer, {tokens:,} tokens")):
        c = found[name]
        lines.append(f"| {what.format(**c)} | {c['cpu_seconds_without']:.3f} s | {c['cpu_seconds_with']:.3f} s | "
                     f"{percent(c['median_ratio'])} | {percent(c['ratio_of_medians'])} | {percent(c['least_ratio'])} | "
                     f"{percent(c['greatest_ratio'])} |")
    return lines


def window(found):
    whole = found["rows"][0]["perplexity"]
    lines = [f"**Sinks.** Perplexity of {found['tokens']:,} tokens of Tom Sawyer from token {found['counted_from']:,} on: "
             f"{whole:.2f} where a token sees all before it. With a window, all of which see as many keys:", "",
             "| keys seen | all recent | the first and the recent | the first four and the recent |", "|--:|--:|--:|--:|"]
    of = {(row["keys"], row["sinks"]): row["perplexity"] for row in found["rows"]}
    for keys in dict.fromkeys(row["keys"] for row in found["rows"][1:]):
        lines.append(f"| {keys:,} | " + " | ".join(f"{of[keys, s]:.2f} ({of[keys, s] / whole:.2f} times)" for s in (0, 1, 4)) + " |")
    return lines


def repeat(found):
    heads, random = found["induction_heads"], found["random_sets"]
    lines = [f"**Repetition.** {found['texts']} texts of {found['tokens']} random tokens, twice each: mean loss per token is "
             f"{found['first_copy']:.2f} nats on the first copy and {found['second_copy']:.2f} on the second. The ten heads "
             "with the highest induction score on other such texts are "
             + ", ".join(f"{h['head']} ({h['score']:.2f})" for h in heads) + ".", "",
             "| steered | loss on the second copy | more |", "|---|--:|--:|",
             f"| nothing | {found['second_copy']:.3f} | |"]
    rows = [("the ten induction heads write nothing", found["zero"]), ("they write their mean", found["mean"]),
            (f"ten random others of the same layers, median of {len(random)} sets", statistics.median(random)),
            ("the worst of these sets", max(random))]
    hardest = max(heads, key=lambda h: h["loss"])
    rows.append((f"the one of the ten that hurts most alone, {hardest['head']}", hardest["loss"]))
    return lines + [f"| {what} | {loss:.3f} | {loss - found['second_copy']:+.3f} |" for what, loss in rows]


def boost(found):
    rows = found["rows"]
    lines = [f"**Instructions.** Seven instructions before four questions each, greedy, {found['tokens']} tokens, checked by "
             "rule (`bench/parts/steering_tasks.h`). *Gained* and *lost*: prompts that are followed where they were not, "
             "and the reverse. *About it*: the answer has the question's noun, which one word or a list need not.", "",
             "| instruction | heads | followed | gained | lost | about it | both |", "|---|---|--:|--:|--:|--:|--:|"]
    before = [answer["followed"] for answer in rows[0]["answers"]]
    for row in rows:
        after = [answer["followed"] for answer in row["answers"]]
        what = {"boost": f"boosted by {row['value']:g}", "pasta": f"PASTA, {row['value']:g}"}[row["kind"]]
        plain = row is rows[0]
        lines.append(f"| {'as it is' if plain else what} | {'' if plain else row['heads']} | {row['followed']} of {row['of']} | "
                     f"{'' if plain else sum(a and not b for a, b in zip(after, before))} | "
                     f"{'' if plain else sum(b and not a for a, b in zip(after, before))} | "
                     f"{sum(a['about'] for a in row['answers'])} | {sum(a['about'] and a['followed'] for a in row['answers'])} |")
    lines += ["", "| instruction, of four | " + " | ".join("as it is" if row is rows[0] else f"{row['kind']} {row['value']:g}, "
                                                       f"{row['heads']}" for row in rows) + " |",
              "|---|" + "--:|" * len(rows)]
    for task in rows[0]["by_instruction"]:
        lines.append(f"| {task} | " + " | ".join(str(row["by_instruction"][task]) for row in rows) + " |")
    return lines


def tables(found):
    blocks = [make(found[part]) for part, make in zip(PARTS, (cost, window, repeat, boost)) if part in found]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def main():
    parts = [a for a in sys.argv[1:] if a != "--write"] or list(PARTS)
    if unknown := [part for part in parts if part not in PARTS]:
        sys.exit(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    target = ROOT / "out/bench/steering.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(target.read_text()) if target.exists() and set(parts) != set(PARTS) else {}
    found.update(json.loads(subprocess.run([EFFECTS, MODEL, TEXT, *parts], check=True, stdout=subprocess.PIPE).stdout))
    found["model"] = pathlib.Path(MODEL).name
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(tables(found))
    if "--write" in sys.argv:
        (ROOT / "docs/figures/steering.json").write_text(json.dumps(found, indent=1) + "\n")
        put_between(ROOT / "docs/steering.md", BEGIN, END, tables(found))


if __name__ == "__main__":
    main()
