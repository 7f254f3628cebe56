"""Faults made in model files (tools/gguf_edit.py), of the kinds that converters and loaders make, and what `bareattn
diagnose` says to each: the right name, a wrong name as an error, or nothing. Of two commands, if two are given. And 30
texts that healthy models get: ten that repeat themselves, ten of words in no order, ten plain ones. Writes
docs/figures/diagnosis_files.json and the tables of docs/diagnosis.md. A fault that costs under 0.1 nats per token on
the text is no harmful one and is not counted.

    ./x bench diagnose_files [--before COMMAND] [--fault NAME ...] [--texts] [--tables]
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from gguf_edit import Gguf  # noqa: E402
from marked import put_between  # noqa: E402

BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
FIGURES = ROOT / "docs/figures/diagnosis_files.json"
GOLDEN = ROOT / "tests/golden/text"
TEXT = (GOLDEN / "tom-sawyer.txt").read_text()[3600:4800]
TOKENS = 64
HARM = 0.1  # nats per token

LAYERS = range(30)
DIM, HALF = 64, 32
WORDS = {"before": "before", "after": "now"}
NO_NAME = ("no-prediction",)  # what is wrong is no setting: all that can be said is that the model does not predict


def each(name, layers=LAYERS):
    return [f"blk.{layer}.{name}.weight" for layer in layers]


def scaled(factor, *names):
    return lambda g: [g.scale(name, factor) for name in names]


def heads(order, dim=DIM):
    return np.concatenate([np.arange(h * dim, (h + 1) * dim) for h in order])


def reordered(count, names, inverse=False):
    """The converter's order of the rows within each head: neighbours (2i, 2i + 1) become halves apart, or the inverse."""
    one = np.arange(DIM).reshape(HALF, 2).T.ravel()  # halves from neighbours
    one = np.argsort(one) if inverse else one
    order = np.concatenate([h * DIM + one for h in range(count)])
    return lambda g: [g.move_rows(name, order) for name in names]


def moved(order, *names):
    return lambda g: [g.move_rows(name, order) for name in names]


def both(*changes):
    return lambda g: [change(g) for change in changes]


def swapped(pairs):
    return lambda g: [g.swap(a, b) for a, b in pairs]


def setting(key, value):
    return lambda g: g.__setitem__(key, value)


def stretched(factor):
    return both(setting("llama.rope.scaling.type", "linear"), setting("llama.rope.scaling.factor", float(factor)))


def spoiled(name, value, row=0):
    def change(g):
        g.blocks(name)["scale"][row, 0] = value
    return change


def added(value, *names):
    def change(g):
        for name in names:
            g.blocks(name)["scale"][...] += value
    return change


def rolled(name, by):
    def change(g):
        blocks = g.blocks(name)
        blocks[...] = np.roll(blocks, by, 0)
    return change


