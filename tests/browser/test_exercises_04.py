"""An exercise in a real browser: a wrong answer is typed, its mistake read on the page, and put right."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator

import course_lib.checks.show
from course_lib.checks import EXERCISES
from course_lib.checks.engine import diagnose
from tests.browser.real_lab import Notebook, far_apart, pixels, until

# Typed as a learner types: the editor indents what follows the colon.
WRONG = [
    "def softmax(scores):",
    "powers = torch.exp(scores - scores.amax(-2, keepdim=True))",
    "return powers / powers.sum(-2, keepdim=True)",
]
RIGHT = [
    "def softmax(scores):",
    "powers = torch.exp(scores - scores.amax(-1, keepdim=True))",
    "return powers / powers.sum(-1, keepdim=True)",
]


def wrong_softmax(scores: torch.Tensor) -> torch.Tensor:
    powers = torch.exp(scores - scores.amax(-2, keepdim=True))
    return powers / powers.sum(-2, keepdim=True)


@pytest.fixture(scope="module")
def exercises(open_notebook: Callable[[str], Notebook]) -> Notebook:
    notebook = open_notebook("exercises/04_attention/04_attention.ipynb")
    notebook.run(notebook.cell(lambda source: "from course_lib.checks import check" in source))
    return notebook


@pytest.fixture(scope="module")
def start_here(open_notebook: Callable[[str], Notebook]) -> Notebook:
    notebook = open_notebook("notebooks/00_start_here.ipynb")
    notebook.run_all()
    return notebook


def answer(notebook: Notebook, lines: list[str]) -> Locator:
    """Type an answer over the stub, run it and its check; return the check's output."""
    cell = notebook.cell(lambda source: source.startswith("def softmax("))
    cell.locator(".cm-content").click()
    notebook.page.keyboard.press("ControlOrMeta+a")
    for place, line in enumerate(lines):
        if place:
            notebook.page.keyboard.press("Enter")
        notebook.page.keyboard.type(line)
    typed = cell.locator(".cm-line").all_inner_texts()
    assert typed == [lines[0], *("    " + line for line in lines[1:])]
    notebook.run(cell)
    return check_again(notebook)


def check_again(notebook: Notebook) -> Locator:
    cell = notebook.cell(lambda source: source.startswith('check("04.softmax"'))
    notebook.run(cell)
    return cell.locator(".jp-OutputArea").first


def progress_of_softmax(notebook: Notebook) -> str:
    cell = notebook.cell(lambda source: "show_progress()" in source)
    return cell.locator("tr", has_text="04.softmax").inner_text()


def test_an_exercise_not_begun_says_so_without_a_traceback(exercises: Notebook) -> None:
    exercises.run(exercises.cell(lambda source: source.startswith("def softmax(")))
    shown = check_again(exercises)
    assert "✗" in shown.inner_text() and "Traceback" not in shown.inner_text()


def test_a_wrong_answer_is_told_its_mistake_and_the_second_time_more(
    exercises: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    diagnosis = diagnose(EXERCISES["04.softmax"], wrong_softmax)
    assert diagnosis.verdict.mistake is not None and "columns sum to 1" in diagnosis.verdict.message
    pictures: list[Any] = []
    monkeypatch.setattr(course_lib.checks.show, "display", pictures.append)
    course_lib.checks.show.show_difference(diagnosis)

    shown = answer(exercises, WRONG)
    exercises.screenshot("wrong-answer", at=exercises.cell(lambda source: source.startswith("def softmax(")))
    first = shown.inner_text()
    assert f"✗ {diagnosis.verdict.message}" in first
    assert diagnosis.verdict.hint in first
    assert diagnosis.mend not in first
    assert "Traceback" not in first and "line 1" not in first

    (image,) = shown.locator("img").all()
    address = image.get_attribute("src") or ""
    png = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    assert "yours" in repr(pictures[0]) and "expected" in repr(pictures[0])
    assert far_apart(pixels(png), pixels(pictures[0].png)) < 1e-3

    second = check_again(exercises).inner_text()
    assert f"✗ {diagnosis.verdict.message}" in second
    assert "met this one before" in second and diagnosis.mend in second
    assert "Traceback" not in second
    exercises.screenshot("wrong-answer-again", at=shown)


def test_a_right_answer_is_told_so_and_lesson_00_calls_it_done(
    exercises: Notebook, start_here: Notebook
) -> None:
    assert "done" not in progress_of_softmax(start_here)
    shown = answer(exercises, RIGHT)
    assert "✓ 04.softmax: correct" in shown.inner_text()
    assert "✗" not in shown.inner_text() and shown.locator("img").count() == 0

    start_here.run(start_here.cell(lambda source: "show_progress()" in source))
    until("the progress to be told", lambda: "✓ done" in progress_of_softmax(start_here), 30)
    start_here.screenshot("progress", at=start_here.cell(lambda source: "show_progress()" in source))


def test_lesson_00_finds_the_environment_whole(start_here: Notebook) -> None:
    cell = start_here.cell(lambda source: "report_environment()" in source)
    report = cell.locator(".jp-OutputArea").first.inner_text()
    assert "✓ kernel" in report and "✗" not in report
    assert start_here.error_texts() == []
    start_here.screenshot("start-here", at=cell)


def test_the_explorer_of_lesson_00_moves_by_keyboard(start_here: Notebook) -> None:
    explorer = start_here.explorer("SoftmaxTemperature")
    before = explorer.words
    explorer.focus("temperature")
    explorer.press("ArrowRight")
    assert explorer.words != before


@pytest.mark.parametrize("which", ["exercises", "start_here"])
def test_neither_asks_anything_of_the_network_nor_reports_an_error(
    which: str, request: pytest.FixtureRequest
) -> None:
    notebook: Notebook = request.getfixturevalue(which)
    assert notebook.guard.strangers == []
    assert notebook.guard.errors == []
