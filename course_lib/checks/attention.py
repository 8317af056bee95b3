"""Lesson 04: what an answer about attention is tried on, and the wrong answers we know.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import attention
from course_lib.checks.engine import Exercise, Mistake, Property, Seen, experiment_name
from course_lib.checks.probe import a_function, a_module, a_pair, a_tensor, gradients, numbers, watched, yes


def _agrees(seen: dict[str, Seen], experiment: Any, reference: Any) -> bool:
    """Say whether what an experiment saw is what it sees of the reference."""
    shown, expected = seen[experiment_name(experiment)], experiment(reference)
    return all(torch.allclose(shown[name], wanted.double(), atol=1e-3) for name, wanted in expected.items())


# ── 04.softmax ────────────────────────────────────────────────────────────────────────────────────────

SOFTMAX_STUB = '''
def softmax(scores):
    """Turn each row of scores into weights: positive numbers that sum to 1 over the last axis.

    Args:
        scores: (…, n), any number of axes; values may be as large as 1000 or as low as -1000.

    Returns:
        Weights, the same shape. The scores themselves stay as they were, and gradients flow back to them.
    """
'''


def _softmax_a_table(candidate: Any) -> Seen:
    scores = numbers(3, 5, seed=1)
    given = scores.clone()
    weights = a_tensor(a_function(candidate)(given))
    return {"weights": weights, "input changed": yes(not torch.equal(given, scores))}


def _softmax_a_square(candidate: Any) -> Seen:
    return {"weights": a_tensor(candidate(numbers(4, 4, seed=2, std=2.0)))}


def _softmax_a_batch(candidate: Any) -> Seen:
    return {"weights": a_tensor(candidate(numbers(2, 3, 4, 5, seed=3)))}


def _softmax_one_row(candidate: Any) -> Seen:
    return {"weights": a_tensor(candidate(numbers(6, seed=4)))}


def _softmax_large_scores(candidate: Any) -> Seen:
    rows = [[1000.0, 1001.0, 998.0], [-1000.0, -1002.0, -999.0], [900.0, -900.0, 901.0]]
    return {"weights": a_tensor(candidate(torch.tensor(rows)))}


def _softmax_gradients(candidate: Any) -> Seen:
    (leaf,), (scores,) = watched(numbers(3, 5, seed=5))
    return gradients(a_tensor(candidate(scores)), {"scores": leaf})


def _in_place_softmax(scores: Tensor) -> Tensor:
    scores -= scores.amax(-1, keepdim=True)
    return scores.softmax(-1)


_OVERFLOW = (
    "Large scores overflow: exp(1000) is infinite, and infinity / infinity is NaN.",
    "Which number can you take away from every score of a row without changing the row's softmax?",
    "scores - scores.max(dim=-1, keepdim=True).values",
)
_SOFTMAX_MISTAKES = (
    Mistake(
        "over the queries",
        lambda s: s.softmax(-2),
        "Your columns sum to 1; each row should.",
        "Each row belongs to one query. Over which axis must its weights sum to 1?",
        "torch.exp(scores) / torch.exp(scores).sum(dim=-1, keepdim=True)",
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
        "You take away one maximum for the whole tensor; a low row then divides 0 by 0.",
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
    Property(
        "rows do not sum to 1",
        lambda seen: _ones(seen["softmax a table"]["weights"].sum(-1)),
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
        "overflow",
        lambda seen: bool(seen["softmax large scores"]["weights"].isfinite().all()),
        *_OVERFLOW[:2],
    ),
    Property(
        "the order is lost",
        lambda seen: torch.equal(
            seen["softmax a table"]["weights"].argsort(-1), numbers(3, 5, seed=1).double().argsort(-1)
        ),
        "A larger score should get a larger weight; yours are in another order.",
        "Compare one row of scores with your row of weights, number by number.",
    ),
    Property(
        "another temperature",
        lambda seen: not _other_scale(seen["softmax a table"]["weights"], numbers(3, 5, seed=1), 1.0),
        "Your rows are a softmax, but of the scores times some other number.",
        "Is there a scale, a temperature or another base than e in your exponential?",
    ),
    Property(
        "changes the scores",
        lambda seen: seen["softmax a table"]["input changed"].item() == 0,
        "Your function changes the scores it was given.",
        "`-=`, and every method that ends in `_`, overwrite the caller's tensor. Make a new one.",
    ),
    Property(
        "no gradient",
        lambda seen: seen["softmax gradients"]["gradient to scores"].abs().max().item() > 0,
        "No gradient flows back to the scores.",
        "`.detach()`, `.item()`, `.data`, `.tolist()` and NumPy cut the gradient. Stay with tensor operations.",
    ),
)


def _ones(sums: Tensor) -> bool:
    return bool(((sums - 1).abs() < 1e-3).all())


def _other_scale(weights: Tensor, scores: Tensor, scale: float) -> bool:
    """Say whether the rows are a softmax of the scores times another number than `scale`."""
    if not (weights > 1e-12).all() or not _ones(weights.sum(-1)):
        return False
    logs, raw = weights.log(), scores.double()
    logs, raw = logs - logs.mean(-1, keepdim=True), raw - raw.mean(-1, keepdim=True)
    slope = (logs * raw).sum() / (raw * raw).sum()
    fits = (logs - slope * raw).abs().max() < 1e-3 * logs.abs().max()
    return bool(fits) and abs(slope.item() / scale - 1) > 1e-3


SOFTMAX = Exercise(
    id="04.softmax",
    title="Softmax, safe for large scores",
    stub=SOFTMAX_STUB,
    reference=lambda scores: scores.softmax(dim=-1),
    experiments=(
        _softmax_a_table,
        _softmax_a_square,
        _softmax_a_batch,
        _softmax_one_row,
        _softmax_large_scores,
        _softmax_gradients,
    ),
    mistakes=_SOFTMAX_MISTAKES,
    properties=_SOFTMAX_PROPERTIES,
    difficulty=1,
    importance=4,
    minutes=10,
)

# ── 04.scaled_dot_product_attention ───────────────────────────────────────────────────────────────────

ATTENTION_STUB = '''
def scaled_dot_product_attention(q, k, v):
    """Mix the values, each query by its own weights: softmax(q kᵀ / √Dh) v.

    Args:
        q: queries, (B, Tq, Dh).
        k: keys, (B, Tk, Dh).
        v: values, (B, Tk, Dv).

    Returns:
        output, (B, Tq, Dv), and weights, (B, Tq, Tk). The inputs stay as they were, and gradients flow back.
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
    q, k, v = _qkv(2, 3, 5, 4, 6, seed=10)
    given = q.clone(), k.clone(), v.clone()
    seen = _attend_and_see(candidate, *given)
    changed = not all(torch.equal(a, b) for a, b in zip(given, (q, k, v), strict=True))
    again = _attend_and_see(candidate, q.clone(), k.clone(), v.clone())
    chance = not torch.allclose(seen["weights"], again["weights"], equal_nan=True)
    return seen | {"input changed": yes(changed), "second call differs": yes(chance)}


def _attention_of_one_sentence(candidate: Any) -> Seen:
    return _attend_and_see(candidate, *_qkv(1, 2, 7, 9, 3, seed=20))


def _attention_of_equal_sizes(candidate: Any) -> Seen:
    return _attend_and_see(candidate, *_qkv(4, 4, 4, 4, 4, seed=30))


def _attention_with_other_values(candidate: Any) -> Seen:
    q, k, _ = _qkv(2, 3, 5, 4, 6, seed=10)
    return _attend_and_see(candidate, q, k, numbers(2, 5, 6, seed=40, std=2.0))


def _attention_with_large_scores(candidate: Any) -> Seen:
    q, k, v = _qkv(2, 3, 5, 4, 6, seed=50)
    return _attend_and_see(candidate, q * 30, k * 30, v)


def _attention_gradients(candidate: Any) -> Seen:
    leaves, copies = watched(*_qkv(2, 3, 5, 4, 6, seed=60))
    output, _ = a_pair(candidate(*copies))
    return gradients(output, dict(zip(("q", "k", "v"), leaves, strict=True)))


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    scale: float | None = None,
    over: int = -1,
    weigh: Any = None,
    scores: Any = None,
) -> tuple[Tensor, Tensor]:
    """Attention with one part exchanged: the mistakes below say which."""
    scores = q @ k.transpose(-2, -1) if scores is None else scores(q, k)
    scores = scores * (q.size(-1) ** -0.5 if scale is None else scale)
    weights = scores.softmax(over) if weigh is None else weigh(scores)
    return weights @ v, weights


def _naive(scores: Tensor) -> Tensor:
    return scores.exp() / scores.exp().sum(-1, keepdim=True)


def _then(change: Any) -> Any:
    """Attention whose result is changed by `change(q, k, v, output, weights)` before it is returned."""
    return lambda q, k, v: change(q, k, v, *_attend(q, k, v))


