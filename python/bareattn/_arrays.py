"""Arrays of NumPy, PyTorch and JAX: what the native module reads (no copies), and results in the caller's own library.

Anything else that speaks DLPack or the buffer protocol is read too; its results are NumPy arrays.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from . import _native


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
    """What the native module takes for x, a view of it: an exact NumPy array, or the native module's own hold of another
    library's. Its shape and type are those of the memory, whatever the attributes of x say."""
    kind = library(x)
    if kind == "torch":
        return _numpy_of(on_cpu(x, name).detach())
    if kind == "numpy":
        x = unmasked(x, name)
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
    if kind == "other" and not hasattr(x, "__dlpack__"):
        try:
            memoryview(x)
        except TypeError:
            raise TypeError(f"{name}: given {type(x).__name__}; needed an array (NumPy, PyTorch, JAX)") from None
    return _native.take(x, name)


def unmasked(x: Any, name: str) -> np.ndarray:
    """A NumPy array of no other class; TypeError where a mask hides something of it, which nothing here would heed."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise TypeError(f"{name}: given a masked array; needed one without a mask (attn_mask is what hides keys)")
        x = x.data
    return np.asarray(x)


def on_cpu(x: Any, name: str) -> Any:
    if x.device.type != "cpu":
        raise TypeError(f"{name}: given a tensor on {x.device}; needed one on the CPU")
    return x


def without_gradient(function: str, arrays: dict[str, Any]) -> None:
    """ValueError where a PyTorch tensor wants a gradient of what has none: it would be missing from the sum in silence."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.is_grad_enabled():
        return
    for name, x in arrays.items():
        if isinstance(x, torch.Tensor) and x.requires_grad:
            raise ValueError(f"{name}: given a tensor that requires a gradient, and {function} has none of it; needed "
                             f"{name}.detach(), or torch.no_grad() around the call")


def numpy_of(x: Any, name: str, dtype: Any = None) -> np.ndarray:
    """A NumPy array of anything: of a list, and of the tensors of PyTorch, bfloat16 included."""
    if library(x) == "torch":
        x = on_cpu(x, name).detach()
        x = (x.float() if dtype_name(x) == "bfloat16" else x).numpy()
    elif isinstance(x, np.ndarray):
        x = unmasked(x, name)
    return np.asarray(x, dtype)


_WIDTH = {"float16": 1, "bfloat16": 1, "float32": 2, "float64": 3}


def of_one_type(arrays: dict[str, Any]) -> tuple[Any, ...]:
    """The arrays in the widest of their types; float16 beside bfloat16 is float32."""
    names = {name: _type_of(x) for name, x in arrays.items()}
    kinds = set(names.values())
    if len(kinds) == 1 or not kinds <= _WIDTH.keys():
        return tuple(arrays.values())  # what is none of them is refused where it is read
    widest = max(kinds, key=_WIDTH.get)
    if _WIDTH[widest] == 1:
        widest = "float32"
    return tuple(x if names[name] == widest else _as_type(x, widest, name) for name, x in arrays.items())


def _type_of(x: Any) -> str:
    """The type's name; of another library's array what its memory says."""
    name = dtype_name(x)
    if name == "bfloat16" or library(x) != "other" or not (hasattr(x, "__dlpack__") or isinstance(x, memoryview)):
        return name
    return _native.take(x, "array").dtype


def _as_type(x: Any, dtype: str, name: str) -> Any:
    kind = library(x)
    if kind == "torch":
        return x.to(getattr(sys.modules["torch"], dtype))  # autograd takes the gradient back to x's own type
    if kind == "jax":
        return x.astype(dtype)
    if kind == "other":
        x = np.from_dlpack(x) if hasattr(x, "__dlpack__") else np.asarray(x)
    return unmasked(x, name).astype(dtype)


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
        name = dtype or _type_of(like)
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
