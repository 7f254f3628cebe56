"""Live mode of `bareattn serve` from outside: a typed text is run and shown, can be steered and stopped, and has limits."""
import json
import time

import numpy as np
import pytest
from safetensors import safe_open

from serving import serving
from test_cli import TOM, run
from test_serve import exact


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    """Of a server without a model: tests/cli/conftest.py."""
    path = tmp_path_factory.mktemp("served") / "run.safetensors"
    assert run("trace", "A short text.", "-o", path).returncode == 0
    return path


def start(server, text, page="p"):
    return server.run({"text": text, "page": page})


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    temporary = tmp_path_factory.mktemp("temporary")
    with serving("--text", "The cat sat on the mat.", "--live-tokens", "6000", model=True,
                 env={"TMPDIR": str(temporary)}) as served:
        served.temporary = temporary
        yield served


def test_a_typed_text_is_run_and_shown(live, tmp_path):
    first = live.ask("/api/text").json()
    assert "".join(first["tokens"]) == "The cat sat on the mat." and first["served"]["live"] is True
    text = "Once upon a time, a </script> \u202e fox \U0001f98a ran."
    assert start(live, text).status == 202
    state = live.wait_for("done")
    now = live.ask("/api/text").json()
    assert "".join(now["tokens"]) == text and now["served"]["run"] == state["run"] != first["served"]["run"]
    n = len(now["tokens"])
    assert live.ask(f"/api/tile/0/0/0/0/0?v={first['served']['run']}").status == 410
    # The same weights as of the same text in a trace, and what each key carries, of the first text and of this one.
    path = tmp_path / "run.safetensors"
    assert run("trace", "--text", text, "-o", path).returncode == 0
    weights = np.frombuffer(live.ask(f"/api/row/9/2/{n - 1}").body, "<f4")
    assert np.array_equal(weights, exact(path, "9.2", f"{n - 1}", f"0:{n}", tmp_path)[0])
    assert first["has_sizes"] and now["has_sizes"]
    keys = np.frombuffer(live.ask("/api/section/keys/9.2").body, "<f4")
    with safe_open(path, framework="numpy") as file:
        assert np.array_equal(keys[n:], file.get_tensor("carried")[9, 2])
    assert list(live.temporary.iterdir()) == []


def test_every_text_of_a_chat_gets_the_template(tmp_path):
    """The first one and those typed into the page alike: what stands around them is what `look --chat` runs."""
    def of_look(text):
        return json.loads(run("look", "--chat", "--json", "--text", text).stdout)["text"]["length"]
    with serving("--chat", "--text", "Who wrote Hamlet?", model=True, env={"TMPDIR": str(tmp_path)}) as server:
        first = server.ask("/api/text").json()
        assert len(first["tokens"]) == of_look("Who wrote Hamlet?") and first["tokens"][0] == "<|im_start|>"
        assert start(server, "Name a river.").status == 202
        server.wait_for("done")
        then = server.ask("/api/text").json()
        assert len(then["tokens"]) == of_look("Name a river.") and then["tokens"].count("<|im_start|>") == 3


@pytest.mark.parametrize("before", range(4))
def test_the_title_of_a_typed_text_is_cut_between_characters(live, before):
    text = "x" * before + "\U0001f98a" * 200
    assert start(live, text).status == 202
    live.wait_for("done")
    title = live.ask("/api/text").json()["title"]
    assert title == "x" * before + "\U0001f98a" * (60 - before) + "..."
    assert start(live, "A\x1b[31m\u202eb\n").status == 202
    live.wait_for("done")
    assert live.ask("/api/text").json()["title"] == "A\\x1b[31m\\u{202e}b\\n"


def test_steering_is_of_the_run_that_the_page_shows(live):
    steering = {"format": "bareattn-steering", "version": 1,
                "interventions": [{"kind": "temperature", "heads": ["*"], "value": 2}]}
    old = live.status()["run"]
    assert start(live, "Another text.").status == 202
    now = live.wait_for("done")["run"]
    assert live.run({"steering": steering, "run": old}).status == 410 and live.status()["against"] is None
    assert live.run({"steering": steering, "run": 7}).status == 400
    assert live.run({"steering": steering, "run": now}).status == 202
    live.wait_for("done")
    assert live.status()["against"] is not None


@pytest.mark.parametrize("one", [
    {"kind": "knockout", "heads": ["*"], "keys": [[-1, 2]]}, {"kind": "knockout", "heads": ["*"], "keys": [["0", "1"]]},
    {"kind": "knockout", "heads": ["*"], "keys": [[2, 1]]}, {"kind": "boost", "heads": ["*"], "keys": [[0, 1]], "value": "1e999"},
    {"kind": "boost", "heads": ["99.0"], "keys": [[0, 1]], "value": 2}, {"kind": "temperature", "heads": ["*"], "value": 0},
    {"kind": "temperature", "heads": ["../.."], "value": 2}, {"kind": "</script>", "heads": ["*"]}, {"kind": 7}, {}, None, "x"])
def test_steering_that_is_none_is_refused(live, one):
    for steering in ({"format": "bareattn-steering", "version": 1, "interventions": [one]},
                     {"format": "bareattn-steering", "version": 2, "interventions": []}, {}):
        reply = live.run({"steering": steering})
        assert reply.status == 400 and reply.headers["content-type"] == "application/json", reply.raw
    assert not live.status()["running"]


def test_a_run_can_be_stopped_by_hand_and_by_leaving(live):
    long = TOM.read_text() + TOM.read_text()[:6000]
    before = live.status()["run"]
    assert start(live, long).status == 202
    assert start(live, "another").status == 409
    assert live.ask("/api/run", "DELETE").status == 200
    assert live.wait_for("done", "cancelled")["state"] == "cancelled"
    assert start(live, long, page="mine").status == 202
    assert live.ask("/api/leave", "POST", body=b"another").status == 200
    assert live.status()["running"]
    assert live.ask("/api/leave", "POST", body=b"mine").status == 200
    assert live.wait_for("done", "cancelled")["state"] == "cancelled"
    assert live.status()["run"] == before and list(live.temporary.iterdir()) == []


def test_limits_of_live_mode(live, server):
    assert start(live, TOM.read_text() * 2).status == 202
    failed = live.wait_for("failed")
    assert "more than 6000 tokens" in failed["error"]  # it is not read further than that
    assert start(live, "").status == 400
    for body in (b"", b"{", b"[]", b'{"text": 1}', b'{"text": "a", "page": 2}', b'"text"', b"\xff", b"[" * 100000,
                 b'{"text": "\\ud800"}', b'{"steering": {"a": ' + b"[" * 100000 + b"]" * 100000 + b"}}"):
        reply = live.ask("/api/run", "POST", headers=[("Content-Type", "application/json")], body=body)
        assert reply.status == 400, body[:20]
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert live.ask("/api/run", "POST", headers=[("Content-Type", kind)], body=b'{"text": "a"}').status == 415
    assert start(server, "a text").status == 404  # no model was given


def test_ctrl_c_ends_a_run_too(tmp_path):
    with serving("--text", "A start.", model=True, env={"TMPDIR": str(tmp_path)}) as server:
        assert start(server, TOM.read_text() * 2).status == 202
        time.sleep(0.3)
        begin = time.monotonic()
        server.interrupt()
        assert server.process.wait(20) == 0
        print(f"ended after {time.monotonic() - begin:.2f} s")
        assert list(tmp_path.iterdir()) == []
