"""attention(), weights() and their slow f64 twin: shapes, defaults and results; the work is the native module's."""

from __future__ import annotations

import operator
import sys
from typing import Any, Sequence

import numpy as np

from . import _native
from ._arguments import MOST_INT, whole
from ._arrays import Result, dtype_name, is_bf16, library, numpy_of, of_one_type, readable, without_gradient

Array = Any

#: What return_ may name, beside O. Row measures are [B, Hq, Sq].
ROW_STATISTICS = ("lse", "max_logit", "max_key", "row_sum", "entropy", "sum_squares", "mean_distance", "first_mass",
                  "self_weight", "previous_weight", "recent_mass")
STATISTICS = ROW_STATISTICS + ("column_sums", "top_k", "full_rows")
STAGES = ("product", "capped", "biased", "weight")


def _layout(layout: str | None, q: Array, cu_seqlens: Any) -> str:
    if layout is None:
        return "thd" if cu_seqlens is not None and getattr(q, "ndim", 4) == 3 else "bhsd"
    return layout


def _how(q: Array, layout: str, num_heads: int | None, num_kv_heads: int | None, reference: bool = False) -> dict:
    if layout == "packed" and num_heads is None:
        raise ValueError("num_heads: given None; needed the number of query heads with layout='packed'")
    for name, heads in (("num_heads", num_heads), ("num_kv_heads", num_kv_heads)):
        if heads is not None:
            whole(name, heads, 1, MOST_INT)
    return {
        "bf16": is_bf16(q),
        "reference": reference,
        "layout": layout,
        "heads": num_heads or 0,
        "kv_heads": num_kv_heads or num_heads or 0,
    }


def _sizes(x: Array, layout: str, heads: int | None, name: str) -> tuple[int, int, int, int]:
    """(B, H, S, D)"""
    shape = tuple(getattr(x, "shape", ()))
    rank = 3 if layout in ("packed", "thd") else 4
    if layout not in ("bhsd", "bshd", "packed", "thd"):
        raise ValueError(f"layout: given {layout!r}; needed 'bhsd', 'bshd', 'packed' or 'thd'")
    if len(shape) != rank:
        raise ValueError(f"{name}: given shape {shape}; needed rank {rank} with layout={layout!r}")
    if layout == "bhsd":
        return shape
    if layout == "bshd":
        return shape[0], shape[2], shape[1], shape[3]
    if layout == "thd":
        return 1, shape[1], shape[0], shape[2]
    heads = heads or 1
    if shape[2] % heads:
        raise ValueError(f"{name}: given a last axis of {shape[2]}; needed a multiple of {heads} heads")
    return shape[0], heads, shape[1], shape[2] // heads


def _output_shape(layout: str, batch: int, heads: int, rows: int, dim: int) -> tuple[int, ...]:
    return {
        "bhsd": (batch, heads, rows, dim),
        "bshd": (batch, rows, heads, dim),
        "packed": (batch, rows, heads * dim),
        "thd": (rows, heads, dim),
    }[layout]


def _numbers(x: Any, name: str, kind: type) -> list | None:
    """A short list of numbers from a list or an array."""
    if x is None:
        return None
    try:
        flat = numpy_of(x, name)
        if flat.ndim != 1:
            raise ValueError(f"{name}: given shape {flat.shape}; needed one axis")
        if kind is int and flat.size and not (flat.dtype.kind in "iu" or all(type(value) is int for value in flat.tolist())):
            raise TypeError(f"{name}: given {flat.dtype}; needed integers")
        numbers = [kind(value) for value in flat.tolist()]
    except (TypeError, ValueError) as error:
        if str(error).startswith(name):
            raise
        raise TypeError(f"{name}: given {type(x).__name__}; needed a sequence of numbers") from None
    for number in numbers if kind is int else ():
        whole(name, number, -(2**63), 2**63 - 1)
    return numbers


_INTEGERS = {"offset": 64, "left_window": 64, "right_window": 64, "threads": 32}  # bits that the library takes


def _options(**given: Any) -> dict:
    mask = given.get("attn_mask")
    if mask is not None:
        native = given["attn_mask"] = readable(mask, "attn_mask")
        given["mask_bf16"] = is_bf16(mask)
        kind = "bfloat16" if is_bf16(mask) else dtype_name(native)
        if kind not in ("bool", "float32", "float16", "bfloat16"):
            raise TypeError(f"attn_mask: given {kind}; needed bool, float32, float16 or bfloat16")
    for name, bits in _INTEGERS.items():
        if isinstance(given.get(name), int) and not -(1 << bits - 1) <= given[name] < 1 << bits - 1:
            raise ValueError(f"{name}: given {given[name]}; needed a number of {bits} bits")
    for name, kind in (("alibi_slopes", float), ("sinks", float), ("cu_seqlens_q", int), ("cu_seqlens_k", int),
                       ("kv_lengths", int)):
        if given.get(name) is not None:
            given[name] = _numbers(given[name], name, kind)
    return {name: value for name, value in given.items() if value is not None}


