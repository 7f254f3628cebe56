"""The tools of the house: each rule of check_floors catches a planted violation, and the repository itself is clean."""
import io
import itertools
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECK = ROOT / "tools" / "check_floors.py"
sys.path.insert(0, str(ROOT / "tools"))
import build_progress  # noqa: E402


def run_check(files):
    """check_floors over a made-up tree: (exit status, output)."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, CHECK, root], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


class CheckFloors(unittest.TestCase):
    def expect(self, name, text, *parts):
        status, output = run_check({name: "// What it does.\n" + text, "src/base/ok.h": "// Fine.\n"})
        self.assertEqual(status, 1, output)
        for part in (f"{name}:", *parts):
            self.assertIn(part, output)
        self.assertIn("2 files, 1 problem\n", output)

    def test_going_down_is_fine(self):
        status, output = run_check({
            "src/model/a.cc": '// A.\n#include "bareattn/model.h"\n#include "text/b.h"\n#include "base/c.h"\n#include <vector>\n',
            "src/observe/a.cc": '// A.\n#include "observe/b.h"\n#include "attention/c.h"\n',
            "include/bareattn/model.h": '// A.\n#include "bareattn/tokenizer.h"\n',
            "cli/main.cc": '// A.\n#include "bareattn/bareattn.h"\n#include "options.h"\n',
            "src/kernels/isa/a.cc": "// A.\n#include <immintrin.h>\n",
            "tests/any_test.cc": '// A.\n#include "kernels/x.h"\n',
        })
        self.assertEqual(status, 0, output)
        self.assertIn("6 files, 0 problems", output)

    def test_up(self):
        self.expect("src/kernels/a.cc", '#include "attention/b.h"\n', ":2:", "floor 2", "floor 1", "only go down")

    def test_up_through_spaces(self):
        self.expect("src/base/a.h", '  #  include   "model/b.h"\n', ":2:", "only go down")

    def test_up_by_public_header(self):
        self.expect("src/attention/a.cc", '#include "bareattn/model.h"\n', "floor 3")
        self.expect("src/attention/a.cc", "#include <bareattn/model.h>\n", "floor 3")

    def test_public_header_up(self):
        self.expect("include/bareattn/attention.h", '#include "bareattn/observation.h"\n', "floor 4")

    def test_public_header_to_internal(self):
        self.expect("include/bareattn/page.h", '#include "base/checked.h"\n', "bareattn/ headers only")

    def test_sideways(self):
        self.expect("src/text/a.cc", '#include "model/b.h"\n', "one floor")

    def test_door_to_internal(self):
        for door in ("cli", "python", "bench", "examples"):
            self.expect(f"{door}/a.cc", '#include "base/checked.h"\n', "is a door")

    def test_unknown_folder_and_header(self):
        self.expect("src/attic/a.cc", "\n", "no floor")
        self.expect("include/bareattn/unheard.h", "\n", "no floor")
        self.expect("cli/a.cc", '#include "bareattn/unheard.h"\n', "without a floor")

    def test_a_header_is_on_the_floor_of_its_source(self):
        files = {"include/bareattn/extra.h": "// E.\n", "src/observe/extra.cc": "// E.\n",
                 "src/view/a.cc": '// A.\n#include "bareattn/extra.h"\n'}
        self.assertEqual(run_check(files)[0], 0)
        status, output = run_check(files | {"src/model/a.cc": '// A.\n#include "bareattn/extra.h"\n'})
        self.assertEqual(status, 1, output)
        self.assertIn("src/model/a.cc:2: includes bareattn/extra.h (floor 4) from model (floor 3)", output)

    def test_intrinsics_elsewhere(self):
        for header in ("immintrin.h", "emmintrin.h", "x86intrin.h", "arm_neon.h"):
            self.expect("src/kernels/a.cc", f"#include <{header}>\n", "src/kernels/isa/")
        self.expect("src/model/a.cc", "#include <hwy/highway.h>\n", "src/kernels/")

    def test_attention_sees_no_threads_or_files(self):
        self.expect("src/attention/a.cc", "#include <thread>\n", "no threads")

    def test_tables_with_a_fixed_hash(self):
        self.expect("src/text/a.cc", "#include <unordered_map>\n", ":2:", "base/seeded_hash.h")
        self.expect("cli/a.h", "#include <unordered_set>\n", "an ordered container")

    def test_json_has_one_reader(self):
        self.expect("src/steer/a.cc", "auto j = nlohmann::ordered_json::parse(text);\n", "base/json.h")

    def test_the_library_never_prints(self):
        self.expect("src/model/a.cc", 'void f() { fprintf(stderr, "x"); }\n', "never prints")
        self.expect("src/model/a.cc", "void f() { std::abort(); }\n", "never prints")
        self.expect("src/model/a.cc", "#include <iostream>\n", "never prints")
        status, output = run_check({"src/model/a.cc": '// A.\n// printf( is not\nauto s = "exit(1)"; snprintf(b, 1, "x");\n'})
        self.assertEqual(status, 0, output)

    def test_long_file(self):
        self.expect("src/model/a.cc", "\n" * 450, "451 lines")

    def test_no_opening_paragraph(self):
        status, output = run_check({"src/model/a.cc": "#pragma once\nint x;\n", "tools/b.py": "import sys\n"})
        self.assertEqual(status, 1, output)
        self.assertIn("src/model/a.cc:1: begin with a paragraph", output)
        self.assertIn("tools/b.py:1: begin with a paragraph", output)

    def test_a_comment_that_names_a_file_which_is_not_there(self):
        self.expect("src/base/a.h", "// Next: gone.h, ok.h and base/ok.h.\n", ":2:", "names gone.h")

    def test_more_than_five_parameters(self):
        six = "int a, const std::vector<int>& b, float* c, int d, int e = 3, double f"
        self.expect("src/base/a.h", f"void much({six});\n", ":2:", "much has 6 parameters")
        self.expect("src/base/a.h", f"auto much = []({six}) {{}};\n", "has 6 parameters")
        status, output = run_check({"src/base/a.cc": "// A.\nint x = f(a + 1, b, c * 2, d, g(e), 7);\n"})
        self.assertEqual(status, 0, output)

    def test_nothing_to_check_is_a_failure(self):
        status, output = run_check({"README.md": "x"})
        self.assertEqual(status, 1)
        self.assertIn("nothing was checked", output)

    def test_this_repository_is_clean(self):
        done = subprocess.run([sys.executable, CHECK], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)


class CheckLinks(unittest.TestCase):
    def run_on(self, files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                (Path(root) / name).write_text(text)
            done = subprocess.run([sys.executable, ROOT / "tools/check_links.py", root], capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

    def test_broken_links_are_named(self):
        status, output = self.run_on({"a.md": "# One\n[x](b.md) [y](gone.md)\n", "b.md": "[z](a.md#two)\n"})
        self.assertEqual(status, 1)
        self.assertIn("a.md:2: link to gone.md: there is no such file", output)
        self.assertIn("b.md:1: link to a.md#two: a.md has no such heading", output)

    def test_good_links_code_and_comments_pass(self):
        status, output = self.run_on({"a.md": "# One two\n[x](#one-two) [w](https://example.org/)\n```\n[n](no)\n```\n"
                                              "`[n](no)` <!-- [n](no)\n -->\n"})
        self.assertEqual(status, 0, output)


class TestReport(unittest.TestCase):
    def report(self, files, *failed):
        with tempfile.TemporaryDirectory() as root:
            for order, (name, text) in enumerate(files.items()):
                (Path(root) / name).parent.mkdir(exist_ok=True)
                (Path(root) / name).write_text(text)
                os.utime(Path(root) / name, (order, order))
            done = subprocess.run([sys.executable, ROOT / "tools/test_report.py", root, "--parts", "p", "--failed", *failed],
                                  capture_output=True, text=True)
            return done.returncode, done.stdout + done.stderr

    gtest = """<testsuites><testsuite name="S">
      <testcase name="ok" classname="S" status="run" result="completed"/>
      <testcase name="skip" classname="S" status="run" result="skipped"><skipped message="no such CPU"/></testcase>
      {more}</testsuite></testsuites>"""
    ctest = """<testsuite><testcase name="a_test" classname="a_test" status="{a}"/>
      <testcase name="consumer" classname="consumer" status="{consumer}"/></testsuite>"""

    def test_counts_cases_once(self):
        status, output = self.report({"gtest/a_test.xml": self.gtest.format(more=""),
                                      "ctest.xml": self.ctest.format(a="run", consumer="run"),
                                      "browser.log": "\u2139 pass 7\n\u2139 fail 0\n\u2139 skipped 1\n"})
        self.assertEqual(status, 0, output)
        self.assertIn("SKIPPED: S.skip: no such CPU", output)
        self.assertIn("===== 9 passed, 2 skipped in", output)

    def test_failures_fail(self):
        bad = '<testcase name="bad" classname="S"><failure message="1 != 2"/></testcase>'
        status, output = self.report({"gtest/a_test.xml": self.gtest.format(more=bad)})
        self.assertEqual(status, 1)
        self.assertIn("FAILED: S.bad: 1 != 2", output)
        self.assertEqual(self.report({"browser.log": "# pass 3\n# fail 1\n"})[0], 1)
        self.assertEqual(self.report({"ctest.xml": self.ctest.format(a="run", consumer="fail")})[0], 1)

    def test_a_program_started_again_by_its_own_test_does_not_count(self):
        bad = '<testcase name="inner" classname="S"><failure message="as expected"/></testcase>'
        status, output = self.report({"gtest/a_test.xml": self.gtest.format(more=bad),
                                      "gtest/a_test_1.xml": self.gtest.format(more=""),
                                      "ctest.xml": self.ctest.format(a="run", consumer="run")})
        self.assertEqual(status, 0, output)
        self.assertIn("===== 2 passed, 1 skipped", output)

    def test_a_program_that_died_fails(self):
        status, output = self.report({"gtest/a_test.xml": self.gtest.format(more=""),
                                      "ctest.xml": self.ctest.format(a="fail", consumer="run")})
        self.assertEqual(status, 1)
        self.assertIn("FAILED: ctest.a_test", output)

    def test_a_failed_part_fails_and_so_does_nothing(self):
        status, output = self.report({"gtest/a_test.xml": self.gtest.format(more="")}, "browser")
        self.assertEqual(status, 1)
        self.assertIn("FAILED PART: browser", output)
        status, output = self.report({})
        self.assertEqual(status, 1)
        self.assertIn("NOTHING RAN", output)


class BuildProgress(unittest.TestCase):
    STEPS = [f"[{n}/200] Building CXX object CMakeFiles/bareattn.dir/src/base/f{n}.cc.o\n" for n in range(1, 201)]

    def follow(self, lines, terminal):
        out = io.StringIO()
        times = itertools.count(0, 1)
        build_progress.follow(lines, out, terminal, clock=lambda: next(times))
        return out.getvalue()

    def test_a_log_gets_ten_lines(self):
        said = self.follow(self.STEPS, False).splitlines()
        self.assertEqual(len(said), 10)
        self.assertIn("100 %  200 of 200", said[-1])

    def test_a_terminal_gets_one(self):
        said = self.follow(self.STEPS, True)
        self.assertNotIn("\n", said)
        self.assertIn("src/base/f150.cc", said)
        self.assertTrue(said.endswith("\r\x1b[K"))
        self.assertTrue(all(len(line) < 80 for line in said.split("\r\x1b[K")))

    def test_errors_pass(self):
        said = self.follow([*self.STEPS[:3], "FAILED: f4.cc.o\n", "f4.cc:1: error: no\n"], True)
        self.assertIn("FAILED: f4.cc.o\nf4.cc:1: error: no\n", said)


class Documents(unittest.TestCase):
    def test_the_contents_page_lists_every_header(self):
        headers = {p.name for p in (ROOT / "include/bareattn").glob("*.h")} - {"bareattn.h"}
        text = (ROOT / "include/bareattn/bareattn.h").read_text()
        self.assertEqual([h for h in sorted(headers) if f'"bareattn/{h}"' not in text], [])

    def test_the_readme_shows_the_example_that_is_tested(self):
        code = (ROOT / "README.md").read_text().split("```cpp\n")[1].split("```")[0]
        example = (ROOT / "examples/heads.cc").read_text()
        for line in filter(None, code.splitlines()):
            self.assertIn(line + "\n", example)


if __name__ == "__main__":
    unittest.main()
