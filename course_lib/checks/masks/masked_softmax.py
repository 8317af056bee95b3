"""Exercise 05.masked_softmax: weights over the keys that may be seen, and zeros where there are none.

B batch · H heads · Tq queries · Tk keys
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.masks.shared import FLIPPED, changes_an_input
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, differ, left_to_chance, no_gradient

SOFTMAX_STUB = '''
def masked_softmax(scores, mask):
    """Turn each row of scores into weights over the keys it may attend to.

    Args:
        scores: (…, Tq, Tk), any number of axes in front; values from -1000 to 1000.
        mask: boolean, True = may attend; it has the shape of the scores or broadcasts to it.

    Returns:
        Weights, the shape of the scores: a softmax over the allowed keys of each row, exactly 0 for
        every other key. A row that may attend to nothing is all zeros: not NaN, not uniform.

        Scores and mask stay as they were. Gradients flow back to the scores, without NaN, also where
        a row may attend to nothing.
    """
'''


_TABLE, _BATCH, _EMPTY = (
    "masked softmax of a table",
    "masked softmax of a batch with padding",
    "masked softmax with an empty row",
)
_LARGE, _GRADIENT, _GRADIENT_EMPTY = (
    "masked softmax of large scores",
    "masked softmax gradients",
    "masked softmax gradients with an empty row",
)

_TABLE_MASK = torch.tensor(
    [[True, True, False, True, False], [False, True, True, False, True], [True, True, True, True, True]]
)
_EMPTY_MASK = torch.tensor(
    [[True, False, True, True], [False, False, False, False], [False, True, False, False]]
)


def _weights(candidate: Any, scores: Tensor, mask: Tensor) -> Seen:
    given, given_mask = scores.clone(), mask.clone()
    weights = a_tensor(a_function(candidate)(given, given_mask))
    mask_changed = not torch.equal(given_mask, mask)
    return {
        "weights": weights,
        "input changed": yes(mask_changed or not torch.equal(given, scores)),
        "_mask changed": yes(mask_changed),
    }


def _not_exactly_zero(weights: Tensor, mask: Tensor) -> Tensor:
    """Say whether a hidden key has a weight, however small."""
    return yes(weights.shape == mask.shape and bool((weights[~mask] != 0).any()))


def _table_scores() -> Tensor:
    return numbers(3, 5, seed=1, std=1.5)


def _masked_softmax_of_a_table(candidate: Any) -> Seen:
    seen = _weights(candidate, _table_scores(), _TABLE_MASK)
    again = _weights(candidate, _table_scores(), _TABLE_MASK)
    return seen | {
        "second call differs": yes(differ(seen, again)),
        "hidden weights not exactly 0": _not_exactly_zero(seen["weights"], _TABLE_MASK),
    }


def _masked_softmax_with_an_empty_row(candidate: Any) -> Seen:
    return _weights(candidate, numbers(3, 4, seed=2), _EMPTY_MASK)


def _masked_softmax_of_a_batch_with_padding(candidate: Any) -> Seen:
    """The second sentence is padding alone."""
    real = torch.tensor([[True, True, True, False, False], [False] * 5])
    return _weights(candidate, numbers(2, 3, 4, 5, seed=3), real[:, None, None, :])


def _masked_softmax_with_a_causal_mask(candidate: Any) -> Seen:
    return _weights(candidate, numbers(2, 3, 4, 4, seed=4), torch.ones(4, 4, dtype=torch.bool).tril())


def _masked_softmax_with_a_mask_of_its_own_for_each_head(candidate: Any) -> Seen:
    scores = numbers(3, 4, 6, seed=5)
    return _weights(candidate, scores, numbers(3, 4, 6, seed=6) > 0)


def _masked_softmax_of_one_row(candidate: Any) -> Seen:
    return _weights(candidate, numbers(1, 6, seed=7), numbers(1, 6, seed=8) > 0)


def _masked_softmax_of_one_key(candidate: Any) -> Seen:
    return _weights(candidate, numbers(3, 1, seed=9), torch.tensor([[True], [False], [True]]))


def _masked_softmax_of_large_scores(candidate: Any) -> Seen:
    """The largest score is hidden, or all that may be seen are very low."""
    scores = torch.tensor(
        [
            [1000.0, 1.0, 2.0, -1.0],
            [-1000.0, -999.0, -998.0, 1000.0],
            [1000.0, 999.0, -1000.0, 0.0],
            [0.0, -1000.0, 1000.0, 998.0],
            [-1000.0, 0.0, -900.0, 500.0],
        ]
    )
    mask = torch.tensor(
        [
            [False, True, True, True],
            [True, True, True, False],
            [True, True, True, True],
            [True, True, False, False],
            [True, False, False, False],
        ]
    )
    return _weights(candidate, scores, mask)


def _masked_softmax_of_small_shares(candidate: Any) -> Seen:
    """Shares down to e to the power of −20: their logarithms show what the weights themselves would hide."""
    scores = torch.tensor(
        [[0.0, -5.0, -7.0, -9.0, 3.0], [-20.0, 1.0, -12.0, 0.0, 2.0], [-8.0, -6.0, 9.0, 1.0, 0.0]]
    )
    mask = torch.tensor([[True, True, True, True, False], [True, False, True, True, False], [True] * 5])
    seen = _weights(candidate, scores, mask)
    if seen["weights"].shape == mask.shape:
        seen["logarithms of the weights"] = seen["weights"][mask].log()
    return seen


def _masked_softmax_of_rows_far_apart(candidate: Any) -> Seen:
    """No large score is hidden, but what is large in one row is far beyond another."""
    scores = torch.tensor(
        [[0.0, 1.0, 2.0, -1.0], [1000.0, 999.0, 990.0, 998.0], [-990.0, -991.0, -988.0, -995.0]]
    )
    mask = torch.tensor([[True, True, True, True], [True, True, False, True], [True, False, True, False]])
    return _weights(candidate, scores, mask)


def _one_maximum(scores: Tensor, mask: Tensor, little: float = 1e-30) -> Tensor:
    allowed = scores.masked_fill(~mask, -1e9)
    exps = (allowed - allowed.amax()).exp() * mask
    return exps / (exps.sum(-1, keepdim=True) + little)


def _masked_softmax_of_zeros(candidate: Any) -> Seen:
    scores = torch.tensor([[0.0, 2.0, 0.0, -1.0], [-1.0, -2.0, 0.0, -3.0]])
    return _weights(candidate, scores, torch.tensor([[True, True, True, False], [True, True, False, True]]))


def _masked_softmax_gradients(candidate: Any) -> Seen:
    (leaf,), (scores,) = watched(_table_scores())
    return gradients(a_tensor(candidate(scores, _TABLE_MASK.clone())), {"scores": leaf})


def _masked_softmax_gradients_with_an_empty_row(candidate: Any) -> Seen:
    (leaf,), (scores,) = watched(numbers(3, 4, seed=2))
    return gradients(a_tensor(candidate(scores, _EMPTY_MASK.clone())), {"scores": leaf})


def _filled(low: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Another number than −∞ in front of the softmax; nothing afterwards."""
    return lambda scores, mask: scores.masked_fill(~mask, low).softmax(-1)


