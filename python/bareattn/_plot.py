"""Pictures of a run for papers, by matplotlib (pip install bareattn[plot]). Every function returns a Figure of its own (no
pyplot, no global state): a notebook shows it, savefig("x.pdf") writes it as vectors with fonts that journals take."""

import functools
import io
import math
import unicodedata

import numpy as np

from ._pick import takes_head

try:
    import matplotlib
    import matplotlib.ticker
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
    from matplotlib.patches import Rectangle
    from matplotlib.textpath import text_to_path
except ImportError as error:
    raise ImportError("plot needs matplotlib: pip install bareattn[plot]") from error

# Sizes for the columns of a paper, where rcParams are matplotlib's own; what the user has set there stands.
STYLE = {
    "font.size": 7, "axes.titlesize": 8, "axes.labelsize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6,
    "axes.linewidth": 0.5, "xtick.major.width": 0.5, "ytick.major.width": 0.5, "xtick.major.size": 2,
    "ytick.major.size": 2,
    "pdf.fonttype": 42, "ps.fonttype": 42,  # TrueType, not Type 3: what journals take
    "svg.fonttype": "none",  # text stays text
    "text.hinting": "none",  # words stand where they were measured
}
FULL, COLUMN = 6.75, 3.3  # inches: two columns, one
CELLS = 1024  # a side of a map at most; beyond, blocks of tokens
LABELS = 32  # tokens that are written along an axis at most
LOWEST = 1e-4  # of a weight on the log scale


def _style(text=""):
    """STYLE where the user has set nothing else, and families that have the characters of the text."""
    default, now = matplotlib.rcParamsDefault, matplotlib.rcParams
    style = {name: value for name, value in STYLE.items() if now[name] == default[name]}
    return {**style, "font.family": _families(frozenset(text))}


def _families(characters):
    """The families that rcParams name, and after them installed ones for the characters that those do not have."""
    families = []
    for family in matplotlib.rcParams["font.family"]:
        families += matplotlib.rcParams.get(f"font.{family}", [family])  # "sans-serif" is a list of its own
    have, missing = [], set(c for c in characters if not c.isspace())
    for family in dict.fromkeys(name for name in families if f"font.{name}" not in matplotlib.rcParams):
        try:
            font = get_font(findfont(FontProperties(family=[family]), fallback_to_default=False))
        except (ValueError, OSError, RuntimeError):
            continue  # it is not installed
        have.append(family)
        missing = {c for c in missing if not font.get_char_index(ord(c))}
    return (have or ["DejaVu Sans"]) + list(_others_with(frozenset(missing)))


@functools.lru_cache(maxsize=64)
def _others_with(missing):
    """Installed families that have the characters together, as few as come first in the alphabet."""
    chosen, left = [], set(missing)
    for entry in sorted(fontManager.ttflist, key=lambda e: (e.style != "normal", e.name, e.fname)) if missing else ():
        if not left or entry.name in chosen:
            continue
        try:
            font = get_font(entry.fname)
            found = {c for c in left if font.get_char_index(ord(c))}
        except (OSError, RuntimeError):  # a font of bitmaps, which matplotlib does not draw
            continue
        if found:
            chosen.append(entry.name)
            left -= found
    return tuple(chosen)


class Picture(Figure):
    """A matplotlib Figure that notebooks show and that saves with our fonts."""

    def savefig(self, *args, **kwargs):
        with matplotlib.rc_context(_style()):
            super().savefig(*args, **{"dpi": 300, "bbox_inches": "tight", "pad_inches": 0.02, **kwargs})

    def _repr_png_(self):
        out = io.BytesIO()
        self.savefig(out, format="png", dpi=160)
        return out.getvalue()


def shown(token):
    """A token as one line of visible characters: no control can act, and white space can be seen."""
    out = []
    for c in token:
        if c == " ":
            out.append("\u00b7" if len(token) == 1 else " ")
        elif c == "\n":
            out.append("\u21b5")
        elif unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
            out.append(f"<{ord(c):x}>")
        else:
            out.append(c)
    return "".join(out)


