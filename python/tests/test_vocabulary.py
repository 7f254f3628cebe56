"""One vocabulary: heads by number, text or pair; arrays over all heads; a run in memory and one in a file are asked, drawn
and shown alike."""

import inspect

import numpy as np
import pytest

import bareattn

TEXT = "The cat sat on the mat, and then the cat sat on the mat again."


@pytest.fixture(scope="module")
def run(model):
    return model.run(TEXT, measures="all", spans={"a": (0, 4), "b": (5, 9)})


@pytest.fixture(scope="module")
def trace(model, tmp_path_factory):
    return model.trace(TEXT, tmp_path_factory.mktemp("trace") / "t", measures="all", spans={"a": (0, 4), "b": (5, 9)})


ASKED = {
    "row": (7,), "top": (7, 3), "received": (), "max_key": (), "pool_sum": (), "pool_max": (), "role": (),
    "tile": ((3, 9), slice(0, 5)), "scores": ((3, 9),), "carried": (), "value_weighted": ((3, 9),), "stripes": (4,),
    "laplacian_eigenvalues": (3,),
}
NAMED = {"rows": ("entropy",), "mean": ("entropy",), "swept_rows": ("keys_90",), "span_mass": ("a",),
         "span_flow": ("b", "a"), "lookback_ratio": ("a", "b"), "focus_score": ("a", "b")}


def same(one, other):
    return np.array_equal(one, other, equal_nan=True) if isinstance(one, np.ndarray) else one == other


def test_a_head_is_asked_for_by_numbers_text_or_pair(run, trace):
    for of in (run, trace):
        for name, after in ASKED.items():
            ask = getattr(of, name)
            expected = ask(5, 3, *after)
            for head in ("5.3", (5, 3), [5, 3]):
                assert same(ask(head, *after), expected), (name, head)
            assert same(ask(*after, layer="5.3") if not after else ask(layer=5, head=3, **_named(ask, after)), expected), name
        for name, before in NAMED.items():
            ask = getattr(of, name)
            expected = ask(*before, 5, 3)
            assert same(ask(*before, "5.3"), expected) and same(ask(*before, (5, 3)), expected), name
        for bad in ("5", "5.", ".3", "5.3.1", "x.3", "5.*", "-1.0", "30.0", "0.9", (5,), (5, 3, 1), ("5", "3"), "", " 5.3"):
            with pytest.raises((ValueError, TypeError), match="head|argument"):
                of.received(bad)
            with pytest.raises((ValueError, TypeError), match="head|argument"):
                of.rows("entropy", bad)


def _named(ask, values):
    return dict(zip(list(inspect.signature(ask).parameters)[2:], values))


def test_without_a_head_every_head_is_there(run, trace):
    for of in (run, trace):
        for name in ("received", "max_key", "carried", "pool_sum"):
            every = getattr(of, name)()
            assert every.shape[:2] == (30, 9)
            assert np.array_equal(every[5, 3], getattr(of, name)(5, 3))
        for name, before in NAMED.items():
            every = getattr(of, name)(*before)
            assert every.shape[:2] == (30, 9), name
            assert same(every[5, 3], np.asarray(getattr(of, name)(*before, 5, 3))), name
        assert of.rows("entropy").shape == (30, 9, len(of))
        assert of.stripes(most=4).shape == (30, 9, 5)
        with pytest.raises(ValueError, match="measure 'entrop'"):
            of.rows("entrop")


def test_a_data_frame_has_a_row_per_head(run, trace):
    pytest.importorskip("pandas", reason="pandas is not installed: to_frame() was NOT tested")
    for of in (run, trace):
        frame = of.to_frame()
        assert list(frame.index.names) == ["layer", "head"] and len(frame) == 270
        assert list(frame.columns) == [*of.measures, "role"] and "entropy" in of.measures
        assert frame.loc[(5, 3), "entropy"] == of.mean("entropy", 5, 3)
        assert frame.loc[(5, 3), "role"] == of.role(5, 3).name
        assert list(of.to_frame("lse").columns) == ["lse"]
        with pytest.raises(ValueError, match="measure 'none such'"):
            of.to_frame(["none such"])


def test_run_and_trace_take_the_same_words(model):
    run, trace = (set(inspect.signature(f).parameters) for f in (model.run, model.trace))
    assert run <= trace and trace - run == {"path", "store", "window", "sinks"}
    public = {name for name in dir(bareattn.Run) if not name.startswith("_")}
    assert public <= {name for name in dir(bareattn.Trace) if not name.startswith("_")}
    assert np.array_equal(model.run(TEXT, threads=1).rows("lse", 5, 3), model.run(TEXT).rows("lse", 5, 3))


def test_generate_takes_a_chat(model):
    asked = "What is the capital of France?"
    answer = model.generate(asked, 12, chat=True)
    assert answer == model.generate(model.encode(asked, chat=True), 12) != model.generate(asked, 12)
    assert "Paris" in answer
    with pytest.raises(ValueError, match="token ids were given"):
        model.generate(model.encode(asked), 3, chat=True)


def test_a_run_in_memory_is_shown_and_drawn(run, trace, model):
    assert bareattn.show(run, "Same").html.count("<html") == 1
    assert "The cat sat on the mat, and then the cat sat on the mat aga" in bareattn.show(run).html
    assert "My title" in bareattn.show(model.run(TEXT, title="My title")).html
    assert bareattn.show(run, model=model).html != bareattn.show(run).html
    pytest.importorskip("matplotlib", reason="bareattn[plot] is not installed")
    for of in (run, trace):
        for figure in (of.plot.head(5, 3), of.plot.head("5.3"), of.plot.grid("entropy"), of.plot.text(7, "5.3"), of.plot.text(7)):
            assert figure._repr_png_()[:4] == b"\x89PNG"
    texts = [[t.get_text() for t in of.plot.text(7, head).texts][0] for of in (run,) for head in ("5.3", (5, 3))]
    assert texts[0] == texts[1] and "layer 5, head 3" in texts[0]


def test_pictures_follow_the_fonts_of_the_user(run, tmp_path):
    matplotlib = pytest.importorskip("matplotlib", reason="bareattn[plot] is not installed")
    from bareattn import _plot
    from matplotlib.font_manager import findfont, fontManager, get_font

    for given, expected in (({"font.family": "DejaVu Serif"}, "DejaVu Serif"),
                            ({"font.family": "sans-serif", "font.sans-serif": ["STIXGeneral"]}, "STIXGeneral"), ({}, "DejaVu Sans")):
        with matplotlib.rc_context(given):
            for figure in (run.plot.text(7, 5, 3), run.plot.grid("entropy"), run.plot.head(5, 3)):
                figure.savefig(tmp_path / "p.svg")
                assert f"'{expected}'" in (tmp_path / "p.svg").read_text(), (given, expected)
    with matplotlib.rc_context({"font.size": 11, "axes.linewidth": 2}):
        style = _plot._style()
        assert "font.size" not in style and "axes.linewidth" not in style and style["axes.titlesize"] == 8
    # A character that the first family has not, and an installed one has, is drawn by that one.
    plain = get_font(findfont("DejaVu Sans"))
    other = get_font(findfont("STIXGeneral"))
    lone = next(chr(c) for c in sorted(other.get_charmap()) if c > 255 and not plain.get_char_index(c))
    families = _plot._families(frozenset("a" + lone))
    assert families[0] == "DejaVu Sans" and len(families) > 1
    by_name = {entry.name: entry.fname for entry in fontManager.ttflist}
    assert any(get_font(by_name[name]).get_char_index(ord(lone)) for name in families if name in by_name)
