"""ggml's fused attention (ggml_flash_attn_ext) through the libraries that llama-cpp-python brings: a peer of
bench/attention.py. Keys and values are float16, as ggml's CPU kernel wants them; the causal mask is float16 as well.
"""
import ctypes
import math
import os
import pathlib


class _Init(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


class _Plan(ctypes.Structure):
    _fields_ = [("work_size", ctypes.c_size_t), ("work", ctypes.c_void_p), ("rest", ctypes.c_char * 256)]


def _libraries():
    import llama_cpp

    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    base = ctypes.CDLL(str(folder / "libggml-base.so"), mode=ctypes.RTLD_GLOBAL)
    cpu = ctypes.CDLL(str(folder / "libggml-cpu.so"), mode=ctypes.RTLD_GLOBAL)
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    for name, result, arguments in (
        ("ggml_init", pointer, [_Init]), ("ggml_new_graph", pointer, [pointer]), ("ggml_get_data", pointer, [pointer]),
        ("ggml_new_tensor_4d", pointer, [pointer, ctypes.c_int, number, number, number, number]),
        ("ggml_build_forward_expand", None, [pointer, pointer]),
        ("ggml_flash_attn_ext", pointer, [pointer] * 5 + [ctypes.c_float] * 3),
    ):
        function = getattr(base, name)
        function.restype, function.argtypes = result, arguments
    cpu.ggml_graph_plan.restype, cpu.ggml_graph_plan.argtypes = _Plan, [pointer, ctypes.c_int, pointer]
    cpu.ggml_graph_compute.argtypes = [pointer, ctypes.POINTER(_Plan)]
    return base, cpu


def ggml_attention(np, shape, dtype):
    """A callable that computes q [1, Hq, n, D] against k, v [1, Hkv, keys, D] once, causal, last row at the last key."""
    hq, hkv, d, n, keys, q, k, v = shape
    if dtype != "f32":
        raise NotImplementedError("q is f32, k and v are f16: measured beside f32")
    base, cpu = _libraries()
    threads, f32, f16 = len(os.sched_getaffinity(0)), 0, 1
    room = sum(x.nbytes for x in (q, k, v)) + 4 * q.nbytes + 2 * n * keys + (64 << 20)
    context = base.ggml_init(_Init(room, None, False))

    def tensor(kind, array):
        made = base.ggml_new_tensor_4d(context, kind, *reversed(array.shape))
        ctypes.memmove(base.ggml_get_data(made), array.ctypes.data, array.nbytes)
        return made

    mask = np.where(np.arange(keys)[None, :] <= np.arange(keys - n, keys)[:, None], 0, -math.inf).astype(np.float16)
    half = [np.ascontiguousarray(x.astype(np.float16)) for x in (k, v)]
    inputs = (tensor(f32, np.ascontiguousarray(q)), *(tensor(f16, x) for x in half), tensor(f16, mask[None, None]))
    out = base.ggml_flash_attn_ext(context, *inputs, 1 / math.sqrt(d), 0.0, 0.0)
    graph = base.ggml_new_graph(context)
    base.ggml_build_forward_expand(graph, out)

    plan = cpu.ggml_graph_plan(graph, threads, None)
    work = ctypes.create_string_buffer(plan.work_size + 64)
    plan.work = ctypes.addressof(work)

    def call(keep=work):  # the plan points into it
        cpu.ggml_graph_compute(graph, ctypes.byref(plan))
        data = (ctypes.c_float * (hq * n * d)).from_address(base.ggml_get_data(out))
        return np.frombuffer(data, np.float32).reshape(1, n, hq, d).transpose(0, 2, 1, 3)

    return call
