"""Python's manual: real prose, each paragraph once, split by what it says."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import manual
from course_lib.data.manual import docstrings, manual_paragraphs, split_by_content


@pytest.mark.parametrize(("texts", "least"), [(manual_paragraphs, 200_000), (docstrings, 800_000)])
def test_there_is_enough_prose_on_every_python(texts, least):
    found = texts()
    assert sum(map(len, found)) >= least
    assert len(found) == len(set(found))
    assert all(re.fullmatch(r"[ -~]+", text) for text in found)
    assert "  " not in "".join(found)


def test_the_manual_reads_as_sentences():
    text = "\n".join(manual_paragraphs())
    assert "iterable" in text and "statement" in text
    assert ">>>" not in text[:2000] and "::=" not in text
    assert len(re.findall(r"\bthe\b", text)) / len(text.split()) > 0.04  # English prose has about 6 %


@given(st.lists(st.text(max_size=5), max_size=40), st.floats(0.05, 0.95))
def test_every_text_is_on_one_side_and_stays_there_when_others_are_added(texts, share):
    training, held_out = split_by_content(texts, share)
    assert sorted(training + held_out) == sorted(texts)
    assert not set(training) & set(held_out)
    more_training, more_held_out = split_by_content([*texts, "another"], share)
    assert set(training) <= set(more_training) and set(held_out) <= set(more_held_out)


def test_the_share_held_out_is_the_one_asked_for():
    _, held_out = split_by_content([str(number) for number in range(5000)], 0.1)
    assert len(held_out) / 5000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("share", [0, 1, 1.5, None])
def test_a_share_that_splits_nothing_is_named(share):
    with pytest.raises(ValueError, match=f"got {share}"):
        split_by_content(["a"], share)


def test_one_text_in_place_of_a_list_is_refused():
    with pytest.raises(ValueError, match="got one: 'a text'"):
        split_by_content("a text")


def test_the_order_is_that_of_the_names_wherever_the_files_come_from(monkeypatch, tmp_path):
    backwards = dict(reversed(manual.topics.topics.items()))
    expected = manual_paragraphs()
    monkeypatch.setattr(manual.topics, "topics", backwards)
    assert manual_paragraphs() == expected
    said = "The module called {} says what it does in a sentence of its own."
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.py").write_text(f'"""{said.format(name)}"""')
    monkeypatch.setattr(manual.sysconfig, "get_paths", lambda: {"stdlib": tmp_path})
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: sorted(self.glob(pattern), reverse=True))
    assert docstrings() == [said.format(name) for name in ("a", "b", "c")]
