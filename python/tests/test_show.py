"""show(): a notebook that is run for real gives the page in a frame that may run its script and save files, nothing
else; the frame works in a browser, with no request and no complaint."""

import html
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

import bareattn
from places import BIN, MODEL, ROOT



@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("show") / "run.safetensors"
    text = "The cat said \"</iframe></script>'&amp;\" and slept. The cat slept."
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", text, "-o", path, "--title", "\"><b>title"], check=True)
    return path


class Frames(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_the_frame_holds_the_page_and_lets_it_do_nothing(path, tmp_path):
    page = bareattn.show(bareattn.Trace(path))
    frames = Frames()
    frames.feed(page._repr_html_())
    ((tag, attributes),) = frames.tags
    assert tag == "iframe" and attributes["sandbox"] == "allow-scripts allow-downloads" and attributes["srcdoc"] == page.html
    assert "src" not in attributes
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == command_page(path, tmp_path)


def command_page(path, folder, *more):
    """The page that the command writes, where no model is at hand unless it is named."""
    environment = {k: v for k, v in os.environ.items() if k != "BAREATTN_MODEL"}
    subprocess.run([BIN, "page", path, "-o", folder / "command.html", "--budget", "12", *more], check=True,
                   stdout=subprocess.DEVNULL, env=environment)
    return (folder / "command.html").read_bytes()


def lesson_of(page):
    return json.loads(re.search(r'id="page-data">(.*?)</script>', page.html, re.S)[1]).get("lesson")


def test_with_a_model_it_has_the_tour(path, tmp_path):
    trace = bareattn.Trace(path)
    assert lesson_of(bareattn.show(trace)) is None
    page = bareattn.show(trace, model=MODEL)
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == command_page(path, tmp_path, "-m", MODEL)
    model = bareattn.Model(MODEL)
    assert bareattn.show(trace, model=model).html == page.html
    own = lesson_of(bareattn.show(trace, model=model, lesson="A dog ran home and slept."))
    assert "".join(own["tokens"]) == "A dog ran home and slept."
    assert lesson_of(bareattn.show(trace, model=model, lesson="")) is None
    with pytest.raises(ValueError, match="17 tokens"):
        bareattn.show(trace, model=model, lesson=" ".join(["one"] * 17))
    other = tmp_path / "other.gguf"
    subprocess.run([BIN, "quantize", "-m", MODEL, "--type", "q8_0", "-o", other], check=True, stdout=subprocess.DEVNULL)
    for another in (other, bareattn.Model(other)):
        with pytest.raises(ValueError, match="another model"):
            bareattn.show(trace, model=another)


def test_what_cannot_be_shown_is_said(path):
    trace = bareattn.Trace(path)
    for height in (0, -1, "x", 1.5, True, 10**6):
        with pytest.raises(ValueError, match="height"):
            bareattn.show(trace, height=height)


def test_a_run_through_a_window_is_shown_as_the_command_shows_it(tmp_path):
    run = tmp_path / "w.safetensors"
    subprocess.run([BIN, "trace", "-m", MODEL, "--text", "A text with a window over it.", "-o", run, "--window", "3"], check=True)
    bareattn.show(bareattn.Trace(run)).save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == command_page(run, tmp_path)


def test_a_notebook_shows_it_and_a_browser_runs_it(path, tmp_path):
    nbclient = pytest.importorskip("nbclient")
    import nbformat
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(
        f"import bareattn\ntrace = bareattn.Trace({str(path)!r})\nbareattn.show(trace, height=500)")])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    shown = output["data"]["text/html"]
    assert 'sandbox="allow-scripts allow-downloads"' in shown and len(shown) > 100_000
    file = tmp_path / "notebook.html"
    file.write_text(f"<!DOCTYPE html><meta charset=utf-8><title>notebook</title><p>above</p>{shown}<p>below</p>", encoding="utf-8")
    node, modules = shutil.which("node"), ROOT / "tests/browser/node_modules/playwright-core"
    assert node and modules.exists(), "needs Node.js and `npm ci` in tests/browser (./x setup)"
    done = subprocess.run([node, ROOT / "tests/browser/frame.mjs", file], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["heads"] == 270 and said["wrong"] == [] and said["parent"] == "closed"
    assert re.match(r"bareattn-b-title-\d+-\d+\.svg$", said["saved"]["name"]) and said["saved"]["begins"] == "<svg"
    text = "".join(bareattn.Trace(path).texts)
    assert said["text"] == text and re.match(r"Row \d+", said["row"])
    assert html.unescape("&quot;&gt;&lt;b&gt;title") == said["title"]
