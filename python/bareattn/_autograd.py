"""PyTorch gradients of attention(): the forward keeps O and the LSE, the backward is the C++ library's (deterministic).

What has no gradient raises where one is asked for, so that no loss misses a part in silence: the gradients themselves
(second derivatives), and what return_ names."""

from __future__ import annotations

from typing import Any

import torch

from . import _native
from ._arrays import of_one_type, readable
from ._attention import _attention, _how, _layout, _options


class _NoGradient(torch.autograd.Function):
    """Its last arguments as they are, depending on `sources`; a gradient of them is refused with a sentence."""

    @staticmethod
    def forward(ctx, sentence, count, *tensors):  # noqa: ANN001
        ctx.sentence = sentence
        return tuple(x.view_as(x) for x in tensors[len(tensors) - count:])

    @staticmethod
    def backward(ctx, *_):  # noqa: ANN001
        raise RuntimeError(ctx.sentence)


def _without_gradient(sentence: str, sources: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The values, which depend on the sources without a gradient that is known."""
    real = [name for name, x in values.items() if x is not None and x.is_floating_point()]
    if not real:
        return values
    held = _NoGradient.apply(sentence, len(real), *(x for x in sources if x is not None), *(values[n] for n in real))
    return {**values, **dict(zip(real, held))}


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, attn_mask, sinks, call):  # noqa: ANN001
        names = tuple(dict.fromkeys((*call["return_"], "lse")))
        options = dict(call["options"], attn_mask=attn_mask, sinks=sinks)
        o, seen = _attention(False, q, k, v, names, call["top_k"], call["full_rows"], call["layout"], call["num_heads"],
                             call["num_kv_heads"], options)
        ctx.call = call
        ctx.save_for_backward(q, k, v, attn_mask, sinks, o, seen["lse"])
        call["seen"] = {name: value for name, value in seen.items() if name != "lse" or "lse" in call["return_"]}
        return o

    @staticmethod
    def backward(ctx, d_o):  # noqa: ANN001
        q, k, v, attn_mask, sinks, o, lse = ctx.saved_tensors
        call = ctx.call
        options = dict(call["options"], attn_mask=attn_mask, sinks=sinks)
        need_q, need_k, need_v, need_mask, need_sinks, _ = ctx.needs_input_grad
        d_o = d_o.to(o.dtype)
        gradients: dict[str, torch.Tensor] = {}
        for name, tensor, needed in (("d_q", q, need_q), ("d_k", k, need_k), ("d_v", v, need_v)):
            if needed:
                gradients[name] = torch.empty(tensor.shape, dtype=torch.float32)
        if need_sinks:
            gradients["d_sinks"] = torch.empty(sinks.shape, dtype=torch.float32)
        if need_mask:
            keys = k.shape[2] if call["layout"] == "bhsd" else k.shape[0] if call["layout"] == "thd" else k.shape[1]
            gradients["d_mask"] = torch.empty((*lse.shape, keys), dtype=torch.float32)
        forward = {name: readable(x, name) for name, x in
                   (("q", q), ("k", k), ("v", v), ("o", o), ("lse", lse), ("d_o", d_o))}
        _native.attention_backward(forward, gradients, _how(q, call["layout"], call["num_heads"], call["num_kv_heads"]),
                                   _options(**options))
        d_mask = gradients.get("d_mask")
        if d_mask is not None:  # back to what was repeated; a shorter last axis has no part in the rest
            d_mask = d_mask[..., : attn_mask.shape[-1]].sum_to_size(attn_mask.shape).to(attn_mask.dtype)
        d_sinks = gradients.get("d_sinks")
        made = {n: gradients[n].to(x.dtype) if n in gradients else None for n, x in (("d_q", q), ("d_k", k), ("d_v", v))}
        made.update(d_mask=d_mask, d_sinks=d_sinks.to(sinks.dtype) if d_sinks is not None else None)
        if torch.is_grad_enabled():  # create_graph=True: somebody may ask for a gradient of these
            made = _without_gradient("attention() has first derivatives only: a gradient of its gradient (a Hessian, a "
                                     "gradient penalty) is not computed; torch.nn.functional.scaled_dot_product_attention "
                                     "with the math backend has it", (q, k, v, attn_mask, sinks, d_o), made)
        return *made.values(), None


def attention_with_gradient(q: Any, k: Any, v: Any, return_: Any, top_k: int, full_rows: Any, layout: str | None,
                            num_heads: int | None, num_kv_heads: int | None, options: dict) -> Any:
    options = dict(options)
    mask, sinks = options.pop("attn_mask"), options.pop("sinks")
    call = {
        "return_": (return_,) if isinstance(return_, str) else tuple(return_),
        "top_k": top_k,
        "full_rows": full_rows,
        "layout": _layout(layout, q, options.get("cu_seqlens_q")),
        "num_heads": num_heads,
        "num_kv_heads": num_kv_heads,
        "options": options,
    }
    tensor = lambda x: x if x is None or isinstance(x, torch.Tensor) else torch.as_tensor(x)  # noqa: E731
    q, k, v = of_one_type({"q": q, "k": tensor(k), "v": tensor(v)})
    sources = (q, k, v, tensor(mask), tensor(sinks))
    o = _Attention.apply(*sources, call)
    if not return_:
        return o
    return o, _without_gradient(f"what return_ names ({', '.join(call['seen'])}) has no gradient: detach() it, or leave it "
                                "out of the loss", sources, call["seen"])
