"""Arrays as they come: libraries, types, strides, layouts, read-only and odd ones; each equals the plain call, bit for bit."""

import threading
import time

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bareattn
from gil import ticks_during

RANDOM = np.random.default_rng(7)


def make(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


Q, K, V = make(2, 4, 5, 16), make(2, 2, 9, 16), make(2, 2, 9, 6)
O = bareattn.attention(Q, K, V)


def softmax_attention(q, k, v):
    """By the formula, in float64, with nothing of bareattn."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3])
    p = np.exp(s - s.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    return p @ v, p


def test_equals_the_formula():
    o, p = softmax_attention(Q, K, V)
    np.testing.assert_allclose(O, o, rtol=0, atol=1e-6)
    np.testing.assert_allclose(bareattn.weights(Q, K), p, rtol=0, atol=1e-6)
    np.testing.assert_allclose(bareattn.reference_attention(*(x.astype(np.float64) for x in (Q, K, V))), o, atol=1e-14)


def test_returns():
    names = tuple(n for n in bareattn.STATISTICS)
    o, seen = bareattn.attention(Q, K, V, return_=names, top_k=3, full_rows=[0, 4])
    assert o.tobytes() == O.tobytes()
    _, p = softmax_attention(Q, K, V)
    s = Q.astype(np.float64) @ np.repeat(K, 2, 1).astype(np.float64).swapaxes(2, 3) / 4
    np.testing.assert_allclose(seen["lse"], np.log(np.exp(s).sum(-1)), atol=1e-6)
    np.testing.assert_allclose(seen["max_logit"], s.max(-1), atol=1e-6)
    np.testing.assert_array_equal(seen["max_key"], s.argmax(-1))
    np.testing.assert_allclose(seen["entropy"], -(p * np.log(p)).sum(-1), atol=1e-5)
    np.testing.assert_allclose(seen["sum_squares"], (p * p).sum(-1), atol=1e-6)
    np.testing.assert_allclose(seen["column_sums"], p.sum(2), atol=1e-6)
    np.testing.assert_allclose(seen["first_mass"], p[..., 0], atol=1e-6)
    np.testing.assert_allclose(seen["full_weights"], p[:, :, [0, 4]], atol=1e-6)
    order = np.argsort(-p, axis=-1, kind="stable")[..., :3]
    np.testing.assert_array_equal(seen["top_keys"], order)
    w = bareattn.weights(Q, K)
    np.testing.assert_array_equal(seen["top_weights"], np.take_along_axis(w, order, -1))
    np.testing.assert_array_equal(seen["full_weights"], w[:, :, [0, 4]])
    part = bareattn.weights(Q, K, rows=(2, 4), keys=(1, 8), max_logit=seen["max_logit"][:, :, 2:4],
                            row_sum=seen["row_sum"][:, :, 2:4])
    assert part.tobytes() == w[:, :, 2:4, 1:8].tobytes()


@pytest.mark.parametrize("layout", ["bshd", "packed"])
def test_layouts(layout):
    q, k, v = (np.ascontiguousarray(x.transpose(0, 2, 1, 3)) for x in (Q, K, V))
    heads = {}
    if layout == "packed":
        q, k, v = (x.reshape(x.shape[0], x.shape[1], -1) for x in (q, k, v))
        heads = {"num_heads": 4, "num_kv_heads": 2}
    o = bareattn.attention(q, k, v, layout=layout, **heads)
    assert o.tobytes() == np.ascontiguousarray(O.transpose(0, 2, 1, 3)).tobytes()


def test_variable_length():
    lengths_q, lengths_k = [3, 0, 2], [4, 2, 3]
    cq, ck = np.cumsum([0, *lengths_q]), np.cumsum([0, *lengths_k])
    q, k, v = make(5, 4, 16), make(9, 2, 16), make(9, 2, 6)
    o = bareattn.attention(q, k, v, cu_seqlens_q=cq, cu_seqlens_k=ck)
    for i in range(3):
        a, b, c, d = cq[i], cq[i + 1], ck[i], ck[i + 1]
        alone = bareattn.attention(q[None, a:b], k[None, c:d], v[None, c:d], layout="bshd")[0]
        assert o[a:b].tobytes() == alone.tobytes()


def strided(x, steps, flips, data):
    """An array equal to x whose strides are steps times larger, some negative; gaps hold NaN."""
    big = np.full([n * s for n, s in zip(x.shape, steps)], np.nan, x.dtype)
    index = tuple(slice(None, None, -s if f else s) for s, f in zip(steps, flips))
    view = big[index]
    view = view[tuple(slice(0, n) for n in x.shape)]
    view[...] = x
    return view


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_strides(data):
    arrays = []
    for x in (Q, K, V):
        steps = data.draw(st.lists(st.integers(1, 3), min_size=4, max_size=4))
        flips = data.draw(st.lists(st.booleans(), min_size=4, max_size=4))
        order = data.draw(st.permutations(range(4)))
        moved = np.ascontiguousarray(x.transpose(order)).transpose(np.argsort(order))
        arrays.append(strided(x, steps, flips, data) if data.draw(st.booleans()) else moved)
    assert bareattn.attention(*arrays).tobytes() == O.tobytes()


def test_zero_strides_repeat():
    k, v = np.broadcast_to(K[:, :1], K.shape), np.broadcast_to(V[:1], V.shape)
    assert bareattn.attention(Q, k, v).tobytes() == bareattn.attention(Q, k.copy(), v.copy()).tobytes()
    mask = np.broadcast_to(make(1, 1, 1, 9), (2, 4, 5, 9))
    assert bareattn.attention(Q, K, V, attn_mask=mask).tobytes() == bareattn.attention(Q, K, V, attn_mask=mask.copy()).tobytes()


def test_read_only_and_unaligned():
    q = Q.copy()
    q.flags.writeable = False
    assert bareattn.attention(q, K, V).tobytes() == O.tobytes()
    raw = np.zeros(K.nbytes + 1, np.uint8)
    k = raw[1:].view(np.float32).reshape(K.shape)
    k[...] = K
    assert not k.flags.aligned
    assert bareattn.attention(Q, k, V).tobytes() == O.tobytes()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_16_bit_types(dtype):
    q, k, v = (x.astype(dtype) for x in (Q, K, V))
    o = bareattn.attention(q, k, v)
    assert o.dtype == dtype
    wide = bareattn.attention(*(x.astype(np.float32) for x in (q, k, v)))
    assert o.tobytes() == wide.astype(dtype).tobytes()


def test_jax():
    jax = pytest.importorskip("jax", reason="JAX is not installed: its arrays are not tested here")
    q, k, v = (jax.numpy.asarray(x) for x in (Q, K, V))
    o = bareattn.attention(q, k, v)
    assert isinstance(o, jax.Array)
    assert np.asarray(o).tobytes() == O.tobytes()


def test_cache_and_pages():
    whole = bareattn.attention(Q, K[:, :, :5], V[:, :, :5], is_causal=True)
    cache = bareattn.AttentionCache(2, 2, 16, 6)
    for i in range(5):
        cache.append(K[:, :, i : i + 1], V[:, :, i : i + 1])
        o = cache.attention(Q[:, :, i : i + 1])
        assert o.tobytes() == np.ascontiguousarray(whole[:, :, i : i + 1]).tobytes()
    assert cache.lengths == [5, 5]
    paged = bareattn.AttentionCache(2, 2, 16, 6)
    table = np.array([[3, 1, 0], [2, 5, 4]], np.int32)  # pages of 2 keys
    k_pages, v_pages = np.full((6, 2, 2, 16), np.nan, np.float32), np.full((6, 2, 2, 6), np.nan, np.float32)
    for b in range(2):
        for j in range(5):
            k_pages[table[b, j // 2], :, j % 2] = K[b, :, j]
            v_pages[table[b, j // 2], :, j % 2] = V[b, :, j]
    paged.append_pages(k_pages, v_pages, table, [5, 5])
    assert paged.attention(Q[:, :, 4:]).tobytes() == np.ascontiguousarray(whole[:, :, 4:]).tobytes()


def test_merge_partial():
    parts = [bareattn.attention(Q, K[:, :, a:b], V[:, :, a:b], return_="lse") for a, b in ((0, 4), (4, 9))]
    o, lse = bareattn.merge_partial(parts[0][0], parts[0][1]["lse"], parts[1][0], parts[1][1]["lse"])
    np.testing.assert_allclose(o, O, atol=1e-6)
    np.testing.assert_allclose(lse, bareattn.attention(Q, K, V, return_="lse")[1]["lse"], atol=1e-6)


def test_merge_partial_of_any_memory_order():
    parts = [bareattn.attention(Q, K[:, :, a:b], V[:, :, a:b], return_="lse") for a, b in ((0, 4), (4, 9))]
    plain = [x for o, seen in parts for x in (o, seen["lse"])]
    expected = bareattn.merge_partial(*plain)
    assert not np.array_equal(expected[0], plain[0])
    for turn in (lambda x: np.asfortranarray(x), lambda x: np.ascontiguousarray(x.swapaxes(0, 2)).swapaxes(0, 2)):
        turned = [turn(x) for x in plain]
        kept = [x.copy() for x in turned]
        assert not any(x.flags.c_contiguous for x in turned)
        for given in (turned, [turned[0], *plain[1:]], [plain[0], turned[1], *plain[2:]]):
            for merged, wanted in zip(bareattn.merge_partial(*given), expected):
                assert merged.tobytes() == wanted.tobytes()
        assert all(np.array_equal(x, y) for x, y in zip(turned, kept)), "what was given stays"


def test_the_gil_is_released():
    q = make(1, 8, 1500, 64)
    ticks, seconds = ticks_during(lambda: bareattn.attention(q, q, q, threads=1))
    assert ticks >= 3, f"{seconds:.3f} s without another Python thread"


def test_a_cache_shared_by_threads():
    """Every call sees the keys of one moment: those that are always there, or one more."""
    k, v, q = make(1, 2, 3001, 32), make(1, 2, 3001, 32), make(1, 2, 40, 32)
    cache = bareattn.AttentionCache(1, 2, 32)
    look = dict(return_=("column_sums", "full_rows"), full_rows=[0, 39], threads=1)
    possible, wrong = [], []

    def bits(result):
        return b"".join(x.tobytes() for x in (result[0], *result[1].values()))

    for a, b in ((0, 3000), (3000, 3001)):
        cache.append(k[:, :, a:b], v[:, :, a:b])
        possible.append(bits(cache.attention(q, **look)))
    cache.truncate(0, 3000)

    def work():
        try:
            for _ in range(40):
                if bits(cache.attention(q, **look)) not in possible or cache.lengths not in ([3000], [3001]):
                    wrong.append("other keys")
        except Exception as error:  # noqa: BLE001
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    while any(t.is_alive() for t in threads):
        cache.append(k[:, :, 3000:], v[:, :, 3000:])
        time.sleep(0.0005)
        cache.truncate(0, 3000)
        time.sleep(0.0005)
    assert not wrong


def test_calls_from_many_threads_at_once():
    q = make(1, 4, 200, 32)
    expected = bareattn.attention(q, q, q, threads=2).tobytes()
    wrong = []

    def work():
        for _ in range(20):
            if bareattn.attention(q, q, q, threads=2).tobytes() != expected:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
