"""Two runs over one text: a steered trace, the page of two traces, `serve --against`, and steering in live mode; and over
HTTP shares by key and weights times what keys carry. What is shown is held to the traces' own weights."""
import base64
import json
import re
import zlib

import numpy as np
import pytest

from serving import serving, tile_cells
from test_cli import refused, run

TEXT = "The cat sat on the mat because it was tired, and the dog that had come with it lay down beside the cat."
STEERING = {"format": "bareattn-steering", "version": 1, "interventions": [
    {"kind": "temperature", "heads": ["3.*"], "value": 2.5},
    {"kind": "boost", "heads": ["5.3", "6.*"], "keys": [[1, 3]], "value": 8},
    {"kind": "knockout", "heads": ["7.1"], "keys": [[0, 2]], "rows": [[8, -1]]}]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    (folder / "steering.json").write_text(json.dumps(STEERING))
    before, after = folder / "before.safetensors", folder / "after.safetensors"
    for path, more in ((before, ()), (after, ("--table", folder / "steering.json"))):
        done = run("trace", "--text", TEXT, "-o", path, "--title", path.stem, "--store", "f32", *more)
        assert done.returncode == 0, done.stderr
    return before, after


def weights(trace, head, n, folder):
    path = folder / "tile.npy"
    done = run("tile", trace, head, f"0:{n}", f"0:{n}", "-o", path, model=None)
    assert done.returncode == 0, done.stderr
    return np.load(path).astype(np.float64)


def test_a_steered_trace_has_the_weights_of_the_steered_run(runs, tmp_path):
    before, after = runs
    a = weights(before, "7.1", 10, tmp_path)
    b = weights(after, "7.1", 10, tmp_path)
    assert a[8:, :2].min() > 0 and not b[8:, :2].any()  # cut there, and there alone
    assert b[7, :2].min() > 0
    assert np.allclose(b.sum(1), 1, atol=1e-5)
    hot, cold = weights(after, "3.0", 20, tmp_path), weights(before, "3.0", 20, tmp_path)
    entropy = lambda w: -(w[19] * np.log(np.maximum(w[19], 1e-30))).sum()
    assert entropy(hot) > entropy(cold) + 0.05
    # In layer 0 nothing was changed, and nothing came before it.
    assert np.array_equal(weights(before, "0.4", 20, tmp_path), weights(after, "0.4", 20, tmp_path))
    done = run("diff", before, after, "--json", model=None)
    assert done.returncode in (0, 1), done.stderr


def test_the_page_of_two_runs_holds_both(runs, tmp_path):
    before, after = runs
    out = tmp_path / "both.html"
    done = run("page", before, "--against", after, "-o", out, model=None)
    assert done.returncode == 0, done.stderr
    html = out.read_text()
    data = json.loads(re.search(r'id="page-data">(.*?)</script>', html, re.S)[1])
    second = data["against"]
    assert data["title"] == "before" and second["title"] == "after"
    assert len(second["means"]) == len(second["js"]) == 270 and second["exact"] == data["exact"]
    assert "js" not in data and "steering" not in data
    steering = second["steering"]
    assert len(steering["value"]) == len(second["exact"])
    head = 7 * 9 + 1
    at = second["exact"].index(head)
    assert None in steering["value"][at]  # a cut: minus infinity
    assert steering["scale"][second["exact"].index(3 * 9)] == pytest.approx(1 / 2.5)
    # Heads that were not steered and come before all that were did not change; the one that was cut did.
    assert max(second["js"][:27]) < 1e-6 and second["js"][head] > 1e-3
    assert second["js"][data["telling"][0]] == max(second["js"])

    def section(name):
        found = re.search(rf'data-section="{re.escape(name)}">([^<]*)<', html)
        return zlib.decompress(base64.b64decode(found[1]))
    names = re.findall(r'data-section="([^"]*)"', html)
    own = {n for n in names if not n.startswith("against/")}
    assert {n.removeprefix("against/") for n in names if n.startswith("against/")} == own
    assert section("pool/0.4") == section("against/pool/0.4") and section("pool/7.1") != section("against/pool/7.1")


def test_two_runs_that_do_not_go_together_are_refused(runs, tmp_path):
    other = tmp_path / "other.safetensors"
    assert run("trace", "--text", "Another text altogether.", "-o", other).returncode == 0
    out = tmp_path / "x.html"
    refused(run("page", runs[0], "--against", other, "-o", out, model=None), 2, "tokens")
    assert not out.exists()
    refused(run("serve", runs[0], "--against", other, model=None), 2, "tokens")
    refused(run("page", runs[0], "--against", tmp_path / "nothing", "-o", out, model=None), 2, "nothing")
    bad = tmp_path / "bad.json"
    bad.write_text('{"format": "bareattn-steering", "version": 1, "interventions": [{"kind": "sing"}]}')
    refused(run("trace", "--text", TEXT, "--table", bad, "-o", out), 2, "sing")
    assert not out.exists()


# --- served -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(runs):
    with serving(runs[0], "--against", runs[1]) as served:
        yield served


def tile(server, at, query):
    reply = server.ask(f"{at}?type=f32&pool=both{query}")
    assert reply.status == 200, reply.raw[:300]
    return np.frombuffer(reply.body, "<f4").reshape(2, -1, tile_cells(int(at.split("/")[-3]))).astype(np.float64)


def test_both_runs_are_served(two, runs, tmp_path):
    first, second = two.ask("/api/text").json(), two.ask("/api/against/text").json()
    assert first["served"]["against"] is True and first["served"]["run"] != second["served"]["run"]
    assert second["served"]["steered"] is True and len(second["js"]) == 270
    n = len(first["tokens"])
    for at, path in (("/api", runs[0]), ("/api/against", runs[1])):
        assert np.array_equal(tile(two, f"{at}/tile/7/1/0/0/0", "")[0][:n, :n], weights(path, "7.1", n, tmp_path))
        row = np.frombuffer(two.ask(f"{at}/row/7/1/{n - 1}").body, "<f4")
        assert np.array_equal(row, weights(path, "7.1", n, tmp_path)[n - 1].astype(np.float32))
        assert len(two.ask(f"{at}/section/keys/7.1").body) in (4 * n, 8 * n)
    named = f"?v={first['served']['run']}"
    assert two.ask(f"/api/tile/7/1/0/0/0{named}").status == 200
    assert two.ask(f"/api/against/tile/7/1/0/0/0{named}").status == 410
    assert two.ask("/api/against/run").status == 404 and two.ask("/api/against/against/text").status == 404
    assert two.ask("/api/against/text", token=False).status == 401
    assert two.status()["cache_bytes"] > 0
    two.ask("/api/leave", "POST", body=b"somebody")
    assert two.status()["cache_bytes"] == 0 and two.status()["against"] == second["served"]["run"]


@pytest.mark.parametrize("z", [0, 1, 3])
@pytest.mark.parametrize("first", ["shown", "hidden"])
def test_shares_by_key(server_of_tom, z, first):
    server, truth = server_of_tom
    n, c, a = len(truth), 1 << z, tile_cells(z)
    y = -(-n // (a * c)) - 1
    share, most = tile(server, f"/api/tile/5/3/{z}/0/{y}", f"&norm=key&first={first}")
    received = np.tril(truth).sum(0)
    if first == "hidden":
        truth = truth.copy()
        truth[:, 0] = 0
    rows, side = slice(a * c * y, min(n, a * c * (y + 1))), a * c
    whole, parts = np.zeros((side, side)), np.zeros((side, side))
    some = truth[rows, :side]
    whole[:some.shape[0], :some.shape[1]] = some
    parts[:some.shape[0], :some.shape[1]] = some / received[:side]
    of = np.zeros(side)
    of[:len(received[:side])] = received[:side]
    if first == "hidden":
        of[0] = 0
    all_of = of.reshape(a, c).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        wanted = np.where(all_of > 0, whole.reshape(a, c, a, c).sum((1, 3)) / all_of, 0)
    assert np.allclose(share, wanted, rtol=1e-4, atol=1e-7)
    assert np.allclose(most, parts.reshape(a, c, a, c).max((1, 3)), rtol=1e-4, atol=1e-7)


@pytest.fixture(scope="module")
def server_of_tom(tmp_path_factory):
    from test_cli import TOM
    folder = tmp_path_factory.mktemp("tom")
    path = folder / "run.safetensors"
    assert run("trace", TOM, "-o", path, "--store", "f32").returncode == 0
    with serving(path) as served:
        n = len(served.ask("/api/text").json()["tokens"])
        yield served, weights(path, "5.3", n, folder)


@pytest.mark.parametrize("z", [0, 2])
def test_weights_times_what_keys_carry(server_of_tom, z):
    server, truth = server_of_tom
    n, c = len(truth), 1 << z
    description = server.ask("/api/text").json()
    assert description["has_sizes"] is True
    keys = server.ask("/api/section/keys/5.3").body
    received, sizes = np.frombuffer(keys, "<f4").astype(np.float64).reshape(2, n)
    assert np.allclose(received, np.tril(truth).sum(0), rtol=1e-4, atol=1e-5)
    assert sizes.min() > 0 and sizes.max() > 1.5 * sizes.min()
    y = -(-n // (256 * c)) - 1
    share, most = tile(server, f"/api/tile/5/3/{z}/0/{y}", "&value=weighted")
    some = (truth * (sizes / sizes.max()))[256 * c * y:256 * c * (y + 1), :256 * c]
    whole = np.zeros((256 * c, 256 * c))
    whole[:some.shape[0], :some.shape[1]] = some
    cells = whole.reshape(256, c, 256, c)
    in_row = np.clip(n - 256 * c * y - c * np.arange(256), 1, c)[:, None]
    assert np.allclose(share, cells.sum((1, 3)) / in_row, rtol=1e-4, atol=1e-8)
    assert np.allclose(most, cells.max((1, 3)), rtol=1e-4, atol=1e-8)


def test_a_trace_without_sizes_says_so(tmp_path):
    path = tmp_path / "run.safetensors"
    done = run("trace", "--text", "The cat sat.", "-o", path, "--measures", "rows,distance,spans,columns,map")
    assert done.returncode == 0, done.stderr
    with serving(path) as server:
        assert server.ask("/api/text").json()["has_sizes"] is False
        assert server.ask("/api/tile/5/3/0/0/0?value=weighted").status == 404
        assert server.ask("/api/tile/5/3/0/0/0?norm=key").status == 200


def test_by_key_from_afar_adds_up(server_of_tom):
    server, truth = server_of_tom
    level = [l for l in server.ask("/api/tileset/5/3").json()["levels"] if not l["exact"]][0]
    share, most = tile(server, f"/api/tile/5/3/{level['z']}/0/0", "&norm=key")
    blocks = -(-len(truth) // level["cell"])
    assert np.allclose(share[:blocks, :blocks].sum(0), 1, atol=1e-4)
    assert np.isnan(most[np.tril_indices(blocks)]).all()  # not known of blocks


def test_what_cannot_be_asked_of_tiles(server_of_tom):
    server, _ = server_of_tom
    for query in ("norm=column", "norm=", "value=heavy", "norm=key&value=weighted", "norm=key&norm=key"):
        assert server.ask(f"/api/tile/5/3/0/0/0?{query}").status == 400, query
    for target in ("/api/section/keys", "/api/section/keys/30.0", "/api/section/keys/5", "/api/against/text"):
        assert server.ask(target).status == 404, target


# --- steering in live mode ------------------------------------------------------------------------------------------------


def test_a_steered_run_is_shown_beside_the_first(runs, tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with serving("--text", TEXT, "--store", "f32", model=True, env={"TMPDIR": str(temporary)}) as server:
        first = server.ask("/api/text").json()
        n = len(first["tokens"])
        assert server.ask("/api/against/text").status == 404
        assert server.run({"steering": STEERING, "page": "mine"}).status == 202
        state = server.wait_for("done", "failed")
        assert state["state"] == "done", state
        second = server.ask("/api/against/text").json()
        assert second["served"]["run"] == state["run"] and second["tokens"] == first["tokens"]
        assert server.ask("/api/text").json()["served"]["run"] == first["served"]["run"]  # the first stays
        got = tile(server, "/api/against/tile/7/1/0/0/0", "")[0][:n, :n]
        assert np.array_equal(got, weights(runs[1], "7.1", n, tmp_path))  # as the command line steers
        assert np.array_equal(tile(server, "/api/tile/7/1/0/0/0", "")[0][:n, :n], weights(runs[0], "7.1", n, tmp_path))
        # What is wrong with a table is said before anything runs.
        one = {"kind": "boost", "heads": ["*"], "keys": [[0, 1]], "value": 2}
        for wrong in ({"interventions": []}, {"interventions": [dict(one, heads=["99.0"])]}, {"version": 7},
                      {"interventions": [dict(one, kind="sing")]}, {"interventions": [dict(one, keys=[[5, 2]])]}):
            reply = server.run({"steering": {**STEERING, **wrong}})
            assert reply.status == 400 and reply.json()["error"], wrong
        assert server.run({"steering": STEERING, "text": "both"}).status == 400
        assert server.run({"steering": []}).status == 400
        assert server.ask("/api/against/text").json()["served"]["run"] == state["run"]
        # Another page's leaving changes nothing; its own takes the steered run with it.
        server.ask("/api/leave", "POST", body=b"another")
        assert server.ask("/api/against/text").status == 200
        server.ask("/api/leave", "POST", body=b"mine")
        assert server.ask("/api/against/text").status == 404 and server.status()["against"] is None
        # A new text leaves no second run behind.
        assert server.run({"steering": STEERING, "page": "mine"}).status == 202
        server.wait_for("done")
        assert server.run({"text": "Another text.", "page": "mine"}).status == 202
        server.wait_for("done")
        assert server.ask("/api/against/text").status == 404
        assert list(temporary.iterdir()) == []


def test_only_the_model_of_the_run_can_steer_it(runs, tmp_path):
    # The trace says which model made it; here it is the same, so steering it works from a file as well.
    with serving(runs[0], model=True) as server:
        assert server.ask("/api/text").json()["served"]["live"] is True
        assert server.run({"steering": STEERING}).status == 202
        assert server.wait_for("done", "failed")["state"] == "done"


def test_a_steered_run_differs_by_its_steering_alone(tmp_path):
    """The model runs as the trace was made: with nothing changed B has the bits of A."""
    path = tmp_path / "run.safetensors"
    made = ("trace", "--text", TEXT, "--attention", "bf16", "--precision", "bf16", "--store", "f32", "-o", path)
    assert run(*made).returncode == 0
    nothing = {**STEERING, "interventions": [{"kind": "boost", "heads": ["*"], "keys": [[0, 1]], "value": 1}]}
    with serving(path, model=True) as server:
        n = len(server.ask("/api/text").json()["tokens"])
        assert server.run({"steering": nothing}).status == 202
        assert server.wait_for("done", "failed")["state"] == "done"
        for head in ("0/0", "7/1", "29/8"):
            a, b = (tile(server, f"/api/{which}tile/{head}/0/0/0", "")[0][:n, :n] for which in ("", "against/"))
            assert np.array_equal(a, b) and a.any(), head
