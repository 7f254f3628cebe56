"""What a tile and a row of a trace cost: 256 x 256 weights and one token's weights on all keys, read from traces of short
and long texts, first (its pages checked, the file in memory) and again. Medians of many reads, by the Python module on this
machine.

trace.py [--tokens N ...] [--write]: prints the table, writes out/bench/trace.json; --write puts it into docs/trace.md. The
traces are of a model made here, one layer of one head of 64 with random weights, which costs as much per tile and row as
any head of 64 does; so that a full causal pass over 100,000 tokens takes seconds.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import gguf
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from marked import put_between  # noqa: E402

import bareattn  # noqa: E402

BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
BEGIN, END = "<!-- figures: begin (bench/trace.py --write) -->", "<!-- figures: end -->"
WIDTH = 64


def letters():
    """The byte alphabet of byte-level BPE: a printable letter for each byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + other.index(b)) for b in range(256)]


def write_model(path):
    writer = gguf.GGUFWriter(str(path), "llama")
    draw = np.random.default_rng(0)
    writer.add_name("one head")
    writer.add_block_count(1)
    writer.add_context_length(1 << 20)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(100000.0)
    writer.add_rope_dimension_count(WIDTH)
    writer.add_vocab_size(256)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(letters())
    writer.add_token_types([1] * 256)
    writer.add_token_merges([])
    writer.add_eos_token_id(0)

    def add(name, *shape):
        scale = 1.0 if len(shape) == 1 else 0.3
        writer.add_tensor(name, (np.ones(shape) if len(shape) == 1 else draw.normal(0, scale, shape)).astype(np.float32))
    add("token_embd.weight", 256, WIDTH)
    add("output_norm.weight", WIDTH)
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        add(f"blk.0.{name}.weight", WIDTH, WIDTH)
    add("blk.0.attn_norm.weight", WIDTH)
    add("blk.0.ffn_norm.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def milliseconds(read, count):
    """Of each read in turn; `read` is given which one it is."""
    times = []
    for i in range(count):
        start = time.perf_counter()
        read(i)
        times.append(1000 * (time.perf_counter() - start))
    return {"first": round(times[0], 3), "median": round(statistics.median(times[1:]), 3), "best": round(min(times), 3)}


def measure(model, tokens, store, folder):
    draw = random.Random(tokens)
    text = folder / "text.txt"
    text.write_text("".join(draw.choice("abcdefgh ") for _ in range(tokens)))
    run = folder / "run.safetensors"
    subprocess.run([BIN, "trace", "-m", model, "--file", text, "-o", run, "--store", store], check=True,
                   stdout=subprocess.DEVNULL)
    trace = bareattn.Trace(run)
    assert len(trace) == tokens, f"{tokens} letters became {len(trace)} tokens"
    last, blocks = tokens - 1, max(1, tokens // 512 - 1)

    def within_a_block(i):
        begin = 512 * (i * 7 % blocks)
        trace.tile(0, 0, (begin + 256, begin + 512), (begin, begin + 256))

    def anywhere(i):
        begin = i * 509 % (tokens - 512)
        trace.tile(0, 0, (tokens - 256, tokens), (begin, begin + 256))

    result = {"tokens": tokens, "store": store,
              "tile": milliseconds(within_a_block, 61), "tile_anywhere": milliseconds(anywhere, 61),
              "row": milliseconds(lambda i: trace.row(0, 0, last), 61),
              "top": milliseconds(lambda i: trace.top(0, 0, last, 50), 61)}
    run.unlink()
    return result


def table(results):
    lines = ["| tokens | store | 256 × 256 tile within a block | tile of the last rows anywhere | last row | its 50 strongest |",
             "|---|---|---|---|---|---|"]
    for r in results:
        cells = [f"{r[part]['median']:.2f} ms (best {r[part]['best']:.2f}, first {r[part]['first']:.1f})"
                 for part in ("tile", "tile_anywhere", "row", "top")]
        lines.append(f"| {r['tokens']:,} | {r['store']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096, 32768, 100000])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "model.gguf"
        write_model(model)
        for tokens in options.tokens:
            for store in ("f16", "f32"):
                results.append(measure(model, tokens, store, pathlib.Path(folder)))
                print(json.dumps(results[-1]), flush=True)
    out = ROOT / "out/bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "trace.json").write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    if options.write:
        put_between(ROOT / "docs/trace.md", BEGIN, END, table(results) + "\n")


if __name__ == "__main__":
    main()
