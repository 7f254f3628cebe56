"""bareattn steer from outside: two texts side by side in 80 columns, JSON that agrees with the file saved, refusals."""
import json
import math

import jsonschema
import pytest
from test_cli import ROOT, refused, run, subjects, width  # noqa: F401 (subjects is a fixture)

PROMPT = "My dog is called Rex and my cat is called Tom. The name of my dog is"


def test_side_by_side():
    done = run("steer", "--boost", "cat is called Tom", "--by", "50", "-n", "8", PROMPT)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert all(width(line) <= 80 for line in lines)
    assert "as the model is" in lines[0] and "steered" in lines[0]
    assert any("mean of all heads" in line for line in lines)


def test_json_save_and_table(tmp_path):
    file = tmp_path / "steering.json"
    done = run("steer", "--boost", "cat", "--by", "4", "--heads", "5.3,6.*", "-n", "4", "--json", "--save", file, PROMPT)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    saved = json.loads(file.read_text())
    jsonschema.validate(saved, json.loads((ROOT / "docs/schema/steering.schema.json").read_text()))
    assert document["steering"] == saved
    assert len(document["heads"]) == 270
    first = {(h["layer"], h["head"]): h for h in document["heads"]}
    assert all(first[0, h]["before"] == first[0, h]["after"] for h in range(9))  # below the first steered layer
    head = first[5, 3]
    assert head["after"] == pytest.approx(4 * head["before"] / (1 + 3 * head["before"]), rel=1e-3)
    again = run("steer", "--table", file, "-n", "4", "--json", PROMPT)
    assert json.loads(again.stdout) == document


def test_ablating_everything_changes_the_text():
    done = run("steer", "--ablate", "-n", "4", "--json", PROMPT)
    document = json.loads(done.stdout)
    assert document["before"]["ids"] != document["after"]["ids"]


def test_a_window_with_and_without_the_first_token():
    document = json.loads(run("steer", "--window", "4", "-n", "2", "--json", PROMPT).stdout)
    assert document["steering"]["interventions"] == [{"kind": "window", "heads": ["*"], "value": 4.0}]
    assert all(head["after"] == 0 < head["before"] for head in document["heads"])  # of the first token
    document = json.loads(run("steer", "--window", "4", "--sinks", "1", "-n", "2", "--json", PROMPT).stdout)
    assert all(head["after"] > 0 for head in document["heads"])


def test_a_window_is_not_kept_where_it_could_not_be_shown(tmp_path):
    file = tmp_path / "window.json"
    assert run("steer", "--window", "4", "-n", "1", "--save", file, PROMPT).returncode == 0
    refused(run("trace", "--table", file, "-o", tmp_path / "run.safetensors", "--text", PROMPT), 2, "--window")
    assert list(tmp_path.iterdir()) == [file]


def test_calibration_weighs_by_length_when_the_query_says_nothing(tmp_path):
    facts, query = ("Rex is a brown dog.", "Tom is grey."), "What is the colour of Rex?"
    prompt = " ".join((*facts, query))
    spans = [argument for fact in facts for argument in ("--calibrate", fact)]
    file = tmp_path / "calibrated.json"
    done = run("steer", *spans, "--query", query, "--control", "N/A", "--heads", "0.*", "-n", "2", "--save", file, prompt)
    assert done.returncode == 0, done.stderr
    # The biases are what the parts' weights in the control run need to be as their lengths are.
    control, size, weight = " ".join((*facts, "N/A")), [], []
    for fact in facts:
        said = json.loads(run("steer", "--boost", fact, "--by", "1", "-n", "1", "--json", control).stdout)
        ((begin, end),) = said["spans"]
        size.append(end - begin)
        weight.append([h["before"] for h in said["heads"] if h["layer"] == 0])
    saved = json.loads(file.read_text())["interventions"]
    assert len(saved) == 18 and size[0] != size[1]
    for one in saved:
        head, part = int(one["heads"][0].split(".")[1]), 0 if one["keys"][0][0] < size[0] else 1
        fair = (weight[0][head] + weight[1][head]) * size[part] / sum(size)
        assert one["kind"] == "bias" and one["value"] == pytest.approx(math.log(fair / weight[part][head]), abs=1e-5)


def test_refusals(tmp_path):
    refused(run("steer", "--window", "4", "--heads", "5.3", PROMPT), 2, "5.*")
    refused(run("steer", "--window", "-3", PROMPT), 2, "--window")
    refused(run("steer", "--sinks", "2", PROMPT), 2, "--window")
    refused(run("steer", "--calibrate", "cat", PROMPT), 2, "--query")
    refused(run("steer", "--calibrate", "cat", "--query", "elephant", PROMPT), 2, "'elephant' is not in the prompt")
    refused(run("steer", PROMPT), 2, "nothing to do")
    refused(run("steer", "--boost", "elephant", PROMPT), 2, "'elephant' is not in the prompt")
    refused(run("steer", "--ablate", "--heads", "30.0", PROMPT), 2, "30 layers")
    refused(run("steer", "--boost", "cat", "--by", "-2", PROMPT), 2, "0 or more")
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    refused(run("steer", "--table", bad, PROMPT), 2, "format")
    refused(run("steer", "--table", tmp_path / "none.json", PROMPT), 2, "none.json")
    bad.write_text('{"format":"bareattn-steering","version":1,"interventions":[{"kind":' + "[" * 100_000 + "]" * 100_000 + "}]}")
    refused(run("steer", "--table", bad, PROMPT), 2, "nested too deep")
    refused(run("trace", "--table", bad, "-o", tmp_path / "run.safetensors", "--text", PROMPT), 2, "nested too deep")