Q, K, V, O = each("attn_q"), each("attn_k"), each("attn_v"), each("attn_output")
TILED = heads([3 * (h % 3) + h // 3 for h in range(9)])
FAULTS = {
    "queries x 2": (scaled(2, *Q), ("wrong-scale",)),
    "queries x 1/2": (scaled(0.5, *Q), ("wrong-scale",)),
    "queries x sqrt 2": (scaled(2**0.5, *Q), ("wrong-scale",)),
    "queries / sqrt 2": (scaled(0.5**0.5, *Q), ("wrong-scale",)),
    "queries x 8": (scaled(8, *Q), ("wrong-scale",)),
    "queries / 8": (scaled(1 / 8, *Q), ("wrong-scale",)),
    "keys x 3": (scaled(3, *K), ("wrong-scale",)),
    "rope base 1,000": (setting("llama.rope.freq_base", 1000.0), ("wrong-rope-base",)),
    "rope base 10,000": (setting("llama.rope.freq_base", 10000.0), ("wrong-rope-base",)),
    "rope base 500,000": (setting("llama.rope.freq_base", 500000.0), ("wrong-rope-base",)),
    "rope base 1,000,000": (setting("llama.rope.freq_base", 1e6), ("wrong-rope-base",)),
    "positions / 2": (stretched(2), ("wrong-rope-scaling",)),
    "positions / 4": (stretched(4), ("wrong-rope-scaling",)),
    "positions x 2": (stretched(0.5), ("wrong-rope-scaling",)),
    "positions x 4": (stretched(0.25), ("wrong-rope-scaling",)),
    "rotary dimension 32": (setting("llama.rope.dimension_count", 32), ("wrong-rope-dim",)),
    "pairs of Q and K half a head apart": (both(reordered(9, Q), reordered(3, K)), ("wrong-rope-pairing",)),
    "pairs of Q half a head apart": (reordered(9, Q), ("wrong-rope-pairing",)),
    "pairs of K half a head apart": (reordered(3, K), ("wrong-rope-pairing",)),
    "Q and K reordered twice": (both(reordered(9, Q, True), reordered(3, K, True)), ("wrong-rope-pairing",)),
    "key-value heads reversed": (moved(heads([2, 1, 0]), *K, *V), ("wrong-gqa-map",)),
    "key-value heads one further": (moved(heads([1, 2, 0]), *K, *V), ("wrong-gqa-map",)),
    "query heads tiled": (both(moved(TILED, *Q), lambda g: None), ("wrong-gqa-map",) + NO_NAME),
    "keys' heads reversed, values' not": (moved(heads([2, 1, 0]), *K), ("wrong-gqa-map",) + NO_NAME),
    "values' heads reversed, keys' not": (moved(heads([2, 1, 0]), *V), ("wrong-gqa-map",) + NO_NAME),
    "query rows one further": (both(*[rolled(name, 1) for name in Q]), NO_NAME),
    "attention outputs negated": (scaled(-1, *O), NO_NAME),
    "keys and values exchanged": (swapped(zip(K, V)), NO_NAME),
    "keys and values of layer 0 exchanged": (swapped([(K[0], V[0])]), NO_NAME),
    "norms before attention x 10": (scaled(10, *each("attn_norm")), NO_NAME + ("wrong-scale",)),
    "norms before the feed-forward x 10": (scaled(10, *each("ffn_norm")), NO_NAME),
    "last norm x 10": (scaled(10, "output_norm.weight"), NO_NAME),
    "weights of norms + 1": (added(1, *each("attn_norm"), *each("ffn_norm"), "output_norm.weight"), NO_NAME),
    "embeddings not scaled (x 1/24)": (scaled(1 / 24, "token_embd.weight"), NO_NAME),
    "embeddings one row further": (rolled("token_embd.weight", 1), NO_NAME),
    "gate and up exchanged": (swapped(zip(each("ffn_gate"), each("ffn_up"))), NO_NAME),
    "feed-forward of layer 0 zero": (scaled(0, "blk.0.ffn_down.weight"), NO_NAME),
    "feed-forwards negated": (scaled(-1, *each("ffn_down")), NO_NAME),
    "norms of attention and feed-forward exchanged": (swapped(zip(each("attn_norm"), each("ffn_norm"))), NO_NAME),
    "queries zero": (scaled(0, *Q), NO_NAME + ("wrong-scale",)),
    "values zero": (scaled(0, *V), NO_NAME),
    "queries of neighbouring layers exchanged": (swapped(zip(Q[::2], Q[1::2])), NO_NAME),
    "NaN in the last feed-forward": (spoiled("blk.29.ffn_down.weight", np.nan, 5), ("not-finite",)),
    "NaN in the last layer's values": (spoiled("blk.29.attn_v.weight", np.nan, 5), ("not-finite",)),
    "NaN in the last norm": (spoiled("output_norm.weight", np.nan), ("not-finite",)),
    "NaN in the embedding of a token that is used": (spoiled("token_embd.weight", np.nan, 260), ("not-finite",)),
    "NaN in the embedding of a token that is not": (spoiled("token_embd.weight", np.nan, 40000), ("not-finite",)),
    "NaN in the queries of layer 12": (spoiled("blk.12.attn_q.weight", np.nan, 100), ("not-finite",)),
    "infinity in the norm of layer 3": (spoiled("blk.3.attn_norm.weight", np.inf), ("not-finite",)),
}


def texts():
    """30 texts for a healthy model, by kind."""
    rng = random.Random(5)
    words = (GOLDEN / "tom-sawyer.txt").read_text().split()
    names = "anvil basket candle drum easel flute globe hammer inkwell jar".split()
    repeated = {
        "one sentence": "The ferry leaves at noon and comes back in the evening. " * 40,
        "two sentences": "The light is on. Nobody is at home today, I think. " * 40,
        "a table of equal rows": "| name | value | unit |\n" + "| speed | 10 | m/s |\n" * 40,
        "numbered lines": "".join(f"{i}. The door is closed.\n" for i in range(1, 60)),
        "a a a": "a " * 300,
        "a list of zeros": "0, " * 300,
        "a log": "".join(f"2024-05-01 12:00:{i % 60:02} INFO worker: job finished\n" for i in range(40)),
        "the same word in lines": "hello\n" * 200,
        "rows of a form": "".join(f"Name: {name}\nStatus: open\nOwner: none\n\n" for name in names * 3),
        "a refrain": "Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.\n" * 9,
    }
    disordered = {}
    for i in range(5):
        disordered[f"words drawn from a novel {i + 1}"] = " ".join(rng.choice(words) for _ in range(160))
    for i in range(3):
        disordered[f"letters {i + 1}"] = " ".join("".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 8)))
                                                  for _ in range(120))
    for i in range(2):
        disordered[f"numbers {i + 1}"] = " ".join(str(rng.randint(0, 99999)) for _ in range(80))
    plain = {}
    for at in (1200, 2400, 5000, 9000, 12000):
        plain[f"tom-sawyer.txt {at}"] = (GOLDEN / "tom-sawyer.txt").read_text()[at:at + 1200]
    for at in (1500, 6500, 9000):
        plain[f"opticks.txt {at}"] = (GOLDEN / "opticks.txt").read_text()[at:at + 1200]
    plain["src/text/bpe.cc"] = (ROOT / "src/text/bpe.cc").read_text()[:1500]
    plain["viewer/package.json"] = (ROOT / "viewer/package.json").read_text()[:1500]
    return {"repeats itself": repeated, "in no order": disordered, "plain": plain}