def _wrong_dims_of_keys(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = (q @ k.reshape(k.size(0), k.size(2), k.size(1)) * q.size(-1) ** -0.5).softmax(-1)
    return weights @ v, weights


_SCALE_HINT = "Does the constant under the root name the width of one key, Dh = q.size(-1)?"
_SCALE_LINE = "scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5"
_MIX_LINE = "output = weights @ v"
_SOFTMAX_LINE = "weights = scores.softmax(dim=-1)"
_ATTENTION_MISTAKES = (
    Mistake(
        "no scaling",
        lambda q, k, v: _attend(q, k, v, scale=1.0),
        "Your scores are not divided by √Dh.",
        "Section 4 of the lesson measured what happens to the softmax without it. Which size is Dh?",
        _SCALE_LINE,
    ),
    Mistake(
        "divided by Dh",
        lambda q, k, v: _attend(q, k, v, scale=1 / q.size(-1)),
        "Your scores are divided by Dh; the square root is missing.",
        "The spread of the dot products grows like √Dh. Or are q and k both divided by √Dh?",
        _SCALE_LINE,
    ),
    Mistake(
        "multiplied by √Dh",
        lambda q, k, v: _attend(q, k, v, scale=q.size(-1) ** 0.5),
        "Your scores are multiplied by √Dh; they should be divided.",
        "A power of -0.5 divides, a power of 0.5 multiplies.",
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √Tk",
        lambda q, k, v: _attend(q, k, v, scale=k.size(1) ** -0.5),
        "Your scores are divided by the root of the number of keys.",
        _SCALE_HINT,
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √Tq",
        lambda q, k, v: _attend(q, k, v, scale=q.size(1) ** -0.5),
        "Your scores are divided by the root of the number of queries.",
        _SCALE_HINT,
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √Dv",
        lambda q, k, v: _attend(q, k, v, scale=v.size(-1) ** -0.5),
        "Your scores are divided by the root of the width of a value.",
        _SCALE_HINT,
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √B",
        lambda q, k, v: _attend(q, k, v, scale=q.size(0) ** -0.5),
        "Your scores are divided by the root of the batch size.",
        _SCALE_HINT,
        _SCALE_LINE,
    ),
    Mistake(
        "scaled after the softmax",
        lambda q, k, v: ((w := _attend(q, k, v, scale=1.0)[1] / q.size(-1) ** 0.5) @ v, w),
        "You divide by √Dh after the softmax; the scores must be divided before it.",
        "Do your weights still sum to 1?",
        _SCALE_LINE,
    ),
    Mistake(
        "the output is scaled",
        lambda q, k, v: (_attend(q, k, v, scale=1.0)[0] / q.size(-1) ** 0.5, _attend(q, k, v, scale=1.0)[1]),
        "You divide the output by √Dh; the scores must be divided, before the softmax.",
        "The scaling keeps the softmax soft. What does it change after the softmax?",
        _SCALE_LINE,
    ),
    Mistake(
        "scaled twice",
        _then(lambda q, k, v, o, w: (o / q.size(-1) ** 0.5, w)),
        "The scores are scaled, and then the output is divided by √Dh once more.",
        "One division is enough: on the scores.",
        _MIX_LINE,
    ),
    Mistake(
        "softmax over the queries",
        lambda q, k, v: _attend(q, k, v, over=-2),
        "Your softmax runs over the queries: columns sum to 1, rows do not.",
        "Each query spreads its attention over the keys. Which axis of (B, Tq, Tk) holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax over the batch",
        lambda q, k, v: _attend(q, k, v, over=0),
        "Your softmax runs over the batch: sentences compete with each other.",
        "Which axis of (B, Tq, Tk) holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax over everything",
        lambda q, k, v: _attend(q, k, v, weigh=lambda s: s.flatten().softmax(0).view_as(s)),
        "All your weights together sum to 1; each query's row should.",
        "Each query spreads its attention over the keys. Which axis of (B, Tq, Tk) holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax over each sentence's table",
        lambda q, k, v: _attend(q, k, v, weigh=lambda s: s.flatten(1).softmax(1).view_as(s)),
        "Your softmax runs over queries and keys together; each row alone should sum to 1.",
        "Each query spreads its attention over the keys. Which axis of (B, Tq, Tk) holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "no softmax",
        lambda q, k, v: _attend(q, k, v, weigh=lambda s: s),
        "The scores are used as weights; the softmax is missing.",
        "Weights are positive and sum to 1 in each row. Which function makes scores so?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "no softmax, no scaling",
        lambda q, k, v: _attend(q, k, v, scale=1.0, weigh=lambda s: s),
        "The raw scores are used as weights; scaling and softmax are missing.",
        "Weights are positive and sum to 1 in each row. Which function makes scores so?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax twice",
        lambda q, k, v: _attend(q, k, v, weigh=lambda s: s.softmax(-1).softmax(-1)),
        "The softmax is applied twice, and the weights are nearly equal.",
        "Does a function you call already apply it?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "log-softmax",
        lambda q, k, v: _attend(q, k, v, weigh=lambda s: s.log_softmax(-1)),
        "Your weights are logarithms: log_softmax in place of softmax.",
        "A weight lies between 0 and 1.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "sigmoid",
        lambda q, k, v: _attend(q, k, v, weigh=torch.sigmoid),
        "A sigmoid in place of the softmax: your rows do not sum to 1.",
        "In a softmax the keys of one query compete.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "divided by the sum, no exponential",
        lambda q, k, v: _attend(q, k, v, weigh=lambda s: s / s.sum(-1, keepdim=True)),
        "The scores are divided by their sum; the exponential of the softmax is missing.",
        "A score can be negative, a weight cannot.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "exponentials not divided",
        lambda q, k, v: _attend(q, k, v, weigh=torch.exp),
        "The exponentials of the scores are not divided by their sum.",
        "What makes each row sum to 1?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "overflow",
        lambda q, k, v: _attend(q, k, v, weigh=_naive),
        "Right for small scores; large ones overflow to NaN.",
        "Take each row's maximum away before the exponential, as in the first exercise.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "one winner",
        lambda q, k, v: _attend(q, k, v, weigh=lambda s: F.one_hot(s.argmax(-1), s.size(-1)).to(s) + 0 * s),
        "The best key takes everything; a soft look-up gives every key its share.",
        "argmax picks one key and has no useful gradient.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "the sign is turned",
        lambda q, k, v: _attend(q, k, v, scale=-(q.size(-1) ** -0.5)),
        "The key that fits least gets the largest weight: a sign is turned.",
        "A large dot product should give a large weight.",
        _SCALE_LINE,
    ),
    Mistake(
        "cosine in place of the dot product",
        lambda q, k, v: _attend(
            q, k, v, scale=1.0, scores=lambda a, b: F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).mT
        ),
        "Your scores are cosines: the lengths of q and k are divided away.",
        "Scaled dot-product attention keeps the lengths, and divides by √Dh only.",
        _SCALE_LINE,
    ),
    Mistake(
        "cosine, then scaled",
        lambda q, k, v: _attend(
            q, k, v, scores=lambda a, b: F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).mT
        ),
        "Your scores are cosines: the lengths of q and k are divided away.",
        "Scaled dot-product attention keeps the lengths, and divides by √Dh only.",
        _SCALE_LINE,
    ),
    Mistake(
        "distance in place of the dot product",
        lambda q, k, v: _attend(q, k, v, scale=-1.0, scores=torch.cdist),
        "Your scores are distances; attention compares by dot products.",
        "Each score is one query times one key, number by number, and summed.",
        _SCALE_LINE,
    ),
    Mistake(
        "the values are used as keys",
        lambda q, k, v: _attend(q, v, v),
        "The scores are made of q and v; the values take no part in the scores.",
        "V is what is carried. Which two of the three are compared?",
        _SCALE_LINE,
    ),
    Mistake(
        "keys and values exchanged",
        lambda q, k, v: _attend(q, v, k),
        "Keys and values are exchanged: queries meet v, and k is mixed.",
        "Queries are compared with keys; values are mixed.",
        _MIX_LINE,
    ),
    Mistake(
        "the keys are mixed",
        lambda q, k, v: _attend(q, k, k),
        "The keys are mixed, and the values are never used.",
        "The weights are right. What should they be applied to?",
        _MIX_LINE,
    ),
    Mistake(
        "the queries are mixed",
        _then(lambda q, k, v, o, w: (w @ q, w)),
        "The queries are mixed where the values should be.",
        "The weights are right. What should they be applied to?",
        _MIX_LINE,
    ),
    Mistake(
        "queries and keys exchanged",
        lambda q, k, v: _attend(k, q, v),
        "Queries and keys are exchanged: each row belongs to a key.",
        "Rows of the score matrix are queries. Which of the two stands first in the product?",
        _SCALE_LINE,
    ),
    Mistake(
        "keys not transposed",
        lambda q, k, v: _attend(q, k, v, scores=lambda a, b: a @ b),
        "The keys are not transposed: q @ k mixes features of different keys.",
        "A score is one query times one key. Which two axes of k must change places?",
        _SCALE_LINE,
    ),
    Mistake(
        "product number by number",
        lambda q, k, v: _attend(q, k, v, scores=lambda a, b: a * b),
        "`*` multiplies number by number; scores are dot products of rows.",
        "Which operator multiplies matrices?",
        _SCALE_LINE,
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
        _MIX_LINE,
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
        lambda q, k, v: ((q @ k.mT * q.size(-1) ** -0.5 @ v).softmax(-1), _attend(q, k, v)[1]),
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
        "the future is hidden",
        lambda q, k, v: _attend(
            q,
            k,
            v,
            weigh=lambda s: s.masked_fill(~torch.ones_like(s, dtype=torch.bool).tril(), -math.inf).softmax(
                -1
            ),
        ),
        "A causal mask hides later keys; here every query may see every key.",
        "Masks come in lesson 05. Take this one out.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "its own token is hidden",
        lambda q, k, v: _attend(
            q,
            k,
            v,
            weigh=lambda s: s.masked_fill(torch.eye(*s.shape[-2:], dtype=torch.bool), -math.inf).softmax(-1),
        ),
        "The diagonal is hidden; here every query may see every key, its own too.",
        "Masks come in lesson 05. Take this one out.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "the query is added",
        _then(lambda q, k, v, o, w: (o + q, w)),
        "The query is added to the output; that residual connection comes in lesson 06.",
        "The output of attention is a mix of values, and of nothing else.",
        _MIX_LINE,
    ),
    Mistake(
        "equal weights",
        lambda q, k, v: _attend(q, k, v, scale=0.0),
        "All weights are equal: your scores have no influence.",
        "Do the scores really reach the softmax?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "no gradient to the weights",
        lambda q, k, v: ((w := _attend(q, k, v)[1].detach()) @ v, w),
        "The numbers are right, but no gradient reaches q and k.",
        "`.detach()`, `.data`, `.item()` and torch.no_grad() cut the gradient.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "no gradient",
        lambda q, k, v: _attend(q.detach(), k.detach(), v.detach()),
        "The numbers are right, but no gradient flows back through your function.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        "use torch operations on q, k, v themselves",
    ),
    Mistake(
        "one batch for all",
        lambda q, k, v: _attend(q[:1].expand_as(q), k[:1].expand_as(k), v[:1].expand_as(v)),
        "Every sentence gets the result of the first one.",
        "Is there an index [0] that should run over the batch?",
        _SCALE_LINE,
    ),
)


def _raw_scores() -> Tensor:
    q, k, _ = _qkv(2, 3, 5, 4, 6, seed=10)
    return q @ k.mT


def _is_mix(seen: dict[str, Seen]) -> bool:
    values = _qkv(2, 3, 5, 4, 6, seed=10)[2].double()
    shown = seen["attention of unlike sizes"]
    return torch.allclose(shown["output"], shown["weights"] @ values, atol=1e-3)


def _right_weights(seen: dict[str, Seen]) -> bool:
    expected = (_raw_scores() / 2).softmax(-1).double()  # Dh = 4, so √Dh = 2
    return torch.allclose(seen["attention of unlike sizes"]["weights"], expected, atol=1e-3)


def _right_when_large(seen: dict[str, Seen]) -> bool:
    q, k, _ = _qkv(2, 3, 5, 4, 6, seed=50)
    expected = (q * 30 @ (k * 30).mT / 2).softmax(-1).double()
    return torch.allclose(seen["attention with large scores"]["weights"], expected, atol=1e-3)


_ATTENTION_PROPERTIES = (
    Property(
        "rows do not sum to 1",
        lambda seen: _ones(seen["attention of unlike sizes"]["weights"].sum(-1)),
        "The rows of your weights do not sum to 1.",
        "Each query spreads its attention over the keys: `weights.sum(-1)` should be all ones.",
    ),
    Property(
        "negative weights",
        lambda seen: bool((seen["attention of unlike sizes"]["weights"] >= 0).all()),
        "Some of your weights are negative.",
        "What comes out of a softmax is positive. What happens to the weights after it?",
    ),
    Property(
        "overflow",
        lambda seen: bool(seen["attention with large scores"]["weights"].isfinite().all()),
        "Large scores overflow in your softmax.",
        "Take each row's maximum away before the exponential, as in the first exercise.",
    ),
    Property(
        "left to chance",
        lambda seen: seen["attention of unlike sizes"]["second call differs"].item() == 0,
        "Two calls with the same input give different weights.",
        "Is there dropout, or a fresh random tensor, inside? This function needs none.",
    ),
    Property(
        "the values change the weights",
        lambda seen: torch.allclose(
            seen["attention of unlike sizes"]["weights"],
            seen["attention with other values"]["weights"],
            atol=1e-3,
        ),
        "Your weights change when only the values change.",
        "Queries and keys make the weights. Where does v come into them?",
    ),
    Property(
        "another scale",
        lambda seen: not _other_scale(seen["attention of unlike sizes"]["weights"], _raw_scores(), 0.5),
        "Your weights are a softmax of the right scores, times the wrong constant.",
        _SCALE_HINT,
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
                (_raw_scores() / 2).softmax(-1).double() @ _qkv(2, 3, 5, 4, 6, seed=10)[2].double(),
                atol=1e-3,
            )
        ),
        "The output is right, but these are not the weights it was mixed by.",
        "Return the softmax of the scaled scores, unchanged.",
    ),
    Property(
        "changes its input",
        lambda seen: seen["attention of unlike sizes"]["input changed"].item() == 0,
        "Your function changes the tensors it was given.",
        "`/=`, `+=` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
    ),
    Property(
        "large scores",
        lambda seen: not (_right_weights(seen) and _is_mix(seen)) or _right_when_large(seen),
        "Right for small scores, wrong for large ones.",
        "A limit, a rounding or an added number after the softmax shows only when one weight is nearly 1.",
    ),
    Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen["attention gradients"].values()),
        "The gradient does not reach all of q, k and v.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and torch.no_grad() cut the gradient.",
    ),
    Property(
        "another score",
        lambda seen: _right_weights(seen) or not _is_mix(seen),
        "The output is weights @ v, as it should be; but the weights come from other scores.",
        "A score is the dot product of one query and one key, divided by √Dh; then the softmax, over the keys.",
    ),
)

