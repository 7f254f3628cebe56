"""show(): the page of a run in a notebook. The page is the one file that `bareattn page` writes, in a frame that may run
its script and hand files to the browser to be saved, nothing else: no access to the notebook, no forms, no navigation, no
network (docs/pictures.md)."""

import html

from . import _native
from ._arguments import path_of, utf8, whole
from ._model import Model
from ._trace import Trace


class Page:
    """A page as HTML text. A notebook shows it; save() writes it as a file that opens by itself."""

    def __init__(self, text, height):
        self.html, self.height = text, height

    def __repr__(self):
        return f"<bareattn.Page of {len(self.html) / 1e6:.1f} MB>"

    def save(self, path):
        """Whole or not at all: OSError where it cannot be written, and then the file is as it was."""
        _native.write_file(path_of(path), self.html.encode())

    def _repr_html_(self):
        # Without allow-same-origin the frame's origin is opaque: it can read neither cookies nor the notebook.
        # allow-downloads: without it the page's Save would say that it saved, and nothing would be there.
        return (f'<iframe sandbox="allow-scripts allow-downloads" referrerpolicy="no-referrer" title="Attention of every '
                f'head" style="width: 100%; height: {self.height}px; border: 0" srcdoc="{html.escape(self.html)}"></iframe>')


def show(run, title=None, height=760, budget=12_000_000, model=None, lesson=_native.lesson_sentence):
    """The page of a Run or a Trace, to stand at the end of a notebook's cell.

    title: of the page, by default the trace's, or the name of its file, or how the text begins. height: of the frame, in pixels. budget: most
    bytes of the page, which the notebook then holds: heads that do not fit exactly are there as pooled maps. model: the
    one that the run was made with, a Model or the path of its file; with it the page has its tour, "How it works", over
    the sentence `lesson` of at most 16 tokens ("": no tour). ValueError for another model and for a sentence that is too
    long.
    """
    if isinstance(height, bool) or not isinstance(height, int) or not 100 <= height <= 10_000:
        raise ValueError(f"height {height!r}: a number of pixels from 100 to 10000 is needed")
    if model is not None and not isinstance(model, Model):  # as the trace was made
        model = Model(model, run.model["precision"], attention=run.model["attention"])
    if model is not None and model.facts["sha256"] != run.model["sha256"]:
        raise ValueError(f"the run was made with another model than {model.facts['file']}, by its hash")
    title = run.title if title is None else utf8(title)
    if not title and not isinstance(run, Trace):
        title = _beginning("".join(run.texts))
    made = _native.render_page(run._run, title, whole("budget", budget, most=2**63 - 1), model and model._model,
                               utf8(lesson))
    return Page(made, height)


def _beginning(text):
    """How a text begins, on one line: what a page of a text without a name is called."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59].rstrip() + "\u2026"
