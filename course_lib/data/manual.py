"""Real English prose that every Python brings along: its own manual, and the docstrings of its library.

The manual is `pydoc_data.topics`, what `help("for")` prints: about 250,000 characters of prose. The docstrings of
the standard library add a million. The text differs a little between versions of Python.
"""

from __future__ import annotations

import ast
import hashlib
import re
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path
from pydoc_data import topics
from typing import SupportsFloat

TYPEWRITER = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "..."})
SKIPPED = {"site-packages", "test", "tests", "idlelib", "lib2to3", "turtledemo", "pydoc_data", "__pycache__"}


def manual_paragraphs() -> list[str]:
    """Return the paragraphs of Python's manual, each once, in the manual's order.

    Lines are joined, so that a paragraph is one line of prose. Grammar, code and headings are left out. Curly
    quotes and dashes become those of a typewriter: the alphabet is printable ASCII everywhere.
    """
    found = []
    for name in sorted(topics.topics):
        for paragraph in re.split(r"\n\s*\n", topics.topics[name]):
            found.append(" ".join(paragraph.split()))
    return _prose(found)


def docstrings() -> list[str]:
    """Return the paragraphs of the standard library's docstrings, each once, in the order of its files.

    The files are read as text and never run. They are there on every Python, also under `-OO`.
    """
    library = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for path in sorted(library.rglob("*.py")):
        if SKIPPED & set(path.relative_to(library).parts):
            continue
        for text in _docstrings_of(path):
            found += [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text)]
    return _prose(found)


def split_by_content(texts: Sequence[str], held_out: float = 0.1) -> tuple[list[str], list[str]]:
    """Split texts into training and held-out ones by a hash of what they say.

    A text keeps its side when others are added, and equal texts are always on one side.

    Args:
        texts: any texts.
        held_out: share that is held out, between 0 and 1.

    Returns:
        The texts to train on and the held-out ones, both in the order given.

    Raises:
        ValueError: `held_out` is not between 0 and 1, or one text in place of a list.
    """
    if not isinstance(held_out, SupportsFloat) or not 0 < held_out < 1:
        raise ValueError(f"split_by_content: held_out must lie between 0 and 1, got {held_out!r}")
    if isinstance(texts, str):
        raise ValueError(f"split_by_content: texts must be a list of texts, got one: {texts[:40]!r}")
    sides: tuple[list[str], list[str]] = [], []
    for text in texts:
        draw = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
        sides[draw < held_out].append(text)
    return sides


def _docstrings_of(path: Path) -> list[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, OSError):  # a file for another Python, or unreadable
        return []
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, owners))
    return [text for text in texts if text]


def _prose(paragraphs: Iterable[str]) -> list[str]:
    """Keep what reads as sentences, each paragraph once, in printable ASCII."""
    plain = (re.sub(r"^(\* |\[\d+\] )", "", text.translate(TYPEWRITER)) for text in paragraphs)
    kept = (text for text in plain if re.fullmatch(r"[\"A-Z][ -~]{40,}", text) and text[-1] in ".:?!)")
    return list(dict.fromkeys(kept))
