"""bareattn diagnose and break from outside: sentences in 80 columns, JSON and its schema, SARIF 2.1.0, traces, exit
statuses, refusals."""
import json
import os
import re
import subprocess
import sys

import jsonschema
import pytest

from test_cli import BIN, MODEL, ROOT, TOM, refused, run, subjects, width  # noqa: F401 (subjects is a fixture)

SCHEMA = json.loads((ROOT / "docs/schema/diagnosis.schema.json").read_text())
SHORT = ("--first", "64", "--fast")


def check_sarif(document):
    """What SARIF 2.1.0 (OASIS, 2020) requires of the properties used here; section numbers are those of the standard."""
    assert document["version"] == "2.1.0"  # 3.13.2
    assert document["$schema"].startswith("https://")  # 3.13.3: a URI from which the schema can be had
    assert isinstance(document["runs"], list) and len(document["runs"]) == 1  # 3.13.4
    (one,) = document["runs"]
    driver = one["tool"]["driver"]  # 3.14.6, 3.18.2
    assert driver["name"] and isinstance(driver["name"], str)  # 3.19.8
    ids = [rule["id"] for rule in driver["rules"]]  # 3.49.3: required, and unique unless deprecated
    assert len(set(ids)) == len(ids) == 33
    for rule in driver["rules"]:
        assert re.fullmatch(r"[A-Z][A-Za-z]+", rule["name"])  # 3.49.7: an identifier, distinct from the id
        assert rule["name"] != rule["id"]
        assert rule["shortDescription"]["text"].endswith(".")  # 3.49.9, 3.12.3
        assert rule["defaultConfiguration"]["level"] in ("none", "note", "warning", "error")  # 3.50.3
    assert all(type(i["executionSuccessful"]) is bool for i in one["invocations"])  # 3.20.14: required
    assert isinstance(one["results"], list)  # 3.14.23: an array, empty if there are none, where results were looked for
    for result in one["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]  # 3.27.5, 3.27.6
        assert result["level"] in ("none", "note", "warning", "error")  # 3.27.10
        assert result["message"]["text"]  # 3.27.11: required
        for location in result["locations"]:
            uri = location["physicalLocation"]["artifactLocation"]["uri"]  # 3.4.3: a URI reference (RFC 3986)
            assert re.fullmatch(r"(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+", uri), uri
            for logical in location.get("logicalLocations", []):
                assert logical["name"] and logical["fullyQualifiedName"]  # 3.33.4, 3.33.5
    return one


def test_healthy_text_has_no_findings():
    done = run("diagnose", *SHORT, "--fail-on", "warning", TOM)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"Nothing found.")


