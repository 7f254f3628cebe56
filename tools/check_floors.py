#!/usr/bin/env python3
"""Fails on an #include that goes up a floor, and on a few other rules of the house that a machine can check.

The floors are drawn in ARCHITECTURE.md. Each rule is one function that yields "file:line: sentence". To add a folder, give
it a floor in FLOORS; a public header is on the floor of the source of its name, or in HEADER_FLOORS. Usage: check_floors.py [ROOT]
"""
import re
import subprocess
import sys
from pathlib import Path

import check_rules

FLOORS = {
    "base": 0, "kernels": 1, "attention": 2, "files": 2, "text": 3, "model": 3, "observe": 4, "trace": 4, "analyze": 4, "roles": 4,
    "diagnose": 5, "steer": 5, "view": 6, "serve": 6,
}
# On one floor, folders do not know each other, except these.
SIDEWAYS = {("model", "text"), ("trace", "observe"), ("analyze", "observe"), ("roles", "observe"), ("diagnose", "steer"),
            ("serve", "view")}
DOORS = ("cli", "python", "bench", "examples")

# include/bareattn/NAME.h is on the floor of the one src/FOLDER/NAME.cc. Those with no such file stand here. points.h and
# the statistics of attention.h are how observation comes up: declared low, implemented above.
HEADER_FLOORS = {
    "error.h": 0, "tensor_view.h": 0, "tensor.h": 0, "version.h": 0, "points.h": 0, "signals.h": 0,
    "attention.h": 2, "attention_backward.h": 2, "weights.h": 2,
    "tokenizer.h": 3, "model.h": 3, "architecture.h": 3, "model_config.h": 3, "score_table.h": 3, "variant.h": 3,
    "observation.h": 4, "trace.h": 4, "head_roles.h": 4,
    "steering.h": 5, "diagnosis.h": 5, "faults.h": 5,
    "page.h": 6, "serve.h": 6,
    "bareattn.h": 7,  # the contents page, for users only
}

CODE = {".h", ".cc", ".py", ".ts", ".tsx", ".mjs", ".js", ".css", ".cmake", ".sh"}
CODE_DIRS = ("src", "include", *DOORS, "tests", "fuzz", "tools", "viewer", "cmake", ".ci")
MAX_LINES = 450

INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
INTRINSICS = re.compile(r"^(\w*mmintrin|x86intrin|x86gprintrin|arm_\w+|cpuid)\.h$")
INTRINSICS_PLACES = ("src/kernels/isa/", "src/base/thread_pool.cc", "src/base/float_environment.h")  # pause, rounding mode
PRINTS = re.compile(r"\b(std::(cout|cerr|clog|abort|exit|terminate|quick_exit)|f?printf\s*\(|puts\s*\(|abort\s*\(\)|_?exit\s*\()")


