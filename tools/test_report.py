#!/usr/bin/env python3
"""Counts what ./x test ran (JUnit XML of GoogleTest, ctest, pytest; totals of node --test), lists failures and skips,
and ends with one line. Fails when a part failed, when a test failed, or when nothing ran.
Usage: test_report.py DIR --seconds S --parts A B ... --failed A ...
"""
import argparse
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def cases(path):
    """(name, outcome, why) of every test case in a JUnit file; outcome: passed, failed, skipped."""
    for case in ET.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname') or path.stem}.{case.get('name')}"
        if (bad := case.find("failure")) is not None or (bad := case.find("error")) is not None:
            yield name, "failed", bad.get("message") or (bad.text or "").strip()
        elif case.get("status") == "fail":  # ctest
            yield name, "failed", ""
        elif (skip := case.find("skipped")) is not None or case.get("status") in ("notrun", "disabled") \
                or case.get("result") in ("skipped", "suppressed"):
            why = skip.get("message") or (skip.text or "") if skip is not None else "disabled"
            yield name, "skipped", why.strip()
        else:
            yield name, "passed", ""


def gtest_results(folder):
    """{program: its XML file}. A test that starts its own program again leaves NAME_1.xml and so on; the outer process
    ends last, so the newest file is the one that counts."""
    newest = {}
    for path in sorted((folder / "gtest").glob("*.xml"), key=lambda p: p.stat().st_mtime_ns):
        newest[re.sub(r"_\d+$", "", path.stem)] = path
    return newest


def collect(folder):
    programs = {name: list(cases(path)) for name, path in gtest_results(folder).items()}
    found = [case for results in programs.values() for case in results]
    for path in sorted(folder.glob("*.xml")):
        if path.name != "ctest.xml":
            found += cases(path)
    if (folder / "ctest.xml").exists():
        for name, outcome, why in cases(folder / "ctest.xml"):
            program = name.split(".")[-1]
            # A GoogleTest program is already counted by its cases, unless it failed without saying so.
            counted = programs.get(program)
            if counted is None or (outcome == "failed" and not any(o == "failed" for _, o, _ in counted)):
                found.append((f"ctest.{program}", outcome, why))
    for path in sorted(folder.glob("*.log")):
        totals = {key: int(n) for key, n in re.findall(r"(?:#|\u2139) (pass|fail|cancelled|skipped|todo) (\d+)", path.read_text())}
        for key, outcome in (("pass", "passed"), ("fail", "failed"), ("cancelled", "failed"), ("skipped", "skipped"),
                             ("todo", "skipped")):
            found += [(f"{path.stem}: {key}", outcome, "see the output above")] * totals.get(key, 0)
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--parts", nargs="*", default=[])
    parser.add_argument("--failed", nargs="*", default=[])
    args = parser.parse_args()
    found = collect(args.folder)
    count = {key: sum(outcome == key for _, outcome, _ in found) for key in ("passed", "failed", "skipped")}
    for name, outcome, why in found:
        if outcome != "passed":
            print(f"{outcome.upper()}: {name}{': ' + why.splitlines()[0] if why else ''}")
    for part in args.failed:
        print(f"FAILED PART: {part}")
    if count["passed"] + count["failed"] == 0:
        print("NOTHING RAN: no test reported a result")
    bad = count["failed"] or args.failed or count["passed"] == 0
    text = ", ".join(f"{count[key]} {key}" for key in ("failed", "passed", "skipped") if count[key] or key == "passed")
    print(f"===== {text} in {args.seconds}s ({len(args.parts)} parts: {' '.join(args.parts)}) =====")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
