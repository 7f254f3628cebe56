"""bareattn measures from outside: what it prints is what the tensors give; look agrees; refusals."""
import json

import jsonschema
import numpy as np
import pytest
from safetensors import safe_open

from test_cli import SHORT, TOM, refused, run, schema, subjects, width  # noqa: F401 (subjects is a fixture)
from test_trace import weights


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    path = tmp_path_factory.mktemp("measures") / "run.safetensors"
    done = run("trace", "--text", TOM.read_text()[:900], "-o", path, "--store", "f32", "--span", "a=5:40", "--span", "b=60:")
    assert done.returncode == 0, done.stderr
    return path


def test_measures_are_those_of_the_tensors(traced):
    document = json.loads(run("measures", traced, "--json").stdout)
    n = document["tokens"]
    assert document["rows"] == n - 1 and len(document["heads"]) == 270
    ids = {m["id"] for m in document["measures"]}
    with safe_open(traced, framework="numpy") as file:
        tokens = file.get_tensor("tokens")
        same = np.tril(tokens[:, None] == tokens[None, :], -1)
        after = np.zeros_like(same)
        after[:, 1:] = same[:, :-1]
        repeated = same.any(axis=1)
        for head in document["heads"][::53]:
            assert set(head["means"]) == ids
            layer, h = head["layer"], head["head"]
            p = weights(file.get_tensor(f"layers.{layer}.q")[h], file.get_tensor(f"layers.{layer}.k")[h // 3])
            means = head["means"]
            assert means["entropy"] == pytest.approx(file.get_tensor("entropy")[layer, h][1:].mean(), rel=1e-5)
            fewest = (np.cumsum(-np.sort(-p, axis=1), axis=1) < 0.9).sum(axis=1) + 1
            assert means["keys_90"] == pytest.approx(fewest[1:].mean(), abs=2 / n)
            assert means["duplicate_weight"] == pytest.approx((p * same).sum(axis=1)[repeated].mean(), abs=1e-5)
            assert means["induction_weight"] == pytest.approx((p * after).sum(axis=1)[repeated].mean(), abs=1e-5)
            assert means["log_self"] == pytest.approx(np.log(np.diag(p))[1:].mean(), rel=1e-4)
            assert sum(head["distance_bins"]) == pytest.approx(1, abs=1e-5)
            assert head["distance_bins"][1] == pytest.approx(np.diag(p, -1).sum() / (n - 1), abs=1e-5)
            assert head["templates"]["previous_token"]["mul"] == pytest.approx(np.diag(p, -1).sum() / (n - 1), abs=1e-5)
            assert head["span_flow"]["b"]["a"] == pytest.approx(p[60:, 5:40].sum(axis=1).mean(), abs=1e-4)
            eigenvalues = np.sort(p.sum(axis=0) / (n - np.arange(n)) - np.diag(p))[::-1][:10]
            assert head["laplacian"] == pytest.approx(eigenvalues, abs=1e-5)


def test_table_fits_and_shows_what_is_asked_for(traced):
    lines = run("measures", traced).stdout.decode().splitlines()
    assert len(lines) == 273 and all(width(line) <= 80 for line in lines)
    some = run("measures", traced, "--measures", "coverage", "--rows", "16").stdout.decode().splitlines()
    assert some[0].startswith("Means over 16 of ") and some[2].split() == ["Head", "keys90"]


def test_look_has_them_when_asked():
    done = run("look", SHORT, "--json", "--measures", "rows,coverage,scores,repeats,offsets")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema(), cls=jsonschema.Draft202012Validator)
    head = document["heads"][7]
    assert head["means"]["keys_90"] >= 1 and head["means"]["weight_ceiling"] > head["means"]["max_weight"] - 1e-3
    assert set(head["means"]) == {m["id"] for m in document["measures"]}
    assert json.loads(run("measures", SHORT, "--json").stdout)["heads"][7]["distance_bins"] == head["distance_bins"]
    assert "keys_90" not in run("look", SHORT, "--json").stdout.decode()


def test_refusals(tmp_path):
    refused(run("measures", tmp_path / "no.safetensors"), 2, "no.safetensors")
    refused(run("measures", SHORT, "--measures", "rows"), 2, "rows")
    refused(run("measures", "--text", ""), 2, "empty")
    refused(run("trace", SHORT, "-o", tmp_path / "run", "--measures", "coverage"), 2, "coverage")
    assert list(tmp_path.iterdir()) == []
