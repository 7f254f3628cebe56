"""Hugging Face transformers on bareattn.

    import bareattn.hf
    bareattn.hf.register()
    model = AutoModelForCausalLM.from_pretrained(..., attn_implementation="bareattn")
    with bareattn.hf.observe("entropy", "column_sums") as seen:
        model(ids)
    seen["model.layers.3.self_attn"][0]["entropy"]  # of that module, first forward pass: [B, Hq, Sq]

Masks are boolean, from transformers' own mask functions (none at all where causality says everything). Dropout is
refused: there is none here. An argument of a model that is not understood and says something is refused by name.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, Sequence

import torch

from ._arguments import whole
from ._attention import STATISTICS, attention

# What models hand to every attention, and what has no say in its result: positions are in the rotated q and k, packed
# sequences in the mask (or in cu_seq_lens_q and cu_seq_lens_k), the cache in k and v.
_WITHOUT_A_SAY = frozenset(("position_ids", "cache_position", "past_key_values", "past_key_value", "use_cache", "position_embeddings",
                            "max_length_q", "max_length_k", "num_items_in_batch", "output_hidden_states",
                            "output_router_logits", "return_dict", "seq_idx", "deterministic", "target_dtype", "layer_idx"))


class _Watch:
    """What observe() asks for, what was seen, and the path of every module in the model that runs."""

    def __init__(self, names: Sequence[str], top_k: int, full_rows: Sequence[int]):
        self.names, self.top_k, self.full_rows = names, top_k, full_rows
        self.seen: dict[str, list[dict]] = {}
        self._keys: dict[torch.nn.Module, str] = {}
        self._paths: dict[torch.nn.Module, str] = {}

    def enter(self, module: torch.nn.Module, _: Any) -> None:
        if module not in self._paths:  # the outermost one of a model comes first
            for path, inner in module.named_modules():
                self._paths.setdefault(inner, path)

    def key(self, module: torch.nn.Module) -> str:
        if module not in self._keys:
            path = self._paths.get(module) or type(module).__name__
            taken, count = set(self._keys.values()), 1
            key = path
            while key in taken:  # of another model
                count += 1
                key = f"{path} ({count})"
            self._keys[module] = key
        return self._keys[module]

    def add(self, module: torch.nn.Module, seen: dict) -> None:
        self.seen.setdefault(self.key(module), []).append({name: value.detach() for name, value in seen.items()})


_watch: _Watch | None = None


def _refuse_what_is_not_understood(given: dict[str, Any]) -> None:
    for name, value in given.items():
        neutral = value is None or value is False or name in _WITHOUT_A_SAY
        if not neutral:
            hint = ("; observe() returns what is measured of the weights, bareattn.weights() the weights"
                    if name == "output_attentions" else "")
            raise ValueError(f"{name}: given a {type(value).__name__} that this attention does not know; needed None{hint}")


def attention_forward(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                      attention_mask: torch.Tensor | None, dropout: float = 0.0, scaling: float | None = None,
                      is_causal: bool | None = None, softcap: float | None = None, s_aux: torch.Tensor | None = None,
                      position_bias: torch.Tensor | None = None, sliding_window: int | None = None,
                      cu_seq_lens_q: torch.Tensor | None = None, cu_seq_lens_k: torch.Tensor | None = None,
                      **others: Any) -> tuple[torch.Tensor, None]:
    """What transformers calls per layer: query [B, Hq, Sq, D], key and value [B, Hkv, Sk, D]; returns [B, Sq, Hq, Dv].

    ValueError for an argument that is not understood and not None."""
    if dropout:
        raise ValueError(f"dropout: given {dropout}; needed 0 (call model.eval())")
    _refuse_what_is_not_understood(others)
    rows, keys = query.shape[2], key.shape[2]
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    causal = bool(causal) and attention_mask is None and rows > 1
    if position_bias is not None:  # one additive mask of both
        if attention_mask is None:
            attention_mask = position_bias
        elif attention_mask.dtype == torch.bool:
            attention_mask = torch.where(attention_mask, position_bias, -torch.inf)
        else:
            attention_mask = attention_mask + position_bias
    if attention_mask is not None and attention_mask.dtype == torch.float64:
        attention_mask = attention_mask.float()
    options: dict[str, Any] = {}
    packed = cu_seq_lens_q is not None and attention_mask is None and query.shape[0] == 1
    if packed:
        options.update(cu_seqlens_q=cu_seq_lens_q, cu_seqlens_k=cu_seq_lens_q if cu_seq_lens_k is None else cu_seq_lens_k)
    elif causal and keys > rows:
        # Without a mask the rows are the first ones of the keys (transformers' own rule, an empty static cache behind them).
        options["kv_lengths"] = [rows] * query.shape[0]
    if causal and sliding_window is not None:  # a mask has it already
        options["left_window"] = int(sliding_window) - 1
    watch = _watch
    names = watch.names if watch is not None else ()
    if names:
        options.update(return_=names, top_k=watch.top_k, full_rows=[row for row in watch.full_rows if row < rows])
    result = attention(query, key, value, is_causal=causal, scale=scaling, softcap=softcap or 0.0,
                       attn_mask=attention_mask, sinks=s_aux, **options)
    if names:
        result, seen = result
        watch.add(module, seen)
    return result.transpose(1, 2).contiguous(), None


def register(name: str = "bareattn") -> str:
    """Makes attn_implementation=name known to transformers (attention and masks); returns the name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, sdpa_mask)
    return name


@contextlib.contextmanager
def observe(*names: str, top_k: int = 0, full_rows: Sequence[int] = ()) -> Iterator[dict[str, list[dict]]]:
    """What attention(return_=names) returns, of every attention module while the block runs: {path of the module in its
    model: [one dict per pass]}, in the order of their first pass. top_k, full_rows: as attention()'s, wanted with these
    names; of a pass with fewer rows only those that it has."""
    global _watch
    unknown = set(names) - set(STATISTICS)
    if unknown or not names:
        raise ValueError(f"names: given {names}; needed some of {', '.join(STATISTICS)}")
    if "top_k" in names or top_k:
        whole("top_k", top_k, 1, 2**31 - 1)
    rows = sorted({whole("full_rows", row) for row in full_rows})
    if "full_rows" in names and not rows:
        raise ValueError("full_rows: given none; needed the rows whose weights 'full_rows' wants")
    before, watch = _watch, _Watch(names, top_k, rows)
    entered = torch.nn.modules.module.register_module_forward_pre_hook(watch.enter)
    _watch = watch
    try:
        yield watch.seen
    finally:
        _watch = before
        entered.remove()
