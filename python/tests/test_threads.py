"""Where the system gives fewer threads: the same result, and a RuntimeWarning. tests/faults/failing.c stands for the system."""
import os
import subprocess
import sys

from places import ROOT

CODE = """
import warnings
import numpy as np
import bareattn
x = np.random.default_rng(0).standard_normal((1, 2, 64, 16), dtype=np.float32)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    out = bareattn.attention(x, x, x, threads=300)
assert (out == bareattn.attention(x, x, x, threads=1)).all()
print(*(f"{w.category.__name__}: {w.message}" for w in caught))
"""


def test_fewer_threads_are_a_warning():
    failing = ROOT / "build/tests/libfailing.so"
    assert failing.exists(), f"{failing} is built with the tests"
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "LD_PRELOAD": str(failing), "BAREATTN_FAIL_THREAD": "2", "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("RuntimeWarning: the system gave 2 of 299 more threads"), done.stdout
