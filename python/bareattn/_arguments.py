"""Arguments as the bindings take them: ValueError here, naming what was given and what is needed, where C++ would only
see that a type does not fit."""

import operator
import os
from collections.abc import Mapping

MOST = 1 << 40  # of a number of tokens, as in the command
MOST_INT = 2**31 - 1


def utf8(text):
    """The text; UnicodeEncodeError, a ValueError, where half a surrogate pair keeps it from being UTF-8."""
    str(text).encode()
    return str(text)


def names_of(names):
    """A list of names; a text is one."""
    return [utf8(name) for name in ([names] if isinstance(names, str) else names)]


def path_of(path):
    """A path of any kind (str, bytes, os.PathLike) as text."""
    text = os.fsdecode(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"path {path!r}: a name in UTF-8 is needed") from None
    if "\0" in text:
        raise ValueError(f"path {path!r}: a name without NUL is needed")
    return text


def whole(name, value, least=0, most=MOST):
    """A whole number from `least` to `most`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= most:
        raise ValueError(f"{name} {value!r}: a whole number from {least} to {most} is needed")
    return number


def pairs_of(name, spans):
    """[(begin, end)] of tokens."""
    try:
        return [(whole(name, begin), whole(name, end)) for begin, end in spans]
    except TypeError:
        raise ValueError(f"{name} {spans!r}: spans (begin, end) are needed") from None


def spans_of(spans):
    """["NAME=BEGIN:END" or "NAME=REGEX"], as --span of the command takes them, from the same; or from (name, begin, end) or
    (name, where), in a list, or {name: where}; `where` is (begin, end), a list of such, or the text after the `=`."""
    texts = []
    spans = [spans] if isinstance(spans, str) else spans
    for span in spans.items() if isinstance(spans, Mapping) else spans:
        if isinstance(span, str):
            texts.append(span)
            continue
        try:
            name, *where = span
            where = where[0] if len(where) == 1 else where
            places = [where] if isinstance(where, str) else _ranges(where)
        except (TypeError, ValueError):
            raise ValueError(f"spans: {span!r}: a name with tokens (begin, end), several such, or a regular expression is "
                             "needed") from None
        if not isinstance(name, str) or not name or "=" in name:
            raise ValueError(f"spans: the name {name!r}: a text without '=' is needed")
        texts += [f"{name}={place}" for place in places]
    return names_of(texts)


def _ranges(where):
    """["begin:end"] of one range or several; TypeError or ValueError where they are none."""
    where = list(where)
    try:
        ranges = [[operator.index(number) for number in where]]
    except TypeError:
        ranges = [[operator.index(number) for number in one] for one in where]
    if any(min(begin, end) < 0 for begin, end in ranges):
        raise ValueError
    return [f"{begin}:{end}" for begin, end in ranges]
