"""Lesson 05: what its exercises share: masks as answers, and the symptoms that any mask can show.

B batch · H heads · T tokens · Tq queries · Tk keys
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.checks.engine import Property, Seen
from course_lib.checks.probe import yes
from course_lib.checks.shared import unchanged

Table = Callable[[dict[str, Seen]], Tensor]


def boolean(*masks: Tensor) -> Tensor:
    """Say whether every mask is boolean, as what an experiment saw."""
    return yes(all(mask.dtype == torch.bool for mask in masks))


def keys_of(tokens: Tensor, pad_id: int) -> Tensor:
    """Return (B, 1, 1, Tk): True where a key is a real token."""
    return (tokens != pad_id)[:, None, None, :]


def last_queries(n_queries: int, n_keys: int) -> Tensor:
    """Return (Tq, Tk): True where key j is no later than query i, the queries being the last ones."""
    return torch.arange(n_keys) <= torch.arange(n_keys - n_queries, n_keys)[:, None]


def not_a_boolean_mask(table: Table, is_boolean: Table, whose: str = "Your mask") -> tuple[Property, ...]:
    """Symptoms of a mask that is made for another convention: numbers to be added, zeros and ones."""
    return (
        Property(
            "not a number",
            lambda seen: not bool(table(seen).isnan().any()),
            f"{whose} holds NaN.",
            "0 times −∞ is NaN, and so is 0 / 0. A mask of True and False needs no −∞: compare.",
        ),
        Property(
            "a mask to be added",
            lambda seen: bool((table(seen) > -100).all()),
            f"{whose} holds large negative numbers, made to be added; not booleans.",
            "PyTorch also knows masks that are added to the scores, 0 and −∞. This exercise asks for booleans: "
            "True = may attend.",
        ),
        Property(
            "not boolean",
            lambda seen: bool((is_boolean(seen) == 1).all()),
            f"{whose} does not consist of True and False; it holds numbers.",
            "A comparison such as `!=` or `<=` gives True and False; `torch.ones` gives numbers unless you ask for "
            "dtype=torch.bool, and `.float()`, `.int()` and a product with a number make numbers of them again.",
        ),
    )


def changes_an_input(what: str = "tensors") -> Property:
    """In some experiment the answer changed what it was given: each of them may see "input changed"."""
    return Property(
        "changes its input",
        unchanged,
        f"Your code changes the {what} it was given.",
        "`+=`, `-=`, `x[…] = …` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
    )


FLIPPED = (
    "True and False are exchanged: your mask allows what it should hide.",
    "Here True means *may attend*. Some libraries use True for *hidden*: read a mask's convention before you use it.",
)
