#!/usr/bin/env python3
"""Makes tokenizer_*.bin.gz and tokenizer_golden.json: what two independent tokenizers say about some 12,000 lines.

    python tests/golden/make_tokenizer_golden.py --model models/SmolLM2-135M-Instruct.Q4_1.gguf

Needs Python packages that the tests do not: gguf, llama-cpp-python, tokenizers, jinja2. The lines come from
tokenizer_lines.py (deterministic, nothing is downloaded). Three answers are made for each line and compared here:

  llama.cpp    llama_tokenize on the model file itself (vocabulary only)
  HF           Hugging Face tokenizers: BPE with the file's vocabulary and merges, pre-tokenizers
               Digits(individual_digits) and ByteLevel(use_regex), special tokens as added tokens
  definition   what src/text promises, from HF's parts: words by HF's pre-tokenizers, each byte that is in no valid
               UTF-8 character counting as one U+FFFD there but keeping its own value; HF's BPE inside each word; a byte
               that the vocabulary cannot spell as U+FFFD in three tokens and two hexadecimal digits

Lines of valid UTF-8 that the vocabulary can spell: all three must be equal, or this script fails. The others are listed
with their counts in the JSON file. Format of the .bin (before gzip), all little-endian: "BATG2\\n", u32 records, then for
each: u8 flags (1 = parse_special, 2 = llama.cpp's view follows), u32 length + line, u32 count + u16 ids of the
definition, and with flag 2 the line as llama.cpp reads it (u32 length + bytes) and its ids for the raw line
(u32 count + u16). tokenizer_variants.bin.gz: "BATV1\\n", then for each other pre-tokenizer its name (u32 length + bytes),
u32 count, and u32 line + ids.
"""
import argparse
import gzip
import hashlib
import importlib.metadata
import json
import pathlib
import struct
import sys

import gguf
import jinja2
import numpy as np
from llama_cpp import Llama
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from tokenizer_lines import lines, sweep_block

HERE = pathlib.Path(__file__).parent
REPLACEMENT = "\ufffd"


def byte_letters():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(rest)}


LETTER = byte_letters()


def characters(raw):
    """(byte length, character) of each character; U+FFFD and 1 for each byte that is in none."""
    i = 0
    while i < len(raw):
        for n in (1, 2, 3, 4):
            try:
                yield n, raw[i:i + n].decode()
                i += n
                break
            except UnicodeDecodeError:
                pass
        else:
            yield 1, REPLACEMENT
            i += 1


def llama_view(raw):
    """The line as llama.cpp decodes it: it takes surrogates as they are and checks neither overlong forms nor the upper
    limit. None where it reads another character than is written, or would end the process."""
    out, i = b"", 0
    while i < len(raw):
        lead = raw[i]
        n = 1 if lead < 0x80 else 0 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4 if lead < 0xF8 else 0
        part = raw[i:i + n]
        if n == 0 or len(part) < n or any(b & 0xC0 != 0x80 for b in part[1:]):
            out += REPLACEMENT.encode()
            i += 1
            continue
        value = lead if n == 1 else lead & (0xFF >> (n + 1))
        for b in part[1:]:
            value = value << 6 | b & 0x3F
        if value > 0x10FFFF or value < (0, 0, 0x80, 0x800, 0x10000)[n]:
            return None
        out += part
        i += n
    return out


