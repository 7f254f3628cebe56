"""What measures cost that are paid only when asked for: processor time of `bareattn trace` with more groups and more, and
of the commands that look at every weight again.

measures.py [--characters N] [--repeat N] [--write]: prints a table of user time, the least of the repetitions (it moves
less than seconds where the machine has other work), writes out/bench/measures.json; --write puts it into docs/measures.md.
"""
import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from marked import put_between  # noqa: E402

MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
BEGIN, END = "<!-- cost: begin (bench/measures.py --write) -->", "<!-- cost: end -->"
COMMON = "rows,distance,spans,columns,map"


def user_seconds(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([BIN, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--characters", type=int, default=6000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    text = (ROOT / "tests/golden/text/tom-sawyer.txt").read_text()[:options.characters]
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run.safetensors"
        commands = {f"`trace --measures {groups}`": ("trace", "-m", MODEL, "--text", text, "-o", run, "--measures", groups)
                    for groups in ("none", COMMON, COMMON + ",values", COMMON + ",values,agreement")}
        commands["`agree`"] = ("agree", run, "--json")
        for group in ("coverage", "scores", "repeats", "offsets"):
            commands[f"`measures --measures {group}`"] = ("measures", run, "--json", "--measures", group)
        results = {name: round(min(user_seconds(*command) for _ in range(options.repeat)), 2)
                   for name, command in commands.items()}
        tokens = json.loads(subprocess.run([BIN, "agree", run, "--rows", "1", "--json"], check=True,
                                           capture_output=True).stdout)["tokens"]
    out = ROOT / "out/bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "measures.json").write_text(json.dumps({"tokens": tokens, "user_seconds": results}, indent=1) + "\n")
    table = "\n".join([f"| {tokens:,} tokens, SmolLM2-135M | processor time |", "|---|---|",
                       *(f"| {name} | {seconds:.1f} s |" for name, seconds in results.items())]) + "\n"
    print(table)
    if options.write:
        put_between(ROOT / "docs/measures.md", BEGIN, END, table)


if __name__ == "__main__":
    main()
