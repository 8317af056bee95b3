"""Exercises that know your mistake.

    check("04.softmax", softmax)    in a notebook: shows what differs and says which mistake it is
    judge("04.softmax", softmax)    the same as a value: Verdict(passed, mistake, message, hint)

Checks are feedback for the learner, not marks.
"""

from __future__ import annotations

from typing import Any

from course_lib.checks import attention, language_models, masks, positions, tokens
from course_lib.checks.engine import Exercise, Verdict, diagnose
from course_lib.checks.progress import record
from course_lib.checks.show import CheckFailed, show_difference
from course_lib.checks.show import show_progress as _show_progress

__all__ = ["EXERCISES", "CheckFailed", "Verdict", "check", "judge", "show_progress"]

EXERCISES: dict[str, Exercise] = {
    exercise.id: exercise
    for lesson in (language_models, tokens, positions, attention, masks)
    for exercise in lesson.EXERCISES
}


def judge(exercise_id: str, candidate: Any) -> Verdict:
    """Say whether an answer is right and, if not, which mistake it shows. Changes nothing.

    Args:
        exercise_id: a key of `EXERCISES`, such as "04.softmax".
        candidate: the learner's function or class.

    Raises:
        ValueError: there is no such exercise.
    """
    return diagnose(_exercise(exercise_id), candidate).verdict


def check(exercise_id: str, candidate: Any) -> None:
    """Judge an answer in a notebook: print one line if it is right, else show the difference and raise.

    A mistake met for the second time gets a stronger hint. Progress is kept (progress.py).

    Raises:
        ValueError: there is no such exercise.
        CheckFailed: the answer is not right; the message names the mistake.
    """
    exercise = _exercise(exercise_id)
    diagnosis = diagnose(exercise, candidate)
    verdict = diagnosis.verdict
    times_met = record(exercise_id, verdict)
    if verdict.passed:
        print(f"✓ {exercise_id}: correct. {exercise.title}.")
        return
    show_difference(diagnosis)
    hint = verdict.hint
    if times_met > 1 and diagnosis.mend:
        hint = f"{hint}\n  You have met this one before; a stronger hint:\n  {diagnosis.mend}"
    raise CheckFailed(verdict.message, hint)


def show_progress() -> None:
    """Show the learner's progress as a table."""
    _show_progress(EXERCISES)


def _exercise(exercise_id: str) -> Exercise:
    if exercise_id not in EXERCISES:
        raise ValueError(f"there is no exercise {exercise_id!r}; there are {', '.join(EXERCISES)}")
    return EXERCISES[exercise_id]
