#!/usr/bin/env python3
"""Shows how far a build is, in one line: `ninja ... 2>&1 | tools/build_progress.py`.

On a terminal the line is rewritten; into a file or a log it is a line every tenth of the way. What is no step of the build
(warnings, errors) passes as it is. What fails to build is the failure of the pipe's first command: use pipefail.
"""
import re
import shutil
import sys
import time

STEP = re.compile(r"^\[(\d+)/(\d+)\] (.*)$")
# What a step makes, without its folders in the build.
OBJECT = re.compile(r"^Building (?:CXX|C) object (?:.*/)?CMakeFiles/[^/]+\.dir/(.*?)\.(?:o|gch)$")


def subject(step):
    match = OBJECT.match(step)
    return match[1] if match else step


def line(done, total, what, seconds, width):
    """The line for a terminal of `width` columns."""
    left = seconds / done * (total - done) if done else 0
    facts = f"  {100 * done // total:3} %  {done} of {total}"
    if seconds > 5 and done < total:
        facts += f"  about {int(left) // 60}:{int(left) % 60:02} left"
    return f"{facts}  {what}"[: width - 1]


def follow(lines, out, terminal, clock=time.monotonic, width=80):
    start, tenth, drawn = clock(), 0, False
    for text in lines:
        text = text.rstrip("\n")
        match = STEP.match(text)
        if drawn:
            out.write("\r\x1b[K")
            drawn = False
        if not match:
            print(text, file=out, flush=True)
            continue
        done, total, what = int(match[1]), int(match[2]), subject(match[3])
        if terminal:
            out.write(line(done, total, what, clock() - start, width))
            out.flush()
            drawn = True
        elif 10 * done // total > tenth:
            tenth = 10 * done // total
            print(line(done, total, "", clock() - start, width).rstrip(), file=out, flush=True)
    if drawn:
        out.write("\r\x1b[K")
        out.flush()


if __name__ == "__main__":
    follow(sys.stdin, sys.stdout, sys.stdout.isatty(), width=shutil.get_terminal_size().columns)
