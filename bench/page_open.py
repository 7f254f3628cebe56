"""How long the page takes to open and how smoothly it moves, at a length: from a file, and served.

page_open.py [--tokens 10000] [--trace RUN.safetensors] [--times 5] [--head 5.3] [--serve]: runs so many tokens (Tom Sawyer,
then the Opticks, as often as needed; past the model's context by extrapolation) or takes the trace given, writes its
page, opens it from disk in a fresh browser and reports, medians of TIMES: first paint, the grid painted, a head shown
after a click, single cells exact after the key that goes there, and the frames while the map is dragged. --serve does
the same of `bareattn serve` on the trace. Prints a table and writes out/bench/page_open.json, of which
docs/figures/page_open.json is a copy.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from look import machine  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
NUMBERS = ("first_paint_ms", "grid_painted_ms", "head_shown_ms", "cells_exact_ms", "frame_median_ms", "frame_95_ms")


def run(*command):
    return subprocess.run([BIN, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout


def text_of(tokens):
    """At least so many tokens, cut to what makes the number: by halving the last steps."""
    texts = [(ROOT / "tests/golden/text" / name).read_text(encoding="utf-8") for name in ("tom-sawyer.txt", "opticks.txt")]
    whole = "".join(texts) * (1 + tokens // 5000)

    def count(length):
        said = json.loads(run("tokenize", "-m", MODEL, "--json", "--text", whole[:length]))
        return len(said["ids"] if isinstance(said, dict) else said)

    low, high = 0, min(len(whole), 8 * tokens)
    while low < high:
        middle = (low + high) // 2
        if count(middle) < tokens:
            low = middle + 1
        else:
            high = middle
    return whole[:low]


def opened(what, options):
    done = subprocess.run(["node", ROOT / "bench/page_open.mjs", what, options.head, str(options.times)], check=True,
                          stdout=subprocess.PIPE, text=True)
    all_runs = json.loads(done.stdout)
    result = {name: round(statistics.median(r[name] for r in all_runs), 1) for name in NUMBERS}
    result.update({name + "_largest": round(max(r[name] for r in all_runs), 1) for name in NUMBERS[:4]})
    result.update({name: all_runs[0][name] for name in ("renderer", "how", "requests", "tokens_in_view")})
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=10_000)
    parser.add_argument("--trace")
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--head", default="5.3")
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        trace = options.trace
        if trace is None:
            trace = folder / "run.safetensors"
            run("trace", "-m", MODEL, "--text", text_of(options.tokens), "--beyond", "extrapolate", "-o", trace)
        if options.serve:
            server = subprocess.Popen([BIN, "serve", "--json", trace], stdout=subprocess.PIPE)
            try:
                said = json.loads(server.stdout.readline())
                results.append({"what": "served", "tokens": said["tokens"], **opened(said["url"], options)})
            finally:
                server.terminate()
                server.wait()
        else:
            page = folder / "page.html"
            run("page", trace, "-o", page)
            start = page.read_text(encoding="utf-8")
            tokens = json.loads(start.split('id="page-data">')[1].split("</script>")[0])["run"]["tokens"]
            results.append({"what": "file", "tokens": tokens, "bytes": page.stat().st_size, **opened(page, options)})
    out = ROOT / "out/bench"
    out.mkdir(parents=True, exist_ok=True)
    path = out / "page_open.json"
    known = json.loads(path.read_text())["results"] if path.exists() else []
    known = [k for k in known if (k["what"], k["tokens"]) not in [(r["what"], r["tokens"]) for r in results]]
    path.write_text(json.dumps({"machine": machine(), "results": known + results}, indent=1) + "\n")
    for r in results:
        print(f"{r['what']}, {r['tokens']:,} tokens: first paint {r['first_paint_ms']:.0f} ms, grid {r['grid_painted_ms']:.0f} ms, "
              f"head {r['head_shown_ms']:.0f} ms, cells {r['cells_exact_ms']:.0f} ms, frames {r['frame_median_ms']:.1f} ms "
              f"(95 % within {r['frame_95_ms']:.1f}), {r['requests']} requests")


if __name__ == "__main__":
    main()
