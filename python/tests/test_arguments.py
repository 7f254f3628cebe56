"""What does not fit is refused: TypeError for types, ValueError for values, naming the argument and both values."""

import numpy as np
import pytest

import bareattn

Q = np.zeros((2, 4, 5, 8), np.float32)
K = np.zeros((2, 2, 7, 8), np.float32)
V = np.zeros((2, 2, 7, 3), np.float32)


def check(error, words, *args, **options):
    with pytest.raises(error) as caught:
        bareattn.attention(*(args or (Q, K, V)), **options)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["q", "float64", "float32"], (Q.astype(np.float64), K.astype(np.float64), V.astype(np.float64))),
        (["q", "float64", "float32"], (Q, K.astype(np.float64), V)),  # the widest of the three
        (["v", "int32"], (Q, K, V.astype(np.int32))),
        (["q", "list", "array"], ([[1.0]], K, V)),
        (["q", "uint16", "bfloat16"], (Q.astype(np.uint16), K, V)),
        (["q", "complex"], (Q.astype(np.complex64), K, V)),
    ],
)
def test_wrong_types(words, args):
    check(TypeError, words, *args)


@pytest.mark.parametrize(
    ("words", "args"),
    [
        (["batch", "2", "1"], (Q, K[:1], V)),
        (["head dim", "8", "6"], (Q, K[..., :6], V)),
        (["length", "7", "5"], (Q, K, V[:, :, :5])),
        (["k, v", "heads", "2", "1"], (Q, K, V[:, :1])),
        (["4 query heads", "3 key-value heads"], (Q, np.zeros((2, 3, 7, 8), np.float32), np.zeros((2, 3, 7, 3), np.float32))),
        (["q", "(5, 8)", "rank 4"], (Q[0, 0], K, V)),
    ],
)
def test_wrong_shapes(words, args):
    check(ValueError, words, *args)


@pytest.mark.parametrize(
    ("error", "words", "options"),
    [
        (ValueError, ["left_window", "-2", "-1"], {"left_window": -2}),
        (ValueError, ["right_window", "-7"], {"right_window": -7}),
        (ValueError, ["softcap", "-1", "0 (off)"], {"softcap": -1.0}),
        (ValueError, ["softcap", "nan"], {"softcap": float("nan")}),
        (ValueError, ["causal_align", "middle", "top_left"], {"causal_align": "middle"}),
        (ValueError, ["alibi_slopes", "3", "4"], {"alibi_slopes": [1, 2, 3]}),
        (ValueError, ["sinks", "1 values", "4"], {"sinks": [1.0]}),
        (ValueError, ["attn_mask", "[5, 8]", "[2, 4, 5, 7]"], {"attn_mask": np.zeros((5, 8), bool)}),
        (ValueError, ["attn_mask", "[3, 1, 5, 7]"], {"attn_mask": np.zeros((3, 1, 5, 7), np.float32)}),
        (ValueError, ["kv_lengths", "8", "7"], {"kv_lengths": [8, 1]}),
        (ValueError, ["kv_lengths", "3 lengths", "2"], {"kv_lengths": [1, 1, 1]}),
        (ValueError, ["cu_seqlens", "batch 2"], {"cu_seqlens_q": [0, 5], "cu_seqlens_k": [0, 7]}),
        (ValueError, ["threads", "-1"], {"threads": -1}),
        (ValueError, ["layout", "sbhd", "bhsd"], {"layout": "sbhd"}),
        (ValueError, ["return_", "max", "lse"], {"return_": ("max",)}),
        (ValueError, ["top_k", "0"], {"return_": ("top_k",)}),
        (ValueError, ["full_rows", "9", "5"], {"return_": ("full_rows",), "full_rows": [9]}),
        (TypeError, ["is_causal", "int", "bool"], {"is_causal": 1}),
        (TypeError, ["scale", "str"], {"scale": "1"}),
        (TypeError, ["left_window", "float"], {"left_window": 1.5}),
        (TypeError, ["attn_mask", "int64", "bool"], {"attn_mask": np.zeros((5, 7), np.int64)}),
        (TypeError, ["kv_lengths", "float64", "integers"], {"kv_lengths": [1.0, 2.0]}),
    ],
)
def test_wrong_options(error, words, options):
    check(error, words, **options)


def test_unknown_options_are_refused_everywhere():
    cache = bareattn.AttentionCache(2, 2, 8, 3)
    cache.append(K, V)
    nothing = {"left_windw": 128, "dropout": 0.1, "mask_bf16": True}
    returned = {"return_": ("lse",), "top_k": 3, "full_rows": [0]}
    for call, unknown in ((lambda **o: cache.attention(Q, **o), nothing),
                          (lambda **o: bareattn.attention(Q, K, V, **o), nothing),
                          (lambda **o: bareattn.reference_attention(Q, K, V, **o), nothing),
                          (lambda **o: bareattn.weights(Q, K, **o), {**nothing, **returned})):
        for name, value in unknown.items():
            with pytest.raises(TypeError, match=f"argument '{name}'"):
                call(**{name: value})
    with pytest.raises(TypeError, match=r"AttentionCache.attention\(\) has no argument 'left_windw'"):
        cache.attention(Q, left_windw=128)


def test_a_cache_takes_the_arguments_of_attention():
    k, v, q = (np.random.default_rng(3).standard_normal(x.shape).astype(np.float32) for x in (K, V, Q))
    cache = bareattn.AttentionCache(2, 2, 8, 3)
    cache.append(k, v)
    expected = bareattn.attention(q, k, v, is_causal=True, causal_align="bottom_right", left_window=1, scale=0.5)
    assert expected.tobytes() != bareattn.attention(q, k, v, is_causal=True, causal_align="bottom_right", scale=0.5).tobytes()
    same = cache.attention(q, left_window=1, scale=0.5, num_kv_heads=2, compute="f32")
    assert same.tobytes() == expected.tobytes()
    packed = cache.attention(np.ascontiguousarray(q.swapaxes(1, 2)).reshape(2, 5, 32), layout="packed", num_heads=4,
                             left_window=1, scale=0.5)
    assert packed.tobytes() == np.ascontiguousarray(expected.swapaxes(1, 2)).tobytes()
    for error, words, options in ((ValueError, ["num_kv_heads", "4", "2"], {"num_kv_heads": 4}),
                                  (ValueError, ["compute", "bf16", "f32"], {"compute": "bf16"}),
                                  (ValueError, ["kv_lengths", "cache"], {"kv_lengths": [1, 1]})):
        with pytest.raises(error) as caught:
            cache.attention(q, **options)
        assert all(word in str(caught.value) for word in words), caught.value


def test_empty_shapes():
    assert bareattn.attention(Q[:0], K[:0], V[:0]).shape == (0, 4, 5, 3)
    assert bareattn.attention(Q[:, :, :0], K, V).shape == (2, 4, 0, 3)
    o, seen = bareattn.attention(Q, K[:, :, :0], V[:, :, :0], return_="lse")
    assert not o.any()
    assert np.isneginf(seen["lse"]).all()
    assert bareattn.attention(Q[..., :0], K[..., :0], V + 2)[0, 0, 0, 0] == 2  # D = 0: the mean
    assert bareattn.attention(Q, K, V[..., :0]).shape == (2, 4, 5, 0)


def test_the_stub_names_every_argument():
    import inspect
    import pathlib

    stub = pathlib.Path(bareattn.__file__).with_name("__init__.pyi").read_text()
    for function in (bareattn.attention, bareattn.weights, bareattn.reference_attention):
        for name in inspect.signature(function).parameters:
            if name != "options":
                assert f"{name}:" in stub
