"""An exercise whose answer is made of words: yours and the expected ones are read side by side on the page."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from course_lib.checks import EXERCISES, judge
from tests.browser.real_lab import Notebook

# Typed as a learner types: the editor indents what follows the colon.
WRONG = ["def bpe_encode(word, merges):", "return list(word)"]


@pytest.fixture(scope="module")
def exercises(open_notebook: Callable[[str], Notebook]) -> Notebook:
    notebook = open_notebook("exercises/02_tokens_and_embeddings/02_tokens_and_embeddings.ipynb")
    notebook.run(notebook.cell(lambda source: "from course_lib.checks import check" in source))
    return notebook


def test_a_wrong_answer_in_words_is_shown_beside_the_right_one(exercises: Notebook) -> None:
    verdict = judge("02.bpe_encode", lambda word, merges: list(word))
    assert verdict.mistake in [mistake.name for mistake in EXERCISES["02.bpe_encode"].mistakes]

    cell = exercises.cell(lambda source: source.startswith("def bpe_encode("))
    cell.locator(".cm-content").click()
    exercises.page.keyboard.press("ControlOrMeta+a")
    exercises.page.keyboard.type(WRONG[0])
    exercises.page.keyboard.press("Enter")
    exercises.page.keyboard.type(WRONG[1])
    exercises.run(cell)
    asked = exercises.cell(lambda source: source.startswith('check("02.bpe_encode"'))
    exercises.run(asked)
    shown = asked.locator(".jp-OutputArea").first.inner_text()
    exercises.screenshot("words-beside-words", at=asked)
    assert "bpe_encode('" in shown
    yours, expected = shown.index("yours:"), shown.index("expected:")
    assert yours < expected < shown.index(f"✗ {verdict.message}")
    assert verdict.hint in shown and "Traceback" not in shown


def test_it_asks_nothing_of_the_network_nor_reports_an_error(exercises: Notebook) -> None:
    assert exercises.guard.strangers == []
    assert exercises.guard.errors == []