ATTENTION = Exercise(
    id="04.scaled_dot_product_attention",
    title="Scaled dot-product attention",
    stub=ATTENTION_STUB,
    reference=attention.scaled_dot_product_attention,
    experiments=(
        _attention_of_unlike_sizes,
        _attention_of_one_sentence,
        _attention_of_equal_sizes,
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

# ── 04.split_heads ────────────────────────────────────────────────────────────────────────────────────

SPLIT_STUB = '''
def split_heads(x, n_heads):
    """Cut every token's vector into n_heads pieces: head h takes numbers h·Dh up to (h + 1)·Dh.

    Args:
        x: (B, T, D).
        n_heads: H, a divisor of D; Dh = D / H.

    Returns:
        (B, H, T, Dh).
    """
'''


def _counted(*shape: int) -> Tensor:
    """Return 1, 2, 3, … in this shape, so that every number says where it came from."""
    return torch.arange(1.0, math.prod(shape) + 1).view(*shape)


def _split(candidate: Any, x: Tensor, n_heads: int) -> Seen:
    return {"heads": a_tensor(a_function(candidate)(x, n_heads))}


def _split_in_three(candidate: Any) -> Seen:
    return _split(candidate, _counted(2, 5, 12), 3)


def _split_one_sentence(candidate: Any) -> Seen:
    return _split(candidate, _counted(1, 7, 6), 2)


def _split_as_many_heads_as_tokens(candidate: Any) -> Seen:
    return _split(candidate, _counted(2, 3, 12), 3)


def _split_into_square_heads(candidate: Any) -> Seen:
    return _split(candidate, _counted(4, 4, 16), 4)


def _split_into_one_head(candidate: Any) -> Seen:
    return _split(candidate, _counted(2, 3, 4), 1)


def _split_gradients(candidate: Any) -> Seen:
    (leaf,), (x,) = watched(numbers(2, 5, 12, seed=70))
    return gradients(a_tensor(candidate(x, 3)), {"x": leaf})


def _cut(x: Tensor, n_heads: int) -> Tensor:
    return x.view(x.size(0), x.size(1), n_heads, x.size(2) // n_heads)  # (B, T, H, Dh)


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
        _cut,
        "The result is (B, T, H, Dh); T and H still have to change places.",
        "Attention runs over the last two axes: they must be (T, Dh).",
        _SPLIT_LINE,
    ),
    Mistake(
        "heads folded into the batch",
        lambda x, n: _cut(x, n).transpose(1, 2).flatten(0, 1),
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
        lambda x, n: _cut(x, n).permute(2, 0, 1, 3),
        "The heads stand before the batch: (H, B, T, Dh).",
        "The exercise asks for (B, H, T, Dh).",
        _SPLIT_LINE,
    ),
    Mistake(
        "tokens last",
        lambda x, n: _cut(x, n).permute(0, 2, 3, 1),
        "The last two axes are exchanged: (B, H, Dh, T).",
        "Only T and H should change places.",
        _SPLIT_LINE,
    ),
    Mistake(
        "the wrong axes change places",
        lambda x, n: _cut(x, n).transpose(2, 3),
        "The wrong two axes change places: H and Dh, not T and H.",
        "After the cut the axes are 0: B, 1: T, 2: H, 3: Dh. Which two must be exchanged?",
        _SPLIT_LINE,
    ),
    Mistake(
        "T and Dh change places",
        lambda x, n: _cut(x, n).transpose(1, 3),
        "The wrong two axes change places: T and Dh, not T and H.",
        "After the cut the axes are 0: B, 1: T, 2: H, 3: Dh. Which two must be exchanged?",
        _SPLIT_LINE,
    ),
    Mistake(
        "batch and heads change places",
        lambda x, n: _cut(x, n).transpose(0, 2),
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
        lambda x, n: _cut(x, n).transpose(1, 2).flip(1),
        "The heads are in reverse order.",
        "Head 0 takes the first Dh numbers.",
        _SPLIT_LINE,
    ),
    Mistake(
        "transposed back by a reshape",
        lambda x, n: _cut(x, n).transpose(1, 2).reshape(x.size(0), x.size(1), n, -1),
        "After the right transpose, a reshape mixes the tokens again.",
        "Stop after the transpose.",
        _SPLIT_LINE,
    ),
    Mistake(
        "the result is thrown away",
        lambda x, n: (x.view(x.size(0), x.size(1), n, -1), x)[1],
        "You return x as it came; the result of a view or transpose is not kept.",
        "`x.view(…)` does not change x: it gives a new tensor. Keep it: x = x.view(…).",
        _SPLIT_LINE,
    ),
    Mistake(
        "no gradient",
        lambda x, n: _cut(x.detach(), n).transpose(1, 2),
        "The numbers are right, but no gradient flows back to x.",
        "`.detach()`, `.data`, `torch.tensor(…)` and NumPy cut the gradient.",
        _SPLIT_LINE,
    ),
)


def _each_number_once(heads: Tensor, original: Tensor) -> bool:
    return torch.equal(heads.flatten().sort().values, original.double().flatten())


def _tokens_kept_apart(heads: Tensor) -> bool:
    """Say whether head rows (2, 3, 5, 4) of the counted (2, 5, 12) hold numbers of their own token."""
    token = torch.arange(10.0, dtype=heads.dtype).view(2, 1, 5, 1)
    return bool((((heads - 1) / 12).floor() == token).all())


_SPLIT_PROPERTIES = (
    Property(
        "numbers lost",
        lambda seen: _each_number_once(seen["split in three"]["heads"], _counted(2, 5, 12)),
        "Some numbers are lost or stand there twice.",
        "Splitting only moves numbers: each of the input stands exactly once in the result.",
    ),
    Property(
        "tokens mixed",
        lambda seen: _tokens_kept_apart(seen["split in three"]["heads"]),
        "The shape is right, but the rows of a head hold numbers of other tokens.",
        "Row t of a head may hold numbers of token t only. Cut the last axis first, then exchange T and H.",
    ),
    Property(
        "other pieces",
        lambda seen: torch.equal(
            seen["split in three"]["heads"], _cut(_counted(2, 5, 12), 3).transpose(1, 2).double()
        ),
        "Each token keeps its numbers, but the heads get other pieces of it than asked.",
        "Head h takes the Dh neighbours that begin at h * Dh.",
    ),
    Property(
        "no gradient",
        lambda seen: seen["split gradients"]["gradient to x"].abs().max().item() > 0,
        "No gradient flows back to x.",
        "`.detach()`, `.data`, `torch.tensor(…)` and NumPy cut the gradient.",
    ),
)

SPLIT = Exercise(
    id="04.split_heads",
    title="Split the heads",
    stub=SPLIT_STUB,
    reference=attention.split_heads,
    experiments=(
        _split_in_three,
        _split_one_sentence,
        _split_as_many_heads_as_tokens,
        _split_into_square_heads,
        _split_into_one_head,
        _split_gradients,
    ),
    mistakes=_SPLIT_MISTAKES,
    properties=_SPLIT_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=10,
)

# ── 04.merge_heads ────────────────────────────────────────────────────────────────────────────────────

MERGE_STUB = '''
def merge_heads(x):
    """Lay the heads of each token side by side again, head 0 first: the inverse of split_heads.

    Args:
        x: (B, H, T, Dh).

    Returns:
        (B, T, D), where D = H · Dh.
    """
'''


def _merge(candidate: Any, *shape: int) -> Seen:
    return {"merged": a_tensor(a_function(candidate)(_counted(*shape)))}


def _merge_three(candidate: Any) -> Seen:
    return _merge(candidate, 2, 3, 5, 4)


def _merge_one_sentence(candidate: Any) -> Seen:
    return _merge(candidate, 1, 2, 7, 3)


def _merge_as_many_heads_as_tokens(candidate: Any) -> Seen:
    return _merge(candidate, 2, 3, 3, 4)


def _merge_square_heads(candidate: Any) -> Seen:
    return _merge(candidate, 4, 4, 4, 4)


def _merge_one_head(candidate: Any) -> Seen:
    return _merge(candidate, 2, 1, 3, 4)


def _merge_split_heads(candidate: Any) -> Seen:
    """Merge what `split_heads` made, which does not lie in reading order in memory."""
    return {"merged": a_tensor(candidate(attention.split_heads(_counted(2, 5, 12), 3)))}


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
        "You return x as it came; the result of a transpose or flatten is not kept.",
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
_MERGE_PROPERTIES = (
    Property(
        "numbers lost",
        lambda seen: _each_number_once(seen["merge three"]["merged"], _counted(2, 3, 5, 4)),
        "Some numbers are lost, changed, or stand there twice.",
        "Merging only moves numbers: each of the input stands exactly once in the result.",
    ),
    Property(
        "tokens mixed",
        lambda seen: torch.equal(
            ((seen["merge three"]["merged"] - 1) % 20 / 4).floor(),
            torch.arange(5.0, dtype=torch.float64).view(1, 5, 1).expand(2, 5, 12),
        ),
        "The shape is right, but each row holds pieces of different tokens.",
        "Row t of the result may hold numbers of token t only. Which axes must change places before the flatten?",
    ),
    Property(
        "another order",
        lambda seen: torch.equal(
            seen["merge three"]["merged"], _counted(2, 3, 5, 4).transpose(1, 2).flatten(2).double()
        ),
        "Each token keeps its numbers, but not side by side, head 0 first.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
    ),
    Property(
        "no gradient",
        lambda seen: seen["merge gradients"]["gradient to x"].abs().max().item() > 0,
        "No gradient flows back to x.",
        "`.detach()`, `.data`, `torch.tensor(…)` and NumPy cut the gradient.",
    ),
)

MERGE = Exercise(
    id="04.merge_heads",
    title="Merge the heads",
    stub=MERGE_STUB,
    reference=attention.merge_heads,
    experiments=(
        _merge_three,
        _merge_one_sentence,
        _merge_as_many_heads_as_tokens,
        _merge_square_heads,
        _merge_one_head,
        _merge_split_heads,
        _merge_gradients,
    ),
    mistakes=_MERGE_MISTAKES,
    properties=_MERGE_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=10,
)

# ── 04.multi_head_attention ───────────────────────────────────────────────────────────────────────────

MULTI_HEAD_STUB = '''
class MultiHeadAttention(nn.Module):
    """Self-attention in n_heads subspaces at once, mixed by W_O at the end.

    Four layers nn.Linear(d_model, d_model), called w_q, w_k, w_v, w_o. Head h reads the h-th piece, Dh wide,
    of the queries, keys and values; scores are divided by √Dh. No mask, no dropout.
    """

    def __init__(self, d_model, n_heads):
        super().__init__()

    def forward(self, x):
        """Map x, (B, T, D), to (B, T, D)."""
'''
_LAYERS = ("w_q", "w_k", "w_v", "w_o")


def _build(candidate: Any, d_model: int, n_heads: int) -> nn.Module:
    return a_module(candidate, _LAYERS, d_model=d_model, n_heads=n_heads).eval()


def _run(module: nn.Module, x: Tensor) -> Tensor:
    return a_tensor(module(x), called="the output alone")


def _fill(layer: nn.Linear, weight: Tensor | float) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weight).expand_as(layer.weight))
        layer.bias.zero_()


def _multi_head_three_heads(candidate: Any) -> Seen:
    module, x = _build(candidate, 12, 3), numbers(2, 5, 12, seed=90)
    given = x.clone()
    output = _run(module, given)
    again = _run(module.train(), x.clone())
    chance = not torch.allclose(output, again, atol=1e-6, equal_nan=True)
    return {
        "output": output,
        "input changed": yes(not torch.equal(given, x)),
        "training differs": yes(chance),
    }


def _multi_head_one_head(candidate: Any) -> Seen:
    return {"output": _run(_build(candidate, 6, 1), numbers(1, 4, 6, seed=91))}


def _multi_head_square(candidate: Any) -> Seen:
    return {"output": _run(_build(candidate, 16, 4), numbers(4, 4, 16, seed=92))}


def _multi_head_one_token(candidate: Any) -> Seen:
    return {"output": _run(_build(candidate, 12, 2), numbers(3, 1, 12, seed=93))}


