#!/usr/bin/env python3
"""Makes tests/golden/families/NAME.gguf.gz and NAME.json: a tiny random model of each family and what transformers computes.

A model is made from a transformers config, its weights drawn from a seed and rounded to few bits (so that they pack
well; a file holds them as F32), and written as GGUF under llama.cpp's names and conventions, by the tables below and
not by anything of this project. The numbers are those of the eager model: logits of four rows and attention weights of
two heads a layer, three rows each. It runs in double: while it is built and run, torch.float32 is torch.float64, so
that norms, angles and softmax, which the library computes in "float32" whatever the model's type, are in double too; a
second run, in float32 as the library ships it, must agree to 1e-4 of the largest logit.

check_families_llama.mjs runs the files in llama.cpp, which confirms names and conventions.

How to run: python3 -m venv V; V/bin/pip install -r tests/torch/requirements.txt; V/bin/python
tests/golden/make_families_golden.py [NAME ...]. Where to go next: tests/families_test.cc reads the files
and derives the bounds; tests/cli/test_families.py runs every command on them.
"""
import gzip
import json
import pathlib
import re
import sys
import tempfile

import gguf
import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).resolve().parent / "families"
VOCABULARY, TOKENS, CONTEXT = 300, 48, 1024
SIZES = dict(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=64, num_hidden_layers=4, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=CONTEXT, tie_word_embeddings=True, bos_token_id=298,
             eos_token_id=299, pad_token_id=None)

