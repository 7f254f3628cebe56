"""What it costs to observe: prefill of the real model with every streaming measure, the column sums and the pooled map
of all heads, beside the same prefill with none, and beside PyTorch eager returning its weights with NumPy computing the
same measures from them.

    ./x bench observe [--tokens 2048,8192] [--eager 2048] [--docs]

Ours runs bare and observed in turn in one process (median of five, three above 4,096 tokens), with attention in f32 and
in bf16; peak memory is that of `bareattn trace` over as many tokens, in a process of its own. Writes
out/bench/observe.json; --docs: the figures into docs/figures/observe.json and docs/speed.md.
"""
import argparse
import json
import pathlib
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "bench")]

from look import MODEL, machine, peer, program, text_of, whole_process  # noqa: E402
from marked import put_between  # noqa: E402


def peak_of_trace(tokens, row):
    """Seconds and MB of the whole command, and how long the text of about so many tokens came out."""
    with tempfile.TemporaryDirectory() as folder:
        text, run = pathlib.Path(folder) / "text.txt", pathlib.Path(folder) / "run.safetensors"
        text.write_text(text_of(tokens), encoding="utf-8")
        seconds, megabytes = whole_process(
            [ROOT / "build/bareattn", "trace", "-m", MODEL, "--file", text, "-o", run, "--precision", row["precision"],
             "--attention", row["attention"], "--beyond", "extrapolate"])
        return {"trace_seconds": seconds, "trace_peak_megabytes": megabytes,
                "trace_file_megabytes": run.stat().st_size / 1e6}


def table(result):
    lines = ["| tokens | threads | projections | attention | tok/s, nothing observed | the same, layer by layer |"
             " all observed | costs over the first | over the second | Q and K kept, too | peak MB of `trace` |",
             "|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in result["prefill"]:
        bare, layered, observed = (row["tokens_per_second" + what] for what in ("", "_layered", "_observed"))
        peak = f"{row['trace_peak_megabytes']:,.0f}" if "trace_peak_megabytes" in row else ""
        lines.append(f"| {row['tokens']:,} | {row['threads']} | {row['precision']} | {row['attention']} |"
                     f" {bare:,.0f} | {layered:,.0f} | {observed:,.0f} | {bare / observed - 1:+.1%} |"
                     f" {layered / observed - 1:+.1%} |"
                     f" {row['tokens_per_second_kept']:,.0f} | {peak} |")
    other = result["eager"]
    if "absent" in other:
        lines.append(f"\nPyTorch eager could not be measured: {other['absent']}")
    else:
        lines.append(f"\nPyTorch {other['version']} eager, weights returned, {other['tokens']:,} tokens, {other['threads']} threads:"
                     f" {other['tokens_per_second']:,.0f} tok/s, {other['tokens_per_second_measured']:,.0f} with the measures"
                     f" computed from them in NumPy; {other['peak_megabytes']:,.0f} MB at the peak.")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", default="2048,8192")
    parser.add_argument("--eager", type=int, default=2048, help="tokens of the eager run; its weights take N x N x 270")
    parser.add_argument("--docs", action="store_true")
    options = parser.parse_args()
    result = machine()
    result["prefill"] = program("prefill", MODEL, "-t", str(result["threads"]), *options.tokens.split(","))
    out = ROOT / "out/bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "observe.json").write_text(json.dumps(result), encoding="utf-8")  # minutes of work: kept if a peer fails
    for row in result["prefill"]:
        row.update(peak_of_trace(row["tokens"], row))
    result["eager"] = peer("eager_measured", result["threads"], options.eager)
    text = json.dumps(result, indent=1) + "\n"
    (out / "observe.json").write_text(text, encoding="utf-8")
    print(table(result))
    if options.docs:
        (ROOT / "docs/figures/observe.json").write_text(text, encoding="utf-8")
        put_between(ROOT / "docs/speed.md", "<!-- observe -->", "<!-- end of observe -->", "\n" + table(result) + "\n")
    print("written: out/bench/observe.json")


if __name__ == "__main__":
    main()
