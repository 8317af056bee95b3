"""The Time Machine by H. G. Wells (1895), a real book, for whoever has a network and asks for it.

The file comes through `d2l`, which knows where it lies; it is kept, so that the network is needed once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path

from course_lib.environment import course_home
from course_lib.torchvision_ops import define_missing_torchvision_ops

SHA1 = "090b5e7e70c295757f55df93cb0a180b9691891a"
FILE = "timemachine.txt"


def time_machine_paragraphs(folder: str | Path | None = None) -> list[str]:
    """Return the paragraphs of the book, each one line, in the book's order.

    Args:
        folder: where the file is kept; None = `data` in the course's own folder.

    Raises:
        RuntimeError: the book is not there and cannot be downloaded, or what came is not the book.
    """
    folder = course_home() / "data" if folder is None else Path(folder)
    path = folder / FILE
    if not _is_the_book(path):
        _download(folder)
        if not _is_the_book(path):
            path.unlink(missing_ok=True)
            raise RuntimeError("The Time Machine: what was downloaded is not the book; try again later")
    text = path.read_text(encoding="utf-8")
    paragraphs = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    return [paragraph for paragraph in paragraphs if paragraph]


def _is_the_book(path: Path) -> bool:
    return path.exists() and hashlib.sha1(path.read_bytes()).hexdigest() == SHA1


def _download(folder: Path) -> None:
    define_missing_torchvision_ops()
    from d2l import torch as d2l  # here, for nobody else in the package needs d2l

    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints the path of the file
            d2l.download(d2l.DATA_URL + FILE, str(folder), SHA1)
    except OSError as error:  # whatever the network says is an OSError
        raise RuntimeError(
            f"The Time Machine could not be downloaded ({type(error).__name__}): it needs a network; without "
            "one, read Python's manual (course_lib.data.manual)"
        ) from None
