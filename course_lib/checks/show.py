"""What a notebook shows after a check: one line, and the picture of yours beside what was expected."""

from __future__ import annotations

from typing import Any

import torch
from IPython.display import HTML, display
from torch import Tensor

from course_lib.checks.engine import Diagnosis, Exercise
from course_lib.checks.explain import Text
from course_lib.checks.progress import read_progress
from course_lib.viz import show_scores


class CheckFailed(AssertionError):
    """An answer did not pass. In a notebook it reads as one kind line and a hint, without a traceback."""

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.message, self.hint = message, hint

    def _render_traceback_(self) -> list[str]:
        return [f"✗ {self.message}", f"  {self.hint}"] if self.hint else [f"✗ {self.message}"]


def show_difference(diagnosis: Diagnosis) -> None:
    """Show yours, expected and the difference: tensors as heatmaps, words as text."""
    got, expected = diagnosis.got, diagnosis.expected
    if isinstance(got, Text) and isinstance(expected, Text):
        print(got.call, *got.beside(expected).splitlines(), sep="\n  ")
        return
    if not isinstance(got, Tensor) or not isinstance(expected, Tensor):
        return
    if got.shape != expected.shape or got.dim() < 1 or got.numel() < 2:
        return
    index, got, expected = _slice_that_differs(got, expected)
    if max(got.shape) > 12:
        return
    where = f"{diagnosis.where}{index}"
    display(
        show_scores(
            {"yours": got, "expected": expected, "yours − expected": got - expected},
            title=where,
            of_attention=False,
        )
    )


def show_progress(exercises: dict[str, Exercise]) -> None:
    """Show which exercises are done and which mistakes were met.

    An empty table is shown first and then filled: so the cell's output is the same for every learner, and a
    test of the notebook does not depend on anybody's progress.
    """
    shown = display(HTML(_progress_table(exercises, {})), display_id=True)
    shown.update(HTML(_progress_table(exercises, read_progress())))


def _progress_table(exercises: dict[str, Exercise], progress: dict[str, dict[str, Any]]) -> str:
    rows = []
    for exercise_id, exercise in exercises.items():
        entry = progress.get(exercise_id, {"passed": False, "tries": 0, "mistakes": {}})
        state = "✓ done" if entry["passed"] else "begun" if entry["tries"] else "not begun"
        met = ", ".join(f"{name} ({times}×)" for name, times in entry["mistakes"].items()) or "–"
        cells = (exercise_id, exercise.title, state, str(entry["tries"]), met)
        rows.append(
            "<tr>"
            + "".join(f"<td style='text-align:left;white-space:nowrap'>{cell}</td>" for cell in cells)
            + "</tr>"
        )
    head = "".join(
        f"<th style='text-align:left'>{name}</th>" for name in ("id", "exercise", "state", "tries", "met")
    )
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _slice_that_differs(got: Tensor, expected: Tensor) -> tuple[str, Tensor, Tensor]:
    """Return the two-dimensional slice in which the two differ most, and its index in words."""
    if got.dim() == 1:
        return "", got[None], expected[None]
    if got.dim() == 2:
        return "", got, expected
    apart = (got - expected).abs().nan_to_num(torch.inf).flatten(-2).amax(-1)  # (…): one number a slice
    index = tuple(int(i) for i in torch.unravel_index(apart.argmax(), apart.shape))
    return f", at [{', '.join(map(str, index))}]", got[index], expected[index]