def _blocks(trace, layer, head, rows, keys, size):
    """Shares of rows' weight in blocks of size x size tokens, a strip of rows at a time."""
    (r0, r1), (k0, k1) = rows, keys
    out = np.zeros((math.ceil((r1 - r0) / size), math.ceil((k1 - k0) / size)))
    edges = np.arange(0, k1 - k0, size)
    step = max(1, 2048 // size) * size
    for begin in range(r0, r1, step):
        end = min(r1, begin + step)
        tile = trace.tile(layer, head, (begin, end), (k0, k1)).astype(np.float64)
        columns = np.add.reduceat(tile, edges, axis=1)
        parts = np.arange(0, end - begin, size)
        counts = np.diff(np.append(parts, end - begin))
        out[(begin - r0) // size:(begin - r0) // size + len(parts)] = (
            np.add.reduceat(columns, parts, axis=0) / counts[:, None])
    return out


def _figure(width, height):
    return Picture(figsize=(width, height), layout="constrained")


class Plot:
    """run.plot, trace.plot"""

    def __init__(self, trace):
        self._trace, self.model = trace, trace.model

    def _range(self, part):
        begin, end = self._trace._range(slice(None) if part is None else part)
        if not 0 <= begin < end <= len(self._trace):
            raise IndexError(f"{begin}:{end} is no range of the {len(self._trace)} tokens")
        return begin, end

    @takes_head
    def head(self, layer, head, rows=None, keys=None, scale="log", cmap="viridis", width=COLUMN):
        """The map of one head: each row is a token that looks, each column one that is looked at.

        rows, keys: slices or (begin, end), by default all. Up to 1,024 tokens each cell is one exact weight; beyond, each
        is a block's share of its rows' weight, and the picture says of how many tokens. Up to 32 tokens the tokens are
        written along the axes. scale: "log" from 0.01 % on, or "linear".
        """
        trace = self._trace
        layer, head = trace._head(layer, head)
        if scale not in ("log", "linear"):
            raise ValueError(f"scale {scale!r}: 'log' or 'linear' is needed")
        (r0, r1), (k0, k1) = rows, keys = self._range(rows), self._range(keys)
        size = 1
        while max(r1 - r0, k1 - k0) > CELLS * size:
            size *= 2
        if size == 1:
            values = trace.tile(layer, head, rows, keys)
        else:
            values = _blocks(trace, layer, head, rows, keys, size)
        # A block on the diagonal has keys that its rows see; what lies wholly above it has none.
        last_row = np.minimum(r0 + size * (np.arange(values.shape[0]) + 1), r1) - 1
        first_key = k0 + size * np.arange(values.shape[1])
        values = np.ma.masked_where(first_key[None, :] > last_row[:, None], values)
        written = [shown(t) for begin, end in (rows, keys) if end - begin <= LABELS for t in trace.texts[begin:end]]
        with matplotlib.rc_context(_style("".join(written))):
            figure = _figure(width, width * 0.86)
            axes = figure.add_subplot()
            norm = LogNorm(LOWEST, 1) if scale == "log" else Normalize(0, float(values.max()) or 1)
            colours = matplotlib.colormaps[cmap]
            colours = colours.with_extremes(bad=(0, 0, 0, 0), under=colours(0.0))
            x = np.minimum(k0 + size * np.arange(values.shape[1] + 1), k1) - 0.5
            y = np.minimum(r0 + size * np.arange(values.shape[0] + 1), r1) - 0.5
            # Up to some thousands of cells as squares of their own; more as one picture, which files and viewers can bear.
            mesh = axes.pcolormesh(x, y, values, cmap=colours, norm=norm, rasterized=values.size > 20_000, linewidth=0,
                                   edgecolors="face" if values.size <= 20_000 else "none")
            axes.invert_yaxis()
            axes.set_aspect("equal")
            for spine in ("top", "right"):
                axes.spines[spine].set_visible(False)
            for (begin, end), axis, what in ((keys, axes.xaxis, "key"), (rows, axes.yaxis, "row")):
                if end - begin <= LABELS:
                    axis.set_ticks(range(begin, end), [shown(t)[:14] for t in trace.texts[begin:end]], parse_math=False,
                                   fontsize=min(6.0, 45 * width / (end - begin)))
                axis.set_label_text(what)
            if k1 - k0 <= LABELS:
                axes.tick_params(axis="x", rotation=90)
            axes.set_title(f"Layer {layer}, head {head}")
            bar = figure.colorbar(mesh, ax=axes, extend="min" if scale == "log" else "neither", shrink=0.8, aspect=25)
            bar.set_label("weight" if size == 1 else f"share of the row's weight, blocks of {size} tokens")
            bar.outline.set_linewidth(0.5)
        return figure

    def grid(self, measure="first_mass", cmap="cividis", width=FULL):
        """One measure (docs/measures.md) of every head, mean over the text: layers across, heads down."""
        values = self._trace.mean(measure)
        with matplotlib.rc_context(_style()):
            layers, heads = values.shape
            figure = _figure(width, max(1.1, width * 0.92 * heads / layers * 0.9 + 0.5))
            axes = figure.add_subplot()
            mesh = axes.pcolormesh(np.arange(layers + 1) - 0.5, np.arange(heads + 1) - 0.5, np.ma.masked_invalid(values.T),
                                   cmap=cmap, edgecolors="white", linewidth=0.4)
            axes.invert_yaxis()
            axes.set_aspect("equal")
            axes.set_xlabel("layer")
            axes.set_ylabel("head")
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True, nbins=layers))
            axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True, nbins=heads))
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set_visible(False)
            bar = figure.colorbar(mesh, ax=axes, aspect=14, pad=0.01)
            bar.set_label(measure.replace("_", " "))
            bar.outline.set_linewidth(0)
        return figure

    def text(self, row, layer=None, head=None, keys=None, cmap="Oranges", width=COLUMN):
        """The running text, coloured by where one token looks.

        row: the token, counted from 0 (negative: from the end). layer, head: of one head ("5.3" too); only layer: mean of
        its heads; neither: mean of all. keys: which part of the text is written, by default the last 300 tokens up to the row. What
        is not written, and what its weight is, stands below: nothing is left out unsaid.
        """
        trace = self._trace
        row = range(len(trace))[row]
        if head is not None and layer is None:
            raise ValueError("head was given without its layer")
        if head is not None or isinstance(layer, (str, tuple, list)):
            layer, head = trace._head(layer, head)
        model = trace.model
        heads = [(l, h) for l in (range(model["layers"]) if layer is None else [layer])
                 for h in (range(model["heads"]) if head is None else [head])]
        weights = sum(trace.row(l, h, row).astype(np.float64) for l, h in heads) / len(heads)
        begin, end = (max(0, row - 299), row + 1) if keys is None else self._range(keys)
        end = min(end, row + 1)
        if begin >= end:
            raise IndexError(f"row {row} sees no key of {begin}:{end}")
        # The first token often holds most of the weight: the colours are for the others.
        part = weights[max(begin, 1):end]
        top = float(part.max()) if part.size else float(weights[0])
        who = ("mean of all heads" if layer is None else f"layer {layer}, mean of its heads" if head is None
               else f"layer {layer}, head {head}")
        strongest = np.argsort(-weights, kind="stable")[:3]
        listed = ", ".join(f"{weights[k]:.1%} {shown(trace.texts[k]).strip() or shown(trace.texts[k])!r} ({k})"
                           for k in strongest)
        others = row + 1 - (end - begin)
        note = f"strongest: {listed}"
        if others:
            note += f"\n{others:,} tokens not written here: {weights.sum() - weights[begin:end].sum():.1%}"
        written = "".join(shown(t) for t in trace.texts[begin:row + 1]) + note
        with matplotlib.rc_context(_style(written)):
            return _running_text(trace.texts[begin:end], weights[begin:end] / top if top > 0 else weights[begin:end],
                                 row - begin, f"Row {row} \u2018{shown(trace.texts[row]).strip()}\u2019, {who}; "
                                 f"full colour: {top:.1%}", note, cmap, width)