def tracked(root):
    """The files of the repository; new ones that are not ignored count too. Without git: all."""
    git = subprocess.run(["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                         capture_output=True)
    if git.returncode == 0:
        names = set(git.stdout.decode().split("\0")) - {""}
    else:
        names = {p.relative_to(root).as_posix() for p in Path(root).rglob("*")}
    return sorted(n for n in names if (Path(root) / n).is_file() and not (Path(root) / n).is_symlink())


def includes(lines):
    for number, line in enumerate(lines, 1):
        if match := INCLUDE.match(line):
            yield number, match[1] == '"', match[2]


def header_floor(root, header):
    """The floor of include/bareattn/`header`, or None where it has none."""
    if header in HEADER_FLOORS:
        return HEADER_FLOORS[header]
    sources = list(Path(root).glob(f"src/*/{header.removesuffix('.h')}.cc"))
    return FLOORS.get(sources[0].parent.name) if len(sources) == 1 else None


def floor_of(root, name):
    """(folder, floor) of a C++ file, or None where no floor applies (tests, tools)."""
    parts = name.split("/")
    if parts[0] == "src" and len(parts) > 2:
        return parts[1], FLOORS.get(parts[1])
    if name.startswith("include/bareattn/"):
        return name, header_floor(root, "/".join(parts[2:]))
    if parts[0] in DOORS:
        return parts[0], 7
    return None


def check_includes(root, name, lines):
    here = floor_of(root, name)
    if here is None:
        return
    folder, floor = here
    if floor is None:
        yield f"{name}:1: has no floor; give it one in tools/check_floors.py and ARCHITECTURE.md"
        return
    for number, quoted, target in includes(lines):
        at = f"{name}:{number}: includes {target}"
        first = target.split("/")[0]
        if first == "bareattn":
            there = header_floor(root, target.removeprefix("bareattn/"))
            if there is None:
                yield f"{at}, a public header without a floor; give it one in tools/check_floors.py"
            elif there > floor:
                yield f"{at} (floor {there}) from {folder} (floor {floor}): an include may only go down"
        elif quoted and first in FLOORS and "/" in target:
            there = FLOORS[first]
            if floor == 7:
                yield f"{at}: {folder}/ is a door and may include bareattn/ headers only"
            elif name.startswith("include/"):
                yield f"{at}: a public header may include bareattn/ headers only"
            elif there > floor:
                yield f"{at} (floor {there}) from {folder} (floor {floor}): an include may only go down"
            elif there == floor and first != folder and (folder, first) not in SIDEWAYS:
                yield f"{at}: {folder} and {first} are on one floor and do not know each other"
        elif quoted and ".." in target.split("/"):
            yield f"{at}: write the path from src/ or include/, without '..'"


def check_places(root, name, lines):
    """SIMD lives in kernels, threads and files out of the attention recipe's sight, printing at the doors."""
    if not name.startswith(("src/", "include/")):
        return
    for number, _, target in includes(lines):
        at = f"{name}:{number}: includes {target}"
        if INTRINSICS.match(target) and not name.startswith(INTRINSICS_PLACES):
            yield f"{at}: intrinsics live in src/kernels/isa/ only"
        if target.startswith("hwy/") and not name.startswith("src/kernels/"):
            yield f"{at}: SIMD lives in src/kernels/ only"
        if target in ("thread", "fstream", "filesystem") and name.startswith("src/attention/"):
            yield f"{at}: the attention recipe knows no threads and no files (take a base/thread_pool.h)"
        if target == "iostream":
            yield f"{at}: the library never prints"
    for number, line in enumerate(lines, 1):
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line.split("//")[0])
        if match := PRINTS.search(code):
            yield f"{name}:{number}: {match[0].rstrip('( ')}: the library never prints, aborts or exits; it throws"


def check_tables(root, name, lines):
    """Keys come from files and requests: an unordered container with the library's fixed hash lets them be chosen."""
    if not name.startswith(("src/", "include/", "cli/", "python/")) or name == "src/base/seeded_hash.h":
        return
    for number, _, target in includes(lines):
        if target.startswith("unordered_"):
            yield f"{name}:{number}: includes {target}: take base/seeded_hash.h, or an ordered container"
    for number, line in enumerate(lines, 1):
        if re.search(r"json::parse\s*\(", line, re.I) and name.startswith("src/"):
            yield f"{name}:{number}: JSON from outside is read by base/json.h"


def check_shape(root, name, lines):
    if "/golden/" in name or name.endswith("package-lock.json"):
        return
    if len(lines) > MAX_LINES:
        yield f"{name}:{len(lines)}: has {len(lines)} lines; {MAX_LINES} is the limit: split it by idea"
    first = next((line for line in lines if line.strip() and not line.startswith("#!")), "")
    comment = ("//", "/*") if Path(name).suffix in (".h", ".cc", ".ts", ".tsx", ".mjs", ".js", ".css") else ("#", '"""')
    if lines and not first.lstrip().startswith(comment):
        yield f"{name}:1: begin with a paragraph that says what the file does, what it refuses, where to go next"


def check(root):
    problems, files = [], 0
    names = tracked(root)
    known = check_rules.endings(names)
    for name in names:
        path = Path(name)
        if path.parts[0] not in CODE_DIRS and name not in ("x", "CMakeLists.txt"):
            continue
        if path.suffix not in CODE and path.name not in ("x", "run", "CMakeLists.txt"):
            continue
        lines = (Path(root) / name).read_text(encoding="utf-8", errors="replace").splitlines()
        files += 1
        rules = [check_shape]
        if path.suffix in (".h", ".cc"):
            rules += [check_includes, check_places, check_tables]
        for rule in rules:
            problems += rule(root, name, lines)
        problems += check_rules.check_names(name, lines, known)
        problems += check_rules.check_parameters(name, lines)
    return problems, files


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else str(Path(__file__).resolve().parent.parent)
    problems, files = check(root)
    for problem in problems:
        print(problem)
    if files == 0:
        print(f"check_floors: no source files under {root}: nothing was checked")
        return 1
    print(f"check_floors: {files} files, {len(problems)} problem{'' if len(problems) == 1 else 's'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
