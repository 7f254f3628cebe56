"""The tour's lesson, as it stands in pages and in what is served: the same wherever a model is at hand, the trace's own
weights to the bit, nowhere without a model, and never another model's."""
import json
import os
import re
import time

import numpy as np
import pytest

from serving import serving
from test_cli import MODEL, refused, run

CAT = "The cat sat on the mat because it was tired."
TEXT = "It was a dark night, and the dog barked at it."


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    path = tmp_path_factory.mktemp("tour") / "run.safetensors"
    assert run("trace", "--text", TEXT, "-o", path).returncode == 0
    return path


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A model of the same text pieces that is not the trace's."""
    path = tmp_path_factory.mktemp("other") / "q8.gguf"
    done = run("quantize", "--type", "q8_0", "-o", path)
    assert done.returncode == 0, done.stderr
    return path


def lesson_of(page):
    return json.loads(re.search(r'id="page-data">(.*?)</script>', page.read_text(), re.S)[1]).get("lesson")


@pytest.fixture(scope="module")
def lesson(trace, tmp_path_factory):
    out = tmp_path_factory.mktemp("pages") / "page.html"
    assert run("page", trace, "-m", MODEL, "-o", out, model=None).returncode == 0
    return lesson_of(out)


def test_it_holds_the_weights_of_the_command_to_the_bit(lesson, tmp_path):
    run_of_cat = tmp_path / "cat.safetensors"
    assert run("trace", "--text", CAT, "--store", "f32", "-o", run_of_cat).returncode == 0
    n = len(lesson["tokens"])
    assert "".join(lesson["tokens"]) == CAT and lesson["tokens"][lesson["row"]] == " it"
    done = run("tile", run_of_cat, f"{lesson['layer']}.{lesson['head']}", ":", ":", "-o", tmp_path / "t.npy", model=None)
    assert done.returncode == 0, done.stderr
    truth = np.load(tmp_path / "t.npy")
    for i in range(n):
        assert np.array_equal(np.float32(lesson["weights"][i]), truth[i, :i + 1])
    q, k = np.float64(lesson["q"]), np.float64(lesson["k"])
    scores = q @ k.T / np.sqrt(q.shape[1])
    for i in range(n):
        powers = np.exp(scores[i, :i + 1])
        assert np.allclose(powers / powers.sum(), truth[i, :i + 1], rtol=1e-4, atol=0)
    assert lesson["width"] == 576 and np.shape(lesson["v"]) == q.shape


def test_it_is_the_same_everywhere(trace, lesson, tmp_path):
    assert run("look", "--text", TEXT, "-o", tmp_path / "look.html").returncode == 0
    assert lesson_of(tmp_path / "look.html") == lesson
    assert run("page", trace, "--against", trace, "-o", tmp_path / "two.html").returncode == 0  # by BAREATTN_MODEL
    assert lesson_of(tmp_path / "two.html") == lesson
    with serving(trace, "-m", MODEL) as served:
        assert served.ask("/api/text").json()["lesson"] == lesson
        assert served.run({"text": "Another text."}).status in (200, 202)
        served.wait_for("done")
        again = served.ask("/api/text").json()
        assert again["tokens"][0] == "Another" and again["lesson"] == lesson
        assert served.run({"steering": {"format": "bareattn-steering", "version": 1, "interventions": [
            {"kind": "temperature", "heads": ["*"], "value": 2}]}}).status in (200, 202)
        served.wait_for("done")
        assert "lesson" not in served.ask("/api/against/text").json()  # a second run says what differs


def test_without_a_model_there_is_none(trace, tmp_path):
    assert run("page", trace, "-o", tmp_path / "page.html", model=None).returncode == 0
    assert lesson_of(tmp_path / "page.html") is None
    with serving(trace) as served:
        assert "lesson" not in served.ask("/api/text").json()


def test_another_models_tour_is_no_tour(trace, other, tmp_path):
    out = tmp_path / "page.html"
    refused(run("page", trace, "-m", other, "-o", out, model=None), 2, "model")
    assert not out.exists()
    done = run("page", trace, "-o", out, model=other)  # only by BAREATTN_MODEL: meant for other commands too
    assert done.returncode == 0 and b"no tour" in done.stderr and lesson_of(out) is None
    with serving(trace, "-m", other) as served:
        assert "lesson" not in served.ask("/api/text").json()
        assert served.run({"text": "Another text."}).status in (200, 202)
        served.wait_for("done")
        assert served.ask("/api/text").json()["lesson"]["row"] > 0  # of the model that ran this one


def test_the_sentence_is_ones_own(trace, tmp_path):
    out = tmp_path / "page.html"
    assert run("page", trace, "--lesson", "A dog ran home and slept.", "-o", out).returncode == 0
    lesson = lesson_of(out)
    assert "".join(lesson["tokens"]) == "A dog ran home and slept." and 0 < lesson["key"] < lesson["row"] - 1
    for none in ("", "A dog"):
        assert run("page", trace, "--lesson", none, "-o", out).returncode == 0
        assert lesson_of(out) is None
    long = " ".join(["one"] * 17)
    refused(run("page", trace, "--lesson", long, "-o", tmp_path / "no.html"), 2, "--lesson", "17 tokens", "16")
    refused(run("serve", trace, "--lesson", long), 2, "--lesson", "17 tokens")
    refused(run("look", "--text", TEXT, "--lesson", long, "-o", tmp_path / "no.html"), 2, "--lesson", "17 tokens")
    assert not (tmp_path / "no.html").exists()


def test_the_browser_is_asked_apart_from_the_server(trace, tmp_path):
    """In a session of its own, so that Ctrl-C is not its, and with nothing of what it prints among the server's."""
    said, opener = tmp_path / "said", tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho noise\ncut -d " " -f 5,6 /proc/$$/stat > "{said}.part"\n'
                      f'echo "$$ $*" >> "{said}.part"\nmv "{said}.part" "{said}"\n')
    opener.chmod(0o755)
    with serving(trace, "--open", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}) as server:
        while not said.exists():
            time.sleep(0.01)
        group, session, process, url = said.read_text().split()
        assert (group, session, url) == (process, process, server.url)
        server.interrupt()
        assert server.process.wait(20) == 0 and server.process.stdout.read() == b""
