"""Exercise 04.scaled_dot_product_attention.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib import attention
from course_lib.checks.attention.shared import (
    MIX_LINE,
    SCALE_HINT,
    SCALE_LINE,
    attend,
    keys_first,
    made_by_softmax,
    sums_to_one,
    weights_mistakes,
)
from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_pair, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, differ, left_to_chance, no_gradient

ATTENTION_STUB = '''
def scaled_dot_product_attention(q, k, v):
    """Mix the values, each query by its own weights: softmax(q kᵀ / √Dh) v.

    Args:
        q: queries, (B, Tq, Dh).
        k: keys, (B, Tk, Dh).
        v: values, (B, Tk, Dv).

    Returns:
        output, (B, Tq, Dv), and weights, (B, Tq, Tk). The inputs stay as they were, and gradients
        flow back. Scores may be large: use a softmax that is safe for them.
    """
'''


def _qkv(
    n_batch: int, n_queries: int, n_keys: int, d_head: int, d_value: int, seed: int
) -> tuple[Tensor, ...]:
    return (
        numbers(n_batch, n_queries, d_head, seed=seed),
        numbers(n_batch, n_keys, d_head, seed=seed + 1),
        numbers(n_batch, n_keys, d_value, seed=seed + 2),
    )


def _attend_and_see(candidate: Any, q: Tensor, k: Tensor, v: Tensor) -> Seen:
    output, weights = a_pair(a_function(candidate)(q, k, v))
    return {"output": output, "weights": weights}


def _attention_of_unlike_sizes(candidate: Any) -> Seen:
    q, k, v = _qkv(2, 3, 5, 8, 6, seed=10)
    given = q.clone(), k.clone(), v.clone()
    seen = _attend_and_see(candidate, *given)
    changed = not all(torch.equal(a, b) for a, b in zip(given, (q, k, v), strict=True))
    again = _attend_and_see(candidate, q.clone(), k.clone(), v.clone())
    chance = differ(seen, again)
    return seen | {"input changed": yes(changed), "second call differs": yes(chance)}


def _attention_of_one_sentence(candidate: Any) -> Seen:
    return _attend_and_see(candidate, *_qkv(1, 2, 7, 12, 3, seed=20))


def _attention_of_equal_sizes(candidate: Any) -> Seen:
    return _attend_and_see(candidate, *_qkv(5, 5, 5, 5, 5, seed=30))


def _attention_of_one_query(candidate: Any) -> Seen:
    return _attend_and_see(candidate, *_qkv(2, 1, 3, 5, 1, seed=32))


def _attention_of_one_key(candidate: Any) -> Seen:
    return _attend_and_see(candidate, *_qkv(2, 3, 1, 5, 4, seed=34))


def _attention_with_scores_of_zero(candidate: Any) -> Seen:
    q, k, v = _qkv(2, 3, 5, 8, 6, seed=36)
    k[:, 1] = 0.0
    return _attend_and_see(candidate, q, k, v)


def _attention_with_other_values(candidate: Any) -> Seen:
    q, k, _ = _qkv(2, 3, 5, 8, 6, seed=10)
    return _attend_and_see(candidate, q, k, numbers(2, 5, 6, seed=40, std=2.0))


def _attention_with_large_scores(candidate: Any) -> Seen:
    q, k, v = _qkv(2, 3, 5, 8, 6, seed=50)
    return _attend_and_see(candidate, q * 30, k * 30, v)


def _attention_gradients(candidate: Any) -> Seen:
    leaves, copies = watched(*_qkv(2, 3, 5, 8, 6, seed=60))
    output, weights = a_pair(candidate(*copies))
    found = gradients(output, dict(zip(("q", "k", "v"), leaves, strict=True)))
    through = gradients(weights, {"q through the weights": leaves[0]})
    return found | through


def _then(change: Any) -> Any:
    """Attention whose result is changed by `change(q, k, v, output, weights)` before it is returned."""
    return lambda q, k, v: change(q, k, v, *attend(q, k, v))


def _all_sentences_together(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    output, weights = attend(q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1))
    return output.view(*q.shape[:2], -1), weights


def _wrong_dims_of_keys(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = (q @ k.reshape(k.size(0), k.size(2), k.size(1)) * q.size(-1) ** -0.5).softmax(-1)
    return weights @ v, weights


_ATTENTION_MISTAKES = (
    Mistake(
        "the keys of the first sentence for all",
        lambda q, k, v: attend(q, k[:1].expand_as(k), v[:1].expand_as(v)),
        "Every sentence looks at the keys and values of the first sentence.",
        "Is there an index [0] that should run over the batch?",
        SCALE_LINE,
    ),
    Mistake(
        "every sentence sees every sentence",
        lambda q, k, v: _all_sentences_together(q, k, v),
        "Queries see the keys of other sentences too: the batch is one long sentence.",
        "Are batch and tokens flattened into one axis? Each sentence has its own table of weights.",
        SCALE_LINE,
    ),
    Mistake(
        "queries along the last axis",
        keys_first,
        "The softmax runs over the queries, and the weights you return are (B, Tk, Tq).",
        "Rows are queries: q first, then k transposed.",
        SCALE_LINE,
    ),
    Mistake(
        "the weights are detached",
        _then(lambda q, k, v, o, w: (o, w.detach())),
        "The output is right, but no gradient flows through the weights you return.",
        "A loss on the weights could not be learned. Return them as they are.",
        "return output, weights",
    ),
    *weights_mistakes(lambda **parts: lambda q, k, v: attend(q, k, v, **parts)),
    Mistake(
        "divided by √Tk",
        lambda q, k, v: attend(q, k, v, scale=lambda q, k, v: k.size(1) ** -0.5),
        "Your scores are divided by the root of the number of keys.",
        SCALE_HINT,
        SCALE_LINE,
    ),
    Mistake(
        "divided by √Tq",
        lambda q, k, v: attend(q, k, v, scale=lambda q, k, v: q.size(1) ** -0.5),
        "Your scores are divided by the root of the number of queries.",
        SCALE_HINT,
        SCALE_LINE,
    ),
    Mistake(
        "divided by √Dv",
        lambda q, k, v: attend(q, k, v, scale=lambda q, k, v: v.size(-1) ** -0.5),
        "Your scores are divided by the root of the width of a value.",
        SCALE_HINT,
        SCALE_LINE,
    ),
    Mistake(
        "divided by √B",
        lambda q, k, v: attend(q, k, v, scale=lambda q, k, v: q.size(0) ** -0.5),
        "Your scores are divided by the root of the batch size.",
        SCALE_HINT,
        SCALE_LINE,
    ),
    Mistake(
        "the output is scaled",
        lambda q, k, v: (
            attend(q, k, v, scale=lambda q, k, v: 1.0)[0] / q.size(-1) ** 0.5,
            attend(q, k, v, scale=lambda q, k, v: 1.0)[1],
        ),
        "You divide the output by √Dh; the scores must be divided, before the softmax.",
        "The scaling keeps the softmax soft. What does it change after the softmax?",
        SCALE_LINE,
    ),
    Mistake(
        "scaled twice",
        _then(lambda q, k, v, o, w: (o / q.size(-1) ** 0.5, w)),
        "The scores are scaled, and then the output is divided by √Dh once more.",
        "One division is enough: on the scores.",
        MIX_LINE,
    ),
    Mistake(
        "cosine, then scaled",
        lambda q, k, v: attend(
            q, k, v, scores=lambda a, b: F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).mT
        ),
        "Your scores are cosines: the lengths of q and k are divided away.",
        "Scaled dot-product attention keeps the lengths, and divides by √Dh only.",
        SCALE_LINE,
    ),
    Mistake(
        "distance in place of the dot product",
        lambda q, k, v: attend(q, k, v, scale=lambda q, k, v: -1.0, scores=torch.cdist),
        "Your scores are distances; attention compares by dot products.",
        "Each score is one query times one key, number by number, and summed.",
        SCALE_LINE,
    ),
    Mistake(
        "the values are used as keys",
        lambda q, k, v: attend(q, v, v),
        "The scores are made of q and v; the values take no part in the scores.",
        "V is what is carried. Which two of the three are compared?",
        SCALE_LINE,
    ),
    Mistake(
        "keys and values exchanged",
        lambda q, k, v: attend(q, v, k),
        "Keys and values are exchanged: queries meet v, and k is mixed.",
        "Queries are compared with keys; values are mixed.",
        MIX_LINE,
    ),
    Mistake(
        "the keys are mixed",
        lambda q, k, v: attend(q, k, k),
        "The keys are mixed, and the values are never used.",
        "The weights are right. What should they be applied to?",
        MIX_LINE,
    ),
    Mistake(
        "the queries are mixed",
        _then(lambda q, k, v, o, w: (w @ q, w)),
        "The queries are mixed where the values should be.",
        "The weights are right. What should they be applied to?",
        MIX_LINE,
    ),
    Mistake(
        "queries and keys exchanged",
        lambda q, k, v: attend(k, q, v),
        "Queries and keys are exchanged: each row belongs to a key.",
        "Rows of the score matrix are queries. Which of the two stands first in the product?",
        SCALE_LINE,
    ),
    Mistake(
        "keys not transposed",
        lambda q, k, v: attend(q, k, v, scores=lambda a, b: a @ b),
        "The keys are not transposed: q @ k mixes features of different keys.",
        "A score is one query times one key. Which two axes of k must change places?",
        SCALE_LINE,
    ),
    Mistake(
        "product number by number",
        lambda q, k, v: attend(q, k, v, scores=lambda a, b: a * b),
        "`*` multiplies number by number; scores are dot products of rows.",
        "Which operator multiplies matrices?",
        SCALE_LINE,
    ),
    Mistake(
        "keys reshaped in place of transposed",
        _wrong_dims_of_keys,
        "The keys are reshaped where they should be transposed: numbers change owners.",
        "view and reshape keep the numbers in reading order; transpose moves each to its new place.",
        "k.transpose(-2, -1)",
    ),
    Mistake(
        "weights transposed",
        _then(lambda q, k, v, o, w: (w.mT @ v, w)),
        "The weights are transposed before they mix the values.",
        "Row i of the weights belongs to query i, and so does row i of the output.",
        MIX_LINE,
    ),
    Mistake(
        "transposed weights returned",
        _then(lambda q, k, v, o, w: (o, w.mT)),
        "The weights you return are transposed; their rows should be queries.",
        "weights must be (B, Tq, Tk).",
        "return output, weights",
    ),
    Mistake(
        "values inside the softmax",
        lambda q, k, v: ((q @ k.mT * q.size(-1) ** -0.5 @ v).softmax(-1), attend(q, k, v)[1]),
        "The softmax is taken of the output; it belongs between scores and values.",
        "Scores, softmax, values: in which order do they stand in the formula?",
        "output = scores.softmax(dim=-1) @ v",
    ),
    Mistake(
        "order of the results",
        _then(lambda q, k, v, o, w: (w, o)),
        "You return (weights, output); the exercise asks for (output, weights).",
        "Only the order of the two is wrong.",
        "return output, weights",
    ),
    Mistake(
        "scores returned",
        _then(lambda q, k, v, o, w: (o, q @ k.mT * q.size(-1) ** -0.5)),
        "The output is right, but you return the scores in place of the weights.",
        "The weights are what comes out of the softmax.",
        "return output, weights",
    ),
    Mistake(
        "raw scores returned",
        _then(lambda q, k, v, o, w: (o, q @ k.mT)),
        "The output is right, but you return the raw scores in place of the weights.",
        "The weights are what comes out of the softmax.",
        "return output, weights",
    ),
    Mistake(
        "the query is added",
        _then(lambda q, k, v, o, w: (o + q, w)),
        "The query is added to the output; that residual connection comes in lesson 06.",
        "The output of attention is a mix of values, and of nothing else.",
        MIX_LINE,
    ),
    Mistake(
        "no gradient",
        lambda q, k, v: attend(q.detach(), k.detach(), v.detach()),
        "The numbers are right, but no gradient flows back through your function.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        "use torch operations on q, k, v themselves",
    ),
    Mistake(
        "one batch for all",
        lambda q, k, v: attend(q[:1].expand_as(q), k[:1].expand_as(k), v[:1].expand_as(v)),
        "Every sentence gets the result of the first one.",
        "Is there an index [0] that should run over the batch?",
        SCALE_LINE,
    ),
)


def _raw_scores() -> Tensor:
    q, k, _ = _qkv(2, 3, 5, 8, 6, seed=10)
    return q @ k.mT


def _is_mix(seen: dict[str, Seen]) -> bool:
    values = _qkv(2, 3, 5, 8, 6, seed=10)[2].double()
    shown = seen["attention of unlike sizes"]
    return torch.allclose(shown["output"], shown["weights"] @ values, atol=1e-3)


def _right_weights(seen: dict[str, Seen]) -> bool:
    expected = (_raw_scores() / math.sqrt(8)).softmax(-1).double()  # Dh = 8
    return torch.allclose(seen["attention of unlike sizes"]["weights"], expected, atol=1e-3)


def _right_when_large(seen: dict[str, Seen]) -> bool:
    q, k, _ = _qkv(2, 3, 5, 8, 6, seed=50)
    expected = (q * 30 @ (k * 30).mT / math.sqrt(8)).softmax(-1).double()
    return torch.allclose(seen["attention with large scores"]["weights"], expected, atol=1e-3)


_ATTENTION_PROPERTIES = (
    changes_its_input("attention of unlike sizes"),
    left_to_chance("attention of unlike sizes"),
    Property(
        "the values change the weights",
        lambda seen: torch.allclose(
            seen["attention of unlike sizes"]["weights"],
            seen["attention with other values"]["weights"],
            atol=1e-3,
            equal_nan=True,
        ),
        "Your weights change when only the values change.",
        "Queries and keys make the weights. Where does v come into them?",
    ),
    *sums_to_one(lambda seen: seen["attention of unlike sizes"]["weights"]),
    *made_by_softmax(lambda seen: seen["attention of unlike sizes"]["weights"], _raw_scores, 8**-0.5),
    Property(
        "overflow",
        lambda seen: (
            not (_right_weights(seen) and _is_mix(seen))
            or bool(seen["attention with large scores"]["weights"].isfinite().all())
        ),
        "Right for small scores; large ones give NaN.",
        "Take each row's own maximum away before the exponential, as in the exercise on the softmax.",
    ),
    Property(
        "scores of zero",
        lambda seen: (
            not (_right_weights(seen) and _is_mix(seen))
            or agrees(seen, _attention_with_scores_of_zero, ATTENTION.reference)
        ),
        "Right, but not where a score is exactly 0.",
        "A score of 0 is a score like any other: is it taken for padding, or for false?",
    ),
    Property(
        "the weights are right, the output is not",
        lambda seen: not (_right_weights(seen) and not _is_mix(seen)),
        "Your weights are right, but the output is not weights @ v.",
        "Something is added, scaled, exchanged or left out after the softmax.",
    ),
    Property(
        "the output is right, the weights are not",
        lambda seen: (
            _right_weights(seen)
            or not torch.allclose(
                seen["attention of unlike sizes"]["output"],
                (_raw_scores() / math.sqrt(8)).softmax(-1).double()
                @ _qkv(2, 3, 5, 8, 6, seed=10)[2].double(),
                atol=1e-3,
            )
        ),
        "The output is right, but these are not the weights it was mixed by.",
        "Return the softmax of the scaled scores, unchanged.",
    ),
    Property(
        "large scores",
        lambda seen: not (_right_weights(seen) and _is_mix(seen)) or _right_when_large(seen),
        "Right for small scores, wrong for large ones.",
        "A limit, a rounding or an added number after the softmax shows only when one weight is nearly 1.",
    ),
    no_gradient("attention gradients", "some of q, k and v"),
    Property(
        "another score",
        lambda seen: _right_weights(seen) or not _is_mix(seen),
        "The output is weights @ v, as it should be; but the weights come from other scores.",
        "A score is the dot product of one query and one key, divided by √Dh; then the softmax, over the keys.",
    ),
)


ATTENTION: Exercise = Exercise(
    id="04.scaled_dot_product_attention",
    title="Scaled dot-product attention",
    stub=ATTENTION_STUB,
    reference=attention.scaled_dot_product_attention,
    experiments=(
        _attention_of_unlike_sizes,
        _attention_of_one_sentence,
        _attention_of_equal_sizes,
        _attention_of_one_query,
        _attention_of_one_key,
        _attention_with_scores_of_zero,
        _attention_with_other_values,
        _attention_with_large_scores,
        _attention_gradients,
    ),
    mistakes=_ATTENTION_MISTAKES,
    properties=_ATTENTION_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=15,
)
