"""Models: text to tokens, observed and steered runs, generation."""

import operator
import os

import numpy as np

from . import _native
from ._run import Run, find_span
from ._steering import interventions_of, text_of


class Model:
    """A model file (GGUF, Llama family), read once and never changed; runs of it may go on in several threads.

    OSError for a file that cannot be used. `steering` of every method: None, the path of a steering file, or
    interventions (docs/steering.md). precision: "f32" or "bf16", of the projections; attention: the same of attention
    itself (bf16 rounds queries, keys, values and weights). threads: 0 takes all cores; the results are the same for any
    number.
    """

    def __init__(self, path, precision="f32", threads=0, attention="f32"):
        self._model = _native.load_model(os.fspath(path), precision, attention, threads)
        self.threads = threads
        self._facts = None

    def __repr__(self):
        return f"<bareattn.Model {self.facts['name']}, {self.facts['precision']}>"

    @property
    def facts(self):
        """name, file, sha256, precision, attention, layers, heads, kv_heads, head_dim, context_length"""
        if self._facts is None:
            self._facts = self._model.facts()
        return dict(self._facts)

    def encode(self, text, chat=False, bos=None):
        """Token ids, int32 [N]. chat: the text is a user's message in the model's chat template, up to where the answer
        begins. bos: whether the begin-of-text token stands before; None does as the model says."""
        return np.array(self._model.encode(text, chat, bos), np.int32)

    def decode(self, tokens):
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return self._model.decode(_ids(tokens)).decode("utf-8", "replace")

    def span(self, tokens, text):
        """The tokens (begin, end) that the first occurrence of `text` touches; ValueError where it is not there."""
        pieces = [self._model.piece(i).decode("latin-1") for i in self._tokens(tokens)]  # a character per byte
        return find_span(pieces, text.encode().decode("latin-1"))

    def run(self, text, steering=None, measures=("rows", "distance", "spans", "columns", "map"), spans=()):
        """One run over a text or token ids with every head observed: a Run. Its weights are those of the steered pass.
        `measures` are groups of docs/measures.md; `spans` names tokens: (name, begin, end), a name may come again."""
        named = [(str(name), int(begin), int(end)) for name, begin, end in spans]
        return Run(self._model.run(self._tokens(text), text_of(steering), list(measures), named, self.threads), self.facts)

    def generate(self, prompt, count=64, steering=None, temperature=0.0, top_k=0, top_p=1.0, seed=0):
        """What the model goes on with after a prompt (text or token ids), as text; temperature 0 takes the likeliest."""
        how = {"temperature": float(temperature), "top_k": int(top_k), "top_p": float(top_p), "seed": int(seed),
               "threads": self.threads}
        if isinstance(count, bool) or operator.index(count) < 1:
            raise ValueError(f"count {count!r}: 1 or more is needed")
        made = self._model.generate(self._tokens(prompt), int(count), text_of(steering), how)
        return self.decode(made[:-1] if made and made[-1] == self._model.end() else made)

    def mean_ablation(self, text, heads):
        """The intervention that puts each head's mean over a text in its place."""
        (one,) = interventions_of(self._model.mean_ablation(self._tokens(text), list(heads), self.threads))
        return one

    def _tokens(self, text):
        return _ids(self.encode(text) if isinstance(text, str) else text)


def _ids(tokens):
    return [operator.index(t) for t in np.asarray(tokens).tolist()] if len(tokens) else []
