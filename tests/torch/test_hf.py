"""A real model through transformers on bareattn: logits equal to eager's within a bound, generation, statistics.

Runs where torch, transformers, gguf and the model file are there; otherwise one loud skip that says which is missing.
"""

import os
import pathlib

import pytest

import bareattn

torch = pytest.importorskip("torch", reason="torch is not installed: the Hugging Face hook was NOT tested")
transformers = pytest.importorskip("transformers", reason="transformers is not installed: the hook was NOT tested")
pytest.importorskip("gguf", reason="gguf is not installed: the hook was NOT tested")

MODEL = pathlib.Path(os.environ.get("BAREATTN_MODEL") or
                     pathlib.Path(__file__).resolve().parents[2] / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf")
TEXT = pathlib.Path(__file__).resolve().parents[2] / "examples" / "text" / "alice.txt"


@pytest.fixture(scope="module")
def model():
    if not MODEL.exists():
        pytest.skip(f"{MODEL} is not there (./x model): the hook was NOT tested on a real model")
    import bareattn.hf

    bareattn.hf.register()
    return transformers.AutoModelForCausalLM.from_pretrained(str(MODEL.parent), gguf_file=MODEL.name,
                                                             attn_implementation="eager", dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def ids(model):
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(MODEL.parent), gguf_file=MODEL.name)
    return tokenizer(TEXT.read_text(), return_tensors="pt").input_ids[:, :300]


def logits(model, implementation, ids, **more):
    model.set_attn_implementation(implementation)
    with torch.no_grad():
        return model(ids, **more).logits


def test_equal_logits(model, ids):
    eager, mine = logits(model, "eager", ids), logits(model, "bareattn", ids)
    sdpa = logits(model, "sdpa", ids)
    # Two f32 evaluations of 30 layers differ by rounding; sdpa's own difference from eager is the yardstick.
    limit = max(2e-3, 3 * float((sdpa - eager).abs().max()))
    assert float((mine - eager).abs().max()) <= limit
    assert torch.equal(mine.argmax(-1), eager.argmax(-1))


def test_padded_batch(model, ids):
    batch = torch.stack([ids[0, :40], torch.cat([ids[0, :8], ids[0, :32]])])
    mask = torch.ones_like(batch)
    mask[1, :8] = 0  # padding on the left
    eager = logits(model, "eager", batch, attention_mask=mask)
    mine = logits(model, "bareattn", batch, attention_mask=mask)
    assert float((mine - eager).abs()[mask.bool()].max()) <= 2e-3


def test_generation(model, ids):
    out = {}
    for implementation in ("eager", "bareattn"):
        model.set_attn_implementation(implementation)
        out[implementation] = model.generate(ids[:, :50], max_new_tokens=12, do_sample=False)
    assert torch.equal(out["eager"], out["bareattn"])


def test_statistics(model, ids):
    model.set_attn_implementation("bareattn")
    with torch.no_grad(), bareattn.hf.observe("entropy", "column_sums") as seen:
        model(ids)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = model(ids, output_attentions=True).attentions
    assert list(seen) == [f"model.layers.{layer}.self_attn" for layer in range(len(weights))]
    for layer, p in enumerate(weights):
        (one,) = seen[f"model.layers.{layer}.self_attn"]
        entropy = -(p.double() * p.double().clamp_min(1e-300).log()).sum(-1)
        assert float((one["entropy"] - entropy).abs().max()) <= 2e-3
        torch.testing.assert_close(one["column_sums"], p.double().sum(2), atol=5e-3, rtol=1e-3)


def test_autocast_of_a_rotary_model(model, ids):
    model.set_attn_implementation("bareattn")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        mine = model(ids[:, :60]).logits
    model.set_attn_implementation("eager")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        eager = model(ids[:, :60]).logits
    with torch.no_grad():
        exact = model(ids[:, :60]).logits
    assert float((mine.float() - exact).abs().mean()) <= 1.5 * float((eager.float() - exact).abs().mean())


def test_generation_is_observed_pass_by_pass(model, ids):
    model.set_attn_implementation("bareattn")
    with bareattn.hf.observe("top_k", "full_rows", top_k=3, full_rows=[2, 11]) as seen:
        model.generate(ids[:, :12], max_new_tokens=3, do_sample=False)
    passes = seen["model.layers.7.self_attn"]
    assert [one["full_weights"].shape[2] for one in passes] == [2, 0, 0]
    assert all(one["top_keys"].shape[-1] == 3 for one in passes)


def test_what_observe_cannot_do_is_said_before_the_run():
    import bareattn.hf

    for names, more, words in ((("top_k",), {}, "top_k"), (("full_rows",), {}, "full_rows"), ((), {}, "needed some of"),
                               (("lse", "top"), {}, "needed some of"), (("top_k",), {"top_k": 0}, "top_k"),
                               (("full_rows",), {"full_rows": [-1]}, "full_rows")):
        with pytest.raises(ValueError, match=words), bareattn.hf.observe(*names, **more):
            raise AssertionError("begun")


def random_model(kind):
    """Of random weights, modules without a layer_idx among them."""
    import bareattn.hf

    bareattn.hf.register()
    torch.manual_seed(2)
    if kind == "vit":
        config = transformers.ViTConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                                        image_size=8, patch_size=4)
        return transformers.ViTModel(config).eval(), {"pixel_values": torch.randn(1, 3, 8, 8)}
    config = transformers.BartConfig(d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
                                     decoder_attention_heads=4, encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=60)
    ids = torch.arange(7)[None] + 5
    return transformers.BartModel(config).eval(), {"input_ids": ids, "decoder_input_ids": ids[:, :4]}