class Oracles:
    def __init__(self, path):
        fields = gguf.GGUFReader(path).fields
        self.tokens = fields["tokenizer.ggml.tokens"].contents()
        types = fields["tokenizer.ggml.token_type"].contents()
        merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
        self.template = fields["tokenizer.chat_template"].contents()
        self.special = [t for t, kind in zip(self.tokens, types) if kind == 3]
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.bpe = models.BPE(self.ids, merges)
        self.cut = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ])
        self.plain, self.with_special = (Tokenizer(models.BPE(self.ids, merges)) for _ in range(2))
        self.plain.pre_tokenizer = self.with_special.pre_tokenizer = self.cut
        self.with_special.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in self.special])
        self.llama_model = Llama(path, vocab_only=True, verbose=False)
        self.unspellable = {b for b in range(256) if LETTER[b] not in self.ids}
        self.mark = [self.ids[LETTER[b]] for b in REPLACEMENT.encode()]

    def llama(self, raw, special):
        return self.llama_model.tokenize(raw, add_bos=False, special=special) if raw else []

    def hf(self, text, special):
        return (self.with_special if special else self.plain).encode(text, add_special_tokens=False).ids

    def word(self, raw):
        ids, part = [], ""
        for b in [*raw, None]:
            if b is not None and b not in self.unspellable:
                part += LETTER[b]
                continue
            ids += [t.id for t in self.bpe.tokenize(part)] if part else []
            part = ""
            if b is not None:
                ids += self.mark + [self.ids[d] for d in f"{b:02X}"]
        return ids

    def fragment(self, raw):
        lengths, text = [], ""
        for n, c in characters(raw):
            lengths.append(n)
            text += c
        starts = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        words = self.cut.pre_tokenize_str(text) if text else []
        return [i for _, (a, b) in words for i in self.word(raw[starts[a]:starts[b]])]

    def definition(self, raw, special):
        at, ids = 0, []
        while special:
            found = [(raw.find(t.encode(), at), -len(t), t) for t in self.special]
            found = min((f for f in found if f[0] >= 0), default=None)
            if not found:
                break
            ids += self.fragment(raw[at:found[0]]) + [self.ids[found[2]]]
            at = found[0] + len(found[2])
        return ids + self.fragment(raw[at:])


def block(data):
    return struct.pack("<I", len(data)) + data


def id_block(ids):
    return struct.pack("<I", len(ids)) + np.asarray(ids, "<u2").tobytes()


