"""`bareattn serve` from outside: what it answers is what the trace holds, rows are not kept waiting by tiles, leaving and
Ctrl-C free and end everything. Live mode: test_serve_live.py."""
import json
import os
import signal
import socket
import subprocess
import threading
import time

import numpy as np
import pytest

from serving import serving, tile_cells
from test_cli import BIN, MODEL, TOM, refused, run


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve")
    path = folder / "run.safetensors"
    done = run("trace", TOM, "-o", path, "--store", "f32", "--title", "Tom")
    assert done.returncode == 0, done.stderr
    return path


def exact(trace, head, rows, keys, folder):
    path = folder / "tile.npy"
    done = run("tile", trace, head, rows, keys, "-o", path, model=None)
    assert done.returncode == 0, done.stderr
    return np.load(path)


def tile(server, head, z, x, y, query="?pool=both&type=f32", dtype="<f4"):
    reply = server.ask(f"/api/tile/{head.replace('.', '/')}/{z}/{x}/{y}{query}")
    assert reply.status == 200, reply.raw[:300]
    return np.frombuffer(reply.body, dtype).reshape(-1, tile_cells(z), tile_cells(z))


# --- what it answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head, x, y", [("0.0", 0, 0), ("5.3", 2, 7), ("29.8", 14, 14), ("7.1", 0, 14), ("7.1", 9, 4)])
def test_a_tile_of_single_cells_is_the_traces_own(server, trace, tmp_path, head, x, y):
    share, largest = tile(server, head, 0, x, y)
    n = 3654
    rows, keys = (256 * y, min(n, 256 * y + 256)), (256 * x, min(n, 256 * x + 256))
    truth = exact(trace, head, f"{rows[0]}:{rows[1]}", f"{keys[0]}:{keys[1]}", tmp_path)
    assert np.array_equal(share[:truth.shape[0], :truth.shape[1]], truth)  # every bit
    assert not share[truth.shape[0]:].any() and not share[:, truth.shape[1]:].any()
    assert np.array_equal(largest, share)
    assert x > y or truth.any()
    half = tile(server, head, 0, x, y, "", "<f2")[0]
    assert np.array_equal(half, share.astype(np.float16))
    hidden = tile(server, head, 0, x, y, "?first=hidden&type=f32")[0]
    assert np.array_equal(hidden[:, 1:], share[:, 1:])
    assert np.array_equal(hidden[:, 0], np.zeros(256) if x == 0 else share[:, 0])


