"""Exercise 04.softmax: a softmax that is safe for large scores.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.attention.shared import log_slope, ones, other_scale, same_order, softmax_by_hand
from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, no_gradient

SOFTMAX_STUB = '''
def softmax(scores):
    """Turn each row of scores into weights: positive numbers that sum to 1 over the last axis.

    Args:
        scores: (…, n), any number of axes; values may be as large as 1000 or as low as -1000.

    Returns:
        Weights, the same shape. The scores stay as they were, and gradients flow back to them.
    """
'''


def _softmax_a_table(candidate: Any) -> Seen:
    scores = numbers(3, 5, seed=1)
    given = scores.clone()
    weights = a_tensor(a_function(candidate)(given))
    again = a_tensor(candidate(scores.clone()))
    chance = again.shape != weights.shape or not torch.allclose(weights, again, equal_nan=True)
    return {
        "weights": weights,
        "input changed": yes(not torch.equal(given, scores)),
        "second call differs": yes(chance),
    }


def _softmax_a_square(candidate: Any) -> Seen:
    return {"weights": a_tensor(candidate(numbers(4, 4, seed=2, std=2.0)))}


def _softmax_a_batch(candidate: Any) -> Seen:
    return {"weights": a_tensor(candidate(numbers(2, 3, 4, 5, seed=3)))}


def _softmax_a_row_of_tables(candidate: Any) -> Seen:
    return {"weights": a_tensor(candidate(numbers(2, 3, 5, seed=8)))}


def _softmax_one_row(candidate: Any) -> Seen:
    return {"weights": a_tensor(candidate(numbers(6, seed=4)))}


def _softmax_axes_of_size_one(candidate: Any) -> Seen:
    wide, tall = numbers(1, 4, seed=6), numbers(4, 1, seed=7)
    return {"weights": a_tensor(candidate(wide)), "weights of one score": a_tensor(candidate(tall))}


def _softmax_scores_of_zero(candidate: Any) -> Seen:
    return {
        "weights": a_tensor(candidate(torch.tensor([[0.0, 1.0, -1.0], [0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])))
    }


def _softmax_large_scores(candidate: Any) -> Seen:
    rows = [
        [1000.0, 1001.0, 998.0],
        [-1000.0, -1002.0, -999.0],
        [900.0, -900.0, 901.0],
        [-1000.0, 0.0, 1000.0],
        [1000.0, -1000.0, 0.0],
        [0.0, 1000.0, -1000.0],
        [0.0, -1000.0, 0.0],
    ]
    return {"weights": a_tensor(candidate(torch.tensor(rows)))}


def _softmax_gradients(candidate: Any) -> Seen:
    (leaf,), (scores,) = watched(numbers(3, 5, seed=5))
    return gradients(a_tensor(candidate(scores)), {"scores": leaf})


def _in_place_softmax(scores: Tensor) -> Tensor:
    scores -= scores.amax(-1, keepdim=True)
    return scores.softmax(-1)


def _softmax_by_hand_over_all(scores: Tensor) -> Tensor:
    powers = (scores - scores.max()).exp()
    return powers / powers.sum()


_OVERFLOW = (
    "Large scores overflow: exp(1000) is infinite, and infinity / infinity is NaN.",
    "Which number can you take away from every score of a row without changing the row's softmax?",
    "scores - scores.max(dim=-1, keepdim=True).values",
)


_SOFTMAX_MISTAKES = (
    Mistake(
        "over the queries, by hand",
        lambda s: s.exp() / s.exp().sum(-2, keepdim=True),
        "Your columns sum to 1; each row should.",
        "Each row belongs to one query. Over which axis must its weights sum to 1?",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "over the first axis, by hand",
        lambda s: s.exp() / s.exp().sum(0, keepdim=True),
        "Your weights sum to 1 over the first axis; they should over the last.",
        "With a batch in front, axis 0 holds different sentences. Count axes from the end.",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "over axis 1, by hand",
        lambda s: s.exp() / s.exp().sum(1, keepdim=True),
        "You sum over axis 1; that is the last axis for a matrix only.",
        "A batch of heads has four axes. Which index always means the last one?",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "no axis named",
        lambda s: F.softmax(s),
        "Your softmax is not told its axis; PyTorch guesses, and guesses wrong.",
        "Without `dim` it takes axis 0 for one or three axes, and axis 1 for two or four.",
        "torch.softmax(scores, dim=-1)",
    ),
    Mistake(
        "each block sums to 1",
        lambda s: torch.stack([_softmax_by_hand_over_all(block) for block in s]),
        "Each block scores[i] sums to 1 as a whole; each row of it should.",
        "Is there a loop over the first axis, and a `sum()` or `max()` without an axis in it?",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "the maximum over the first axis",
        lambda s: softmax_by_hand(s, s.amax(0, keepdim=True)),
        "The maximum you take away runs over the first axis, not over each row.",
        "Sum and maximum must run over the same axis. What becomes of a row that is low everywhere?",
        "scores.max(dim=-1, keepdim=True).values",
    ),
    Mistake(
        "the maximum over the queries",
        lambda s: softmax_by_hand(s, s.amax(-2, keepdim=True)),
        "The maximum you take away runs over the columns, not over each row.",
        "Sum and maximum must run over the same axis. What becomes of a row that is low everywhere?",
        "scores.max(dim=-1, keepdim=True).values",
    ),
    Mistake(
        "over the queries",
        lambda s: s.softmax(-2),
        "Your columns sum to 1; each row should.",
        "Each row belongs to one query. Over which axis must its weights sum to 1?",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "over the first axis",
        lambda s: s.softmax(0),
        "Your weights sum to 1 over the first axis; they should over the last.",
        "With a batch in front, axis 0 holds different sentences. Count axes from the end.",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "over axis 1",
        lambda s: s.softmax(1),
        "You sum over axis 1; that is the last axis for a matrix only.",
        "A batch of heads has four axes. Which index always means the last one?",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "over everything",
        lambda s: (s - s.max()).exp() / (s - s.max()).exp().sum(),
        "All your weights together sum to 1; each row on its own should.",
        "`sum()` without an axis adds up the whole tensor.",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "over everything, and large scores overflow",
        lambda s: s.exp() / s.exp().sum(),
        "All your weights together sum to 1; each row on its own should.",
        "`sum()` without an axis adds up the whole tensor. (And large scores will overflow, next.)",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake("overflow", lambda s: s.exp() / s.exp().sum(-1, keepdim=True), *_OVERFLOW),
    Mistake(
        "one maximum for all rows",
        lambda s: (s - s.max()).exp() / (s - s.max()).exp().sum(-1, keepdim=True),
        "You take away one maximum for all rows; a low row then divides 0 by 0.",
        "Each row needs its own maximum: which axis does your `max` run over?",
        "scores - scores.max(dim=-1, keepdim=True).values",
    ),
    Mistake(
        "takes the mean or the minimum away",
        lambda s: (
            (s - s.mean(-1, keepdim=True)).exp() / (s - s.mean(-1, keepdim=True)).exp().sum(-1, keepdim=True)
        ),
        "Taking the mean or minimum away is not enough: large scores still overflow.",
        "After the subtraction no number may be above 0. What must be taken away for that?",
        "scores - scores.max(dim=-1, keepdim=True).values",
    ),
    Mistake(
        "large scores are cut off",
        lambda s: s.clamp(-50, 50).softmax(-1),
        "Your limit on the scores makes different large scores equal.",
        "1000 and 1001 should get different weights. Take the row's maximum away in place of a limit.",
        "scores - scores.max(dim=-1, keepdim=True).values",
    ),
    Mistake(
        "keepdim is missing",
        lambda s: s.exp() / s.exp().sum(-1),
        "The sum lost its axis, so column j is divided by the sum of row j.",
        "Which argument of `sum` keeps the summed axis, with size 1?",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "keepdim is missing in the sum",
        lambda s: (e := (s - s.amax(-1, keepdim=True)).exp()) / e.sum(-1),
        "The sum lost its axis, so column j is divided by the sum of row j.",
        "Which argument of `sum` keeps the summed axis, with size 1?",
        "….sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "keepdim is missing in the maximum",
        lambda s: (e := (s - s.amax(-1)).exp()) / e.sum(-1, keepdim=True),
        "The maximum lost its axis, so column j loses the maximum of row j.",
        "Which argument of `max` keeps its axis, with size 1?",
        "scores.max(dim=-1, keepdim=True).values",
    ),
    Mistake(
        "no exponential",
        lambda s: s / s.sum(-1, keepdim=True),
        "The scores are divided by their sum; the exponential is missing.",
        "Scores can be negative, weights cannot. What makes any number positive and keeps the order?",
        "torch.exp(scores - …) / …",
    ),
    Mistake(
        "not divided",
        lambda s: (s - s.amax(-1, keepdim=True)).exp(),
        "The exponentials are there, but they are not divided by their sum.",
        "What makes each row sum to 1?",
        "exps / exps.sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "only the exponential",
        lambda s: s.exp(),
        "The exponentials are there, but they are not divided by their sum.",
        "What makes each row sum to 1?",
        "exps / exps.sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "divided by the count",
        lambda s: (e := (s - s.amax(-1, keepdim=True)).exp()) / e.size(-1),
        "You divide by the number of scores, not by the sum of the exponentials.",
        "Add one of your rows up. What must it be divided by, to give 1?",
        "exps / exps.sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "log-softmax",
        lambda s: s.log_softmax(-1),
        "These are the logarithms of the weights.",
        "log_softmax gives log weights, which are negative. Which function undoes a logarithm?",
        "exps / exps.sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "sigmoid",
        lambda s: s.sigmoid(),
        "This is a sigmoid: each score for itself, so the rows do not sum to 1.",
        "In a softmax the scores of a row compete. Where does your code look at the other scores?",
        "exps / exps.sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "the sign is turned",
        lambda s: (-s).softmax(-1),
        "Your largest score gets the smallest weight.",
        "A minus sign turned the order round.",
        "torch.exp(scores - largest)",
    ),
    Mistake(
        "one winner",
        lambda s: F.one_hot(s.argmax(-1), s.size(-1)).to(s.dtype) + 0.0 * s,
        "The largest score takes everything; a softmax gives every score its share.",
        "A hard choice has no useful gradient. Use the exponentials of the scores.",
        "exps / exps.sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "powers of two",
        lambda s: (s * math.log(2)).softmax(-1),
        "You raise 2 to the scores; the softmax raises e.",
        "torch.exp is e to the power of its argument.",
        "torch.exp(scores - largest)",
    ),
    Mistake(
        "an extra one in the sum",
        lambda s: s.exp() / (1 + s.exp().sum(-1, keepdim=True)),
        "Something is added to the sum below the line, so each row sums to less than 1.",
        "The sum of the exponentials alone stands below the line.",
        "exps / exps.sum(dim=-1, keepdim=True)",
    ),
    Mistake(
        "scaled",
        lambda s: (s / math.sqrt(s.size(-1))).softmax(-1),
        "You divide the scores by √n first; the softmax alone does not scale.",
        "The scaling belongs to attention, in the next exercise, and its d is the width of a key.",
        "torch.exp(scores - largest)",
    ),
    Mistake(
        "twice",
        lambda s: s.softmax(-1).softmax(-1),
        "The softmax is applied twice.",
        "Weights that already sum to 1 become nearly equal when they go through it again.",
        "torch.exp(scores - largest), divided by its sum, once",
    ),
    Mistake(
        "changes the scores",
        _in_place_softmax,
        "The weights are right, but your function changed the scores it was given.",
        "`-=`, and every method that ends in `_`, overwrite the caller's tensor. Make a new one.",
        "shifted = scores - …, in place of scores -= …",
    ),
    Mistake(
        "no gradient",
        lambda s: s.detach().softmax(-1),
        "The weights are right, but no gradient flows back to the scores.",
        "`.detach()`, `.item()`, `.data`, `.tolist()` and NumPy cut the gradient. Stay with tensor operations.",
        "use torch operations on `scores` itself",
    ),
)


_SOFTMAX_PROPERTIES = (
    left_to_chance("softmax a table"),
    changes_its_input("softmax a table"),
    Property(
        "not a number",
        lambda seen: bool(seen["softmax a table"]["weights"].isfinite().all()),
        "There are NaN or infinite numbers in your weights, for ordinary scores.",
        "A division of 0 by 0, or an exponential of something very large or very low?",
    ),
    Property(
        "rows do not sum to 1",
        lambda seen: ones(seen["softmax a table"]["weights"].sum(-1)),
        "Your rows do not sum to 1.",
        "Add the weights of one row up: `softmax(scores).sum(-1)` should be all ones.",
    ),
    Property(
        "negative weights",
        lambda seen: bool((seen["softmax a table"]["weights"] >= 0).all()),
        "Some of your weights are negative.",
        "An exponential is never negative. Where could a minus come in after it?",
    ),
    Property(
        "the order is lost",
        lambda seen: same_order(seen["softmax a table"]["weights"], numbers(3, 5, seed=1)),
        "A larger score should get a larger weight; in your rows that is not so everywhere.",
        "Compare one row of scores with your row of weights. Are some cut off, rounded, sorted or turned round?",
    ),
    Property(
        "another temperature",
        lambda seen: not other_scale(seen["softmax a table"]["weights"], numbers(3, 5, seed=1), 1.0),
        "Your rows are a softmax, but of the scores times some other number.",
        "Is there a scale, a temperature or another base than e in your exponential?",
    ),
    Property(
        "another function",
        lambda seen: log_slope(seen["softmax a table"]["weights"], numbers(3, 5, seed=1)) is not None,
        "Your rows sum to 1, but the shares are no softmax of these scores.",
        "Is another function applied before, after or in place of the exponential, or something rounded?",
    ),
    Property(
        "wrong with more axes",
        lambda seen: (
            agrees(seen, _softmax_a_batch, SOFTMAX.reference)
            and agrees(seen, _softmax_a_row_of_tables, SOFTMAX.reference)
        ),
        "Right for a table, wrong with more axes.",
        "A batch of heads has four axes. Which index always means the last one?",
    ),
    Property(
        "scores of zero",
        lambda seen: agrees(seen, _softmax_scores_of_zero, SOFTMAX.reference),
        "Right, but not where a score is exactly 0.",
        "A score of 0 is a score like any other: is it taken for padding, or for false?",
    ),
    Property(
        "no number for large scores",
        lambda seen: bool(seen["softmax large scores"]["weights"].isfinite().all()),
        "Right for ordinary scores; very large or very low ones give NaN or infinity.",
        "exp(1000) is infinite, and a row of exp(-1000) sums to 0. Take each row's own maximum away first.",
    ),
    Property(
        "wrong for large scores",
        lambda seen: agrees(seen, _softmax_large_scores, SOFTMAX.reference),
        "Right for ordinary scores, wrong for very large or very low ones.",
        "Is there a limit, a replaced NaN, or a fixed number taken away? Take each row's own maximum away.",
    ),
    no_gradient("softmax gradients", "the scores"),
)


SOFTMAX: Exercise = Exercise(
    id="04.softmax",
    title="Softmax, safe for large scores",
    stub=SOFTMAX_STUB,
    reference=lambda scores: scores.softmax(dim=-1),
    experiments=(
        _softmax_a_table,
        _softmax_a_square,
        _softmax_a_batch,
        _softmax_a_row_of_tables,
        _softmax_one_row,
        _softmax_axes_of_size_one,
        _softmax_scores_of_zero,
        _softmax_large_scores,
        _softmax_gradients,
    ),
    mistakes=_SOFTMAX_MISTAKES,
    properties=_SOFTMAX_PROPERTIES,
    difficulty=1,
    importance=4,
    minutes=10,
)
