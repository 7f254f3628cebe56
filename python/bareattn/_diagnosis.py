"""What is wrong with how a model attends (docs/diagnosis.md)."""

import os
from dataclasses import dataclass
from typing import Any

from . import _native
from ._arguments import MOST_INT, names_of, pairs_of, whole
from ._arrays import numpy_of
from ._model import Model
from ._run import Run
from ._steering import interventions_of, text_of
from ._trace import Trace


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. head, token and last are None where none in particular is meant."""

    check: str
    severity: str
    head: Any
    heads: list
    token: Any
    last: Any
    value: float
    limit: float
    sentence: str
    advice: str
    undone_by: str  # what undoes it, in words; empty where nothing is proposed
    mend: str  # what has to stand in the model file, in words; empty where the file need not be mended
    steering: list  # the same as interventions, where steering undoes it

    def __str__(self):
        return f"{self.severity}: {self.check}: {self.sentence}"


def diagnose(what, *, model=None, against=None, irrelevant=(), steering=None, window=None, sinks=0, document=None,
             checks=(), probes=True, threads=0):
    """Findings, gravest first; an empty list where nothing is wrong.

    what: a Trace, a Run, or the path of a trace, which is looked at as it is; or, with `model`, a text or token ids (48
    to 1,024), which the model then runs as often as it takes. model: a Model or the path of one; with a Trace or a Run
    it only tells about the begin-of-text token. against: a Trace, a Run or a path, the control: another run over the
    same tokens; irrelevant: spans [(begin, end)] that should get no more weight than there. What is meant to be:
    steering, window (keys before a row's own) with sinks (first keys), document ([N], rows see keys of their own;
    -1: padding). checks: only these. probes: whether other settings are tried (a text with a model).
    """
    finished = isinstance(what, Run) or model is None or isinstance(what, os.PathLike)
    if model is not None and not isinstance(model, Model):
        model = Model(model, threads=threads)
    if finished and not isinstance(what, (Run, str, os.PathLike)):
        raise TypeError("token ids need a model to run them: diagnose(tokens, model=...)")
    if finished and not isinstance(what, Run):
        what = Trace(what)
    if finished and isinstance(what, Trace) and window is None:
        window, sinks = what.facts["window"], what.facts["sinks"]
    if against is not None and not isinstance(against, Run):
        against = Trace(against)
    how = {"window": -1 if window is None else whole("window", window, -1), "sinks": whole("sinks", sinks),
           "document": [] if document is None else [whole("document", d, -1, MOST_INT) for d in numpy_of(document, "document")],
           "irrelevant": pairs_of("irrelevant", irrelevant), "checks": names_of(checks), "probes": bool(probes),
           "threads": whole("threads", threads, most=MOST_INT), "bf16": isinstance(what, Trace) and what.store == "bf16"}
    control = None if against is None else against._run
    if finished:
        found = _native.diagnose_run(what._run, None if model is None else model._model, text_of(steering), control, how)
    else:
        found = _native.diagnose_text(model._model, model._tokens(what), text_of(steering), control, how)
    return [Finding(**{**f, "steering": interventions_of(f["steering"])}) for f in found]
