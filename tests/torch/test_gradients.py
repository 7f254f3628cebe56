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


def leaves():
    torch.manual_seed(5)
    return [torch.randn(1, 2, 5, 8, requires_grad=True) for _ in range(3)]


def test_second_derivatives_are_refused():
    """Were they not, a Hessian would be zeros and a gradient penalty a wrong gradient."""
    q, k, v = leaves()
    refused = pytest.raises(RuntimeError, match="first derivatives only")
    with refused:
        torch.autograd.functional.hessian(lambda x: bareattn.attention(x, k, v).square().sum(), q)
    for function in (torch.autograd.functional.hvp, torch.autograd.functional.vhp):
        with refused:
            function(lambda x: bareattn.attention(x, k, v).sum(), q, torch.ones_like(q))  # the loss itself is linear in O
    for wanted in ((q,), (k, v), (q, k, v)):
        o = bareattn.attention(q, k, v)
        grads = torch.autograd.grad(o.sum(), wanted, create_graph=True)
        with refused:
            (o.sum() + sum(g.square().sum() for g in grads)).backward()
    mask, sinks = torch.randn(1, 2, 5, 5, requires_grad=True), torch.randn(2, requires_grad=True)
    (g,) = torch.autograd.grad(bareattn.attention(q, k, v, attn_mask=mask, sinks=sinks).sum(), sinks, create_graph=True)
    with refused:
        g.square().sum().backward()


def test_first_derivatives_with_a_graph_are_those_without():
    q, k, v = leaves()
    plain = torch.autograd.grad(bareattn.attention(q, k, v).sum(), (q, k, v))
    graph = torch.autograd.grad(bareattn.attention(q, k, v).sum(), (q, k, v), create_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, graph))


def test_statistics_in_a_loss_are_refused():
    q, k, v = leaves()
    names = tuple(bareattn.STATISTICS)
    o, seen = bareattn.attention(q, k, v, return_=names, top_k=2, full_rows=[1])
    alone = bareattn.attention(q.detach(), k.detach(), v.detach(), return_=names, top_k=2, full_rows=[1])[1]
    assert seen.keys() == alone.keys()
    for name, value in seen.items():
        assert torch.equal(value.detach(), alone[name]), name
        if value.is_floating_point():
            with pytest.raises(RuntimeError, match="has no gradient: detach"):
                (o.sum() + value.sum()).backward(retain_graph=True)
    (mine,) = torch.autograd.grad((o.sum() + seen["entropy"].detach().sum()), q, retain_graph=True)
    assert torch.equal(mine, torch.autograd.grad(bareattn.attention(q, k, v).sum(), q)[0])


def test_what_has_no_gradient_says_so():
    q, k, v = leaves()
    plain = [x.detach() for x in (q, k, v)]
    o, seen = bareattn.attention(*plain, return_=("lse", "max_logit", "row_sum"))
    cache = bareattn.AttentionCache(1, 2, 8)
    cache.append(*plain[1:])
    wanted = torch.ones(2, requires_grad=True)
    calls = {
        "q": lambda: cache.attention(q),
        "k": lambda: cache.append(k, plain[2]),
        "v": lambda: bareattn.reference_attention(*plain[:2], v),
        "k_pages": lambda: cache.append_pages(k, v, [[0]], [5]),
        "sinks": lambda: cache.attention(plain[0], sinks=wanted),
        "o1": lambda: bareattn.merge_partial(o.clone().requires_grad_(), seen["lse"], o, seen["lse"]),
        "lse2": lambda: bareattn.merge_partial(o, seen["lse"], o, seen["lse"].clone().requires_grad_()),
        "alibi_slopes": lambda: bareattn.attention(*plain, alibi_slopes=wanted),
        "scale": lambda: bareattn.attention(*plain, scale=wanted[0]),
        "softcap": lambda: bareattn.attention(*plain, softcap=wanted[0]),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"{name}: given a tensor that requires a gradient"):
            call()
        with torch.no_grad():
            call() if name not in ("k", "k_pages") else None
    with pytest.raises(ValueError, match="q: given a tensor that requires a gradient"):
        bareattn.weights(q, plain[1])
    with pytest.raises(ValueError, match="k: given a tensor that requires a gradient"):
        bareattn.attention(plain[0].numpy(), k, v)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32, torch.float16)])
def test_gradients_of_mixed_types(dtypes):
    mixed = [x.detach().to(t).requires_grad_() for x, t in zip(leaves(), dtypes)]
    wide = [x.detach().float().requires_grad_() for x in mixed]
    o, same = bareattn.attention(*mixed), bareattn.attention(*wide)
    assert o.dtype == torch.float32 and torch.equal(o, same)
    for a, b, t in zip(torch.autograd.grad(o.sum(), mixed), torch.autograd.grad(same.sum(), wide), dtypes, strict=True):
        assert a.dtype == t and torch.equal(a, b.to(t))