class _Returns:
    """Arrays for what return_ names."""

    def __init__(self, like: Array, names: Sequence[str], sizes: tuple[int, int, int, int], top_k: int, full_rows: Any):
        if isinstance(names, str):
            names = (names,)
        batch, heads, rows, keys = sizes
        self.native: dict[str, Any] = {}
        self._made: dict[str, Result] = {}
        self._column_sums: np.ndarray | None = None
        for name in dict.fromkeys(names):
            if name in ROW_STATISTICS:
                self._add(like, name, (batch, heads, rows), "int32" if name == "max_key" else "float32")
            elif name == "column_sums":
                self._column_sums = np.zeros((batch, heads, keys), np.uint64)
                self.native["column_sums"] = self._column_sums
            elif name == "top_k":
                top_k = whole("top_k", top_k, 1, MOST_INT)
                self._add(like, "top_keys", (batch, heads, rows, top_k), "int32")
                self._add(like, "top_weights", (batch, heads, rows, top_k), "float32")
            elif name == "full_rows":
                wanted = _numbers(full_rows, "full_rows", int)
                if wanted is None:
                    raise ValueError("full_rows: given None; needed the rows whose weights return_='full_rows' wants")
                self.native["full_rows"] = wanted
                self._add(like, "full_weights", (batch, heads, len(wanted), keys), "float32")
            else:
                raise ValueError(f"return_: given {name!r}; needed names among {', '.join(STATISTICS)}")
        self._like = like

    def _add(self, like: Array, name: str, shape: tuple[int, ...], dtype: str) -> None:
        fill = {"lse": -np.inf, "max_logit": -np.inf, "max_key": -1}.get(name, 0)
        self._made[name] = Result(like, shape, dtype, fill)
        self.native[name] = self._made[name].native

    def finished(self) -> dict[str, Array]:
        out = {name: result.finished() for name, result in self._made.items()}
        if self._column_sums is not None:
            sums = self._column_sums / float(1 << 27)
            if library(self._like) == "torch":
                import torch

                sums = torch.from_numpy(sums)
            out["column_sums"] = sums
        return out


def _attention(reference: bool, q: Array, k: Array, v: Array, return_: Sequence[str], top_k: int, full_rows: Any,
               layout: str | None, num_heads: int | None, num_kv_heads: int | None, options: dict) -> Any:
    layout = _layout(layout, q, options.get("cu_seqlens_q"))
    q, k, v = of_one_type({"q": q, "k": k, "v": v})
    how = _how(q, layout, num_heads, num_kv_heads, reference)
    nq, nk, nv = readable(q, "q"), readable(k, "k"), readable(v, "v")
    batch, heads, rows, _ = _sizes(nq, layout, num_heads, "q")
    kv_heads = num_kv_heads or num_heads
    keys = _sizes(nk, layout, kv_heads, "k")[2]
    dim = _sizes(nv, layout, kv_heads, "v")[3]
    o = Result(q, _output_shape(layout, batch, heads, rows, dim))
    returns = _Returns(q, return_, (batch, heads, rows, keys), top_k, full_rows)
    _native.attention(nq, nk, nv, o.native, how, _options(**options), returns.native)
    return (o.finished(), returns.finished()) if return_ else o.finished()


def _wants_gradient(arrays: dict[str, Array]) -> bool:
    if "torch" not in sys.modules or library(arrays["q"]) != "torch":
        without_gradient("attention() of a q that is no tensor", arrays)
        return False
    import torch

    return torch.is_grad_enabled() and any(library(x) == "torch" and x.requires_grad for x in arrays.values())


