"""Lesson 05 in a real browser: masks painted by keyboard, cell by cell.

The weights are worked out here, in plain Python, from the scores that the lesson drew.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch

from course_lib.viz import MaskPainter
from tests.browser.real_lab import OTHER, Notebook, far_apart

KIND = "MaskPainter"
Mask = list[list[bool]]


@pytest.fixture(scope="module")
def lesson(open_notebook: Callable[[str], Notebook]) -> Notebook:
    notebook = open_notebook("notebooks/05_masks.ipynb")
    notebook.run_for(KIND)
    return notebook


@dataclass
class Drawn:
    """The scores that the lesson drew, and its tokens."""

    scores: list[list[float]]
    tokens: list[str]

    def causal(self) -> Mask:
        n = len(self.tokens)
        return [[key <= query for key in range(n)] for query in range(n)]

    def twin(self, mask: Mask, query: int = 0, key: int = 0, softmax: str = "careful (−∞)") -> MaskPainter:
        same = MaskPainter(torch.tensor(self.scores, dtype=torch.float32), self.tokens)
        same.paint(torch.tensor(mask))
        same.query.value, same.key.value, same.softmax.value = query, key, softmax
        return same


@pytest.fixture(scope="module")
def drawn(lesson: Notebook) -> Drawn:
    scores, tokens = (f"{part}" for part in lesson.arguments(KIND).rsplit(", ", 1))
    return Drawn(
        ast.literal_eval(lesson.ask_kernel(f"({scores}).tolist()")),
        ast.literal_eval(lesson.ask_kernel(tokens)),
    )


def shares(scores: Sequence[float]) -> list[float]:
    """Softmax, written out."""
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def masked(scores: Sequence[float], mask: Sequence[bool]) -> list[float]:
    """Softmax over what may be attended to, written out; zeros where there is nothing."""
    powers = [math.exp(score) if allowed else 0.0 for score, allowed in zip(scores, mask, strict=True)]
    return [power / (sum(powers) or 1.0) for power in powers]


def written(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def cell(drawn: Drawn, mask: Mask, query: int, key: int) -> str:
    weight = masked(drawn.scores[query], mask[query])[key]
    return (
        f"Query '{drawn.tokens[query]}', key '{drawn.tokens[key]}': score {written(drawn.scores[query][key])}, "
        f"weight {written(weight)}."
    )


def box(drawn: Drawn, query: int, key: int) -> str:
    return f"query {query} '{drawn.tokens[query]}', key {key} '{drawn.tokens[key]}'"


def test_the_painter_starts_from_the_causal_mask_below_its_still_picture(
    lesson: Notebook, drawn: Drawn
) -> None:
    explorer, causal = lesson.explorer(KIND), drawn.causal()
    above = explorer.cell.locator("xpath=preceding-sibling::div[1]").locator("img")
    assert above.evaluate("image => image.naturalWidth") > 300
    allowed = sum(map(sum, causal))
    assert explorer.words.startswith(
        f"{allowed} of {len(causal) ** 2} cells may attend; softmax: careful (−∞)."
    )
    assert "Every row sums to 1. On hidden keys lies 0 % of the weight." in explorer.words
    assert explorer.words.endswith(cell(drawn, causal, 0, 0))
    explorer.assert_shows(drawn.twin(causal))
    explorer.screenshot("mask-painter")


def test_a_cell_is_painted_where_tab_leads_to_and_its_share_goes_to_the_others(
    lesson: Notebook, drawn: Drawn
) -> None:
    explorer, mask = lesson.explorer(KIND), drawn.causal()
    last = len(mask) - 1
    explorer.choose("all")
    before = explorer.pixels
    assert explorer.words.startswith(f"{len(mask) ** 2} of {len(mask) ** 2} cells may attend;")
    explorer.choose("causal")
    assert far_apart(explorer.pixels, before) > OTHER
    explorer.tab_to(box(drawn, last, 1))
    explorer.press("Space")
    mask[last][1] = False
    assert explorer.words.endswith(cell(drawn, mask, last, 1)) and "weight 0.00." in explorer.words
    explorer.assert_shows(drawn.twin(mask, last, 1))
    explorer.tab_to(box(drawn, last, 3))
    explorer.press("Space")
    explorer.press("Space")
    assert explorer.words.endswith(
        cell(drawn, mask, last, 3)
    )  # off and on again: what is left over is shared
    assert masked(drawn.scores[last], mask[last])[3] > masked(drawn.scores[last], [True] * len(mask))[3]


def test_the_arrow_keys_lead_a_cursor_over_the_cells(lesson: Notebook, drawn: Drawn) -> None:
    explorer, mask = lesson.explorer(KIND), drawn.causal()
    explorer.focus("query (row)")
    for query in (1, 2):
        explorer.press("ArrowRight")
        assert explorer.words.endswith(cell(drawn, mask, query, 0))
    explorer.tab_to("key (column)")
    explorer.press("ArrowRight")
    assert explorer.words.endswith(cell(drawn, mask, 2, 1))
    explorer.tab_to("may attend")
    explorer.press("Space")
    mask[2][1] = False
    explorer.assert_shows(drawn.twin(mask, 2, 1))


def test_zero_in_place_of_minus_infinity_lets_weight_through(lesson: Notebook, drawn: Drawn) -> None:
    explorer, mask = lesson.explorer(KIND), drawn.causal()
    explorer.choose("0, not −∞")
    zeroed = [
        shares([score if allowed else 0.0 for score, allowed in zip(row, allowed_row, strict=True)])
        for row, allowed_row in zip(drawn.scores, mask, strict=True)
    ]
    leaks = [
        weight
        for row, allowed_row in zip(zeroed, mask, strict=True)
        for weight, allowed in zip(row, allowed_row, strict=True)
        if not allowed
    ]
    assert f"On hidden keys lies {100 * sum(leaks) / len(mask):.0f} % of the weight." in explorer.words
    explorer.assert_shows(drawn.twin(mask, softmax="0, not −∞"))


def test_a_mask_after_the_softmax_leaves_rows_below_one(lesson: Notebook, drawn: Drawn) -> None:
    explorer, mask = lesson.explorer(KIND), drawn.causal()
    explorer.choose("mask after softmax")
    sums = [
        sum(weight for weight, allowed in zip(shares(row), allowed_row, strict=True) if allowed)
        for row, allowed_row in zip(drawn.scores, mask, strict=True)
    ]
    below = [
        f"'{token}' {written(total)}" for token, total in zip(drawn.tokens, sums, strict=True) if total < 1
    ]
    assert f"Less than 1 in sum: rows {', '.join(below[: len(mask) - 1])}" in explorer.words
    assert "On hidden keys lies 0 % of the weight." in explorer.words
    explorer.assert_shows(drawn.twin(mask, softmax="mask after softmax"))


def test_an_empty_row_is_nan_in_the_naive_softmax_and_zeros_in_the_careful_one(
    lesson: Notebook, drawn: Drawn
) -> None:
    explorer = lesson.explorer(KIND)
    explorer.choose("an empty row")
    assert f"Less than 1 in sum: row '{drawn.tokens[2]}' 0.00." in explorer.words
    explorer.choose("naive (−∞)")
    assert f"NaN in row '{drawn.tokens[2]}': a softmax over nothing but −∞." in explorer.words
    mask = drawn.causal()
    mask[2] = [False] * len(mask)
    explorer.assert_shows(drawn.twin(mask, softmax="naive (−∞)"))


def test_a_prediction_is_painted_by_keyboard_and_scored(lesson: Notebook, drawn: Drawn) -> None:
    explorer, n = lesson.explorer(KIND), len(drawn.tokens)
    explorer.focus("may attend")
    explorer.tab_to("score my prediction")
    explorer.press_for_words("Space")
    assert explorer.words.startswith(f"{n * n - 1} of {n * n} cells are right. 1 may attend and should not.")
    assert f"Look at query '{drawn.tokens[-1]}', key '{drawn.tokens[-1]}'." in explorer.words
    explorer.focus("query (row)")
    explorer.press("End")
    explorer.tab_to("key (column)")
    explorer.press("End")
    explorer.tab_to("may attend")
    explorer.press("Space")
    assert "are right" not in explorer.words  # the score was of another mask
    explorer.tab_to("score my prediction")
    explorer.press_for_words("Enter")
    assert explorer.words.startswith(f"All {n * n} cells are right.")


def test_nothing_of_the_painter_is_cut_off_or_overlaps(lesson: Notebook) -> None:
    lesson.explorer(KIND).assert_nothing_is_cut_off_or_overlaps()


def test_the_lesson_asks_nothing_of_the_network_and_the_browser_reports_no_error(lesson: Notebook) -> None:
    assert lesson.guard.strangers == []
    assert lesson.guard.errors == []