@pytest.mark.parametrize("kind", ["vit", "bart"])
def test_every_module_is_observed_by_its_path(kind):
    one, given = random_model(kind)
    one.set_attn_implementation("bareattn")
    with torch.no_grad(), bareattn.hf.observe("entropy") as seen:
        one(**given)
        one(**given)
    modules = dict(one.named_modules())
    assert all(path in modules and len(passes) == 2 for path, passes in seen.items())
    if kind == "vit":
        assert len(seen) == 2 and all(passes[0]["entropy"].shape == (1, 4, 5) for passes in seen.values())
        return
    shapes = {path: tuple(passes[0]["entropy"].shape) for path, passes in seen.items()}
    assert len(seen) == 6  # of two layers each: encoder, decoder, and the one across
    assert [shapes[f"{part}.layers.1.{name}"] for part, name in
            (("encoder", "self_attn"), ("decoder", "self_attn"), ("decoder", "encoder_attn"))] == [(1, 4, 7), (1, 4, 4), (1, 4, 4)]
    other, _ = random_model(kind)
    other.set_attn_implementation("bareattn")
    with torch.no_grad(), bareattn.hf.observe("lse") as seen:
        one(**given)
        other(**given)
    assert len(seen) == 12, "two models are kept apart"


def test_an_argument_that_is_not_understood_is_refused():
    import bareattn.hf

    module, q = torch.nn.Identity(), torch.randn(1, 2, 5, 8)
    plain, _ = bareattn.hf.attention_forward(module, q, q, q, None)
    for name, value in {"sinks": torch.randn(1, 2, 5, 1), "block_indices": torch.zeros(1), "head_mask": torch.ones(2),
                        "output_attentions": True, "temperature": 2.0, "window": 0}.items():
        with pytest.raises(ValueError, match=f"{name}: given"):
            bareattn.hf.attention_forward(module, q, q, q, None, **{name: value})
        same, _ = bareattn.hf.attention_forward(module, q, q, q, None, **{name: None}, position_ids=torch.arange(5), use_cache=True)
        assert torch.equal(same, plain)
    windowed, _ = bareattn.hf.attention_forward(module, q, q, q, None, sliding_window=2)
    assert torch.equal(windowed, bareattn.attention(q, q, q, is_causal=True, left_window=1).transpose(1, 2))
    packed, _ = bareattn.hf.attention_forward(module, q, q, q, None, cu_seq_lens_q=torch.tensor([0, 2, 5]),
                                              cu_seq_lens_k=torch.tensor([0, 2, 5]), max_length_q=3, max_length_k=3)
    parts = [bareattn.attention(*[q[:, :, a:b]] * 3, is_causal=True) for a, b in ((0, 2), (2, 5))]
    assert torch.equal(packed, torch.cat(parts, 2).transpose(1, 2))
