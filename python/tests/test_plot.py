"""Pictures of a trace: what is drawn is what the trace holds, tokens are shown as text, files are vectors with fonts that
journals take. The pictures themselves: docs/images/plot-*.png."""

import re
import subprocess
import sys

import numpy as np
import pytest

import bareattn
from places import BIN, MODEL, TOM

matplotlib = pytest.importorskip("matplotlib", reason="bareattn[plot] is not installed")
TEXT = TOM.read_text()[:4700] + " $x_1$ \u202e\x07 </svg> end"


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("plot") / "run.safetensors"
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", TEXT, "-o", path, "--store", "f32"], check=True)
    return bareattn.Trace(path)


def drawn(figure):
    return figure.axes[0].collections[0].get_array()


def test_a_head_shows_its_weights(trace):
    figure = trace.plot.head(5, 3, rows=(100, 130), keys=(90, 130))
    tile = trace.tile(5, 3, (100, 130), (90, 130))
    cells = drawn(figure)
    above = np.arange(90, 130)[None, :] > np.arange(100, 130)[:, None]
    assert np.array_equal(np.ma.getmaskarray(cells), above)
    assert np.array_equal(cells.data[~above], tile[~above])
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert len(labels) == 30 and labels[0] == bareattn._plot.shown(trace.texts[100])[:14]
    assert figure.axes[0].get_title() == "Layer 5, head 3"


def test_a_long_head_shows_shares_and_says_so(trace):
    n = len(trace)
    assert n > 1024
    figure = trace.plot.head(16, 0)
    assert figure.axes[1].get_ylabel() == "share of the row's weight, blocks of 2 tokens"
    dense = trace.tile(16, 0).astype(np.float64)
    side = -(-n // 2)
    whole = np.zeros((2 * side, 2 * side))
    whole[:n, :n] = dense
    rows = np.clip(n - 2 * np.arange(side), 1, 2)[:, None]
    truth = whole.reshape(side, 2, side, 2).sum((1, 3)) / rows
    cells = drawn(figure)
    below = np.tril(np.ones((side, side), bool))
    assert np.array_equal(np.ma.getmaskarray(cells), ~below)
    assert np.allclose(cells.data[below], truth[below], rtol=1e-12)
    assert np.allclose(cells.filled(0).sum(1), 1, atol=1e-4)  # nothing is lost


def test_the_grid_shows_the_means(trace):
    figure = trace.plot.grid("entropy")
    assert np.array_equal(drawn(figure).data, trace.mean("entropy").T)
    assert figure.axes[1].get_ylabel() == "entropy"
    with pytest.raises(ValueError, match="measure"):
        trace.plot.grid("none such")


def test_the_text_is_whole_and_the_rest_is_stated(trace):
    figure = trace.plot.text(500, 16, 0)
    texts = [t.get_text() for t in figure.texts]
    assert "".join(texts[1:302 - 1]) == "".join(bareattn._plot.shown(t) for t in trace.texts[201:501])
    weights = trace.row(16, 0, 500).astype(np.float64)
    assert texts[-1] == f"201 tokens not written here: {weights[:201].sum():.1%}"
    best = int(weights.argmax())
    assert texts[-2].startswith(f"strongest: {weights[best]:.1%} ") and f"({best})" in texts[-2]
    boxes = [p for p in figure.artists if hasattr(p, "get_facecolor")]
    darkest = min(range(300), key=lambda i: sum(boxes[i].get_facecolor()[:3]) if boxes[i].get_facecolor()[3] else 9)
    assert darkest + 201 == 1 + int(weights[1:].argmax())
    with pytest.raises(IndexError):
        trace.plot.text(len(trace))
    with pytest.raises(ValueError, match="layer"):
        trace.plot.text(5, head=1)


def test_the_mean_over_heads(trace):
    texts = [t.get_text() for t in trace.plot.text(40, 3).texts]
    mean = np.mean([trace.row(3, h, 40) for h in range(9)], axis=0)
    assert texts[0].endswith(f"layer 3, mean of its heads; full colour: {mean[1:].max():.1%}")


def test_files_are_vectors_with_real_fonts(trace, tmp_path):
    for name, figure in (("head", trace.plot.head(5, 3, rows=(0, 30), keys=(0, 30))), ("grid", trace.plot.grid("entropy")),
                         ("text", trace.plot.text(-1))):
        figure.savefig(tmp_path / f"{name}.pdf", metadata={"CreationDate": None})
        pdf = (tmp_path / f"{name}.pdf").read_bytes()
        assert b"/Type3" not in pdf and b"/FontFile2" in pdf, "fonts are not TrueType"
        bars = {"head": 1, "grid": 1, "text": 0}  # matplotlib draws the ramp of a colour bar as an image
        assert len(re.findall(rb"/Subtype\s*/Image", pdf)) <= bars[name], "the picture is not of vectors"
        figure.savefig(tmp_path / f"{name}.svg")
        svg = (tmp_path / f"{name}.svg").read_text()
        assert "<text" in svg and "</svg> end" not in svg and "\u202e" not in svg and "\x07" not in svg
    assert "$x" in re.sub(r"<[^>]*>|\s", "", svg), "a dollar is a dollar"
    assert trace.plot.grid("entropy")._repr_png_()[:4] == b"\x89PNG"


def test_pyplot_is_left_alone(trace):
    code = "import bareattn, sys; t = bareattn.Trace(sys.argv[1]); t.plot.grid(); assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, trace.facts["path"]], check=True)
