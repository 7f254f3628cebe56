"""Models: text to tokens, observed and steered runs, in memory or into a file, generation."""

import os

import numpy as np

from . import _native
from ._arguments import MOST_INT, names_of, path_of, spans_of, utf8, whole
from ._arrays import numpy_of
from ._run import Run, find_span
from ._steering import interventions_of, text_of
from ._trace import Trace

GROUPS = ("rows", "distance", "spans", "columns", "map")


class Model:
    """A model file (GGUF, of the families in docs/models.md), read once and never changed; runs of it may go on in several
    threads.

    OSError for a file that cannot be used. `steering` of every method: None, the path of a steering file, or
    interventions (docs/steering.md). precision: "f32" or "bf16", of the projections; attention: the same of attention
    itself (bf16 rounds queries, keys, values and weights). threads: 0 takes all cores; the results are the same for any
    number.
    """

    def __init__(self, path, precision="f32", threads=0, attention="f32"):
        threads = whole("threads", threads, most=MOST_INT)
        self._model = _native.load_model(path_of(path), str(precision), str(attention), threads)
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
        if not isinstance(text, str):
            raise TypeError(f"a text (str) is needed, not {type(text).__name__}")
        return np.array(self._model.encode(utf8(text), bool(chat), bos if bos is None else bool(bos)), np.int32)

    def decode(self, tokens):
        """The text of token ids; bytes that are no UTF-8 become U+FFFD."""
        return self._model.decode(_ids(tokens)).decode("utf-8", "replace")

    def span(self, tokens, text):
        """The tokens (begin, end) that the first occurrence of `text` touches; ValueError where it is not there."""
        pieces = [self._model.piece(i).decode("latin-1") for i in self._tokens(tokens)]  # a character per byte
        return find_span(pieces, text.encode().decode("latin-1"))

    def run(self, text, steering=None, measures=GROUPS, spans=(), *, beyond="refuse", chat=False, bos=None, pool_block=0,
            title="", threads=0):
        """One run over a text or token ids with every head observed: a Run. Its weights are those of the steered pass.

        measures: groups of docs/measures.md, "roles", "all" or "none"; one or several. spans: names of tokens, in a dict
        {name: where} or a list of (name, where), where (begin, end), a list of such, or a regular expression over the
        text; (name, begin, end) and the command's "NAME=BEGIN:END" and "NAME=REGEX" are taken too. The weight on them
        needs the group "spans". beyond: of a text longer than the model's context, "refuse", "extrapolate" or "scale"
        (docs/length.md). chat, bos: as encode(); a chat names "system", "question" and "special" by itself. pool_block:
        tokens of a block of the pooled map, 1, 2, 4, 8 or a multiple of 16; 0: by the length. title: for the page that
        show() makes of it. threads: 0: those of the model.
        """
        asked = self._asked(text, steering, measures, spans, beyond, chat, bos, pool_block, threads)
        run = Run(_native.observe(self._model, asked), self.facts)
        run.title = utf8(title)
        return run

    def trace(self, text, path, *, store="f16", measures=(*GROUPS, "values"), spans=(), steering=None, window=None, sinks=0,
              beyond="refuse", chat=False, bos=None, pool_block=0, title="", threads=0):
        """One run over a text or token ids into a file (docs/trace.md), as `bareattn trace` writes it: the Trace. Memory
        holds neither Q nor K. The file appears whole at the end, in place of what was there; an error or Ctrl-C leaves
        what was there.

        store: what Q and K are kept as, "f16", "bf16" or "f32" (weights bit for bit). window: a token sees only this many before it, and the first `sinks`; None: all. title: for
        the page that is made from it. threads: 0: those of the model. The rest is as in run(). ValueError for what does
        not fit, OSError where the file cannot be written.
        """
        path, window_of = path_of(path), -1 if window is None else whole("window", window)
        sinks = whole("sinks", sinks)
        if sinks and window is None:
            raise ValueError(f"sinks {sinks!r}: a window is needed with them")
        steered = isinstance(steering, (str, os.PathLike))
        for used in (self.facts["file"], *([path_of(steering)] if steered else [])):
            if os.path.exists(path) and os.path.exists(used) and os.path.samefile(path, used):
                raise ValueError(f"path {path!r}: the file would replace {used!r}, which the run needs")
        asked = self._asked(text, steering, measures, spans, beyond, chat, bos, pool_block, threads)
        asked.update(store=utf8(store), title=utf8(title), window=window_of, sinks=sinks)
        _native.write_trace(self._model, path, asked)
        return Trace(path)

    def _asked(self, text, steering, measures, spans, beyond, chat, bos, pool_block, threads):
        """What native/runs.cc takes."""
        return {"tokens": self._tokens(text, chat, bos),
                "question": text if chat else "", "steering": text_of(steering), "measures": names_of(measures),
                "spans": spans_of(spans), "beyond": utf8(beyond),
                "pool_block": whole("pool_block", pool_block, most=MOST_INT),
                "threads": whole("threads", threads, most=MOST_INT) or self.threads}

    def generate(self, prompt, count=64, steering=None, temperature=0.0, top_k=0, top_p=1.0, seed=0, *,
                 chat=False, bos=None):
        """What the model goes on with after a prompt (text or token ids), as text; temperature 0 takes the likeliest.
        chat, bos: as encode(); a chat's answer."""
        how = {"temperature": float(temperature), "top_k": whole("top_k", top_k, most=MOST_INT), "top_p": float(top_p),
               "seed": whole("seed", seed, most=2**64 - 1), "threads": self.threads}
        count = whole("count", count, 1, MOST_INT)
        made = self._model.generate(self._tokens(prompt, chat, bos), count, text_of(steering), how)
        return self.decode(made[:-1] if made and self._model.ends_generation(made[-1]) else made)

    def mean_ablation(self, text, heads):
        """The intervention that puts each head's mean over a text in its place."""
        (one,) = interventions_of(self._model.mean_ablation(self._tokens(text), names_of(heads), self.threads))
        return one

    def _tokens(self, text, chat=False, bos=None):
        if isinstance(text, str):
            return self.encode(text, chat, bos).tolist()
        if chat or bos is not None:
            raise ValueError("chat and bos are for a text; token ids were given, which are run as they are")
        return _ids(text)


def _ids(tokens):
    if isinstance(tokens, (bytes, bytearray)) or not hasattr(tokens, "__len__"):
        raise TypeError(f"a text (str) or token ids are needed, not {type(tokens).__name__}")
    return [whole("token id", t, most=MOST_INT) for t in numpy_of(tokens, "tokens").tolist()] if len(tokens) else []