def _running_text(tokens, strengths, focus, title, note, cmap, width):
    """Lines of words on coloured ground. strengths: 1 is full colour; what is above (the first token) stays full."""
    size, line = 7.5, 12.5  # points
    figure = Picture(figsize=(width, 1))
    font = FontProperties(size=size)  # of the families in force

    def measured(text):
        # In points and not in pixels, between two bars, so that spaces at the ends count.
        return text_to_path.get_text_width_height_descent(f"|{text}|", font, ismath=False)[0]

    bars, known, places, x, y = measured(""), {}, [], 0.0, 0
    wide = width * 72
    for i, token in enumerate(tokens):
        text = shown(token)
        if text not in known:
            known[text] = measured(text) - bars
        if x + known[text] > wide and x > 0:
            x, y = 0.0, y + 1
        places.append((i, text, x, y, known[text]))
        x += known[text]
        if token.endswith("\n"):
            x, y = 0.0, y + 1
    lines = y + 1
    above, below = 16, 10 * (note.count("\n") + 1) + 6
    height = above + lines * line + below
    figure.set_size_inches(width, height / 72)
    colours = matplotlib.colormaps[cmap]

    def at(px, py):
        return px / wide, 1 - py / height

    figure.text(*at(0, 8), title, fontsize=8, va="center", parse_math=False)
    for i, text, px, line_number, extent in places:
        strength = float(np.sqrt(min(1.0, max(0.0, strengths[i])))) if np.isfinite(strengths[i]) else 1.0
        py = above + line_number * line
        left, bottom = at(px, py + line - 1.2)
        box = Rectangle((left, bottom), extent / wide, (line - 2.4) / height, transform=figure.transFigure, linewidth=0,
                        facecolor=colours(0.78 * strength) if strength > 0.02 else "none")
        if i == focus:
            box.set(edgecolor="#0b63c4", linewidth=0.8)
        figure.add_artist(box)
        dark = strength > 0 and sum(colours(0.78 * strength)[:3]) < 1.2
        figure.text(*at(px, py + line / 2), text, fontsize=size, va="center", color="white" if dark else "black",
                    parse_math=False)
    for n, part in enumerate(note.split("\n")):
        figure.text(*at(0, height - below + 8 + 10 * n), part, fontsize=6, va="center", color="0.35", parse_math=False)
    return figure
