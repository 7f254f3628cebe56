"""Exact attention on the CPU, every weight observable.

    import numpy as np, bareattn
    q = k = v = np.random.rand(1, 8, 512, 64).astype(np.float32)
    o, seen = bareattn.attention(q, k, v, is_causal=True, return_=("lse", "entropy", "column_sums"))

attention(): the operator with everything it can return; weights(): any rectangle of its weights; AttentionCache: keys
that stay; Trace: a run in a file, any weight of it exactly, with plot for papers; diff(): two of them compared; show():
its page in a notebook; merge_partial(): results over parts of the keys; reference_attention(): the slow f64 twin.
"""

from ._attention import STAGES, STATISTICS, attention, merge_partial, reference_attention, weights
from ._cache import AttentionCache
from ._show import Page, show
from ._trace import Trace, diff

__all__ = ["AttentionCache", "Page", "STAGES", "STATISTICS", "Trace", "attention", "diff", "merge_partial",
           "reference_attention", "show", "weights"]
__version__ = "0.1.0"
