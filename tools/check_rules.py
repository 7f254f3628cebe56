"""Rules about the text of a file, for check_floors.py: comments name files that exist, functions have few parameters.

Both read text and no syntax tree. A file's name in a comment is anything like `folder/name.h`; it exists where some file of
the repository ends so. A function is a name and parentheses that hold declarations only.
"""
import re
from pathlib import Path

MOST_PARAMETERS = 5

# Who has more, and why.
KERNELS = "an entry of the kernel table or what it is made of: called once a tile, in registers"
PYTHON = "named arguments of a Python function, in the order of its signature"
PUBLIC = "a signature that users call; its next change gives it a struct"
EXCEPTIONS = {
    "BlendTransposedAny": KERNELS, "blend_transposed": KERNELS, "Scaled": KERNELS, "PoolRowsAny": KERNELS, "pool_rows": KERNELS,
    "run_panels": KERNELS, "gemm": KERNELS, "Rows": KERNELS, "ScoreTileHardware": KERNELS, "transpose32": KERNELS,
    "score_tile": KERNELS, "score_tile_bf16": KERNELS, "merge_states": KERNELS, "MergeStatesAny": KERNELS,
    "ScoreTileAny": KERNELS, "EmulatedTile": KERNELS, "ScoreTileBf16Emulated": KERNELS,
    "generate": PUBLIC, "write_trace": PUBLIC,
    "compute": "one block of the backward pass: a tile's place and what it is made from",
    "pack": "one piece of a call, its keys from and to, where they go and who works",
    "serve_piece": "one piece of a call, its keys from and to, where they come from and who works",
    "normalize": "rows in, rows out, their number, width, weights and epsilon",
    "line": "everything that stands in the line, for tests",
    "trace": "a run into a scratch file: file, model, text, options, progress, observer",
}
EXCEPTED_FOLDERS = {"python/native/": PYTHON, "tests/": "tests say what they need where they need it"}

# Files of other projects that comments speak of.
FOREIGN = {"highway.h", "head_detector.py"}

FILE = re.compile(r"(?<![\w/.*-])((?:[\w.-]+/)*[\w.-]+\.(?:h|cc|py|tsx?|mjs|md|cmake|sh))(?![\w/*-]|\.\w)")
SLASHES = (".h", ".cc", ".ts", ".tsx", ".mjs", ".js", ".css")

CALL = re.compile(r"([A-Za-z_~][\w:~]*|\])\s*\(")
TYPE = r"(?:const\s+|\[\[\w+\]\]\s*)*[A-Za-z_][\w:]*(?:<.*>)?(?:\s+const)?"
PARAMETER = re.compile(rf"^{TYPE}(?:\s*[&*]+\s*(?:const\s+)?|\s+)[A-Za-z_]\w*(?:\[\w*\])?(?:\s*=.*)?$|^{TYPE}\s*[&*]+$", re.S)


def endings(names):
    """Every way to end a path of `names`: a/b/c.h, b/c.h, c.h."""
    return {"/".join(name.split("/")[i:]) for name in names for i in range(name.count("/") + 1)}


def comments(name, lines):
    mark = "//" if Path(name).suffix in SLASHES else "#"
    for number, line in enumerate(lines, 1):
        if mark in line:
            yield number, line.split(mark, 1)[1]
        elif mark == "//" and line.lstrip().startswith(("*", "/*")):
            yield number, line


def check_names(name, lines, known):
    """Every file named in a comment exists."""
    if name == "tests/tools_test.py":  # its trees are made up
        return
    for number, text in comments(name, lines):
        for match in FILE.finditer(text):
            file = match[1].lstrip("./")
            if "NAME" not in file and file not in FOREIGN and file not in known:
                yield f"{name}:{number}: the comment names {file}, which does not exist"


def parameters(text):
    """(line, name, number of parameters) of what looks like a function's declaration."""
    code = re.sub(r'"(\\.|[^"\\\n])*"', '""', text)
    code = re.sub(r"//[^\n]*", "", code)
    for match in CALL.finditer(code):
        end, depth = match.end(), 1
        while end < len(code) and depth:
            depth += {"(": 1, ")": -1}.get(code[end], 0)
            end += 1
        parts, nested = [""], 0
        for c in code[match.end():end - 1]:
            nested += {"(": 1, "[": 1, "{": 1, "<": 1, ")": -1, "]": -1, "}": -1, ">": -1}.get(c, 0)
            if c == "," and nested == 0:
                parts.append("")
            else:
                parts[-1] += c
        if len(parts) > MOST_PARAMETERS and all(PARAMETER.match(part.strip()) for part in parts):
            yield code.count("\n", 0, match.start()) + 1, match[1].split("::")[-1], len(parts)


def check_parameters(name, lines):
    """No function has more than five parameters."""
    if Path(name).suffix not in (".h", ".cc") or name.startswith(tuple(EXCEPTED_FOLDERS)):
        return
    for number, function, count in parameters("\n".join(lines)):
        if function not in EXCEPTIONS:
            yield (f"{name}:{number}: {function} has {count} parameters; {MOST_PARAMETERS} is the limit: give it a named struct")