LLAMA = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up",
}
NORMS_AFTER = LLAMA | {
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
GPT2 = {
    "transformer.wte": "token_embd", "transformer.wpe": "position_embd", "transformer.ln_f": "output_norm",
    "ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}
GPTNEOX = {
    "gpt_neox.embed_in": "token_embd", "lm_head": "output", "gpt_neox.final_layer_norm": "output_norm",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
    "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down",
}


def plain(config, name, values):
    return values


def neighbours(config, name, values):
    """Rows of Q and K in the order in which neighbours rotate together: llama.cpp's for some families."""
    if not re.search(r"[qk]_proj", name):
        return values
    heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
    return values.reshape(heads, 2, values.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)


def one_more(config, name, values):
    return values + 1 if name.endswith("norm.weight") else values


def turned(config, name, values):
    return values.T if re.search(r"c_(attn|proj|fc)\.weight", name) else values


def apart(config, name, values):
    """Q, K and V of all heads, where Hugging Face has them head by head."""
    if "query_key_value" not in name:
        return values
    heads = config.num_attention_heads
    return values.reshape(heads, 3, values.shape[0] // heads // 3, -1).swapaxes(0, 1).reshape(values.shape)


def rope(base, **more):
    return {"rope_parameters": {"rope_theta": base, "rope_type": "default"} | more}


def llama_keys(w, c):
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)


def llama_keys_and_base(w, c):
    llama_keys(w, c)
    w.add_rope_freq_base(c.rope_parameters["rope_theta"])


def head_keys(w, c):
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)


def qwen3_keys(w, c):
    llama_keys_and_base(w, c)
    head_keys(w, c)


def gpt2_keys(w, c):
    w.add_feed_forward_length(4 * c.n_embd)
    w.add_layer_norm_eps(c.layer_norm_epsilon)


def gptneox_keys(w, c):
    w.add_feed_forward_length(c.intermediate_size)
    w.add_layer_norm_eps(c.layer_norm_eps)
    w.add_rope_dimension_count(4)
    w.add_parallel_residual(c.use_parallel_residual)


def gemma2_keys(w, c):
    llama_keys(w, c)
    head_keys(w, c)
    w.add_attn_logit_softcapping(c.attn_logit_softcapping)
    w.add_final_logit_softcapping(c.final_logit_softcapping)
    w.add_sliding_window(c.sliding_window)


def gemma3_keys(w, c):
    llama_keys(w, c)
    head_keys(w, c)
    w.add_rope_freq_base(c.rope_parameters["full_attention"]["rope_theta"])
    w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    w.add_rope_scaling_factor(c.rope_parameters["full_attention"]["factor"])
    w.add_sliding_window(c.sliding_window)


def phi3_keys(w, c):
    llama_keys_and_base(w, c)
    w.add_rope_dimension_count(8)
    w.add_sliding_window(c.sliding_window)


def olmo2_keys(w, c):
    llama_keys_and_base(w, c)
    w.add_sliding_window(c.sliding_window)
    w.add_sliding_window_pattern([kind == "sliding_attention" for kind in c.layer_types])


def granite_keys(w, c):
    llama_keys_and_base(w, c)
    w.add_attention_scale(c.attention_multiplier)
    w.add_embedding_scale(c.embedding_multiplier)
    w.add_residual_scale(c.residual_multiplier)
    w.add_logit_scale(c.logits_scaling)


def family(config, keys, names=LLAMA, change=plain):
    return {"config": config, "keys": keys, "names": names, "change": change}


APART = SIZES | {"tie_word_embeddings": False}
FAMILIES = {
    "qwen2": family(transformers.Qwen2Config(**SIZES, **rope(1e6)), llama_keys_and_base),
    "qwen3": family(transformers.Qwen3Config(**SIZES, head_dim=16, **rope(1e6)), qwen3_keys),
    "gpt2": family(
        transformers.GPT2Config(vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=48, n_layer=4, n_head=4,
                                bos_token_id=298, eos_token_id=299), gpt2_keys, GPT2, turned),
    "gptneox": family(transformers.GPTNeoXConfig(**APART, **rope(1e4, partial_rotary_factor=1 / 3)), gptneox_keys, GPTNEOX,
                      apart),
    "gemma2": family(
        transformers.Gemma2Config(**SIZES, head_dim=16, query_pre_attn_scalar=16, sliding_window=12, **rope(1e4),
                                  attn_logit_softcapping=3.0, final_logit_softcapping=8.0,
                                  layer_types=["sliding_attention", "full_attention"] * 2),
        gemma2_keys, NORMS_AFTER, one_more),
    "gemma3": family(
        transformers.Gemma3TextConfig(
            **SIZES | {"num_hidden_layers": 6}, head_dim=16, query_pre_attn_scalar=16, sliding_window=12,
            layer_types=["sliding_attention"] * 5 + ["full_attention"],
            rope_parameters={"full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
                             "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"}}),
        gemma3_keys, NORMS_AFTER, one_more),
    "phi3": family(
        transformers.Phi3Config(**APART | {"pad_token_id": 299}, sliding_window=20, original_max_position_embeddings=CONTEXT,
                                **rope(1e4, partial_rotary_factor=2 / 3)), phi3_keys),
    "olmo2": family(
        transformers.Olmo3Config(**APART, sliding_window=12, layer_types=(["sliding_attention"] * 3 + ["full_attention"]),
                                 **rope(5e5)), olmo2_keys, NORMS_AFTER),
    "smollm3": family(transformers.SmolLM3Config(**SIZES, **rope(2e6)), llama_keys_and_base, change=neighbours),
    "granite": family(
        transformers.GraniteConfig(**SIZES, **rope(1e4), attention_multiplier=0.4, embedding_multiplier=3.0,
                                   residual_multiplier=0.5, logits_scaling=2.0),
        granite_keys, change=neighbours),
}


def names(table, name):
    layer = re.search(r"\.(\d+)\.", name)
    stem, kind = name.rsplit(".", 1)
    if layer is None:
        return table[stem] + "." + kind
    return f"blk.{layer[1]}.{table[stem[layer.end():]]}.{kind}"


def drawn(config, name, shape, random):
    """Weights of few bits: norms about 1 (or 0, where the library adds 1), embeddings about 1 large."""
    scale, steps, middle = 0.2, 64, 0
    if re.search(r"(norm|ln_\w+)\.weight$", name):
        middle = 0 if config.model_type.startswith("gemma") else 1
    elif re.search(r"embed_tokens|embed_in|wte", name):
        scale, steps = 0.3, 64
    values = middle + random.normal(0, scale, shape)
    return torch.tensor(np.round(values * steps) / steps)