def attention(q: Array, k: Array, v: Array, *, is_causal: bool = False, causal_align: str = "top_left",
              offset: int | None = None, scale: float | None = None, left_window: int = -1, leading_keys: int = 0,
              right_window: int = -1, softcap: float = 0.0, attn_mask: Array | None = None, alibi_slopes: Any = None, sinks: Any = None,
              cu_seqlens_q: Any = None, cu_seqlens_k: Any = None, kv_lengths: Any = None, layout: str | None = None,
              num_heads: int | None = None, num_kv_heads: int | None = None, threads: int = 0,
              compute: str = "f32", return_: Sequence[str] = (), top_k: int = 0, full_rows: Any = None) -> Any:
    """Exact attention: O = softmax(softcap(scale * Q K^T) + bias) V, as the ONNX Attention operator has it.

    Shapes, with layout "bhsd" (the default): q [B, Hq, Sq, D], k [B, Hkv, Sk, D], v [B, Hkv, Sk, Dv], result
    [B, Hq, Sq, Dv]. Hkv divides Hq; query head h reads key-value head h // (Hq // Hkv). Other layouts: "bshd"
    ([B, S, H, D]), "packed" ([B, S, H * D], with num_heads and num_kv_heads), "thd" ([T, H, D], sequences one after the
    other; the default for rank 3 with cu_seqlens). Any strides. float32, float16, bfloat16: where q, k and v differ in
    type they are computed in the widest of them (float16 beside bfloat16: float32), and that is the result's. NumPy
    (bfloat16 of ml_dtypes), PyTorch and JAX arrays are read in place and the result is of q's library.

    is_causal: key j is seen by a row at position p if j <= p. Row i stands at position first + i with first = offset, or
        0 (causal_align="top_left"), or Sk - Sq ("bottom_right"; of its own kv_length where those are given).
    left_window, right_window: keys from p - left_window to p + right_window are seen; -1: unbounded. leading_keys: so
        many at the beginning are seen beside the left window.
    scale: default 1 / sqrt(D). softcap: c tanh(s / c); 0: off.
    attn_mask: bool (True: seen) or added (float32, float16, bfloat16), repeated to [B, Hq, Sq, Sk]; a last axis shorter
        than Sk hides the keys past it.
    alibi_slopes [Hq]: slope * (j - p) is added. sinks [Hq]: a logit that joins the denominator only.
    cu_seqlens_q, cu_seqlens_k [sequences + 1]: variable length, B = 1.
    kv_lengths [B]: keys past it are not seen.
    threads: 0: all cores. The bits of the result never depend on it.
    compute: "f32", or "bf16": inputs, and the weights before the blend, are rounded to bfloat16 and multiplied by the
        processor's bf16 dot, about twice as fast; each output is then within 2^-8 of sum(p |v|). Gradients are of f32.
    return_: names of what else is wanted; then the result is (o, {name: array}). Row measures [B, Hq, Sq]: lse,
        max_logit, max_key (int32, -1: none), row_sum, entropy (nats), sum_squares, mean_distance, first_mass,
        self_weight, previous_weight, recent_mass (last 64 keys). column_sums [B, Hq, Sk] float64: sum of the weights on
        each key. top_k: top_keys (int32) and top_weights [B, Hq, Sq, top_k]. full_rows: full_weights
        [B, Hq, len(full_rows), Sk].

    A row that sees no key is 0 with lse -inf. PyTorch tensors that require gradients get them: q, k, v,
    an additive attn_mask and sinks; once, for the gradient has none of its own. What else requires one is refused, and
    what return_ names raises where a loss is made of it: detach() it.
    Ctrl-C ends a call in KeyboardInterrupt. TypeError for a wrong type, ValueError for what does not fit, naming what was
    given and what was needed.
    """
    options = dict(is_causal=is_causal, causal_align=causal_align, offset=offset, scale=scale, left_window=left_window,
                   leading_keys=leading_keys, right_window=right_window, softcap=softcap, attn_mask=attn_mask, alibi_slopes=alibi_slopes,
                   sinks=sinks, cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k, kv_lengths=kv_lengths,
                   compute=compute, threads=threads)
    without_gradient("attention()", {"alibi_slopes": alibi_slopes, "scale": scale, "softcap": softcap})
    if _wants_gradient({"q": q, "k": k, "v": v, "attn_mask": attn_mask, "sinks": sinks}):
        from ._autograd import attention_with_gradient

        return attention_with_gradient(q, k, v, return_, top_k, full_rows, layout, num_heads, num_kv_heads, options)
    return _attention(False, q, k, v, return_, top_k, full_rows, layout, num_heads, num_kv_heads, options)


_OPTIONS = frozenset(attention.__kwdefaults__) - {"return_", "top_k", "full_rows", "layout", "num_heads", "num_kv_heads"}


def check_options(function: str, options: dict) -> None:
    """TypeError that names an option which the native module would not look at."""
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        raise TypeError(f"{function}() has no argument {unknown[0]!r}")


