"""The check engine: it runs an answer through experiments and says which mistake it shows.

A mistake is a wrong implementation, kept as code. What the learner's answer shows in the experiments of an
exercise is compared with what the reference and every mistake show: equal to the reference = passed; equal to
a mistake = that mistake, by name; otherwise the first property that does not hold; otherwise the first
experiment that differs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.explain import (
    Text,
    explain_difference,
    explain_error,
    explain_nearly,
    explain_shape,
    explain_words,
)
from course_lib.checks.sandbox import EndlessLoop, quiet_and_forked

# What one experiment saw, by name: tensors, or a `Text` where an answer is made of words. A name that begins
# with "_" is a note (see `diagnose`).
Seen = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Mistake:
    """A whole wrong candidate; its name, one kind sentence, a hint, and the line that mends it."""

    name: str
    code: Any
    message: str
    hint: str
    mend: str


@dataclass(frozen=True, eq=False)
class Property:
    """A symptom. `holds` reads what the experiments saw; where it cannot tell (an exception), it holds."""

    name: str
    holds: Callable[[dict[str, Seen]], bool]
    message: str
    hint: str


@dataclass(frozen=True, eq=False)
class Exercise:
    """A task, its reference answer, its experiments (smallest first) and what is known to go wrong."""

    id: str
    title: str
    stub: str
    reference: Any
    experiments: tuple[Callable[[Any], Seen], ...]
    mistakes: tuple[Mistake, ...]
    properties: tuple[Property, ...]
    difficulty: int  # 1 to 5
    importance: int  # 1 to 5
    minutes: int
    tolerance: float = 1e-4  # relative to the largest number expected


@dataclass(frozen=True)
class Verdict:
    """Passed or not; the name of the mistake or symptom; one sentence; a hint."""

    passed: bool
    mistake: str | None
    message: str
    hint: str


@dataclass(frozen=True)
class Diagnosis:
    """A verdict, the line that mends the mistake, and the first thing that differs, to be shown."""

    verdict: Verdict
    mend: str = ""
    where: str = ""
    got: Tensor | Text | None = None
    expected: Tensor | Text | None = None


def experiment_name(experiment: Callable[[Any], Seen]) -> str:
    """Return the name under which what an experiment saw is kept: its function's, in words."""
    return experiment.__name__.strip("_").replace("_", " ")


def observe(exercise: Exercise, candidate: Any) -> dict[str, Seen | BaseException]:
    """Run every experiment on a candidate, each from the same random state; an exception is an observation."""
    shown: dict[str, Seen | BaseException] = {}
    for experiment in exercise.experiments:
        name = experiment_name(experiment)
        with quiet_and_forked():
            try:
                shown[name] = {key: _kept(thing) for key, thing in experiment(candidate).items()}
            except (Exception, SystemExit) as error:
                shown[name] = error
        if isinstance(
            shown[name], EndlessLoop
        ):  # the others would not end either: nobody shall wait for them
            return {experiment_name(each): shown[name] for each in exercise.experiments}
    return shown