def _then_zero(weigh: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """A table in which hidden keys are set to 0 at the end."""
    return lambda scores, mask: weigh(scores, mask).masked_fill(~mask, 0.0)


def _shared_out(scores: Tensor, mask: Tensor, little: float = 0.0) -> Tensor:
    """The softmax over every key, hidden ones set to 0, and divided by what is left."""
    kept = scores.softmax(-1) * mask
    return kept / (kept.sum(-1, keepdim=True) + little)


def _by_hand(scores: Tensor, mask: Tensor, little: float = 0.0) -> Tensor:
    exps = scores.exp() * mask
    return exps / (exps.sum(-1, keepdim=True) + little)


def _added(scores: Tensor, mask: Tensor) -> Tensor:
    return (scores + torch.zeros(mask.shape).masked_fill(~mask, -math.inf)).softmax(-1)


def _in_place(scores: Tensor, mask: Tensor) -> Tensor:
    scores.masked_fill_(~mask, -1e9)
    return scores.softmax(-1).masked_fill(~mask, 0.0)


def _in_place_large(scores: Tensor, mask: Tensor) -> Tensor:
    scores.masked_fill_(~mask, -1e9)
    return scores.softmax(-1)


def _turns_the_mask(scores: Tensor, mask: Tensor) -> Tensor:
    weights = _masked_softmax(scores, mask.clone())
    mask.logical_not_()
    return weights


def _over(axis: int) -> Callable[[Tensor, Tensor], Tensor]:
    return _then_zero(lambda s, m: s.masked_fill(~m, -1e9).softmax(axis))


def _masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """The answer: −∞ before the softmax, zeros after it, and in an empty row no −∞ at all."""
    hidden = ~mask & mask.any(dim=-1, keepdim=True)
    return scores.masked_fill(hidden, -math.inf).softmax(dim=-1).masked_fill(~mask, 0.0)


_LINE = "weights = scores.masked_fill(~mask, -1e9).softmax(dim=-1).masked_fill(~mask, 0.0)"

_EMPTY_HINT = (
    "In that row every score is −∞, and the softmax divides 0 by 0. What should such a row hold at the end?"
)

_AFTER = "The softmax has shared out everything before you hide anything. When must a score become −∞?"


_TOO_LATE = (
    "A hidden score of 1000 takes the whole softmax, or its exponential is infinite, before it is hidden. Hide it "
    "before you look for a maximum or take an exponential."
)


_SOFTMAX_MISTAKES = (
    Mistake(
        "no mask",
        lambda s, m: s.softmax(-1),
        "Your weights take no notice of the mask.",
        "masked_fill gives a new tensor; is the result used? masked_fill_, with a _, overwrites the caller's scores.",
        _LINE,
    ),
    Mistake("flipped", lambda s, m: _masked_softmax(s, ~m), *FLIPPED, "masked_fill(~mask, …)"),
    Mistake(
        "flipped, empty rows are not a number",
        lambda s, m: s.masked_fill(m, -math.inf).softmax(-1),
        FLIPPED[0],
        "True means *may attend*: masked_fill writes where its argument is True, so what must it be given?",
        "masked_fill(~mask, …)",
    ),
    Mistake(
        "flipped, with a large negative number",
        lambda s, m: s.masked_fill(m, -1e9).softmax(-1),
        FLIPPED[0],
        "True means *may attend*: masked_fill writes where its argument is True, so what must it be given?",
        "masked_fill(~mask, …)",
    ),
    Mistake(
        "hidden after the softmax",
        lambda s, m: s.softmax(-1) * m,
        "You hide keys after the softmax: the rows no longer sum to 1.",
        _AFTER,
        _LINE,
    ),
    Mistake(
        "−∞ after the softmax",
        lambda s, m: s.softmax(-1).masked_fill(~m, -math.inf),
        "You write −∞ into the weights; it belongs into the scores, before the softmax.",
        _AFTER,
        _LINE,
    ),
    Mistake(
        "multiplied before the softmax",
        lambda s, m: (s * m).softmax(-1),
        "Hidden scores become 0 before the softmax, and a score of 0 gets a real weight.",
        "exp(0) is 1. Did you multiply by the mask, fill with 0, or write -1e-9 where -1e9 was meant?",
        _LINE,
    ),
    Mistake(
        "multiplied before the softmax, hidden afterwards",
        _then_zero(lambda s, m: (s * m).softmax(-1)),
        "Hidden scores become 0 before the softmax and take a share, lost afterwards.",
        "exp(0) is 1. Which score gives a weight of 0?",
        _LINE,
    ),
    Mistake(
        "the mask is added to the scores",
        lambda s, m: (s + m).softmax(-1),
        "Allowed scores gain 1 over hidden ones; that hides nothing.",
        "In a sum True counts as 1, and exp(−1) is still a third. Which score gives a weight of 0?",
        _LINE,
    ),
    Mistake(
        "hidden scores become −1",
        _filled(-1.0),
        "Hidden scores become −1, and keep a share.",
        "exp(−1) is still a third. Which score gives a weight of 0?",
        _LINE,
    ),
    Mistake(
        "−∞ times the mask",
        lambda s, m: (s + (1 - m.float()) * -math.inf).softmax(-1),
        "Your weights are NaN: 0 times −∞ is NaN.",
        "A product cannot choose. masked_fill or torch.where write −∞ where it is wanted, and nothing elsewhere.",
        _LINE,
    ),
    Mistake(
        "an empty row is not a number",
        _filled(-math.inf),
        "Right, but a row that may attend to nothing becomes NaN.",
        _EMPTY_HINT,
        _LINE,
    ),
    Mistake(
        "an empty row is uniform",
        _filled(-1e9),
        "Right, but a row that may attend to nothing shares its weight among hidden keys.",
        "Every score of that row is equally low, and the softmax only knows differences. What should the row hold?",
        _LINE,
    ),
    Mistake(
        "an empty row is an ordinary softmax",
        lambda s, m: (s + (~m) * -1e4).softmax(-1),
        "Right, but a row that may attend to nothing is a softmax of hidden scores.",
        "The same number is taken from every score of that row, and the softmax only knows differences.",
        _LINE,
    ),
    Mistake(
        "not low enough",
        _then_zero(_filled(-100.0)),
        "Right for ordinary scores; beside scores near −1000 hidden keys have weight.",
        "The number for hidden scores must be far below every score: −∞, or −1e9.",
        _LINE,
    ),
    Mistake(
        "not low enough, empty row uniform",
        _filled(-100.0),
        "The number for hidden scores is not low enough, and an empty row becomes uniform.",
        "Scores may be as low as −1000. And what should a row hold that may attend to nothing?",
        _LINE,
    ),
    Mistake(
        "as low as the lowest score",
        _filled(-1000.0),
        "The number for hidden scores is not low enough, and an empty row becomes uniform.",
        "Scores may be as low as −1000. And what should a row hold that may attend to nothing?",
        _LINE,
    ),
    Mistake(
        "the lowest score in place of −∞",
        lambda s, m: torch.where(m, s, s.min()).softmax(-1),
        "Hidden keys get the lowest score of all, and keep a share.",
        "Which score gives a weight of exactly 0?",
        _LINE,
    ),
    Mistake(
        "shared out again, without care for empty rows",
        _shared_out,
        "What the mask leaves is divided anew; where it leaves nothing, that is 0 / 0.",
        "It is right while something is left: not in an empty row, nor where a hidden score is so large that the "
        "others vanish beside it. Hide before the softmax.",
        _LINE,
    ),
    Mistake(
        "shared out again, NaN replaced",
        lambda s, m: _shared_out(s, m).nan_to_num(0.0),
        "Right for ordinary scores; a large hidden score makes all others vanish.",
        _TOO_LATE,
        _LINE,
    ),
    Mistake(
        "shared out again, with a small number added",
        lambda s, m: _shared_out(s, m, 1e-9),
        "Right for ordinary scores; a large hidden score makes all others vanish.",
        _TOO_LATE,
        _LINE,
    ),
    Mistake(
        "by hand, overflow",
        _by_hand,
        "Your exponentials overflow for large scores, and an empty row divides 0 by 0.",
        "Take each row's largest *allowed* score away first. And what if there is none?",
        _LINE,
    ),
    Mistake(
        "by hand, overflow, with a small number added",
        lambda s, m: _by_hand(s, m, 1e-9),
        "Right for ordinary scores; large ones overflow: exp(1000) is infinite.",
        "Take each row's largest *allowed* score away first, or let torch.softmax do it.",
        _LINE,
    ),
    Mistake(
        "one maximum for all rows",
        _one_maximum,
        "The largest score of the whole table is taken away, not each row's own.",
        "A row far below it vanishes: exp(−1000) is 0. `amax(dim=-1, keepdim=True)` gives each row its own.",
        _LINE,
    ),
    Mistake(
        "NaN replaced, in the gradient not",
        lambda s, m: _added(s, m).nan_to_num(0.0),
        "The weights are right, but an empty row's gradient is NaN.",
        "Replacing NaN afterwards hides it forwards only: 0 times NaN is NaN on the way back. Do not make it at all.",
        _LINE,
    ),
    Mistake(
        "−∞ added, an empty row is not a number",
        _added,
        "Right, but a row that may attend to nothing becomes NaN.",
        _EMPTY_HINT,
        _LINE,
    ),
    Mistake(
        "every NaN becomes a share",
        lambda s, m: _filled(-math.inf)(s, m).nan_to_num(1.0 / 4),
        "Right, but a row that may attend to nothing is given equal weights.",
        "Nothing may be attended to there: zeros.",
        _LINE,
    ),
    Mistake(
        "softmax over the queries",
        _over(-2),
        "Your softmax runs over the queries: columns sum to 1, rows do not.",
        "Each query spreads its attention over the keys, the last axis.",
        _LINE,
    ),
    Mistake(
        "softmax over the queries, empty rows too",
        lambda s, m: s.masked_fill(~m, -1e9).softmax(-2),
        "Your softmax runs over the queries: columns sum to 1, rows do not.",
        "Each query spreads its attention over the keys, the last axis.",
        _LINE,
    ),
    Mistake(
        "softmax over the queries, not a number",
        lambda s, m: s.masked_fill(~m, -math.inf).softmax(-2),
        "Your softmax runs over the queries: columns sum to 1, rows do not.",
        "Each query spreads its attention over the keys, the last axis.",
        _LINE,
    ),
    Mistake(
        "softmax over the first axis",
        _over(0),
        "Your softmax runs over the first axis; it should run over the keys, the last one.",
        "With a batch in front, axis 0 holds different sentences. Count axes from the end.",
        _LINE,
    ),
    Mistake(
        "softmax over axis 1",
        _over(1),
        "Your softmax runs over axis 1; that is the last axis for a table only.",
        "A batch of heads has four axes. Which index always means the last one?",
        _LINE,
    ),
    Mistake(
        "softmax over each table",
        _then_zero(lambda s, m: s.masked_fill(~m, -1e9).flatten(-2).softmax(-1).view_as(s)),
        "Your softmax runs over queries and keys together; each row alone should sum to 1.",
        "Each query spreads its attention over the keys, the last axis.",
        _LINE,
    ),
    Mistake(
        "hidden for all queries",
        lambda s, m: _masked_softmax(s, m.all(-2, keepdim=True)),
        "A key that is hidden from one query is hidden from every query.",
        "Each row of the mask is its own query's. Is there an `all` over the rows?",
        _LINE,
    ),
    Mistake(
        "the first row's mask for all",
        lambda s, m: _masked_softmax(s, m[..., :1, :]),
        "Every query gets the mask of the first one.",
        "Is there an index [0] that should run over the queries?",
        _LINE,
    ),
    Mistake(
        "logarithms",
        lambda s, m: s.masked_fill(~m, -1e9).log_softmax(-1).masked_fill(~m, 0.0),
        "Your weights are logarithms: log_softmax in place of softmax.",
        "A weight lies between 0 and 1.",
        _LINE,
    ),
    Mistake(
        "one winner",
        lambda s, m: (
            torch.nn.functional.one_hot(s.masked_fill(~m, -1e9).argmax(-1), s.size(-1)) * m + 0.0 * s
        ),
        "The best allowed key takes everything; a softmax gives every allowed key its share.",
        "argmax picks one key and has no useful gradient.",
        _LINE,
    ),
    Mistake(
        "the scores are not a softmax",
        lambda s, m: s.masked_fill(~m, 0.0),
        "You hide scores, but there is no softmax.",
        "Weights are positive and sum to 1 over the allowed keys.",
        _LINE,
    ),
    Mistake(
        "the scores with −∞",
        lambda s, m: s.masked_fill(~m, -math.inf),
        "You hide scores, but there is no softmax after it.",
        "Weights are positive and sum to 1 over the allowed keys.",
        _LINE,
    ),
    Mistake(
        "softmax twice",
        lambda s, m: _masked_softmax(_masked_softmax(s, m), m),
        "The softmax is applied twice, and the weights are nearly equal.",
        "Weights that already sum to 1 become nearly equal when they go through it again.",
        _LINE,
    ),
    Mistake(
        "changes the scores",
        _in_place,
        "The weights are right, but your function changed the scores it was given.",
        "Methods that end in `_`, and `scores[~mask] = …`, overwrite the caller's tensor. Make a new one.",
        _LINE,
    ),
    Mistake(
        "changes the scores, and an empty row is uniform",
        _in_place_large,
        "Your function changes the scores it was given, and an empty row becomes uniform.",
        "masked_fill_ with a _ overwrites the caller's tensor. And what should a row hold that may attend to nothing?",
        _LINE,
    ),
    Mistake(
        "changes the mask",
        _turns_the_mask,
        "The weights are right, but your function changed the mask it was given.",
        "Methods that end in `_`, and assignments to `mask[…]`, overwrite the caller's tensor. Make a new one.",
        _LINE,
    ),
    Mistake(
        "no gradient",
        lambda s, m: _masked_softmax(s, m).detach(),
        "The weights are right, but no gradient flows back to the scores.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        _LINE,
    ),
)


def _table(seen: dict[str, Seen]) -> Tensor:
    return seen[_TABLE]["weights"]


def _rows_sum_to_one(seen: dict[str, Seen]) -> bool:
    return bool(((_table(seen).sum(-1) - 1).abs() < 1e-3).all())


_SOFTMAX_PROPERTIES = (
    changes_an_input(),
    left_to_chance(_TABLE),
    Property(
        "not a number",
        lambda seen: bool(_table(seen).isfinite().all()),
        "There are NaN or infinite numbers in your weights, though every row sees a key.",
        "0 times −∞, a division of 0 by 0, a logarithm of 0, or −∞ written after the softmax?",
    ),
    Property(
        "hidden keys have weight",
        lambda seen: bool((_table(seen).masked_fill(_TABLE_MASK, 0.0).abs() < 1e-6).all()),
        "Some hidden keys have weight.",
        "Print the mask and your weights below each other. Which score gives a weight of exactly 0?",
    ),
    Property(
        "hidden keys have a tiny weight",
        lambda seen: seen[_TABLE]["hidden weights not exactly 0"].item() == 0,
        "Some hidden keys have a tiny weight; it should be exactly 0.",
        "Is a small number added to the weights, or is the number for hidden scores not low enough?",
    ),
    Property(
        "allowed keys have none",
        lambda seen: bool((_table(seen)[_TABLE_MASK].abs() > 1e-6).all()),
        "Some allowed keys have a weight of 0.",
        "Print the mask and your weights below each other. Is more hidden than the mask says, or one winner chosen?",
    ),
    Property(
        "rows do not sum to 1",
        _rows_sum_to_one,
        "Your rows do not sum to 1 over their allowed keys.",
        "What is hidden must be hidden before the softmax, so that the rest shares out everything.",
    ),
    Property(
        "another softmax",
        lambda seen: agrees(seen, _masked_softmax_of_a_table, SOFTMAX.reference),
        "Your rows sum to 1, but are no softmax of the allowed scores.",
        "Are the scores scaled, cut off, or changed in another way before the softmax?",
    ),
    Property(
        "an empty row is not a number",
        lambda seen: bool(seen[_EMPTY]["weights"].isfinite().all()),
        "Where a row may attend to nothing there are NaN or infinite numbers.",
        _EMPTY_HINT,
    ),
    Property(
        "an empty row has weight",
        lambda seen: bool((seen[_EMPTY]["weights"][1].abs() < 1e-6).all()),
        "A row that may attend to nothing has weights; it should be all zeros.",
        "The softmax only knows differences: a row of equal scores, however low, is shared out equally.",
    ),
    Property(
        "an empty row spoils others",
        lambda seen: agrees(seen, _masked_softmax_with_an_empty_row, SOFTMAX.reference),
        "Where one row may attend to nothing, other rows are wrong.",
        "Only the row without a key is to be all zeros.",
    ),
    Property(
        "stops with more axes",
        lambda seen: _TABLE not in seen or _BATCH in seen,
        "Right for a table; stops with more axes, or with a mask that has to broadcast.",
        "Count axes from the end, and let the mask broadcast: masked_fill and torch.where do it by themselves, an "
        "index like scores[~mask] does not.",
    ),
    Property(
        "wrong with more axes",
        lambda seen: (
            agrees(seen, _masked_softmax_of_a_batch_with_padding, SOFTMAX.reference)
            and agrees(seen, _masked_softmax_with_a_mask_of_its_own_for_each_head, SOFTMAX.reference)
            and agrees(seen, _masked_softmax_with_a_causal_mask, SOFTMAX.reference)
        ),
        "Right for a table, wrong with more axes, or a mask that broadcasts.",
        "Count axes from the end: dim=-1. A mask (B, 1, 1, Tk) fits scores (B, H, Tq, Tk) by itself.",
    ),
    Property(
        "scores of zero",
        lambda seen: agrees(seen, _masked_softmax_of_zeros, SOFTMAX.reference),
        "Right, but not where a score is exactly 0.",
        "A score of 0 is a score like any other. Ask the mask what is hidden, not the scores.",
    ),
    Property(
        "rows far apart",
        lambda seen: (
            not bool(seen["masked softmax of rows far apart"]["weights"].isfinite().all())
            or agrees(seen, _masked_softmax_of_rows_far_apart, SOFTMAX.reference)
        ),
        "Right for ordinary scores, wrong for very large or very low ones.",
        "No large score is hidden here. Are scores cut off, or is one number taken away from all rows?",
    ),
    Property(
        "no number for large scores",
        lambda seen: bool(seen[_LARGE]["weights"].isfinite().all()),
        "Right for ordinary scores; very large or very low ones give NaN or infinity.",
        "exp(1000) is infinite. Take each row's largest allowed score away first, or let torch.softmax do it.",
    ),
    Property(
        "wrong for large scores",
        lambda seen: agrees(seen, _masked_softmax_of_large_scores, SOFTMAX.reference),
        "Right for ordinary scores, wrong for very large or very low ones.",
        "A hidden score may be the largest: hide it before you look for a maximum. And is your low number low enough?",
    ),
    Property(
        "small shares",
        lambda seen: agrees(seen, _masked_softmax_of_small_shares, SOFTMAX.reference),
        "Small weights are lost or changed.",
        "A score of −8 beside a 0 still has a weight. Are weights rounded, cut off, or is a small number added?",
    ),
    no_gradient(_GRADIENT, "the scores"),
    Property(
        "a gradient that is not a number",
        lambda seen: bool(seen[_GRADIENT_EMPTY]["gradient to scores"].isfinite().all()),
        "The weights are right, but an empty row's gradient is NaN.",
        "Replacing NaN afterwards hides it forwards only: 0 times NaN is NaN on the way back. Do not make it at all.",
    ),
)


SOFTMAX: Exercise = Exercise(
    id="05.masked_softmax",
    title="A masked softmax",
    stub=SOFTMAX_STUB,
    reference=_masked_softmax,
    experiments=(
        _masked_softmax_of_a_table,
        _masked_softmax_with_an_empty_row,
        _masked_softmax_of_a_batch_with_padding,
        _masked_softmax_with_a_causal_mask,
        _masked_softmax_with_a_mask_of_its_own_for_each_head,
        _masked_softmax_of_one_row,
        _masked_softmax_of_one_key,
        _masked_softmax_of_large_scores,
        _masked_softmax_of_zeros,
        _masked_softmax_of_small_shares,
        _masked_softmax_of_rows_far_apart,
        _masked_softmax_gradients,
        _masked_softmax_gradients_with_an_empty_row,
    ),
    mistakes=_SOFTMAX_MISTAKES,
    properties=_SOFTMAX_PROPERTIES,
    difficulty=3,
    importance=5,
    minutes=15,
)
