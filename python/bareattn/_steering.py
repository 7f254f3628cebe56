"""Steering files (docs/steering.md) and what is made from runs to be put into them. An intervention is a dict, as in the
file: {"kind": "boost", "heads": ["5.3", "6.*"], "keys": [(3, 7)], "value": 3}."""

import json
import os

from . import _native
from ._arguments import names_of, pairs_of, path_of


def load_steering(path):
    """The interventions of a steering file, a list of dicts. OSError, or ValueError that says where and what."""
    with open(path, encoding="utf-8") as file:
        return interventions_of(_native.check_steering(file.read()))


def save_steering(path, steering):
    """Writes interventions as a steering file, which `bareattn steer --table` reads too, whole or not at all: OSError where
    it cannot be written, and then the file is as it was."""
    _native.write_file(path_of(path), text_of(steering).encode())


def calibrate(control, spans, heads=("*",)):
    """Biases that make the last row of `control` weigh the spans by their lengths: a list of interventions.

    control: a run of the same documents with a query that means nothing (2406.16008). spans: [(begin, end)] of its
    tokens. Heads are named as in a steering file.
    """
    return interventions_of(_native.calibrate(control._run, pairs_of("spans", spans), names_of(heads)))


def adaptive_temperature(run):
    """A temperature for every head of high entropy in this run (2410.01104): a list of interventions."""
    return interventions_of(_native.adaptive_temperature(run._run))


def interventions_of(text):
    return json.loads(text)["interventions"]


def text_of(steering):
    """A steering file's text from None, a path, one intervention or a list of them; checked."""
    if steering is None:
        return ""
    if isinstance(steering, (str, os.PathLike)):
        return text_of(load_steering(steering))
    if isinstance(steering, dict):
        steering = [steering]
    document = {"format": "bareattn-steering", "version": 1, "interventions": list(steering)}
    return _native.check_steering(json.dumps(document))
