"""Lesson 02: what its exercises share: calls in words, and symptoms of an answer that is made of words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Property, Seen, experiment_name
from course_lib.checks.explain import Text


def a_text(function: str, *arguments: Any, gave: Any) -> Text:
    """Return an answer beside the call that it answers, as the learner could type it."""
    return Text(f"{function}({', '.join(map(repr, arguments))})", gave, arguments)


def unlike(one: Tensor, other: Tensor) -> bool:
    """Say whether two calls with the same input gave different results; NaN is like NaN."""
    return one.shape != other.shape or not torch.allclose(one, other, atol=1e-6, equal_nan=True)


def as_the_reference(seen: dict[str, Seen], experiment: Any, reference: Any) -> bool:
    """Say whether an experiment saw the reference's words."""
    shown = seen[experiment_name(experiment)]
    return all(
        shown[name] == thing for name, thing in experiment(reference).items() if isinstance(thing, Text)
    )


def unchanged(seen: dict[str, Seen]) -> bool:
    """Say whether no experiment saw "input changed": some inputs only tempt an answer to change them."""
    return all(saw["input changed"].item() == 0 for saw in seen.values() if "input changed" in saw)


def changes(what: str) -> Property:
    """The answer changed the words it was given, in one experiment or another."""
    return Property(
        f"changes the {what}",
        unchanged,
        f"Your code changes the {what} that it was given.",
        "`.pop()`, `.sort()`, `.remove()`, `del` and assignments work on the caller's own object. Make a copy first.",
    )
