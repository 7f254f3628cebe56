"""Traces from outside: the file that `bareattn trace` writes opens with the safetensors package, what it holds gives the
weights that `tile` and `row` print, and what cannot be done is one sentence and leaves nothing."""
import json
import resource
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from serving import serving
from test_cli import BIN, MODEL, SHORT, TOM, refused, run


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """Two paragraphs, everything kept, f32."""
    folder = tmp_path_factory.mktemp("trace")
    text = folder / "text.txt"
    text.write_text(TOM.read_text()[:2600])
    path = folder / "run.safetensors"
    done = run("trace", text, "-o", path, "--store", "f32", "--span", "start=0:5", "--title", "Tom & <b>")
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["run.safetensors", "text.txt"]
    return path


def weights(q, k):
    """Causal softmax in double."""
    scores = q.astype(np.float64) @ k.astype(np.float64).T / np.sqrt(q.shape[1])
    scores[np.triu_indices(len(q), 1)] = -np.inf
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def test_opens_with_safetensors(short):
    with safe_open(short, framework="numpy") as file:
        metadata = file.metadata()
        assert metadata["format"] == "bareattn-trace" and metadata["format_version"] == "2"
        assert metadata["title"] == "Tom & <b>"
        assert json.loads(metadata["spans"]) == [{"name": "start", "begin": 0, "end": 5}]
        model = json.loads(metadata["model"])
        tokens = file.get_tensor("tokens")
        n, heads, layers = len(tokens), model["heads"], model["layers"]
        assert file.get_tensor("layers.0.q").shape == (heads, n, model["head_dim"])
        assert file.get_tensor("layers.29.k").shape == (model["kv_heads"], n, model["head_dim"])
        offsets, text = file.get_tensor("text_offsets"), file.get_tensor("text").tobytes()
        assert text.decode() == TOM.read_text()[:2600] and offsets[0] == 0 and offsets[-1] == len(text)
        for name in ["lse", "max_logit", "row_sum", "entropy", "mean_distance", "first_mass", "recent_mass", "max_key"]:
            assert file.get_tensor(name).shape == (layers, heads, n), name
        for layer, head in [(0, 0), (5, 3), (29, 8)]:
            q = file.get_tensor(f"layers.{layer}.q")[head]
            k = file.get_tensor(f"layers.{layer}.k")[head // (heads // model["kv_heads"])]
            p = weights(q, k)
            assert np.allclose(file.get_tensor("received")[layer, head], p.sum(axis=0), rtol=1e-4, atol=1e-5)
            assert np.allclose(file.get_tensor("first_mass")[layer, head], p[:, 0], atol=1e-5)
            assert np.array_equal(file.get_tensor("max_key")[layer, head][:50], p.argmax(axis=1)[:50])
            entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)
            assert np.allclose(file.get_tensor("entropy")[layer, head], entropy, atol=2e-4)


def test_tile_forms_agree(short, tmp_path):
    arguments = ("tile", short, "5.3", "100:140", "90:130")
    csv = run(*arguments, "--csv")
    assert csv.returncode == 0, csv.stderr
    table = np.array([[float(x) for x in line.split(",")] for line in csv.stdout.decode().splitlines()], dtype=np.float32)
    document = json.loads(run(*arguments, "--json").stdout)
    assert document["rows"] == [100, 140] and document["keys"] == [90, 130]
    npy = tmp_path / "tile.npy"
    assert run(*arguments, "-o", npy).returncode == 0
    array = np.load(npy)
    assert array.dtype == np.float32 and array.shape == (40, 40)
    assert np.array_equal(array, table) and np.array_equal(array, np.array(document["weights"], dtype=np.float32))
    with safe_open(short, framework="numpy") as file:
        p = weights(file.get_tensor("layers.5.q")[3], file.get_tensor("layers.5.k")[1])
    assert np.allclose(array, p[100:140, 90:130], atol=1e-5)
    whole = tmp_path / "whole.npy"
    assert run("tile", short, "5.3", ":", ":", "-o", whole).returncode == 0
    assert np.array_equal(np.load(whole)[100:140, 90:130], array)
    assert np.allclose(np.load(whole).sum(axis=1), 1, atol=1e-5)


def test_row(short):
    document = json.loads(run("row", short, "5.3", "120", "--top", "50", "--json").stdout)
    listed = [k["weight"] for k in document["keys"]]
    assert len(listed) == 50 and listed == sorted(listed, reverse=True)
    tile = json.loads(run("tile", short, "5.3", "120", "0:121", "--json").stdout)["weights"][0]
    assert all(np.float32(tile[k["key"]]) == np.float32(k["weight"]) for k in document["keys"])
    printed = run("row", short, "5.3", "120").stdout.decode()
    assert printed.startswith("Head 5.3 at token 120") and "in the other 111 tokens" in printed


