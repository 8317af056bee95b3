"""Lesson 03 in a real browser: its table of positions, scrubbed by keyboard.

The sinusoids are worked out here, in plain Python, from the formula; the picture is compared with the same
explorer built here on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from course_lib.viz import PositionScrubber
from tests.browser.real_lab import OTHER, Notebook, far_apart

KIND, LENGTH, WIDTH = "PositionScrubber", 64, 32


@pytest.fixture(scope="module")
def lesson(open_notebook: Callable[[str], Notebook]) -> Notebook:
    notebook = open_notebook("notebooks/03_positions.ipynb")
    notebook.run_for(KIND)
    return notebook


def angle(position: int, pair: int) -> float:
    return position / 10000 ** (2 * pair / WIDTH)


def dot(offset: int) -> float:
    """The dot product of two rows: the sum of the cosines of the angles between their hands."""
    return sum(math.cos(angle(offset, pair)) for pair in range(WIDTH // 2))


def written(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")


def hand(position: int, pair: int) -> str:
    sine, cosine = math.sin(angle(position, pair)), math.cos(angle(position, pair))
    return f"Position {position}, pair {pair}: (sin, cos) is ({written(sine)}, {written(cosine)})"


def product(position: int, offset: int) -> str:
    sign = "−" if offset < 0 else "+"
    return (
        f"Dot product with position {position + offset} (offset {sign}{abs(offset)}): {written(dot(offset))}, "
        f"with itself {written(WIDTH / 2)}. "
    )


def twin(position: int, pair: int, offset: int) -> PositionScrubber:
    rows = [
        [turn(angle(place, pair)) for pair in range(WIDTH // 2) for turn in (math.sin, math.cos)]
        for place in range(LENGTH)
    ]
    same = PositionScrubber(torch.tensor(rows))
    same.position.value, same.pair.value, same.offset.value = position, pair, offset
    return same


def test_the_still_picture_stands_above_the_scrubber(lesson: Notebook) -> None:
    above = lesson.explorer(KIND).cell.locator("xpath=preceding-sibling::div[1]").locator("img")
    assert above.evaluate("image => image.naturalWidth") > 300


def test_the_hands_turn_with_the_position_and_the_dot_product_stays(lesson: Notebook) -> None:
    explorer = lesson.explorer(KIND)
    explorer.assert_shows(twin(21, 1, 5))
    explorer.screenshot("position-scrubber")
    before = explorer.pixels
    explorer.focus("position")
    for position in (22, 23, 24):
        explorer.press("ArrowRight")
        assert hand(position, 1) in explorer.words
        assert product(position, 5) + "Any two rows with this offset have the same." in explorer.words
    explorer.assert_shows(twin(24, 1, 5))
    assert far_apart(explorer.pixels, before) > OTHER
    explorer.press("Home")
    assert hand(0, 1) in explorer.words and product(0, 5) in explorer.words
    explorer.press("End")
    assert hand(LENGTH - 1, 1) in explorer.words
    assert f"Position {LENGTH - 1} + 5 is not in the table." in explorer.words
    explorer.assert_shows(twin(LENGTH - 1, 1, 5))


def test_the_first_pair_is_round_in_six_steps_and_the_last_hardly_moves(lesson: Notebook) -> None:
    explorer = lesson.explorer(KIND)
    explorer.focus("pair")
    explorer.press("Home")
    assert hand(21, 0) in explorer.words
    assert "its hand turns 1 rad a step, once round in 6.3 steps." in explorer.words
    explorer.assert_shows(twin(21, 0, 5))
    explorer.press("End")
    last = WIDTH // 2 - 1
    assert hand(21, last) in explorer.words
    assert f"once round in {2 * math.pi / angle(1, last):.0f} steps." in explorer.words
    explorer.assert_shows(twin(21, last, 5))


def test_the_dot_product_falls_and_rises_again_with_the_offset(lesson: Notebook) -> None:
    explorer = lesson.explorer(KIND)
    explorer.focus("pair")
    explorer.tab_to("offset")
    offsets = range(6, 13)
    for offset in offsets:
        explorer.press("ArrowRight")
        assert product(21, offset) in explorer.words
    assert any(dot(offset) > dot(offset - 1) for offset in offsets)
    explorer.assert_shows(twin(21, 1, 12))
    for offset in (11, 10):
        explorer.press("ArrowLeft")
        assert product(21, offset) in explorer.words
    explorer.press("Home")
    assert explorer.words.endswith(f"Position 21 − {LENGTH - 1} is not in the table.")


def test_nothing_of_the_scrubber_is_cut_off_or_overlaps(lesson: Notebook) -> None:
    lesson.explorer(KIND).assert_nothing_is_cut_off_or_overlaps()


def test_the_lesson_asks_nothing_of_the_network_and_the_browser_reports_no_error(lesson: Notebook) -> None:
    assert lesson.guard.strangers == []
    assert lesson.guard.errors == []
