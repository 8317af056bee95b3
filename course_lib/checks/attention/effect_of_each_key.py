"""Exercise 04.effect_of_each_key: weights are not effects.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, numbers, yes
from course_lib.checks.shared import agrees, changes_its_input, never_written, not_finite

EFFECT_STUB = '''
def effect_of_each_key(q, k, v):
    """Measure what each key does: how far the output moves when that key and its value are taken away.

    Args:
        q: one query, (Dh,).
        k: keys, (T, Dh), at least two.
        v: values, (T, Dv).

    Returns:
        (T,): for each key, the length (Euclidean norm) of the difference between attention with all
        keys and attention without this key. Without it, the softmax shares out anew. Scores may be
        large; the inputs stay as they were.
    """
'''


def _one_query(n_keys: int, d_head: int, d_value: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        numbers(d_head, seed=seed),
        numbers(n_keys, d_head, seed=seed + 1),
        numbers(n_keys, d_value, seed=seed + 2, std=2.0),
    )


def _effect(candidate: Any, query: tuple[Tensor, Tensor, Tensor]) -> Seen:
    given = tuple(tensor.clone() for tensor in query)
    effects = a_tensor(a_function(candidate)(*given))
    changed = not all(torch.equal(one, other) for one, other in zip(given, query, strict=True))
    return {"effects": effects, "input changed": yes(changed)}


def _effect_of_five_keys(candidate: Any) -> Seen:
    return _effect(candidate, _one_query(5, 4, 3, seed=240))


def _effect_of_two_keys(candidate: Any) -> Seen:
    return _effect(candidate, _one_query(2, 3, 4, seed=245))


def _effect_with_equal_sizes(candidate: Any) -> Seen:
    return _effect(candidate, _one_query(4, 4, 4, seed=250))


def _effect_with_large_scores(candidate: Any) -> Seen:
    """All scores far below 0, and one far below the others: no number stands for “not there”."""
    q, k, v = _one_query(4, 3, 2, seed=258)
    k = k - 2000 * q / (q @ q)
    k[2] = k[2] - 200 * q / (q @ q)
    return _effect(candidate, (q, k, v))


def _effect_with_one_very_large_score(candidate: Any) -> Seen:
    q, k, v = _one_query(5, 4, 3, seed=262)
    return _effect(candidate, (q * 20, k * 20, v))


def _effect_of_an_empty_value(candidate: Any) -> Seen:
    """One value is zero and has the largest weight: taking it away still moves the output."""
    q, k, v = _one_query(5, 4, 3, seed=255)
    k[2], v[2] = q * 2, 0.0
    return {"effects": a_tensor(candidate(q, k, v))}


def _attend_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (k @ q * len(q) ** -0.5).softmax(0) @ v


def _effects(without: Any, length: Any = None) -> Any:
    """The effects, where `without(q, k, v, j)` is the output without key j."""

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        moves = [_attend_one(q, k, v) - without(q, k, v, j) for j in range(len(k))]
        return torch.stack([length(move) if length else move.norm() for move in moves])

    return run


def _left_out(q: Tensor, k: Tensor, v: Tensor, j: int) -> Tensor:
    others = [i for i in range(len(k)) if i != j]
    return _attend_one(q, k[others], v[others])


def _weight_set_to_zero(q: Tensor, k: Tensor, v: Tensor, j: int) -> Tensor:
    weights = (k @ q * len(q) ** -0.5).softmax(0)
    return weights.index_fill(0, torch.tensor(j), 0.0) @ v


def _key_set_to_zero(q: Tensor, k: Tensor, v: Tensor, j: int) -> Tensor:
    return _attend_one(q, k.index_fill(0, torch.tensor(j), 0.0), v)


def _key_and_value_set_to_zero(q: Tensor, k: Tensor, v: Tensor, j: int) -> Tensor:
    zero = torch.tensor(j)
    return _attend_one(q, k.index_fill(0, zero, 0.0), v.index_fill(0, zero, 0.0))


def _effects_scaled(scale: Any) -> Any:
    """The effects, where the scores are multiplied by `scale(q, k)`."""
    return lambda q, k, v: _effects(_left_out)(q * len(q) ** 0.5 * scale(q, k), k, v)


def _unscaled_effects(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _effects(_left_out)(q * len(q) ** 0.5, k, v)


_EFFECT_LINE = "others = torch.arange(T) != j; attention(q, k[others], v[others])"


_EFFECT_MISTAKES = (
    Mistake(
        "divided by √T",
        _effects_scaled(lambda q, k: len(k) ** -0.5),
        "Your scores are divided by the root of the number of keys.",
        "The root is of the width of a key: Dh = q.size(-1).",
        _EFFECT_LINE,
    ),
    Mistake(
        "divided by Dh",
        _effects_scaled(lambda q, k: 1 / len(q)),
        "Your scores are divided by Dh; the square root is missing.",
        "Scaled dot-product attention divides by √Dh.",
        _EFFECT_LINE,
    ),
    Mistake(
        "the mean square",
        _effects(_left_out, lambda move: move.pow(2).mean().sqrt()),
        "The squares are averaged; in a length they are added up.",
        "The Euclidean norm is the root of the *sum* of squares: `.norm()`.",
        "(all_keys - without).norm()",
    ),
    Mistake(
        "shares of the effects",
        lambda q, k, v: (e := _effects(_left_out)(q, k, v)) / e.sum(),
        "Your effects are divided by their sum; the lengths themselves are asked for.",
        "Leave the last division out.",
        "(all_keys - without).norm()",
    ),
    Mistake(
        "keys stay away",
        _effects(lambda q, k, v, j: _attend_one(q, k[j + 1 :], v[j + 1 :]) if j + 1 < len(k) else 0 * v[0]),
        "The keys that were taken away before stay away: each round leaves out one more.",
        "Each round must begin with all keys. Is a name reassigned, or a tensor changed, inside the loop?",
        _EFFECT_LINE,
    ),
    Mistake(
        "the weights",
        lambda q, k, v: (k @ q * len(q) ** -0.5).softmax(0),
        "These are the attention weights: where the query looked, not what it did.",
        "Take key j and its value away, attend again, and see how far the output moves.",
        _EFFECT_LINE,
    ),
    Mistake(
        "not shared out anew",
        _effects(_weight_set_to_zero),
        "A weight or a value is set to 0, but the others do not share out anew.",
        "Take the key away before the softmax.",
        _EFFECT_LINE,
    ),
    Mistake(
        "the key is set to zero",
        _effects(_key_set_to_zero),
        "A key of zeros, or a score of 0, is still there: e to the power of 0 is 1.",
        "Leave row j of k and of v out, then attend.",
        _EFFECT_LINE,
    ),
    Mistake(
        "key and value are set to zero",
        _effects(_key_and_value_set_to_zero),
        "A key of zeros still gets a share: its score is 0, and e to the power of 0 is 1.",
        "Leave row j of k and of v out, then attend.",
        _EFFECT_LINE,
    ),
    Mistake(
        "the squared length",
        _effects(_left_out, lambda move: move.pow(2).sum()),
        "These are squared lengths; the root is missing.",
        "The Euclidean norm is the root of the sum of squares: `.norm()`.",
        "(all_keys - without).norm()",
    ),
    Mistake(
        "the sum of absolute values",
        _effects(_left_out, lambda move: move.abs().sum()),
        "The differences are added up without their signs; a length squares them.",
        "The Euclidean norm is the root of the sum of squares: `.norm()`.",
        "(all_keys - without).norm()",
    ),
    Mistake(
        "the largest difference",
        _effects(_left_out, lambda move: move.abs().max()),
        "You take the largest difference; the length takes all of them together.",
        "The Euclidean norm is the root of the sum of squares: `.norm()`.",
        "(all_keys - without).norm()",
    ),
    Mistake(
        "the mean difference",
        _effects(_left_out, lambda move: move.abs().mean()),
        "You take the mean difference; the length takes all of them together.",
        "The Euclidean norm is the root of the sum of squares: `.norm()`.",
        "(all_keys - without).norm()",
    ),
    Mistake(
        "no scaling",
        _unscaled_effects,
        "Right, but for the scores, which are not divided by √Dh.",
        "Use your scaled_dot_product_attention, or divide by √Dh here too.",
        "(k @ q / math.sqrt(q.size(-1))).softmax(dim=-1) @ v",
    ),
    Mistake(
        "the difference of lengths",
        lambda q, k, v: torch.stack(
            [(_attend_one(q, k, v).norm() - _left_out(q, k, v, j).norm()).abs() for j in range(len(k))]
        ),
        "You compare two lengths; the length of the difference is asked for.",
        "Subtract the two outputs first, then take the norm.",
        "(all_keys - without).norm()",
    ),
    Mistake(
        "the length of what is left",
        lambda q, k, v: torch.stack([_left_out(q, k, v, j).norm() for j in range(len(k))]),
        "These are the lengths of the outputs without each key, not of the differences.",
        "Subtract the output with all keys first.",
        "(all_keys - without).norm()",
    ),
    Mistake(
        "only this key is left",
        _effects(lambda q, k, v, j: v[j]),
        "You compare with the value of key j alone; key j is the one to leave out.",
        "Which rows does your selection keep?",
        _EFFECT_LINE,
    ),
)


def _never_negative(seen: dict[str, Seen]) -> bool:
    return bool((seen["effect of five keys"]["effects"] >= 0).all())


_EFFECT_PROPERTIES = (
    changes_its_input("effect of five keys"),
    not_finite(lambda seen: seen["effect of five keys"]["effects"], "effects"),
    never_written(lambda seen: seen["effect of five keys"]["effects"], "effects"),
    Property(
        "a negative length",
        _never_negative,
        "A length cannot be negative.",
        "The Euclidean norm is the root of the sum of squares: `.norm()`.",
    ),
    Property(
        "an empty value",
        lambda seen: seen["effect of an empty value"]["effects"][2].item() > 1e-3,
        "A key whose value is zero has an effect: without it, the others share out anew.",
        "Take the key away before the softmax, not only its value.",
    ),
    Property(
        "another measure",
        lambda seen: agrees(seen, _effect_of_five_keys, EFFECT.reference),
        "These are not the lengths asked for.",
        "Do it by hand for two keys: without key 0 the output is v[1]. How far is that from the output with both?",
    ),
)


EFFECT: Exercise = Exercise(
    id="04.effect_of_each_key",
    title="Weights are not effects",
    stub=EFFECT_STUB,
    reference=_effects(_left_out),
    experiments=(
        _effect_of_five_keys,
        _effect_of_two_keys,
        _effect_with_equal_sizes,
        _effect_with_large_scores,
        _effect_with_one_very_large_score,
        _effect_of_an_empty_value,
    ),
    mistakes=_EFFECT_MISTAKES,
    properties=_EFFECT_PROPERTIES,
    difficulty=3,
    importance=3,
    minutes=15,
)