def reference_attention(q: Array, k: Array, v: Array, *, return_: Sequence[str] = (), top_k: int = 0,
                        full_rows: Any = None, layout: str | None = None, num_heads: int | None = None,
                        num_kv_heads: int | None = None, **options: Any) -> Any:
    """attention() in float64, slow and clear: the oracle. Also takes float64 arrays; same arguments and results."""
    check_options("reference_attention", options)
    without_gradient("reference_attention()", {"q": q, "k": k, "v": v, **options})
    return _attention(True, q, k, v, return_, top_k, full_rows, layout, num_heads, num_kv_heads, options)


def weights(q: Array, k: Array, *, rows: tuple[int, int] | None = None, keys: tuple[int, int] | None = None,
            stage: str = "weight", max_logit: Array | None = None, row_sum: Array | None = None,
            layout: str | None = None, num_heads: int | None = None, num_kv_heads: int | None = None,
            **options: Any) -> Array:
    """The attention weights of rows [a, b) and keys [c, d) of every head: [B, Hq, b - a, d - c] float32.

    Bit for bit those that attention() with the same arguments used. stage: "product" (scale * q.k), "capped" (after
    softcap), "biased" (after ALiBi and mask; -inf: not seen) or "weight". max_logit and row_sum [B, Hq, b - a] (from
    return_ of attention(), cut to the rows): then only the blocks of 512 keys that the rectangle touches are computed.
    Other arguments are attention()'s, but for what it returns. TypeError for one that there is not.
    """
    check_options("weights", options)
    without_gradient("weights()", {"q": q, "k": k, "max_logit": max_logit, "row_sum": row_sum, **options})
    if stage not in STAGES:
        raise ValueError(f"stage: given {stage!r}; needed one of {', '.join(STAGES)}")
    layout = _layout(layout, q, options.get("cu_seqlens_q"))
    q, k = of_one_type({"q": q, "k": k})
    how = _how(q, layout, num_heads, num_kv_heads)
    nq, nk = readable(q, "q"), readable(k, "k")
    batch, heads, row_count, _ = _sizes(nq, layout, num_heads, "q")
    key_count = _sizes(nk, layout, num_kv_heads or num_heads, "k")[2]
    (a, b), (c, d) = _part("rows", rows, row_count), _part("keys", keys, key_count)
    rectangle: dict[str, Any] = {"row_begin": a, "row_end": b, "key_begin": c, "key_end": d, "stage": STAGES.index(stage)}
    if (max_logit is None) != (row_sum is None):
        raise ValueError("max_logit, row_sum: given one of them; needed both or none")
    if max_logit is not None:
        for name, value in (("max_logit", max_logit), ("row_sum", row_sum)):
            value = np.ascontiguousarray(numpy_of(value, name, np.float32))
            if value.shape != (batch, heads, b - a):
                raise ValueError(f"{name}: given shape {value.shape}; needed {(batch, heads, b - a)}")
            rectangle[name] = value
    out = Result(q, (batch, heads, b - a, d - c), "float32")
    _native.weights(nq, nk, out.native, how, _options(**options), rectangle)
    return out.finished()


def _part(name: str, given: Any, count: int) -> tuple[int, int]:
    """(begin, end) of `count` rows or keys."""
    if given is None:
        return 0, count
    try:
        begin, end = (operator.index(number) for number in given)
    except (TypeError, ValueError):
        begin, end = 0, -1
    if not 0 <= begin <= end <= count:
        raise ValueError(f"{name}: given {given}; needed a range (begin, end) in [0, {count}]")
    return begin, end


def merge_partial(o1: Array, lse1: Array, o2: Array, lse2: Array) -> tuple[np.ndarray, np.ndarray]:
    """Results over disjoint sets of keys become one: o [..., Dv] and lse [...] (natural log), float32."""
    given = {"o1": o1, "lse1": lse1, "o2": o2, "lse2": lse2}
    without_gradient("merge_partial()", given)
    arrays = [numpy_of(x, name, np.float32) for name, x in given.items()]
    # In C order: a reshape of any other one is a copy, and what is merged into a copy is lost.
    o, lse = (np.array(x, order="C") for x in arrays[:2])
    other, other_lse = arrays[2:]
    if o.shape != other.shape or lse.shape != other_lse.shape or o.shape[:-1] != lse.shape:
        raise ValueError(f"o1, lse1, o2, lse2: given shapes {o.shape}, {lse.shape}, {other.shape}, {other_lse.shape}; "
                         "needed [..., Dv], [...] twice")
    dim = o.shape[-1]
    _native.merge_partial(o.reshape(lse.size, dim), lse.reshape(-1), np.ascontiguousarray(other).reshape(lse.size, dim),
                          np.ascontiguousarray(other_lse).reshape(-1))
    return o, lse
