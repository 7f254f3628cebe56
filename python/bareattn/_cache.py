"""AttentionCache: keys and values packed once, for decoding; also from pages of any size."""

from __future__ import annotations

import threading
from typing import Any, Sequence

import numpy as np

from . import _native
from ._arguments import whole
from ._arrays import Result, is_bf16, numpy_of, of_one_type, readable, without_gradient
from ._attention import Array, _how, _numbers, _options, _output_shape, _Returns, _sizes, check_options


class AttentionCache:
    """Keys and values of `batch` sequences, as the kernels read them.

    compute="bf16" keeps them as bfloat16 (half the memory) and computes as attention(compute="bf16") does.
    append() adds keys, attention() attends to all that are there. Results are bit for bit those of attention() over the
    same keys in one piece. Threads may share a cache: its calls come one after the other.
    """

    def __init__(self, batch: int, kv_heads: int, head_dim: int, value_dim: int | None = None, *,
                 compute: str = "f32"):
        if compute not in ("f32", "bf16"):
            raise ValueError(f"compute: given {compute!r}; needed 'f32' or 'bf16'")
        for name, size in (("batch", batch), ("kv_heads", kv_heads), ("head_dim", head_dim), ("value_dim", value_dim)):
            if size is not None or name != "value_dim":
                whole(name, size, most=1 << 24)
        self.compute = compute
        self._native = _native.Cache(batch, kv_heads, head_dim, head_dim if value_dim is None else value_dim,
                                     compute == "bf16")
        self._lock = threading.Lock()  # the native calls leave the GIL, and none may find the cache half changed

    def append(self, k: Array, v: Array, *, counts: Any = None, layout: str = "bhsd") -> None:
        """k [B, Hkv, n, D], v [B, Hkv, n, Dv] (or another layout) after what is there; counts [B]: only the first ones."""
        without_gradient("AttentionCache", {"k": k, "v": v})
        k, v = of_one_type({"k": k, "v": v})
        how = _how(k, layout, self.kv_heads, self.kv_heads)
        nk, nv, numbers = readable(k, "k"), readable(v, "v"), _numbers(counts, "counts", int)
        with self._lock:
            self._native.append(nk, nv, how, numbers)

    def append_pages(self, k_pages: Array, v_pages: Array, table: Any, lengths: Any) -> None:
        """What is new in a paged cache: k_pages [pages, Hkv, page, D], v_pages [pages, Hkv, page, Dv], table
        [B, pages of a sequence], lengths [B]. Key j of sequence b is row j % page of page table[b, j // page]."""
        without_gradient("AttentionCache", {"k_pages": k_pages, "v_pages": v_pages})
        k_pages, v_pages = of_one_type({"k_pages": k_pages, "v_pages": v_pages})
        rows = numpy_of(table, "table")
        if rows.ndim != 2:
            raise ValueError(f"table: given shape {rows.shape}; needed [B, pages]")
        if rows.size and rows.dtype.kind not in "iu":
            raise TypeError(f"table: given {rows.dtype}; needed integers")
        if rows.size and not 0 <= int(rows.min()) <= int(rows.max()) < 2**31:
            raise ValueError(f"table: given pages {rows.min()} to {rows.max()}; needed 0 to {2**31 - 1}")
        rows = np.ascontiguousarray(rows, np.int32)
        nk, nv, numbers = readable(k_pages, "k_pages"), readable(v_pages, "v_pages"), _numbers(lengths, "lengths", int)
        with self._lock:
            self._native.append_pages(nk, nv, is_bf16(k_pages), rows, numbers)

    def truncate(self, b: int, length: int) -> None:
        """Forgets keys of sequence b past `length`."""
        b, length = whole("b", b, most=1 << 24), whole("length", length)
        with self._lock:
            self._native.truncate(b, length)

    def attention(self, q: Array, *, is_causal: bool = True, causal_align: str = "bottom_right",
                  return_: Sequence[str] = (), top_k: int = 0, full_rows: Any = None, layout: str = "bhsd",
                  num_heads: int | None = None, num_kv_heads: int | None = None, **options: Any) -> Any:
        """q [B, Hq, Sq, D] against every cached key; by default causal with the last row at the last key.

        Other arguments and results are those of bareattn.attention(). TypeError for an argument that there is not,
        ValueError for a compute or num_kv_heads that is not the cache's.
        """
        check_options("AttentionCache.attention", options)
        without_gradient("AttentionCache.attention()", {"q": q, **options})
        if num_kv_heads not in (None, self.kv_heads):
            raise ValueError(f"num_kv_heads: given {num_kv_heads}; needed {self.kv_heads}, as the cache has")
        native = readable(q, "q")
        batch, heads_seen, rows, _ = _sizes(native, layout, num_heads, "q")
        o = Result(q, _output_shape(layout, batch, heads_seen, rows, self.value_dim))
        how = _how(q, layout, num_heads, self.kv_heads)
        given = _options(is_causal=is_causal, causal_align=causal_align, **{"compute": self.compute, **options})
        with self._lock:
            longest = max(self._native.lengths, default=0)
            returns = _Returns(q, return_, (batch, heads_seen, rows, longest), top_k, full_rows)
            self._native.attention(native, o.native, how, given, returns.native)
        return (o.finished(), returns.finished()) if return_ else o.finished()

    @property
    def lengths(self) -> list[int]:
        """Keys of each sequence."""
        with self._lock:
            return self._native.lengths

    @property
    def kv_heads(self) -> int:
        return self._native.kv_heads

    @property
    def head_dim(self) -> int:
        return self._native.head_dim

    @property
    def value_dim(self) -> int:
        return self._native.value_dim

    @property
    def nbytes(self) -> int:
        """Memory of the packed keys and values."""
        with self._lock:
            return self._native.bytes
