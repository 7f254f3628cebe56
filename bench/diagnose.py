"""The matrix fault x check: every fault of `bareattn break`, over texts and seeds, and healthy runs over ten other texts.
Writes detection rate, right name (the expected check comes first), false positives, and what each first finding's
remedy brings back, to docs/figures/diagnosis.json and, as tables between markers, to docs/faults.md and
docs/diagnosis.md. Limits were set on the texts and seeds of --calibrate, which the report does not use.

Pairs of runs too: the model with less precision, and with fewer bits in its keys, against the model as it is.

    ./x bench diagnose [--calibrate] [--texts N] [--seeds N] [--tokens N] [--fault NAME ...] [--tables]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from marked import put_between  # noqa: E402

BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
FIGURES = ROOT / "docs/figures/diagnosis.json"
GOLDEN = "tests/golden/text/"
# Slices [file, from, to) in characters: no slice of one list touches one of another.
CALIBRATION = [(GOLDEN + "opticks.txt", at, at + 1200) for at in range(0, 6000, 1200)] + [
    (GOLDEN + "tom-sawyer.txt", 0, 1200), ("examples/text/alice.txt", 0, 1200)]
REPORT = [(GOLDEN + "tom-sawyer.txt", 3600, 4800), (GOLDEN + "opticks.txt", 7200, 8400), (GOLDEN + "program.txt", 0, 1594),
          (GOLDEN + "tom-sawyer.txt", 8400, 9600), (GOLDEN + "opticks.txt", 10800, 12000)]
HEALTHY = [(GOLDEN + "tom-sawyer.txt", 6000, 7500), (GOLDEN + "opticks.txt", 9000, 10500), ("tools/x-test.sh", 0, 1500),
           ("examples/text/alice.txt", 1300, 2800), ("LICENSE", 0, 1500), ("CONTRIBUTING.md", 0, 1500),
           ("docs/measures.md", 0, 1500), ("src/text/bpe.cc", 0, 1500), ("tools/check_floors.py", 1500, 3000),
           ("viewer/package.json", 0, 1500)]


def command(*arguments, text, tokens):
    done = subprocess.run([BIN, *arguments, "-m", MODEL, "-t", "1", "--json", "--first", str(tokens), "--text", text],
                          capture_output=True)
    if done.returncode != 0:
        sys.exit(f"bareattn {' '.join(arguments)}: {done.stderr.decode()}")
    return json.loads(done.stdout)


def slice_of(text):
    name, begin, end = text
    return (ROOT / name).read_text()[begin:end]


def lean(run):
    """What the report needs of a run: the findings without their heads, and the evidence."""
    for probe in run["evidence"]["probes"]:
        probe["gain"] = run["evidence"]["nll"] - probe["nll"]
    best = max(run["evidence"]["probes"], key=lambda p: p["gain"], default=None)
    if "fault" in run:
        run["evidence"] = run["evidence"] | {"probes": [best] if best else []}
    keep = ("check", "severity", "head", "token", "value", "sentence")
    run["findings"] = [{k: f[k] for k in keep} | {"undone_by": (f["remedy"] or {}).get("what")} for f in run["findings"]]
    if "restored" in run:
        run["restored"]["findings"] = [f["check"] for f in run["restored"]["findings"]]
    return run


def measure(choice):
    start = time.time()
    results = {"model": Path(MODEL).name, "tokens": choice.tokens, "healthy_tokens": 2 * choice.tokens, "healthy": [], "runs": []}

    def look(text):
        return [{"text": text} | lean(command("diagnose", text=slice_of(text), tokens=2 * choice.tokens))]

    def spoil(text, seed, restore):
        faults = [part for fault in choice.fault or ["all"] for part in ("--fault", fault)]
        extra = ["--restore"] if restore else []
        done = command("break", *faults, *extra, "--seed", str(seed), text=slice_of(text), tokens=choice.tokens)
        return [{"text": text} | lean(run) for run in done["runs"]]

    texts = CALIBRATION if choice.calibrate else REPORT
    texts = texts[: choice.texts] if choice.texts else texts
    choice.output.parent.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(choice.jobs) as pool:
        jobs = [("healthy", pool.submit(look, text)) for text in (texts if choice.calibrate else HEALTHY)]
        for seed in range(choice.seeds):
            for number, text in enumerate(texts):
                chosen = 1 + 100 * number + seed + (0 if choice.calibrate else 10000)
                jobs.append(("runs", pool.submit(spoil, text, chosen, seed == 0 and number < choice.restore)))
        results["against"] = against(texts if choice.calibrate else HEALTHY)
        for done, (kind, job) in enumerate(jobs, 1):
            results[kind] += job.result()
            choice.output.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{done} of {len(jobs)}, {time.time() - start:.0f} s", file=sys.stderr)


def against(texts):
    """Per kind of run, over each text: which of the checks that compare it with the model as it is speak."""
    kinds = {}
    with tempfile.TemporaryDirectory() as folder:
        def bareattn(*arguments):
            done = subprocess.run([BIN, *map(str, arguments), "-t", "1"], capture_output=True)
            return done.stdout if done.returncode == 0 else sys.exit(f"bareattn {arguments[0]}: {done.stderr.decode()}")

        def speak(findings):
            return [f["check"] for f in findings]

        models = {kind: f"{folder}/{kind}.gguf" for kind in ("q8_0", "q4_0")}
        for kind, path in models.items():
            subprocess.run([BIN, "quantize", "-m", MODEL, "--type", kind, "-o", path], check=True, capture_output=True)
        for text in texts:
            content, control, run = slice_of(text)[:900], f"{folder}/control.safetensors", f"{folder}/run.safetensors"
            bareattn("trace", "-m", MODEL, "--text", content, "-o", control)
            for kind, more in (("bf16", ("-m", MODEL, "--precision", "bf16")), ("q8_0", ("-m", models["q8_0"])),
                               ("q4_0", ("-m", models["q4_0"]))):
                bareattn("trace", *more, "--text", content, "-o", run)
                found = json.loads(bareattn("diagnose", run, "--against", control, "--json", *more[:2]))
                kinds.setdefault(kind, []).append(speak(found["findings"]))
            for bits in (4, 3, 2):
                found = json.loads(bareattn("break", "-m", MODEL, "--fault", f"keys-quantised:{bits}", "--fast", "--json", "--checks",
                                            "sink-lost,peripheral-made-central,noise-as-signal", "--text", content))
                kinds.setdefault(f"keys {bits}", []).append(speak(found["runs"][0]["findings"]))
    return kinds


def against_table(kinds):
    what = {"bf16": "projections in bf16", "q8_0": "weights as Q8_0", "q4_0": "weights as Q4_0"}
    lines = ["| run | texts | nothing | `sink-lost` | `noise-as-signal` | `peripheral-made-central` |", "|---|--:|--:|--:|--:|--:|"]
    for kind, runs in kinds.items():
        count = [sum(check in run for run in runs) for check in ("sink-lost", "noise-as-signal", "peripheral-made-central")]
        lines.append(f"| {what.get(kind) or kind.replace('keys ', 'keys of ') + ' bits'} | {len(runs)} | {runs.count([])} | "
                     + " | ".join(map(str, count)) + " |")
    return lines


def matrix(results):
    lines = ["| fault | expected | runs | detected | right name | named instead |", "|---|---|---|---|---|---|"]
    totals = [0, 0, 0]
    for fault in dict.fromkeys(r["fault"] for r in results["runs"]):
        these = [r for r in results["runs"] if r["fault"] == fault]
        found = [r for r in these if r["findings"]]
        named = [r for r in found if r["findings"][0]["check"] == r["expected"]]
        other = sorted({r["findings"][0]["check"] for r in found if r not in named})
        totals = [totals[0] + len(these), totals[1] + len(found), totals[2] + len(named)]
        lines.append(f"| `{fault}` | `{these[0]['expected']}` | {len(these)} | {len(found)} | {len(named)} | "
                     f"{', '.join(f'`{o}`' for o in other) or '-'} |")
    runs, found, named = totals
    lines.append(f"| all | | {runs} | {found} ({100 * found / runs:.1f} %) | {named} ({100 * named / runs:.1f} %) | |")
    return lines


def healthy(results):
    lines = ["| text | tokens | errors | warnings | largest mismatch | of its limit | largest gain of a probe, nats |",
             "|---|---|---|---|---|---|---|"]
    folder = {GOLDEN: "", "examples/text/": ""}
    for h in results["healthy"]:
        e, name = h["evidence"], h["text"][0]
        for prefix in folder:
            name = name.removeprefix(prefix)
        gain = max((f"{e['nll'] - p['nll']:+.3f}" for p in e["probes"]), key=float, default="not probed")
        grades = [f["severity"] for f in h["findings"]]
        lines.append(f"| {name} {h['text'][1]}..{h['text'][2]} | {results['healthy_tokens']} at most | {grades.count('error')} | "
                     f"{grades.count('warning')} | {e['largest_mismatch']:.4f} | {e['largest_excess']:.2f} | {gain} |")
    return lines


def restored(results):
    lines = ["| fault | done | perplexity meant | broken | restored | weight moved | after | undone by |",
             "|---|---|---|---|---|---|---|---|"]
    seen = set()
    for r in results["runs"]:
        if "restored" not in r or r["fault"] in seen:
            continue
        seen.add(r["fault"])
        m, b, a = (r["restored"][k] for k in ("meant", "broken", "restored"))
        lines.append(f"| `{r['fault']}` | {r['what']} | {m['perplexity']:.2f} | {b['perplexity']:.2f} | {a['perplexity']:.2f} | "
                     f"{100 * b['moved']:.1f} % | {100 * a['moved']:.1f} % | {r['findings'][0]['undone_by']} |")
    return lines


def between(path, marker, lines):
    put_between(path, f"<!-- {marker} -->", "<!-- end -->", "\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibrate", action="store_true", help="the texts and seeds that limits were set on")
    parser.add_argument("--texts", type=int, default=3, help="how many of the texts; 0: all")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at the same time, one thread each")
    parser.add_argument("--restore", type=int, default=1, help="texts on which remedies are measured too")
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--tables", action="store_true", help="only write the documents' tables from the figures there are")
    choice = parser.parse_args()
    choice.output = ROOT / "out/bench/diagnose-calibration.json" if choice.calibrate or choice.fault else FIGURES
    if not choice.tables:
        measure(choice)
    results = json.loads(choice.output.read_text())
    print("\n".join(healthy(results) + [""] + against_table(results["against"]) + [""] + matrix(results)))
    if choice.output == FIGURES:
        between(ROOT / "docs/diagnosis.md", "healthy", healthy(results))
        between(ROOT / "docs/diagnosis.md", "against", against_table(results["against"]))
        between(ROOT / "docs/faults.md", "matrix", matrix(results))
        between(ROOT / "docs/faults.md", "restored", restored(results))


if __name__ == "__main__":
    main()
