"""Exercise 04.contextual_words: attention without parameters.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.attention.shared import hidden
from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, never_written, no_gradient, not_finite

CONTEXTUAL_STUB = '''
def contextual_words(table, ids):
    """Give each word a vector that depends on its sentence: attention without parameters.

    Args:
        table: the embedding table, (V, d).
        ids: the row of each word of the sentence, (T,), integers.

    Returns:
        (T, d): softmax(X Xᵀ / √d) X, where X holds the words' rows. The table stays as it was, and
        gradients flow back to it.
    """
'''


def _table_and_ids(n_rows: int, d: int, ids: list[int], seed: int) -> tuple[Tensor, Tensor]:
    return numbers(n_rows, d, seed=seed, std=1.5), torch.tensor(ids)


def _words(candidate: Any, table: Tensor, ids: Tensor) -> Seen:
    return {"output": a_tensor(a_function(candidate)(table, ids))}


def _words_of_a_sentence(candidate: Any) -> Seen:
    table, ids = _table_and_ids(7, 3, [2, 0, 6, 4], seed=180)
    given = table.clone()
    seen = _words(candidate, given, ids)
    return seen | {"table changed": yes(not torch.equal(given, table))}


def _words_of_another_sentence(candidate: Any) -> Seen:
    return _words(candidate, *_table_and_ids(7, 3, [2, 5, 1, 3, 0], seed=180))


def _words_that_stand_twice(candidate: Any) -> Seen:
    return _words(candidate, *_table_and_ids(5, 8, [1, 1, 4, 1, 0, 2], seed=181))


def _words_of_a_sentence_of_one(candidate: Any) -> Seen:
    return _words(candidate, *_table_and_ids(5, 3, [4], seed=184))


def _words_of_one_number(candidate: Any) -> Seen:
    return _words(candidate, *_table_and_ids(5, 1, [4, 0, 2], seed=185))


def _words_with_as_many_numbers_as_words(candidate: Any) -> Seen:
    return _words(candidate, *_table_and_ids(4, 4, [3, 1, 2, 0], seed=182))


def _words_gradients(candidate: Any) -> Seen:
    table, ids = _table_and_ids(7, 3, [2, 0, 6, 4], seed=183)
    (leaf,), (copied,) = watched(table)
    return gradients(a_tensor(candidate(copied, ids)), {"table": leaf})


def _without_parameters(change: Any) -> Any:
    """Attention without parameters, whose result is made by `change(table, ids, X, weights)`."""

    def run(table: Tensor, ids: Tensor) -> Tensor:
        X = table[ids]
        return change(table, ids, X, (X @ X.T * X.size(-1) ** -0.5).softmax(-1))

    return run


def _written_back(table: Tensor, ids: Tensor, X: Tensor, weights: Tensor) -> Tensor:
    output = weights @ X
    table[ids] = output
    return output


_CONTEXT_LINE = "X = table[ids]; (X @ X.T / math.sqrt(X.size(-1))).softmax(dim=-1) @ X"


_CONTEXTUAL_MISTAKES = (
    Mistake(
        "later words are hidden",
        lambda table, ids: (
            hidden(
                table[ids] @ table[ids].T * table.size(-1) ** -0.5,
                torch.ones(len(ids), len(ids), dtype=torch.bool).tril(),
            )
            @ table[ids]
        ),
        "Later words are hidden; here every word may look at every word.",
        "Masks come in lesson 05. Take this one out.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "the sign is turned",
        lambda table, ids: (-table[ids] @ table[ids].T * table.size(-1) ** -0.5).softmax(-1) @ table[ids],
        "The word that fits least gets the largest share: a sign is turned.",
        "A large dot product should give a large share.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "multiplied by √d",
        lambda table, ids: (table[ids] @ table[ids].T * table.size(-1) ** 0.5).softmax(-1) @ table[ids],
        "The scores are multiplied by √d; they should be divided.",
        "A power of -0.5 divides, a power of 0.5 multiplies.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "softmax twice",
        _without_parameters(lambda t, i, X, w: w.softmax(-1) @ X),
        "The softmax is applied twice, and the shares are nearly equal.",
        "Once is enough.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "one winner",
        _without_parameters(lambda t, i, X, w: X[w.argmax(-1)] + 0 * (w @ X)),
        "The best word takes everything; every word should get its share.",
        "argmax makes a hard choice, the softmax a soft one.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "the table's rows",
        _without_parameters(lambda t, i, X, w: X),
        "These are the rows of the table: no word has looked at its neighbours yet.",
        "The row of a word is the same in every sentence. What makes the output depend on the others?",
        _CONTEXT_LINE,
    ),
    Mistake(
        "the plain average",
        _without_parameters(lambda t, i, X, w: X.mean(0, keepdim=True).expand_as(X)),
        "Every word gets the plain average of the sentence: all rows are equal.",
        "Each word has shares of its own, from comparing its row with every row.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "the whole table is looked at",
        lambda table, ids: (table[ids] @ table.T * table.size(-1) ** -0.5).softmax(-1) @ table,
        "Each word looks at the whole table; it should look at its own sentence only.",
        "Keys and values are the rows of the words that stand in the sentence.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "the table is changed",
        _without_parameters(_written_back),
        "The output is right, but your function changes the table.",
        "The next sentence would find other rows. Attention leaves the table alone.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "the softmax runs over the first axis",
        lambda table, ids: (table[ids] @ table[ids].T * table.size(-1) ** -0.5).softmax(0) @ table[ids],
        "Your softmax runs over the first axis, or the weights are transposed.",
        "Row i belongs to word i, which looks. Over which axis must its shares sum to 1?",
        _CONTEXT_LINE,
    ),
    Mistake(
        "no scaling",
        lambda table, ids: (table[ids] @ table[ids].T).softmax(-1) @ table[ids],
        "The scores are not divided by √d.",
        "d is the number of numbers in a word's row.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "divided by d",
        lambda table, ids: (table[ids] @ table[ids].T / table.size(-1)).softmax(-1) @ table[ids],
        "The scores are divided by d; the square root is missing.",
        "Divide by √d.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "divided by the root of the sentence's length",
        lambda table, ids: (table[ids] @ table[ids].T * len(ids) ** -0.5).softmax(-1) @ table[ids],
        "The scores are divided by the root of the number of words.",
        "d is the number of numbers in a word's row: X.size(-1).",
        _CONTEXT_LINE,
    ),
    Mistake(
        "divided by the root of the table's length",
        lambda table, ids: (table[ids] @ table[ids].T * len(table) ** -0.5).softmax(-1) @ table[ids],
        "The scores are divided by the root of the number of rows in the table.",
        "d is the number of numbers in a word's row: X.size(-1).",
        _CONTEXT_LINE,
    ),
    Mistake(
        "no softmax",
        lambda table, ids: table[ids] @ table[ids].T * table.size(-1) ** -0.5 @ table[ids],
        "The scores are used as shares; the softmax is missing.",
        "Shares are positive and sum to 1 in each row.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "only weights",
        _without_parameters(lambda t, i, X, w: w),
        "You return the weights; the new vectors are weights times rows.",
        "One step is missing: the weighted sum.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "the row is added",
        _without_parameters(lambda t, i, X, w: X + w @ X),
        "The word's own row is added to the output.",
        "The weighted sum alone is asked for; the word itself is in it already.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "nobody looks at itself",
        lambda table, ids: (
            (table[ids] @ table[ids].T * table.size(-1) ** -0.5).fill_diagonal_(-math.inf).softmax(-1)
            @ table[ids]
        ),
        "No word looks at itself in your answer; it should, as at any other.",
        "Leave the diagonal of the scores as it is.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "cosine in place of the dot product",
        lambda table, ids: (
            (F.normalize(table[ids], dim=-1) @ F.normalize(table[ids], dim=-1).T).softmax(-1) @ table[ids]
        ),
        "Your scores are cosines; the dot product keeps the lengths of the rows.",
        "X @ X.T, divided by √d.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "no gradient",
        lambda table, ids: _without_parameters(lambda t, i, X, w: w @ X)(table.detach(), ids),
        "The numbers are right, but no gradient flows back to the table.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        _CONTEXT_LINE,
    ),
)


_CONTEXTUAL_PROPERTIES = (
    not_finite(lambda seen: seen["words of a sentence"]["output"], "new vectors"),
    never_written(lambda seen: seen["words of a sentence"]["output"].abs().sum(-1), "new vectors"),
    Property(
        "changes the table",
        lambda seen: seen["words of a sentence"]["table changed"].item() == 0,
        "Your function changes the table.",
        "Assign to a new tensor: the rows must be the same for the next sentence.",
    ),
    Property(
        "a word that stands twice",
        lambda seen: torch.allclose(
            seen["words that stand twice"]["output"][0],
            seen["words that stand twice"]["output"][3],
            atol=1e-3,
        ),
        "A word that stands twice in a sentence comes out differently each time.",
        "There are no positions here: equal rows ask equal questions and get equal answers.",
    ),
    no_gradient("words gradients", "the table"),
    Property(
        "not a mix of the sentence",
        lambda seen: _is_mix_of_rows(seen["words of a sentence"]["output"]),
        "Your output is no weighted mean of the sentence's rows: no shares give it.",
        "Each output row is a sum of X's rows, with positive shares that sum to 1.",
    ),
    Property(
        "other shares",
        lambda seen: agrees(seen, _words_of_a_sentence, CONTEXTUAL.reference),
        "Your output mixes the rows of the sentence, but by other shares.",
        "The shares of row i are softmax(X[i] · X[j] / √d) over all words j.",
    ),
)


def _is_mix_of_rows(output: Tensor) -> bool:
    """Say whether the first rows are weighted means of the four rows (in three dimensions: unique shares)."""
    table, ids = _table_and_ids(7, 3, [2, 0, 6, 4], seed=180)
    rows = torch.cat([table[ids], torch.ones(4, 1)], dim=-1).double()  # (4, 4): shares must also sum to 1
    wanted = torch.cat([output, torch.ones(len(output), 1, dtype=output.dtype)], dim=-1)
    shares = torch.linalg.solve(rows.T, wanted.T)
    return bool((shares > -1e-3).all())


CONTEXTUAL: Exercise = Exercise(
    id="04.contextual_words",
    title="Words in context, without parameters",
    stub=CONTEXTUAL_STUB,
    reference=_without_parameters(lambda t, i, X, w: w @ X),
    experiments=(
        _words_of_a_sentence,
        _words_of_another_sentence,
        _words_that_stand_twice,
        _words_of_a_sentence_of_one,
        _words_of_one_number,
        _words_with_as_many_numbers_as_words,
        _words_gradients,
    ),
    mistakes=_CONTEXTUAL_MISTAKES,
    properties=_CONTEXTUAL_PROPERTIES,
    difficulty=1,
    importance=4,
    minutes=10,
)
