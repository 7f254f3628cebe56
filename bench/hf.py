"""transformers on bareattn, beside its own eager and SDPA attention: seconds, peak memory and logits of one prefill.

    ./x bench hf [--tokens 512,2048] [--repeats 3]

The real model (SmolLM2-135M-Instruct from its GGUF file) over a real text, every contender in a process of its own, so
that the peak of resident memory is its own (what the model alone took is subtracted). Contenders:
eager, eager returning its weights, sdpa, bareattn, and bareattn with every row measure and the column sums.
Writes out/bench/hf.json; --docs: the figures into docs/figures/hf.json and docs/speed.md.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from marked import put_between  # noqa: E402

MODEL = pathlib.Path(os.environ.get("BAREATTN_MODEL") or ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf")
CONTENDERS = {"eager": ("eager", ""), "eager, weights returned": ("eager", "weights"), "sdpa": ("sdpa", ""),
              "bareattn": ("bareattn", ""), "bareattn, observed": ("bareattn", "measures")}
MEASURES = ("lse", "entropy", "max_logit", "max_key", "sum_squares", "mean_distance", "column_sums")


def run(implementation, extra, tokens, repeats):
    import contextlib

    import numpy as np
    import torch
    import transformers

    import bareattn.hf

    bareattn.hf.register()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(MODEL.parent), gguf_file=MODEL.name, attn_implementation=implementation, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(MODEL.parent), gguf_file=MODEL.name)
    text = (ROOT / "examples" / "text" / "alice.txt").read_text()
    ids = tokenizer(text, return_tensors="pt").input_ids
    while ids.shape[1] < tokens:
        ids = torch.cat([ids, ids], 1)
    ids = ids[:, :tokens]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats):
        observing = bareattn.hf.observe(*MEASURES) if extra == "measures" else contextlib.nullcontext()
        start = time.perf_counter()
        with torch.no_grad(), observing:
            result = model(ids, output_attentions=extra == "weights")
        seconds.append(time.perf_counter() - start)
        logits = result.logits
        del result
    np.save(ROOT / "out" / "bench" / f"hf-{implementation}-{extra}.npy", logits[0].numpy())
    print(json.dumps({"seconds": sorted(seconds)[len(seconds) // 2],
                      "above_the_model_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024}))


def write_docs(rows):
    lines = ["| tokens | attention | seconds | tok/s | MB above the model | logits from eager's |", "|---|---|---|---|---|---|"]
    for row in rows:
        if "seconds" in row:
            lines.append(f"| {row['tokens']} | {row['contender']} | {row['seconds']:.2f} | {row['tokens'] / row['seconds']:.0f} "
                         f"| {row['above_the_model_mb']:.0f} | {row['largest_logit_difference']:.1e} |")
    put_between(ROOT / "docs/speed.md", "<!-- hf -->", "<!-- end of hf -->", "\n".join(lines) + "\n")
    (ROOT / "docs/figures/hf.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", default="512,2048", help="lengths, comma separated (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--docs", action="store_true", help="the figures also into docs/")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        implementation, extra, tokens = options.worker
        return run(implementation, extra, int(tokens), options.repeats)
    import numpy as np

    out = ROOT / "out" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for tokens in map(int, options.tokens.split(",")):
        print(f"\n{tokens} tokens, {len(os.sched_getaffinity(0))} threads")
        eager = None
        for name, (implementation, extra) in CONTENDERS.items():
            done = subprocess.run([sys.executable, __file__, "--repeats", str(options.repeats), "--worker",
                                   implementation, extra, str(tokens)], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"  {name:26} failed: {done.stderr.strip().splitlines()[-1][:120] if done.stderr else done.returncode}")
                rows.append({"tokens": tokens, "contender": name, "failed": done.returncode})
                continue
            row = {"tokens": tokens, "contender": name, **json.loads(done.stdout.strip().splitlines()[-1])}
            logits = np.load(out / f"hf-{implementation}-{extra}.npy")
            eager = logits if eager is None else eager
            row["largest_logit_difference"] = float(np.abs(logits - eager).max())
            row["same_next_token"] = float((logits.argmax(-1) == eager.argmax(-1)).mean())
            rows.append(row)
            print(f"  {name:26} {row['seconds']:7.2f} s {tokens / row['seconds']:7.0f} tok/s"
                  f" {row['above_the_model_mb']:7.0f} MB above the model; logits within"
                  f" {row['largest_logit_difference']:.1e} of eager's")
    for file in out.glob("hf-*.npy"):
        file.unlink()
    (out / "hf.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if options.docs:
        write_docs(rows)
    print("\nwritten: out/bench/hf.json")


if __name__ == "__main__":
    main()
