"""bareattn roles from outside: the table, the JSON and its schema, the cache as a user meets it, refusals."""
import json
import os
import subprocess
from pathlib import Path

import jsonschema
import pytest
from test_cli import ROOT, SHORT, refused, run, subjects, width  # noqa: F401 (subjects is a fixture)

FEW = ("roles", "-n", "4", "--seed", "3", "--draws", "1")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """One run, and the environment whose cache now holds it."""
    env = {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    return run(*FEW, env=env), env


def cache_file(env):
    files = list((Path(env["XDG_CACHE_HOME"]) / "bareattn/roles").iterdir())
    assert len(files) == 1
    return files[0]


def test_table(found):
    done, _ = found
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert all(width(line) <= 80 for line in lines), max(lines, key=width)
    assert any(line.startswith("induction ") and "18.6" in line for line in lines)
    assert any(line.startswith("  without the ") for line in lines)


def test_narrow(found):
    _, env = found
    lines = run(*FEW, "--all", env={**env, "COLUMNS": "50"}).stdout.decode().splitlines()
    assert max(map(width, lines)) <= 50, max(lines, key=width)


def test_json_from_the_cache_follows_its_schema(found):
    _, env = found
    done = run(*FEW, "--json", env=env, timeout=20)
    document = json.loads(done.stdout)
    jsonschema.validate(document, json.loads((ROOT / "docs/schema/roles.schema.json").read_text()),
                        cls=jsonschema.Draft202012Validator)
    assert len(document["heads"]) == 270 and document["samples"] == 4
    by_name = {f"{h['layer']}.{h['head']}": h for h in document["heads"]}
    assert by_name["18.6"]["role"] == "induction"
    check = document["ablation"]
    loss = check["loss_repeat"]
    assert check["loss_repeat_ablated"] - loss > 4 * abs(check["loss_repeat_random"][0] - loss)


def test_a_damaged_cache_is_said_and_replaced(found):
    _, env = found
    file = cache_file(env)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    done = run(*FEW, "--json", env=env)
    assert done.returncode == 0
    assert done.stderr.startswith(b"bareattn: warning: the cached roles in ") and done.stderr.count(b"\n") == 1

    def but_time(content):
        return {k: v for k, v in json.loads(content[content.index(b"\n") + 1:]).items() if k != "seconds"}
    assert but_time(file.read_bytes()) == but_time(whole)
    look = run("look", SHORT, env=env)
    assert look.returncode == 0 and look.stderr == b""


def test_look_names_them_and_their_source(found, tmp_path):
    _, env = found
    page = tmp_path / "page.html"
    done = run("look", SHORT, "--json=" + str(tmp_path / "look.json"), "-o", page, env=env)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    assert "What they are for" in text and "18.6" in text and all(
        width(line) <= 80 for line in text.splitlines() if str(page) not in line)  # the path stays in one piece
    document = json.loads((tmp_path / "look.json").read_text())
    jsonschema.validate(document, json.loads((ROOT / "docs/schema/look.schema.json").read_text()),
                        cls=jsonschema.Draft202012Validator)
    head = document["heads"][18 * 9 + 6]
    assert head["role"]["source"] == "text"
    assert head["recipe_role"]["source"] == "recipes" and head["recipe_role"]["name"] == "induction"
    html = page.read_text()
    data = json.loads(html[html.index('id="page-data">') + 15:html.index("</script>", html.index('id="page-data">'))])
    assert [r["name"] for r in data["recipe_roles"]] == [h["recipe_role"]["name"] for h in document["heads"]]
    plain = run("look", SHORT, "--json", env={"XDG_CACHE_HOME": str(tmp_path / "none")})
    assert all(h["recipe_role"] is None for h in json.loads(plain.stdout)["heads"])
    assert "What they are for" not in run("look", SHORT, env={"XDG_CACHE_HOME": str(tmp_path / "none")}).stdout.decode()


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path):
    (tmp_path / "file").write_text("no directory")
    done = run("roles", "-n", "4", "--draws", "0", env={"XDG_CACHE_HOME": str(tmp_path / "file")})
    assert done.returncode == 0
    assert done.stderr.startswith(b"bareattn: warning: the roles could not be kept for later: ")
    assert b"induction" in done.stdout and b"worth" not in done.stdout


def test_no_cache_leaves_nothing(tmp_path):
    done = run("roles", "-n", "4", "--draws", "0", "--no-cache", env={"XDG_CACHE_HOME": str(tmp_path)})
    assert done.returncode == 0 and os.listdir(tmp_path) == []


def test_refusals(tmp_path):
    refused(run("roles", "-n", "3"), 2, "--samples")
    short = tmp_path / "short.txt"
    short.write_text("A short text.")
    refused(run("roles", "--corpus", short), 2, "600")
    refused(run("roles", "--corpus", tmp_path / "none"), 2, "none")
    short.write_text("")
    refused(run("roles", "--corpus", short), 2, "empty")
    refused(run("roles", model=None), 2, "no model")


def test_the_documents_figures_are_the_measured_ones():
    data = json.loads((ROOT / "docs/figures/roles.json").read_text())
    jsonschema.validate(data, json.loads((ROOT / "docs/schema/roles.schema.json").read_text()),
                        cls=jsonschema.Draft202012Validator)
    done = subprocess.run(["python3", ROOT / "tools/roles_figures.py"], capture_output=True, text=True, check=True)
    assert done.stdout in (ROOT / "docs/roles.md").read_text(encoding="utf-8"), "tools/roles_figures.py --write"
