"""Lesson 01 in a real browser: the gradient through time, its dials turned by keyboard.

The lesson's own three functions are asked in its kernel; what must hold of an RNN's numbers is worked out here.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from course_lib.viz import GradientThroughTime
from course_lib.viz.theme import scientific
from tests.browser.real_lab import OTHER, Notebook, OnPage, far_apart

KIND = "GradientThroughTime"


@pytest.fixture(scope="module")
def lesson(open_notebook: Callable[[str], Notebook]) -> Notebook:
    notebook = open_notebook("notebooks/01_language_models_and_rnns.ipynb")
    notebook.run_for(KIND)
    return notebook


class Measured:
    """The functions that the lesson gives to its explorer, asked in the lesson's kernel."""

    def __init__(self, lesson: Notebook):
        self.lesson, self.given = lesson, lesson.arguments(KIND)
        self.names: list[str] = ast.literal_eval(lesson.ask_kernel(f"list({self.given})"))
        options = ast.literal_eval(lesson.ask_kernel(f"dict({lesson.options(KIND)})"))
        self.lengths: tuple[int, ...] = options.get("lengths", (8, 16, 32, 64, 128))
        self.threshold: float = options.get("threshold", 1e-3)
        self.known: dict[tuple[str, int, float, float], list[float]] = {}

    def norms(self, name: str, length: int, radius: float, gate: float) -> list[float]:
        asked = (name, length, radius, gate)
        if asked not in self.known:
            call = f"({self.given})[{name!r}]({length}, {radius}, {gate}).tolist()"
            self.known[asked] = ast.literal_eval(self.lesson.ask_kernel(call))
        return self.known[asked]

    def told(self, length: int, radius: float, gate: float) -> str:
        """What the explorer must say, worked out from the norms."""
        parts = []
        for name in self.names:
            norms = self.norms(name, length, radius, gate)
            below = [distance for distance, norm in enumerate(norms) if norm < self.threshold]
            limit = scientific(self.threshold)
            fate = f"never below {limit}"
            if below:
                stays = len(below) == length - below[0]
                fate = f"below {limit} from distance {below[0]} on"
                fate = fate if stays else f"first below {limit} at distance {below[0]}"
            parts.append(f"{name} {scientific(norms[-1])}, {fate}")
        return f"At distance {length - 1}: {'; '.join(parts)}."

    def twin(self, length: int, radius: float, gate: float) -> GradientThroughTime:
        def measure(name: str) -> Callable[[int, float, float], Tensor]:
            return lambda *dials: torch.tensor(self.norms(name, *dials), dtype=torch.float64)

        measures = {name: measure(name) for name in self.names}
        same = GradientThroughTime(measures, lengths=self.lengths, threshold=self.threshold)
        same.length.value, same.radius.value, same.gate.value = length, radius, gate
        return same


@pytest.fixture(scope="module")
def measured(lesson: Notebook) -> Measured:
    return Measured(lesson)


def at_the_far_end(explorer: OnPage, name: str) -> float:
    """Read a network's number from the words."""
    found = re.search(rf"{name} ([\d.]+)(?: · 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))?,", explorer.words)
    assert found, explorer.words
    exponent = (found[2] or "0").translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return float(found[1]) * 10.0 ** int(exponent)


def test_the_explorer_starts_below_its_still_picture(lesson: Notebook, measured: Measured) -> None:
    explorer = lesson.explorer(KIND)
    above = explorer.cell.locator("xpath=preceding-sibling::div[1]").locator("img")
    assert above.evaluate("image => image.naturalWidth") > 300
    middle = measured.lengths[len(measured.lengths) // 2]
    assert explorer.words == measured.told(middle, 0.9, 1.0)
    explorer.assert_shows(measured.twin(middle, 0.9, 1.0))
    explorer.screenshot("gradient-through-time")


def test_the_rnns_gradient_follows_its_radius_and_the_others_do_not(
    lesson: Notebook, measured: Measured
) -> None:
    explorer = lesson.explorer(KIND)
    length = measured.lengths[len(measured.lengths) // 2]
    before, start = explorer.pixels, at_the_far_end(explorer, "RNN")
    others = {name: at_the_far_end(explorer, name) for name in measured.names if name != "RNN"}
    explorer.focus("spectral radius")
    for radius in (0.95, 1.0, 1.05):
        explorer.press("ArrowRight")
        assert explorer.words == measured.told(length, radius, 1.0)
    explorer.assert_shows(measured.twin(length, 1.05, 1.0))
    assert far_apart(explorer.pixels, before) > OTHER
    assert at_the_far_end(explorer, "RNN") > 100 * start
    assert {name: at_the_far_end(explorer, name) for name in others} == others
    explorer.press("Home")
    assert explorer.words == measured.told(length, 0.5, 1.0)
    # The tanh lets at most the radius through at each step; the way from state to input is one factor more.
    norms = measured.norms("RNN", length, 0.5, 1.0)
    assert math.log(norms[-1] / norms[0]) < (length - 1) * math.log(0.5) + 3
    explorer.press("End")
    assert explorer.words == measured.told(length, 1.5, 1.0)


def test_an_open_forget_gate_keeps_the_lstms_gradient(lesson: Notebook, measured: Measured) -> None:
    explorer = lesson.explorer(KIND)
    length = measured.lengths[len(measured.lengths) // 2]
    explorer.focus("spectral radius")
    explorer.tab_to("forget-gate bias")
    explorer.press("End")
    assert explorer.words == measured.told(length, 0.9, 6.0)
    opened = at_the_far_end(explorer, "LSTM")
    explorer.assert_shows(measured.twin(length, 0.9, 6.0))
    explorer.press("Home")
    assert explorer.words == measured.told(length, 0.9, -2.0)
    assert at_the_far_end(explorer, "LSTM") < 1e-6 * opened
    explorer.press("ArrowRight")
    assert explorer.words == measured.told(length, 0.9, -1.5)


def test_every_length_has_its_button_and_the_gradient_vanishes_with_the_distance(
    lesson: Notebook, measured: Measured
) -> None:
    explorer, reached = lesson.explorer(KIND), []
    for length in measured.lengths:
        if explorer.words != measured.told(length, 0.9, 1.0):  # the middle one is chosen already
            explorer.choose(f"{length} steps")
        assert explorer.words == measured.told(length, 0.9, 1.0)
        reached.append(at_the_far_end(explorer, "RNN"))
        explorer.assert_shows(measured.twin(length, 0.9, 1.0))
    assert reached == sorted(reached, reverse=True)
    steps = measured.lengths[-1] - measured.lengths[0]
    assert math.log(reached[-1] / reached[0]) < 0.9 * steps * math.log(0.9)


def test_nothing_of_the_explorer_is_cut_off_or_overlaps(lesson: Notebook) -> None:
    lesson.explorer(KIND).assert_nothing_is_cut_off_or_overlaps()


def test_the_lesson_asks_nothing_of_the_network_and_the_browser_reports_no_error(lesson: Notebook) -> None:
    assert lesson.guard.strangers == []
    assert lesson.guard.errors == []