def test_what_a_row_does_not_list_is_what_the_others_have(tmp_path):
    path = tmp_path / "run.safetensors"
    assert run("trace", "--text", TOM.read_text()[:900], "-o", path).returncode == 0  # f16: rows do not sum to 1
    apart = 0
    for head in ("0.0", "5.3", "11.2", "29.8"):
        tile = np.array(json.loads(run("tile", path, head, "150", "0:151", "--json").stdout)["weights"][0])
        document = json.loads(run("row", path, head, "150", "--top", "5", "--json").stdout)
        rest = np.delete(tile, [k["key"] for k in document["keys"]]).sum()
        assert document["others"] == {"keys": 146, "weight": pytest.approx(rest, rel=1e-6)}
        assert document["total"] == pytest.approx(tile.sum(), rel=1e-6)
        assert f"  {rest:.6f}  in the other 146 tokens" in run("row", path, head, "150", "--top", "5").stdout.decode()
        apart = max(apart, abs(1 - tile.sum()))
    assert apart > 1e-5, "rows that sum to 1 test nothing"
    one = run("row", path, "5.3", "5", "--top", "5").stdout.decode()
    assert "in the other 1 token\n" in one


def test_page(short, tmp_path):
    page = tmp_path / "page.html"
    done = run("page", short, "-o", page, "--check-model", MODEL)
    assert done.returncode == 0, done.stderr
    html = page.read_text()
    assert "<title>Tom &amp; &lt;b" in html and [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_narrow_stores_and_groups(tmp_path):
    sizes = {}
    for store, dtype in [("f16", "F16"), ("bf16", "BF16"), ("f32", "F32")]:
        path = tmp_path / store
        done = run("trace", SHORT, "-o", path, "--store", store, "--measures", "roles,columns")
        assert done.returncode == 0, done.stderr
        with safe_open(path, framework="numpy") as file:
            assert file.get_slice("layers.3.q").get_dtype() == dtype
            assert "received" in file.keys() and "pool_sum" not in file.keys()
        sizes[store] = path.stat().st_size
    assert sizes["f16"] == pytest.approx(sizes["bf16"], abs=200) and sizes["f32"] > 1.5 * sizes["f16"]
    refused(run("page", tmp_path / "f16", "-o", tmp_path / "p.html"), 2, "was not kept")
    assert not (tmp_path / "p.html").exists()


def test_threads_and_repeats_give_the_same_tensors(tmp_path):
    def tensors(path, *options):
        assert run("trace", SHORT, "-o", path, *options).returncode == 0
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name).tobytes() for name in file.keys()}
    assert tensors(tmp_path / "a", "-t", "1") == tensors(tmp_path / "b", "-t", "2")


@pytest.mark.parametrize("arguments, parts", [
    (("tile", "5.x", "0:1", "0:1"), ["'5.x'", "LAYER.HEAD"]),
    (("tile", "30.0", "0:1", "0:1"), ["'30.0'"]),
    (("tile", "5.9", "0:1", "0:1"), ["'5.9'"]),
    (("tile", "5.3", "0:100000", "0:1"), ["ROWS", "0:100000"]),
    (("tile", "5.3", "3:2", "0:1"), ["ROWS", "3:2"]),
    (("tile", "5.3", "0:1", "-1:2"), ["KEYS"]),
    (("tile", "5.3", "0:1", "99999999999999999999:2"), ["KEYS"]),
    (("row", "5.3", "a"), ["ROW"]),
    (("row", "5.3", "1:4"), ["no single token"]),
])
def test_wrong_arguments(short, arguments, parts):
    refused(run(arguments[0], short, *arguments[1:]), 2, *parts)


