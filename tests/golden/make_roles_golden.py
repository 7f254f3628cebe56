#!/usr/bin/env python3
"""Makes tests/golden/roles_golden.json: what published code and eager weights say about heads, for tests/roles_test.cc.

Weights come from transformers with eager attention, in double, from the same GGUF file (make_model_golden.load). On them:
  repeat    TransformerLens' own detect_head() ("mul", its three built-in patterns), the model behind it being an adapter
  passage   NumPy: self, local, sink, broad, and each row's strongest key with its lead over the second
  needle    NumPy: strongest keys at the steps of an answer, and what the model would say
  copying   torch: W_U norm(W_O W_V norm(x)) of words, x the stream after layer 0; the rank of the word itself
Token ids stand in the file, so that the test needs no tokenizer.

Needs torch, transformers, gguf, transformer_lens (4.3). Usage: make_roles_golden.py MODEL.gguf
"""
import json
import pathlib
import random
import sys
import types

import numpy as np
import torch
from transformer_lens.head_detector import detect_head
from transformers import AutoTokenizer

from make_model_golden import load

HERE = pathlib.Path(__file__).resolve().parent
REPEAT, PASSAGE, LOCAL_FROM, SINK_ROWS, WINDOW = 20, 256, 128, 64, 64
CLOSE = 8e-4  # twice the bound of a weight in roles_test.cc: a smaller lead may turn in f32


class Eager:
    def __init__(self, path):
        self.model = load(path, torch.float64)
        self.model.set_attn_implementation("eager")
        self.config = self.model.config

    def run(self, ids):
        """Weights [L][Hq, N, N], logits [N, V], the stream after layer 0 [N, W]."""
        with torch.no_grad():
            out = self.model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
        return [a[0] for a in out.attentions], out.logits[0].double().numpy(), out.hidden_states[1][0]


def adapter(config, ids, weights):
    """What detect_head() asks of a model."""
    cfg = types.SimpleNamespace(device="cpu", n_layers=config.num_hidden_layers, n_heads=config.num_attention_heads,
                                n_ctx=config.max_position_embeddings, dtype=torch.float64)
    cache = {("pattern", layer, "attn"): w for layer, w in enumerate(weights)}
    return types.SimpleNamespace(cfg=cfg, to_tokens=lambda _: torch.tensor([ids]),
                                 run_with_cache=lambda *_, **__: (None, cache))


def rounded(values):
    return [float(f"{v:.9g}") for v in np.asarray(values, dtype=np.float64).reshape(-1)]


def repeat(eager, rng):
    half = rng.sample(range(1000, 49000), REPEAT)
    ids = [1] + half + half
    weights, _, _ = eager.run(ids)
    model = adapter(eager.config, ids, weights)
    scores = {kind: rounded(detect_head(model, "", kind + "_head").numpy())
              for kind in ("induction", "duplicate_token", "previous_token")}
    return {"tokens": ids, "transformer_lens_mul": scores}


def passage(eager, tokenizer):
    text = (HERE / "text/opticks.txt").read_text(encoding="utf-8")
    ids = [1] + tokenizer(text[:4000], add_special_tokens=False)["input_ids"][:PASSAGE - 1]
    weights, _, _ = eager.run(ids)
    out = {name: [] for name in ("self", "local", "sink", "broad")}
    keys, leads = [], []
    for layer in weights:
        for p in layer.numpy():
            rows = np.arange(PASSAGE)
            recent = [p[i, max(0, i - WINDOW + 1):i + 1].sum() for i in rows]
            entropy = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(1)
            out["self"].append(p[rows, rows][1:].mean())
            out["local"].append(np.mean(recent[LOCAL_FROM:]))
            out["sink"].append(p[:SINK_ROWS, 0].mean())
            out["broad"].append((entropy[1:] / np.log(rows[1:] + 1)).mean())
            order = np.sort(p, axis=1)
            keys.append(p.argmax(1).tolist())
            leads.append([int(i) for i in rows[1:] if order[i, -1] - order[i, -2] < CLOSE])
    return {"tokens": ids, **{k: rounded(v) for k, v in out.items()}, "strongest": keys, "close_rows": leads}


def needle(eager, tokenizer):
    def encode(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]
    hay = encode((HERE / "text/tom-sawyer.txt").read_text(encoding="utf-8")[:1200])
    answer = encode(" copper lantern seven maple")
    ids = [1] + hay[:90] + encode(" The secret words of the mill are")
    begin = len(ids)
    ids += answer
    end = len(ids)
    ids += encode(".") + hay[90:200] + encode("\n\nQuestion: What are the secret words?\nAnswer: The secret words are")
    first = len(ids) - 1
    ids += answer[:-1]
    weights, logits, _ = eager.run(ids)
    said = [int(logits[first + s].argmax()) for s in range(len(answer))]
    keys, close = [], []
    for layer in weights:
        for p in layer.numpy():
            rows = p[first:first + len(answer)]
            order = np.sort(rows, axis=1)
            keys.append(rows.argmax(1).tolist())
            close.append(int((order[:, -1] - order[:, -2] < CLOSE).sum()))
    return {"tokens": ids, "begin": begin, "end": end, "answer": first, "said": said, "strongest": keys, "close": close}


def copying(eager, ids, positions):
    _, _, stream = eager.run(ids)
    model, config = eager.model, eager.config
    heads, groups, dim = config.num_attention_heads, config.num_key_value_heads, model.model.layers[0].self_attn.head_dim
    ranks, leads = [], []
    with torch.no_grad():
        for layer in model.model.layers:
            x = layer.input_layernorm(stream[positions])
            value = layer.self_attn.v_proj(x).view(len(positions), groups, dim)
            for head in range(heads):
                w_o = layer.self_attn.o_proj.weight[:, head * dim:(head + 1) * dim]
                logits = model.lm_head(model.model.norm(value[:, head // (heads // groups)] @ w_o.T))
                own = logits[torch.arange(len(positions)), torch.tensor(ids)[positions]]
                ahead = (logits > own[:, None]).sum(1)
                top = logits.topk(6, dim=1).values
                edge = torch.minimum((own - top[:, 4]).abs(), (own - top[:, 5]).abs())
                size = logits.abs().max(1).values
                ranks.append(ahead.tolist())
                leads.append([bool(e < 1e-4 * s) for e, s in zip(edge, size)])
    return {"tokens": ids, "positions": positions, "rank": [[min(r, 9) for r in row] for row in ranks],
            "close": [[int(c) for c in row] for row in leads]}


def main():
    path = pathlib.Path(sys.argv[1]).resolve()
    rng = random.Random(5)
    eager = Eager(path)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    text = passage(eager, tokenizer)
    golden = {"repeat": repeat(eager, rng), "passage": text, "needle": needle(eager, tokenizer),
              "copying": copying(eager, text["tokens"][:120], [17, 40, 66, 101])}
    (HERE / "roles_golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
