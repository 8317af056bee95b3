"""Exercise 04.additive_scores.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, never_written, no_gradient, not_finite

ADDITIVE_STUB = '''
def additive_scores(q, k, w_q, w_k, w):
    """Score every query against every key by a small network: tanh(q w_q + k w_k) · w.

    Args:
        q: (Tq, Dq).
        k: (Tk, Dk).
        w_q, w_k: (Dq, h) and (Dk, h).
        w: (h,).

    Returns:
        Scores, (Tq, Tk). No softmax. The inputs stay as they were, and gradients flow back to them.
    """
'''


def _pairs(tq: int, tk: int, dq: int, dk: int, h: int, seed: int) -> tuple[Tensor, ...]:
    return (
        numbers(tq, dq, seed=seed),
        numbers(tk, dk, seed=seed + 1),
        numbers(dq, h, seed=seed + 2),
        numbers(dk, h, seed=seed + 3),
        numbers(h, seed=seed + 4),
    )


def _additive(candidate: Any, pairs: tuple[Tensor, ...]) -> Seen:
    given = tuple(tensor.clone() for tensor in pairs)
    scores = a_tensor(a_function(candidate)(*given))
    changed = not all(torch.equal(one, other) for one, other in zip(given, pairs, strict=True))
    return {"scores": scores, "input changed": yes(changed)}


def _additive_of_unlike_sizes(candidate: Any) -> Seen:
    return _additive(candidate, _pairs(3, 5, 4, 7, 6, seed=190))


def _additive_of_one_query(candidate: Any) -> Seen:
    return _additive(candidate, _pairs(1, 4, 3, 2, 5, seed=195))


def _additive_of_one_key(candidate: Any) -> Seen:
    return _additive(candidate, _pairs(4, 1, 3, 2, 5, seed=197))


def _additive_of_one_hidden_number(candidate: Any) -> Seen:
    return _additive(candidate, _pairs(3, 4, 2, 5, 1, seed=198))


def _additive_of_equal_sizes(candidate: Any) -> Seen:
    return _additive(candidate, _pairs(4, 4, 4, 4, 4, seed=200))


def _additive_gradients(candidate: Any) -> Seen:
    leaves, copies = watched(*_pairs(3, 5, 4, 7, 6, seed=205))
    names = ("q", "k", "w_q", "w_k", "w")
    return gradients(a_tensor(candidate(*copies)), dict(zip(names, leaves, strict=True)))


def _sum_of(q: Tensor, k: Tensor, w_q: Tensor, w_k: Tensor) -> Tensor:
    return (q @ w_q)[:, None] + (k @ w_k)[None]  # (Tq, Tk, h)


_ADDITIVE_LINE = "torch.tanh((q @ w_q)[:, None, :] + (k @ w_k)[None, :, :]) @ w"


_ADDITIVE_MISTAKES = (
    Mistake(
        "softmax, and no tanh",
        lambda q, k, w_q, w_k, w: (_sum_of(q, k, w_q, w_k) @ w).softmax(-1),
        "These are weights already, and the tanh is missing; the scores are asked for.",
        "tanh of the sum, then the product with w, and no softmax.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "the sign is turned",
        lambda q, k, w_q, w_k, w: -torch.tanh(_sum_of(q, k, w_q, w_k)) @ w,
        "Every score has the wrong sign.",
        "Is there a minus that should not be there?",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "w inside the tanh",
        lambda q, k, w_q, w_k, w: torch.tanh(_sum_of(q, k, w_q, w_k) * w).sum(-1),
        "w is multiplied inside the tanh; it belongs after it.",
        "tanh first, then the product with w.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "tanh twice",
        lambda q, k, w_q, w_k, w: torch.tanh(torch.tanh(_sum_of(q, k, w_q, w_k))) @ w,
        "The tanh is applied twice.",
        "Once, around the sum.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "the keys have no influence",
        lambda q, k, w_q, w_k, w: (torch.tanh(q @ w_q) @ w)[:, None].expand(-1, len(k)) + 0 * (k @ w_k).sum(),
        "The keys have no influence on your scores.",
        "Query and key must meet inside the tanh.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "no tanh",
        lambda q, k, w_q, w_k, w: _sum_of(q, k, w_q, w_k) @ w,
        "The tanh is missing, so a query adds the same number to all its scores.",
        "Without it the softmax would not notice the query at all. Where does the tanh belong?",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "tanh after w",
        lambda q, k, w_q, w_k, w: torch.tanh(_sum_of(q, k, w_q, w_k) @ w),
        "The tanh comes after w; it belongs before, on each of the h numbers.",
        "tanh(q w_q + k w_k) first, then the product with w.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "tanh before the sum",
        lambda q, k, w_q, w_k, w: (torch.tanh(q @ w_q)[:, None] + torch.tanh(k @ w_k)[None]) @ w,
        "The tanh is taken of query and key apart; it belongs around their sum.",
        "Query and key must meet inside the tanh.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "product in place of the sum",
        lambda q, k, w_q, w_k, w: torch.tanh((q @ w_q)[:, None] * (k @ w_k)[None]) @ w,
        "Query and key are multiplied; additive attention adds them.",
        "It is in the name.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "difference in place of the sum",
        lambda q, k, w_q, w_k, w: torch.tanh((q @ w_q)[:, None] - (k @ w_k)[None]) @ w,
        "The key is subtracted; additive attention adds it.",
        "It is in the name.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "sigmoid",
        lambda q, k, w_q, w_k, w: torch.sigmoid(_sum_of(q, k, w_q, w_k)) @ w,
        "A sigmoid stands where the tanh belongs.",
        "tanh gives numbers between -1 and 1.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "relu",
        lambda q, k, w_q, w_k, w: torch.relu(_sum_of(q, k, w_q, w_k)) @ w,
        "A ReLU stands where the tanh belongs.",
        "tanh gives numbers between -1 and 1.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "w is missing",
        lambda q, k, w_q, w_k, w: torch.tanh(_sum_of(q, k, w_q, w_k)).sum(-1),
        "The h numbers are added up; each should be multiplied by its own weight in w.",
        "The last step is a product with w, (…, h) @ (h,).",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "the mean over h",
        lambda q, k, w_q, w_k, w: (torch.tanh(_sum_of(q, k, w_q, w_k)) * w).mean(-1),
        "The h products are averaged; they should be added up.",
        "A product with w adds them up: (…, h) @ (h,).",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "transposed",
        lambda q, k, w_q, w_k, w: (torch.tanh(_sum_of(q, k, w_q, w_k)) @ w).T,
        "The scores are transposed: rows should be queries.",
        "Which of the two gets the new axis in front, and which behind?",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "softmax",
        lambda q, k, w_q, w_k, w: (torch.tanh(_sum_of(q, k, w_q, w_k)) @ w).softmax(-1),
        "These are weights already; the exercise asks for the scores.",
        "Leave the softmax out.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "scaled",
        lambda q, k, w_q, w_k, w: torch.tanh(_sum_of(q, k, w_q, w_k)) @ w / len(w) ** 0.5,
        "The scores are divided by √h; additive scores need no scaling.",
        "The tanh keeps them in bounds.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "row by row only",
        lambda q, k, w_q, w_k, w: torch.tanh(q @ w_q + k @ w_k) @ w,
        "Query i meets key i only; every query should meet every key.",
        "Make (Tq, 1, h) and (1, Tk, h) of the two: their sum is (Tq, Tk, h).",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "w_q and w_k exchanged",
        lambda q, k, w_q, w_k, w: torch.tanh((q @ w_k)[:, None] + (k @ w_q)[None]) @ w,
        "w_q is applied to the keys and w_k to the queries.",
        "q @ w_q, k @ w_k.",
        _ADDITIVE_LINE,
    ),
    Mistake(
        "no gradient",
        lambda q, k, w_q, w_k, w: (torch.tanh(_sum_of(q, k, w_q, w_k)) @ w).detach(),
        "The numbers are right, but no gradient flows back through your function.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        _ADDITIVE_LINE,
    ),
)


def _bounded(seen: dict[str, Seen]) -> bool:
    w = _pairs(3, 5, 4, 7, 6, seed=190)[-1]
    return bool((seen["additive of unlike sizes"]["scores"].abs() <= w.abs().sum() + 1e-3).all())


_ADDITIVE_PROPERTIES = (
    changes_its_input("additive of unlike sizes"),
    not_finite(lambda seen: seen["additive of unlike sizes"]["scores"], "scores"),
    never_written(lambda seen: seen["additive of unlike sizes"]["scores"], "scores"),
    Property(
        "out of bounds",
        _bounded,
        "Your scores are larger than a tanh allows.",
        "Each of the h numbers lies between -1 and 1 before it is multiplied by its weight in w.",
    ),
    no_gradient("additive gradients", "some of the five inputs"),
    Property(
        "another formula",
        lambda seen: agrees(seen, _additive_of_unlike_sizes, ADDITIVE.reference),
        "Your scores are not those of the formula, for some pairs or for all.",
        "For one pair: add the two h-vectors q w_q and k w_k, take the tanh of each number, multiply by w, add up.",
    ),
)


ADDITIVE: Exercise = Exercise(
    id="04.additive_scores",
    title="Additive scores",
    stub=ADDITIVE_STUB,
    reference=lambda q, k, w_q, w_k, w: torch.tanh(_sum_of(q, k, w_q, w_k)) @ w,
    experiments=(
        _additive_of_unlike_sizes,
        _additive_of_one_query,
        _additive_of_one_key,
        _additive_of_one_hidden_number,
        _additive_of_equal_sizes,
        _additive_gradients,
    ),
    mistakes=_ADDITIVE_MISTAKES,
    properties=_ADDITIVE_PROPERTIES,
    difficulty=2,
    importance=3,
    minutes=10,
)
