"""Model.trace: the file is the command's, byte for byte apart from times; it appears whole or not at all; what does not
fit is refused in words. Named spans and groups of measures are the same in Model.run."""

import _thread
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

import bareattn
from places import BIN, MODEL, TOM

STORY = TOM.read_text()
TEXT = "One, two, three; and one more, two more, three more."


@pytest.fixture(scope="module")
def run(model):
    return model.run(TEXT, spans={"three": "three", "first": (0, 2)})


def command(path, *arguments, model=MODEL, text=TEXT):
    subprocess.run([BIN, "trace", "-m", model, "--text", text, "-o", path, *map(str, arguments)], check=True,
                   capture_output=True)


def content(path):
    """A trace without what differs from run to run: its header, and all tensors' bytes."""
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    facts = header["__metadata__"]
    facts["run"] = json.loads(facts["run"])
    assert facts["run"].pop("seconds") > 0 and facts.pop("digest")
    return header, raw[8 + size :]


def same(one, other):
    (header, tensors), (header_of_other, tensors_of_other) = content(one), content(other)
    assert header == header_of_other
    assert tensors == tensors_of_other


STEERING = {"kind": "boost", "heads": ["5.3", "6.*"], "keys": [(2, 4)], "value": 3}
SPANS = {"three": "three", "some": [(5, 7), (1, 3)], "first": (0, 2), "rest": "12:"}
CASES = {
    "as it comes": ({}, ()),
    "all of it": ({"store": "f32", "measures": "all", "spans": SPANS, "title": "Täglich\n<b>", "threads": 1},
                  ("--store", "f32", "--measures", "all", "--title", "Täglich\n<b>", "--span", "three=three", "--span",
                   "some=5:7", "--span", "some=1:3", "--span", "first=0:2", "--span", "rest=12:", "--threads", 1)),
    "nothing, in a window": ({"store": "bf16", "measures": ["none"], "window": 5, "sinks": 2, "beyond": "scale"},
                             ("--store", "bf16", "--measures", "none", "--window", 5, "--sinks", 2, "--beyond", "scale")),
    "a chat": ({"chat": True, "measures": ("roles", "map"), "spans": ["three=three"]},
               ("--chat", "--measures", "roles,map", "--span", "three=three")),
    "begun": ({"bos": True, "measures": ["columns"]}, ("--bos", "--measures", "columns")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_file_is_that_of_the_command(model, tmp_path, case):
    options, arguments = CASES[case]
    command(tmp_path / "command", *arguments)
    trace = model.trace(TEXT, tmp_path / "python", **options)
    assert isinstance(trace, bareattn.Trace) and trace.store == options.get("store", "f16")
    same(tmp_path / "python", tmp_path / "command")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["command", "python"]
    if case == "as it comes":
        model.trace(model.encode(TEXT), os.fsencode(tmp_path / "python"))  # in place of the other
        same(tmp_path / "python", tmp_path / "command")


def test_a_steered_run_is_that_of_the_command(model, tmp_path):
    bareattn.save_steering(tmp_path / "table", STEERING)
    command(tmp_path / "command", "--table", tmp_path / "table", "--store", "f32")
    for table in (STEERING, [STEERING], tmp_path / "table", str(tmp_path / "table")):
        trace = model.trace(TEXT, tmp_path / "python", steering=table, store="f32")
        same(tmp_path / "python", tmp_path / "command")
    assert np.array_equal(trace.rows("lse", 29, 8), model.run(TEXT, STEERING).rows("lse", 29, 8))


def test_a_chat_begins_as_the_model_says(tmp_path):
    """Of a file that wants its begin-of-text token, too."""
    key = b"tokenizer.ggml.add_bos_token"
    raw = bytearray(MODEL.read_bytes())
    at = raw.index(key) + len(key) + 4  # after the value's type
    assert raw[at] == 0
    raw[at] = 1
    (tmp_path / "model").write_bytes(raw)
    model = bareattn.Model(tmp_path / "model")
    for chat in (True, False):
        command(tmp_path / "command", *["--chat"] * chat, "--measures", "none", model=tmp_path / "model")
        tokens = bareattn.Trace(tmp_path / "command").tokens
        assert np.array_equal(model.encode(TEXT, chat=chat), tokens)
        assert np.array_equal(model.encode(TEXT, chat=chat, bos=False), tokens[1:])


def test_spans(model, run, tmp_path):
    tokens = model.encode(TEXT)
    found = [m.start() for m in re.finditer("three", TEXT)]
    assert len(found) == 2
    assert list(run.spans) == ["three", "first"] and run.spans["first"] == [(0, 2)]
    assert [model.decode(tokens[b:e]).strip() for b, e in run.spans["three"]] == ["three", "three"]
    (b, e), (c, d) = run.spans["three"]
    for spans in ([("three", "three")], {"three": [(b, e), (c, d)]}, [("three", b, e), ("three", (c, d))], "three=three",
                  [f"three={b}:{e}", ["three", [c, d]]], {"three": np.array([[b, e], [c, d]])}):
        of = model.run(TEXT, spans=spans)
        assert of.spans == {"three": [(b, e), (c, d)]}, spans
        assert np.array_equal(of.span_mass("three", 5, 3), run.span_mass("three", 5, 3)), spans
    trace = model.trace(TEXT, tmp_path / "t", spans=SPANS)
    assert trace.spans == {"three": [(b, e), (c, d)], "some": [(5, 7), (1, 3)], "first": [(0, 2)],
                           "rest": [(12, len(tokens))]}
    assert trace.facts["spans"][:2] == [("three", b, e), ("three", c, d)]
    chat = model.run(TEXT, chat=True, spans={"three": "three"})
    assert list(chat.spans) == ["system", "question", "special", "three"]
    (asked,) = chat.spans["question"]
    assert model.decode(chat.tokens[slice(*asked)]) == TEXT
    assert len(chat.spans["special"]) > 1


@pytest.mark.parametrize(
    ("spans", "words"),
    [
        ({"a": "four"}, "'a=four'.*matches nothing"),
        ({"a": "thr(ee"}, "'a=thr.ee'.*no regular expression"),
        ([("a", 5, 5)], "5:5 are no part of a text"),
        ({"a": (3, 10**30)}, "too large"),
        *((bad, "spans: .*: a name with tokens .begin, end., several such, or a regular expression") for bad in (
            {"a": (-1, 3)}, {"a": []}, {"a": [()]}, {"a": (1, 2, 3)}, {"a": 3}, {"a": 1.5}, {"a": (0.5, 2)}, [3], [()],
            [("a",)], [("a", "b", "c")], [("a", 0)])),
        ({"a=b": (0, 1)}, "'a=b'"),
        ({3: (0, 1)}, "the name 3"),
        ({"": (0, 1)}, "the name ''"),
        (("a", "three"), "span 'a': NAME=BEGIN:END or NAME=REGEX"),
        ({str(i): (0, 1) for i in range(65)}, "64 names"),
    ],
)
def test_spans_that_do_not_fit(model, tmp_path, spans, words):
    with pytest.raises(ValueError, match=words):
        model.run(TEXT, spans=spans)
    with pytest.raises(ValueError, match=words):
        model.trace(TEXT, tmp_path / "t", spans=spans)
    assert not list(tmp_path.iterdir())


def test_groups(model):
    everything = model.run(TEXT, measures=["all"])
    for measures in ("all", ["rows", "distance", "spans", "columns", "map", "spread", "values", "agreement"]):
        of = model.run(TEXT, measures=measures)
        assert np.array_equal(of.rows("distance_spread", 5, 3), everything.rows("distance_spread", 5, 3))
        assert np.array_equal(of.carried(5, 3), everything.carried(5, 3))
    rows = model.run(TEXT, measures="rows")
    assert np.array_equal(rows.rows("entropy", 5, 3), everything.rows("entropy", 5, 3))
    for missing in (lambda: rows.received(5, 3), lambda: rows.rows("mean_distance", 5, 3), lambda: rows.pool_sum(5, 3)):
        with pytest.raises(ValueError, match="not measured|was not|measures"):
            missing()
    roles = model.run(TEXT, measures="roles", spans="a=three")
    assert roles.role(5, 3).name == everything.role(5, 3).name and roles.span_mass("a", 5, 3).shape == (len(roles),)
    with pytest.raises(ValueError):
        roles.pool_block
    for none in ("none", ["none"], ()):
        with pytest.raises(ValueError):
            model.run(TEXT, measures=none).rows("entropy", 5, 3)
    for bad in ("row", ["rows", "colums"], [3], "rows,map"):
        with pytest.raises(ValueError, match="one of rows, distance, spans.*roles, all, none is needed"):
            model.run(TEXT, measures=bad)
    for kept in (["rows"], "none"):
        with pytest.raises(ValueError, match="needs 'spans' among the measures"):
            model.run(TEXT, measures=kept, spans=[("a", 0, 2)])


def test_names_may_be_one(model, run):
    one, several = run.sweep("coverage"), run.sweep(["coverage"])
    assert one.keys() == several.keys()
    assert model.mean_ablation(TEXT, "4.2") == model.mean_ablation(TEXT, ["4.2"])
    assert bareattn.diagnose(model.run(STORY[:300]), checks="future-leak") == []


@pytest.mark.parametrize("block", [1, 8, 16, 0])
def test_the_pooled_map(model, tmp_path, block):
    run = model.run(TEXT, pool_block=block)
    trace = model.trace(TEXT, tmp_path / "t", store="f32", pool_block=block)
    size = trace.pool_block
    assert size == run.pool_block == (block or size)
    n = len(trace)
    blocks = -(-n // size)
    padded = np.zeros((blocks * size, blocks * size))
    padded[:n, :n] = trace.tile(5, 3)
    cells = padded.reshape(blocks, size, blocks, size)
    for of in (run, trace):
        total, largest = of.pool_sum(5, 3), of.pool_max(5, 3)
        assert total.shape == largest.shape == (blocks, blocks)
        assert total.dtype == np.float64 and largest.dtype == np.float32
        assert np.allclose(total, cells.sum(axis=(1, 3)), atol=1e-5)
        assert np.allclose(largest, cells.max(axis=(1, 3)), atol=1e-6)
        with pytest.raises(ValueError, match="30.0"):
            of.pool_sum(30, 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"store": "f8"}, "store 'f8': one of f16, bf16, f32 is needed"),
        ({"beyond": "far"}, "beyond 'far': one of refuse, extrapolate, scale is needed"),
        ({"window": -1}, "window -1: a whole number from 0"),
        ({"window": 2.5}, "window 2.5: a whole number"),
        ({"window": 10**20}, "window 100000000000000000000"),
        ({"window": 5, "sinks": -2}, "sinks -2"),
        ({"sinks": 2}, "sinks 2: a window is needed"),
        ({"pool_block": 3}, "pool_block.*1, 2, 4, 8 or a multiple of 16"),
        ({"pool_block": 10**12}, "pool_block 1000000000000"),
        ({"threads": -1}, "threads -1"),
        ({"threads": 10**12}, "threads 1000000000000"),
        ({"measures": "everything"}, "'everything'"),
        ({"steering": {"kind": "window", "value": 3}}, "window"),
        ({"steering": {"kind": "boos"}}, "boos"),
        ({"text": ""}, "empty"),
        ({"text": []}, "empty"),
        ({"text": [10**6]}, "vocabulary"),
        ({"text": [10**12]}, "token id 1000000000000"),
        ({"text": [1, 2], "chat": True}, "token ids were given"),
        ({"text": [1, 2], "bos": False}, "token ids were given"),
        ({"text": [1] * 10**4}, "context"),
        ({"text": "a\ud800"}, "surrogates"),
        ({"title": "\udcff"}, "surrogates"),
        ({"spans": {"a": "\ud800"}}, "surrogates"),
        ({"path": "a\0b"}, "NUL"),
        ({"path": b"a\xff"}, "UTF-8"),
    ],
)
def test_what_does_not_fit_leaves_nothing(model, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old").write_bytes(b"old")
    for path in ("new", "old"):
        with pytest.raises(ValueError, match=words):
            model.trace(**{"text": TEXT, "path": path, **options})
    assert [p.name for p in tmp_path.iterdir()] == ["old"] and (tmp_path / "old").read_bytes() == b"old"


def test_places_that_cannot_be_written(model, tmp_path):
    (tmp_path / "model").symlink_to(MODEL)
    before = MODEL.stat()
    with pytest.raises(ValueError, match="would replace"):
        model.trace(TEXT, tmp_path / "model")
    bareattn.save_steering(tmp_path / "table", STEERING)
    with pytest.raises(ValueError, match="would replace"):
        model.trace(TEXT, tmp_path / "table", steering=tmp_path / "table")
    assert bareattn.load_steering(tmp_path / "table") and MODEL.stat().st_mtime == before.st_mtime
    with pytest.raises(OSError, match="directory"):
        model.trace(TEXT, tmp_path)
    with pytest.raises(OSError, match="does not exist"):
        model.trace(TEXT, tmp_path / "none" / "t")
    for bad in (3, None):
        with pytest.raises(TypeError, match="str, bytes or os.PathLike"):
            model.trace(TEXT, bad)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "table"]


