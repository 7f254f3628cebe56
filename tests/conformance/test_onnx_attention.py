"""Every test_attention_* and test_flexattention_* node test of the installed onnx package, by name, on bareattn.

Expanded forms (the same operator written out in other operators) are aside: they do not contain the operator. Nothing is
skipped. The numbers of tests are asserted, so that a new onnx package with more of them cannot pass unnoticed, and
docs/conformance.md must say what happens here (make_table.py writes it).
"""

from __future__ import annotations

import pathlib
import warnings

import numpy as np
import pytest

import onnx_operator

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "conformance.md"


def load_cases() -> dict:
    from onnx.backend.test.loader import load_node_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_node_model_tests()
    names = ("test_attention_", "test_flexattention")
    return {t.name: t for t in tests if t.name.startswith(names) and "_expanded" not in t.name}


CASES = load_cases()


def compare(case) -> None:
    """Raises AssertionError where an output is not what the test's file says, with the test's own tolerance."""
    for inputs, expected in case.data_sets:
        got = onnx_operator.run_model(case.model, list(inputs))
        assert len(got) == len(expected)
        for mine, theirs in zip(got, expected, strict=True):
            assert mine.shape == theirs.shape
            assert mine.dtype == theirs.dtype
            if theirs.dtype.name == "bfloat16":  # as onnx.backend.test.runner compares: two bfloat16 ulps
                np.testing.assert_allclose(mine.astype(np.float32), theirs.astype(np.float32),
                                           rtol=max(case.rtol, 2**-6), atol=case.atol)
            else:
                np.testing.assert_allclose(mine, theirs, rtol=case.rtol, atol=case.atol)


@pytest.mark.parametrize("name", sorted(CASES))
def test_node(name: str) -> None:
    compare(CASES[name])


def test_none_is_missing() -> None:
    import onnx

    attention = [name for name in CASES if name.startswith("test_attention_")]
    flex = [name for name in CASES if name.startswith("test_flexattention")]
    if onnx.__version__ == "1.23.2":
        assert (len(attention), len(flex)) == (93, 11)
    assert len(attention) >= 93
    assert len(flex) >= 11


def test_the_document_names_each() -> None:
    text = DOCUMENT.read_text()
    missing = [name for name in CASES if f"| {name} | pass |" not in text]
    assert not missing, f"docs/conformance.md does not say that these pass; run tests/conformance/make_table.py: {missing}"