def test_a_fault_is_named_in_sentences_and_status():
    done = run("break", "--fault", "future:2", *SHORT, "--fail-on", "error", TOM)
    out = done.stdout.decode()
    assert done.returncode == 1, done.stderr
    assert "error: future-leak" in out and "To do:" in out and "2 later tokens" in out
    assert all(width(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize("fail_on, status", [("never", 0), ("error", 0), ("warning", 1)])
def test_warnings_fail_only_where_asked(fail_on, status):
    done = run("break", "--fault", "head-dead", *SHORT, "--fail-on", fail_on, TOM)
    assert done.returncode == status, done.stderr
    assert b"warning: dead-head" in done.stdout


def test_json_names_what_was_expected():
    done = run("break", "--fault", "scale:2", "--fault", "head-dead", *SHORT, "--json", TOM)
    document = json.loads(done.stdout)
    assert [r["expected"] for r in document["runs"]] == ["wrong-scale", "dead-head"]
    for r in document["runs"]:
        assert r["findings"][0]["check"] == r["expected"]
        assert r["evidence"]["nll"] > 0


def test_a_trace_of_a_broken_run_is_diagnosed_without_the_model(tmp_path):
    trace, findings, steering = tmp_path / "a run.safetensors", tmp_path / "findings.sarif", tmp_path / "undo.json"
    assert run("break", "--fault", "peripheral:50", "--seed", "2", *SHORT, "--trace", trace, TOM).returncode == 0
    done = run("diagnose", trace, "--json", "--sarif", findings, "--save", steering, "--fail-on", "error", model=None)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    finding = document["findings"][0]
    assert finding["check"] == "peripheral-made-central" and abs(finding["value"] - 50) < 5
    (result,) = check_sarif(json.loads(findings.read_text()))["results"]
    assert result["ruleId"] == "peripheral-made-central" and result["level"] == "error"
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20run.safetensors"
    undo = json.loads(steering.read_text())["interventions"]
    assert undo == finding["remedy"]["interventions"] and undo[0]["keys"] == [[finding["token"], finding["token"] + 1]]
    # The trace of a run as the model is: nothing, from the file alone and with the model beside it.
    whole = tmp_path / "healthy.safetensors"
    text = TOM.read_text()[:300]
    for store in ("f16", "bf16", "f32"):
        assert run("trace", "--text", text, "-o", whole, "--store", store).returncode == 0
        assert run("diagnose", whole, model=None).stdout.startswith(b"Nothing found.")
    assert run("diagnose", whole, "-m", MODEL, "--fail-on", "warning").returncode == 0


def test_a_window_that_the_trace_says_is_no_fault(tmp_path):
    trace, text = tmp_path / "run.safetensors", TOM.read_text()[:600]
    assert run("trace", "--text", text, "-o", trace, "--window", "24", "--sinks", "4").returncode == 0
    done = run("diagnose", trace, "--fail-on", "warning")
    assert done.returncode == 0, done.stdout.decode()
    assert run("diagnose", trace, "--window", "23", "--fail-on", "error").returncode == 1


def test_sarif_of_a_healthy_run_has_no_results(tmp_path):
    path = tmp_path / "findings.sarif"
    done = run("diagnose", *SHORT, "--sarif", path, TOM)
    assert done.returncode == 0 and done.stdout.startswith(b"Nothing found.")
    assert check_sarif(json.loads(path.read_text()))["results"] == []


def test_restoring_says_what_it_brings_back():
    done = run("break", "--fault", "scale:3", *SHORT, "--restore", "--json", TOM)
    (one,) = json.loads(done.stdout)["runs"]
    figures = one["restored"]
    assert figures["findings"] == []
    assert figures["broken"]["perplexity"] > 1.1 * figures["meant"]["perplexity"]
    assert abs(figures["restored"]["perplexity"] / figures["meant"]["perplexity"] - 1) < 0.01
    assert figures["restored"]["moved"] < 0.01 < figures["broken"]["moved"]


def test_only_the_checks_asked_for():
    done = run("break", "--fault", "future", *SHORT, "--checks", "cache-inconsistent,rope-shift", "--json", TOM)
    (one,) = json.loads(done.stdout)["runs"]
    assert {f["check"] for f in one["findings"]} <= {"cache-inconsistent", "rope-shift"}


def test_the_help_lists_every_check():
    out = run("diagnose", "--help").stdout.decode()
    for check in ("future-leak", "wrong-gqa-map", "peripheral-made-central", "entropy-collapse", "row-sum"):
        assert check in out


def test_the_same_seed_gives_the_same_fault():
    runs = [run("break", "--fault", "noise", "--seed", "5", *SHORT, "--json", TOM).stdout for _ in range(2)]
    assert runs[0] == runs[1]


def test_the_demonstration_shows_each_of_the_three_broken_and_restored(tmp_path):
    environment = {**os.environ, "BAREATTN_BIN": str(BIN), "BAREATTN_MODEL": str(MODEL)}
    done = subprocess.run([sys.executable, ROOT / "tools/broken_weighting.py", "--out", tmp_path], env=environment,
                          capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr
    index = (tmp_path / "index.html").read_text()
    for name, check in [("peripheral", "peripheral-made-central"), ("noise", "noise-as-signal"),
                        ("contradiction", "heads-in-contradiction")]:
        assert check in index
        for state in ("broken", "restored"):
            assert f"href='{name}-{state}.html#head=" in index and f"src='{name}-{state}.html#head=" in index
            assert f"{name}, {state}: " in (tmp_path / f"{name}-{state}.html").read_text()


def test_refusals(tmp_path):
    refused(run("diagnose", "Too short."), 2, "48")
    refused(run("break", "--first", "64", TOM), 2, "no fault")
    refused(run("break", "--fault", "gremlins", "--first", "64", TOM), 2, "no fault 'gremlins'")
    refused(run("diagnose", *SHORT, "--checks", "gremlins", TOM), 2, "no check 'gremlins'")
    refused(run("diagnose", *SHORT, "--sarif", tmp_path / "no/such/folder.sarif", TOM), 1, "folder.sarif")
    (tmp_path / "none.safetensors").write_bytes(b"no trace at all")
    refused(run("diagnose", tmp_path / "none.safetensors"), 2, "none.safetensors")
    refused(run("break", "--fault", "scale", "--fault", "drift", "--trace", tmp_path / "r.safetensors", *SHORT, TOM), 2, "one --fault")
    refused(run("break", "--fault", "future", "--pages", tmp_path, *SHORT, TOM), 2, "future", "page")
    assert list(tmp_path.iterdir()) == [tmp_path / "none.safetensors"]
    assert b"rope-pairing" in run("break", "--list").stdout


def test_a_lost_sink_shows_against_a_control(tmp_path):
    control, broken, text = tmp_path / "control.safetensors", tmp_path / "broken.safetensors", TOM.read_text()[:260]
    assert run("trace", "--text", text, "-o", control, "--span", "middle=20:24").returncode == 0
    done = run("break", "--fault", "keys-quantised", "--fast", "--restore", "--json", "--trace", broken, "--text", text)
    (one,) = json.loads(done.stdout)["runs"]
    assert one["findings"][0]["check"] == one["expected"] == "sink-lost"
    assert one["findings"][0]["remedy"]["what"] and one["restored"]["findings"] == []
    # From the two files: alone the broken one, whose weights are those of its own Q and K, shows nothing.
    assert run("diagnose", broken, "--fail-on", "error").returncode == 0
    done = run("diagnose", broken, "--against", control, "--json", "--fail-on", "error")
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["findings"][0]["check"] == "sink-lost" and document["findings"][0]["remedy"] is None
    assert run("diagnose", control, "--against", control, "--irrelevant", "middle").stdout.startswith(b"Nothing found.")
    refused(run("diagnose", control, "--against", control, "--irrelevant", "end"), 2, "no span 'end'")
    refused(run("diagnose", control, "--irrelevant", "middle"), 2, "--against")
    refused(run("diagnose", *SHORT, "--against", control, TOM), 2, "two traces")
    other = tmp_path / "other.safetensors"
    assert run("trace", "--text", text[:200], "-o", other).returncode == 0
    refused(run("diagnose", control, "--against", other), 2, "not over the same tokens")
