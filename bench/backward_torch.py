"""PyTorch's backward of causal attention on the shapes of bench/backward_bench.cc: GFLOP/s over visible pairs.

Keys and values are repeated to the query heads beforehand, so that only the fused kernel's backward is timed (its own
grouped form would add the sums over the group). Needs PyTorch; run it as `python bench/backward_torch.py`.
"""

import statistics
import sys
import time

import torch
import torch.nn.functional as F

SHAPES = [(9, 3, 64, 512), (9, 3, 64, 2048), (9, 3, 64, 8192), (32, 8, 128, 2048)]


def measure(heads: int, kv_heads: int, dim: int, n: int, repeats: int = 7) -> tuple[float, float]:
    """Median GFLOP/s by the clock, and by the CPU time that the process got (per thread)."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, h, n, dim) for h in (heads, kv_heads, kv_heads))
    k, v = (x.repeat_interleave(heads // kv_heads, 1) for x in (k, v))
    inputs = [x.requires_grad_() for x in (q, k, v)]
    d_o = torch.randn(1, heads, n, dim)
    clock, cpu = [], []
    for _ in range(repeats):
        o = F.scaled_dot_product_attention(*inputs, is_causal=True)
        start, start_cpu = time.perf_counter(), time.process_time()
        torch.autograd.grad(o, inputs, d_o)
        clock.append(time.perf_counter() - start)
        cpu.append((time.process_time() - start_cpu) / torch.get_num_threads())
    flops = 10 * dim * heads * n * (n + 1) / 2 * 1e-9
    return flops / statistics.median(clock), flops / statistics.median(cpu)


def main() -> None:
    shapes = [SHAPES[int(i)] for i in sys.argv[1:]] or SHAPES
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for shape in shapes:
            clock, cpu = measure(*shape)
            name = "/".join(map(str, shape))
            print(f"PyTorch {torch.__version__} {name} threads {threads}: {clock:.1f} GFLOP/s, {cpu:.1f} by CPU time")


if __name__ == "__main__":
    main()
