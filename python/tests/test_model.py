"""Model, steering and diagnose(): tokens, weights of steered runs by the formula, identities to the bit, files that the
command reads, findings on broken runs, errors by kind."""

import hashlib
import json
import subprocess

import numpy as np
import pytest

import bareattn
from gil import ticks_during
from places import BIN, MODEL, TOM

TEXT = TOM.read_text()[:300]
PROMPT = "My dog is called Rex and my cat is called Tom. The name of my dog is"


def command(*arguments):
    return subprocess.run([BIN, *map(str, arguments)], check=True, capture_output=True).stdout


def test_tokens_are_those_of_the_command(model):
    ids = json.loads(command("tokenize", "-m", MODEL, "--json", "--text", TEXT))
    ids = [t["id"] for t in ids] if isinstance(ids[0], dict) else ids
    assert model.encode(TEXT).tolist() == ids and model.encode(TEXT).dtype == np.int32
    assert model.decode(model.encode("naïve 🦊 café")) == "naïve 🦊 café"
    chat = model.decode(model.encode("Hello", chat=True))
    assert "Hello" in chat and len(chat) > 20
    begin, end = model.span(PROMPT, "cat is called Tom")
    assert model.decode(model.encode(PROMPT)[begin:end]).strip() == "cat is called Tom"
    begin, end = model.span("a naïve 🦊 here", "🦊")
    assert "🦊" in model.decode(model.encode("a naïve 🦊 here")[begin:end])
    with pytest.raises(ValueError, match="'elephant'"):
        model.span(PROMPT, "elephant")


