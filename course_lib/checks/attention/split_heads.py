"""Exercise 04.split_heads: cut one wide vector into heads.

B batch · H heads · T tokens · D d_model · Dh d_head
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib import attention
from course_lib.checks.attention.shared import counted, cut, each_number_once
from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, no_gradient

SPLIT_STUB = '''
def split_heads(x, n_heads):
    """Cut every token's vector into n_heads pieces: head h takes numbers h·Dh up to (h + 1)·Dh.

    Args:
        x: (B, T, D).
        n_heads: H, a divisor of D; Dh = D / H.

    Returns:
        (B, H, T, Dh). x itself stays as it was, and gradients flow back to it.
    """
'''


def _split(candidate: Any, x: Tensor, n_heads: int) -> Seen:
    given = x.clone()
    result = a_tensor(a_function(candidate)(given, n_heads))
    return {"result": result, "input changed": yes(given.shape != x.shape or not torch.equal(given, x))}


def _split_in_three(candidate: Any) -> Seen:
    return _split(candidate, counted(2, 5, 12), 3)


def _split_numbers_of_every_kind(candidate: Any) -> Seen:
    return _split(candidate, numbers(2, 5, 12, seed=72, std=3.0), 3)


def _split_one_sentence(candidate: Any) -> Seen:
    return _split(candidate, counted(1, 7, 6), 2)


def _split_as_many_heads_as_tokens(candidate: Any) -> Seen:
    return _split(candidate, counted(2, 3, 12), 3)


def _split_into_square_heads(candidate: Any) -> Seen:
    return _split(candidate, counted(4, 4, 16), 4)


def _split_into_one_head(candidate: Any) -> Seen:
    return _split(candidate, counted(2, 3, 4), 1)


def _split_one_token(candidate: Any) -> Seen:
    return _split(candidate, counted(2, 1, 12), 3)


def _split_into_heads_of_one_number(candidate: Any) -> Seen:
    return _split(candidate, counted(2, 5, 3), 3)


def _split_gradients(candidate: Any) -> Seen:
    (leaf,), (x,) = watched(numbers(2, 5, 12, seed=70))
    return gradients(a_tensor(candidate(x, 3)), {"x": leaf})


_SPLIT_LINE = "x.view(B, T, n_heads, D // n_heads).transpose(1, 2)"


_SPLIT_MISTAKES = (
    Mistake(
        "view without transpose",
        lambda x, n: x.reshape(x.size(0), n, x.size(1), -1),
        "The shape is right, but each head holds pieces of different tokens.",
        "`view` keeps the reading order. Cut the last axis into (H, Dh) first; then let T and H change places.",
        _SPLIT_LINE,
    ),
    Mistake(
        "heads interleaved",
        lambda x, n: x.view(x.size(0), x.size(1), -1, n).permute(0, 3, 1, 2),
        "Head h takes every H-th number; it should take Dh neighbours.",
        "Cut D into (H, Dh), in this order: the heads' axis first.",
        _SPLIT_LINE,
    ),
    Mistake(
        "not transposed",
        cut,
        "The result is (B, T, H, Dh); T and H still have to change places.",
        "Attention runs over the last two axes: they must be (T, Dh).",
        _SPLIT_LINE,
    ),
    Mistake(
        "heads folded into the batch",
        lambda x, n: cut(x, n).transpose(1, 2).flatten(0, 1),
        "Heads and batch share one axis; the exercise asks for two, (B, H, T, Dh).",
        "Leave the flatten or reshape at the end out.",
        _SPLIT_LINE,
    ),
    Mistake(
        "folded without transpose",
        lambda x, n: x.reshape(x.size(0) * n, -1, x.size(2) // n),
        "Heads and batch share one axis, and each head holds pieces of different tokens.",
        "Cut the last axis into (H, Dh) first; then let T and H change places.",
        _SPLIT_LINE,
    ),
    Mistake(
        "heads before the batch",
        lambda x, n: cut(x, n).permute(2, 0, 1, 3),
        "The heads stand before the batch: (H, B, T, Dh).",
        "The exercise asks for (B, H, T, Dh).",
        _SPLIT_LINE,
    ),
    Mistake(
        "tokens last",
        lambda x, n: cut(x, n).permute(0, 2, 3, 1),
        "The last two axes are exchanged: (B, H, Dh, T).",
        "Only T and H should change places.",
        _SPLIT_LINE,
    ),
    Mistake(
        "the wrong axes change places",
        lambda x, n: cut(x, n).transpose(2, 3),
        "The wrong two axes change places: H and Dh, not T and H.",
        "After the cut the axes are 0: B, 1: T, 2: H, 3: Dh. Which two must be exchanged?",
        _SPLIT_LINE,
    ),
    Mistake(
        "T and Dh change places",
        lambda x, n: cut(x, n).transpose(1, 3),
        "The wrong two axes change places: T and Dh, not T and H.",
        "After the cut the axes are 0: B, 1: T, 2: H, 3: Dh. Which two must be exchanged?",
        _SPLIT_LINE,
    ),
    Mistake(
        "batch and heads change places",
        lambda x, n: cut(x, n).transpose(0, 2),
        "The wrong two axes change places: B and H, not T and H.",
        "After the cut the axes are 0: B, 1: T, 2: H, 3: Dh. Which two must be exchanged?",
        _SPLIT_LINE,
    ),
    Mistake(
        "n_heads taken for the width",
        lambda x, n: x.view(x.size(0), x.size(1), -1, n).transpose(1, 2),
        "Your heads are n_heads wide; there should be n_heads of them.",
        "D is cut into H pieces of Dh = D // n_heads numbers.",
        _SPLIT_LINE,
    ),
    Mistake(
        "the tokens are cut",
        lambda x, n: x.view(x.size(0), n, x.size(1) // n, x.size(2)),
        "The tokens are shared out among the heads; each head should see every token.",
        "Cut the last axis, the features.",
        _SPLIT_LINE,
    ),
    Mistake(
        "a full copy for each head",
        lambda x, n: x.unsqueeze(1).expand(-1, n, -1, -1),
        "Every head gets all D numbers of a token; it should get its own Dh of them.",
        "Cut the last axis into H pieces.",
        _SPLIT_LINE,
    ),
    Mistake(
        "the first piece for every head",
        lambda x, n: x[..., : x.size(2) // n].unsqueeze(1).expand(-1, n, -1, -1),
        "Every head gets the same piece: the first Dh numbers.",
        "Head h begins at number h * Dh.",
        _SPLIT_LINE,
    ),
    Mistake(
        "heads in reverse",
        lambda x, n: cut(x, n).transpose(1, 2).flip(1),
        "The heads are in reverse order.",
        "Head 0 takes the first Dh numbers.",
        _SPLIT_LINE,
    ),
    Mistake(
        "transposed back by a reshape",
        lambda x, n: cut(x, n).transpose(1, 2).reshape(x.size(0), x.size(1), n, -1),
        "After the right transpose, a reshape mixes the tokens again.",
        "Stop after the transpose.",
        _SPLIT_LINE,
    ),
    Mistake(
        "the result is thrown away",
        lambda x, n: (x.view(x.size(0), x.size(1), n, -1), x)[1],
        "You return x as it came, (B, T, D).",
        "`x.view(…)` alone changes nothing: keep its result. Or were the pieces glued together again by torch.cat?",
        _SPLIT_LINE,
    ),
    Mistake(
        "no gradient",
        lambda x, n: cut(x.detach(), n).transpose(1, 2),
        "The numbers are right, but no gradient flows back to x.",
        "`.detach()`, `.data`, `torch.tensor(…)` and NumPy cut the gradient.",
        _SPLIT_LINE,
    ),
)


def _owners(numbers_of: Tensor, per_token: int) -> Tensor:
    """Say for each number of a counted tensor which token it belongs to, counted through all sentences."""
    return ((numbers_of - 1) / per_token).floor()


_SPLIT_PROPERTIES = (
    changes_its_input("split in three"),
    Property(
        "numbers changed",
        lambda seen: each_number_once(seen["split in three"]["result"], counted(2, 5, 12)),
        "Some numbers are changed, lost, or stand there twice.",
        "Splitting only moves numbers: each of the input stands exactly once in the result.",
    ),
    Property(
        "only whole positive numbers",
        lambda seen: (
            not agrees(seen, _split_in_three, attention.split_heads)
            or agrees(seen, _split_numbers_of_every_kind, attention.split_heads)
        ),
        "Right for 1, 2, 3, …, wrong for fractions and negative numbers.",
        "Splitting only moves numbers. Is something sorted, rounded, cut off, or made a whole number?",
    ),
    Property(
        "sentences mixed",
        lambda seen: bool(
            (
                (_owners(seen["split in three"]["result"], 60))
                == torch.arange(2, dtype=torch.float64).view(2, 1, 1, 1)
            ).all()
        ),
        "The shape is right, but a sentence holds numbers of the other sentence.",
        "The batch stays in front: which operation moves or cuts across axis 0?",
    ),
    Property(
        "tokens mixed",
        lambda seen: bool(
            (
                _owners(seen["split in three"]["result"], 12)
                == torch.arange(10, dtype=torch.float64).view(2, 1, 5, 1)
            ).all()
        ),
        "The shape is right, but the rows of a head hold numbers of other tokens.",
        "Row t of a head may hold numbers of token t only. Cut the last axis first, then exchange T and H.",
    ),
    Property(
        "another order",
        lambda seen: agrees(seen, _split_in_three, attention.split_heads),
        "Each token keeps its numbers, but they stand in another order than asked.",
        "Head h takes the Dh neighbours that begin at h * Dh, in the order they have.",
    ),
    no_gradient("split gradients", "x"),
)


SPLIT: Exercise = Exercise(
    id="04.split_heads",
    title="Split the heads",
    stub=SPLIT_STUB,
    reference=attention.split_heads,
    experiments=(
        _split_in_three,
        _split_numbers_of_every_kind,
        _split_one_sentence,
        _split_as_many_heads_as_tokens,
        _split_into_square_heads,
        _split_into_one_head,
        _split_one_token,
        _split_into_heads_of_one_number,
        _split_gradients,
    ),
    mistakes=_SPLIT_MISTAKES,
    properties=_SPLIT_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=10,
)
