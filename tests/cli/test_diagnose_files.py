"""bareattn diagnose on model files that were spoiled on purpose (tools/gguf_edit.py): tensors with NaN, weights that are not
what they are taken for, settings that are wrong; and texts that no setting should be judged by."""
import json
import sys

import jsonschema
import numpy as np
import pytest

from test_cli import MODEL, ROOT, TOM, run
from test_diagnose import SCHEMA

sys.path.insert(0, str(ROOT / "tools"))
from gguf_edit import Gguf  # noqa: E402

LAYERS = range(30)


@pytest.fixture
def spoiled(tmp_path):
    def make(change):
        file = Gguf(MODEL)
        change(file)
        path = tmp_path / "spoiled.gguf"
        file.write(path)
        return path
    return make


def diagnosed(model, *options, first=64):
    done = run("diagnose", "--json", "--first", first, *options, TOM, model=model, timeout=600)  # some forty runs
    assert done.returncode in (0, 1), done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    return document, done


@pytest.mark.parametrize("tensor, row, head", [("blk.29.ffn_down.weight", 5, None), ("output_norm.weight", 3, None),
                                               ("blk.12.attn_q.weight", 70, "12.1")])
def test_what_is_not_finite_is_found_wherever_it_is(spoiled, tensor, row, head):
    def change(g):
        blocks = g.blocks(tensor)
        blocks["scale"][min(row, len(blocks) - 1), 0] = np.nan
    document, done = diagnosed(spoiled(change), "--fast", "--fail-on", "error")
    first, *others = document["findings"]
    assert done.returncode == 1 and first["check"] == "not-finite" and first["head"] == head, first
    assert tensor in first["advice"]
    assert [f["severity"] for f in others if tensor in f["sentence"] and f["check"] == "odd-file"] == ["warning"]
    assert {f["check"] for f in others} <= {"odd-file"}


def test_weights_that_are_not_what_they_are_taken_for(spoiled):
    def negated(g):
        for layer in LAYERS:
            g.scale(f"blk.{layer}.attn_output.weight", -1)
    path = spoiled(negated)
    document, done = diagnosed(path, "--fail-on", "error")
    assert done.returncode == 1
    assert document["findings"][0]["check"] == "no-prediction", document["findings"]
    assert "No setting tried explains it" in document["findings"][0]["sentence"]


def test_a_setting_of_the_file_is_named_with_what_has_to_stand_there(spoiled):
    document, _ = diagnosed(spoiled(lambda g: g.__setitem__("llama.rope.freq_base", 10000.0)), first=128)
    finding = document["findings"][0]
    assert finding["check"] == "wrong-rope-base"
    assert finding["remedy"]["place"] == "file" and "llama.rope.freq_base" in finding["remedy"]["mend"]


def test_a_wrong_scale_is_undone_by_a_file(spoiled, tmp_path):
    def doubled(g):
        for layer in LAYERS:
            g.scale(f"blk.{layer}.attn_q.weight", 2)
    path, undo = spoiled(doubled), tmp_path / "undo.json"
    document, _ = diagnosed(path, "--save", undo)
    assert document["findings"][0]["check"] == "wrong-scale"
    (temperature,) = json.loads(undo.read_text())["interventions"]
    assert temperature["kind"] == "temperature" and temperature["value"] == pytest.approx(2, rel=0.1)
    assert document["findings"][0]["remedy"]["place"] == "steering"


def test_nothing_to_save_is_said_and_no_file_is_written(tmp_path):
    undo = tmp_path / "undo.json"
    done = run("diagnose", "--first", "64", "--fast", "--save", undo, TOM)
    assert done.returncode == 0 and b"was not written" in done.stderr and not undo.exists()


def test_a_head_that_asks_nothing_and_a_score_that_is_too_high(spoiled):
    def change(g):
        g.scale("blk.5.attn_q.weight", 0, slice(64, 128))
        g.scale("blk.3.attn_q.weight", 200, slice(0, 64))
    document, _ = diagnosed(spoiled(change), "--fast")
    warnings = [(f["check"], f["head"]) for f in document["findings"] if f["severity"] == "warning"]
    assert warnings == [("entropy-collapse", "3.0"), ("entropy-blow-up", "5.1")], document["findings"]
    assert "single tokens only" not in document["findings"][0]["sentence"]


@pytest.mark.parametrize("text", ["The ferry leaves at noon and comes back in the evening. " * 10,
                                  "".join(f"{i}. The door is closed.\n" for i in range(1, 30)), "a " * 100])
def test_a_text_that_repeats_itself_is_not_probed(text):
    done = run("diagnose", "--first", "96", "--fail-on", "error", "--text", text)
    out = " ".join(done.stdout.decode().split())
    assert done.returncode == 0, out
    assert "repeats itself" in out and "nothing was probed" in out and " 0 probes" in out


def test_a_chat_is_taken_as_one(tmp_path):
    text = TOM.read_text()[:300]
    plain, chat = (run("diagnose", "--fast", *options, "--text", text).stdout.decode() for options in ((), ("--chat",)))
    assert int(chat.split(" tokens,")[0].split()[-1]) > int(plain.split(" tokens,")[0].split()[-1]) + 10
    special = run("diagnose", "--fast", "--special", "--text", "<|im_start|>" + text).stdout.decode()
    spelled = run("diagnose", "--fast", "--text", "<|im_start|>" + text).stdout.decode()
    assert int(special.split(" tokens,")[0].split()[-1]) < int(spelled.split(" tokens,")[0].split()[-1])


def test_against_a_control_the_first_layer_that_differs_is_named(spoiled, tmp_path):
    control, other, text = tmp_path / "a.safetensors", tmp_path / "b.safetensors", TOM.read_text()[:300]
    path = spoiled(lambda g: g.scale("blk.9.ffn_down.weight", 1.5))
    assert run("trace", "--text", text, "-o", control).returncode == 0
    assert run("trace", "--text", text, "-o", other, model=path).returncode == 0
    out = run("diagnose", other, "--against", control, model=None).stdout.decode()
    assert "the same up to layer 9, different from layer 10 on" in " ".join(out.split())
    assert " of 33 checks" in out