def test_other_threads_go_on_while_the_file_is_hashed():
    fresh = bareattn.Model(MODEL)
    ticks, seconds = ticks_during(lambda: fresh.facts)
    assert ticks >= 3, f"{seconds:.3f} s without another Python thread"
    assert fresh.facts["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()


def test_a_run_is_that_of_a_trace(model, tmp_path):
    run = model.run(TEXT)
    command("trace", "-m", MODEL, "--text", TEXT, "-o", tmp_path / "t", "--store", "f32")
    trace = bareattn.Trace(tmp_path / "t")
    assert isinstance(trace, bareattn.Run) and np.array_equal(run.tokens, trace.tokens) and run.texts == trace.texts
    assert run.model["layers"] == 30 and run.seconds > 0
    assert np.array_equal(run.rows("lse", 7, 2), trace.rows("lse", 7, 2))
    assert np.array_equal(run.received(7, 2), trace.received(7, 2))
    assert run.role(7, 2).name == trace.role(7, 2).name
    assert np.allclose(run.row(7, 2, -1), trace.row(7, 2, -1), rtol=1e-4, atol=1e-6)
    assert run.top(7, 2, -1, 3)[0][0] == np.argmax(trace.row(7, 2, -1))
    assert run.span(TEXT[5:20])[0] < run.span(TEXT[5:20])[1]
    with pytest.raises(IndexError):
        run.row(0, 0, len(run))
    with pytest.raises(ValueError, match="30.0"):
        run.rows("lse", 30, 0)
    with pytest.raises(ValueError, match="'sharpness'"):
        run.mean("sharpness")


def test_identities_change_no_bit(model):
    plain = model.run(PROMPT).rows("lse", 29, 8)
    for one in ({"kind": "boost", "keys": [(2, 5)], "value": 1}, {"kind": "pasta", "keys": [(2, 5)], "value": 1},
                {"kind": "bias", "keys": [(2, 5)], "value": 0}, {"kind": "temperature", "value": 1},
                {"kind": "scale", "value": 1}, {"kind": "window", "value": 500}):
        assert np.array_equal(model.run(PROMPT, steering=one).rows("lse", 29, 8), plain), one
    assert not np.array_equal(model.run(PROMPT, steering={"kind": "boost", "keys": [(2, 5)], "value": 2}).rows("lse", 29, 8),
                              plain)


def test_pasta_is_its_formula(model):
    span, alpha = model.span(PROMPT, "cat is called Tom"), 0.01
    before, after = model.run(PROMPT), model.run(PROMPT, [{"kind": "pasta", "keys": [span], "value": alpha}])
    for head in range(9):
        mass = before.row(0, head, -1)[slice(*span)].sum(dtype=float)
        assert after.row(0, head, -1)[slice(*span)].sum(dtype=float) == pytest.approx(mass / (mass + alpha * (1 - mass)), abs=1e-4)
        assert after.row(0, head, -1).sum(dtype=float) == pytest.approx(1, abs=1e-4)


def test_generation_and_files_agree_with_the_command(model, tmp_path):
    file = tmp_path / "steering.json"
    steering = [{"kind": "boost", "heads": ["5.3", "6.*"], "keys": [model.span(PROMPT, "cat is called Tom")], "value": 50}]
    bareattn.save_steering(file, steering)
    loaded = bareattn.load_steering(file)
    assert loaded == [{**steering[0], "keys": [list(steering[0]["keys"][0])]}]
    said = json.loads(command("steer", "-m", MODEL, "--table", file, "-n", 8, "--json", PROMPT))
    assert model.generate(PROMPT, 8) == said["before"]["text"]
    for given in (steering, steering[0], file, str(file), loaded):
        assert model.generate(PROMPT, 8, steering=given) == said["after"]["text"]
    assert model.generate(PROMPT, 8, temperature=1, seed=3) == model.generate(PROMPT, 8, temperature=1, seed=3)


def test_interventions_made_from_runs(model):
    mean = model.mean_ablation(PROMPT, ["4.2"])
    assert mean["kind"] == "mean" and len(mean["mean"]) == 64
    for one in bareattn.adaptive_temperature(model.run(PROMPT)):
        assert one["kind"] == "temperature" and 0.2 < one["value"] < 1
    spans = [(1, 4), (4, 9)]
    biases = bareattn.calibrate(model.run(PROMPT), spans, ["0.*"])
    fair = model.run(PROMPT, steering=biases).row(0, 4, -1)
    assert fair[1:4].sum() / fair[1:9].sum() == pytest.approx(3 / 8, abs=1e-3)


def test_diagnosis_of_texts_and_runs(model, tmp_path):
    assert bareattn.diagnose(TEXT, model=model, probes=False) == []
    assert bareattn.diagnose(model.run(TEXT), model=model) == []
    boost = {"kind": "boost", "heads": ["12.*", "15.*"], "keys": [(20, 21)], "value": 80}
    broken = model.run(TEXT, steering=boost)
    assert bareattn.diagnose(broken, steering=boost) == []  # declared, and so no fault
    # What the boost was is not told: a trace of a run that was broken so holds no table.
    command("break", "-m", MODEL, "--fault", "peripheral:50", "--seed", 2, "--text", TEXT, "--fast", "--trace", tmp_path / "b.safetensors")
    found = bareattn.diagnose(tmp_path / "b.safetensors")
    assert found[0].check == "peripheral-made-central" and found[0].value == pytest.approx(50, rel=0.1)
    assert found[0].severity == "error" and found[0].head in found[0].heads and found[0].last == found[0].token
    assert str(found[0]).startswith("error: peripheral-made-central: Token ")
    (undo,) = found[0].steering
    assert undo["kind"] == "boost" and undo["value"] == pytest.approx(1 / 50, rel=0.1)
    assert undo["keys"] == [[found[0].token, found[0].token + 1]]
    assert bareattn.diagnose(tmp_path / "b.safetensors", checks=["future-leak"]) == []


def test_two_runs_are_held_against_each_other(model):
    control = model.run(TEXT)
    weak = {"kind": "bias", "keys": [(0, 1)], "value": -12}
    found = bareattn.diagnose(model.run(TEXT, weak), steering=weak, against=control)
    assert found[0].check == "sink-lost" and found[0].token == 0 and found[0].undone_by == ""
    assert bareattn.diagnose(control, against=control) == []
    with pytest.raises(ValueError, match="not over the same tokens"):
        bareattn.diagnose(control, against=model.run(TEXT[:-20]))


def test_errors(model, tmp_path):
    with pytest.raises(OSError, match="none.gguf"):
        bareattn.Model(tmp_path / "none.gguf")
    with pytest.raises(ValueError, match="precision"):
        bareattn.Model(MODEL, precision="f64")
    for bad, match in (([{"kind": "boos"}], "boos"), ([{"kind": "boost", "value": 2}], "span"),
                       ([{"kind": "scale", "heads": ["30.0"], "value": 0}], "30 layers"), ([{"knd": 1}], "knd")):
        with pytest.raises(ValueError, match=match):
            model.run(PROMPT, steering=bad)
    with pytest.raises(ValueError, match="vocabulary"):
        model.run([10**6])
    with pytest.raises(ValueError, match="empty"):
        model.run([])
    with pytest.raises(ValueError, match="count"):
        model.generate(PROMPT, 0)
    with pytest.raises(ValueError, match="context"):
        model.generate(PROMPT, 10**6)
    with pytest.raises(ValueError, match="48"):
        bareattn.diagnose("Too short.", model=model)
    with pytest.raises(ValueError, match="no check 'gremlins'"):
        bareattn.diagnose(TEXT, model=model, checks=["gremlins"])
    with pytest.raises(OSError, match="missing"):
        bareattn.diagnose(tmp_path / "missing")
    with pytest.raises(TypeError, match="model"):
        bareattn.diagnose([1, 2, 3])
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(ValueError, match="format"):
        bareattn.load_steering(tmp_path / "bad.json")