def diagnosed(command, model, text, tokens=TOKENS):
    done = subprocess.run([command, "diagnose", "-m", model, "-t", "1", "--json", "--first", str(tokens), "--text", text],
                          capture_output=True)
    if done.returncode != 0:
        return {"refused": done.stderr.decode().strip().splitlines()[-1]}
    found = json.loads(done.stdout)
    evidence = found["evidence"]
    probes = sorted((p["nll"], p["label"]) for p in evidence["probes"] if p["nll"] is not None)
    return {"nll": evidence["nll"], "not_probed": evidence.get("not_probed"), "probes": len(probes), "best": probes[:3],
            "findings": [{key: f[key] for key in ("check", "severity", "sentence", "value")} for f in found["findings"]]}


def verdict(run, expected):
    if "refused" in run:
        return "refused"
    errors = [f["check"] for f in run["findings"] if f["severity"] == "error"]
    return "nothing" if not errors else "right" if errors[0] in expected else "wrong"


def measure_faults(commands, chosen, figures):
    healthy = diagnosed(BIN, MODEL, TEXT)
    figures["healthy_nll"] = healthy["nll"]
    figures["tokens"] = TOKENS
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/faulty.gguf"
        for name, (change, expected) in FAULTS.items():
            if chosen and name not in chosen:
                continue
            file = Gguf(MODEL)
            change(file)
            file.write(path)
            entry = figures.setdefault("faults", {}).setdefault(name, {})
            entry["expected"] = expected
            for when, command in commands.items():
                entry[when] = diagnosed(command, path, TEXT)
                entry[when]["verdict"] = verdict(entry[when], expected)
                checks = [f["check"] for f in entry[when].get("findings", [])]
                print(f"{name}: {when}: {entry[when]['verdict']} {checks} nll {entry[when].get('nll')} "
                      f"best {entry[when].get('best', [])[:2]}", flush=True)


