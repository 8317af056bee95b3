"""The Time Machine: with a network the book, without one a sentence that says so. No test needs the network."""

import hashlib
from pathlib import Path

import pytest

from course_lib.data import time_machine
from course_lib.torchvision_ops import define_missing_torchvision_ops

define_missing_torchvision_ops()
from d2l import torch as d2l  # noqa: E402

BOOK = "The Time Machine\n\n\n\nI\n\nThe Time Traveller\r\nwas expounding.\r\n\r\nHe smiled.\n"


@pytest.fixture
def small_book(monkeypatch):
    monkeypatch.setattr(time_machine, "SHA1", hashlib.sha1(BOOK.encode()).hexdigest())


def delivering(text, calls):
    """What stands in for d2l's download: writes a file, prints its path as d2l does."""

    def download(url, folder, sha1_hash):
        calls.append(url)
        Path(folder).mkdir(parents=True, exist_ok=True)
        print(f"Downloading {folder} from {url}...")
        (Path(folder) / "timemachine.txt").write_bytes(text.encode())

    return download


def test_the_book_comes_as_paragraphs_of_one_line_and_is_fetched_once(
    small_book, monkeypatch, tmp_path, capsys
):
    calls: list[str] = []
    monkeypatch.setattr(d2l, "download", delivering(BOOK, calls))
    wanted = ["The Time Machine", "I", "The Time Traveller was expounding.", "He smiled."]
    assert time_machine.time_machine_paragraphs(tmp_path / "data") == wanted
    assert time_machine.time_machine_paragraphs(tmp_path / "data") == wanted
    assert len(calls) == 1 and calls[0].endswith("timemachine.txt")
    assert capsys.readouterr().out == "", "a path in a notebook's output would differ from machine to machine"


def test_without_a_folder_the_book_lies_in_the_courses_own(small_book, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    monkeypatch.setattr(d2l, "download", delivering(BOOK, []))
    time_machine.time_machine_paragraphs()
    assert (tmp_path / "data" / "timemachine.txt").exists()


def test_without_a_network_one_sentence_says_so(monkeypatch, tmp_path):
    def no_network(url, folder, sha1_hash):
        raise ConnectionError("HTTPConnectionPool: a page of details")

    monkeypatch.setattr(d2l, "download", no_network)
    with pytest.raises(RuntimeError, match=r"needs a network.*manual") as caught:
        time_machine.time_machine_paragraphs(tmp_path)
    assert "page of details" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


def test_something_else_in_the_place_of_the_book_is_refused_and_not_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(d2l, "download", delivering("<html>not found</html>", []))
    with pytest.raises(RuntimeError, match="not the book"):
        time_machine.time_machine_paragraphs(tmp_path)
    assert list(tmp_path.iterdir()) == []
