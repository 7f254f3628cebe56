"""Attention beside its peers, in one run: PyTorch, ONNX Runtime, OpenVINO, JAX and ggml, on one thread and on all.

    ./x bench attention [--quick]

Every contender gets the same numbers and is timed in turn with the others (so that a drift of the machine hits all);
what is shown is the median (of seven turns; fewer where one call takes over a second). GFLOP/s count visible pairs only (4 D per pair and head), and percentages are of the peak
that build/bench/peak measures in the same run. A contender that cannot run a shape is named with its reason. Writes
out/bench/attention.json and, where matplotlib is there, out/bench/attention.svg.
"""
import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from ggml_attention import ggml_attention  # noqa: E402
from marked import put_between  # noqa: E402

# (query heads, key-value heads, head dim, tokens)
PREFILL = [(9, 3, 64, 64), (9, 3, 64, 128), (9, 3, 64, 256), (9, 3, 64, 512), (9, 3, 64, 2048), (9, 3, 64, 8192),
           (32, 8, 128, 2048), (32, 8, 128, 4096)]
# (query heads, key-value heads, head dim, query tokens, keys)
DECODE = [(1, 1, 64, 1, 16), (8, 8, 64, 1, 8192), (9, 3, 64, 1, 1024), (9, 3, 64, 1, 8192), (9, 3, 64, 8, 8192), (32, 8, 128, 1, 8192),
          (32, 8, 128, 1, 32768), (8, 1, 128, 1, 131072)]


def ours(np, shape, dtype, observed=False, cache=False):
    import bareattn

    hq, hkv, d, n, keys, q, k, v = shape
    extra = {}
    if observed:
        extra["return_"] = ("lse", "entropy", "max_logit", "max_key", "sum_squares", "mean_distance", "column_sums")
    if dtype == "bf16":
        extra["compute"] = "bf16"
    threads = len(os.sched_getaffinity(0))
    if cache:
        held = bareattn.AttentionCache(1, hkv, d, compute=dtype)
        held.append(k, v)
        return lambda: held.attention(q, threads=threads)
    return lambda: bareattn.attention(q, k, v, is_causal=True, threads=threads, **extra)


