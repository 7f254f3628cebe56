"""What a binary says about its protection, by readelf: used for the command (tests/cli) and the module (python/tests)."""
import subprocess


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def missing(path, program=True):
    """The protections that the binary at `path` has not."""
    dynamic, segments, symbols = readelf("-d", path), readelf("-l", path), readelf("--dyn-syms", path)
    found = {
        "BIND_NOW": "BIND_NOW" in dynamic or " NOW" in dynamic,
        "RELRO": "GNU_RELRO" in segments,
        "a stack that is not executed": any("GNU_STACK" in line and "RWE" not in line for line in segments.splitlines()),
        "stack protector": "__stack_chk_fail" in symbols,
        "FORTIFY": "_chk@" in symbols.replace("__stack_chk_fail", ""),
        "checked indices": "__glibcxx_assert_fail" in symbols or b"__n < this->size()" in path.read_bytes(),
    }
    if program:
        found["PIE"] = "Type:" in readelf("-h", path) and "DYN" in readelf("-h", path)
    if "X86-64" in readelf("-h", path):
        found["CET (endbr64 at functions)"] = path.read_bytes().count(b"\xf3\x0f\x1e\xfa") > 1000
    return [name for name, there in found.items() if not there]
