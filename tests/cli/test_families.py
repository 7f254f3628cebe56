"""Every command once on a tiny random model of each family: it runs, and what makes no sense for a family is left out or
refused by name. The numbers are held against transformers in tests/families_test.cc."""
import gzip
import json

import pytest

from serving import serving
from test_cli import ROOT, refused, run, subjects  # noqa: F401 (subjects is a fixture)

FOLDER = ROOT / "tests/golden/families"
FAMILIES = sorted(path.name.removesuffix(".gguf.gz") for path in FOLDER.glob("*.gguf.gz"))
TEXT = "The rain in the town and the sound of the bell on the hill: a thing that was there in the morning, and then again."
WINDOWS = {"gemma2": 12, "gemma3": 12, "olmo2": 12, "phi3": 20}  # of layer 0
NEIGHBOURS = {"granite", "smollm3"}  # whose rotary pairs are dimensions side by side


class Family:
    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        self.model, self.text, self.trace = folder / "model.gguf", folder / "text.txt", folder / "run.safetensors"
        self.model.write_bytes(gzip.decompress((FOLDER / f"{name}.gguf.gz").read_bytes()))
        self.text.write_text(TEXT)
        self.works("trace", self.text, "-o", self.trace, "--measures", "all")

    def run(self, *arguments):
        return run(*arguments, model=self.model)

    def works(self, *arguments, statuses=(0,)):
        done = self.run(*arguments)
        assert done.returncode in statuses, done.stderr.decode()
        return done.stdout.decode(errors="replace")  # random models write any bytes


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    return Family(request.param, tmp_path_factory.mktemp(request.param))


def test_a_model_says_what_it_is(family):
    text = family.works("info")
    assert f"Architecture  {family.name}\n" in text
    assert ("RoPE base" in text) == (family.name != "gpt2"), text
    assert ("Windows " in text) == (family.name in WINDOWS), text
    assert "Not run" not in text


def test_look_and_pages(family):
    found = json.loads(family.works("look", family.text, "--json"))
    assert found["model"]["architecture"] == family.name
    assert found["model"]["warnings"] == []
    family.works("look", family.text, "-o", family.folder / "look.html")
    family.works("page", family.trace, "-o", family.folder / "page.html")
    for page in ("look.html", "page.html"):
        assert (family.folder / page).stat().st_size > 100_000


def test_a_row_is_all_the_weight_within_its_window(family):
    weights = [float(x) for x in family.works("tile", family.trace, "0.1", "-1", ":", "--csv").split(",")]
    assert sum(weights) == pytest.approx(1, abs=5e-3)
    assert sum(weight > 0 for weight in weights) == WINDOWS.get(family.name, len(weights))
    strongest = max(range(len(weights)), key=weights.__getitem__)
    assert family.works("row", family.trace, "0.1", "-1", "--top", "3").split("\n")[1].split()[0] == str(strongest)


def test_measures_agreement_and_differences(family):
    layers = 6 if family.name == "gemma3" else 4
    assert len(json.loads(family.works("measures", family.trace, "--json"))["heads"]) == 4 * layers
    family.works("measures", family.trace, "--value-weighted", "--measures", "spans")
    assert "look at the same tokens" in family.works("agree", family.trace)
    same = json.loads(family.works("diff", family.trace, family.trace, "--json"))
    assert max(head["js"] for head in same["heads"]) < 1e-12
    family.works("diff", family.model, family.model, family.text)


def test_steering_and_generation(family):
    assert "steered" in family.works("steer", family.text, "--boost", "rain", "--by", "3")
    assert family.works("generate", "-n", "8", "The rain").startswith("The rain")
    assert "perplexity of" in family.works("perplexity", family.text)
    assert "massive" in family.works("stream", family.text)


def test_roles(family):
    found = json.loads(family.works("roles", "--samples", "4", "--draws", "0", "--no-cache", "--json"))
    assert len(found["heads"]) == (24 if family.name == "gemma3" else 16)


def test_diagnosis_asks_what_the_model_has(family):
    evidence = json.loads(family.works("diagnose", family.text, "--json"))["evidence"]
    about_rotation = {check for check in evidence["checks"] if "rope" in check or check == "position-offset"}
    assert ("wrong-rope-pairing" in about_rotation) == (family.name in NEIGHBOURS)
    if family.name == "gpt2":
        assert about_rotation == set()
        assert evidence["not_probed"].startswith("The model rotates no queries and keys")
    else:
        assert {"rope-shift", "wrong-rope-base", "wrong-rope-scaling", "position-offset"} <= about_rotation
    # What the passes say about themselves is in order: scales, windows and caps are the model's own.
    found = json.loads(family.works("diagnose", family.trace, "--json"))["findings"]
    assert [finding["check"] for finding in found if finding["severity"] == "error"] == []


def test_faults_that_a_model_cannot_have_are_refused(family):
    def broken(fault):
        return family.run("break", family.text, "--fault", fault, "--fast")

    done = broken("scale:8")
    assert done.returncode == 0, done.stderr.decode()
    # Under a cap another scale is no common factor of the scores: that weights are wrong is found, not the reason.
    assert ("row-sum" if family.name == "gemma2" else "wrong-scale") in done.stdout.decode()
    reasons = {"noise": "at least 9; this one has", "peripheral": "at least 9; this one has"}
    if family.name == "gpt2":
        reasons |= dict.fromkeys(["rope-base", "rope-pairing", "rope-limit", "cache"], "rotates no queries and keys")
    elif family.name not in NEIGHBOURS:
        reasons["rope-pairing"] = "half a head apart"
    if family.name in ("gpt2", "gptneox"):
        reasons["gqa-map"] = "no groups of query heads"
    for fault, reason in reasons.items():
        refused(broken(fault), 2, reason)
    done = broken("all")
    assert done.returncode == 0, done.stderr.decode()
    left_out = {line.split("'")[1] for line in done.stderr.decode().splitlines() if "is left out" in line}
    assert left_out == set(reasons)


def test_a_trace_is_served(family):
    with serving(family.trace) as served:
        assert served.ask("/").status == 200
