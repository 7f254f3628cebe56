"""The ```python blocks of documents run as a reader would run them: one after the other, in a folder with a model."""

import re

import pytest

import bareattn
from places import MODEL, ROOT


@pytest.mark.parametrize("name", ["trace.md", "steering.md"])
def test_examples(name, tmp_path, monkeypatch):
    (tmp_path / "model.gguf").symlink_to(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / name).read_text(), re.M | re.S)
    assert blocks
    names = {"bareattn": bareattn}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{name}, block {number}", "exec"), names)
    if name == "trace.md":
        assert names["entropy"].shape == (30, 9, len(names["trace"])) and names["q"].shape == (len(names["trace"]), 64)
