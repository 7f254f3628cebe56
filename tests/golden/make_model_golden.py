#!/usr/bin/env python3
"""Makes tests/golden/model_golden.json: what independent oracles say about the test model on real texts.

Oracles, each from the same GGUF file:
  f64           transformers, weights dequantised by its own GGUF reader, the whole pass (rotation angles too) in double
  transformers  the same in float32 as the library ships it (sdpa attention)
  llama.cpp     llama-cpp-python, which multiplies quantised weights with activations rounded to 8 bits (KV cache f32)

Three texts of different length and kind, none a part of another (a letter of 25 tokens, a program of 200, a treatise of
1,500): logits at eight rows (last row: the 1,000 largest and 200 drawn ids; other rows: the 40 largest and 40 drawn), the
64 tokens that greedy decoding adds, each with the gap between the two largest logits.
One text of 2,000 tokens: perplexity. Token ids stand in the file, so that the test needs no tokenizer.

Needs torch, transformers, gguf and llama-cpp-python. Usage: make_model_golden.py MODEL.gguf
Where to go next: tests/model_oracle_test.cc reads the file and states the bounds.
"""
import json
import math
import pathlib
import sys

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
import llama_cpp

HERE = pathlib.Path(__file__).resolve().parent
TEXTS = [  # name, file, characters to skip, tokens
    ("short", "letter.txt", 0, 25),
    ("middle", "program.txt", 0, 200),
    ("long", "opticks.txt", 0, 1500),
]
PERPLEXITY_TEXT = ("tom-sawyer.txt", 0, 2000)
GREEDY = 64


def load(path, dtype):
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32, attn_implementation="sdpa")
    model = model.to(dtype).eval()
    if dtype == torch.float64:
        rotary = model.model.rotary_emb
        config = model.config
        dim = config.head_dim
        base = getattr(config, "rope_theta", None) or config.rope_parameters["rope_theta"]
        frequency = base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)

        def forward(x, position_ids, **_):
            angle = position_ids[0].to(torch.float64)[None, :, None] * frequency[None, None, :]
            angle = torch.cat((angle, angle), dim=-1)
            return angle.cos().to(x.dtype), angle.sin().to(x.dtype)

        rotary.forward = forward

        # the library's norm computes in float32 whatever the model's type
        def norm(self, x):
            return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

        for module in model.modules():
            if type(module).__name__ == "LlamaRMSNorm":
                module.forward = norm.__get__(module)
    return model


class Torch:
    def __init__(self, path, dtype):
        self.model = load(path, dtype)

    def logits(self, ids):
        with torch.no_grad():
            return self.model(torch.tensor([ids])).logits[0].double().numpy()

    def greedy(self, ids):
        out, gaps = [], []
        with torch.no_grad():
            step = self.model(torch.tensor([ids]), use_cache=True)
            for _ in range(GREEDY):
                row = step.logits[0, -1].double().numpy()
                token, gap = best(row)
                out.append(token), gaps.append(gap)
                step = self.model(torch.tensor([[token]]), past_key_values=step.past_key_values, use_cache=True)
        return out, gaps


class LlamaCpp:
    def __init__(self, path):
        self.model = llama_cpp.Llama(
            str(path), n_ctx=2304, n_batch=512, n_threads=2, logits_all=True, verbose=False, type_k=0, type_v=0)

    def logits(self, ids):
        self.model.reset()
        self.model.eval(ids)
        return np.array(self.model.scores[: len(ids)], dtype=np.float64)

    def greedy(self, ids):
        row = self.logits(ids)[-1]
        out, gaps = [], []
        for _ in range(GREEDY):
            token, gap = best(row)
            out.append(token), gaps.append(gap)
            self.model.eval([token])
            row = np.array(self.model.scores[self.model.n_tokens - 1], dtype=np.float64)
        return out, gaps


def best(row):
    top = np.argsort(-row, kind="stable")[:2]
    return int(top[0]), float(row[top[0]] - row[top[1]])


def perplexity(logits, ids):
    rows = logits[:-1]
    peak = rows.max(axis=1, keepdims=True)
    lse = peak[:, 0] + np.log(np.exp(rows - peak).sum(axis=1))
    return math.exp(float((lse - rows[np.arange(len(ids) - 1), ids[1:]]).mean()))


def number(x):
    return float(f"{x:.7g}")


def main():
    path = pathlib.Path(sys.argv[1]).resolve()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    texts = {}
    for name, file, skip, count in TEXTS + [("perplexity", *PERPLEXITY_TEXT)]:
        text = (HERE / "text" / file).read_text()[skip:]
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:count]
        assert len(ids) == count, (name, len(ids))
        texts[name] = {"file": file, "tokens": ids}

    random = np.random.default_rng(7)
    for oracle in ("f64", "transformers", "llama.cpp"):
        if oracle == "llama.cpp":
            runner = LlamaCpp(path)
        else:
            runner = Torch(path, torch.float64 if oracle == "f64" else torch.float32)
        for name, entry in texts.items():
            ids = entry["tokens"]
            logits = runner.logits(ids)
            result = entry.setdefault("oracles", {}).setdefault(oracle, {})
            if name == "perplexity":
                result["perplexity"] = number(perplexity(logits, ids))
                print(oracle, name, result["perplexity"], flush=True)
                continue
            if "rows" not in entry:  # the first oracle chooses what is compared
                entry["rows"] = sorted({int(x) for x in np.linspace(0, len(ids) - 1, 8)})
                entry["ids"] = []
                for row in entry["rows"]:
                    top, drawn = (1000, 200) if row == len(ids) - 1 else (40, 40)
                    chosen = set(np.argsort(-logits[row])[:top].tolist())
                    chosen |= set(random.choice(logits.shape[1], drawn, replace=False).tolist())
                    entry["ids"].append(sorted(int(x) for x in chosen))
            result["logits"] = [[number(logits[row, i]) for i in chosen]
                                for row, chosen in zip(entry["rows"], entry["ids"])]
            result["greedy"], gaps = runner.greedy(ids)
            result["gaps"] = [float(f"{gap:.3g}") for gap in gaps]
            print(oracle, name, "smallest gap", min(gaps), flush=True)
        del runner
    out = {
        "model": path.name,
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__,
                     "llama-cpp-python": llama_cpp.__version__},
        "texts": texts,
    }
    (HERE / "model_golden.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