@pytest.mark.parametrize("z", [1, 2, 3])
def test_wider_cells_are_reduced_from_single_ones(server, trace, tmp_path, z):
    c, n, a = 1 << z, 3654, tile_cells(z)
    last = -(-n // (a * c)) - 1
    for x, y in ((0, last), (last, last)):
        share, largest = tile(server, "5.3", z, x, y)
        rows, keys = (a * c * y, min(n, a * c * (y + 1))), (a * c * x, min(n, a * c * (x + 1)))
        truth = exact(trace, "5.3", f"{rows[0]}:{rows[1]}", f"{keys[0]}:{keys[1]}", tmp_path).astype(np.float64)
        whole = np.zeros((a * c, a * c))
        whole[:truth.shape[0], :truth.shape[1]] = truth
        parts = whole.reshape(a, c, a, c)
        in_row = np.clip(n - rows[0] - c * np.arange(a), 1, c)[:, None]  # rows that a cell really has
        # The sum of a cell is made in f32, down its columns and then across.
        assert np.allclose(share, parts.sum((1, 3)) / in_row, rtol=(2 * c + 1) * 2**-24, atol=0)
        assert np.array_equal(largest, parts.max((1, 3)).astype(np.float32))


def test_the_pooled_levels_are_the_same_map_from_afar(server):
    levels = server.ask("/api/tileset/5/3").json()["levels"]
    assert [l["z"] for l in levels] == [0, 1, 2, 3, 4] and [l["exact"] for l in levels] == [True] * 4 + [False]
    assert levels[-1]["tiles"] == 1 and all(l["cell"] == 1 << l["z"] and l["tile"] == tile_cells(l["z"]) for l in levels)
    share, largest = tile(server, "5.3", 4, 0, 0)
    fine = [[tile(server, "5.3", 3, x, y) for x in range(4)] for y in range(4)]
    sums, most = (np.block([[one[plane] for one in row] for row in fine]).reshape(256, 2, 256, 2) for plane in (0, 1))
    whole = slice(0, 228)  # of the last cells only some rows are there
    assert np.allclose(share[whole], (sums.sum((1, 3)) / 2)[whole], rtol=1e-4, atol=1e-7)
    assert np.allclose(largest[whole], most.max((1, 3))[whole], rtol=1e-5)
    assert np.allclose(share.sum(1)[:228], 1, atol=1e-5)


def test_a_row_says_where_it_looks_and_what_the_rest_gets(server, trace, tmp_path):
    raw = server.ask("/api/row/5/3/1200")
    weights = np.frombuffer(raw.body, "<f4")
    assert np.array_equal(weights, exact(trace, "5.3", "1200", "0:1201", tmp_path)[0])
    row = server.ask("/api/row/5/3/1200?top=7").json()
    order = np.argsort(-weights, kind="stable")[:7]
    assert [k["key"] for k in row["top"]] == order.tolist()
    assert np.allclose([k["weight"] for k in row["top"]], weights[order], rtol=0, atol=0)
    assert row["others"]["keys"] == 1194 and abs(row["total"] - 1) < 1e-4
    assert abs(row["others"]["weight"] - (weights.sum(dtype=np.float64) - weights[order].sum(dtype=np.float64))) < 1e-6


def test_the_description_and_the_sections(server):
    text = server.ask("/api/text").json()
    assert "".join(text["tokens"]) == TOM.read_text() and len(text["token_ids"]) == 3654
    assert text["source"] == {"base": "/api", "tiles": [256, 256, 256, 128]} and len(text["exact"]) == 270 and text["served"]["live"] is False
    thumb, blocks = text["thumbs"]["size"], text["pool"]["blocks"]
    assert len(server.ask("/api/section/thumbs").body) == 270 * (thumb * (thumb + 1) // 2 + thumb)
    assert len(server.ask("/api/section/pool/3.1").body) == blocks * (blocks + 1) + blocks
    assert len(server.ask("/api/section/rows/3.1").body) == 5 * 3654


def test_how_alike_heads_are_is_what_agree_says(server, trace):
    assert server.ask("/api/text").json()["agreement"] == {"outputs": False}
    body = np.frombuffer(server.ask("/api/section/agreement/7").body, "<f4")
    assert len(body) == 1 + 81
    said = json.loads(run("agree", trace, "--json", model=None).stdout)["agreement"]
    assert body[0] == said["rows"]
    js = body[1:].reshape(9, 9)
    pairs = [p for p in said["pairs"] if p["a"].startswith("7.")]
    assert len(pairs) == 36
    for pair in pairs:
        a, b = int(pair["a"][2:]), int(pair["b"][2:])
        assert js[a, b] == js[b, a] == pytest.approx(pair["js"], abs=1e-7)
    assert not js.diagonal().any()
    for target in ("30", "-1", "7.1", ""):
        assert server.ask(f"/api/section/agreement/{target}").status == 404


def test_what_is_kept_is_kept_under_the_runs_name_alone(server):
    run_id = server.status()["run"]
    kept = server.ask(f"/api/tile/1/1/0/0/0?v={run_id}")
    assert kept.status == 200 and "immutable" in kept.headers["cache-control"] and kept.headers["etag"] == f'"{run_id}"'
    again = server.ask(f"/api/tile/1/1/0/0/0?v={run_id}", headers=[("If-None-Match", f'"{run_id}"')])
    assert again.status == 304 and again.body == b""
    assert server.ask("/api/tile/1/1/0/0/0?v=0123456789abcdef").status == 410
    # Texts and rows are not for a browser's disk.
    for target in (f"/api/text?v={run_id}", f"/api/row/1/1/5?v={run_id}", "/api/tile/1/1/0/0/0"):
        assert server.ask(target).headers["cache-control"] == "no-store"


# --- fairness, memory, the end ------------------------------------------------------------------------------------------


def test_rows_pass_a_crowd_of_tiles(server):
    """While hundreds of slow tiles wait, rows are answered; most come before most of the tiles."""
    done, clock = [], time.monotonic

    def ask(kind, target):
        status = server.ask(target, timeout=60).status
        done.append((clock(), kind, status))

    threads = [threading.Thread(target=ask, args=("tile", f"/api/tile/{i % 30}/{i // 30 % 9}/3/{i % 2}/1?type=f32"))
               for i in range(240)]
    for t in threads:
        t.start()
    while server.status()["connections"] < 100 and len(done) < 100:
        time.sleep(0.005)
    before = len(done)
    rows = [threading.Thread(target=ask, args=("row", f"/api/row/{i}/4/3000?top=5")) for i in range(10)]
    for t in rows:
        t.start()
    for t in rows:
        t.join()
    tiles_before_rows = sum(kind == "tile" for _, kind, _ in done) - before
    for t in threads:
        t.join()
    assert len(done) == 250 and all(status == 200 for _, _, status in done)
    assert before < 230, "the tiles were done before the rows were asked for: nothing was shown"
    assert tiles_before_rows < 240 - before, "every tile came before the last row"


def test_the_cache_is_bounded_and_leaving_frees_it(server):
    for i in range(300):
        assert server.ask(f"/api/tile/{i % 30}/{i % 9}/0/{i % 4}/{4 + i % 9}?pool=both&type=f32").status == 200
    status = server.status()
    assert 0.5 * status["cache_limit"] < status["cache_bytes"] <= status["cache_limit"]
    assert server.ask("/api/leave", "POST", body=b"page").status == 200
    assert server.status()["cache_bytes"] == 0


def test_abandoned_tiles_are_not_computed(server):
    """A hundred slow tiles that nobody waits for any more do not hold up the next."""
    line = f"Host: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
    server.ask("/api/leave", "POST", body=b"page")
    for i in range(100):
        s = server.connect()
        s.sendall(f"GET /api/tile/{i % 30}/{i % 9}/3/0/1?type=f32 HTTP/1.1\r\n{line}".encode())
        s.close()
    assert server.ask("/api/tile/3/3/0/0/0").status == 200
    one = 256 * 256 * 4
    assert server.status()["cache_bytes"] < 60 * one


@pytest.mark.parametrize("how, status", [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_it_whatever_it_does(trace, how, status):
    with serving(trace) as server:
        idle = server.connect()
        line = f"Host: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
        busy = [server.connect() for _ in range(50)]
        for i, s in enumerate(busy):
            s.sendall(f"GET /api/tile/{i % 30}/1/3/0/1 HTTP/1.1\r\n{line}".encode())
        start = time.monotonic()
        server.process.send_signal(how)
        assert server.process.wait(10) == status
        print(f"ended after {time.monotonic() - start:.2f} s")  # docs/serve.md has the measured figure
        for s in [idle, *busy]:
            s.close()


def test_a_taken_port_is_said(server, trace):
    refused(run("serve", trace, "--port", server.port, model=None), 1, str(server.port), "127.0.0.1")


def test_usage(trace, tmp_path):
    refused(run("serve", model=None), 2, "RUN.safetensors")
    refused(run("serve", "a text", model=None), 2, "-m")
    refused(run("serve", tmp_path / "none.safetensors", model=None), 2, "none.safetensors")
    refused(run("serve", trace, "--port", "70000", model=None), 2, "--port")
    bare = tmp_path / "bare.safetensors"
    assert run("trace", "A short text for a trace.", "-o", bare, "--measures", "rows,columns").returncode == 0
    refused(run("serve", bare, model=None), 2, "pool_sum", "not kept")
    done = run("serve", "--help")
    assert done.returncode == 0 and b"127.0.0.1" in done.stdout and b"Example" in done.stdout


def test_a_window_is_shown_as_it_was_run(tmp_path):
    path = tmp_path / "run.safetensors"
    assert run("trace", TOM, "-o", path, "--window", "200", "--sinks", "2").returncode == 0
    with serving(path) as server:
        assert server.ask("/api/text").json()["served"]["window"] == 200
        weights = np.frombuffer(server.ask("/api/row/4/4/1000").body, "<f4")
        assert abs(weights.sum() - 1) < 1e-3 and not weights[2:800].any() and weights[800:].all()


def test_one_ctrl_c_ends_it_with_everything_going_on(tmp_path):
    """A text that runs, idle connections, half requests, tiles that wait and an answer that nobody takes: the server ends
    by itself, with exit status 0 and nothing left behind, after one signal and no other. docs/serve.md has how soon."""
    with serving("--text", TOM.read_text()[:8000], model=True, env={"TMPDIR": str(tmp_path)}) as server:
        assert server.run({"text": TOM.read_text() * 2, "page": "p"}).status == 202
        line = f"Host: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
        kept = [server.connect() for _ in range(10)]
        for i in range(60):
            s = server.connect()
            s.sendall(f"GET /api/tile/{i % 30}/{i % 9}/3/0/1 HTTP/1.1\r\n{line}".encode())
            kept.append(s)
        half = server.connect()
        half.sendall(b"GET / HTTP/1.1\r\nHost: ")
        deaf = unread(server, "/api/text")
        assert server.status()["running"]
        begin = time.monotonic()
        server.interrupt()
        code = server.process.wait(60)  # generous: the machine may be busy; there is no second signal
        took = time.monotonic() - begin
        print(f"ended after {took:.2f} s")
        assert code == 0
        for s in [*kept, half, deaf]:
            s.close()
        assert list(tmp_path.iterdir()) == []


def unread(server, target):
    """Asks and takes nothing: small segments and a small window, so that the answer does not fit on the way."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    s.connect(("127.0.0.1", server.port))
    s.sendall(f"GET {target} HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode())
    return s


def test_an_answer_that_is_not_taken_is_given_up(server):
    """Thirty seconds are for taking the answer; then the connection and what it held are freed."""
    whole = len(server.ask("/api/text").raw)
    deaf = [unread(server, "/api/text") for _ in range(5)]
    time.sleep(3)
    assert server.status()["connections"] == 6  # they are waited for
    end = time.monotonic() + 90
    while server.status()["connections"] > 1 and time.monotonic() < end:
        time.sleep(0.5)
    assert server.status()["connections"] == 1
    for s in deaf:
        got = 0
        try:
            while part := s.recv(1 << 16):
                got += len(part)
        except ConnectionResetError:
            pass
        assert 0 < got < whole
        s.close()


def test_past_512_connections_the_next_is_closed_at_once(server):
    """Whole requests, so none of them is one of the 64 that may wait: their tiles are computed while more come."""
    server.ask("/api/leave", "POST", body=b"page")
    line = f"Host: {server.host}\r\nAuthorization: Bearer {server.token}\r\n\r\n"
    places = [(x, y) for y in range(4) for x in range(y + 1)]
    all_ = []
    for i in range(900):
        x, y = places[i // 270 + 3]
        s = server.connect(timeout=120)
        all_.append(s)
        try:
            s.sendall(f"GET /api/tile/{i % 30}/{i // 30 % 9}/3/{x}/{y} HTTP/1.1\r\n{line}".encode())
        except OSError:
            pass  # closed already
    replies = []
    for s in all_:
        raw = b""
        try:
            while part := s.recv(1 << 16):
                raw += part
        except ConnectionResetError:
            pass
        replies.append(raw)
        s.close()
    closed = sum(not raw for raw in replies)
    answered = [raw for raw in replies if raw]
    print(f"{closed} of 900 closed at once")
    assert all(raw.startswith(b"HTTP/1.1 200 ") and len(raw) > 128 * 128 * 2 for raw in answered)
    assert len(answered) >= 512 and closed > 0
    assert server.ask("/api/status").status == 200  # and there is room again


def test_ctrl_c_before_it_serves(tmp_path):
    process = subprocess.Popen([BIN, "serve", "-m", MODEL, "--file", TOM], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "TMPDIR": str(tmp_path)})
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == b"" and b"stopped" in err
    assert list(tmp_path.iterdir()) == []
