"""Hugging Face transformers on bareattn.

    import bareattn.hf
    bareattn.hf.register()
    model = AutoModelForCausalLM.from_pretrained(..., attn_implementation="bareattn")
    with bareattn.hf.observe("entropy", "column_sums") as seen:
        model(ids)
    seen[3][0]["entropy"]  # layer 3, first forward pass: [B, Hq, Sq]

Masks are boolean, from transformers' own mask functions (none at all where causality says everything). Dropout is
refused: there is none here.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator

import torch

from ._attention import STATISTICS, attention

_observed: tuple[tuple[str, ...], dict[int, list[dict]]] | None = None


def attention_forward(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
                      attention_mask: torch.Tensor | None, dropout: float = 0.0, scaling: float | None = None,
                      is_causal: bool | None = None, softcap: float | None = None, s_aux: torch.Tensor | None = None,
                      position_bias: torch.Tensor | None = None, **_: Any) -> tuple[torch.Tensor, None]:
    """What transformers calls per layer: query [B, Hq, Sq, D], key and value [B, Hkv, Sk, D]; returns [B, Sq, Hq, Dv]."""
    if dropout:
        raise ValueError(f"dropout: given {dropout}; needed 0 (call model.eval())")
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
    names = _observed[0] if _observed is not None else ()
    # Without a mask the rows are the first ones of the keys (transformers' own rule, an empty static cache behind them).
    result = attention(query, key, value, is_causal=causal, scale=scaling, softcap=softcap or 0.0,
                       attn_mask=attention_mask, sinks=s_aux, return_=names,
                       kv_lengths=[rows] * query.shape[0] if causal and keys > rows else None)
    if names:
        result, seen = result
        _observed[1].setdefault(getattr(module, "layer_idx", 0), []).append(seen)
    return result.transpose(1, 2).contiguous(), None


def register(name: str = "bareattn") -> str:
    """Makes attn_implementation=name known to transformers (attention and masks); returns the name."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, sdpa_mask)
    return name


@contextlib.contextmanager
def observe(*names: str) -> Iterator[dict[int, list[dict]]]:
    """Row measures and column sums of every layer's attention while the block runs: {layer: [one dict per pass]}."""
    global _observed
    unknown = set(names) - set(STATISTICS)
    if unknown or not names:
        raise ValueError(f"names: given {names}; needed some of {', '.join(STATISTICS)}")
    before, seen = _observed, {}
    _observed = (names, seen)
    try:
        yield seen
    finally:
        _observed = before
