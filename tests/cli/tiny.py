"""A model file of 2 layers that loads and runs in a few milliseconds, for tests that run the command hundreds of times."""
import random
import struct

WIDTH, HEADS, KV_HEADS, HEAD, MLP, VOCABULARY = 64, 4, 2, 16, 96, 258


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def byte_letters():
    """The letters that byte-level BPE writes bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(spare)) for byte in range(256)]


def write(path, change=None):
    """`change`: values that are other than here."""
    values = {
        "general.architecture": "llama", "general.name": "tiny", "llama.block_count": 2, "llama.context_length": 512,
        "llama.embedding_length": WIDTH, "llama.feed_forward_length": MLP, "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS, "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0, "llama.vocab_size": VOCABULARY, "llama.rope.dimension_count": HEAD,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.eos_token_id": 257,
        "tokenizer.ggml.tokens": [*byte_letters(), "th", "<|im_end|>"], "tokenizer.ggml.merges": ["t h"],
    }
    values.update(change or {})
    shapes = {"token_embd.weight": (WIDTH, VOCABULARY), "output_norm.weight": (WIDTH,)}
    for layer in range(2):
        for name, shape in {"attn_norm": (WIDTH,), "attn_q": (WIDTH, HEADS * HEAD), "attn_k": (WIDTH, KV_HEADS * HEAD),
                            "attn_v": (WIDTH, KV_HEADS * HEAD), "attn_output": (HEADS * HEAD, WIDTH), "ffn_norm": (WIDTH,),
                            "ffn_gate": (WIDTH, MLP), "ffn_up": (WIDTH, MLP), "ffn_down": (MLP, WIDTH)}.items():
            shapes[f"blk.{layer}.{name}.weight"] = shape
    head, data, draw = b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(values)), b"", random.Random(1)
    for key, value in values.items():
        head += text(key)
        if isinstance(value, list):
            one, kind = (text, 8) if isinstance(value[0], str) else (struct.Struct("<f").pack, 6) \
                if isinstance(value[0], float) else (struct.Struct("<i").pack, 5)
            head += struct.pack("<IIQ", 9, kind, len(value)) + b"".join(map(one, value))
        elif isinstance(value, str):
            head += struct.pack("<I", 8) + text(value)
        else:
            head += struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)
    for name, shape in shapes.items():
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data))
        count = shape[0] * (shape[1] if len(shape) == 2 else 1)
        data += struct.pack(f"<{count}f", *(draw.gauss(0, 0.15) for _ in range(count)))
        data += b"\0" * (-len(data) % 32)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path
