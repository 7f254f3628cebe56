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


def test_spans_gathered_and_stripes(traced):
    document = json.loads(run("measures", traced, "--json").stdout)
    n = document["tokens"]
    assert document["store"] == "f32" and document["value_weighted"] is False
    with safe_open(traced, framework="numpy") as file:
        for head in document["heads"][::53]:
            layer, h = head["layer"], head["head"]
            p = weights(file.get_tensor(f"layers.{layer}.q")[h], file.get_tensor(f"layers.{layer}.k")[h // 3])
            on = {"a": p[:, 5:40].sum(axis=1), "b": p[:, 60:].sum(axis=1)}
            assert head["spans"]["a"] == pytest.approx(on["a"][5:].mean(), abs=1e-5)
            assert head["spans"]["b"] == pytest.approx(on["b"][60:].mean(), abs=1e-5)
            c, f = on["a"][60:] / 35, on["b"][60:] / np.arange(1, n - 59)
            assert head["lookback_ratio"] == {"a": {"b": pytest.approx((c / (c + f)).mean(), abs=1e-5)}}
            assert head["focus_score"]["a"]["b"] == pytest.approx(on["a"][-1] / (on["a"][-1] + on["b"][-1]), abs=1e-5)
            assert head["focus_score"]["a"]["b"] + head["focus_score"]["b"]["a"] == pytest.approx(1, abs=1e-5)
            gathered = p.sum(axis=0)[1:n - n // 8] / (n - np.arange(1, n - n // 8))
            assert head["gathered"]["share"] == pytest.approx(gathered.max(), abs=1e-5)
            assert head["gathered"]["key"] == gathered.argmax() + 1
            stripes = [np.diag(p[1:], 1 - o).sum() / (n - max(1, o)) for o in range(65)]
            assert head["stripes"] == pytest.approx(stripes, abs=1e-5)
            carried = file.get_tensor("carried")[layer, h]
            assert head["carried"]["mean"] == pytest.approx(carried.mean(), rel=1e-5)
            assert head["carried"]["largest"]["key"] == carried.argmax()
    ratios = [head["lookback_ratio"]["a"]["b"] for head in document["heads"]]
    best = max(range(270), key=lambda i: ratios[i])
    line = next(l for l in run("measures", traced).stdout.decode().splitlines() if l.startswith("Lookback ratio, a to b: "))
    assert f"mean {np.mean(ratios):.3f}; most {best // 9}.{best % 9} {ratios[best]:.3f}," in line


def test_value_weighted_measures_are_of_the_shares(traced):
    document = json.loads(run("measures", traced, "--json", "--value-weighted").stdout)
    n = document["tokens"]
    assert document["value_weighted"] is True and document["rows"] == n - 1
    apart = 0
    with safe_open(traced, framework="numpy") as file:
        for head in document["heads"][::53]:
            layer, h = head["layer"], head["head"]
            p = weights(file.get_tensor(f"layers.{layer}.q")[h], file.get_tensor(f"layers.{layer}.k")[h // 3])
            apart = max(apart, abs(p[1:, 0].mean() - head["means"]["first_mass"]))
            p = p * file.get_tensor("carried")[layer, h]
            p = p / p.sum(axis=1, keepdims=True)
            away, means = np.arange(n)[:, None] - np.arange(n)[None, :], head["means"]
            assert not {"lse", "max_logit", "logit_mean"} & set(means)
            assert set(means) == {m["id"] for m in document["measures"]}
            assert means["first_mass"] == pytest.approx(p[1:, 0].mean(), abs=1e-5)
            assert means["self_weight"] == pytest.approx(np.diag(p)[1:].mean(), abs=1e-5)
            assert means["previous_weight"] == pytest.approx(np.diag(p, -1).mean(), abs=1e-5)
            assert means["mean_distance"] == pytest.approx((p * away).sum(axis=1)[1:].mean(), rel=1e-5)
            assert means["recent_mass"] == pytest.approx((p * (away < 64)).sum(axis=1)[1:].mean(), abs=1e-5)
            fewest = (np.cumsum(-np.sort(-p, axis=1), axis=1) < 0.9).sum(axis=1) + 1
            assert means["keys_90"] == pytest.approx(fewest[1:].mean(), abs=2 / n)
            assert head["spans"]["a"] == pytest.approx(p[5:, 5:40].sum(axis=1).mean(), abs=1e-5)
            assert head["span_flow"]["b"]["a"] == pytest.approx(p[60:, 5:40].sum(axis=1).mean(), abs=1e-5)
            assert head["distance_bins"][1] == pytest.approx(np.diag(p, -1).sum() / (n - 1), abs=1e-5)
    assert apart > 0.05, "keys that carry alike test nothing"
    lines = run("measures", traced, "--value-weighted").stdout.decode().splitlines()
    assert lines[0].startswith(f"Means over {n - 1} of {n} tokens, value-weighted") and all(width(line) <= 80 for line in lines)
    text = json.loads(run("measures", SHORT, "--value-weighted", "--json", "--span", "cat=cat").stdout)
    assert 0 < text["heads"][0]["spans"]["cat"] < 1


def test_table_fits_and_shows_what_is_asked_for(traced):
    lines = run("measures", traced).stdout.decode().splitlines()
    assert sum(line[0].isdigit() for line in lines if line) == 270 and all(width(line) <= 80 for line in lines)
    assert "from Q and K in f32" in lines[0]
    some = run("measures", traced, "--measures", "coverage", "--rows", "16").stdout.decode().splitlines()
    assert some[0].startswith("Means over 16 of ") and some[2].split() == ["Head", "keys90"]
    rows = run("measures", traced, "--measures", "rows").stdout.decode().splitlines()
    assert rows[2].split() == ["Head", "most", "maxscore", "lse", "entropy", "context", "particip"]
    document = json.loads(run("measures", traced, "--json", "--measures", "rows").stdout)
    assert rows[3].split()[4] == f"{document['heads'][0]['means']['entropy']:.2f}"
    assert "mean_distance" not in document["heads"][0]["means"] and "spans" not in document["heads"][0]
    all_of_it = run("measures", traced, "--measures", "all").stdout.decode().splitlines()
    titles = [title for line in all_of_it if line.startswith("Head ") for title in line.split()]
    assert all(width(line) <= 80 for line in all_of_it)
    assert {"entropy", "dist", "first", "a", "b", "gathered", "carried", "keys90", "score", "copies", "stripe"} <= set(titles)


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


def test_look_says_on_how_many_rows_and_from_what():
    document = json.loads(run("look", SHORT, "--json", "--measures", "coverage").stdout)
    assert (document["rows"], document["store"]) == (document["text"]["length"] - 1, "f16")
    assert json.loads(run("look", SHORT, "--json").stdout)["rows"] is None
    heads = document["heads"]
    least, most = (f(heads, key=lambda head: head["means"]["keys_90"]) for f in (min, max))
    printed = run("look", SHORT, "--measures", "coverage,scores,repeats,offsets").stdout.decode().splitlines()
    assert all(width(line) <= 80 for line in printed)
    at = next(i for i, line in enumerate(printed) if line.startswith("By a second look"))
    section = " ".join(" ".join(printed[at:at + 16]).split())
    assert f"over {document['rows']} of {document['rows'] + 1} tokens" in section
    ends = [f"{h['means']['keys_90']:.1f} (head {h['layer']}.{h['head']})" for h in (least, most)]
    assert f"on average; {ends[0]} to {ends[1]}" in section
    for title in ("Mean score", "Spread of scores", "Weight on copies", "Weight after copies", "Strongest stripes"):
        assert title in section
    assert "second look" not in run("look", SHORT).stdout.decode()


@pytest.mark.parametrize("groups, says", [
    ("none,rows", "'none' stands alone"), ("", "a name is empty"),
    ("rows, columns", "' columns' has a space in it"), ("entropy", "there is no group 'entropy'; groups are rows, ")])
def test_groups_are_named_right_or_refused_in_a_sentence(traced, tmp_path, groups, says):
    refused(run("trace", SHORT, "-o", tmp_path / "run", "--measures", groups), 2, "--measures", says)
    refused(run("look", SHORT, "--measures", groups), 2, "--measures", says)
    refused(run("measures", traced, "--measures", groups), 2, "--measures", says)
    assert list(tmp_path.iterdir()) == []


def test_refusals(tmp_path, traced):
    refused(run("measures", tmp_path / "no.safetensors"), 2, "no.safetensors")
    few = tmp_path / "few.safetensors"
    assert run("trace", SHORT, "-o", few, "--measures", "rows").returncode == 0
    remedy = "bareattn trace --measures all keeps it, as does a list with "
    refused(run("measures", few, "--value-weighted"), 2, "'carried' was not kept", remedy + "'values'")
    refused(run("measures", few, "--measures", "distance"), 2, "'distance' was not kept", remedy + "'distance'")
    refused(run("measures", traced, "--value-weighted", "--measures", "scores"), 2, "leave out 'scores'")
    refused(run("measures", traced, "--span", "x=0:2"), 2, "--span")
    few.unlink()
    refused(run("measures", "--text", ""), 2, "empty")
    refused(run("trace", SHORT, "-o", tmp_path / "run", "--measures", "coverage"), 2,
            "bareattn measures RUN --measures coverage", "look --json --measures coverage")
    assert list(tmp_path.iterdir()) == []
