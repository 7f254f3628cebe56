"""Writes into a document what stands between two marks: the tables and figures that scripts of tools/ and bench/ make. A
document without the marks is refused and stays as it is."""
import sys


def put_between(document, begin, end, text):
    """`document`, a path: whole lines `text` go between the line `begin` and the next `end`."""
    content = document.read_text(encoding="utf-8")
    before, began, rest = content.partition(begin + "\n")
    _, ended, after = rest.partition(end)
    if not began or not ended:
        sys.exit(f"{document.name} has no place for it: '{begin}', then '{end}', are needed")
    document.write_text(before + began + text + ended + after, encoding="utf-8")
