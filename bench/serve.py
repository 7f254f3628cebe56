"""`bareattn serve` measured from outside: milliseconds for a request, connection included, on traces of several lengths.

serve.py RUN.safetensors... starts the server on each trace and asks for: time from start to the address; the
description; exact tiles at every cell size; rows; a row while 300 tiles are waiting; the end after Ctrl-C; own memory.
Medians and largest of 40 (tiles, rows: other places each time, so nothing comes from the cache). Prints a table and
writes out/bench/serve.json; docs/figures/serve.json is such a file.
"""
import json
import os
import pathlib
import random
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from look import machine  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
REPEATS = 40


def ask(said, target):
    """(milliseconds, body); compute_of() has what the server itself says it took."""
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{said['port']}\r\nAuthorization: Bearer {said['token']}\r\n\r\n"
    start = time.perf_counter()
    with socket.create_connection(("127.0.0.1", said["port"])) as s:
        s.sendall(request.encode())
        parts = []
        while part := s.recv(1 << 20):
            parts.append(part)
    took = (time.perf_counter() - start) * 1e3
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        sys.exit(f"{target}: {head[:60]} {body[:200]}")
    return took, body, head.decode()


def compute_of(head):
    """Milliseconds that a tile was computed, as the server measured."""
    return next(float(line.split("dur=")[1]) for line in head.split("\r\n") if line.startswith("Server-Timing: tile"))


def summary(times):
    return {"median_ms": round(statistics.median(times), 2), "largest_ms": round(max(times), 2)}


def crowded_row(said, tiles, head):
    threads = [threading.Thread(target=ask, args=(said, t)) for t in tiles]
    for t in threads:
        t.start()
    time.sleep(0.02)
    took = ask(said, head)[0]
    waiting = sum(t.is_alive() for t in threads)
    for t in threads:
        t.join()
    return took, waiting


def own_bytes(pid):
    """Resident memory without the mapped file, which the kernel takes back when it is needed."""
    for line in open(f"/proc/{pid}/status", encoding="utf-8"):
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024


def measure(run):
    environment = {k: v for k, v in os.environ.items() if k != "BAREATTN_MODEL"}
    start = time.perf_counter()
    server = subprocess.Popen([BIN, "serve", "--json", run], stdout=subprocess.PIPE, env=environment)
    said = json.loads(server.stdout.readline())
    result = {"tokens": said["tokens"], "file_bytes": os.path.getsize(run), "seconds_to_address": round(time.perf_counter() - start, 2)}
    draw = random.Random(1)
    text, body, _ = ask(said, "/api/text")
    description = json.loads(body)
    n, model = said["tokens"], description["model"]
    result["window"] = description["served"]["window"]
    result["description"] = {"ms": round(text, 1), "bytes": len(body)}
    result["own_memory_when_shown_bytes"] = own_bytes(server.pid)

    def head():
        return f"{draw.randrange(model['layers'])}/{draw.randrange(model['heads'])}"

    result["tiles"] = []
    levels = json.loads(ask(said, "/api/tileset/0/0")[1])["levels"]
    for level in levels:
        times, computes, again = [], [], []
        for _ in range(REPEATS if level["cell"] <= 4 else 10):
            y = draw.randrange(level["tiles"])
            at = f"/api/tile/{head()}/{level['z']}/{draw.randint(0, y)}/{y}"
            ask(said, at)  # brings the pages from disk and checks them; then the other encoding: not from the cache
            took, _, reply = ask(said, at + "?type=f32")
            times.append(took)
            computes.append(compute_of(reply))
            again.append(ask(said, at + "?type=f32")[0])  # from the cache
        result["tiles"].append({"cell": level["cell"], "exact": level["exact"], **summary(times), "compute": summary(computes), "again": summary(again)})
    times, tops = [], []
    for _ in range(REPEATS):
        at = f"/api/row/{head()}/{draw.randrange(n // 2, n)}"
        ask(said, at)
        times.append(ask(said, at)[0])
        tops.append(ask(said, at + "?top=50")[0])
    result["row"], result["row_top_50"] = summary(times), summary(tops)
    crowd = []
    for _ in range(5):
        at = f"/api/row/{head()}/{n - 1}"
        ask(said, at)
        # Of the widest exact cells, which take longest, each another one: single cells are done before the row is asked.
        wide = [l for l in levels if l["exact"]][-1]
        tiles = [f"/api/tile/{head()}/{wide['z']}/{y}/{y}?type=f32&first={draw.choice(('shown', 'hidden'))}"
                 for y in (draw.randrange(wide["tiles"]) for _ in range(300))]
        crowd.append(crowded_row(said, tiles, at))
    result["row_among_300_tiles"] = {**summary([t for t, _ in crowd]), "tiles_still_waiting": [w for _, w in crowd]}
    result["own_memory_at_the_end_bytes"] = own_bytes(server.pid)
    start = time.perf_counter()
    server.send_signal(signal.SIGINT)
    status = server.wait()
    result["seconds_to_end"] = round(time.perf_counter() - start, 2)
    if status != 0:
        sys.exit(f"serve ended with {status}")
    return result


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    results = [measure(run) for run in sys.argv[1:]]
    out = ROOT / "out/bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "serve.json").write_text(json.dumps({"machine": machine(), "runs": results}, indent=1) + "\n")
    for r in results:
        print(f"{r['tokens']:,} tokens, window {r['window']}: address after {r['seconds_to_address']} s, row "
              f"{r['row']['median_ms']} ms, among 300 tiles {r['row_among_300_tiles']['median_ms']} ms, ends in {r['seconds_to_end']} s")
        for t in r["tiles"]:
            print(f"  {t['cell']:6} tokens a cell, {'exact' if t['exact'] else 'pooled'}: {t['median_ms']} ms, at most {t['largest_ms']}, "
                  f"of which computed {t['compute']['median_ms']}, at most {t['compute']['largest_ms']}; again {t['again']['median_ms']}")


if __name__ == "__main__":
    main()
