"""Exercise 04.cross_attention.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

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
from course_lib.checks.shared import changes_its_input, differ, left_to_chance, no_gradient

CROSS_STUB = '''
def cross_attention(x, memory, w_q, w_k, w_v):
    """Let every token of x look things up in memory: the decoder asks, the encoder answers.

    Args:
        x: the decoder's tokens, (B, Tq, D).
        memory: the encoder's output, (B, Tk, Dm).
        w_q: (D, Dh), makes queries: x @ w_q.
        w_k, w_v: (Dm, Dh) and (Dm, Dv), make keys and values.

    Returns:
        output, (B, Tq, Dv), and weights, (B, Tq, Tk). Scores are divided by √Dh; they may be
        large. Gradients flow back to all five inputs, which stay as they were.
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
    inputs = _two_sides(2, 3, 4, 8, 7, 5, 6, seed=110)
    given = tuple(tensor.clone() for tensor in inputs)
    seen = _look_across(candidate, *given)
    changed = not all(torch.equal(a, b) for a, b in zip(given, inputs, strict=True))
    again = _look_across(candidate, *(tensor.clone() for tensor in inputs))
    return seen | {"input changed": yes(changed), "second call differs": yes(differ(seen, again))}


def _cross_of_one_sentence(candidate: Any) -> Seen:
    return _look_across(candidate, *_two_sides(1, 4, 2, 6, 5, 3, 7, seed=120))


def _cross_of_one_query(candidate: Any) -> Seen:
    return _look_across(candidate, *_two_sides(2, 1, 3, 6, 5, 4, 7, seed=122))


def _cross_of_one_key(candidate: Any) -> Seen:
    return _look_across(candidate, *_two_sides(2, 3, 1, 6, 5, 4, 7, seed=124))


def _cross_of_equal_widths(candidate: Any) -> Seen:
    return _look_across(candidate, *_two_sides(2, 3, 5, 6, 6, 6, 6, seed=130))


def _cross_of_equal_sizes(candidate: Any) -> Seen:
    return _look_across(candidate, *_two_sides(3, 4, 4, 4, 4, 4, 4, seed=140))


def _cross_with_other_values(candidate: Any) -> Seen:
    x, memory, w_q, w_k, _ = _two_sides(2, 3, 4, 8, 7, 5, 6, seed=110)
    return _look_across(candidate, x, memory, w_q, w_k, numbers(7, 6, seed=150))


def _cross_with_large_scores(candidate: Any) -> Seen:
    x, memory, w_q, w_k, w_v = _two_sides(2, 3, 4, 8, 7, 5, 6, seed=155)
    return _look_across(candidate, x * 30, memory * 30, w_q, w_k, w_v / 30)


def _cross_gradients(candidate: Any) -> Seen:
    leaves, copies = watched(*_two_sides(2, 3, 4, 8, 7, 5, 6, seed=160))
    output, weights = a_pair(candidate(*copies))
    names = ("x", "memory", "w_q", "w_k", "w_v")
    through = gradients(weights, {"x through the weights": leaves[0]})
    return gradients(output, dict(zip(names, leaves, strict=True))) | through


def _across(asks: Any = None, answers: Any = None, carries: Any = None, **parts: Any) -> Any:
    """Cross-attention with one part exchanged: who asks, answers, is carried; or a part of `attend`."""

    def run(x: Tensor, memory: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor) -> tuple[Tensor, Tensor]:
        given = x, memory, w_q, w_k, w_v
        q = asks(*given) if asks else x @ w_q
        k = answers(*given) if answers else memory @ w_k
        v = carries(*given) if carries else memory @ w_v
        return attend(q, k, v, **parts)

    return run


def _across_transposed(
    x: Tensor, memory: Tensor, w_q: Tensor, w_k: Tensor, w_v: Tensor
) -> tuple[Tensor, Tensor]:
    return keys_first(x @ w_q, memory @ w_k, memory @ w_v)


def _across_then(change: Any) -> Any:
    def run(*given: Tensor) -> tuple[Tensor, Tensor]:
        return change(*given, *_across()(*given))

    return run


_ASKS = "q = x @ w_q"


_ANSWERS = "k, v = memory @ w_k, memory @ w_v"


