"""Lesson 02: what its exercises share: calls in words, and symptoms of an answer that is made of words."""

from __future__ import annotations

from typing import Any

from course_lib.checks.engine import Property, Seen, experiment_name
from course_lib.checks.explain import Text
from course_lib.checks.shared import unchanged


def a_text(function: str, *arguments: Any, gave: Any) -> Text:
    """Return an answer beside the call that it answers, as the learner could type it."""
    return Text(f"{function}({', '.join(map(repr, arguments))})", gave, arguments)


def as_the_reference(seen: dict[str, Seen], experiment: Any, reference: Any) -> bool:
    """Say whether an experiment saw the reference's words."""
    shown = seen[experiment_name(experiment)]
    return all(
        shown[name] == thing for name, thing in experiment(reference).items() if isinstance(thing, Text)
    )


def changes(what: str) -> Property:
    """The answer changed the words it was given, in one experiment or another."""
    return Property(
        f"changes the {what}",
        unchanged,
        f"Your code changes the {what} that it was given.",
        "`.pop()`, `.sort()`, `.remove()`, `del` and assignments work on the caller's own object. Make a copy first.",
    )
