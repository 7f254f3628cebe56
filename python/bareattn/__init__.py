"""Exact attention on the CPU, every weight observable.

    import numpy as np, bareattn
    q = k = v = np.random.rand(1, 8, 512, 64).astype(np.float32)
    o, seen = bareattn.attention(q, k, v, is_causal=True, return_=("lse", "entropy", "column_sums"))

attention(): the operator with everything it can return; weights(): any rectangle of its weights; AttentionCache: keys
that stay; Trace: a run in a file, any weight of it exactly, with plot for papers; diff(): two of them compared; show():
its page in a notebook; merge_partial(): results over parts of the keys; reference_attention(): the slow f64 twin.

    model = bareattn.Model("model.gguf")
    run = model.run("Some text", steering={"kind": "boost", "keys": [(0, 2)], "value": 3})
    findings = bareattn.diagnose("A text of some length ...", model=model)

Model: runs with every head observed, steered or not, in memory or into a trace, and generation; load_steering(),
save_steering(): interventions in a file to share; calibrate(), adaptive_temperature(): interventions made from runs;
diagnose(): what is wrong with how a model attends, over a text or of a finished run; roles(): what every head is for.
"""

from ._attention import STAGES, STATISTICS, attention, merge_partial, reference_attention, weights
from ._cache import AttentionCache
from ._diagnosis import Finding, diagnose
from ._model import Model
from ._roles import Roles, roles
from ._run import Run
from ._show import Page, show
from ._steering import adaptive_temperature, calibrate, load_steering, save_steering
from ._trace import Trace, diff

__all__ = ["AttentionCache", "Finding", "Model", "Page", "Roles", "Run", "STAGES", "STATISTICS", "Trace", "adaptive_temperature",
           "attention", "calibrate", "diagnose", "diff", "load_steering", "merge_partial", "reference_attention",
           "roles", "save_steering", "show", "weights"]
__version__ = "0.1.0"