def diagnose(exercise: Exercise, candidate: Any) -> Diagnosis:
    """Say what a candidate shows: the reference, a known mistake, a symptom, or the first difference.

    Notes (names that begin with "_") tell mistakes apart and serve properties; they decide no pass.
    """
    expected, known = known_observations(exercise)
    shown = observe(exercise, candidate)
    wrong = [name for name in expected if not _alike(shown[name], expected[name], exercise.tolerance)]
    if not wrong:
        return Diagnosis(Verdict(True, None, "Correct.", ""))
    where, got, wanted = _first_difference(shown, expected, exercise.tolerance)
    for mistake, its_own in known:
        if same(shown, its_own, exercise.tolerance) and rests_on_numbers(
            its_own, expected, exercise.tolerance
        ):
            verdict = Verdict(False, mistake.name, mistake.message, mistake.hint)
            return Diagnosis(verdict, mistake.mend, where, got, wanted)
    smallest, worst = next(iter(shown.values())), shown[wrong[0]]
    if isinstance(smallest, BaseException):
        return Diagnosis(Verdict(False, *explain_error(smallest)))
    misshapen, shape, wanted_shape = _first_difference(shown, expected, exercise.tolerance, shapes_only=True)
    if isinstance(shape, Tensor) and isinstance(wanted_shape, Tensor):
        return Diagnosis(Verdict(False, *explain_shape(misshapen, shape, wanted_shape)))
    if _nearly(shown, expected):
        return Diagnosis(Verdict(False, *explain_nearly(where)), "", where, got, wanted)
    for symptom in exercise.properties:
        if not _holds(symptom, shown):
            return Diagnosis(
                Verdict(False, symptom.name, symptom.message, symptom.hint), "", where, got, wanted
            )
    if isinstance(worst, BaseException):
        return Diagnosis(Verdict(False, *explain_error(worst, f"in the experiment “{wrong[0]}”")))
    only_later = wrong[0] != next(iter(expected))
    if isinstance(got, Text) and isinstance(wanted, Text):
        words = explain_words(got, wanted, only_later)
    else:
        words = explain_difference(where, got, wanted, only_later)
    return Diagnosis(Verdict(False, *words), "", where, got, wanted)


@functools.cache
def known_observations(exercise: Exercise) -> tuple[dict, list[tuple[Mistake, dict]]]:
    """Return what the reference shows and what each mistake shows."""
    return observe(exercise, exercise.reference), [(m, observe(exercise, m.code)) for m in exercise.mistakes]


def same(
    one: dict[str, Seen | BaseException], other: dict[str, Seen | BaseException], tolerance: float
) -> bool:
    """Say whether two candidates showed the same in every experiment, notes included."""
    return all(_alike(one[name], other[name], tolerance, notes=True) for name in other)


def rests_on_numbers(shown: dict, expected: dict, tolerance: float) -> bool:
    """Say whether a mistake differs from the reference in a number or shape, not in exceptions alone.

    Two unlike mistakes may raise the same kind of exception: by that alone nobody is given a name.
    """
    return _first_difference(shown, expected, tolerance)[1] is not None


def _alike(
    one: Seen | BaseException, other: Seen | BaseException, tolerance: float, notes: bool = False
) -> bool:
    if isinstance(one, BaseException) or isinstance(other, BaseException):
        return type(one) is type(other)
    names = [name for name in other if notes or not name.startswith("_")]
    return all(name in one and _close(one[name], other[name], tolerance) for name in names)


def _kept(thing: Tensor | Text) -> Tensor | Text:
    return thing if isinstance(thing, Text) else thing.detach().double()


def _close(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, Text) or isinstance(other, Text):
        return one == other
    if one.shape != other.shape:
        return False
    finite = other[other.isfinite()].abs()
    scale = max(1.0, finite.max().item()) if finite.numel() else 1.0
    return torch.allclose(one, other, rtol=0.0, atol=tolerance * scale, equal_nan=True)


def _first_difference(
    shown: dict, expected: dict, tolerance: float, shapes_only: bool = False
) -> tuple[str, Any, Any]:
    for name, wanted in expected.items():
        got = shown[name]
        if isinstance(got, BaseException) or isinstance(wanted, BaseException):
            continue
        for key, thing in wanted.items():
            if shapes_only:
                alike = isinstance(thing, Text) or got[key].shape == thing.shape
            else:
                alike = _close(got[key], thing, tolerance)
            if not key.startswith("_") and not alike:
                return f"{key}, experiment “{name}”", got[key], thing
    return "", None, None


def _nearly(shown: dict, expected: dict) -> bool:
    """Say whether everything is within one per cent: half precision, a rounding, a small number added."""
    return all(_alike(shown[name], expected[name], 0.01) for name in expected) and not any(
        isinstance(seen, BaseException) for seen in shown.values()
    )


def _holds(symptom: Property, shown: dict) -> bool:
    try:
        return bool(symptom.holds({name: seen for name, seen in shown.items() if isinstance(seen, dict)}))
    except Exception:  # an experiment that raised, a shape that does not fit: then the symptom cannot be told
        return True
