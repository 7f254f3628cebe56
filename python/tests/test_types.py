"""Types and memory as they are, whatever is said of them: masks that nothing heeds, types that differ, numbers at the ends
of their types, objects whose attributes differ from their memory."""

import itertools
import signal
import threading
import time
import _thread

import ml_dtypes
import numpy as np
import pytest

import bareattn

RANDOM = np.random.default_rng(5)
Q, K, V = (RANDOM.standard_normal(s).astype(np.float32) for s in ((1, 4, 5, 8), (1, 2, 7, 8), (1, 2, 7, 6)))
TYPES = [np.float32, np.float16, ml_dtypes.bfloat16]


@pytest.mark.parametrize("types", list(itertools.product(TYPES, repeat=3)))
def test_mixed_types_run_in_the_widest(types):
    given = [x.astype(t) for x, t in zip((Q, K, V), types)]
    widest = types[0] if len(set(types)) == 1 else np.float32
    expected = bareattn.attention(*(x.astype(widest) for x in given))
    o = bareattn.attention(*given)
    assert o.dtype == widest and o.tobytes() == expected.tobytes()
    assert bareattn.weights(*given[:2]).tobytes() == bareattn.weights(*(x.astype(widest) for x in given[:2])).tobytes()
    cache = bareattn.AttentionCache(1, 2, 8, 6)
    cache.append(*given[1:])
    again = cache.attention(given[0], is_causal=False)
    assert again.astype(np.float32).tobytes() == expected.astype(again.dtype).astype(np.float32).tobytes()
    wide = bareattn.reference_attention(given[0].astype(np.float64), *given[1:])
    assert wide.dtype == np.float64
    np.testing.assert_allclose(wide, expected.astype(np.float64), atol=0.02)


def test_pages_of_mixed_types():
    cache, same = (bareattn.AttentionCache(1, 2, 8, 6) for _ in range(2))
    k, v = K.astype(ml_dtypes.bfloat16), V
    cache.append_pages(k, v, [[0]], [7])
    same.append_pages(k.astype(np.float32), v, np.array([[0]], np.int64), [7])
    assert cache.attention(Q).tobytes() == same.attention(Q).tobytes()


@pytest.mark.parametrize("kind", ["list", "float64", "bfloat16", "masked, nothing hidden"])
def test_sinks_and_slopes_of_any_type(kind):
    values = [0.5, -1.0, 0.25, 2.0]
    given = {"list": values, "float64": np.array(values), "bfloat16": np.array(values, ml_dtypes.bfloat16),
             "masked, nothing hidden": np.ma.array(values)}[kind]
    expected = bareattn.attention(Q, K, V, sinks=np.array(values, np.float32), alibi_slopes=values)
    assert bareattn.attention(Q, K, V, sinks=given, alibi_slopes=given).tobytes() == expected.tobytes()


def test_a_masked_array_is_refused_where_its_mask_hides_something():
    def masked(x):
        return np.ma.array(x, mask=np.arange(x.size).reshape(x.shape) == 1)

    o, seen = bareattn.attention(Q, K, V, return_=("max_logit", "row_sum", "lse"))
    cache = bareattn.AttentionCache(1, 2, 8, 6)
    calls = {
        "q": lambda: bareattn.attention(masked(Q), K, V), "k": lambda: bareattn.weights(Q, masked(K)),
        "v": lambda: bareattn.reference_attention(Q, K, masked(V)),
        "attn_mask": lambda: bareattn.attention(Q, K, V, attn_mask=masked(np.ones((5, 7), bool))),
        "sinks": lambda: bareattn.attention(Q, K, V, sinks=masked(np.zeros(4))),
        "max_logit": lambda: bareattn.weights(Q, K, max_logit=masked(seen["max_logit"]), row_sum=seen["row_sum"]),
        "o1": lambda: bareattn.merge_partial(masked(o), seen["lse"], o, seen["lse"]),
        "counts": lambda: cache.append(K, V, counts=masked(np.array([1, 2]))),
        "table": lambda: cache.append_pages(K, V, masked(np.array([[0, 0]])), [7]),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"{name}: given a masked array"):
            call()
    assert cache.lengths == [0]
    assert bareattn.attention(np.ma.array(Q), K, V).tobytes() == o.tobytes()
    assert type(bareattn.attention(np.ma.array(Q), K, V)) is np.ndarray


class Lying:
    """An array of another library whose attributes say something else than its capsule."""

    def __init__(self, array, shape, dtype="float32"):
        self._array, self.shape, self.dtype, self.ndim = array, shape, dtype, len(shape)

    def __dlpack__(self, **_):
        return self._array.__dlpack__()

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class LyingArray(np.ndarray):
    shape = property(lambda self: (1, 4, 1, 8))


