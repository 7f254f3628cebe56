"""Models with other tokenizers than SmolLM2's, from the file to the page: SentencePiece's pieces and Llama 3's words."""
import json
import os
import subprocess

import pytest
import tiny

BIN = os.environ["BAREATTN_BIN"]


def run(*args, folder):
    done = subprocess.run([BIN, *map(str, args)], capture_output=True, timeout=120, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


# Of the pieces "▁t" is the best, so that no text comes to "th"; "the" of llama-bpe is a token that no merge makes.
PIECES = {"t": 0, "h": 0, "e": 0, "▁": 0, "th": 1, "he": 2, "▁t": 4, "▁the": 3, "end": 0}
KINDS = {
    "pieces": {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(246)), *PIECES],
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 246, *[1] * 8, 4],
        "tokenizer.ggml.scores": [*[0.0] * 249, *map(float, PIECES.values())]},
    "llama-bpe": {
        "tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.bos_token_id": 256,
        "tokenizer.ggml.token_type": [*[1] * 256, 3, 3],
        "tokenizer.ggml.tokens": [*tiny.byte_letters()[:-2], "the", "th", "<|begin|>", "<|end|>"]},
}
TEXT = "the endth the\n"
TOKENS = {
    "pieces": ["<s>", " the", " ", "end", " t", "h", " the", "\n"],
    "llama-bpe": ["<|begin|>", "the", " ", "e", "n", "d", "th", " ", "th", "e", "\n"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_another_tokenizer_is_looked_at(kind, tmp_path):
    model = tiny.write(tmp_path / f"{kind}.gguf", KINDS[kind])
    (tmp_path / "text.txt").write_text(TEXT)
    done = run("look", "text.txt", "-m", model, "-o", "page.html", "--json", folder=tmp_path)
    document = json.loads(done.stdout)
    assert document["model"]["warnings"] == []
    assert document["text"]["tokens"] == TOKENS[kind]
    assert "<html" in (tmp_path / "page.html").read_text()[:300]
    ids = json.loads(run("tokenize", "text.txt", "-m", model, "--json", folder=tmp_path).stdout)
    assert ids == document["text"]["ids"]
    info = run("info", model, folder=tmp_path).stdout.decode()
    assert "258 tokens" in info and TOKENS[kind][0] in info


def test_a_pre_tokenizer_that_is_not_known_is_refused_by_name(tmp_path):
    model = tiny.write(tmp_path / "other.gguf", {"tokenizer.ggml.pre": "of-tomorrow"})
    done = subprocess.run([BIN, "look", "a text", "-m", model, "-o", tmp_path / "page.html"], capture_output=True,
                          timeout=120, check=False)
    assert done.returncode == 2 and b"of-tomorrow" in done.stderr and b"llama-bpe" in done.stderr
