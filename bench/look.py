"""The main job as a whole process, and prefill beside its peers, in one run.

`bareattn look` on a 2,000-token text, page included: wall seconds and peak memory (median of five); prefill of 2,048
tokens with everything observed and with nothing, in f32 and bf16; the unobserved prefill of llama.cpp and PyTorch, and
PyTorch returning its weights. Prints a table, writes out/bench/look.json. Peers that do not import are named, not hidden.

look.py [PART...] measures all parts, or those named: peak look prefill llama_cpp sdpa eager_weights. What
out/bench/look.json holds of other parts is kept if it was measured on this machine from the same commit. The figures
of the README are such a file, docs/figures/look.json (see tools/figures.py).
"""
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"))
TOKENS = 2000
PEERS = ("llama_cpp", "sdpa", "eager_weights")
PARTS = ("peak", "look", "prefill", *PEERS)


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def machine():
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=10"], cwd=ROOT, capture_output=True,
                            text=True).stdout.strip()
    return {"cpu": cpu_name(), "threads": len(os.sched_getaffinity(0)), "memory_gib": round(memory, 1),
            "system": f"{platform.system()} {platform.release().split('-')[0]}", "commit": commit}


def text_of(count):
    """The longest beginning of a real text that makes at most `count` tokens with the command's own tokenizer."""
    text = (ROOT / "tests/golden/text/tom-sawyer.txt").read_text(encoding="utf-8")
    text += (ROOT / "examples/text/alice.txt").read_text(encoding="utf-8")

    def tokens(characters):
        out = subprocess.run([ROOT / "build/bareattn", "tokenize", "-m", MODEL, "--json", "--text", text[:characters]],
                             check=True, capture_output=True, text=True).stdout
        return len(json.loads(out))

    while tokens(len(text)) < count:  # longer than both texts together: again and again
        text += text
    low, high = 1, len(text)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if tokens(middle) <= count else (low, middle)
    return text[:low]


def whole_process(arguments):
    start = time.perf_counter()
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{arguments[:2]} ended with {status}: {error.decode()}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def look(text):
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source, page = pathlib.Path(folder) / "text.txt", pathlib.Path(folder) / "page.html"
        source.write_text(text, encoding="utf-8")
        for precision in ("f32", "bf16"):
            runs = [whole_process([ROOT / "build/bareattn", "look", "-m", MODEL, "--file", source, "-o", page,
                                   "--precision", precision]) for _ in range(6)][1:]
            rows.append({"precision": precision, "tokens": TOKENS, "seconds": sorted(r[0] for r in runs)[2],
                         "peak_megabytes": max(r[1] for r in runs), "page_megabytes": page.stat().st_size / 1e6})
    return rows


def peer(kind, threads, tokens=2048):
    done = subprocess.run([sys.executable, ROOT / "bench/parts/peers_model.py", kind, MODEL, str(tokens), str(threads)],
                          capture_output=True, text=True)
    line = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else []
    return json.loads(line[0]) if line else {"peer": kind, "absent": "".join(done.stderr.strip().splitlines()[-1:])}


def program(name, *arguments):
    """What a benchmark program beside this file says: JSON."""
    done = subprocess.run([ROOT / "build/bench" / name, *arguments], check=True, capture_output=True)
    return json.loads(done.stdout)


def measure(part, threads):
    if part == "peak":
        return program("peak")
    if part == "look":
        return look(text_of(TOKENS))
    if part == "prefill":
        return program("prefill", MODEL, "2048")
    return peer(part, threads)


def show(result):
    print(f"{result['cpu']}, {result['threads']} threads")
    for row in result.get("look", ()):
        print(f"look, {row['tokens']} tokens, page included, {row['precision']:4}  {row['seconds']:6.2f} s"
              f"  {row['peak_megabytes']:6.0f} MB  (page {row['page_megabytes']:.1f} MB)")
    for row in result.get("prefill", ()):
        print(f"prefill {row['tokens']:5} tokens, {row['threads']} threads, {row['precision']:4} attention {row['attention']:4}  "
              f"{row['tokens_per_second']:6.0f} tok/s, observed {row['tokens_per_second_observed']:6.0f} tok/s")
    for row in (result[kind] for kind in PEERS if kind in result):
        if "absent" in row:
            print(f"{row['peer']}: could not be measured: {row['absent']}")
        else:
            print(f"{row['peer']:14} {row['tokens']} tokens  {row['tokens_per_second']:6.0f} tok/s  "
                  f"{row['peak_megabytes']:6.0f} MB")


def main():
    parts = sys.argv[1:] or PARTS
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"no part {', '.join(sorted(unknown))}; there are: {' '.join(PARTS)}")
    out = ROOT / "out/bench/look.json"
    result = machine()
    if out.exists():
        before = json.loads(out.read_text(encoding="utf-8"))
        if all(before.get(key) == value for key, value in result.items()):
            result = before
    result["date"] = datetime.date.today().isoformat()
    for part in parts:
        result[part] = measure(part, result["threads"])
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result)
    print(f"written: {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