def torch_sdpa(np, shape, dtype):
    import torch

    hq, hkv, d, n, keys, q, k, v = shape
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    tq, tk, tv = (torch.from_numpy(np.asarray(x, np.float32)).to(kind) for x in (q, k, v))
    if hq != hkv:  # repeated outside the timing: the fused CPU kernel is slower with enable_gqa
        tk, tv = (x.repeat_interleave(hq // hkv, dim=1).contiguous() for x in (tk, tv))
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def run():
        with torch.no_grad():
            return sdpa(tq, tk, tv, is_causal=n == keys and n > 1)

    if n != keys and n > 1:
        mask = torch.ones(n, keys, dtype=torch.bool).tril(keys - n)
        return lambda: sdpa(tq, tk, tv, attn_mask=mask)
    return run


def need_prefill(shape):
    if shape[3] != shape[4]:
        raise NotImplementedError("measured on prefill only")


def need_f32(dtype):
    if dtype != "f32":
        raise NotImplementedError("its CPU kernel takes f32")


def onnxruntime_session(make):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(make.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ort_attention(np, shape, dtype):
    from onnx import TensorProto, helper

    hq, hkv, d, n, keys, q, k, v = shape
    need_f32(dtype)
    need_prefill(shape)
    tensor = lambda name, heads: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, heads, n, d])
    node = helper.make_node("Attention", ["q", "k", "v"], ["o"], is_causal=1)
    graph = helper.make_graph([node], "g", [tensor("q", hq), tensor("k", hkv), tensor("v", hkv)], [tensor("o", hq)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    session = onnxruntime_session(model)
    feed = {"q": q, "k": k, "v": v}
    return lambda: session.run(None, feed)


def ort_gqa(np, shape, dtype):
    from onnx import TensorProto, helper

    hq, hkv, d, n, keys, q, k, v = shape
    need_f32(dtype)
    need_prefill(shape)
    value = lambda name, kind, dims: helper.make_tensor_value_info(name, kind, dims)
    node = helper.make_node("GroupQueryAttention", ["q", "k", "v", "pk", "pv", "sk", "total"], ["o", "nk", "nv"],
                            domain="com.microsoft", num_heads=hq, kv_num_heads=hkv)
    f, i = TensorProto.FLOAT, TensorProto.INT32
    inputs = [value("q", f, [1, n, hq * d]), value("k", f, [1, n, hkv * d]), value("v", f, [1, n, hkv * d]),
              value("pk", f, [1, hkv, 0, d]), value("pv", f, [1, hkv, 0, d]), value("sk", i, [1]), value("total", i, [])]
    outputs = [value("o", f, [1, n, hq * d]), value("nk", f, [1, hkv, n, d]), value("nv", f, [1, hkv, n, d])]
    graph = helper.make_graph([node], "g", inputs, outputs)
    model = helper.make_model(graph, ir_version=10,
                              opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
    session = onnxruntime_session(model)
    flat = lambda x, heads: np.ascontiguousarray(x.transpose(0, 2, 1, 3).reshape(1, n, heads * d))
    feed = {"q": flat(q, hq), "k": flat(k, hkv), "v": flat(v, hkv), "pk": np.zeros((1, hkv, 0, d), np.float32),
            "pv": np.zeros((1, hkv, 0, d), np.float32), "sk": np.array([n - 1], np.int32),
            "total": np.array(n, np.int32)}
    return lambda: session.run(["o"], feed)


def openvino_sdpa(np, shape, dtype):
    import openvino
    from openvino import opset13 as ops

    hq, hkv, d, n, keys, q, k, v = shape
    need_prefill(shape)
    k, v = (np.repeat(x, hq // hkv, axis=1) for x in (k, v))
    inputs = [ops.parameter(list(x.shape), np.float32) for x in (q, k, v)]
    node = ops.scaled_dot_product_attention(*inputs, causal=True)
    core = openvino.Core()
    compiled = core.compile_model(openvino.Model([node], inputs), "CPU", {
        "INFERENCE_PRECISION_HINT": "bf16" if dtype == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)), "NUM_STREAMS": 1})
    request = compiled.create_infer_request()
    tensors = [openvino.Tensor(np.ascontiguousarray(x)) for x in (q, k, v)]
    for index, tensor in enumerate(tensors):
        request.set_input_tensor(index, tensor)
    return request.infer


def jax_attention(np, shape, dtype):
    import jax

    hq, hkv, d, n, keys, q, k, v = shape
    need_prefill(shape)
    kind = jax.numpy.bfloat16 if dtype == "bf16" else jax.numpy.float32
    args = [jax.numpy.asarray(x.transpose(0, 2, 1, 3), dtype=kind) for x in (q, k, v)]
    call = jax.jit(lambda a, b, c: jax.nn.dot_product_attention(a, b, c, is_causal=True))
    return lambda: call(*args).block_until_ready()


CONTENDERS = {"bareattn": ours, "bareattn, observed": lambda *a: ours(*a, observed=True), "PyTorch SDPA": torch_sdpa,
              "ONNX Runtime GQA": ort_gqa, "ONNX Runtime Attention": ort_attention, "OpenVINO SDPA": openvino_sdpa,
              "JAX": jax_attention, "ggml (keys f16)": ggml_attention}
DECODERS = {"bareattn": lambda *a: ours(*a, cache=True), "PyTorch SDPA": torch_sdpa,
            "ggml (keys f16)": ggml_attention}


def measure(np, shape, dtype, contenders, seconds):
    hq, hkv, d, n, keys = shape
    rng = np.random.default_rng(1)
    q = rng.standard_normal((1, hq, n, d), dtype=np.float32)
    k, v = (rng.standard_normal((1, hkv, keys, d), dtype=np.float32) for _ in range(2))
    if dtype == "bf16":
        import ml_dtypes
    calls, rows = {}, []
    for name, make in contenders.items():
        mine = name.startswith("bareattn")
        data = [x.astype(ml_dtypes.bfloat16) for x in (q, k, v)] if dtype == "bf16" and mine else [q, k, v]
        try:
            call = make(np, (*shape, *data), dtype)
            call()
            calls[name] = call
        except Exception as error:  # a peer that cannot run the shape is reported, with its words
            rows.append({"contender": name, "absent": f"{type(error).__name__}: {str(error)[:160]}"})
    times = {name: [] for name in calls}
    for name, call in calls.items():  # how many calls fit
        start = time.perf_counter()
        call()
        times[name].append(time.perf_counter() - start)
    for turn in range(7):
        for name, call in calls.items():
            if turn >= max(1, 6 / times[name][0]):  # a call of many seconds is timed once or twice
                continue
            time.sleep(0.02)  # the threads of the one before may still be spinning
            if times[name][0] < 1:
                call()
            repeats = max(1, min(200, int(seconds / 7 / max(times[name][0], 1e-6))))
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            times[name].append((time.perf_counter() - start) / repeats)
    first = keys - n
    pairs = sum(first + i + 1 for i in range(n))
    for name, values in times.items():
        median = sorted(values[1:])[len(values[1:]) // 2]
        rows.append({"contender": name, "seconds": median, "gflops": 4 * d * hq * pairs / median / 1e9,
                     "cache_gbytes": 2 * hkv * keys * d * (2 if dtype == "bf16" else 4) / median / 1e9})
    return rows


def worker(quick):
    import numpy as np

    out = []
    for dtype in ("f32", "bf16"):
        for hq, hkv, d, n in PREFILL[3:5] if quick else PREFILL:
            out.append({"kind": "prefill", "dtype": dtype, "shape": [hq, hkv, d, n, n],
                        "rows": measure(np, (hq, hkv, d, n, n), dtype, CONTENDERS, 0.5 if quick else 1.0)})
        for shape in DECODE[1:3] if quick else DECODE:
            out.append({"kind": "decode", "dtype": dtype, "shape": list(shape),
                        "rows": measure(np, shape, dtype, DECODERS, 0.5)})
    print(json.dumps(out))


def show(result):
    for run in result["runs"]:
        peak = result["peak"][0 if run["threads"] == 1 else -1]
        for case in run["cases"]:
            hq, hkv, d, n, keys = case["shape"]
            print(f"\n{case['kind']} {case['dtype']} {hq}/{hkv} heads, D {d}, {n} x {keys}, {run['threads']} thread(s)")
            for row in sorted(case["rows"], key=lambda r: r.get("seconds", math.inf)):
                if "absent" in row:
                    print(f"  {row['contender']:24} {row['absent']}")
                elif case["kind"] == "prefill":
                    top = peak.get(f"{case['dtype']}_gflops", math.nan)
                    print(f"  {row['contender']:24} {row['seconds'] * 1e6:11.0f} us {row['gflops']:8.1f} GFLOP/s"
                          f" {100 * row['gflops'] / top:5.1f} % of the peak")
                else:
                    print(f"  {row['contender']:24} {row['seconds'] * 1e6:11.0f} us {row['cache_gbytes']:8.1f} GB/s"
                          f" {100 * row['cache_gbytes'] / peak['read_gbytes']:5.1f} % of the read bandwidth")


def plot(result, path):
    try:
        import matplotlib

        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError:
        print("no matplotlib: no plot")
        return
    runs = result["runs"]
    figure, axes = pyplot.subplots(2, len(runs), figsize=(6 * len(runs), 8), squeeze=False)
    for column, run in enumerate(runs):
        for line, dtype in enumerate(("f32", "bf16")):
            axis = axes[line][column]
            cases = [c for c in run["cases"] if c["kind"] == "prefill" and c["dtype"] == dtype]
            names = {row["contender"] for case in cases for row in case["rows"] if "gflops" in row}
            for name in sorted(names):
                points = [(f"{c['shape'][0]}/{c['shape'][1]}/{c['shape'][2]}\n{c['shape'][3]}", row["gflops"])
                          for c in cases for row in c["rows"] if row["contender"] == name and "gflops" in row]
                axis.plot([p[0] for p in points], [p[1] for p in points], marker="o", label=name,
                          linewidth=2.5 if name.startswith("bareattn") else 1)
            peak = result["peak"][0 if run["threads"] == 1 else -1].get(f"{dtype}_gflops")
            if peak:
                axis.axhline(peak, linestyle=":", color="grey")
            axis.set_title(f"causal prefill, {dtype}, {run['threads']} thread(s)")
            axis.set_ylabel("GFLOP/s on visible pairs (dotted: peak)")
            axis.tick_params(axis="x", labelsize=7)
            axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path)


def ratio(case):
    """Ours against the quickest peer that ran: (peer's seconds / ours, its name), or None."""
    seconds = {row["contender"]: row["seconds"] for row in case["rows"] if "seconds" in row}
    peers = {name: value for name, value in seconds.items() if not name.startswith("bareattn")}
    if "bareattn" not in seconds or not peers:
        return None
    best = min(peers, key=peers.get)
    return peers[best] / seconds["bareattn"], best


def table(result):
    """The figures as Markdown, for docs/speed.md."""
    lines = []
    for run in result["runs"]:
        peak = result["peak"][0 if run["threads"] == 1 else -1]
        lines += [f"### {run['threads']} thread{'s' * (run['threads'] > 1)}", "",
                  f"Peak: {peak['f32_gflops']:.0f} GFLOP/s f32, {peak.get('bf16_gflops', 0):.0f} bf16, "
                  f"{peak['read_gbytes']:.1f} GB/s read.", "",
                  "| prefill | heads | D | tokens | ms | GFLOP/s | of the peak | observed costs | best peer | times its speed |",
                  "|---|---|---|---|---|---|---|---|---|---|"]
        for case in (c for c in run["cases"] if c["kind"] == "prefill"):
            rows = {row["contender"]: row for row in case["rows"] if "seconds" in row}
            mine, (times, peer) = rows["bareattn"], ratio(case)
            hq, hkv, d, n, _ = case["shape"]
            cost = rows["bareattn, observed"]["seconds"] / mine["seconds"] - 1
            lines.append(f"| {case['dtype']} | {hq}/{hkv} | {d} | {n} | {mine['seconds'] * 1e3:.2f} | {mine['gflops']:.0f} "
                         f"| {100 * mine['gflops'] / peak[case['dtype'] + '_gflops']:.0f} % | {100 * cost:+.0f} % "
                         f"| {peer} | {times:.1f} |")
        lines += ["", "| decode | heads | D | rows | keys | us | GB/s | of the read bandwidth | best peer | times its speed |",
                  "|---|---|---|---|---|---|---|---|---|---|"]
        for case in (c for c in run["cases"] if c["kind"] == "decode"):
            rows = {row["contender"]: row for row in case["rows"] if "seconds" in row}
            mine, (times, peer) = rows["bareattn"], ratio(case)
            hq, hkv, d, n, keys = case["shape"]
            lines.append(f"| {case['dtype']} | {hq}/{hkv} | {d} | {n} | {keys} | {mine['seconds'] * 1e6:.0f} "
                         f"| {mine['cache_gbytes']:.1f} | {100 * mine['cache_gbytes'] / peak['read_gbytes']:.0f} % "
                         f"| {peer} | {times:.1f} |")
        lines.append("")
    return "\n".join(lines)


def write_docs(result):
    """docs/figures/attention.json, docs/images/attention.svg, and the tables of docs/speed.md between its marks."""
    (ROOT / "docs/figures/attention.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    plot(result, ROOT / "docs/images/attention.svg")
    put_between(ROOT / "docs/speed.md", "<!-- figures -->", "<!-- end of figures -->", table(result))
    print("written: docs/figures/attention.json, docs/images/attention.svg, docs/speed.md")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two shapes of each kind, for trying out")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--docs", action="store_true", help="the results also into docs/")
    options = parser.parse_args()
    if options.worker:
        return worker(options.quick)
    cores = sorted(os.sched_getaffinity(0))
    peak = ROOT / "build/bench/peak"
    if not peak.exists():
        return f"{peak.relative_to(ROOT)} is not there: ./x bench builds it"
    result = {"peak": json.loads(subprocess.run([ROOT / "build/bench/peak"], check=True, capture_output=True).stdout),
              "runs": []}
    for count in sorted({1, len(cores)}):  # bound to that many cores: every contender then has as many threads
        environment = {**os.environ, "OMP_NUM_THREADS": str(count), "JAX_PLATFORMS": "cpu"}
        environment.pop("OPENBLAS_CORETYPE", None)
        done = subprocess.run([sys.executable, __file__, "--worker", *(["--quick"] if options.quick else [])],
                              stdout=subprocess.PIPE, env=environment, check=True, text=True,
                              preexec_fn=lambda: os.sched_setaffinity(0, cores[:count]))
        result["runs"].append({"threads": count, "cases": json.loads(done.stdout.strip().splitlines()[-1])})
    show(result)
    out = ROOT / "out/bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "attention.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    plot(result, out / "attention.svg")
    if options.docs:
        write_docs(result)
    print(f"\nwritten: {out.relative_to(ROOT)}/attention.json")


if __name__ == "__main__":
    sys.exit(main())
