"""Lesson 04: what its exercises share: attention with one part exchanged, symptoms of a table of weights.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Mistake, Property


def ones(sums: Tensor) -> bool:
    return bool(((sums - 1).abs() < 1e-3).all())


def log_slope(weights: Tensor, scores: Tensor) -> float | None:
    """The number c for which the rows of weights are softmax(c · scores); None where there is no such number."""
    if weights.shape != scores.shape or not (weights > 1e-12).all():
        return None
    logs, raw = weights.log(), scores.double()
    logs, raw = logs - logs.mean(-1, keepdim=True), raw - raw.mean(-1, keepdim=True)
    slope = (logs * raw).sum() / (raw * raw).sum()
    fits = (logs - slope * raw).abs().max() < 1e-3 * logs.abs().max()
    return slope.item() if fits else None


def other_scale(weights: Tensor, scores: Tensor, scale: float) -> bool:
    """Say whether the rows are a softmax of the scores times another number than `scale`."""
    slope = log_slope(weights, scores)
    return slope is not None and abs(slope / scale - 1) > 1e-3


def same_order(weights: Tensor, scores: Tensor) -> bool:
    return weights.shape == scores.shape and torch.equal(weights.argsort(-1), scores.double().argsort(-1))


def sums_to_one(table: Any) -> tuple[Property, ...]:
    """Symptoms of a table of weights, which `table(seen)` finds, that is no table of shares."""
    return (
        Property(
            "not a number",
            lambda seen: bool(table(seen).isfinite().all()),
            "There are NaN or infinite numbers among your weights.",
            "A division of 0 by 0, a root of a negative number, or a row in which every key is hidden?",
        ),
        Property(
            "rows do not sum to 1",
            lambda seen: ones(table(seen).sum(-1)),
            "The rows of your weights do not sum to 1.",
            "Each query spreads its attention over the keys: `weights.sum(-1)` should be all ones.",
        ),
        Property(
            "negative weights",
            lambda seen: bool((table(seen) >= -1e-4).all()),
            "Some of your weights are negative.",
            "What comes out of a softmax is positive. What happens to the weights after it?",
        ),
    )


def made_by_softmax(table: Any, raw: Any, scale: float) -> tuple[Property, ...]:
    """Symptoms of a table of shares that is not softmax(scale · raw())."""
    return (
        Property(
            "equal weights",
            lambda seen: bool((table(seen) - table(seen).mean(-1, keepdim=True)).abs().max() > 1e-4),
            "All of your weights are equal: the scores have no influence.",
            "Do the scores really reach the softmax?",
        ),
        Property(
            "another scale",
            lambda seen: not other_scale(table(seen), raw(), scale),
            "Your weights are a softmax of the right scores, times the wrong constant.",
            SCALE_HINT,
        ),
        Property(
            "weights of zero",
            lambda seen: bool((table(seen) > 1e-7).all()),
            "Some of your weights are exactly 0; a softmax gives every key a share.",
            "Is there a mask (they come in lesson 05), a limit, a hard choice, or are the scores far too large?",
        ),
        Property(
            "the order is right, the sizes are not",
            lambda seen: log_slope(table(seen), raw()) is not None or not same_order(table(seen), raw()),
            "Your weights have the right order, but are no softmax of the scaled scores.",
            "Is there a second function, a limit, a rounding, another base than e? Or are q or k changed before?",
        ),
    )


SCALE_HINT = "Does the constant under the root name the width of one key, Dh = q.size(-1)?"


def attend(
    q: Tensor, k: Tensor, v: Tensor, *, scale: Any = None, weigh: Any = None, scores: Any = None
) -> tuple[Tensor, Tensor]:
    """Attention with one part exchanged; the mistakes below say which.

    `scale(q, k, v)` is the factor of the scores, `weigh(scores, Dh)` makes weights of them, `scores(q, k)` makes
    them in the first place.
    """
    found = q @ k.transpose(-2, -1) if scores is None else scores(q, k)
    found = found * (q.size(-1) ** -0.5 if scale is None else scale(q, k, v))
    weights = found.softmax(-1) if weigh is None else weigh(found, q.size(-1))
    return weights @ v, weights


def softmax_by_hand(scores: Tensor, largest: Tensor | float) -> Tensor:
    powers = (scores - largest).exp()
    return powers / powers.sum(-1, keepdim=True)


def hidden(scores: Tensor, seen: Tensor) -> Tensor:
    return scores.masked_fill(~seen, -math.inf).softmax(-1)


def weights_mistakes(make: Any) -> tuple[Mistake, ...]:
    """What goes wrong between scores and weights, in any attention: `make(**parts)` builds it around `attend`."""
    return (
        Mistake(
            "no scaling",
            make(scale=lambda q, k, v: 1.0),
            "Your scores are not divided by √Dh.",
            "Section 5 of the lesson measured what happens to the softmax without it. Which size is Dh?",
            SCALE_LINE,
        ),
        Mistake(
            "divided by Dh",
            make(scale=lambda q, k, v: 1 / q.size(-1)),
            "Your scores are divided by Dh; the square root is missing.",
            "The spread of the dot products grows like √Dh. Or are q and k both divided by √Dh?",
            SCALE_LINE,
        ),
        Mistake(
            "divided by Dh / 2",
            make(scale=lambda q, k, v: 2 / q.size(-1)),
            "Your scores are divided by Dh / 2, not by √Dh.",
            "In Python d ** 1/2 is (d ** 1) / 2. Write d ** 0.5, or math.sqrt(d).",
            SCALE_LINE,
        ),
        Mistake(
            "divided by 2 Dh",
            make(scale=lambda q, k, v: 0.5 / q.size(-1)),
            "Your scores are divided by 2 Dh, not by √Dh.",
            "In Python a / d ** 1/2 is (a / d) / 2. Write a / d ** 0.5.",
            SCALE_LINE,
        ),
        Mistake(
            "the root is rounded",
            make(scale=lambda q, k, v: 1 / math.isqrt(q.size(-1))),
            "The root of Dh is rounded to a whole number.",
            "Is there an int(), round() or // around the root?",
            SCALE_LINE,
        ),
        Mistake(
            "multiplied by √Dh",
            make(scale=lambda q, k, v: q.size(-1) ** 0.5),
            "Your scores are multiplied by √Dh; they should be divided.",
            "A power of -0.5 divides, a power of 0.5 multiplies.",
            SCALE_LINE,
        ),
        Mistake(
            "the sign is turned",
            make(scale=lambda q, k, v: -(q.size(-1) ** -0.5)),
            "The key that fits least gets the largest weight: a sign is turned.",
            "A large dot product should give a large weight.",
            SCALE_LINE,
        ),
        Mistake(
            "scaled after the softmax",
            make(scale=lambda q, k, v: 1.0, weigh=lambda s, d: s.softmax(-1) / d**0.5),
            "You divide by √Dh after the softmax; the scores must be divided before it.",
            "Do your weights still sum to 1?",
            SCALE_LINE,
        ),
        Mistake(
            "softmax over the queries",
            make(weigh=lambda s, d: s.softmax(-2)),
            "Your softmax runs over the queries: columns sum to 1, rows do not.",
            "Each query spreads its attention over the keys. Which axis of the scores holds the keys?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "softmax over the batch",
            make(weigh=lambda s, d: s.softmax(0)),
            "Your softmax runs over the batch: sentences compete with each other.",
            "Which axis of the scores holds the keys? (F.softmax without `dim` guesses, and guesses wrong here.)",
            SOFTMAX_LINE,
        ),
        Mistake(
            "softmax over everything",
            make(weigh=lambda s, d: s.flatten().softmax(0).view_as(s)),
            "All your weights together sum to 1; each query's row should.",
            "Each query spreads its attention over the keys. Which axis of the scores holds the keys?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "softmax over each table",
            make(weigh=lambda s, d: s.flatten(-2).softmax(-1).view_as(s)),
            "Your softmax runs over queries and keys together; each row alone should sum to 1.",
            "Each query spreads its attention over the keys. Which axis of the scores holds the keys?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "no softmax",
            make(weigh=lambda s, d: s),
            "The scores are used as weights; the softmax is missing.",
            "Weights are positive and sum to 1 in each row. Which function makes scores so?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "no softmax, no scaling",
            make(scale=lambda q, k, v: 1.0, weigh=lambda s, d: s),
            "The raw scores are used as weights; scaling and softmax are missing.",
            "Weights are positive and sum to 1 in each row. Which function makes scores so?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "softmax over the queries, no scaling",
            make(scale=lambda q, k, v: 1.0, weigh=lambda s, d: s.softmax(-2)),
            "Two things: the softmax runs over the queries, and nothing is divided by √Dh.",
            "Each query spreads its attention over the keys. And which size is Dh?",
            SCALE_LINE,
        ),
        Mistake(
            "softmax twice",
            make(weigh=lambda s, d: s.softmax(-1).softmax(-1)),
            "The softmax is applied twice, and the weights are nearly equal.",
            "Does a function you call already apply it?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "log-softmax",
            make(weigh=lambda s, d: s.log_softmax(-1)),
            "Your weights are logarithms: log_softmax in place of softmax.",
            "A weight lies between 0 and 1.",
            SOFTMAX_LINE,
        ),
        Mistake(
            "sigmoid",
            make(weigh=lambda s, d: s.sigmoid()),
            "A sigmoid in place of the softmax: your rows do not sum to 1.",
            "In a softmax the keys of one query compete.",
            SOFTMAX_LINE,
        ),
        Mistake(
            "divided by the sum, no exponential",
            make(weigh=lambda s, d: s / s.sum(-1, keepdim=True)),
            "The scores are divided by their sum; the exponential of the softmax is missing.",
            "A score can be negative, a weight cannot.",
            SOFTMAX_LINE,
        ),
        Mistake(
            "exponentials not divided",
            make(weigh=lambda s, d: s.exp()),
            "The exponentials of the scores are not divided by their sum.",
            "What makes each row sum to 1?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "overflow",
            make(weigh=lambda s, d: softmax_by_hand(s, 0.0)),
            "Right for small scores; large ones overflow to NaN.",
            "Take each row's maximum away before the exponential, as in the exercise on the softmax.",
            SOFTMAX_LINE,
        ),
        Mistake(
            "one maximum for all rows",
            make(weigh=lambda s, d: softmax_by_hand(s, s.max())),
            "You take away one maximum for the whole tensor; a low row then divides 0 by 0.",
            "Each row needs its own maximum: which axis does your `max` run over?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "one winner",
            make(weigh=lambda s, d: F.one_hot(s.argmax(-1), s.size(-1)).to(s) + 0 * s),
            "The best key takes everything; a soft look-up gives every key its share.",
            "argmax picks one key and has no useful gradient.",
            SOFTMAX_LINE,
        ),
        Mistake(
            "equal weights",
            make(scale=lambda q, k, v: 0.0),
            "All weights are equal: your scores have no influence.",
            "Do the scores really reach the softmax?",
            SOFTMAX_LINE,
        ),
        Mistake(
            "the future is hidden",
            make(weigh=lambda s, d: hidden(s, torch.ones_like(s, dtype=torch.bool).tril())),
            "A causal mask hides later keys; here every query may see every key.",
            "Masks come in lesson 05. Take this one out; is_causal=True makes one, too.",
            SOFTMAX_LINE,
        ),
        Mistake(
            "its own token is hidden",
            make(weigh=lambda s, d: hidden(s, ~torch.eye(*s.shape[-2:], dtype=torch.bool))),
            "The diagonal is hidden; here every query may see every key.",
            "Masks come in lesson 05. Take this one out.",
            SOFTMAX_LINE,
        ),
        Mistake(
            "cosine in place of the dot product",
            make(
                scale=lambda q, k, v: 1.0,
                scores=lambda q, k: F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT,
            ),
            "Your scores are cosines: the lengths of q and k are divided away.",
            "Scaled dot-product attention keeps the lengths, and divides by √Dh only.",
            SCALE_LINE,
        ),
        Mistake(
            "no gradient to the weights",
            make(weigh=lambda s, d: s.softmax(-1).detach()),
            "The numbers are right, but no gradient reaches queries and keys.",
            "`.detach()`, `.data`, `.item()` and torch.no_grad() cut the gradient.",
            SOFTMAX_LINE,
        ),
    )


def keys_first(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    weights = (k @ q.mT * q.size(-1) ** -0.5).softmax(-1)  # (B, Tk, Tq)
    return weights.mT @ v, weights


SCALE_LINE = "scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5"


MIX_LINE = "output = weights @ v"


SOFTMAX_LINE = "weights = scores.softmax(dim=-1)"


def cut(x: Tensor, n_heads: int) -> Tensor:
    return x.view(x.size(0), x.size(1), n_heads, x.size(2) // n_heads)  # (B, T, H, Dh)


def counted(*shape: int) -> Tensor:
    """Return 1, 2, 3, … in this shape, so that every number says where it came from."""
    return torch.arange(1.0, math.prod(shape) + 1).view(*shape)


def each_number_once(result: Tensor, original: Tensor) -> bool:
    return torch.equal(result.flatten().sort().values, original.double().flatten())
