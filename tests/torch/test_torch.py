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