_CROSS_MISTAKES = (
    Mistake(
        "keys reshaped in place of transposed",
        _across(scores=lambda q, k: q @ k.reshape(k.size(0), k.size(2), k.size(1))),
        "The keys are reshaped where they should be transposed: numbers change owners.",
        "view and reshape keep the numbers in reading order; transpose moves each to its new place.",
        "k.transpose(-2, -1)",
    ),
    *weights_mistakes(lambda **parts: _across(**parts)),
    Mistake(
        "the memory of the first sentence for all",
        lambda x, m, q, k, v: _across()(x, m[:1].expand_as(m), q, k, v),
        "Every sentence looks at the memory of the first sentence.",
        "Is there an index [0] that should run over the batch?",
        _ANSWERS,
    ),
    Mistake(
        "the memory is averaged over the batch",
        lambda x, m, q, k, v: _across()(x, m.mean(0, keepdim=True).expand_as(m), q, k, v),
        "Every sentence looks at one average memory of the whole batch.",
        "A mean over axis 0 mixes sentences.",
        _ANSWERS,
    ),
    Mistake(
        "activations",
        _across(*(lambda x, m, q, k, v, n=n: torch.relu((x, m, m)[n] @ (q, k, v)[n]) for n in range(3))),
        "A ReLU is applied to queries, keys and values; the maps are linear.",
        "Attention has no activation function besides its softmax.",
        f"{_ASKS}; {_ANSWERS}",
    ),
    Mistake(
        "the weights are detached",
        _across_then(lambda x, m, q, k, v, o, w: (o, w.detach())),
        "The output is right, but no gradient flows through the weights you return.",
        "A loss on the weights could not be learned. Return them as they are.",
        "return output, weights",
    ),
    Mistake(
        "the weights of the keys",
        _across_transposed,
        "The softmax runs over x's tokens, and the weights you return are (B, Tk, Tq).",
        "Rows are queries: q first, then k transposed.",
        SCALE_LINE,
    ),
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
        "divided by √D",
        _across(lambda x, m, q, k, v: x @ q * (q.size(-1) / q.size(0)) ** 0.5),
        "Your scores are divided by √D, the width of x, not of a query.",
        "The dot product runs over Dh numbers: the width of x @ w_q.",
        SCALE_LINE,
    ),
    Mistake(
        "divided by √Dm",
        _across(lambda x, m, q, k, v: x @ q * (k.size(-1) / k.size(0)) ** 0.5),
        "Your scores are divided by the root of memory's width, not of a key's.",
        "The dot product runs over Dh numbers: the width of memory @ w_k.",
        SCALE_LINE,
    ),
    Mistake(
        "divided by √Dv",
        _across(scale=lambda q, k, v: v.size(-1) ** -0.5),
        "Your scores are divided by the root of the width of a value.",
        SCALE_HINT,
        SCALE_LINE,
    ),
    Mistake(
        "divided by √Tk",
        _across(scale=lambda q, k, v: k.size(1) ** -0.5),
        "Your scores are divided by the root of the number of keys.",
        SCALE_HINT,
        SCALE_LINE,
    ),
    Mistake(
        "divided by √Tq",
        _across(scale=lambda q, k, v: q.size(1) ** -0.5),
        "Your scores are divided by the root of the number of queries.",
        SCALE_HINT,
        SCALE_LINE,
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
        MIX_LINE,
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
    x, memory, w_q, w_k, _ = _two_sides(2, 3, 4, 8, 7, 5, 6, seed=110)
    return (x @ w_q) @ (memory @ w_k).mT


def _cross_weights_right(seen: dict[str, Seen]) -> bool:
    expected = (_cross_scores() / math.sqrt(5)).softmax(-1).double()  # Dh = 5
    return torch.allclose(seen["cross of unlike sizes"]["weights"], expected, atol=1e-3)


def _cross_is_mix(seen: dict[str, Seen]) -> bool:
    _, memory, _, _, w_v = _two_sides(2, 3, 4, 8, 7, 5, 6, seed=110)
    shown = seen["cross of unlike sizes"]
    return torch.allclose(shown["output"], shown["weights"] @ (memory @ w_v).double(), atol=1e-3)


_CROSS_PROPERTIES = (
    changes_its_input("cross of unlike sizes"),
    left_to_chance("cross of unlike sizes"),
    Property(
        "the values change the weights",
        lambda seen: torch.allclose(
            seen["cross of unlike sizes"]["weights"],
            seen["cross with other values"]["weights"],
            atol=1e-3,
            equal_nan=True,
        ),
        "Your weights change when only w_v changes.",
        "Queries and keys make the weights. Where does w_v come into them?",
    ),
    *sums_to_one(lambda seen: seen["cross of unlike sizes"]["weights"]),
    *made_by_softmax(lambda seen: seen["cross of unlike sizes"]["weights"], _cross_scores, 5**-0.5),
    Property(
        "overflow",
        lambda seen: (
            not (_cross_weights_right(seen) and _cross_is_mix(seen))
            or bool(seen["cross with large scores"]["weights"].isfinite().all())
        ),
        "Right for small scores; large ones give NaN.",
        "Take each row's own maximum away before the exponential, as in the exercise on the softmax.",
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
        "changed before both",
        lambda seen: _cross_weights_right(seen) or _cross_is_mix(seen),
        "Neither your weights nor your output are right: something is changed before both.",
        "Is memory or x normalised, shifted, cut, averaged or mixed up before queries, keys and values are made?",
    ),
    no_gradient("cross gradients", "some of x, memory, w_q, w_k and w_v"),
)


CROSS: Exercise = Exercise(
    id="04.cross_attention",
    title="Cross-attention",
    stub=CROSS_STUB,
    reference=_across(),
    experiments=(
        _cross_of_unlike_sizes,
        _cross_of_one_sentence,
        _cross_of_one_query,
        _cross_of_one_key,
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
