"""bareattn.Trace over a file that the command has written: weights against NumPy, measures against the file's own tensors,
errors by kind."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import bareattn
from places import BIN, MODEL, TOM

TEXT = TOM.read_text()[:2500]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("trace") / "run.safetensors"
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", TEXT, "-o", path, "--store", "f32", "--span", "a=1:4"], check=True)
    return path


@pytest.fixture(scope="module")
def trace(path):
    return bareattn.Trace(path)


def test_what_it_says(trace):
    assert "".join(trace.texts) == TEXT and len(trace) == len(trace.tokens) == len(trace.texts)
    assert trace.spans == {"a": [(1, 4)]} and trace.store == "f32" and trace.seconds > 0
    assert trace.model["layers"] == 30 and trace.model["heads"] == 9
    assert repr(trace).startswith("<bareattn.Trace of ")


@pytest.mark.parametrize("layer, head", [(0, 0), (5, 3), (29, 8)])
def test_weights(trace, path, layer, head):
    with safe_open(path, framework="numpy") as file:
        q, k = file.get_tensor(f"layers.{layer}.q")[head], file.get_tensor(f"layers.{layer}.k")[head // 3]
        lse = file.get_tensor("lse")[layer, head]
    whole = trace.tile(layer, head)
    expected = np.tril(np.exp(q.astype(np.float64) @ k.T.astype(np.float64) / 8 - lse[:, None]))
    assert whole.dtype == np.float32 and whole.shape == (len(trace), len(trace))
    assert np.allclose(whole, expected, rtol=1e-4, atol=1e-7)
    assert np.array_equal(trace.tile(layer, head, slice(100, 164), slice(30, None)), whole[100:164, 30:])
    assert np.array_equal(trace.tile(layer, head, (100, 164), (0, 7)), whole[100:164, :7])
    assert np.array_equal(trace.row(layer, head, 77), whole[77, :78])
    assert np.array_equal(trace.row(layer, head, -1), whole[-1])
    keys = trace.top(layer, head, 200, 5)
    assert [k for k, _ in keys] == list(np.argsort(-whole[200], kind="stable")[:5])
    # the operator's own weights on the same Q and K, bit for bit
    again = bareattn.weights(q[None, None], k[None, None], is_causal=True)
    assert np.array_equal(again[0, 0], whole)


def test_measures(trace, path):
    with safe_open(path, framework="numpy") as file:
        entropy, received = file.get_tensor("entropy"), file.get_tensor("received")
    assert np.array_equal(trace.rows("entropy", 5, 3), entropy[5, 3])
    assert np.array_equal(trace.received(5, 3), received[5, 3])
    means = trace.mean("entropy")
    assert means.shape == (30, 9) and np.allclose(means, entropy[:, :, 1:].mean(axis=2), rtol=1e-5)
    assert trace.mean("entropy", 5, 3) == means[5, 3]
    assert trace.max_key(5, 3)[0] == 0
    name, score, evidence = trace.role(5, 3)
    assert name and 0 <= score <= 1 and evidence


def test_errors(trace, path, tmp_path):
    with pytest.raises(IndexError):
        trace.row(0, 0, len(trace))
    with pytest.raises(IndexError):
        trace.tile(0, 0, slice(0, 10, 2))
    with pytest.raises(ValueError, match="30.0"):
        trace.tile(30, 0)
    with pytest.raises(ValueError, match="'sharpness'"):
        trace.rows("sharpness", 0, 0)
    with pytest.raises(OSError, match="missing"):
        bareattn.Trace(tmp_path / "missing")
    content = path.read_bytes()
    (tmp_path / "cut").write_bytes(content[:-1])
    with pytest.raises(OSError, match="cut"):
        bareattn.Trace(tmp_path / "cut")
    altered = bytearray(content)
    altered[-len(content) // 2] ^= 16
    (tmp_path / "altered").write_bytes(altered)
    with pytest.raises(OSError, match="altered"):
        bareattn.Trace(tmp_path / "altered").verify()
    trace.verify()
    trace.check_model(MODEL)
    with pytest.raises(OSError, match="another model"):
        trace.check_model(path)


def test_diff(trace, path, tmp_path):
    """Against NumPy over whole rows of weights, in f64."""
    other = tmp_path / "bf16"
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", TEXT, "-o", other, "--store", "f32", "--precision", "bf16"],
                   check=True)
    found, shares = bareattn.diff(trace, other, top=5), bareattn.diff(path, other, value_weighted=True)
    second = bareattn.Trace(other)
    for of, read in ((found, bareattn.Trace.tile), (shares, bareattn.Trace.value_weighted)):
        for layer, head in ((0, 0), (5, 3), (29, 8)):
            p, q = (read(t, layer, head).astype(np.float64)[1:] for t in (trace, second))
            p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
            middle = (p + q) / 2
            with np.errstate(divide="ignore", invalid="ignore"):
                js = sum(np.where(x > 0, x * np.log(x / middle), 0) for x in (p, q)).sum(axis=1) / 2
            assert np.isclose(of["js"][layer, head], js.mean(), rtol=1e-3, atol=1e-7)
            assert of["worst_row"][layer, head] == js.argmax() + 1
            assert np.isclose(of["first_mass_shift"][layer, head], (q[:, 0] - p[:, 0]).mean(), atol=1e-6)
    assert np.array_equal(shares["lse_shift"], found["lse_shift"]) and not np.allclose(shares["js"], found["js"], rtol=0.01)
    assert found["kl"].shape == (30, 9) and found["token_js"].shape == (len(trace),)
    assert np.array_equal(bareattn.diff(path, path)["kl"], np.zeros((30, 9)))
    few = tmp_path / "few"
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", TEXT, "-o", few, "--measures", "rows"], check=True)
    with pytest.raises(ValueError, match="carried"):
        bareattn.diff(trace, few, value_weighted=True)
    shorter = tmp_path / "shorter"
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", "Another text", "-o", shorter], check=True)
    with pytest.raises(ValueError, match="not over the same tokens"):
        bareattn.diff(trace, shorter)


def test_a_rule_with_every_field_is_followed():
    """Scale, softcap, windows, sink logits and ALiBi: the weights are those of the pass, bit for bit."""
    golden = Path(__file__).parents[2] / "tests" / "golden"
    rows = json.loads((golden / "every_rule.json").read_text())
    trace = bareattn.Trace(str(golden / "every_rule.safetensors"))
    for name, row in rows.items():
        layer, head = map(int, name.split("."))
        want = np.array(row, dtype=np.float32)
        assert np.array_equal(trace.row(layer, head, 63), want)
        assert np.array_equal(trace.tile(layer, head, (63, 64), (0, 64))[0], want)
