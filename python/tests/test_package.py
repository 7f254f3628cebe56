"""What the installed package brings along: protections of its module, notices of what is compiled in, what is inside."""
import importlib.metadata
import json
import sys
from pathlib import Path

import bareattn._native

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
import hardened  # noqa: E402


def brought(name):
    found = [file for file in importlib.metadata.files("bareattn") if file.name == name]
    assert len(found) == 1, name
    return found[0].locate().read_text()


def test_the_module_is_hardened():
    assert hardened.missing(Path(bareattn._native.__file__), program=False) == []


def test_notices_of_all_that_is_compiled_in():
    notices = brought("THIRD_PARTY_NOTICES.txt")
    for name in ("preact", "d3-zoom", "d3-selection", "nanobind", "nlohmann-json"):
        assert name in notices
    assert "Permission" in notices and "Copyright" in notices
    assert "Apache License" in brought("LICENSE")


def test_the_bill_of_materials():
    bill = json.loads(brought("bareattn.cdx.json"))
    assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["name"] == "bareattn"
    names = {component["name"] for component in bill["components"]}
    assert {"preact", "d3-zoom", "Highway", "nanobind", "OpenSSL"} <= names
    assert "typescript" not in names
