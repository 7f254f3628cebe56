"""What `bareattn serve` answers of weights times the size of what keys carry: rows and tiles hold one quantity."""
import numpy as np
import pytest
from safetensors import safe_open

from serving import serving
from test_cli import TOM, run, subjects  # noqa: F401 (subjects is a fixture)


def traced(path, *groups):
    done = run("trace", "--text", TOM.read_text()[:900], "-o", path, "--store", "f32", *groups)
    assert done.returncode == 0, done.stderr
    return path


def test_a_row_times_what_its_keys_carry(tmp_path):
    trace = traced(tmp_path / "run.safetensors")
    with safe_open(trace, framework="numpy") as file:
        carried = file.get_tensor("carried")[5, 3]
    with serving(trace) as server:
        weights = np.frombuffer(server.ask("/api/row/5/3/150").body, "<f4")
        assert np.array_equal(weights, np.frombuffer(server.ask("/api/row/5/3/150?value=raw").body, "<f4"))
        sized = np.frombuffer(server.ask("/api/row/5/3/150?value=weighted").body, "<f4")
        assert np.array_equal(sized, weights * (carried / carried.max())[:151])
        in_tile = np.frombuffer(server.ask("/api/tile/5/3/0/0/0?type=f32&value=weighted").body, "<f4").reshape(256, 256)
        assert np.array_equal(in_tile[150, :151], sized), "a row is what the tile has"
        row = server.ask("/api/row/5/3/150?value=weighted&top=7").json()
        sizes = weights * carried[:151]
        order = np.argsort(-sizes, kind="stable")[:7]
        assert [k["key"] for k in row["top"]] == order.tolist()
        assert [k["value_weighted"] for k in row["top"]] == sizes[order].tolist()
        assert [k["weight"] for k in row["top"]] == weights[order].tolist()
        assert row["others"]["value_weighted"] == pytest.approx(np.delete(sizes, order).sum(dtype=np.float64), rel=1e-9)
        assert row["total"] == pytest.approx(sizes.sum(dtype=np.float64), rel=1e-9)


def test_without_sizes_it_is_said_how_to_keep_them(tmp_path):
    with serving(traced(tmp_path / "run.safetensors", "--measures", "rows,distance,spans,columns,map")) as server:
        for target in ("/api/row/5/3/100?value=weighted", "/api/row/5/3/100?value=weighted&top=3", "/api/tile/5/3/0/0/0?value=weighted"):
            reply = server.ask(target)
            assert reply.status == 404 and "--measures all keeps it" in reply.json()["error"], target
        assert server.ask("/api/row/5/3/100?value=raw").status == 200
