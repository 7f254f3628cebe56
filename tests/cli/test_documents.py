"""Every command that a document shows is run here, as a reader would type it: the lines of the ```sh blocks of README.md
and docs/*.md that call the built command, in a folder that looks like the repository after ./x demo. What is not run is
listed with its reason, and an entry that no document shows any more fails."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("BAREATTN_BIN", ROOT / "build/bareattn")).resolve()
MODEL = Path(os.environ.get("BAREATTN_MODEL", ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf")).resolve()
NOT_RUN = {
    "./x demo": "installs packages and builds; its last step, look, is run here",
}


def commands():
    for document in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        inside = False
        for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
            if line.strip().startswith("```"):
                inside = line.strip() == "```sh"
            elif inside and line.strip() and not line.lstrip().startswith("#"):
                yield pytest.param(line, id=f"{document.name}:{number}")


@pytest.fixture()
def house(tmp_path):
    (tmp_path / "build").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "build/bareattn").symlink_to(BIN)
    (tmp_path / "bareattn").symlink_to(BIN)
    (tmp_path / "models/SmolLM2-135M-Instruct.Q4_1.gguf").symlink_to(MODEL)
    (tmp_path / "MODEL.gguf").symlink_to(MODEL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for name in ("essay.txt", "story.txt"):
        (tmp_path / name).write_text("Alice was beginning to get very tired of sitting by her sister on the bank.\n")
    return tmp_path


@pytest.mark.parametrize("command", list(commands()))
def test_command(command, house):
    for start, why in NOT_RUN.items():
        if command.startswith(start):
            pytest.skip(f"{start}: {why}")
    if "| jq" in command and shutil.which("jq") is None:
        command = command.split("| jq")[0]  # the part that is ours
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=house, capture_output=True, text=True,
                          env={**os.environ, "PATH": f"{house}:{os.environ['PATH']}", "NO_COLOR": "1"}, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert done.stdout.strip(), command
    if "-o " in command:
        page = house / command.split("-o ")[1].split()[0]
        assert page.stat().st_size > 100_000, f"{command} left no page"


def test_there_are_commands_and_no_stale_exception():
    lines = [parameter.values[0] for parameter in commands()]
    assert sum(not line.startswith(tuple(NOT_RUN)) for line in lines) >= 4
    for start in NOT_RUN:
        assert any(line.startswith(start) for line in lines), f"no document shows {start!r} any more"


def test_the_readmes_figures_are_the_measured_ones():
    done = subprocess.run(["python3", ROOT / "tools/figures.py"], capture_output=True, text=True, check=True)
    assert done.stdout in (ROOT / "README.md").read_text(encoding="utf-8"), "tools/figures.py --write"
