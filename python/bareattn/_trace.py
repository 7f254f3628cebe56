"""Traces: one observed run of a model in a file (docs/trace.md), any weight of it exactly."""

from . import _native
from ._arguments import MOST_INT, path_of, whole
from ._run import Run, by_name


class Trace(Run):
    """A file made by Model.trace() or `bareattn trace`. Heads are asked for as in a Run.

    OSError for a file that is none, was cut, altered, or written by a newer version; IndexError for tokens outside the
    text; ValueError for heads and measures that there are not.
    """

    def __init__(self, path):
        self._trace = _native.open_trace(path_of(path))
        self._facts = self._trace.facts()
        super().__init__(self._trace, self._facts["model"])

    def __repr__(self):
        return f"<bareattn.Trace of {len(self)} tokens, {self.model['name']}, {self.store}>"

    store = property(lambda self: self._facts["store"], doc="what Q and K are kept as: f16, bf16, f32")
    title = property(lambda self: self._facts["title"])
    spans = property(lambda self: by_name(self._facts["spans"]), doc="name: [(begin, end)], as they were given")
    facts = property(lambda self: dict(self._facts), doc="everything the file says about the run")

    def check_model(self, path):
        """OSError unless the trace was made with this model file."""
        self._trace.check_model_file(path_of(path))

    def verify(self):
        """Reads and checks all of the file."""
        self._trace.verify()


def diff(a, b, top=10, threads=0, value_weighted=False):
    """Two traces of the same tokens, head by head (docs/diff.md): a dict of arrays [layers, heads] (kl, js, lse_shift,
    lse_change, entropy_shift, top_overlap of the `top` strongest keys, first_mass_shift, worst_row, worst_js) and
    token_js, [N]. a and b are Trace objects or paths. value_weighted: of the shares of |p v W_O| instead of weights, all
    but lse_shift and lse_change. ValueError where tokens or heads differ, or where a trace was made without `values`
    that has to be value-weighted.
    """
    a, b = (run if isinstance(run, Trace) else Trace(run) for run in (a, b))
    return _native.diff(a._trace, b._trace, whole("top", top, most=MOST_INT), whole("threads", threads, most=MOST_INT),
                        bool(value_weighted))
