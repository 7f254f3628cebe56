"""Makes quantize_golden.json: blocks of 32 weights and what the `gguf` Python package (ggml's own definition of its
storage types) makes of them. Run with the packages of tests/golden/requirements.txt:  python make_quantize_golden.py
"""
import importlib.metadata
import json
import pathlib

import gguf
import numpy as np

TYPES = {"f16": gguf.GGMLQuantizationType.F16, "bf16": gguf.GGMLQuantizationType.BF16,
         "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0,
         "q4_1": gguf.GGMLQuantizationType.Q4_1, "q5_0": gguf.GGMLQuantizationType.Q5_0,
         "q5_1": gguf.GGMLQuantizationType.Q5_1}


def blocks():
    random = np.random.default_rng(20261124)
    out = [np.zeros(32), np.full(32, 0.25), np.full(32, -3.0), np.linspace(-1, 1, 32), np.linspace(0, 127, 32),
           np.linspace(-8, 7, 32), np.where(np.arange(32) % 2, 1.5, -1.5), np.eye(1, 32, 5)[0] * -7,
           np.eye(1, 32, 31)[0] * 1e-6, (np.arange(32) - 15.5) * 2.0 ** -20, np.arange(32) / 2.0 - 8]
    out += [random.normal(0, scale, 32) for scale in (1e-4, 0.02, 0.02, 0.02, 1, 30) for _ in range(8)]
    out += [random.standard_cauchy(32) for _ in range(8)]
    return np.array(out, dtype=np.float32)


def main():
    weights = blocks()
    golden = {"gguf": importlib.metadata.version("gguf"), "weights": weights.tobytes().hex()}
    for name, kind in TYPES.items():
        golden[name] = gguf.quants.quantize(weights, kind).tobytes().hex()
    target = pathlib.Path(__file__).with_name("quantize_golden.json")
    target.write_text(json.dumps(golden, indent=0) + "\n", encoding="utf-8")
    print(target.name, len(weights), "blocks")


if __name__ == "__main__":
    main()
