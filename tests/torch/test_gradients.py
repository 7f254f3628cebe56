"""Gradients through torch.autograd against PyTorch's own in float64; skipped loudly where torch is not importable."""

import pytest

import bareattn

torch = pytest.importorskip("torch", reason="torch is not installed: NO gradient was tested")


def dense(q, k, v, causal=False, mask=None, sinks=None, softcap=0.0):
    """Attention in float64 out of PyTorch's own operators."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    s = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
    if softcap:
        s = softcap * torch.tanh(s / softcap)
    if mask is not None:
        s = s + mask
    if causal:
        s = s.masked_fill(torch.ones(s.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    if sinks is not None:
        s = torch.cat([s, sinks.view(1, -1, 1, 1).expand(*s.shape[:3], 1)], -1)
        return s.softmax(-1)[..., :-1] @ v
    return s.softmax(-1) @ v


@pytest.mark.parametrize("case", ["plain", "causal", "mask", "sinks", "softcap", "long"])
def test_gradients(case):
    torch.manual_seed(3)
    n = 700 if case == "long" else 21
    q, k, v = torch.randn(2, 4, n, 16), torch.randn(2, 2, n, 16), torch.randn(2, 2, n, 12)
    mask = torch.randn(1, 4, 1, n) if case == "mask" else None
    sinks = torch.randn(4) if case == "sinks" else None
    causal, softcap = case in ("causal", "long"), 2.0 if case == "softcap" else 0.0
    leaves = [x for x in (q, k, v, mask, sinks) if x is not None]
    for x in leaves:
        x.requires_grad_()
    o = bareattn.attention(q, k, v, is_causal=causal, attn_mask=mask, sinks=sinks, softcap=softcap)
    d_o = torch.randn_like(o)
    mine = torch.autograd.grad(o, leaves, d_o)
    double = [x.detach().double().requires_grad_() for x in leaves]
    rest = iter(double[3:])
    exact = dense(*double[:3], causal, next(rest) if mask is not None else None, next(rest) if sinks is not None else None,
                  softcap)
    theirs = torch.autograd.grad(exact, double, d_o.double())
    for a, b in zip(mine, theirs, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a.double(), b, atol=3e-5 * float(b.abs().max()) + 1e-7, rtol=1e-4)


def test_repeated_backward_has_the_same_bits():
    q = torch.randn(1, 4, 300, 32, requires_grad=True)
    grads = []
    for threads in (1, 2, 2, 3):
        (g,) = torch.autograd.grad(bareattn.attention(q, q, q, is_causal=True, threads=threads).sum(), q)
        grads.append(g)
    assert all(torch.equal(grads[0], g) for g in grads)
