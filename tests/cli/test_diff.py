"""bareattn diff and bareattn quantize from outside: two traces, two models, JSON, exit statuses, refusals by name."""
import json

import pytest

from test_cli import MODEL, SHORT, refused, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("diff")
    for name, precision in (("f32", "f32"), ("bf16", "bf16")):
        done = run("trace", SHORT, "--precision", precision, "--store", "f32", "-o", folder / name)
        assert done.returncode == 0, done.stderr
    done = run("quantize", "--type", "q4_0", "-o", folder / "q4_0.gguf")
    assert done.returncode == 0, done.stderr
    return folder


def test_two_traces(folder):
    done = run("diff", folder / "f32", folder / "bf16", "--top", "3")
    assert done.returncode == 0 and done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("270 heads over ") and "mean JS" in lines[0]
    assert len(lines) == 1 + 1 + 1 + 3 + 1 + 1 + 3
    found = json.loads(run("diff", folder / "f32", folder / "bf16", "--json").stdout)
    assert found["format"] == "bareattn-diff" and len(found["heads"]) == 270
    assert all(0 <= head["js"] < 0.7 and head["kl"] >= -1e-9 for head in found["heads"])
    assert max(head["js"] for head in found["heads"]) > 0
    assert all(head["output_cosine"] is None for head in found["heads"])  # traces keep no outputs
    assert "".join(token["text"] for token in found["tokens"]) == SHORT


def test_a_run_and_itself_and_the_exit_status(folder):
    same = run("diff", folder / "f32", folder / "f32", "--fail-above", "0.000001")
    assert same.returncode == 0 and "100.0 % of the 10 strongest keys" in same.stdout.decode()
    assert run("diff", folder / "f32", folder / "bf16", "--fail-above", "0").returncode == 1


def test_two_models(folder):
    found = json.loads(run("diff", MODEL, folder / "q4_0.gguf", SHORT, "--json").stdout)
    cosines = [head["output_cosine"] for head in found["heads"]]
    assert all(0 < cosine <= 1.000001 for cosine in cosines) and min(cosines) < 0.999
    table = run("diff", MODEL, folder / "q4_0.gguf", SHORT)
    assert table.returncode == 0 and "Tokens whose rows changed most" in table.stdout.decode()


def test_what_diff_refuses(folder, tmp_path):
    other = tmp_path / "other"
    assert run("trace", SHORT + " Then", "-o", other).returncode == 0
    refused(run("diff", folder / "f32", other), 2, "not over the same tokens")
    refused(run("diff", folder / "f32", MODEL), 2, "two traces or two models")
    refused(run("diff", folder / "f32", folder / "bf16", "a text"), 2, "hold their text already")
    refused(run("diff", MODEL, MODEL), 2, "the text is empty")
    refused(run("diff", folder / "f32", tmp_path / "nothing"), 2, "nothing")
    refused(run("diff", folder / "f32", folder / "bf16", "--fail-above", "nan"), 2)


def test_quantize(folder, tmp_path):
    made = folder / "q4_0.gguf"
    info = run("info", model=made)
    assert info.returncode == 0 and b"Q4_0" in info.stdout
    generated = run("generate", "The capital of France is", "-n", "4", model=made)
    assert generated.returncode == 0 and generated.stdout.strip()
    refused(run("quantize", "--type", "q4_0", "-o", MODEL), 2, "would replace")
    refused(run("quantize", "--type", "q9", "-o", tmp_path / "x"), 2)
    refused(run("quantize", "-m", tmp_path / "none", "--type", "f16", "-o", tmp_path / "x"), 2, "none")
    refused(run("quantize", "--type", "f16", "-o", tmp_path / "no" / "x"), 1, "directory does not exist")
    assert list(tmp_path.iterdir()) == []
