"""The main job as a whole process, and prefill beside its peers, in one run.

`bareattn look` on a 2,000-token text, page included: wall seconds and peak memory (median of five); prefill of 2,048
tokens with everything observed and with nothing, in f32 and bf16; the unobserved prefill of llama.cpp and PyTorch, and
PyTorch returning its weights. Prints a table, writes out/bench/look.json. Peers that do not import are named, not hidden.
"""
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


def cpu_name():
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def text_of(count):
    """The longest beginning of a real text that makes at most `count` tokens with the command's own tokenizer."""
    text = (ROOT / "tests/golden/text/tom-sawyer.txt").read_text(encoding="utf-8")
    text += (ROOT / "examples/text/alice.txt").read_text(encoding="utf-8")

    def tokens(characters):
        out = subprocess.run([ROOT / "build/bareattn", "tokenize", "-m", MODEL, "--json", "--text", text[:characters]],
                             check=True, capture_output=True, text=True).stdout
        return len(json.loads(out))

    low, high = 1, len(text)
    if tokens(high) < count:
        sys.exit(f"the texts have {tokens(high)} tokens, {count} are needed")
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


def peers(threads):
    rows = []
    for kind, count in (("llama_cpp", 2048), ("sdpa", 2048), ("eager_weights", 2048)):
        done = subprocess.run([sys.executable, ROOT / "bench/peers_model.py", kind, MODEL, str(count), str(threads)],
                              capture_output=True, text=True)
        line = done.stdout.strip().splitlines()[-1:] if done.returncode == 0 else []
        rows.append(json.loads(line[0]) if line else {"peer": kind, "absent": done.stderr.strip().splitlines()[-1:]})
    return rows


def main():
    threads = len(os.sched_getaffinity(0))
    result = {"cpu": cpu_name(), "threads": threads}
    result["peak"] = json.loads(subprocess.run([ROOT / "build/bench/peak"], check=True, capture_output=True).stdout)
    result["look"] = look(text_of(TOKENS))
    result["prefill"] = json.loads(
        subprocess.run([ROOT / "build/bench/prefill", MODEL, "512", "2048"], check=True, capture_output=True).stdout)
    result["peers"] = peers(threads)
    out = ROOT / "out/bench/look.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"{result['cpu']}, {threads} threads")
    for row in result["look"]:
        print(f"look, {row['tokens']} tokens, page included, {row['precision']:4}  {row['seconds']:6.2f} s"
              f"  {row['peak_megabytes']:6.0f} MB  (page {row['page_megabytes']:.1f} MB)")
    for row in result["prefill"]:
        print(f"prefill {row['tokens']:5} tokens, {row['threads']} threads, {row['precision']:4}  "
              f"{row['tokens_per_second']:6.0f} tok/s, observed {row['tokens_per_second_observed']:6.0f} tok/s")
    for row in result["peers"]:
        if "absent" in row:
            print(f"{row['peer']}: could not be measured: {row['absent']}")
        else:
            print(f"{row['peer']:14} {row['tokens']} tokens  {row['tokens_per_second']:6.0f} tok/s  "
                  f"{row['peak_megabytes']:6.0f} MB")
    print(f"written: {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
