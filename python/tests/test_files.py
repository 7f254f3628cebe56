"""Files that Python writes are whole or not there: what fails on the way leaves the old one, and nothing beside it."""

import subprocess
import sys

import pytest

import bareattn
from bareattn._show import Page

BOOST = {"kind": "boost", "heads": ["5.3"], "keys": [(3, 7)], "value": 3}

# In a child of its own, whose files may not grow past 100 bytes: as on a full disk, writing stops in the middle.
CHILD = """
import resource, sys
import bareattn
from bareattn._show import Page
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
write = {"page": Page("x" * 1000, 760).save, "steering": lambda path: bareattn.save_steering(path, %r)}[sys.argv[1]]
try:
    write(sys.argv[2])
except OSError as error:
    print(error)
""" % BOOST


@pytest.mark.parametrize("what", ["page", "steering"])
@pytest.mark.parametrize("old", ["what was there", None])
def test_a_full_disk_leaves_the_old_file(what, old, tmp_path):
    path = tmp_path / "file"
    if old is not None:
        path.write_text(old)
    done = subprocess.run([sys.executable, "-c", CHILD, what, path], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert old is None or path.read_text() == old
    assert [f.name for f in tmp_path.iterdir()] == (["file"] if old else [])
    assert str(path) in done.stdout and "too large" in done.stdout


def test_what_is_written(tmp_path):
    path = tmp_path / "näme"
    for to in (path, str(path), bytes(path)):
        Page("<p>é\r\n\n", 760).save(to)
        assert path.read_bytes() == "<p>é\r\n\n".encode()
        path.chmod(0o640)
        bareattn.save_steering(to, BOOST)
        assert bareattn.load_steering(path) == [{**BOOST, "keys": [[3, 7]]}] and path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written(tmp_path):
    for write in (Page("text", 760).save, lambda to: bareattn.save_steering(to, BOOST)):
        with pytest.raises(OSError, match="does not exist"):
            write(tmp_path / "missing" / "file")
        with pytest.raises(OSError, match="directory"):
            write(tmp_path)
        with pytest.raises(ValueError, match="NUL"):
            write("a\0b")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="boos"):
        bareattn.save_steering(tmp_path / "file", {"kind": "boos"})
    assert list(tmp_path.iterdir()) == []
