"""What every finished run says, whether it is in memory (Model.run) or in a file (Trace)."""

from collections import namedtuple

from ._arguments import names_of, whole
from ._heads import Heads
from ._pick import of_every_head, takes_head

Role = namedtuple("Role", ["name", "score", "evidence"])


class Run(Heads):
    """A run that was observed. A head is asked for by layer and head, both from 0, by one text "layer.head" or by one pair;
    without them rows(), mean(), received(), ... give an array of every head, [layers, heads, ...]. Arrays are new.

    IndexError for tokens outside the text; ValueError for heads and measures that there are not.
    """

    title = ""

    def __init__(self, native, model):
        self._run, self.model = native, model
        self.tokens = native.tokens()
        self.texts = native.token_texts()

    def __len__(self):
        return len(self.tokens)

    def __repr__(self):
        return f"<bareattn.Run of {len(self)} tokens, {self.model['name']}>"

    @property
    def seconds(self):
        """of the run"""
        return self._run.seconds()

    @takes_head
    def row(self, layer, head, row):
        """Weights of one token on the keys up to itself, [row + 1]."""
        return self._run.row(*self._head(layer, head), range(len(self))[row])

    @takes_head
    def top(self, layer, head, row, count=10):
        """The strongest keys of one token: [(key, weight)], strongest first."""
        return self._run.top(*self._head(layer, head), range(len(self))[row], min(whole("count", count), len(self)))

    @of_every_head
    def rows(self, measure, layer, head):
        """A measure (docs/measures.md) of every row, [N]."""
        return self._run.rows(str(measure), *self._head(layer, head))

    @of_every_head
    def mean(self, measure, layer, head):
        """Its mean over rows 1 to N - 1."""
        return self._run.mean(str(measure), *self._head(layer, head))

    def to_frame(self, measures=None):
        """A pandas DataFrame of a row per head, "layer" and "head" its index: the mean of each measure, by default of all
        that the run measured, and the role where it was. ValueError for a measure that there is not."""
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_frame() needs pandas: pip install bareattn[frame]") from error
        wanted = self.measures if measures is None else names_of(measures)
        index = pandas.MultiIndex.from_product([range(self.model[name]) for name in ("layers", "heads")],
                                               names=["layer", "head"])
        columns = {name: self.mean(name).ravel() for name in wanted}
        if measures is None and self._run.has_roles():
            columns["role"] = [self.role(*head).name for head in index]
        return pandas.DataFrame(columns, index)

    @property
    def measures(self):
        """The names of what was measured of each row: what rows() and mean() take."""
        return self._run.measures()

    @property
    def plot(self):
        """Pictures for papers, by matplotlib: plot.head(l, h), plot.grid(measure), plot.text(row)."""
        from ._plot import Plot
        return Plot(self)

    @of_every_head
    def received(self, layer, head):
        """Weight received by each key, [N]."""
        return self._run.received(*self._head(layer, head))

    @of_every_head
    def max_key(self, layer, head):
        """The strongest key of each row, [N]."""
        return self._run.max_key(*self._head(layer, head))

    @property
    def spans(self):
        """The named tokens whose weight was measured, {name: [(begin, end)]}; ranges in order, joined where they meet."""
        return by_name(self._run.spans())

    @property
    def pool_block(self):
        """Tokens of a block of the pooled map. ValueError, here and below, where the group `map` was not measured."""
        return self._run.pool_block()

    @of_every_head
    def pool_sum(self, layer, head):
        """The pooled map: weight in each block of rows and keys, float64 [blocks, blocks] with
        blocks = ceil(N / pool_block); 0 above the diagonal."""
        return self._run.pool_sum(*self._head(layer, head))

    @of_every_head
    def pool_max(self, layer, head):
        """The largest weight of each block, float32, laid out as pool_sum()."""
        return self._run.pool_max(*self._head(layer, head))

    @takes_head
    def role(self, layer, head):
        return Role(*self._run.role(*self._head(layer, head)))

    def span(self, text):
        """The tokens (begin, end) that the first occurrence of a text touches; ValueError where it is not there."""
        return find_span(self.texts, text)


def by_name(spans):
    """{name: [(begin, end)]} of (name, begin, end)."""
    named = {}
    for name, begin, end in spans:
        named.setdefault(name, []).append((begin, end))
    return named


def find_span(texts, text):
    """The tokens (begin, end) that the first occurrence of `text` in the joined texts touches."""
    at = "".join(texts).find(text) if text else -1
    if at < 0:
        raise ValueError(f"the span {text!r} is not in the text")
    begin = end = position = 0
    for index, piece in enumerate(texts):
        if position <= at and piece:
            begin = index
        if position < at + len(text):
            end = index + 1
        position += len(piece)
    return begin, end
