"""Which heads does quantisation hurt? The model's f32 copy against the same weights in f16, bf16, Q8_0, Q4_1 and Q4_0,
all made by `bareattn quantize`, compared head by head by `bareattn diff` over two real texts.

diff.py [--tokens N] [--write]: prints tables, writes out/bench/diff.json; --write puts both into docs/ (figures/diff.json
and the marked part of diff.md). The model file that ships is Q4_1, so "f32" is what its bytes mean, not the model before
its makers quantised it: f16, bf16 and Q8_0 are judged fairly, Q4_1 is flattered (its grid is already that of the weights).
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from marked import put_between  # noqa: E402

MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
TEXTS = {"alice": "examples/text/alice.txt", "tom-sawyer": "tests/golden/text/tom-sawyer.txt"}
TYPES = ("f16", "bf16", "q8_0", "q4_1", "q4_0")
BEGIN, END = "<!-- figures: begin (bench/diff.py --write) -->", "<!-- figures: end -->"


def bareattn(*arguments):
    return subprocess.run([BIN, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def beginning(path, tokens):
    """The longest beginning of whole words that makes at most `tokens` tokens."""
    words = (ROOT / path).read_text(encoding="utf-8").split(" ")
    low, high = 1, min(len(words), 2 * tokens)
    while low < high:
        middle = (low + high + 1) // 2
        count = len(json.loads(bareattn("tokenize", "-m", MODEL, "--json", "--text", " ".join(words[:middle]))))
        low, high = (middle, high) if count <= tokens else (low, middle - 1)
    return " ".join(words[:low])


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    out = [0] * len(values)
    for rank, index in enumerate(order):
        out[index] = rank
    return out


def spearman(x, y):
    """Of values without ties, which divergences in f64 are."""
    n = len(x)
    return 1 - 6 * sum((a - b) ** 2 for a, b in zip(ranks(x), ranks(y))) / (n * (n * n - 1))


def name(head):
    return f"{head['layer']}.{head['head']}"


def measure(tokens):
    result = {"model": pathlib.Path(MODEL).name, "tokens": {}, "types": {}}
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for kind in ("f32", *TYPES):
            files[kind] = pathlib.Path(folder) / f"{kind}.gguf"
            bareattn("quantize", "-m", MODEL if kind == "f32" else files["f32"], "--type", kind, "-o", files[kind])
        for title, path in TEXTS.items():
            text = beginning(path, tokens)
            for kind in TYPES:
                found = json.loads(bareattn("diff", files["f32"], files[kind], "--text", text, "--json"))
                result["tokens"][title] = len(found["tokens"])
                heads = [{k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in head.items() if k != "worst_row"}
                         for head in found["heads"]]
                result["types"].setdefault(kind, {"megabytes": files[kind].stat().st_size / 1e6, "texts": {}})
                result["types"][kind]["texts"][title] = heads
            print(f"{title}: {result['tokens'][title]} tokens compared", flush=True)
    return result


def tables(result):
    lines = ["| stored as | file | mean JS | mean KL | 10 strongest keys shared | output cosine | lowest output cosine | "
             "first token's weight |", "|---|--:|--:|--:|--:|--:|--:|--:|"]
    merged = {}
    for kind, entry in result["types"].items():
        texts = list(entry["texts"].values())
        heads = []
        for same in zip(*texts):
            heads.append({"layer": same[0]["layer"], "head": same[0]["head"],
                          **{key: mean(h[key] for h in same) for key in same[0] if key not in ("layer", "head")}})
        merged[kind] = heads
        worst = min(heads, key=lambda h: h["output_cosine"])
        lines.append(f"| {kind} | {entry['megabytes']:.0f} MB | {mean(h['js'] for h in heads):.2e} | "
                     f"{mean(h['kl'] for h in heads):.2e} | {100 * mean(h['top_overlap'] for h in heads):.1f} % | "
                     f"{mean(h['output_cosine'] for h in heads):.5f} | {worst['output_cosine']:.4f} ({name(worst)}) | "
                     f"{100 * mean(h['first_mass_shift'] for h in heads):+.2f} points |")
    lines += ["", "| stored as | heads whose weighting changed most (mean JS in nats) | they hold of all change |",
              "|---|---|--:|"]
    for kind in ("q8_0", "q4_1", "q4_0"):
        order = sorted(merged[kind], key=lambda h: -h["js"])
        total = sum(h["js"] for h in order)
        lines.append(f"| {kind} | " + ", ".join(f"{name(h)} ({h['js']:.4f})" for h in order[:8]) +
                     f" | {100 * sum(h['js'] for h in order[:27]) / total:.0f} % in a tenth of the heads |")
    lines += ["", "| between | rank correlation of the heads' JS |", "|---|--:|"]
    js = {kind: [h["js"] for h in heads] for kind, heads in merged.items()}
    for a, b in (("f16", "q8_0"), ("q8_0", "q4_0"), ("q4_1", "q4_0")):
        lines.append(f"| {a} and {b} | {spearman(js[a], js[b]):.2f} |")
    first, second = (list(result["types"]["q4_0"]["texts"].values()))[:2]
    lines.append(f"| q4_0 on the first text and on the second | "
                 f"{spearman([h['js'] for h in first], [h['js'] for h in second]):.2f} |")
    layers = 1 + max(h["layer"] for h in merged["q4_0"])
    thirds = [mean(h["js"] for h in merged["q4_0"] if h["layer"] * 3 // layers == part) for part in range(3)]
    lines += ["", "Mean JS of Q4_0 in the first, middle and last third of the layers: " +
              ", ".join(f"{v:.4f}" for v in thirds) + " nats. Texts: " +
              " and ".join(f"{title}, {count} tokens" for title, count in result["tokens"].items()) +
              f"; {result['model']}."]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    result = measure(options.tokens)
    lines = tables(result)
    print("\n".join(lines))
    target = ROOT / "out/bench/diff.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result) + "\n"
    target.write_text(text)
    if options.write:
        (ROOT / "docs/figures/diff.json").write_text(text)
        put_between(ROOT / "docs/diff.md", BEGIN, END, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