def build(config, dtype):
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=dtype).eval()
    random = np.random.default_rng(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(drawn(config, name, parameter.shape, random))
    return model


def run(model, tokens):
    with torch.no_grad():
        out = model(torch.tensor([tokens]), output_attentions=True)
    return out.logits[0].double().numpy(), [a[0].double().numpy() for a in out.attentions]


def in_double(config, tokens):
    kept = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    torch.set_default_dtype(torch.float64)
    try:
        model = build(config, torch.float64)
        return model, *run(model, tokens)
    finally:
        torch.float32, torch.float, torch.Tensor.float = kept
        torch.set_default_dtype(torch.float32)


def byte_letters():
    """The letters that byte-level BPE writes bytes with."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in own else chr(next(spare)) for byte in range(256)]


def add_tokenizer(w, name):
    """256 bytes, 42 merges of frequent pairs, two control tokens."""
    merges = ("Ġ t|h e|Ġ a|i n|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|Ġ o|e n|Ġ c|i t|i s|a n|o r|e s|Ġ b|e d|Ġ f|in g|Ġ p|o u|"
              "Ġa n|a l|a r|Ġt o|Ġ m|Ġo f|Ġ in|Ġ d|Ġ h|Ġan d|i c|a s|l e|Ġt h|i on|o m|l l").split("|")
    tokens = byte_letters() + [merge.replace(" ", "") for merge in merges] + ["<|endoftext|>", "<|im_end|>"]
    assert len(set(tokens)) == VOCABULARY
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2" if name.startswith("qwen") else "gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([1] * 298 + [3, 3])
    w.add_token_merges(merges)
    w.add_bos_token_id(298)
    w.add_eos_token_id(299)
    w.add_add_bos_token(False)


def write_gguf(path, name, model, entry):
    config = entry["config"]
    w = gguf.GGUFWriter(path, name)
    w.add_name("tiny random model")  # llama.cpp takes other ways for some names
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(config.hidden_size)
    w.add_head_count(config.num_attention_heads)
    w.add_vocab_size(VOCABULARY)
    entry["keys"](w, config)
    add_tokenizer(w, name)
    for tensor, parameter in model.named_parameters():
        values = entry["change"](config, tensor, parameter.detach().double().numpy())
        kept = np.ascontiguousarray(values.astype(np.float32))
        assert np.array_equal(kept.astype(np.float64), values), tensor
        w.add_tensor(names(entry["names"], tensor), kept)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def numbers(values):
    return [float(f"{x:.9g}") for x in values]


def make(name):
    entry = FAMILIES[name]
    config = entry["config"]
    tokens = np.random.default_rng(5).integers(0, 298, TOKENS).tolist()
    model, logits, weights = in_double(config, tokens)
    single, _ = run(build(config, torch.float32), tokens)
    assert np.abs(single - logits).max() < 1e-4 * np.abs(logits).max(), np.abs(single - logits).max()
    out = {"versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
           "tokens": tokens, "rows": [0, 13, 30, TOKENS - 1]}
    out["logits"] = [numbers(logits[row]) for row in out["rows"]]
    out["weights"] = [{"layer": layer, "head": head, "row": row, "values": numbers(weights[layer][head, row, : row + 1])}
                      for layer in range(config.num_hidden_layers) for head in (layer % 2, 3) for row in (9, 30, 47)]
    with tempfile.TemporaryDirectory() as temporary:
        path = pathlib.Path(temporary) / f"{name}.gguf"
        write_gguf(path, name, model, entry)
        (HERE / f"{name}.gguf.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    (HERE / f"{name}.json").write_text(json.dumps(out, separators=(",", ":")) + "\n")
    most = max(w[:, -1].max() for w in weights)
    print(name, "largest logit", np.abs(logits).max().round(2), "largest weight of the last row", most.round(3),
          "f32 differs by", np.abs(single - logits).max())


def main():
    HERE.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FAMILIES:
        make(name)


if __name__ == "__main__":
    main()