def test_files_that_are_no_trace(short, tmp_path):
    refused(run("row", MODEL, "0.0", "1"), 2, "GGUF file")
    refused(run("row", tmp_path / "missing", "0.0", "1"), 2, "missing")
    whole = short.read_bytes()
    for name, content, part in [
        ("empty", b"", "at least 8"),
        ("cut", whole[:len(whole) // 2], "data_offsets"),
        ("newer", whole.replace(b'"format_version":"2"', b'"format_version":"7"'), "newer"),
        ("altered", whole.replace(b"Tom &", b"Tim &"), "altered"),
    ]:
        path = tmp_path / name
        path.write_bytes(content)
        refused(run("tile", path, "0.0", "0:1", "0:1"), 2, name, part)
    data = bytearray(whole)
    length = int.from_bytes(whole[:8], "little")
    begin, end = json.loads(whole[8:8 + length])["layers.5.k"]["data_offsets"]
    data[8 + length + (begin + end) // 2] ^= 1  # in K of layer 5, head 1 of 3: seen when it is read, and only then
    (tmp_path / "bit").write_bytes(data)
    refused(run("tile", tmp_path / "bit", "5.3", ":", ":", "-o", tmp_path / "x.npy"), 2, "bit", "altered")
    assert not (tmp_path / "x.npy").exists()
    assert run("tile", tmp_path / "bit", "20.3", ":", ":", "-o", tmp_path / "x.npy").returncode == 0


def test_another_model_is_refused(short, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF" + bytes(100))
    refused(run("tile", short, "0.0", "0:1", "0:1", "--check-model", other), 2, "another model")


def test_nothing_is_left(tmp_path):
    refused(run("trace", SHORT, "-o", tmp_path / "no" / "run"), 1, "no/run")
    refused(run("trace", "", "-o", tmp_path / "run"), 2, "empty")
    refused(run("trace", SHORT, "-o", tmp_path / "run", "--span", "a=0:9999"), 2, "span 'a=0:9999'", "no part of a text")
    refused(run("trace", SHORT, "-o", tmp_path / "run", "--span", "a"), 2, "NAME=BEGIN:END")
    refused(run("trace", SHORT, "-o", tmp_path / "run", "--sinks", "4"), 2, "--window")
    assert list(tmp_path.iterdir()) == []


def test_beyond_the_context(tmp_path):
    text = tmp_path / "long.txt"
    text.write_text("word " * 9000)
    refused(run("trace", text, "-o", tmp_path / "run"), 2, "context holds", "'extrapolate'", "'scale'")
    assert [p.name for p in tmp_path.iterdir()] == ["long.txt"]


def test_full_disk(tmp_path):
    def small():
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # less than the file of these eleven tokens
    done = subprocess.run([BIN, "trace", "-m", MODEL, SHORT, "-o", tmp_path / "run"], capture_output=True, preexec_fn=small)
    assert done.returncode == 1 and done.stdout == b"", done.stderr
    assert done.stderr.startswith(b"bareattn: ") and b"run" in done.stderr and done.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_the_environment_that_did_not_make_the_trace_is_left_out(tmp_path):
    """It is meant for other commands too; one that was named is refused."""
    path, other, gone = (tmp_path / name for name in ("run.safetensors", "other.gguf", "gone.gguf"))
    assert run("trace", "--text", TOM.read_text()[:260], "-o", path, "--measures", "all").returncode == 0
    other.write_bytes(b"GGUF" + bytes(100))
    for arguments in (("measures", path), ("agree", path), ("diagnose", path)):
        right = run(*arguments)
        for model, why in ((other, b"another model"), (gone, b"gone.gguf")):
            done = run(*arguments, model=model)
            # Two checks of the diagnosis need the begin-of-text token, which only the model says.
            expected = right.stdout.replace(b" 21 of 33 checks", b" 19 of 33 checks")
            assert (expected != right.stdout) == (arguments[0] == "diagnose")
            assert (done.returncode, done.stdout) == (0, expected), (arguments, done.stderr)
            assert done.stderr.startswith(b"bareattn: warning: ") and why in done.stderr and b"BAREATTN_MODEL" in done.stderr
            assert done.stderr.count(b"\n") == 1
            refused(run(*arguments, "-m", model), 2, why.decode())
    for model in (other, gone):
        with serving(path, env={"BAREATTN_MODEL": str(model)}) as server:
            assert server.ask("/api/text").json()["served"]["live"] is False
        refused(run("serve", path, "-m", model), 2, model.name)


HOW_A_TEXT_IS_RUN = [("--precision", "bf16"), ("--attention", "f32"), ("--text", "x"), ("--text", ""), ("--file", "x")]
OF_MEASURES = [*HOW_A_TEXT_IS_RUN, ("--chat",), ("--bos",), ("--no-bos",), ("--beyond", "scale")]


@pytest.mark.parametrize("command, options", [
    ("serve", [*HOW_A_TEXT_IS_RUN, ("--window", "1024"), ("--window", "9", "--sinks", "4"), ("--store", "f32"),
               ("--beyond", "scale"), ("--chat",)]),
    ("measures", OF_MEASURES), ("agree", OF_MEASURES), ("diagnose", HOW_A_TEXT_IS_RUN)])
def test_options_of_a_text_are_refused_with_a_trace(short, command, options):
    for option in options:
        refused(run(command, short, *option, model=None), 2, option[0], "a trace is as it was made")


def test_a_rule_with_every_field_is_followed():
    """Scale, softcap, windows, sink logits and ALiBi: `tile` and `row` have the weights of the pass."""
    golden = Path(__file__).parents[1] / "golden"
    path = golden / "every_rule.safetensors"
    for head, row in json.loads((golden / "every_rule.json").read_text()).items():
        tile = json.loads(run("tile", path, head, "63", "0:64", "--json").stdout)["weights"][0]
        assert np.array_equal(np.array(tile, dtype=np.float32), np.array(row, dtype=np.float32))
