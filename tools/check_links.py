#!/usr/bin/env python3
"""Fails on a link in a Markdown document that leads nowhere: a file that is not there, a heading that is not there.
Links to the web are not followed. Usage: check_links.py [ROOT]
"""
import re
import sys
from pathlib import Path

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
SKIPPED = {"node_modules", ".git", "models", "out", ".venv", ".venv-bench"}


def prose(path):
    """The lines outside fenced code and comments, numbered."""
    fenced = False
    text = re.sub(r"<!--.*?-->", lambda m: "\n" * m[0].count("\n"), path.read_text(encoding="utf-8"), flags=re.S)
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def anchors(path):
    """The headings of a document as GitHub names them."""
    for _, line in prose(path):
        if match := re.match(r"#+\s+(.*)", line):
            yield re.sub(r"[^\w\- ]", "", match[1].strip().lower()).replace(" ", "-")


def check(root):
    documents = [p for p in sorted(root.rglob("*.md"))
                 if not any(part in SKIPPED or part.startswith("build") for part in p.relative_to(root).parts[:-1])]
    problems, links = [], 0
    for document in documents:
        for number, line in prose(document):
            for target in LINK.findall(re.sub(r"`[^`]*`", "", line)):
                if re.match(r"[a-z]+:", target):
                    continue
                links += 1
                name, _, anchor = target.partition("#")
                path = (document.parent / name).resolve() if name else document
                at = f"{document.relative_to(root)}:{number}: link to {target}"
                if not path.exists():
                    problems.append(f"{at}: there is no such file")
                elif anchor and path.suffix == ".md" and anchor not in anchors(path):
                    problems.append(f"{at}: {path.name} has no such heading")
    return documents, links, problems


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent).resolve()
    documents, links, problems = check(root)
    for problem in problems:
        print(problem)
    print(f"check_links: {len(documents)} documents, {links} links, {len(problems)} problems")
    return 1 if problems or not documents else 0


if __name__ == "__main__":
    sys.exit(main())