def test_interrupted_leaves_what_was_there(model, tmp_path):
    """Ctrl-C comes from another thread as soon as the file is begun: were the GIL held, or the run deaf, it would end."""
    path = tmp_path / "t"
    path.write_bytes(b"old")
    begun = threading.Event()

    def interrupt():
        while not begun.is_set():
            time.sleep(0.001)
            with contextlib.suppress(FileNotFoundError):  # the first only asks whether a file could be written
                if any(p.name != "t" and p.stat().st_size > 0 for p in tmp_path.iterdir()):
                    begun.set()
        _thread.interrupt_main()

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.trace(STORY[:6000], path)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, handler)
    assert begun.is_set() and os.listdir(tmp_path) == ["t"] and path.read_bytes() == b"old"


def test_arguments_of_a_trace(model, run, tmp_path):
    trace = model.trace(TEXT, tmp_path / "t")
    again = bareattn.Trace(os.fsencode(tmp_path / "t"))
    assert np.array_equal(again.tokens, trace.tokens)
    again.check_model(os.fsencode(MODEL))
    for bad, match in ((b"x\xff", "UTF-8"), ("t\0x", "NUL")):
        with pytest.raises(ValueError, match=match):
            bareattn.Trace(bad)
        with pytest.raises(ValueError, match=match):
            bareattn.Model(bad)
    with pytest.raises(TypeError, match="os.PathLike"):
        bareattn.Trace(3)
    for of in (run, trace):
        whole = of.top(5, 3, 6, 10**12)
        assert len(whole) == 7 and whole == of.top(5, 3, 6, 7)
        assert of.top(5, 3, 6, 0) == []
        for bad in (-1, 1.5, "3", True):
            with pytest.raises(ValueError, match="count .*: a whole number from 0"):
                of.top(5, 3, 6, bad)


