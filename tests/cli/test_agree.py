"""Agreement between heads and value-weighted attention from outside: what the commands print is what the tensors give,
text and trace agree, and what is not there is said."""
import json

import numpy as np
import pytest
from safetensors import safe_open

from test_cli import SHORT, TOM, refused, run, subjects, width  # noqa: F401 (subjects is a fixture)
from test_trace import weights


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    path = tmp_path_factory.mktemp("agree") / "run.safetensors"
    done = run("trace", "--text", TOM.read_text()[:900], "-o", path, "--store", "f32", "--measures", "all")
    assert done.returncode == 0, done.stderr
    return path


def test_pairs_are_those_of_the_tensors(traced):
    document = json.loads(run("agree", traced, "--json").stdout)
    pairs = document["agreement"]["pairs"]
    assert len(pairs) == 30 * 36 and document["agreement"]["rows"] == document["tokens"] - 1
    with safe_open(traced, framework="numpy") as file:
        cosines = file.get_tensor("output_cosine")
        for pair in pairs[::97]:
            layer, a, b = int(pair["a"].split(".")[0]), *(int(pair[x].split(".")[1]) for x in "ab")
            q, k = file.get_tensor(f"layers.{layer}.q"), file.get_tensor(f"layers.{layer}.k")
            p, r = (weights(q[h], k[h // 3])[1:] for h in (a, b))
            with np.errstate(divide="ignore", invalid="ignore"):
                terms = [np.where(x > 0, x * np.log(x / ((p + r) / 2)), 0) for x in (p, r)]
            assert pair["js"] == pytest.approx((terms[0] + terms[1]).sum(axis=1).mean() / 2, abs=1e-5)
            assert pair["weight_cosine"] == pytest.approx((p * r).sum() / np.sqrt((p * p).sum() * (r * r).sum()), abs=1e-5)
            assert pair["output_cosine"] == pytest.approx(float(cosines[layer, a, b]), rel=1e-6)


def test_lists_fit_and_are_in_order(traced):
    done = run("agree", traced, "--top", "3")
    assert done.returncode == 0 and done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert all(width(line) <= 80 for line in lines)
    document = json.loads(run("agree", traced, "--json").stdout)["agreement"]
    least = min(document["pairs"], key=lambda p: p["output_cosine"])
    at = lines.index("What they write contradicts")
    assert lines[at + 2].startswith(f"  {least['a']} and {least['b']} ") and least["output_cosine"] < 0


def test_a_text_needs_no_trace():
    document = json.loads(run("agree", SHORT, "--json").stdout)
    assert len(document["agreement"]["pairs"]) == 30 * 36
    look = json.loads(run("look", SHORT, "--json", "--measures", "rows,agreement").stdout)
    assert look["agreement"] == document["agreement"]
    printed = run("look", SHORT, "--measures", "rows,distance,spans,agreement").stdout.decode()
    assert "Heads of a layer beside each other" in printed and all(width(line) <= 80 for line in printed.splitlines())


def test_what_was_not_kept_is_said(tmp_path):
    path = tmp_path / "run.safetensors"
    assert run("trace", SHORT, "-o", path, "--measures", "rows").returncode == 0
    assert "was not kept in this trace" in run("agree", path).stdout.decode()
    assert json.loads(run("agree", path, "--json").stdout)["agreement"]["pairs"][0]["output_cosine"] is None
    refused(run("row", path, "0.0", "1", "--value-weighted"), 2, "'carried' was not kept")
    refused(run("tile", path, "0.0", ":", ":", "--value-weighted"), 2, "'carried' was not kept")
    remedy = "bareattn trace --measures all keeps it, as does a list with 'values'"
    refused(run("agree", path, "--value-weighted"), 2, "'carried' was not kept", remedy)
    refused(run("diff", path, path, "--value-weighted"), 2, "'carried' was not kept", remedy)
    refused(run("page", path, "-o", tmp_path / "page.html", "--value-weighted"), 2, "'carried' was not kept", remedy)
    refused(run("serve", path, "--value-weighted"), 2, "'carried' was not kept", remedy)
    for groups in ("all", "rows,values"):  # what the sentence says works
        assert run("trace", SHORT, "-o", path, "--measures", groups).returncode == 0
        assert run("row", path, "0.0", "1", "--value-weighted").returncode == 0
    refused(run("agree", "--text", "Hi", "--no-bos"), 2, "one token")


def test_value_weighted_rows_and_tiles(traced):
    with safe_open(traced, framework="numpy") as file:
        carried = file.get_tensor("carried")[5, 3]
    plain, sizes = (json.loads(run("tile", traced, "5.3", "100:120", "0:130", "--json", *more).stdout)
                    for more in ((), ("--value-weighted",)))
    assert (plain["value_weighted"], sizes["value_weighted"]) == (False, True)
    expected = np.array(plain["weights"], dtype=np.float32) * carried[:130]
    assert np.allclose(np.array(sizes["weights"]), expected, rtol=1e-6)
    row = json.loads(run("row", traced, "5.3", "119", "--top", "7", "--json", "--value-weighted").stdout)["keys"]
    order = np.argsort(-expected[19], kind="stable")[:7]
    assert [k["key"] for k in row] == list(order)
    assert [k["value_weighted"] for k in row] == pytest.approx([float(expected[19][j]) for j in order], rel=1e-6)
    printed = run("row", traced, "5.3", "119", "--value-weighted").stdout.decode()
    assert "takes from (size, weight)" in printed and printed.splitlines()[1].split()[0] == str(order[0])


def test_value_weighted_pairs_and_diffs(traced, tmp_path):
    document = json.loads(run("agree", traced, "--json", "--value-weighted").stdout)
    assert document["value_weighted"] is True
    assert ", value-weighted," in run("agree", traced, "--value-weighted").stdout.decode().splitlines()[0]
    other = tmp_path / "other.safetensors"
    assert run("trace", "--text", TOM.read_text()[:900], "-o", other, "--store", "f16", "--measures", "values").returncode == 0
    changed = json.loads(run("diff", traced, other, "--json", "--value-weighted").stdout)
    assert changed["value_weighted"] is True

    def shares(file, layer, h):
        q, k = (file.get_tensor(f"layers.{layer}.{x}") for x in "qk")
        p = weights(q[h], k[h // 3])[1:] * file.get_tensor("carried")[layer, h]
        return p / p.sum(axis=1, keepdims=True)

    def js(p, r):
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = [np.where(x > 0, x * np.log(x / ((p + r) / 2)), 0) for x in (p, r)]
        return (terms[0] + terms[1]).sum(axis=1).mean() / 2
    with safe_open(traced, framework="numpy") as file:
        for pair in document["agreement"]["pairs"][::97]:
            layer, a, b = int(pair["a"].split(".")[0]), *(int(pair[x].split(".")[1]) for x in "ab")
            assert pair["js"] == pytest.approx(js(shares(file, layer, a), shares(file, layer, b)), abs=1e-5)
    with safe_open(traced, framework="numpy") as first, safe_open(other, framework="numpy") as second:
        for head in changed["heads"][::53]:
            expected = js(shares(first, head["layer"], head["head"]), shares(second, head["layer"], head["head"]))
            assert head["js"] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_the_page_opens_as_it_is_told(traced, tmp_path):
    def description(*arguments):
        assert run(*arguments, "-o", tmp_path / "page.html").returncode == 0
        html = (tmp_path / "page.html").read_text()
        return json.loads(html.split('id="page-data">', 1)[1].split("</script>", 1)[0])
    assert description("page", traced, "--value-weighted")["value_weighted"] is True
    assert "value_weighted" not in description("page", traced)
    assert description("look", SHORT, "--value-weighted")["value_weighted"] is True


def test_value_weighted_look():
    plain, sizes = (json.loads(run("look", TOM, "--json", *more).stdout)["last_token"] for more in ((), ("--value-weighted",)))
    assert sizes["value_weighted"] and not plain["value_weighted"]
    total = sum(k["weight"] for k in sizes["keys"]) + sizes["rest"]["weight"]
    assert total == pytest.approx(1, abs=1e-4)

    def first(last):
        return next((k["weight"] for k in last["keys"] if k["key"] == 0), 0)
    assert first(sizes) < 0.7 * first(plain), "the first token gathers weight and carries little"
    assert "What reaches the last token" in run("look", SHORT, "--value-weighted").stdout.decode()
