"""The tools of the house: each rule of check_floors catches a planted violation, and the repository itself is clean."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECK = ROOT / "tools" / "check_floors.py"


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

    def test_nothing_to_check_is_a_failure(self):
        status, output = run_check({"README.md": "x"})
        self.assertEqual(status, 1)
        self.assertIn("nothing was checked", output)

    def test_this_repository_is_clean(self):
        done = subprocess.run([sys.executable, CHECK], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
