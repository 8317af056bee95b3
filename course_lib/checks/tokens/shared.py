"""Lesson 02: what its exercises share: calls in words, and symptoms of an answer that is made of words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Property, Seen, experiment_name
from course_lib.checks.explain import Text
from course_lib.checks.probe import numbers
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


def all_answers(seen: dict[str, Seen], holds: Callable[..., bool]) -> bool:
    """Say whether `holds(answer, *arguments of the call)` is true of every answer in words that was seen."""
    texts = [thing for saw in seen.values() for thing in saw.values() if isinstance(thing, Text)]
    return all(holds(text.gave, *text.given) for text in texts)


# --- nearest and analogy ----------------------------------------------------------------------------------------

ASKED = "a list of words, the nearest first"
WORDS = ("apple", "pear", "plum", "fig", "phone", "laptop", "screen", "king", "queen", "man", "woman")


def a_table(n_words: int, width: int, seed: int) -> Tensor:
    """Random rows of very unlike lengths, moved off the centre, so that no two measures agree."""
    lengths = torch.exp(numbers(n_words, 1, seed=seed + 1, std=0.7))
    return (numbers(n_words, width, seed=seed) + 0.4) * lengths


def as_typed(table: Tensor, words: Sequence[str]) -> str:
    """Write a small table and its words as a learner could type them; a large one would hide the rest."""
    if table.numel() > 24:
        return "table, words"
    rows = [[round(number, 4) for number in row] for row in table.tolist()]
    return f"torch.tensor({rows}), {list(words)}"


Measure = Callable[[Tensor, Tensor], Tensor]


def cosines(table: Tensor, vector: Tensor) -> Tensor:
    return F.normalize(table, dim=-1) @ F.normalize(vector, dim=-1)


SHIFTED = (
    "Rows were taken out, but the words were not: later rows get other words' names.",
    "After a row is taken out, row i is no longer the row of words[i]. Keep the row numbers of the whole table.",
)
WORDS_CHANGED = (
    "The words are right, but your function changes the list of words it was given.",
    "`remove`, `pop` and `del` work on the caller's own list. Make a new one.",
)
