"""One peer, one measurement, one process: prefill of the same GGUF file. Called by look.py; prints one JSON line.

peers_model.py llama_cpp|sdpa|eager_weights|eager_measured MODEL TOKENS THREADS

eager_measured: what a user does today who wants the measures of bareattn, from the weights that eager returns.
"""
import json
import os
import resource
import sys
import time


def median(values):
    return sorted(values)[len(values) // 2]


def measures(layers):
    """Per row: largest weight and its key, entropy, sum of squares, mean distance, first, self and previous key, the
    last 64. Per key: what it received. Per 256 x 256 block: sum and maximum."""
    import numpy as np

    for weights in layers:
        for w in weights[0]:  # [N, N]
            n = len(w)
            i, j = np.arange(n)[:, None], np.arange(n)[None, :]
            w.max(1), w.argmax(1), (w * w).sum(1), (w * (i - j)).sum(1), w.sum(0)
            -(w * np.log(np.maximum(w, 1e-38))).sum(1)
            w[:, 0], np.diagonal(w), np.diagonal(w, -1), np.where((i - j < 64) & (i >= j), w, 0).sum(1)
            edges = np.arange(0, n, 256)
            np.add.reduceat(np.add.reduceat(w, edges, 0), edges, 1)
            np.maximum.reduceat(np.maximum.reduceat(w, edges, 0), edges, 1)


def main():
    kind, model, count, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    tokens = [1000 + i * 7919 % 40000 for i in range(count)]
    times, measured = [], []
    if kind == "llama_cpp":
        import llama_cpp

        engine = llama_cpp.Llama(model, n_ctx=count + 8, n_batch=512, n_threads=threads, n_threads_batch=threads,
                                 verbose=False)
        for _ in range(3):
            engine.reset()
            start = time.perf_counter()
            engine.eval(tokens)
            times.append(time.perf_counter() - start)
        version = llama_cpp.__version__
    else:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import torch
        import transformers

        torch.set_num_threads(threads)
        folder, file = os.path.split(os.path.abspath(model))
        weights = kind != "sdpa"
        net = transformers.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=file, dtype=torch.float32, attn_implementation="eager" if weights else "sdpa").eval()
        ids = torch.tensor([tokens])
        with torch.no_grad():
            for _ in range(1 if weights else 3):
                start = time.perf_counter()
                out = net(ids, output_attentions=weights, logits_to_keep=1, use_cache=False)
                times.append(time.perf_counter() - start)
                if kind == "eager_measured":
                    measures([a.numpy() for a in out.attentions])
                    measured.append(time.perf_counter() - start)
                del out
        version = torch.__version__
    print(json.dumps({"peer": kind, "version": version, "tokens": count, "threads": threads,
                      "tokens_per_second": count / median(times),
                      **({"tokens_per_second_measured": count / median(measured)} if measured else {}),
                      "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
