"""PyTorch tensors: types, layouts, results of the same library. Runs where torch is importable, else one loud skip."""

import numpy as np
import pytest

import bareattn

torch = pytest.importorskip("torch", reason="torch is not installed: NOTHING of the PyTorch interface was tested")


def make(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def test_equals_sdpa():
    q, k, v = make(2, 4, 33, 16), make(2, 2, 33, 16), make(2, 2, 33, 16)
    o = bareattn.attention(q, k, v, is_causal=True)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    assert isinstance(o, torch.Tensor)
    torch.testing.assert_close(o, expected, atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_16_bit_types(dtype):
    q, k, v = (make(1, 2, 9, 16, dtype=dtype) for _ in range(3))
    o = bareattn.attention(q, k, v)
    assert o.dtype == dtype
    assert torch.equal(o, bareattn.attention(q.float(), k.float(), v.float()).to(dtype))


def test_views_are_read_in_place():
    x = make(2, 9, 3, 4, 16)  # one projection of q, k, v: [B, S, 3, H, D]
    q, k, v = (x[:, :, i].transpose(1, 2) for i in range(3))
    assert torch.equal(bareattn.attention(q, k, v), bareattn.attention(q.contiguous(), k.contiguous(), v.contiguous()))


def test_returns_are_tensors():
    q = make(1, 2, 5, 8)
    o, seen = bareattn.attention(q, q, q, return_=("lse", "column_sums"))
    assert isinstance(seen["lse"], torch.Tensor)
    assert isinstance(seen["column_sums"], torch.Tensor)
    np.testing.assert_allclose(seen["column_sums"].sum(-1).numpy(), 5, atol=1e-6)


def test_masks():
    q = make(1, 2, 5, 8)
    seen = torch.rand(5, 5) > 0.4
    seen[:, 0] = True
    expected = torch.nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=seen)
    torch.testing.assert_close(bareattn.attention(q, q, q, attn_mask=seen), expected, atol=2e-6, rtol=1e-5)


def test_another_device_is_refused():
    q = torch.empty(1, 1, 1, 1, device="meta")
    with pytest.raises(TypeError, match="meta"):
        bareattn.attention(q, q, q)


def test_sinks_in_bfloat16():
    """As gpt-oss is published."""
    q, sinks = make(1, 4, 9, 16, dtype=torch.bfloat16), make(4, dtype=torch.bfloat16)
    assert torch.equal(bareattn.attention(q, q, q, sinks=sinks), bareattn.attention(q, q, q, sinks=sinks.float()))
    learned = sinks.clone().requires_grad_()
    bareattn.attention(q, q, q, sinks=learned).sum().backward()
    assert learned.grad.dtype == torch.bfloat16 and bool(learned.grad.abs().sum() > 0)


def test_under_autocast():
    """Rotary positions leave q and k in float32 beside a v in bfloat16."""
    layer, x = torch.nn.Linear(16, 16), make(1, 2, 9, 16)
    with torch.autocast("cpu", torch.bfloat16):
        v = layer(x)
        assert v.dtype == torch.bfloat16
        o = bareattn.attention(x, x, v)
        layer(o).sum().backward()
    assert torch.equal(o, bareattn.attention(x, x, v.float())) and bool(layer.weight.grad.abs().sum() > 0)


def test_merge_partial_of_tensors():
    q, k = make(1, 2, 5, 16), make(1, 2, 8, 16)
    parts = [bareattn.attention(q, k[:, :, a:b], k[:, :, a:b], return_="lse") for a, b in ((0, 3), (3, 8))]
    o, _ = bareattn.merge_partial(parts[0][0], parts[0][1]["lse"], parts[1][0].bfloat16().float(), parts[1][1]["lse"])
    np.testing.assert_allclose(o, bareattn.attention(q, k, k).numpy(), atol=0.02)
    bareattn.merge_partial(parts[0][0].bfloat16(), parts[0][1]["lse"], parts[1][0], parts[1][1]["lse"])
