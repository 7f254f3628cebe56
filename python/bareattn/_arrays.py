"""Arrays of NumPy, PyTorch and JAX: what the native module reads (no copies), and results in the caller's own library.

Anything else that speaks DLPack or the buffer protocol is read too; its results are NumPy arrays.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

_HALF_NAMES = ("float32", "float16", "bfloat16")


def library(x: Any) -> str:
    """"numpy", "torch", "jax" or "other"."""
    if isinstance(x, np.ndarray):
        return "numpy"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        return "torch"
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(x, jax.Array):
        return "jax"
    return "other"


_NAMES: dict[Any, str] = {}  # by dtype: NumPy takes 3 us to spell one


def dtype_name(x: Any) -> str:
    """"float32", "bfloat16", ... of any array."""
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return type(x).__name__
    name = _NAMES.get(dtype)
    if name is None:
        name = _NAMES[dtype] = str(getattr(dtype, "name", dtype)).removeprefix("torch.")
    return name


def readable(x: Any, name: str) -> Any:
    """What the native module takes for x: x itself, or a view of it."""
    kind = library(x)
    if kind == "numpy":
        name_of_type = dtype_name(x)
        if name_of_type == "bfloat16":  # DLPack of NumPy has no such type: its bits
            x = x.view(np.uint16)
        elif name_of_type == "uint16":
            raise TypeError(f"{name}: given uint16; needed float32, float16 or bfloat16 (view bits as ml_dtypes.bfloat16)")
        if not x.flags.c_contiguous and any(step % x.itemsize for step in x.strides):
            raise ValueError(f"{name}: given strides {x.strides}; needed multiples of the element's {x.itemsize} bytes")
        if not x.dtype.isnative:
            raise TypeError(f"{name}: given {x.dtype.str}; needed the byte order of this computer")
        return x
    if kind == "torch":
        if x.device.type != "cpu":
            raise TypeError(f"{name}: given a tensor on {x.device}; needed one on the CPU")
        return _numpy_of(x.detach())
    if kind == "other" and not hasattr(x, "__dlpack__") and not isinstance(x, (memoryview,)):
        try:
            memoryview(x)
        except TypeError:
            raise TypeError(f"{name}: given {type(x).__name__}; needed an array (NumPy, PyTorch, JAX)") from None
    return x


def _numpy_of(tensor: Any) -> Any:
    """The same memory as NumPy (bfloat16: its bits): ten times quicker to read than a DLPack capsule."""
    if dtype_name(tensor) == "bfloat16":
        return tensor.view(sys.modules["torch"].int16).numpy().view(np.uint16)
    return tensor.numpy()


def is_bf16(x: Any) -> bool:
    return dtype_name(x) == "bfloat16"


class Result:
    """A new array for the native module to fill, `like` another: its library, and its type unless one is given."""

    def __init__(self, like: Any, shape: tuple[int, ...], dtype: str | None = None, fill: float | None = None):
        self._kind = library(like)
        name = dtype or dtype_name(like)
        if self._kind == "torch":
            import torch

            own = getattr(torch, name)
            self._array = torch.empty(shape, dtype=own) if fill is None else torch.full(shape, fill, dtype=own)
            self.native = _numpy_of(self._array)
            return
        if name == "bfloat16":
            import ml_dtypes

            own = ml_dtypes.bfloat16
        else:
            own = np.dtype(name)
        self._array = np.empty(shape, own) if fill is None else np.full(shape, fill, own)
        self.native = self._array.view(np.uint16) if name == "bfloat16" else self._array

    def finished(self) -> Any:
        if self._kind == "jax":
            import jax.numpy as jnp

            return jnp.asarray(self._array)
        return self._array
