"""The page beside BertViz and CircuitsVis, over the same weights of the same texts: what the file weighs, how long it
takes to open, what it asks of the network, what axe-core finds, what the Tab key reaches.

compare_viewers.py [--lengths 32,64,...] [--libraries FOLDER]. The weights are those of a trace (every head of
SmolLM2-135M over the opening of Alice, cut to the length); each viewer gets all 270 heads, as its documentation shows.
Needs bertviz, circuitsvis and torch in this Python, the module of python/, and tests/browser set up. FOLDER/node_modules
holds npm packages (d3 5, jquery 2, requirejs 2, and circuitsvis from its wheel) that stand in for the CDNs, so that
opening is not a measure of the network; without it viewers that need a CDN show nothing. Prints a table and writes out/bench/compare_viewers.json, of
which docs/figures/compare_viewers.json is a copy. A viewer that fails is a result, not an error.
"""
import argparse
import importlib.metadata
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import torch

import bareattn

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
from look import machine  # noqa: E402

BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
MAKE_AT_MOST = 2_500_000_000  # bytes: as a string in Python several times as much
OPEN_AT_MOST = 500_000_000  # bytes: a script's text past 512 MB is more than the browser's engine can hold


def ours(trace):
    """What `bareattn page` writes, within the 12 MB of a notebook's."""
    with tempfile.TemporaryDirectory() as folder:
        page = pathlib.Path(folder) / "page.html"
        subprocess.run([BIN, "page", trace.path, "--budget", "12", "-o", page], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        return page.read_text(encoding="utf-8")


def layers_of(trace):
    m = trace.model
    return [torch.stack([torch.from_numpy(trace.tile(l, h)) for h in range(m["heads"])])[None]
            for l in range(m["layers"])]


def bertviz_model(trace):
    from bertviz import model_view
    return "<!DOCTYPE html><html><head></head><body>" + model_view(layers_of(trace), trace.texts, html_action="return").data


def bertviz_head(trace):
    from bertviz import head_view
    return "<!DOCTYPE html><html><head></head><body>" + head_view(layers_of(trace), trace.texts, html_action="return").data


def circuitsvis_heads(trace):
    from circuitsvis.attention import attention_heads
    return "<!DOCTYPE html><html><body>" + str(attention_heads(attention=torch.cat(layers_of(trace), 1)[0], tokens=trace.texts))


VIEWERS = {
    "Bare Attention": (ours, "[role=gridcell] button"),
    "BertViz model_view": (bertviz_model, "svg *"),
    "BertViz head_view": (bertviz_head, "svg line"),
    "CircuitsVis attention_heads": (circuitsvis_heads, "[id^=circuits-vis] canvas, [id^=circuits-vis] img, [id^=circuits-vis] table"),
}


def trace_of(length, folder):
    """The trace of the text's first `length` tokens."""
    text = (ROOT / "examples/text/alice.txt").read_text(encoding="utf-8")
    path = folder / f"{length}.safetensors"
    whole = folder / "whole.safetensors"
    if not whole.exists():
        subprocess.run([BIN, "trace", "-m", MODEL, "--text", text, "-o", whole], check=True, stdout=subprocess.DEVNULL)
    start = "".join(bareattn.Trace(whole).texts[:length])
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", start, "-o", path], check=True, stdout=subprocess.DEVNULL)
    trace = bareattn.Trace(path)
    trace.path = path
    return trace


def browse(file, selector, libraries, checks=False):
    command = ["node", ROOT / "bench/compare_viewers.mjs", file, selector, libraries, *(["checks"] if checks else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        return {"opens": False, "why": "nothing within five minutes"}
    if done.returncode != 0:
        return {"opens": False, "why": done.stderr.strip().split("\n")[-1][:120]}
    return json.loads(done.stdout)


def write(results):
    versions = {p: importlib.metadata.version(p) for p in ("bertviz", "circuitsvis", "torch")}
    out = ROOT / "out/bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare_viewers.json").write_text(
        json.dumps({"machine": machine(), "versions": versions, "results": results}, indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", default="16,64,128,256,1800")
    parser.add_argument("--libraries", default="-")
    options = parser.parse_args()
    results, given_up, sizes = [], {}, {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for length in map(int, options.lengths.split(",")):
            trace = trace_of(length, folder)
            for name, (make, selector) in VIEWERS.items():
                entry = {"viewer": name, "tokens": len(trace)}
                if name in given_up and length > given_up[name]:
                    continue
                if name in sizes and name != "Bare Attention":
                    before, weighed = sizes[name]
                    expected = weighed * (length / before) ** 2  # every weight as text: N x N of them
                    if expected > MAKE_AT_MOST:
                        entry.update({"opens": False, "bytes": int(expected), "made": False,
                                      "why": f"not made: its file would be about {expected / 1e9:.0f} GB"})
                        given_up[name] = length
                        results.append(entry)
                        write(results)
                        print(json.dumps(entry), file=sys.stderr, flush=True)
                        continue
                begin = time.perf_counter()
                text = make(trace)
                entry["seconds_to_make"] = round(time.perf_counter() - begin, 2)
                file = folder / "page.html"
                file.write_text(text, encoding="utf-8")
                entry["bytes"] = file.stat().st_size
                sizes[name] = (length, entry["bytes"])
                del text
                if entry["bytes"] > OPEN_AT_MOST:
                    entry.update({"opens": False, "why": "more than the browser's engine takes as one script"})
                else:
                    entry.update(browse(file, selector, options.libraries, checks=length <= 16))
                    if options.libraries != "-" and length <= 16:
                        entry["without_network"] = browse(file, selector, "-")["opens"]
                if not entry["opens"]:
                    given_up[name] = length
                results.append(entry)
                write(results)  # after each: the large ones may take the machine with them
                print(json.dumps({k: v for k, v in entry.items() if k != "focusable"}), file=sys.stderr, flush=True)
                file.unlink()
    for r in results:
        print(f"{r['viewer']:28} {r['tokens']:5} tokens {r['bytes'] / 1e6:8.1f} MB  "
              f"{'opens in ' + str(r['seconds']) + ' s' if r['opens'] else 'does not open'}")


if __name__ == "__main__":
    main()
