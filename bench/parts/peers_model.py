"""One peer, one measurement, one process: prefill of the same GGUF file. Called by look.py; prints one JSON line.

peers_model.py llama_cpp|sdpa|eager_weights MODEL TOKENS THREADS
"""
import json
import os
import resource
import sys
import time


def median(values):
    return sorted(values)[len(values) // 2]


def main():
    kind, model, count, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    tokens = [1000 + i * 7919 % 40000 for i in range(count)]
    times = []
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
        weights = kind == "eager_weights"
        net = transformers.AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=file, dtype=torch.float32, attn_implementation="eager" if weights else "sdpa").eval()
        ids = torch.tensor([tokens])
        with torch.no_grad():
            for _ in range(1 if weights else 3):
                start = time.perf_counter()
                out = net(ids, output_attentions=weights, logits_to_keep=1, use_cache=False)
                times.append(time.perf_counter() - start)
                del out
        version = torch.__version__
    print(json.dumps({"peer": kind, "version": version, "tokens": count, "threads": threads,
                      "tokens_per_second": count / median(times),
                      "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
