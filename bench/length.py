"""Time and memory of an observed run against its length: `bareattn trace` on texts of 1,000 tokens and more, in a fresh
process each, with the peak of resident memory as the kernel counted it. Results: out/bench/length.json, and the table
of docs/length.md on standard output.
Usage: length.py [--lengths 1000,2000,...] [--window W --sinks S] [--threads N] [--keep FILE]"""
import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(os.environ.get("BAREATTN_BIN", ROOT / "build/bareattn"))
MODEL = Path(os.environ.get("BAREATTN_MODEL", ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))


def words(path, tokens):
    """A text of about so many tokens: the two golden texts again and again, cut."""
    texts = sorted((ROOT / "tests/golden/text").glob("*.txt"))
    text = "".join(p.read_text() for p in texts)
    path.write_text((text * (tokens * 5 // len(text) + 1))[:round(tokens * 3.59)])


def child_use(arguments):
    """Runs the command; its peak resident memory in bytes, and the processors' seconds."""
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.execv(arguments[0], arguments)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(arguments)} failed with status {status}")
    return usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def metadata(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return header["__metadata__"], header["tokens"]["shape"][0]


def measure(options, length, folder):
    text, run = Path(folder) / "text.txt", options.keep or str(Path(folder) / "run.safetensors")
    words(text, length)
    reach = ["--window", str(options.window), "--sinks", str(options.sinks)] if options.window is not None else []
    peak, busy = child_use([str(BIN), "trace", "-m", str(MODEL), "--file", str(text), "-o", run, "--beyond", "extrapolate",
                            "-t", str(options.threads), "--precision", options.precision, *reach])
    facts, tokens = metadata(run)
    seconds = json.loads(facts["run"])["seconds"]
    return {"tokens": tokens, "seconds": seconds, "processor_seconds": busy,
            "tokens_per_second": tokens / seconds, "peak_bytes": peak,
            "file_bytes": os.path.getsize(run), "window": options.window, "sinks": options.sinks,
            "precision": options.precision, "threads": json.loads(facts["run"])["threads"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", default="1000,2000,4000,8000")
    parser.add_argument("--window", type=int)
    parser.add_argument("--sinks", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--precision", default="f32")
    parser.add_argument("--keep", help="write the last trace here and leave it")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for length in map(int, options.lengths.split(",")):
            rows.append(measure(options, length, folder))
            print("{tokens:>8,} tokens {seconds:8.1f} s {tokens_per_second:7.0f} tok/s".format(**rows[-1]), file=sys.stderr)
    out = ROOT / "out/bench/length.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    out.write_text(json.dumps({"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(),
                               "load_at_the_end": load, "runs": rows}, indent=1) + "\n")
    print("| tokens | window + sinks | seconds | processors' seconds | tokens/s | peak memory | file |\n"
          "|---|---|---|---|---|---|---|")
    for r in rows:
        window = "–" if r["window"] is None else f"{r['window']:,} + {r['sinks']}"
        print(f"| {r['tokens']:,} | {window} | {r['seconds']:.1f} | {r['processor_seconds']:.0f} | "
              f"{r['tokens_per_second']:.0f} | "
              f"{r['peak_bytes'] / 1e9:.2f} GB | {r['file_bytes'] / 1e9:.2f} GB |")


if __name__ == "__main__":
    main()
