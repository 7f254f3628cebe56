"""Agreement, second looks, value weighting, spans and roles in Python: against NumPy on the same weights, the same from a
file and from memory, errors by kind."""

import subprocess

import numpy as np
import pytest

import bareattn
from places import BIN, MODEL, TOM

TEXT = TOM.read_text()[:700]
GROUPS = ("rows", "distance", "spans", "columns", "map", "spread", "values", "agreement")


@pytest.fixture(scope="module")
def run(model):
    return model.run(TEXT, measures=GROUPS, spans=[("a", 3, 40), ("b", 50, 100)])


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("heads") / "run.safetensors"
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", TEXT, "-o", path, "--store", "f32", "--measures", "all",
                    "--span", "a=3:40", "--span", "b=50:100"], check=True)
    return bareattn.Trace(path)


def test_tiles_of_memory_and_file_agree(run, trace):
    assert np.allclose(run.tile(5, 3), trace.tile(5, 3), atol=5e-3)
    s = trace.scores(5, 3)
    assert np.all(np.isneginf(s[np.triu_indices(len(trace), 1)]))
    p = np.exp(s - s.max(axis=1, keepdims=True))
    assert np.allclose(p / p.sum(axis=1, keepdims=True), trace.tile(5, 3), atol=1e-5)


def test_agreement(run, trace):
    found = trace.agreement()
    assert found["rows"] == len(trace) - 1 and found["js"].shape == (30, 9, 9)
    p, q = trace.tile(7, 2)[1:].astype(float), trace.tile(7, 5)[1:].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        js = sum(np.nansum(np.where(x > 0, x * np.log(x / ((p + q) / 2)), 0), axis=1) for x in (p, q)).mean() / 2
    assert found["js"][7, 2, 5] == pytest.approx(js, abs=1e-5) == pytest.approx(found["js"][7, 5, 2])
    assert np.all(found["js"][:, range(9), range(9)] == 0) and np.all(found["output_cosine"][:, range(9), range(9)] == 1)
    memory = run.agreement(threads=1)
    assert np.allclose(memory["js"], found["js"], atol=1e-3)
    assert np.allclose(memory["output_cosine"], found["output_cosine"], atol=1e-6)
    assert trace.agreement(rows=16)["rows"] == 16


def test_sweep(trace):
    found = trace.sweep()
    p = trace.tile(4, 1).astype(float)
    fewest = (np.cumsum(-np.sort(-p, axis=1), axis=1) < 0.9).sum(axis=1) + 1
    assert np.abs(trace.swept_rows("keys_90", 4, 1) - fewest).max() <= 1
    assert found["keys_90"][4, 1] == pytest.approx(fewest[1:].mean(), abs=2 / len(trace))
    assert found["distance_bins"].sum(axis=2) == pytest.approx(np.ones((30, 9)), abs=1e-5)
    assert found["distance_bins"][4, 1, 1] == pytest.approx(trace.stripes(4, 1, 3)[1], abs=1e-6)
    assert set(trace.sweep(["coverage"])) == {"rows", "keys_90"}
    n = len(trace)
    values = np.sort(p.sum(axis=0) / (n - np.arange(n)) - np.diag(p))[::-1]
    assert trace.laplacian_eigenvalues(4, 1, 5) == pytest.approx(values[:5], abs=1e-5)
    with pytest.raises(ValueError, match="coverage, scores"):
        trace.sweep(["rows"])
    with pytest.raises(ValueError, match="keys_90"):
        trace.swept_rows("entropy", 0, 0)


