"""Makes every_type.gguf, a file with one tensor of every storage type that is read here, and dequant_golden.json, the
SHA-256 of what the `gguf` Python package (ggml's own definition of its types) makes of each tensor's bytes, as f32.
The bytes are drawn; scales are kept finite, and the first blocks have the scales zero, smallest and largest.
Run with the packages of tests/golden/requirements.txt:  python make_dequant_golden.py
"""
import hashlib
import importlib.metadata
import json
import pathlib

import gguf
import numpy as np

from gguf import GGMLQuantizationType as Type

ROWS, COLUMNS = 6, 256
SCALES = {  # where in a block f16 scales stand
    Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q2_K: [80, 82], Type.Q3_K: [108],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208], Type.IQ4_NL: [0], Type.IQ4_XS: [0],
}


def blocks_of(kind, random):
    weights, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (ROWS * COLUMNS // weights, size), dtype=np.uint8)
    for at in SCALES.get(kind, []):
        blocks[:, at + 1] &= 0xBF  # no exponent of ones
        for block, scale in enumerate((0x0000, 0x0001, 0x8001, 0x7BFF)):
            blocks[block, at : at + 2] = scale & 255, scale >> 8
    if kind == Type.MXFP4:
        blocks[:5, 0] = 0, 1, 2, 254, 255
    return blocks.reshape(ROWS, -1)


def main():
    random = np.random.default_rng(20261130)
    folder = pathlib.Path(__file__).parent
    writer = gguf.GGUFWriter(folder / "every_type.gguf", "llama")
    golden = {"gguf": importlib.metadata.version("gguf")}
    for kind in [Type.F32, Type.F16, Type.BF16, *SCALES, Type.MXFP4]:
        if kind == Type.F32:
            stored = values = random.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32)
        elif kind == Type.F16:
            stored = random.normal(0, 1, (ROWS, COLUMNS)).astype(np.float16)
            values = stored.astype(np.float32)
        else:
            stored = gguf.quants.quantize(random.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32), kind) \
                if kind == Type.BF16 else blocks_of(kind, random)
            values = gguf.quants.dequantize(stored, kind)
        assert values.shape == (ROWS, COLUMNS) and values.dtype == np.float32, (kind, values.shape, values.dtype)
        writer.add_tensor(kind.name, stored, raw_dtype=kind)
        golden[kind.name] = hashlib.sha256(values.tobytes()).hexdigest()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (folder / "dequant_golden.json").write_text(json.dumps(golden, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