def test_sizes_and_types_come_from_the_memory():
    expected = bareattn.attention(Q, K, V)
    for small in ((1, 4, 1, 8), (1, 1, 1, 1), (), (1, 4, 5, 10**9)):
        q, k, v = Lying(Q, small), Lying(K, small, "float16"), Lying(V, small, "nonsense")
        o, seen = bareattn.attention(q, k, v, return_=("lse", "column_sums", "top_k", "full_rows"), top_k=2, full_rows=[4])
        assert o.tobytes() == expected.tobytes() and seen["lse"].shape == (1, 4, 5)
        assert seen["full_weights"].shape == (1, 4, 1, 7)
        assert bareattn.weights(q, k).shape == (1, 4, 5, 7)
        cache = bareattn.AttentionCache(1, 2, 8, 6)
        cache.append(k, v)
        assert cache.attention(q, is_causal=False).tobytes() == expected.tobytes()
        mask = Lying(np.zeros((5, 7), np.float32), (1, 1))
        assert bareattn.attention(q, k, v, attn_mask=mask).tobytes() == expected.tobytes()
    assert bareattn.attention(Q.view(LyingArray), K, V).tobytes() == expected.tobytes()


ENDS = [-(2**64), -(2**63) - 1, -(2**63), -(2**31) - 1, -(2**30) - 2, 2**31, 2**32, 2**62 + 1, 2**63 - 1, 2**63, 2**64, 10**30]


@pytest.mark.parametrize("end", ENDS)
def test_integers_at_their_ends(end):
    """Right or refused with the argument's name; never another number."""
    plain, cache = bareattn.attention(Q, K, V), bareattn.AttentionCache(1, 2, 8, 6)
    cache.append(K, V)
    pages = (K, V)
    calls = {
        "left_window": lambda: bareattn.attention(Q, K, V, left_window=end),
        "right_window": lambda: bareattn.attention(Q, K, V, right_window=end),
        "offset": lambda: bareattn.attention(Q, K, V, offset=end),
        "threads": lambda: bareattn.attention(Q, K, V, threads=end),
        "top_k": lambda: bareattn.attention(Q, K, V, return_="top_k", top_k=end) if not 0 < end < 2**31 else plain,
        "full_rows": lambda: bareattn.attention(Q, K, V, return_="full_rows", full_rows=[end]),
        "kv_lengths": lambda: bareattn.attention(Q, K, V, kv_lengths=[end]),
        "cu_seqlens_q": lambda: bareattn.attention(Q, K, V, cu_seqlens_q=[0, end], cu_seqlens_k=[0, 7]),
        "num_heads": lambda: bareattn.attention(Q[0], K[0], V[0], layout="packed", num_heads=end),
        "num_kv_heads": lambda: bareattn.attention(Q[0], K[0], V[0], layout="packed", num_heads=1, num_kv_heads=end),
        "rows": lambda: bareattn.weights(Q, K, rows=(0, end)),
        "keys": lambda: bareattn.weights(Q, K, keys=(end, 7)),
        "b": lambda: cache.truncate(end, 0),
        "length": lambda: cache.truncate(0, end),
        "counts": lambda: cache.append(K, V, counts=[end]),
        "table": lambda: bareattn.AttentionCache(1, 2, 8, 6).append_pages(*pages, [[end]], [7]),
        "lengths": lambda: bareattn.AttentionCache(1, 2, 8, 6).append_pages(*pages, [[0]], [end]),
        "head_dim": lambda: bareattn.AttentionCache(1, 2, end),
    }
    for name, call in calls.items():
        if name in ("left_window", "right_window", "top_k") and 0 <= end < 2**63:
            if name != "top_k" or end < 2**31:
                o = call()
                assert o.tobytes() == plain.tobytes(), name  # wider than everything: no window
                continue
        with pytest.raises((ValueError, TypeError)) as caught:
            call()
        assert name in str(caught.value), f"{name}: {caught.value}"
        assert "incompatible function arguments" not in str(caught.value)


def interrupted(call):
    """Whether Ctrl-C, half a second after it begins, ends the call, and after how many seconds."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    begun, ended = threading.Event(), []

    def press():
        begun.wait()
        time.sleep(0.5)
        ended.append(time.monotonic())
        _thread.interrupt_main()

    thread = threading.Thread(target=press)
    thread.start()
    try:
        begun.set()
        with pytest.raises(KeyboardInterrupt):
            call()
        return True
    finally:
        thread.join()
        signal.signal(signal.SIGINT, handler)


def test_ctrl_c_ends_a_call_that_would_last():
    """Each would take minutes; afterwards the threads and the scratch are as good as new."""
    q = RANDOM.standard_normal((1, 8, 60_000, 64)).astype(np.float32)
    cache = bareattn.AttentionCache(1, 8, 64)
    cache.append(q, q)
    for call in (lambda: bareattn.attention(q, q, q, threads=2), lambda: bareattn.attention(q, q, q, threads=1),
                 lambda: cache.attention(q), lambda: bareattn.reference_attention(q, q, q),
                 lambda: bareattn.weights(q, q, keys=(0, 16))):
        assert interrupted(call)
        assert bareattn.attention(Q, K, V, threads=2, return_=("column_sums",))[1]["column_sums"].sum() == pytest.approx(20)
    assert cache.lengths == [60_000]


def test_more_threads_than_cores_have_the_same_bits():
    assert bareattn.attention(Q, K, V, threads=300).tobytes() == bareattn.attention(Q, K, V).tobytes()
