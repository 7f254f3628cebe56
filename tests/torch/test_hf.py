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
    assert sorted(seen) == list(range(len(weights)))
    for layer, p in enumerate(weights):
        (one,) = seen[layer]
        entropy = -(p.double() * p.double().clamp_min(1e-300).log()).sum(-1)
        assert float((one["entropy"] - entropy).abs().max()) <= 2e-3
        torch.testing.assert_close(one["column_sums"], p.double().sum(2), atol=5e-3, rtol=1e-3)