def measure_texts(commands, figures):
    for kind, these in texts().items():
        for name, text in these.items():
            entry = figures.setdefault("texts", {}).setdefault(kind, {}).setdefault(name, {})
            for when, command in commands.items():
                entry[when] = diagnosed(command, MODEL, text)
                errors = [f["check"] for f in entry[when].get("findings", []) if f["severity"] == "error"]
                print(f"{kind}: {name}: {when}: {errors} nll {entry[when].get('nll')} {entry[when].get('not_probed')} "
                      f"best {entry[when].get('best', [])[:1]}", flush=True)


def harmful(figures, entry):
    for when in ("after", "before"):
        nll = entry.get(when, {}).get("nll", 0)
        if when in entry:
            return nll is None or not nll < figures["healthy_nll"] + HARM
    return True


def fault_tables(figures):
    faults = {name: e for name, e in figures["faults"].items() if harmful(figures, e)}
    whens = [when for when in ("before", "after") if all(when in e for e in faults.values())]
    summary = ["| of " + str(len(faults)) + " harmful faults | " + " | ".join(WORDS[w] for w in whens) + " |", "|---|" + "--:|" * len(whens)]
    for word, what in (("right", "the right name first"), ("wrong", "a wrong name, as an error"), ("nothing", "nothing"),
                       ("refused", "file refused")):
        counts = [sum(e[when]["verdict"] == word for e in faults.values()) for when in whens]
        if any(counts):
            summary.append(f"| {what} | " + " | ".join(map(str, counts)) + " |")
    lines = ["| fault in the file | nats per token | " + " | ".join(WORDS[w] for w in whens) + " |", "|---|--:|" + "---|" * len(whens)]
    for name, e in faults.items():
        nll = e[whens[-1]].get("nll")
        cells = []
        for when in whens:
            errors = [f["check"] for f in e[when].get("findings", []) if f["severity"] == "error"]
            cells.append({"refused": "refused", "nothing": "nothing"}.get(e[when]["verdict"]) or
                         f"{'' if e[when]['verdict'] == 'right' else 'wrong: '}`{errors[0]}`")
        lines.append(f"| {name} | {'-' if nll is None else f'{nll:.2f}'} | " + " | ".join(cells) + " |")
    return summary, lines


def text_table(figures):
    whens = [when for when in ("before", "after") if all(when in e for kind in figures["texts"].values() for e in kind.values())]
    lines = ["| texts | count | " + " | ".join(f"with errors, {WORDS[when]}" for when in whens) + " | not probed |",
             "|---|--:|" + "--:|" * len(whens) + "--:|"]
    for kind, these in figures["texts"].items():
        errors = [sum(any(f["severity"] == "error" for f in e[when]["findings"]) for e in these.values()) for when in whens]
        quiet = sum(bool(e[whens[-1]].get("not_probed")) for e in these.values())
        lines.append(f"| {kind} | {len(these)} | " + " | ".join(map(str, errors)) + f" | {quiet} |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", help="another command to compare with")
    parser.add_argument("--only", choices=["before", "after"], help="measure one of the two, keep the other's figures")
    parser.add_argument("--fault", action="append", default=[], help="only this fault")
    parser.add_argument("--texts", action="store_true", help="only the texts")
    parser.add_argument("--faults", action="store_true", help="only the faults")
    parser.add_argument("--tables", action="store_true", help="only write the tables from the figures there are")
    choice = parser.parse_args()
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    commands = {"before": choice.before, "after": BIN}
    commands = {when: c for when, c in commands.items() if c and choice.only in (None, when)}
    if not choice.tables:
        if not choice.texts:
            measure_faults(commands, choice.fault, figures)
        if not choice.faults and not choice.fault:
            measure_texts(commands, figures)
        FIGURES.write_text(json.dumps(figures, separators=(",", ":")) + "\n")
    tables = {}
    if "faults" in figures:
        tables["file faults"], tables["file faults one by one"] = fault_tables(figures)
    if "texts" in figures:
        tables["odd texts"] = text_table(figures)
    for marker, table in tables.items():
        print("\n".join(table) + "\n")
        put_between(ROOT / "docs/diagnosis.md", f"<!-- {marker} -->", "<!-- end -->", "\n".join(table) + "\n")


if __name__ == "__main__":
    main()