def test_value_weighted(run, trace):
    """Against NumPy on the shares of each row."""
    found, agreed, n = trace.sweep(value_weighted=True), trace.agreement(value_weighted=True), len(trace)
    assert found["rows"] == agreed["rows"] == n - 1 and not {"lse", "max_logit", "logit_mean"} & set(found)
    away = np.arange(n)[:, None] - np.arange(n)[None, :]

    def shares(head):
        sizes = trace.value_weighted(4, head).astype(float)
        return sizes / sizes.sum(axis=1, keepdims=True)

    a, raw = shares(1), trace.sweep(["coverage", "offsets"])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(a > 0, a * np.log(a), 0).sum(axis=1)
    for name, expected in (("entropy", entropy), ("effective_context", np.exp(entropy)), ("max_weight", a.max(axis=1)),
                           ("first_mass", a[:, 0]), ("self_weight", np.diag(a)), ("mean_distance", (a * away).sum(axis=1)),
                           ("recent_mass", (a * (away < 64)).sum(axis=1))):
        assert found[name].shape == (30, 9)
        assert found[name][4, 1] == pytest.approx(expected[1:].mean(), rel=1e-5, abs=1e-6), name
    assert abs(found["first_mass"][4, 1] - trace.mean("first_mass", 4, 1)) > 0.01, "keys that carry alike test nothing"
    fewest = (np.cumsum(-np.sort(-a, axis=1), axis=1) < 0.9).sum(axis=1) + 1
    assert found["keys_90"][4, 1] == pytest.approx(fewest[1:].mean(), abs=2 / n)
    assert found["distance_bins"][4, 1, 1] == pytest.approx(np.diag(a, -1).sum() / (n - 1), abs=1e-6)
    assert not np.allclose(found["distance_bins"], raw["distance_bins"], atol=1e-3)
    assert list(found["spans"]) == ["a", "b"] and found["spans"]["a"].shape == (30, 9)
    assert found["spans"]["a"][4, 1] == pytest.approx(a[3:, 3:40].sum(axis=1).mean(), abs=1e-6)
    assert set(found["span_flow"]) == {(x, y) for x in "ab" for y in "ab"}
    assert found["span_flow"]["b", "a"][4, 1] == pytest.approx(a[50:100, 3:40].sum(axis=1).mean(), abs=1e-6)

    b = shares(5)
    with np.errstate(divide="ignore", invalid="ignore"):
        js = sum(np.nansum(np.where(x > 0, x * np.log(x / ((a + b) / 2)), 0), axis=1) for x in (a, b))[1:].mean() / 2
    assert agreed["js"][4, 1, 5] == pytest.approx(js, abs=1e-5)
    cosine = (a[1:] * b[1:]).sum() / np.sqrt((a[1:] ** 2).sum() * (b[1:] ** 2).sum())
    assert agreed["weight_cosine"][4, 1, 5] == pytest.approx(cosine, abs=1e-5)
    assert abs(js - trace.agreement()["js"][4, 1, 5]) > 1e-3

    memory = run.sweep("coverage", rows=16, value_weighted=True)
    assert memory["rows"] == 16 and "stripe" not in memory
    assert np.allclose(memory["entropy"], trace.sweep("coverage", rows=16, value_weighted=True)["entropy"], atol=1e-2)
    with pytest.raises(ValueError, match="scores"):
        trace.sweep("scores", value_weighted=True)


def test_values_and_spans(run, trace):
    assert np.array_equal(run.carried(9, 4), trace.carried(9, 4)) and (trace.carried(9, 4) > 0).all()
    assert np.array_equal(trace.value_weighted(9, 4, (5, 20), (0, 12)), trace.tile(9, 4, (5, 20), (0, 12)) * trace.carried(9, 4)[:12])
    p = trace.tile(9, 4).astype(float)
    for of in (run, trace):
        assert np.allclose(of.span_mass("a", 9, 4), p[:, 3:40].sum(axis=1), atol=1e-4)
        assert of.span_flow("b", "a", 9, 4) == pytest.approx(p[50:100, 3:40].sum(axis=1).mean(), abs=1e-4)
        c, f = p[50:100, 3:40].sum(axis=1) / 37, p[50:100, 50:100].sum(axis=1) / np.arange(1, 51)
        assert of.lookback_ratio("a", "b", 9, 4) == pytest.approx((c / (c + f)).mean(), abs=1e-3)
        a, b = p[-1, 3:40].sum(), p[-1, 50:100].sum()
        assert of.focus_score("a", "b", 9, 4) == pytest.approx(a / (a + b), abs=1e-3)
        with pytest.raises(ValueError, match="no such span"):
            of.span_mass("c", 0, 0)


def test_what_was_not_measured(model):
    run = model.run("Some words.", measures=["rows"])
    with pytest.raises(ValueError, match="values"):
        run.carried(0, 0)
    assert np.isnan(run.agreement()["output_cosine"][0, 0, 1])
    for call in (run.sweep, run.agreement):
        with pytest.raises(ValueError, match="values"):
            call(value_weighted=True)
    with pytest.raises(ValueError, match="spread"):
        model.run("Some words.", measures=["everything"])


def test_roles(model, trace, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert bareattn.roles(trace) is None
    found = bareattn.roles(model, samples=4, draws=0)
    assert found.names.shape == (30, 9) and found.recipes[0] == "induction"
    assert bareattn.roles(trace).data == found.data == bareattn.roles(MODEL, samples=4, draws=0).data  # from the cache
    induction = found.heads("induction")
    assert (18, 6) in induction and found.of(18, 6)["role"] == "induction"
    scores = found.scores("induction")
    assert induction == sorted(induction, key=lambda head: -scores[head]) and scores[induction[-1]] >= 0.4
    with pytest.raises(ValueError, match="induction"):
        found.scores("dreaming")
    assert found.of("18.6") == found.of((18, 6)) == found.of(18, 6)
    with pytest.raises(ValueError, match="30.0"):
        found.of(30, 0)
    with pytest.raises(ValueError):
        bareattn.roles(model, samples=1)
