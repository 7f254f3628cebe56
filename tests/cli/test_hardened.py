"""The command is built with its protections: what readelf says of the binary itself."""
import sys
from pathlib import Path

from test_cli import BIN

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import hardened  # noqa: E402


def test_the_command_is_hardened():
    assert hardened.missing(BIN) == []


def test_a_binary_without_protection_is_seen(tmp_path):
    import subprocess
    source = tmp_path / "a.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["cc", "-no-pie", "-fcf-protection=none", "-fno-stack-protector", "-Wl,-z,norelro,-z,lazy,-z,execstack",
                    source, "-o", tmp_path / "a"], check=True)
    assert set(hardened.missing(tmp_path / "a")) >= {"BIND_NOW", "RELRO", "stack protector", "FORTIFY", "PIE",
                                                     "a stack that is not executed"}