def test_numbers_of_any_size_are_refused_in_words(model, run, tmp_path):
    trace = model.trace(TEXT, tmp_path / "t")
    for of in (run, trace):
        for bad in (-1, 30, 10**12, 0.5, None):
            for ask in (of.row, of.top, of.pool_sum, of.pool_max, of.received, of.max_key, of.role, of.tile, of.carried):
                with pytest.raises(ValueError, match=re.escape(f"head {bad}.0: the model has 30 layers of 9 heads")):
                    ask(bad, 0, *[3] * (ask in (of.row, of.top)))
            with pytest.raises(ValueError, match=re.escape(f"head 0.{bad}: the model has")):
                of.rows("entropy", 0, bad)
        assert np.array_equal(of.row(np.int64(5), np.int32(3), np.int64(-1)), of.row(5, 3, len(of) - 1))
        for ask in (lambda: of.sweep("coverage", rows=10**30), lambda: of.stripes(0, 0, 10**30),
                    lambda: of.tile(0, 0, (0, 10**30)), lambda: of.agreement(threads=10**30),
                    lambda: model.generate(TEXT, 10**30), lambda: model.generate(TEXT, 1, top_k=10**30),
                    lambda: model.generate(TEXT, 1, seed=-1), lambda: bareattn.diff(trace, trace, top=10**30)):
            with pytest.raises(ValueError, match="a whole number from"):
                ask()
    for bad in (b"One", 3, None):
        with pytest.raises(TypeError, match=f"needed, not {type(bad).__name__}"):
            model.run(bad)
        with pytest.raises(TypeError, match=f"needed, not {type(bad).__name__}"):
            model.encode(bad)
