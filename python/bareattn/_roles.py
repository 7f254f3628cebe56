"""What every head of a model is for, by the field's recipes (docs/roles.md), read from the cache or found now."""

import json

import numpy as np

from . import _native
from ._arguments import MOST_INT, utf8, whole
from ._model import Model
from ._pick import head_of
from ._run import Run


class Roles:
    """Roles of all heads. `names` [layers, heads] of str ("induction", ..., "mixed"); `recipes` the names in their order;
    `data` everything as docs/schema/roles.schema.json describes it."""

    def __init__(self, data):
        self.data = data
        self.recipes = [recipe["id"] for recipe in data["recipes"]]
        self._shape = (data["layers"], data["heads_per_layer"])
        self.names = np.array([head["role"] for head in data["heads"]]).reshape(self._shape)

    def __repr__(self):
        return f"<bareattn.Roles of {self.names.size} heads, {self.data['samples']} samples>"

    def of(self, layer, head=None):
        """One head, named as in a Run: its role, whether that is sure, all roles, the evidence and every score with its
        interval."""
        layer, head = head_of(layer, head, *self._shape)
        return self.data["heads"][layer * self._shape[1] + head]

    def _recipe(self, recipe):
        if recipe not in self.recipes:
            raise ValueError(f"recipe {recipe!r}: one of {', '.join(self.recipes)} is needed")

    def scores(self, recipe):
        """The heads' mean scores in one recipe, [layers, heads]; NaN where it could not be scored."""
        self._recipe(recipe)
        values = [head["scores"][recipe][0] for head in self.data["heads"]]
        return np.array([np.nan if v is None else v for v in values]).reshape(self._shape)

    def heads(self, recipe):
        """(layer, head) of those that have the role, the strongest first."""
        self._recipe(recipe)
        scores = self.scores(recipe)
        have = [(h["layer"], h["head"]) for h in self.data["heads"] if recipe in h["roles"]]
        return sorted(have, key=lambda head: -scores[head])


def roles(of, samples=30, seed=0, draws=10, corpus="", cache=True, threads=0):
    """Roles of a Model (or the path of one), found by running every recipe `samples` times (30 take minutes) and kept in
    the cache that `bareattn roles` has too; or of a finished Run or Trace, from that cache alone: None where it has
    nothing of the run's model.

    OSError for a file that cannot be used, ValueError for options that do not fit.
    """
    if isinstance(of, Run):
        found = _native.cached_roles(of._run)
        return None if found is None else Roles(json.loads(found))
    model = of if isinstance(of, Model) else Model(of, threads=threads)
    found = _native.find_roles(model._model, whole("samples", samples, 4, MOST_INT), whole("seed", seed, most=2**64 - 1),
                               whole("draws", draws, most=MOST_INT), utf8(corpus), bool(cache),
                               whole("threads", threads, most=MOST_INT) or model.threads)
    return Roles(json.loads(found))
