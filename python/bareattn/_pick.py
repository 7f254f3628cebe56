"""How a head is asked for, everywhere: layer and head as two numbers, one text "layer.head" as on the command line, or a
pair as Finding.head is; and, where a value per head makes an array, none at all for every head."""

import functools
import inspect
import operator

import numpy as np


def head_of(layer, head, layers, heads):
    """(layer, head) as ints; ValueError where the model has no such head, whatever they are."""
    given = f"{layer}.{head}"
    if head is None and isinstance(layer, str):
        given, (layer, _, head) = layer, layer.partition(".")
        if not (layer.isdecimal() and head.isdecimal()):
            raise ValueError(f"head {given!r}: a text like '5.3', layer and head from 0, is needed")
        layer, head = int(layer), int(head)
    elif head is None and isinstance(layer, (tuple, list)) and len(layer) == 2:
        layer, head = layer
        given = f"{layer}.{head}"
    try:
        if 0 <= operator.index(layer) < layers and 0 <= operator.index(head) < heads:
            return operator.index(layer), operator.index(head)
    except TypeError:
        pass
    raise ValueError(f"head {given}: the model has {layers} layers of {heads} heads, numbered from 0")


def takes_head(method):
    """A method whose parameters layer and head may be one text or pair, after which the others follow as ever."""
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    at = names.index("layer")

    @functools.wraps(method)
    def picked(self, *args, **named):
        args = list(args)
        one = args[at] if len(args) > at else named.get("layer")
        if isinstance(one, (str, tuple, list)) and "head" not in named:
            pair = head_of(one, None, self.model["layers"], self.model["heads"])
            if len(args) > at:
                args[at:at + 1] = pair
            else:
                named.update(layer=pair[0], head=pair[1])
        return method(self, *args, **named)

    return picked


def of_every_head(method):
    """The same, and without layer and head the values of every head, [layers, heads, ...]."""
    one_head = takes_head(method)
    names = [name for name in inspect.signature(method).parameters if name != "self"]
    at = names.index("layer")

    @functools.wraps(method)
    def picked(self, *args, **named):
        if len(args) > at or "layer" in named or "head" in named:
            return one_head(self, *args, **named)
        return np.array([[method(self, *args, layer=layer, head=head, **named) for head in range(self.model["heads"])]
                         for layer in range(self.model["layers"])])

    return picked
