"""Lesson 02 in a real browser: words typed into the explorer of neighbours.

Nearness is worked out here, from the rows that the lesson has just trained in its kernel.
"""

from __future__ import annotations

import ast
import base64
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from course_lib.viz import EmbeddingNeighbours
from tests.browser.real_lab import OTHER, Notebook, OnPage, far_apart

KIND = "EmbeddingNeighbours"


@pytest.fixture(scope="module")
def lesson(open_notebook: Callable[[str], Notebook]) -> Notebook:
    notebook = open_notebook("notebooks/02_tokens_and_embeddings.ipynb")
    notebook.run_for(KIND)
    return notebook


@dataclass
class Table:
    """The words and the rows of the lesson's table, and what it gives to its explorer by name."""

    words: list[str]
    rows: np.ndarray  # (V, D)
    options: dict

    def twin(self) -> EmbeddingNeighbours:
        return EmbeddingNeighbours(self.words, self.rows, **self.options)

    @property
    def start(self) -> str:
        return str(self.options["word"])

    def ranked(self, query: np.ndarray, rows: np.ndarray, left_out: list[str], k: int) -> str:
        """Name the k best words with their scores, as the explorer writes them."""
        scores = rows @ query
        places = [place for place in np.argsort(-scores, kind="stable") if self.words[place] not in left_out]
        return ", ".join(f"'{self.words[at]}' {scores[at]:.2f}".replace("-", "−") for at in places[:k])

    @property
    def directions(self) -> np.ndarray:
        return self.rows / np.linalg.norm(self.rows, axis=1, keepdims=True)

    def row(self, word: str, rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows[self.words.index(word)])

    def near(self, word: str, k: int = 5, similarity: str = "cosine") -> str:
        rows = self.directions if similarity == "cosine" else self.rows
        return f"Nearest to '{word}' by {similarity}: {self.ranked(self.row(word, rows), rows, [word], k)}."


@pytest.fixture(scope="module")
def table(lesson: Notebook) -> Table:
    words, rows = lesson.arguments(KIND).split(", ")
    count = ast.literal_eval(lesson.ask_kernel(f"tuple(({rows}).shape)"))
    encode = f"__import__('base64').b64encode(({rows}).double().numpy().tobytes()).decode()"
    numbers = np.frombuffer(base64.b64decode(ast.literal_eval(lesson.ask_kernel(encode))))
    named = ast.literal_eval(lesson.ask_kernel(f"chr(10).join({words})")).split("\n")
    options = ast.literal_eval(lesson.ask_kernel(f"dict({lesson.options(KIND)})"))
    return Table(named, numbers.reshape(count), options)


def cells(explorer: OnPage) -> int:
    return explorer.page.locator(".jp-Notebook .jp-Cell").count()


def test_the_explorer_starts_below_its_still_picture(lesson: Notebook, table: Table) -> None:
    explorer = lesson.explorer(KIND)
    above = explorer.cell.locator("xpath=preceding-sibling::div[1]").locator("img")
    assert above.evaluate("image => image.naturalWidth") > 300
    assert explorer.words == table.near(table.start)
    explorer.assert_shows(table.twin())
    explorer.screenshot("embedding-neighbours")


def test_a_word_is_typed_and_enter_shows_its_neighbours(lesson: Notebook, table: Table) -> None:
    explorer, twin = lesson.explorer(KIND), table.twin()
    before = explorer.pixels
    explorer.focus("word")
    for typed in ("the", "List"):
        explorer.type(typed)
        explorer.press("Enter")
        assert explorer.words == table.near(typed.lower())
    twin.word.value = "List"
    explorer.assert_shows(twin)
    assert far_apart(explorer.pixels, before) > OTHER


def test_an_unknown_word_loses_nothing_and_no_letter_reaches_the_notebook(
    lesson: Notebook, table: Table
) -> None:
    explorer = lesson.explorer(KIND)
    there, picture = cells(explorer), explorer.picture.get_attribute("src")
    explorer.focus("word")
    explorer.type("ddabxyz")  # in the notebook itself, d d deletes a cell, a and b add one
    explorer.press_for_words("Enter")
    assert explorer.words.startswith(f"'ddabxyz' has no row among the {len(table.words)} words")
    assert explorer.words.endswith(f"Still shown: {table.near(table.start)}")
    explorer.type("strng")
    explorer.press_for_words("Tab")  # leaving the field asks, too
    assert "did you mean 'string'? Still shown: Nearest to" in explorer.words
    assert explorer.picture.get_attribute("src") == picture
    assert cells(explorer) == there
    explorer.focus("word")
    explorer.type("string")
    explorer.press("Enter")
    assert explorer.words == table.near("string")


def test_a_button_types_its_word(lesson: Notebook, table: Table) -> None:
    explorer, twin = lesson.explorer(KIND), table.twin()
    other = next(button.description for button in twin.suggestions if button.description != table.start)
    explorer.focus("word")
    explorer.tab_to(other)
    explorer.press("Space")
    assert explorer.words == table.near(other)
    twin.word.value = other
    explorer.assert_shows(twin)


def test_the_dot_product_prefers_long_rows_and_k_is_moved_by_arrow_keys(
    lesson: Notebook, table: Table
) -> None:
    explorer, twin = lesson.explorer(KIND), table.twin()
    explorer.choose("dot product")
    assert explorer.words.startswith(table.near(table.start, similarity="dot product"))
    first = explorer.words.split("'")[3]
    lengths = [np.linalg.norm(table.row(word, table.rows)) for word in (first, table.start)]
    assert explorer.words.endswith(
        f"The row of '{first}' has length {lengths[0]:.2f}, its own {lengths[1]:.2f}."
    )
    twin.similarity.value = "dot product"
    explorer.assert_shows(twin)
    explorer.tab_to("neighbours")
    for key, k in (("ArrowRight", 6), ("Home", 1), ("End", 10)):
        explorer.press(key)
        assert explorer.words.startswith(table.near(table.start, k, "dot product"))
    twin.k.value = 10
    explorer.assert_shows(twin)


def test_an_analogy_is_asked_and_typing_a_word_leaves_it(lesson: Notebook, table: Table) -> None:
    explorer, twin = lesson.explorer(KIND), table.twin()
    for a, b, c in table.options["analogies"]:
        explorer.choose(f"{a} → {b}, {c} → ?")
        rows = table.directions
        query = table.row(b, rows) - table.row(a, rows) + table.row(c, rows)
        answers = table.ranked(query / np.linalg.norm(query), rows, [a, b, c], 5)
        first, _, others = answers.partition(", ")
        assert explorer.words.startswith(
            f"'{a}' is to '{b}' as '{c}' is to {first}, then {others}, by cosine;"
        )
        strictly = table.ranked(query, rows, [], 1).split("'")[1]
        assert (f"'{strictly}' would come first" in explorer.words) == (strictly in (a, b, c))
        twin.analogy.value = f"{a} → {b}, {c} → ?"
        explorer.assert_shows(twin)
    explorer.focus("word")
    explorer.type("return")
    explorer.press("Enter")
    assert explorer.words == table.near("return")


def test_nothing_of_the_explorer_is_cut_off_or_overlaps(lesson: Notebook) -> None:
    lesson.explorer(KIND).assert_nothing_is_cut_off_or_overlaps()


def test_the_lesson_asks_nothing_of_the_network_and_the_browser_reports_no_error(lesson: Notebook) -> None:
    assert lesson.guard.strangers == []
    assert lesson.guard.errors == []