def fnv(ids):
    value = 0xCBF29CE484222325
    for b in np.asarray(ids, "<u4").tobytes():
        value = (value ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def make_lines(oracles):
    records, report, failures = [], {}, []

    def count(what):
        report[what] = report.get(what, 0) + 1

    for kind, raw, special in lines(HERE):
        expected = oracles.definition(raw, special)
        view = llama_view(raw)
        flags = 1 if special else 0
        extra = b""
        valid = is_utf8(raw)
        spellable = not oracles.unspellable & set(raw)
        count(f"kind {kind}")
        if valid:
            llama, hf = oracles.llama(raw, special), oracles.hf(raw.decode(), special)
            if spellable:
                count("valid and spellable: llama.cpp = HF = definition")
                if not llama == hf == expected:
                    failures.append((kind, raw, llama, hf, expected))
            else:
                count("unspellable bytes")
                count("unspellable bytes: definition without escapes " +
                      ("= llama.cpp" if strip(expected, oracles) == llama else "differs from llama.cpp"))
                count("unspellable bytes: llama.cpp " + ("= HF" if llama == hf else "differs from HF"))
        elif view is None:
            count("invalid UTF-8: not asked of llama.cpp (overlong form, or above U+10FFFF)")
        else:
            count("invalid UTF-8: llama.cpp compared on the line as it reads it")
            llama = oracles.llama(raw, special)
            count("invalid UTF-8: definition " + ("= llama.cpp (surrogates only)" if expected == llama
                                                  else "differs from llama.cpp, which loses bytes"))
            flags |= 2
            extra = block(view) + id_block(llama)
            if oracles.definition(view, special) != llama and not oracles.unspellable & set(view):
                failures.append((kind, raw, llama, None, oracles.definition(view, special)))
        records.append(bytes([flags]) + block(raw) + id_block(expected) + extra)
    for kind, raw, llama, hf, expected in failures[:20]:
        print(f"{kind}: {raw[:200]!r}\n  llama.cpp  {llama[:40]}\n  HF         {hf and hf[:40]}\n  definition {expected[:40]}")
    if failures:
        sys.exit(f"{len(failures)} lines on which the oracles differ")
    return records, report


def is_utf8(raw):
    try:
        raw.decode()
        return True
    except UnicodeDecodeError:
        return False


def strip(ids, oracles):
    out, i = [], 0
    while i < len(ids):
        if ids[i:i + 3] == oracles.mark:
            i += 5
        else:
            out.append(ids[i])
            i += 1
    return out


def make_sweep(oracles):
    """Every code point but the surrogates, in blocks of 256, each in six neighbourhoods: hashes of the ids, by HF.
    llama.cpp's tables are of Unicode 15.1 and HF's of Unicode 16, so that they differ in blocks with newer letters; the
    models were trained with HF's, so those count."""
    hashes, differences = [], []
    for first in range(0, 0x110000, 256):
        text = sweep_block(first)
        raw = text.encode()
        ids = oracles.definition(raw, False)
        hashes.append(fnv(ids))
        if oracles.unspellable & set(raw):
            continue  # controls, and the unassigned planes 4 to 11: both oracles drop bytes there
        llama, hf = oracles.llama(raw, False), oracles.hf(text, False)
        assert hf == ids, f"block U+{first:04X}"
        if llama != ids:
            differences.append(f"U+{first:04X}")
    return hashes, differences


def make_chats(oracles):
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(oracles.template)
    user, system = {"role": "user", "content": "Who are you?"}, {"role": "system", "content": "Answer in\nrhyme."}
    reply = {"role": "assistant", "content": "I am SmolLM, 'small' \\n and \"quick\"."}
    chats = [[], [user], [system, user], [user, reply, user], [system], [user, system], [reply]]
    out = []
    for messages in chats:
        for prompt in (False, True):
            text = template.render(messages=messages, add_generation_prompt=prompt)
            raw = text.encode()
            ids = oracles.llama(raw, True)
            assert ids == oracles.hf(text, True) == oracles.definition(raw, True)
            out.append({"messages": messages, "add_generation_prompt": prompt, "text": text, "ids": ids})
    return out


def make_variants(path, records, oracles):
    """The other pre-tokenizers, on every fourth line that has one answer: llama.cpp told to use them for this file."""
    out = b"BATV1\n"
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    hf = Tokenizer(oracles.bpe)
    hf.pre_tokenizer = cut
    for name in ("gpt-2", "default"):
        llama = Llama(path, vocab_only=True, verbose=False, kv_overrides={"tokenizer.ggml.pre": name})
        items = b""
        count = 0
        for index, (_, raw, special) in enumerate(lines(HERE)):
            if index % 4 or special or not raw or not is_utf8(raw) or oracles.unspellable & set(raw):
                continue
            ids = llama.tokenize(raw, add_bos=False, special=False)
            assert name != "gpt-2" or ids == hf.encode(raw.decode()).ids, raw
            items += struct.pack("<I", index) + id_block(ids)
            count += 1
        out += block(name.encode()) + struct.pack("<I", count) + items
    return out


def write_gzip(name, data):
    with open(HERE / name, "wb") as f:
        with gzip.GzipFile(fileobj=f, mode="wb", filename="", mtime=0, compresslevel=9) as z:
            z.write(data)


def make_long(oracles):
    """One word of a megabyte, and the like: too long to store, so count and hash. HF alone: equal to llama.cpp on the
    long runs among the lines, and llama.cpp's regular expressions are slow here."""
    size, out = 1_000_000, []
    for unit in ("a", " ", "\n", "0", "-", "é", "漢", "ab", "=-", "\t ", "🙂", "é́"):
        text = (unit * size)[:size]
        ids = oracles.hf(text, False)
        out.append({"unit": unit, "characters": size, "count": len(ids), "fnv": fnv(ids)})
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    path = parser.parse_args().model
    oracles = Oracles(path)
    records, report = make_lines(oracles)
    data = b"BATG2\n" + struct.pack("<I", len(records)) + b"".join(records)
    write_gzip("tokenizer_lines.bin.gz", data)
    write_gzip("tokenizer_variants.bin.gz", make_variants(path, records, oracles))
    sweep, differences = make_sweep(oracles)
    golden = {
        "about": "made by make_tokenizer_golden.py, which says what this means",
        "model_sha256": hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest(),
        "versions": {p: importlib.metadata.version(p) for p in ("llama-cpp-python", "tokenizers", "gguf", "jinja2")},
        "lines": len(records),
        "report": dict(sorted(report.items())),
        "unspellable_bytes": sorted(oracles.unspellable),
        "sweep_blocks_where_llama_differs": differences,
        "sweep": sweep,
        "chat_template": oracles.template,
        "chats": make_chats(oracles),
        "long": make_long(oracles),
    }
    (HERE / "tokenizer_golden.json").write_text(json.dumps(golden, indent=1, ensure_ascii=True) + "\n")
    print(json.dumps({k: golden[k] for k in ("lines", "report", "sweep_blocks_where_llama_differs")}, indent=1)[:6000])


if __name__ == "__main__":
    main()
