"""Writes docs/conformance.md: every ONNX node test of attention by name, and whether bareattn passes it.

    python tests/conformance/make_table.py
"""

from __future__ import annotations

import onnx
import test_onnx_attention as tests


def main() -> None:
    rows, failed = [], 0
    for name, case in sorted(tests.CASES.items()):
        try:
            tests.compare(case)
            rows.append(f"| {name} | pass | |")
        except Exception as error:  # noqa: BLE001: any failure is a row
            failed += 1
            rows.append(f"| {name} | **fail** | {str(error).strip().splitlines()[0][:100]} |")
    attention = sum(name.startswith("test_attention_") for name in tests.CASES)
    text = [
        "# Conformance with the ONNX operators",
        "",
        f"Written by `tests/conformance/make_table.py` with onnx {onnx.__version__}: {len(rows) - failed} of {len(rows)} "
        f"node tests pass ({attention} `test_attention_*`, {len(rows) - attention} `test_flexattention_*`; expanded forms "
        "aside, none skipped), with the tolerance of each test's file. `tests/conformance/onnx_operator.py` maps the "
        "operators to `bareattn`: `Attention` runs on the kernels throughout; `FlexAttention` evaluates its score "
        "function's graph outside and does scores, softmax and blend on the kernels (float64: on the reference; a "
        "`prob_mod` blends outside).",
        "",
        "| node test | result | |",
        "|---|---|---|",
        *rows,
        "",
    ]
    tests.DOCUMENT.write_text("\n".join(text))
    print(f"{len(rows) - failed} of {len(rows)} pass")


if __name__ == "__main__":
    main()