def _multi_head_equal_weights(candidate: Any) -> Seen:
    """With W_Q = W_K = 0 every weight is equal: what is left is values, merge and W_O."""
    module = _build(candidate, 12, 3)
    _fill(module.w_q, 0.0)  # type: ignore[arg-type]
    _fill(module.w_k, 0.0)  # type: ignore[arg-type]
    return {"output": _run(module, numbers(2, 5, 12, seed=94))}


def _multi_head_no_values(candidate: Any) -> Seen:
    """With W_V = 0 nothing is carried: every output is the bias of W_O."""
    module = _build(candidate, 12, 3)
    _fill(module.w_v, 0.0)  # type: ignore[arg-type]
    return {"output": _run(module, numbers(2, 5, 12, seed=95))}


def _multi_head_gradients(candidate: Any) -> Seen:
    module = _build(candidate, 12, 3)
    (leaf,), (x,) = watched(numbers(2, 5, 12, seed=96))
    weights = {name: getattr(module, name).weight for name in _LAYERS}
    return gradients(_run(module, x), {"x": leaf, **weights})


def _published_split(x: Tensor, n_heads: int) -> Tensor:
    return x.reshape(x.size(0), n_heads, x.size(1), -1)


def _interleaved_split(x: Tensor, n_heads: int) -> Tensor:
    return x.view(x.size(0), x.size(1), -1, n_heads).permute(0, 3, 1, 2)


def _published_merge(x: Tensor) -> Tensor:
    return x.reshape(x.size(0), x.size(2), -1)


class _Heads(nn.Module):
    """Multi-head attention in its definition form; the mistakes below exchange one part of it."""

    split = staticmethod(attention.split_heads)
    merge = staticmethod(attention.merge_heads)
    over = -1
    sources = ("w_q", "w_k", "w_v")

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.d_model, self.n_heads = d_model, n_heads
        self.w_q = nn.Linear(d_model, d_model)
        self.w_k = nn.Linear(d_model, d_model)
        self.w_v = nn.Linear(d_model, d_model)
        self.w_o = nn.Linear(d_model, d_model)

    def scale(self, q: Tensor) -> float:
        return q.size(-1) ** -0.5

    def weigh(self, scores: Tensor) -> Tensor:
        return scores.softmax(self.over)

    def projected(self, x: Tensor) -> list[Tensor]:
        return [type(self).split(getattr(self, name)(x), self.n_heads) for name in self.sources]

    def attended(self, x: Tensor) -> Tensor:
        q, k, v = self.projected(x)
        return self.weigh(q @ k.mT * self.scale(q)) @ v  # (B, H, T, Dh)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_o(type(self).merge(self.attended(x)))


def _heads(**parts: Any) -> type[_Heads]:
    """Return the class with the named parts exchanged."""
    return type("_HeadsWith", (_Heads,), parts)


def _one_wide_head(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)
    return self.w_o((q @ k.mT * self.d_model**-0.5).softmax(-1) @ v)


def _projections_shared(self: Any, x: Tensor) -> list[Tensor]:
    return [attention.split_heads(x, self.n_heads)] * 3


