"""bareattn stream from outside: a table that fits, JSON that agrees with it, refusals."""
import json

from test_cli import SHORT, refused, run, subjects, width  # noqa: F401 (subjects is a fixture)


def test_table_and_json_agree():
    table = run("stream", SHORT)
    assert table.returncode == 0 and table.stderr == b""
    lines = table.stdout.decode().splitlines()
    assert len(lines) == 31 and all(width(line) <= 80 for line in lines)
    layers = json.loads(run("stream", "--json", SHORT).stdout)["layers"]
    assert [int(line.split()[4]) for line in lines[1:]] == [layer["massive"] for layer in layers]
    assert layers[15]["massive"] > 0 and layers[15]["tokens"] == [0] and layers[0]["massive"] == 0
    assert all(0 <= layer["rank_residual"] <= 1 for layer in layers)


def test_refusals():
    refused(run("stream", "--text", ""), 2, "empty")
    refused(run("stream", "-"), 2, "empty")
    refused(run("stream", SHORT, model=None), 2, "no model")
    refused(run("stream", "cat " * 9000), 2, "8192")
