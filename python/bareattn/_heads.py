"""What a run says of its heads by a look at every weight, or at what they write: agreement, sweeps, value weighting."""

from . import _native
from ._arguments import MOST, MOST_INT, names_of, whole
from ._pick import head_of, of_every_head, takes_head


_GROUPS = ("coverage", "scores", "repeats", "offsets")


class Heads:
    """The part of a Run (_run.py) that native/heads.cc makes."""

    def _head(self, layer, head):
        return head_of(layer, head, self.model["layers"], self.model["heads"])

    def _range(self, part):
        if isinstance(part, slice):
            if part.step not in (None, 1):
                raise IndexError("a run's rows and keys are taken without a step")
            begin, end, _ = part.indices(len(self))
            return begin, max(begin, end)
        begin, end = part
        return whole("begin", begin, -MOST), whole("end", end, -MOST)

    @takes_head
    def tile(self, layer, head, rows=slice(None), keys=slice(None)):
        """Weights [rows, keys], float32; rows and keys are slices or (begin, end). 0 where a key is not seen."""
        return _native.tile(self._run, *self._head(layer, head), self._range(rows), self._range(keys))

    @takes_head
    def scores(self, layer, head, rows=slice(None), keys=slice(None)):
        """The same cells before the softmax; -inf where a key is not seen."""
        return _native.scores(self._run, *self._head(layer, head), self._range(rows), self._range(keys))

    @of_every_head
    def carried(self, layer, head):
        """|v W_O| of each key, [N]: what a weight of one on it writes. ValueError where it was not measured."""
        return _native.carried(self._run, *self._head(layer, head))

    @takes_head
    def value_weighted(self, layer, head, rows=slice(None), keys=slice(None)):
        """|p v W_O|, [rows, keys]: weights times what the keys carry."""
        begin, end = self._range(keys)
        return self.tile(layer, head, rows, keys) * self.carried(layer, head)[begin:end]

    def agreement(self, rows=0, threads=0, value_weighted=False):
        """Heads of a layer beside each other: a dict of js, weight_cosine, output_cosine, each [layers, heads, heads]
        (output_cosine NaN unless `agreement` was measured), and rows, how many were compared; 0: as many as are quick.
        value_weighted: js and weight_cosine of each row's shares of |p v W_O|; ValueError where `values` was not
        measured."""
        return _native.agreement(self._run, whole("rows", rows), whole("threads", threads, most=MOST_INT),
                                 bool(value_weighted))

    def sweep(self, groups=None, rows=0, threads=0, value_weighted=False):
        """Measures of a second look at every weight (docs/measures.md): a dict of arrays [layers, heads], means over
        `rows`; distance_bins [layers, heads, bins].

        groups: some of "coverage", "scores", "repeats", "offsets"; None: all. value_weighted: of each row's shares of
        |p v W_O| instead of weights; then without "scores", which have no such form, and with the run's own measures of
        the shares too ("entropy", ..., as mean() names them), spans {name: [layers, heads]} and span_flow
        {(name of the rows, name of the keys): [layers, heads]}. ValueError for scores that are named, and where
        `values` was not measured.
        """
        if groups is None:
            groups = [group for group in _GROUPS if not (value_weighted and group == "scores")]
        return _native.sweep(self._run, names_of(groups), whole("rows", rows), whole("threads", threads, most=MOST_INT),
                             bool(value_weighted))

    @of_every_head
    def swept_rows(self, measure, layer, head):
        """One of them of every row, [N]: "keys_90", "min_logit", "logit_mean", ..., "induction_weight"."""
        return _native.swept_rows(self._run, str(measure), *self._head(layer, head))

    @of_every_head
    def stripes(self, layer, head, most):
        """Mean weight at distance 0, 1, ... most, [most + 1]."""
        return _native.stripes(self._run, *self._head(layer, head), whole("most", most, most=MOST_INT))

    @of_every_head
    def laplacian_eigenvalues(self, layer, head, count=10):
        """The largest eigenvalues of the attention Laplacian D - A."""
        return _native.laplacian_eigenvalues(self._run, *self._head(layer, head), whole("count", count, most=MOST_INT))

    @of_every_head
    def span_mass(self, name, layer, head):
        """Weight of every row on a named span, [N]."""
        return _native.span_mass(self._run, name, *self._head(layer, head))

    @of_every_head
    def span_flow(self, source, target, layer, head):
        """Mean weight of the rows of one named span on another."""
        return _native.span_flow(self._run, source, target, *self._head(layer, head))

    @of_every_head
    def lookback_ratio(self, context, fresh, layer, head):
        """c / (c + f), weights per token of two named spans, mean over the rows of the second."""
        return _native.lookback_ratio(self._run, context, fresh, *self._head(layer, head))

    @of_every_head
    def focus_score(self, instruction, data, layer, head):
        """Of what the last row gives to two named spans, the share of the first."""
        return _native.focus_score(self._run, instruction, data, *self._head(layer, head))