def _w_o_first(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.w_q(x), self.w_k(x), self.w_o(self.w_v(x))
    q, k, v = (attention.split_heads(part, self.n_heads) for part in (q, k, v))
    return attention.merge_heads((q @ k.mT * q.size(-1) ** -0.5).softmax(-1) @ v)


def _over_the_batch(self: Any, x: Tensor) -> Tensor:
    return _Heads.forward(self, x.transpose(0, 1)).transpose(0, 1)


def _heads_attend_to_heads(self: Any, x: Tensor) -> Tensor:
    q, k, v = (_cut(getattr(self, name)(x), self.n_heads) for name in ("w_q", "w_k", "w_v"))  # (B, T, H, Dh)
    return self.w_o(((q @ k.mT * q.size(-1) ** -0.5).softmax(-1) @ v).flatten(2))


def _averaged_weights(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.projected(x)
    return (q @ k.mT * q.size(-1) ** -0.5).softmax(-1).mean(1, keepdim=True) @ v


def _with_residual(self: Any, x: Tensor) -> Tensor:
    return x + _Heads.forward(self, x)


def _with_dropout(self: Any, scores: Tensor) -> Tensor:
    return F.dropout(scores.softmax(-1), 0.1, training=True)


def _causal(self: Any, scores: Tensor) -> Tensor:
    return scores.masked_fill(~torch.ones_like(scores, dtype=torch.bool).tril(), -math.inf).softmax(-1)


def _unscaled_output(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.projected(x)
    return (q @ k.mT).softmax(-1) / q.size(-1) ** 0.5 @ v


def _no_gradient_to_weights(self: Any, scores: Tensor) -> Tensor:
    return scores.softmax(-1).detach()


def _tied(first: str, second: str) -> Any:
    def init(self: Any, d_model: int, n_heads: int) -> None:
        _Heads.__init__(self, d_model, n_heads)
        setattr(self, second, getattr(self, first))

    return init


def _both(**parts: Any) -> type[_Heads]:
    return _heads(split=staticmethod(parts["split"]), merge=staticmethod(parts["merge"]))


_MULTI_HEAD_SCALE = "scores = q @ k.transpose(-2, -1) / d_head ** 0.5, with d_head = d_model // n_heads"
_SPLIT_IN_TWO = "self.w_q(x).view(B, T, H, d_head).transpose(1, 2)"
_MULTI_HEAD_MISTAKES = (
    Mistake(
        "tokens mixed by the split",
        _both(split=_published_split, merge=attention.merge_heads),
        "Your split mixes tokens: `view` without a transpose cuts across them.",
        "Try split_heads alone, in its own exercise. Which axis must be cut before T and H change places?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "tokens mixed by the merge",
        _both(split=attention.split_heads, merge=_published_merge),
        "Your merge mixes tokens: a `reshape` without the transpose cuts across them.",
        "Try merge_heads alone, in its own exercise. T and H must change places before the last axes become one.",
        "heads.transpose(1, 2).flatten(2)",
    ),
    Mistake(
        "tokens mixed by split and merge",
        _both(split=_published_split, merge=_published_merge),
        "Split and merge both lack their transpose: each head sees pieces of mixed tokens.",
        "The two cancel out in shape, not in meaning. Try split_heads alone, in its own exercise.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "heads interleaved",
        _both(split=_interleaved_split, merge=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
        "Head h takes every H-th number; it should take Dh neighbours.",
        "Cut D into (H, Dh), in this order. A model trained from scratch would not mind; loaded weights do.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "interleaved by the split",
        _both(split=_interleaved_split, merge=attention.merge_heads),
        "Your split gives head h every H-th number; it should take Dh neighbours.",
        "Cut D into (H, Dh), in this order.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "interleaved by the merge",
        _both(split=attention.split_heads, merge=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
        "Your merge interleaves the heads; they should lie side by side.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
        "heads.transpose(1, 2).flatten(2)",
    ),
    Mistake(
        "divided by √d_model",
        _heads(scale=lambda self, q: self.d_model**-0.5),
        "Your scores are divided by √d_model; each head's are sums of Dh products only.",
        "Which width does a query have after the split?",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "no scaling",
        _heads(scale=lambda self, q: 1.0),
        "Your scores are not divided by √Dh.",
        "Compare with your scaled_dot_product_attention.",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "divided by Dh",
        _heads(scale=lambda self, q: 1 / q.size(-1)),
        "Your scores are divided by Dh; the square root is missing.",
        "The spread of the dot products grows like √Dh.",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "divided by √H",
        _heads(scale=lambda self, q: self.n_heads**-0.5),
        "Your scores are divided by the root of the number of heads.",
        "The root is of the width of one head, Dh.",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "divided by √T",
        _heads(scale=lambda self, q: q.size(-2) ** -0.5),
        "Your scores are divided by the root of the number of tokens.",
        "The root is of the width of one head, Dh = q.size(-1) after the split.",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "multiplied by √Dh",
        _heads(scale=lambda self, q: q.size(-1) ** 0.5),
        "Your scores are multiplied by √Dh; they should be divided.",
        "A power of -0.5 divides, a power of 0.5 multiplies.",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "scaled after the softmax",
        _heads(attended=_unscaled_output),
        "You divide by √Dh after the softmax; the scores must be divided before it.",
        "Do your weights still sum to 1?",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "softmax over the queries",
        _heads(over=-2),
        "Your softmax runs over the queries: columns sum to 1, rows do not.",
        "Which axis of (B, H, Tq, Tk) holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax over the heads",
        _heads(over=1),
        "Your softmax runs over the heads: they compete with each other.",
        "With four axes, dim=1 is the heads'. Which axis of (B, H, Tq, Tk) holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax over the batch",
        _heads(over=0),
        "Your softmax runs over the batch: sentences compete with each other.",
        "Which axis of (B, H, Tq, Tk) holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "no softmax",
        _heads(weigh=lambda self, scores: scores),
        "The scores are used as weights; the softmax is missing.",
        "Weights are positive and sum to 1 in each row.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax twice",
        _heads(weigh=lambda self, scores: scores.softmax(-1).softmax(-1)),
        "The softmax is applied twice, and the weights are nearly equal.",
        "Does a function you call already apply it?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "the sign is turned",
        _heads(scale=lambda self, q: -(q.size(-1) ** -0.5)),
        "The key that fits least gets the largest weight: a sign is turned.",
        "A large dot product should give a large weight.",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "W_O is missing",
        _heads(forward=lambda self, x: attention.merge_heads(self.attended(x))),
        "The merged heads are returned as they are; W_O does not mix them.",
        "Without W_O no head can use what another found. Which layer is not called?",
        "return self.w_o(merged)",
    ),
    Mistake(
        "W_O before the heads",
        _heads(forward=_w_o_first),
        "W_O stands before attention; it should mix the heads after they are merged.",
        "What each head found must reach W_O together.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "W_O twice",
        _heads(forward=lambda self, x: self.w_o(_Heads.forward(self, x))),
        "W_O is applied twice.",
        "Once, after the merge.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "one wide head",
        _heads(forward=_one_wide_head),
        "There is one head, d_model wide; the split into heads is missing.",
        "Where does n_heads come into your forward?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "the values come from W_K",
        _heads(sources=("w_q", "w_k", "w_k")),
        "The values are made by W_K; W_V is never used.",
        "Three maps, three names: q, k and v each have their own.",
        "v = self.w_v(x)",
    ),
    Mistake(
        "the values come from W_Q",
        _heads(sources=("w_q", "w_k", "w_q")),
        "The values are made by W_Q; W_V is never used.",
        "Three maps, three names: q, k and v each have their own.",
        "v = self.w_v(x)",
    ),
    Mistake(
        "the keys come from W_Q",
        _heads(sources=("w_q", "w_q", "w_v")),
        "The keys are made by W_Q; W_K is never used, and the scores are symmetric.",
        "Three maps, three names: q, k and v each have their own.",
        "k = self.w_k(x)",
    ),
    Mistake(
        "the queries come from W_K",
        _heads(sources=("w_k", "w_k", "w_v")),
        "The queries are made by W_K; W_Q is never used, and the scores are symmetric.",
        "Three maps, three names: q, k and v each have their own.",
        "q = self.w_q(x)",
    ),
    Mistake(
        "queries and keys exchanged",
        _heads(sources=("w_k", "w_q", "w_v")),
        "Queries are made by W_K and keys by W_Q; or the scores are transposed.",
        "Rows of the scores are queries: q @ k.transpose(-2, -1), in this order.",
        "q = self.w_q(x); k = self.w_k(x)",
    ),
    Mistake(
        "keys and values exchanged",
        _heads(sources=("w_q", "w_v", "w_k")),
        "Keys are made by W_V and values by W_K: the two are exchanged.",
        "Queries are compared with keys; values are mixed.",
        "k = self.w_k(x); v = self.w_v(x)",
    ),
    Mistake(
        "queries and values exchanged",
        _heads(sources=("w_v", "w_k", "w_q")),
        "Queries are made by W_V and values by W_Q: the two are exchanged.",
        "Queries are compared with keys; values are mixed.",
        "q = self.w_q(x); v = self.w_v(x)",
    ),
    Mistake(
        "one map for all three",
        _heads(sources=("w_q", "w_q", "w_q")),
        "Queries, keys and values are all made by W_Q.",
        "Three maps, three names: q, k and v each have their own.",
        "q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)",
    ),
    Mistake(
        "one layer under three names",
        _heads(
            __init__=lambda self, d, n: (_tied("w_q", "w_k")(self, d, n), setattr(self, "w_v", self.w_q))[0]
        ),
        "w_q, w_k and w_v are one layer under three names.",
        "`a = b = nn.Linear(…)` makes one layer. Write nn.Linear(…) once for each.",
        "self.w_q = nn.Linear(d_model, d_model), and again for w_k and w_v",
    ),
    Mistake(
        "w_q and w_k are one layer",
        _heads(__init__=_tied("w_q", "w_k")),
        "w_q and w_k are one layer under two names, so the scores are symmetric.",
        "Write nn.Linear(…) once for each.",
        "self.w_k = nn.Linear(d_model, d_model)",
    ),
    Mistake(
        "w_k and w_v are one layer",
        _heads(__init__=_tied("w_k", "w_v")),
        "w_k and w_v are one layer under two names.",
        "Write nn.Linear(…) once for each.",
        "self.w_v = nn.Linear(d_model, d_model)",
    ),
    Mistake(
        "no projections",
        _heads(projected=_projections_shared),
        "x itself is split; W_Q, W_K and W_V are never used.",
        "Queries, keys and values are computed: W_Q x, W_K x, W_V x.",
        "q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)",
    ),
    Mistake(
        "values not projected",
        _heads(
            projected=lambda self, x: [*_Heads.projected(self, x)[:2], attention.split_heads(x, self.n_heads)]
        ),
        "The values are x itself; W_V is never used.",
        "Queries, keys and values are computed: W_Q x, W_K x, W_V x.",
        "v = self.w_v(x)",
    ),
    Mistake(
        "queries and keys not projected",
        _heads(
            projected=lambda self, x: (
                [attention.split_heads(x, self.n_heads)] * 2 + _Heads.projected(self, x)[2:]
            )
        ),
        "Queries and keys are x itself; W_Q and W_K are never used.",
        "Queries, keys and values are computed: W_Q x, W_K x, W_V x.",
        "q, k = self.w_q(x), self.w_k(x)",
    ),
    Mistake(
        "attends over the batch",
        _heads(forward=_over_the_batch),
        "The tokens attend to other sentences: batch and time are exchanged.",
        "Batch first: x is (B, T, D), and attention runs over T.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "heads attend to heads",
        _heads(forward=_heads_attend_to_heads),
        "Within a token the heads attend to each other; tokens never meet.",
        "T and H must change places before the scores, so that the last two axes are (T, Dh).",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "weights averaged over the heads",
        _heads(attended=_averaged_weights),
        "All heads use one average of their weights.",
        "Each head mixes its own values by its own weights.",
        "heads = weights @ v, with both (B, H, …)",
    ),
    Mistake(
        "x is added",
        _heads(forward=_with_residual),
        "x is added to the result; that residual connection comes in lesson 06.",
        "The module returns what attention gathered, and nothing else.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "dropout that never stops",
        _heads(weigh=_with_dropout),
        "Two calls differ, in evaluation too: there is dropout that never stops.",
        "This exercise has no dropout. (F.dropout drops unless it is told `training=False`.)",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "the future is hidden",
        _heads(weigh=_causal),
        "A causal mask hides later tokens; here every token may see every token.",
        "Masks come in lesson 05. Take this one out.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "no gradient to the weights",
        _heads(weigh=_no_gradient_to_weights),
        "The numbers are right, but no gradient reaches W_Q and W_K.",
        "`.detach()`, `.data` and torch.no_grad() cut the gradient.",
        _SOFTMAX_LINE,
    ),
)


def _rows_equal(output: Tensor) -> bool:
    return torch.allclose(output, output[:, :1].expand_as(output), atol=1e-4)


_MULTI_HEAD_PROPERTIES = (
    Property(
        "left to chance",
        lambda seen: seen["multi head three heads"]["training differs"].item() == 0,
        "Two calls with the same input give different results.",
        "Is there dropout, or something random, in forward? This exercise has none.",
    ),
    Property(
        "something besides the values comes through",
        lambda seen: _rows_equal(seen["multi head no values"]["output"]),
        "With W_V set to 0 your output still depends on x.",
        "Everything attention carries comes through W_V. Is x, q or k added or mixed in somewhere?",
    ),
    Property(
        "another end",
        lambda seen: _agrees(seen, _multi_head_no_values, _Heads),
        "With W_V set to 0 the output should be the bias of W_O, and is not.",
        "What happens after the heads are merged? W_O, once, and nothing else.",
    ),
    Property(
        "tokens mixed",
        lambda seen: _rows_equal(seen["multi head equal weights"]["output"]),
        "With all weights equal, all tokens should come out equal; yours do not.",
        "Somewhere a view or reshape lets tokens exchange numbers. Try split_heads and merge_heads alone.",
    ),
    Property(
        "values or merge",
        lambda seen: _agrees(seen, _multi_head_equal_weights, _Heads),
        "Something is wrong in the values, the merge or W_O; the scores play no part in it.",
        "Set W_Q and W_K to 0: every head then averages the values. Follow W_V, split, mean, merge, W_O.",
    ),
    Property(
        "the heads",
        lambda seen: (
            not (
                _agrees(seen, _multi_head_one_head, _Heads)
                and not _agrees(seen, _multi_head_three_heads, _Heads)
            )
        ),
        "Right with one head, wrong with three.",
        "What depends on n_heads: the split, the merge, and Dh under the root. Check each alone.",
    ),
    Property(
        "the weights",
        lambda seen: _agrees(seen, _multi_head_three_heads, _Heads),
        "Values, merge and W_O are right; the attention weights are not.",
        "Look at queries, keys, the scale and the softmax: softmax(q kᵀ / √Dh), over the keys.",
    ),
    Property(
        "changes its input",
        lambda seen: seen["multi head three heads"]["input changed"].item() == 0,
        "Your forward changes the x it was given.",
        "`+=`, `/=` and methods that end in `_` overwrite the caller's tensor.",
    ),
    Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen["multi head gradients"].values()),
        "The gradient does not reach x and all four layers.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and torch.no_grad() cut the gradient.",
    ),
)

MULTI_HEAD = Exercise(
    id="04.multi_head_attention",
    title="Multi-head attention as a module",
    stub=MULTI_HEAD_STUB,
    reference=_Heads,
    experiments=(
        _multi_head_three_heads,
        _multi_head_one_head,
        _multi_head_square,
        _multi_head_one_token,
        _multi_head_equal_weights,
        _multi_head_no_values,
        _multi_head_gradients,
    ),
    mistakes=_MULTI_HEAD_MISTAKES,
    properties=_MULTI_HEAD_PROPERTIES,
    difficulty=3,
    importance=5,
    minutes=25,
)

# ── 04.cross_attention ────────────────────────────────────────────────────────────────────────────────

CROSS_STUB = '''
def cross_attention(x, memory, w_q, w_k, w_v):
    """Let every token of x look things up in memory, with one head: the decoder asks, the encoder answers.

    Args:
        x: the decoder's tokens, (B, Tq, D).
        memory: the encoder's output, (B, Tk, Dm).
        w_q: (D, Dh), makes queries: x @ w_q.
        w_k, w_v: (Dm, Dh) and (Dm, Dv), make keys and values.

    Returns:
        output, (B, Tq, Dv), and weights, (B, Tq, Tk). Scores are divided by √Dh.
    """
'''


def _two_sides(
    n_batch: int, tq: int, tk: int, d: int, dm: int, dh: int, dv: int, seed: int
) -> tuple[Tensor, ...]:
    return (
        numbers(n_batch, tq, d, seed=seed),
        numbers(n_batch, tk, dm, seed=seed + 1),
        numbers(d, dh, seed=seed + 2, std=d**-0.5 * 1.5),
        numbers(dm, dh, seed=seed + 3, std=dm**-0.5 * 1.5),
        numbers(dm, dv, seed=seed + 4, std=dm**-0.5 * 1.5),
    )


def _look_across(candidate: Any, *inputs: Tensor) -> Seen:
    output, weights = a_pair(a_function(candidate)(*inputs))
    return {"output": output, "weights": weights}


def _cross_of_unlike_sizes(candidate: Any) -> Seen:
    inputs = _two_sides(2, 3, 5, 8, 7, 4, 6, seed=110)
    given = tuple(tensor.clone() for tensor in inputs)
    seen = _look_across(candidate, *given)
    changed = not all(torch.equal(a, b) for a, b in zip(given, inputs, strict=True))
    return seen | {"input changed": yes(changed)}


def _cross_of_one_sentence(candidate: Any) -> Seen:
    return _look_across(candidate, *_two_sides(1, 4, 2, 6, 5, 3, 7, seed=120))


def _cross_of_equal_widths(candidate: Any) -> Seen:
    return _look_across(candidate, *_two_sides(2, 3, 5, 6, 6, 6, 6, seed=130))


def _cross_of_equal_sizes(candidate: Any) -> Seen:
    return _look_across(candidate, *_two_sides(3, 4, 4, 4, 4, 4, 4, seed=140))


def _cross_with_other_values(candidate: Any) -> Seen:
    x, memory, w_q, w_k, _ = _two_sides(2, 3, 5, 8, 7, 4, 6, seed=110)
    return _look_across(candidate, x, memory, w_q, w_k, numbers(7, 6, seed=150))


def _cross_with_large_scores(candidate: Any) -> Seen:
    x, memory, w_q, w_k, w_v = _two_sides(2, 3, 5, 8, 7, 4, 6, seed=155)
    return _look_across(candidate, x * 30, memory * 30, w_q, w_k, w_v / 30)


def _cross_gradients(candidate: Any) -> Seen:
    leaves, copies = watched(*_two_sides(2, 3, 5, 8, 7, 4, 6, seed=160))
    output, _ = a_pair(candidate(*copies))
    return gradients(output, dict(zip(("x", "memory", "w_q", "w_k", "w_v"), leaves, strict=True)))


def _across(asks: Any = None, answers: Any = None, carries: Any = None, **parts: Any) -> Any:
    """Cross-attention with one part exchanged; each part takes (x, memory, w_q, w_k, w_v)."""

    def run(x: Tensor, memory: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor) -> tuple[Tensor, Tensor]:
        given = x, memory, w_q, w_k, w_v
        q = asks(*given) if asks else x @ w_q
        k = answers(*given) if answers else memory @ w_k
        v = carries(*given) if carries else memory @ w_v
        sizes = {name: value(*given) if name == "scale" else value for name, value in parts.items()}
        return _attend(q, k, v, **sizes)

    return run


def _across_then(change: Any) -> Any:
    def run(*given: Tensor) -> tuple[Tensor, Tensor]:
        return change(*given, *_across()(*given))

    return run


_ASKS = "q = x @ w_q"
_ANSWERS = "k, v = memory @ w_k, memory @ w_v"
_CROSS_MISTAKES = (
    Mistake(
        "the encoder asks",
        _across(lambda x, m, q, k, v: m @ q, lambda x, m, q, k, v: x @ k, lambda x, m, q, k, v: x @ v),
        "The sides are exchanged: the encoder asks, and the decoder answers.",
        "The output needs one row for each token of x. So who must ask?",
        f"{_ASKS}; {_ANSWERS}",
    ),
    Mistake(
        "self-attention of x",
        _across(answers=lambda x, m, q, k, v: x @ k, carries=lambda x, m, q, k, v: x @ v),
        "This is self-attention: memory is never used.",
        "Keys and values are made from the encoder's output.",
        _ANSWERS,
    ),
    Mistake(
        "self-attention of memory",
        _across(asks=lambda x, m, q, k, v: m @ q),
        "This is self-attention of memory: x is never used.",
        "The output needs one row for each token of x. So who must ask?",
        _ASKS,
    ),
    Mistake(
        "the keys come from x",
        _across(answers=lambda x, m, q, k, v: x @ k),
        "The keys are made from x; they belong to memory.",
        "Keys and values come in pairs: both from the side that answers.",
        _ANSWERS,
    ),
    Mistake(
        "the values come from x",
        _across(carries=lambda x, m, q, k, v: x @ v),
        "The values are made from x; they belong to memory.",
        "Keys and values come in pairs: both from the side that answers.",
        _ANSWERS,
    ),
    Mistake(
        "memory asks and answers, x is carried",
        _across(asks=lambda x, m, q, k, v: m @ q, carries=lambda x, m, q, k, v: x @ v),
        "Queries and keys are made from memory, and values from x.",
        "Who asks? x. Who answers, with keys and values? memory.",
        f"{_ASKS}; {_ANSWERS}",
    ),
    Mistake(
        "only the values come from memory",
        _across(asks=lambda x, m, q, k, v: m @ q, answers=lambda x, m, q, k, v: x @ k),
        "Queries are made from memory and keys from x: the two are exchanged.",
        "Who asks? x. Who answers, with keys and values? memory.",
        f"{_ASKS}; {_ANSWERS}",
    ),
    Mistake(
        "the values are made by w_k",
        _across(carries=lambda x, m, q, k, v: m @ k),
        "The values are made by w_k; w_v is never used.",
        "Three maps: one for each of q, k and v.",
        _ANSWERS,
    ),
    Mistake(
        "w_k and w_v exchanged",
        _across(answers=lambda x, m, q, k, v: m @ v, carries=lambda x, m, q, k, v: m @ k),
        "w_k makes your values and w_v your keys: the two are exchanged.",
        "Queries are compared with keys; values are mixed.",
        _ANSWERS,
    ),
    Mistake(
        "w_q and w_k exchanged",
        _across(asks=lambda x, m, q, k, v: x @ k, answers=lambda x, m, q, k, v: m @ q),
        "w_k makes your queries and w_q your keys: the two are exchanged.",
        "x @ w_q asks; memory @ w_k answers.",
        f"{_ASKS}; {_ANSWERS}",
    ),
    Mistake(
        "the queries are made by w_k",
        _across(asks=lambda x, m, q, k, v: x @ k),
        "The queries are made by w_k; w_q is never used.",
        "Three maps: one for each of q, k and v.",
        _ASKS,
    ),
    Mistake(
        "the keys are made by w_q",
        _across(answers=lambda x, m, q, k, v: m @ q),
        "The keys are made by w_q; w_k is never used.",
        "Three maps: one for each of q, k and v.",
        _ANSWERS,
    ),
    Mistake(
        "the queries are not projected",
        _across(asks=lambda x, m, q, k, v: x),
        "x itself asks; w_q is never used.",
        "Queries are computed: x @ w_q.",
        _ASKS,
    ),
    Mistake(
        "the keys are not projected",
        _across(answers=lambda x, m, q, k, v: m),
        "memory itself is compared; w_k is never used.",
        "Keys are computed: memory @ w_k.",
        _ANSWERS,
    ),
    Mistake(
        "the values are not projected",
        _across(carries=lambda x, m, q, k, v: m),
        "memory itself is mixed; w_v is never used.",
        "Values are computed: memory @ w_v.",
        _ANSWERS,
    ),
    Mistake(
        "nothing is projected",
        _across(lambda x, m, q, k, v: x, lambda x, m, q, k, v: m, lambda x, m, q, k, v: m),
        "x and memory meet unprojected; w_q, w_k and w_v are never used.",
        "Queries, keys and values are computed.",
        f"{_ASKS}; {_ANSWERS}",
    ),
    Mistake(
        "the maps are transposed",
        _across(
            lambda x, m, q, k, v: x @ q.mT, lambda x, m, q, k, v: m @ k.mT, lambda x, m, q, k, v: m @ v.mT
        ),
        "The maps are transposed: x @ w_q.T where x @ w_q was asked for.",
        "w_q is (D, Dh): its first size meets the last one of x. (nn.Linear stores its weight the other way.)",
        f"{_ASKS}; {_ANSWERS}",
    ),
    Mistake(
        "no scaling",
        _across(scale=lambda x, m, q, k, v: 1.0),
        "Your scores are not divided by √Dh.",
        "Compare with your scaled_dot_product_attention.",
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √D",
        _across(scale=lambda x, m, q, k, v: x.size(-1) ** -0.5),
        "Your scores are divided by √D, the width of x, not of a query.",
        "The dot product runs over Dh numbers: the width of x @ w_q.",
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √Dm",
        _across(scale=lambda x, m, q, k, v: m.size(-1) ** -0.5),
        "Your scores are divided by the root of memory's width, not of a key's.",
        "The dot product runs over Dh numbers: the width of memory @ w_k.",
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √Dv",
        _across(scale=lambda x, m, q, k, v: v.size(-1) ** -0.5),
        "Your scores are divided by the root of the width of a value.",
        _SCALE_HINT,
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √Tk",
        _across(scale=lambda x, m, q, k, v: m.size(1) ** -0.5),
        "Your scores are divided by the root of the number of keys.",
        _SCALE_HINT,
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √Tq",
        _across(scale=lambda x, m, q, k, v: x.size(1) ** -0.5),
        "Your scores are divided by the root of the number of queries.",
        _SCALE_HINT,
        _SCALE_LINE,
    ),
    Mistake(
        "divided by Dh",
        _across(scale=lambda x, m, q, k, v: 1 / q.size(-1)),
        "Your scores are divided by Dh; the square root is missing.",
        "The spread of the dot products grows like √Dh.",
        _SCALE_LINE,
    ),
    Mistake(
        "multiplied by √Dh",
        _across(scale=lambda x, m, q, k, v: q.size(-1) ** 0.5),
        "Your scores are multiplied by √Dh; they should be divided.",
        "A power of -0.5 divides, a power of 0.5 multiplies.",
        _SCALE_LINE,
    ),
    Mistake(
        "softmax over the queries",
        _across(over=-2),
        "Your softmax runs over x's tokens: columns sum to 1, rows do not.",
        "Each token of x spreads its attention over memory. Which axis holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax over the batch",
        _across(over=0),
        "Your softmax runs over the batch: sentences compete with each other.",
        "Which axis of (B, Tq, Tk) holds the keys?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "no softmax",
        _across(weigh=lambda s: s),
        "The scores are used as weights; the softmax is missing.",
        "Weights are positive and sum to 1 in each row.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "softmax twice",
        _across(weigh=lambda s: s.softmax(-1).softmax(-1)),
        "The softmax is applied twice, and the weights are nearly equal.",
        "Does a function you call already apply it?",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "overflow",
        _across(weigh=_naive),
        "Right for small scores; large ones overflow to NaN.",
        "Take each row's maximum away before the exponential, as in the first exercise.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "the future is hidden",
        _across(
            weigh=lambda s: s.masked_fill(~torch.ones_like(s, dtype=torch.bool).tril(), -math.inf).softmax(-1)
        ),
        "A causal mask hides part of memory; cross-attention is never causal.",
        "The whole source sentence is known before the first word is written.",
        _SOFTMAX_LINE,
    ),
    Mistake(
        "order of the results",
        _across_then(lambda x, m, q, k, v, o, w: (w, o)),
        "You return (weights, output); the exercise asks for (output, weights).",
        "Only the order of the two is wrong.",
        "return output, weights",
    ),
    Mistake(
        "transposed weights returned",
        _across_then(lambda x, m, q, k, v, o, w: (o, w.mT)),
        "The weights you return are transposed; their rows should be tokens of x.",
        "weights must be (B, Tq, Tk).",
        "return output, weights",
    ),
    Mistake(
        "scores returned",
        _across_then(lambda x, m, q, k, v, o, w: (o, (x @ q) @ (m @ k).mT * q.size(-1) ** -0.5)),
        "The output is right, but you return the scores in place of the weights.",
        "The weights are what comes out of the softmax.",
        "return output, weights",
    ),
    Mistake(
        "x is added",
        _across_then(lambda x, m, q, k, v, o, w: (o + x, w)),
        "x is added to the output; that residual connection comes in lesson 06.",
        "The output of attention is a mix of values, and of nothing else.",
        _MIX_LINE,
    ),
    Mistake(
        "no gradient to memory",
        lambda x, m, q, k, v: _across()(x, m.detach(), q, k, v),
        "The numbers are right, but no gradient reaches memory.",
        "The encoder learns through cross-attention only: do not detach its output.",
        _ANSWERS,
    ),
    Mistake(
        "no gradient",
        lambda *given: _across()(*(tensor.detach() for tensor in given)),
        "The numbers are right, but no gradient flows back through your function.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        "use torch operations on the inputs themselves",
    ),
)


def _cross_scores() -> Tensor:
    x, memory, w_q, w_k, _ = _two_sides(2, 3, 5, 8, 7, 4, 6, seed=110)
    return (x @ w_q) @ (memory @ w_k).mT


def _cross_weights_right(seen: dict[str, Seen]) -> bool:
    expected = (_cross_scores() / 2).softmax(-1).double()  # Dh = 4, so √Dh = 2
    return torch.allclose(seen["cross of unlike sizes"]["weights"], expected, atol=1e-3)


def _cross_is_mix(seen: dict[str, Seen]) -> bool:
    _, memory, _, _, w_v = _two_sides(2, 3, 5, 8, 7, 4, 6, seed=110)
    shown = seen["cross of unlike sizes"]
    return torch.allclose(shown["output"], shown["weights"] @ (memory @ w_v).double(), atol=1e-3)


_CROSS_PROPERTIES = (
    Property(
        "rows do not sum to 1",
        lambda seen: _ones(seen["cross of unlike sizes"]["weights"].sum(-1)),
        "The rows of your weights do not sum to 1.",
        "Each token of x spreads its attention over memory: `weights.sum(-1)` should be all ones.",
    ),
    Property(
        "negative weights",
        lambda seen: bool((seen["cross of unlike sizes"]["weights"] >= 0).all()),
        "Some of your weights are negative.",
        "What comes out of a softmax is positive. What happens to the weights after it?",
    ),
    Property(
        "overflow",
        lambda seen: bool(seen["cross with large scores"]["weights"].isfinite().all()),
        "Large scores overflow in your softmax.",
        "Take each row's maximum away before the exponential, as in the first exercise.",
    ),
    Property(
        "the values change the weights",
        lambda seen: torch.allclose(
            seen["cross of unlike sizes"]["weights"], seen["cross with other values"]["weights"], atol=1e-3
        ),
        "Your weights change when only w_v changes.",
        "Queries and keys make the weights. Where does w_v come into them?",
    ),
    Property(
        "another scale",
        lambda seen: not _other_scale(seen["cross of unlike sizes"]["weights"], _cross_scores(), 0.5),
        "Your weights are a softmax of the right scores, times the wrong constant.",
        _SCALE_HINT,
    ),
    Property(
        "the weights are right, the output is not",
        lambda seen: not (_cross_weights_right(seen) and not _cross_is_mix(seen)),
        "Your weights are right, but the output is not weights @ (memory @ w_v).",
        "What is mixed comes from memory, through w_v; nothing is added afterwards.",
    ),
    Property(
        "another score",
        lambda seen: _cross_weights_right(seen) or not _cross_is_mix(seen),
        "The values are mixed rightly; but the weights come from other scores.",
        "Queries are x @ w_q, keys memory @ w_k; the product is divided by √Dh; then the softmax, over the keys.",
    ),
    Property(
        "changes its input",
        lambda seen: seen["cross of unlike sizes"]["input changed"].item() == 0,
        "Your function changes the tensors it was given.",
        "`/=`, `+=` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
    ),
    Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen["cross gradients"].values()),
        "The gradient does not reach x, memory and all three maps.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and torch.no_grad() cut the gradient.",
    ),
)

CROSS = Exercise(
    id="04.cross_attention",
    title="Cross-attention",
    stub=CROSS_STUB,
    reference=_across(),
    experiments=(
        _cross_of_unlike_sizes,
        _cross_of_one_sentence,
        _cross_of_equal_widths,
        _cross_of_equal_sizes,
        _cross_with_other_values,
        _cross_with_large_scores,
        _cross_gradients,
    ),
    mistakes=_CROSS_MISTAKES,
    properties=_CROSS_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=15,
)

# ── 04.find_the_bug ───────────────────────────────────────────────────────────────────────────────────

BUG_STUB = '''
def test_multi_head(build):
    """Raise AssertionError if the module that `build` makes mixes tokens up; stay silent if it is sound.

    Args:
        build: build(d_model, n_heads) returns a fresh nn.Module with random weights. It maps x, (B, T, D), to
            (B, T, D), and has the layers w_q, w_k, w_v, w_o. There is no dropout and no mask.

    It is tried on sound modules in two styles and on two that mix tokens: the published one, and one that has
    the fault in another place.
    """
'''


class PublishedMultiHeadAttention(_Heads):
    """A multi-head attention with the fault of a published one: its heads mix tokens when they are merged.

    The same behaviour as jsbaan/transformer-from-scratch before its pull request 6, in our words: after
    attention, (B, H, T, Dh) is reshaped to (B, T, D) without exchanging H and T first.
    """

    merge = staticmethod(_published_merge)


class _SplitMixesTokens(_Heads):
    """The fault of reczoo/FuxiCTR issue 30: both reshapes lack their transpose."""

    split = staticmethod(_published_split)
    merge = staticmethod(_published_merge)


class _HeadByHead(_Heads):
    """A sound module in another style: one head after the other, by einsum."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)
        d_head = self.d_model // self.n_heads
        found = []
        for first in range(0, self.d_model, d_head):
            piece = slice(first, first + d_head)
            scores = torch.einsum("bqd,bkd->bqk", q[..., piece], k[..., piece]) / math.sqrt(d_head)
            found.append(torch.einsum("bqk,bkd->bqd", scores.softmax(-1), v[..., piece]))
        return self.w_o(torch.cat(found, dim=-1))


class _Watched:
    """Builds modules for the learner's test and notes how it uses them.

    The modules compute in fp64 and answer in the input's dtype, so that no sound one fails by rounding.
    """

    def __init__(self, kind: type[_Heads]):
        self.kind = kind
        self.most_heads = self.most_tokens = self.calls = 0

    def __call__(self, d_model: int, n_heads: int) -> nn.Module:
        watcher = self
        self.most_heads = max(self.most_heads, n_heads)

        class Watched(self.kind):  # type: ignore[name-defined]
            def forward(self, x: Tensor) -> Tensor:
                watcher.calls += 1
                watcher.most_tokens = max(watcher.most_tokens, x.size(1) if x.dim() > 1 else 0)
                precise = copy.deepcopy(self).double()
                return watcher.kind.forward(precise, x.double()).to(x.dtype)

        module = Watched(d_model, n_heads)
        for number, layer in enumerate((module.w_q, module.w_k, module.w_v, module.w_o)):
            with torch.no_grad():
                layer.weight.copy_(numbers(d_model, d_model, seed=400 + number, std=d_model**-0.5 * 1.5))
                layer.bias.copy_(numbers(d_model, seed=500 + number, std=0.3))
        return module

    def rejected_by(self, test: Any) -> bool:
        try:
            return test(self) is False
        except AssertionError:
            return True


def _judged(candidate: Any, kind: type[_Heads]) -> Seen:
    watcher = _Watched(kind)
    rejected = watcher.rejected_by(a_function(candidate))
    return {
        "rejected": yes(rejected),
        "_never called": yes(watcher.calls == 0),
        "_one head": yes(watcher.most_heads == 1),
        "_one token": yes(watcher.most_tokens == 1),
    }


def _test_of_sound_code(candidate: Any) -> Seen:
    return _judged(candidate, _Heads)


def _test_of_sound_code_in_another_style(candidate: Any) -> Seen:
    return _judged(candidate, _HeadByHead)


def _test_of_the_published_code(candidate: Any) -> Seen:
    return _judged(candidate, PublishedMultiHeadAttention)


def _test_of_a_split_that_mixes_tokens(candidate: Any) -> Seen:
    return _judged(candidate, _SplitMixesTokens)


def _equivariance_test(build: Any, *, d_model: int = 12, n_heads: int = 3, n_tokens: int = 5) -> None:
    module, x = build(d_model, n_heads), numbers(2, n_tokens, d_model, seed=170)
    order = torch.randperm(n_tokens, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-5)


def _shape_test(build: Any) -> None:
    x = numbers(2, 5, 12, seed=170)
    assert build(12, 3)(x).shape == x.shape


def _invariance_test(build: Any) -> None:
    module, x = build(12, 3), numbers(2, 5, 12, seed=170)
    assert torch.allclose(module(x.flip(1)), module(x), atol=1e-5)


_ACCEPTS_ALL = (
    "Your test is content with the broken modules too.",
    "Their shapes and finite numbers are right. What happens to a sound module's output when tokens change places?",
    "assert torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-5)",
)
_BUG_MISTAKES = (
    Mistake("accepts everything", _shape_test, *_ACCEPTS_ALL),
    Mistake(
        "never runs the module",
        lambda build: None,
        "Your test never runs the module it is given.",
        "Build one, make a random x, call it, and look at what comes out.",
        "module = build(12, 3); y = module(torch.randn(2, 5, 12))",
    ),
    Mistake(
        "one head",
        lambda build: _equivariance_test(build, n_heads=1),
        "Your test builds one head only; the fault shows with two heads or more.",
        "With H = 1 a reshape with and without the transpose are the same.",
        "module = build(12, 3)",
    ),
    Mistake(
        "one token",
        lambda build: _equivariance_test(build, n_tokens=1),
        "Your test shows the module one token only: nothing can be mixed up.",
        "Take several tokens, all different.",
        "x = torch.randn(2, 5, 12)",
    ),
    Mistake(
        "rejects everything",
        _invariance_test,
        "Your test rejects sound code too.",
        "What it asserts is not true of attention. When tokens change places, the outputs change places with them.",
        "assert torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-5)",
    ),
)
_BUG_PROPERTIES = (
    Property(
        "rejects sound code",
        lambda seen: seen["test of sound code"]["rejected"].item() == 0,
        "Your test rejects a sound module.",
        "What it asserts is not true of attention. Two sums in another order differ by rounding: allow atol=1e-5.",
    ),
    Property(
        "rejects another style",
        lambda seen: seen["test of sound code in another style"]["rejected"].item() == 0,
        "Your test rejects a sound module that is written in another style.",
        "Test what the module computes, not how. Allow for rounding: atol=1e-5.",
    ),
    Property(
        "accepts the published fault",
        lambda seen: seen["test of the published code"]["rejected"].item() == 1,
        "Your test is content with the published module, whose merge mixes tokens.",
        "Take several heads, several tokens and random numbers. What must hold when tokens change places?",
    ),
    Property(
        "accepts the split that mixes tokens",
        lambda seen: seen["test of a split that mixes tokens"]["rejected"].item() == 1,
        "Your test finds the fault in the merge, but not one in the split.",
        "A property of the whole module finds both. What must hold when tokens change places?",
    ),
)

BUG = Exercise(
    id="04.find_the_bug",
    title="Find the bug: heads that mix tokens",
    stub=BUG_STUB,
    reference=_equivariance_test,
    experiments=(
        _test_of_sound_code,
        _test_of_sound_code_in_another_style,
        _test_of_the_published_code,
        _test_of_a_split_that_mixes_tokens,
    ),
    mistakes=_BUG_MISTAKES,
    properties=_BUG_PROPERTIES,
    difficulty=4,
    importance=4,
    minutes=20,
)

# ── 04.contextual_words ───────────────────────────────────────────────────────────────────────────────

CONTEXTUAL_STUB = '''
def contextual_words(table, ids):
    """Give each word a vector that depends on its sentence: attention without parameters.

    Args:
        table: the embedding table, (V, d).
        ids: the row of each word of the sentence, (T,), integers.

    Returns:
        (T, d): softmax(X Xᵀ / √d) X, where X holds the words' rows. The table stays as it was.
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
        "The output is right, but your function writes it back into the table.",
        "The next sentence would find other rows. Attention leaves the table alone.",
        _CONTEXT_LINE,
    ),
    Mistake(
        "the softmax runs over the first axis",
        lambda table, ids: (table[ids] @ table[ids].T * table.size(-1) ** -0.5).softmax(0) @ table[ids],
        "Your softmax runs over the first axis: columns sum to 1, rows do not.",
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
    Property(
        "no gradient",
        lambda seen: seen["words gradients"]["gradient to table"].abs().max().item() > 0,
        "No gradient flows back to the table.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
    ),
    Property(
        "not a mix of the sentence",
        lambda seen: _is_mix_of_rows(seen["words of a sentence"]["output"]),
        "Your output is no weighted mean of the sentence's rows: no shares give it.",
        "Each output row is a sum of X's rows, with positive shares that sum to 1.",
    ),
    Property(
        "other shares",
        lambda seen: _agrees(seen, _words_of_a_sentence, CONTEXTUAL.reference),
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


CONTEXTUAL = Exercise(
    id="04.contextual_words",
    title="Words in context, without parameters",
    stub=CONTEXTUAL_STUB,
    reference=_without_parameters(lambda t, i, X, w: w @ X),
    experiments=(
        _words_of_a_sentence,
        _words_of_another_sentence,
        _words_that_stand_twice,
        _words_with_as_many_numbers_as_words,
        _words_gradients,
    ),
    mistakes=_CONTEXTUAL_MISTAKES,
    properties=_CONTEXTUAL_PROPERTIES,
    difficulty=1,
    importance=4,
    minutes=10,
)

# ── 04.additive_scores ────────────────────────────────────────────────────────────────────────────────

ADDITIVE_STUB = '''
def additive_scores(q, k, w_q, w_k, w):
    """Score every query against every key by a small network: tanh(q w_q + k w_k) · w.

    Args:
        q: (Tq, Dq).
        k: (Tk, Dk).
        w_q, w_k: (Dq, h) and (Dk, h).
        w: (h,).

    Returns:
        Scores, (Tq, Tk). No softmax.
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


def _additive(candidate: Any, *sizes: int, seed: int) -> Seen:
    return {"scores": a_tensor(a_function(candidate)(*_pairs(*sizes, seed=seed)))}


def _additive_of_unlike_sizes(candidate: Any) -> Seen:
    return _additive(candidate, 3, 5, 4, 7, 6, seed=190)


def _additive_of_one_query(candidate: Any) -> Seen:
    return _additive(candidate, 1, 4, 3, 2, 5, seed=195)


def _additive_of_equal_sizes(candidate: Any) -> Seen:
    return _additive(candidate, 4, 4, 4, 4, 4, seed=200)


def _additive_gradients(candidate: Any) -> Seen:
    leaves, copies = watched(*_pairs(3, 5, 4, 7, 6, seed=205))
    names = ("q", "k", "w_q", "w_k", "w")
    return gradients(a_tensor(candidate(*copies)), dict(zip(names, leaves, strict=True)))


def _sum_of(q: Tensor, k: Tensor, w_q: Tensor, w_k: Tensor) -> Tensor:
    return (q @ w_q)[:, None] + (k @ w_k)[None]  # (Tq, Tk, h)


_ADDITIVE_LINE = "torch.tanh((q @ w_q)[:, None, :] + (k @ w_k)[None, :, :]) @ w"
_ADDITIVE_MISTAKES = (
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
    Property(
        "out of bounds",
        _bounded,
        "Your scores are larger than a tanh allows.",
        "Each of the h numbers lies between -1 and 1 before it is multiplied by its weight in w.",
    ),
    Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen["additive gradients"].values()),
        "The gradient does not reach all five inputs.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
    ),
    Property(
        "another formula",
        lambda seen: _agrees(seen, _additive_of_unlike_sizes, ADDITIVE.reference),
        "Every query meets every key, but by another formula.",
        "For one pair: add the two h-vectors q w_q and k w_k, take the tanh of each number, multiply by w, add up.",
    ),
)

ADDITIVE = Exercise(
    id="04.additive_scores",
    title="Additive scores",
    stub=ADDITIVE_STUB,
    reference=lambda q, k, w_q, w_k, w: torch.tanh(_sum_of(q, k, w_q, w_k)) @ w,
    experiments=(
        _additive_of_unlike_sizes,
        _additive_of_one_query,
        _additive_of_equal_sizes,
        _additive_gradients,
    ),
    mistakes=_ADDITIVE_MISTAKES,
    properties=_ADDITIVE_PROPERTIES,
    difficulty=2,
    importance=3,
    minutes=10,
)

# ── 04.kernel_regression ──────────────────────────────────────────────────────────────────────────────

KERNEL_STUB = '''
def kernel_regression(x_new, x, y, h):
    """Estimate y at new points by a weighted mean of known ones: softmax(-(x_new - x)² / (2 h²)) y.

    Args:
        x_new: where to estimate, (N,).
        x, y: the known points, (K,) each.
        h: the width of the kernel, a number.

    Returns:
        The estimates, (N,).
    """
'''


def _points(n: int, known: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return numbers(n, seed=seed), numbers(known, seed=seed + 1), numbers(known, seed=seed + 2, std=2.0)


def _kernel_with_few_points(candidate: Any) -> Seen:
    return {"estimates": a_tensor(a_function(candidate)(*_points(3, 5, seed=210), 0.7))}


def _kernel_with_as_many_new_points_as_known(candidate: Any) -> Seen:
    return {"estimates": a_tensor(candidate(*_points(4, 4, seed=215), 0.5))}


def _kernel_that_is_wide(candidate: Any) -> Seen:
    return {"estimates": a_tensor(candidate(*_points(6, 4, seed=220), 3.0))}


def _kernel_that_is_narrow(candidate: Any) -> Seen:
    return {"estimates": a_tensor(candidate(*_points(4, 6, seed=225), 0.1))}


def _kernel_far_away(candidate: Any) -> Seen:
    """A point so far from all others that every bell curve is 0 there; the softmax still has shares."""
    _, x, y = _points(1, 5, seed=230)
    return {"estimates": a_tensor(candidate(torch.tensor([60.0, -60.0]), x, y, 1.0))}


def _kernel_gradients(candidate: Any) -> Seen:
    leaves, copies = watched(*_points(3, 5, seed=235))
    return gradients(a_tensor(candidate(*copies, 0.7)), dict(zip(("x_new", "x", "y"), leaves, strict=True)))


def _kernel(score: Any, *, over: int = -1) -> Any:
    """Kernel regression by the softmax of `score(difference, h)`, where the difference is (N, K)."""
    return lambda x_new, x, y, h: score(x_new[:, None] - x, h).softmax(over) @ y


_KERNEL_LINE = "(-((x_new[:, None] - x) ** 2) / (2 * h**2)).softmax(dim=-1) @ y"
_KERNEL_MISTAKES = (
    Mistake(
        "no square",
        _kernel(lambda d, h: -d / (2 * h**2)),
        "The difference is not squared: points on one side only get more and more weight.",
        "A point to the left is as near as one to the right.",
        _KERNEL_LINE,
    ),
    Mistake(
        "distance in place of its square",
        _kernel(lambda d, h: -d.abs() / (2 * h**2)),
        "The distance is not squared.",
        "A bell curve falls with the square of the distance.",
        _KERNEL_LINE,
    ),
    Mistake(
        "the sign is turned",
        _kernel(lambda d, h: d**2 / (2 * h**2)),
        "The farthest point gets the largest weight: the minus sign is missing.",
        "Near means a large score.",
        _KERNEL_LINE,
    ),
    Mistake(
        "the 2 is missing",
        _kernel(lambda d, h: -(d**2) / h**2),
        "The 2 below the line is missing: the kernel is too narrow.",
        "-(x_new - x)² / (2 h²).",
        _KERNEL_LINE,
    ),
    Mistake(
        "h is not squared",
        _kernel(lambda d, h: -(d**2) / (2 * h)),
        "h is not squared.",
        "-(x_new - x)² / (2 h²).",
        _KERNEL_LINE,
    ),
    Mistake(
        "multiplied by h²",
        _kernel(lambda d, h: -(d**2) / 2 * h**2),
        "h² stands above the line; a wider kernel should make the scores smaller.",
        "Python works from left to right: a / 2 * b is (a / 2) * b. Use parentheses.",
        _KERNEL_LINE,
    ),
    Mistake(
        "h is left out",
        _kernel(lambda d, h: -(d**2) / 2),
        "The width h has no influence.",
        "-(x_new - x)² / (2 h²).",
        _KERNEL_LINE,
    ),
    Mistake(
        "the softmax runs over the new points",
        _kernel(lambda d, h: -(d**2) / (2 * h**2), over=0),
        "Your softmax runs over the new points; each of them needs shares of its own.",
        "The known points are the keys. Which axis of (N, K) are they?",
        _KERNEL_LINE,
    ),
    Mistake(
        "shares that do not sum to 1",
        lambda x_new, x, y, h: (-((x_new[:, None] - x) ** 2) / (2 * h**2)).exp() @ y,
        "The kernel's values are not divided by their sum.",
        "A weighted mean has shares that sum to 1.",
        _KERNEL_LINE,
    ),
    Mistake(
        "0 / 0 far away",
        lambda x_new, x, y, h: (w := (-((x_new[:, None] - x) ** 2) / (2 * h**2)).exp()) @ y / w.sum(-1),
        "Right near the points; far away every bell curve is 0, and 0 / 0 is NaN.",
        "The softmax takes the largest score away first. Use it, or do the same.",
        _KERNEL_LINE,
    ),
    Mistake(
        "the nearest point",
        lambda x_new, x, y, h: y[(x_new[:, None] - x).abs().argmin(-1)] + 0 * x_new,
        "Only the nearest point counts; every point should get its share.",
        "argmin makes a hard choice, the softmax a soft one.",
        _KERNEL_LINE,
    ),
    Mistake(
        "the plain mean",
        lambda x_new, x, y, h: y.mean() + 0 * x_new,
        "Every new point gets the plain mean of y.",
        "Nearer points should have larger shares.",
        _KERNEL_LINE,
    ),
    Mistake(
        "only weights",
        lambda x_new, x, y, h: (-((x_new[:, None] - x) ** 2) / (2 * h**2)).softmax(-1),
        "You return the shares; the estimate is shares times y.",
        "One step is missing: the weighted sum.",
        _KERNEL_LINE,
    ),
    Mistake(
        "x in place of y",
        lambda x_new, x, y, h: (-((x_new[:, None] - x) ** 2) / (2 * h**2)).softmax(-1) @ x,
        "The x of the known points are mixed; their y should be.",
        "Keys are compared, values are mixed. Which is which here?",
        _KERNEL_LINE,
    ),
    Mistake(
        "point by point only",
        lambda x_new, x, y, h: (-((x_new - x) ** 2) / (2 * h**2)).softmax(-1) * y,
        "New point i meets known point i only; it should meet all of them.",
        "x_new[:, None] - x makes a table (N, K) of all differences.",
        _KERNEL_LINE,
    ),
    Mistake(
        "no gradient",
        lambda *given: _kernel(lambda d, h: -(d**2) / (2 * h**2))(*(g.detach() for g in given[:3]), given[3]),
        "The numbers are right, but no gradient flows back through your function.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
        _KERNEL_LINE,
    ),
)
_KERNEL_PROPERTIES = (
    Property(
        "far away",
        lambda seen: bool(seen["kernel far away"]["estimates"].isfinite().all()),
        "Far away from all points your estimate is not a number.",
        "There every bell curve is 0. The softmax takes the largest score away first; do the same.",
    ),
    Property(
        "outside the known values",
        lambda seen: bool(
            (seen["kernel with few points"]["estimates"] <= _points(3, 5, seed=210)[2].max() + 1e-3).all()
            and (seen["kernel with few points"]["estimates"] >= _points(3, 5, seed=210)[2].min() - 1e-3).all()
        ),
        "An estimate lies outside all known y; a weighted mean cannot.",
        "Do the shares of one new point sum to 1, and is none negative?",
    ),
    Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen["kernel gradients"].values()),
        "The gradient does not reach x_new, x and y.",
        "`.detach()`, `.data`, `.item()`, `torch.tensor(…)` and NumPy cut the gradient.",
    ),
    Property(
        "another kernel",
        lambda seen: _agrees(seen, _kernel_with_few_points, KERNEL.reference),
        "Your estimates are means of the known y, but by other shares.",
        "Each share is softmax(-(x_new - x)² / (2 h²)), over the known points.",
    ),
)

KERNEL = Exercise(
    id="04.kernel_regression",
    title="Kernel regression is attention",
    stub=KERNEL_STUB,
    reference=_kernel(lambda d, h: -(d**2) / (2 * h**2)),
    experiments=(
        _kernel_with_few_points,
        _kernel_with_as_many_new_points_as_known,
        _kernel_that_is_wide,
        _kernel_that_is_narrow,
        _kernel_far_away,
        _kernel_gradients,
    ),
    mistakes=_KERNEL_MISTAKES,
    properties=_KERNEL_PROPERTIES,
    difficulty=2,
    importance=2,
    minutes=10,
)

# ── 04.effect_of_each_key ─────────────────────────────────────────────────────────────────────────────

EFFECT_STUB = '''
def effect_of_each_key(q, k, v):
    """Measure what each key does: how far the output moves when that key and its value are taken away.

    Args:
        q: one query, (Dh,).
        k: keys, (T, Dh), at least two.
        v: values, (T, Dv).

    Returns:
        (T,): for each key, the length (Euclidean norm) of the difference between attention with all keys and
        attention without this key. Without it, the softmax shares out anew among the others.
    """
'''


def _one_query(n_keys: int, d_head: int, d_value: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return (
        numbers(d_head, seed=seed),
        numbers(n_keys, d_head, seed=seed + 1),
        numbers(n_keys, d_value, seed=seed + 2, std=2.0),
    )


def _effect(candidate: Any, *sizes: int, seed: int) -> Seen:
    return {"effects": a_tensor(a_function(candidate)(*_one_query(*sizes, seed=seed)))}


def _effect_of_five_keys(candidate: Any) -> Seen:
    return _effect(candidate, 5, 4, 3, seed=240)


def _effect_of_two_keys(candidate: Any) -> Seen:
    return _effect(candidate, 2, 3, 4, seed=245)


def _effect_with_equal_sizes(candidate: Any) -> Seen:
    return _effect(candidate, 4, 4, 4, seed=250)


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


def _unscaled_effects(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _effects(_left_out)(q * len(q) ** 0.5, k, v)


_EFFECT_LINE = "others = torch.arange(T) != j; attention(q, k[others], v[others])"
_EFFECT_MISTAKES = (
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
        "The weight is set to 0, but the others do not share it out anew.",
        "Take the key away before the softmax.",
        _EFFECT_LINE,
    ),
    Mistake(
        "the key is set to zero",
        _effects(_key_set_to_zero),
        "A key of zeros is still there: its score is 0, and e to the power of 0 is 1.",
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
        "You keep key j alone; it should be the one that is left out.",
        "Which rows does your selection keep?",
        _EFFECT_LINE,
    ),
)


def _never_negative(seen: dict[str, Seen]) -> bool:
    return bool((seen["effect of five keys"]["effects"] >= 0).all())


_EFFECT_PROPERTIES = (
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
        lambda seen: _agrees(seen, _effect_of_five_keys, EFFECT.reference),
        "These are not the lengths asked for.",
        "Do it by hand for two keys: without key 0 the output is v[1]. How far is that from the output with both?",
    ),
)

EFFECT = Exercise(
    id="04.effect_of_each_key",
    title="Weights are not effects",
    stub=EFFECT_STUB,
    reference=_effects(_left_out),
    experiments=(
        _effect_of_five_keys,
        _effect_of_two_keys,
        _effect_with_equal_sizes,
        _effect_of_an_empty_value,
    ),
    mistakes=_EFFECT_MISTAKES,
    properties=_EFFECT_PROPERTIES,
    difficulty=3,
    importance=3,
    minutes=15,
)

EXERCISES = (CONTEXTUAL, SOFTMAX, ATTENTION, ADDITIVE, SPLIT, MERGE, MULTI_HEAD, BUG, CROSS, KERNEL, EFFECT)
