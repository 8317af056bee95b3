"""Exercise 04.merge_heads: lay the heads side by side again.

B batch · H heads · T tokens · D d_model · Dh d_head
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib import attention
from course_lib.checks.attention.shared import counted, each_number_once
from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, no_gradient

MERGE_STUB = '''
def merge_heads(x):
    """Lay the heads of each token side by side again, head 0 first: the inverse of split_heads.

    Args:
        x: (B, H, T, Dh).

    Returns:
        (B, T, D), where D = H · Dh. x itself stays as it was, and gradients flow back to it.
    """
'''


def _merge(candidate: Any, x: Tensor) -> Seen:
    given = x.clone()
    result = a_tensor(a_function(candidate)(given))
    return {"result": result, "input changed": yes(given.shape != x.shape or not torch.equal(given, x))}


def _merge_three(candidate: Any) -> Seen:
    return _merge(candidate, counted(2, 3, 5, 4))


def _merge_one_sentence(candidate: Any) -> Seen:
    return _merge(candidate, counted(1, 2, 7, 3))


def _merge_as_many_heads_as_tokens(candidate: Any) -> Seen:
    return _merge(candidate, counted(2, 3, 3, 4))


def _merge_square_heads(candidate: Any) -> Seen:
    return _merge(candidate, counted(4, 4, 4, 4))


def _merge_one_head(candidate: Any) -> Seen:
    return _merge(candidate, counted(2, 1, 3, 4))


def _merge_one_token(candidate: Any) -> Seen:
    return _merge(candidate, counted(2, 3, 1, 4))


def _merge_heads_of_one_number(candidate: Any) -> Seen:
    return _merge(candidate, counted(2, 1, 5, 1))


def _merge_numbers_of_every_kind(candidate: Any) -> Seen:
    return _merge(candidate, numbers(2, 3, 5, 4, seed=82, std=3.0))


def _merge_split_heads(candidate: Any) -> Seen:
    """Merge what `split_heads` made, which does not lie in reading order in memory."""
    return {"result": a_tensor(candidate(attention.split_heads(counted(2, 5, 12), 3)))}


def _merge_gradients(candidate: Any) -> Seen:
    (leaf,), (x,) = watched(numbers(2, 3, 5, 4, seed=80))
    return gradients(a_tensor(candidate(x)), {"x": leaf})


_MERGE_LINE = "x.transpose(1, 2).flatten(2)"


_MERGE_MISTAKES = (
    Mistake(
        "no transpose before the merge",
        lambda x: x.reshape(x.size(0), x.size(2), -1),
        "The shape is right, but each row holds pieces of different tokens.",
        "Reading order runs through all tokens of head 0 first. Is a transpose missing, or its result not kept?",
        _MERGE_LINE,
    ),
    Mistake(
        "heads interleaved",
        lambda x: x.permute(0, 2, 3, 1).flatten(2),
        "The heads are interleaved number by number; they should lie side by side.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
        _MERGE_LINE,
    ),
    Mistake(
        "tokens and features change places",
        lambda x: x.transpose(2, 3).reshape(x.size(0), x.size(2), -1),
        "The wrong two axes change places: T and Dh, not H and T.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
        _MERGE_LINE,
    ),
    Mistake(
        "heads and features change places",
        lambda x: x.transpose(1, 3).reshape(x.size(0), x.size(2), -1),
        "The wrong two axes change places: H and Dh, not H and T.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
        _MERGE_LINE,
    ),
    Mistake(
        "batch and tokens change places",
        lambda x: x.transpose(0, 2).reshape(x.size(0), x.size(2), -1),
        "The wrong two axes change places: B and T, not H and T.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
        _MERGE_LINE,
    ),
    Mistake(
        "batch and heads change places",
        lambda x: x.transpose(0, 1).reshape(x.size(0), x.size(2), -1),
        "The wrong two axes change places: B and H, not H and T.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
        _MERGE_LINE,
    ),
    Mistake(
        "the heads are averaged",
        lambda x: x.mean(1),
        "The heads are averaged; they should be laid side by side.",
        "Nothing may be lost: H pieces of Dh numbers make D numbers again.",
        _MERGE_LINE,
    ),
    Mistake(
        "the heads are added",
        lambda x: x.sum(1),
        "The heads are added up; they should be laid side by side.",
        "Nothing may be lost: H pieces of Dh numbers make D numbers again.",
        _MERGE_LINE,
    ),
    Mistake(
        "heads one after the other",
        lambda x: x.flatten(1, 2),
        "The heads stand one below the other: (B, H·T, Dh).",
        "They belong side by side, in the same row of their token.",
        _MERGE_LINE,
    ),
    Mistake(
        "tokens one after the other",
        lambda x: x.transpose(1, 2).flatten(1, 2),
        "Tokens and heads share one axis: (B, T·H, Dh).",
        "Which two axes of (B, T, H, Dh) should become one?",
        _MERGE_LINE,
    ),
    Mistake(
        "not flattened",
        lambda x: x.transpose(1, 2),
        "T and H have changed places; the last two axes still have to become one.",
        "(B, T, H, Dh) → (B, T, H · Dh).",
        _MERGE_LINE,
    ),
    Mistake(
        "one row per head",
        lambda x: x.flatten(2),
        "Each head is one long row: tokens and features share an axis.",
        "T and H must change places before the last two axes become one.",
        _MERGE_LINE,
    ),
    Mistake(
        "only the first head",
        lambda x: x[:, 0],
        "Only head 0 is kept.",
        "Nothing may be lost: H pieces of Dh numbers make D numbers again.",
        _MERGE_LINE,
    ),
    Mistake(
        "heads in reverse",
        lambda x: x.flip(1).transpose(1, 2).flatten(2),
        "The heads are in reverse order.",
        "Head 0 fills the first Dh numbers.",
        _MERGE_LINE,
    ),
    Mistake(
        "the result is thrown away",
        lambda x: (x.transpose(1, 2), x)[1],
        "You return x as it came, (B, H, T, Dh).",
        "`x.transpose(…)` does not change x: it gives a new tensor. Keep it: x = x.transpose(…).",
        _MERGE_LINE,
    ),
    Mistake(
        "no gradient",
        lambda x: x.detach().transpose(1, 2).flatten(2),
        "The numbers are right, but no gradient flows back to x.",
        "`.detach()`, `.data`, `torch.tensor(…)` and NumPy cut the gradient.",
        _MERGE_LINE,
    ),
)


def _merge_owners(seen: dict[str, Seen]) -> Tensor:
    """Say for each number of the merged (2, 5, 12) which token it belongs to: sentence · 5 + token."""
    counted = seen["merge three"]["result"] - 1  # of (2, 3, 5, 4)
    return (counted / 60).floor() * 5 + (counted % 20 / 4).floor()


_MERGE_PROPERTIES = (
    changes_its_input("merge three"),
    Property(
        "numbers changed",
        lambda seen: each_number_once(seen["merge three"]["result"], counted(2, 3, 5, 4)),
        "Some numbers are changed, lost, or stand there twice.",
        "Merging only moves numbers: each of the input stands exactly once in the result.",
    ),
    Property(
        "only whole positive numbers",
        lambda seen: (
            not agrees(seen, _merge_three, attention.merge_heads)
            or agrees(seen, _merge_numbers_of_every_kind, attention.merge_heads)
        ),
        "Right for 1, 2, 3, …, wrong for fractions and negative numbers.",
        "Merging only moves numbers. Is something sorted, rounded, cut off, or made a whole number?",
    ),
    Property(
        "whole tokens in the wrong place",
        lambda seen: (
            not bool((_merge_owners(seen) == _merge_owners(seen)[..., :1]).all())
            or bool((_merge_owners(seen)[..., 0].flatten() == torch.arange(10)).all())
        ),
        "Each row is one whole token, but tokens or sentences stand in the wrong place.",
        "B and T keep their places; only H moves, from the second axis to the last but one.",
    ),
    Property(
        "tokens mixed",
        lambda seen: bool((_merge_owners(seen) == _merge_owners(seen)[..., :1]).all()),
        "The shape is right, but each row holds pieces of different tokens.",
        "Row t of the result may hold numbers of token t only. Which axes must change places before the flatten?",
    ),
    Property(
        "another order",
        lambda seen: agrees(seen, _merge_three, attention.merge_heads),
        "Each token keeps its numbers, but not side by side, head 0 first.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
    ),
    no_gradient("merge gradients", "x"),
)


MERGE: Exercise = Exercise(
    id="04.merge_heads",
    title="Merge the heads",
    stub=MERGE_STUB,
    reference=attention.merge_heads,
    experiments=(
        _merge_three,
        _merge_numbers_of_every_kind,
        _merge_one_sentence,
        _merge_as_many_heads_as_tokens,
        _merge_square_heads,
        _merge_one_head,
        _merge_one_token,
        _merge_heads_of_one_number,
        _merge_split_heads,
        _merge_gradients,
    ),
    mistakes=_MERGE_MISTAKES,
    properties=_MERGE_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=10,
)
