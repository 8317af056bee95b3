"""Exercise 03.rotary: turn pairs of numbers by their position.

B batch · T tokens · Dh d_head
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, differ, left_to_chance, no_gradient

ROTARY_STUB = '''
def rotate(x, start):
    """Turn each pair of numbers of a query or key by an angle that grows with its position.

    The pair (x[2i], x[2i + 1]) of the token at position p is turned by the angle
    a = p / 10000^(2i / Dh): it becomes (x[2i] cos a - x[2i + 1] sin a, x[2i] sin a + x[2i + 1] cos a).

    Args:
        x: queries or keys, (B, T, Dh); Dh is even.
        start: the position of the first token, an int: 0 for a whole sentence, more in step-by-step
            decoding; it may be in the thousands. The others follow: start + 1, start + 2, …

    Returns:
        The shape of x. x itself stays as it was, and gradients flow back to it.
    """
'''


_THREE, _LATER = "turning three tokens", "turning tokens that begin later"


def _turned(candidate: Any, x: Tensor, start: int) -> Seen:
    return {"output": a_tensor(a_function(candidate)(x, start))}


def _turning_three_tokens(candidate: Any) -> Seen:
    x = numbers(2, 3, 8, seed=1)
    given = x.clone()
    seen = _turned(candidate, given, 0)
    again = _turned(candidate, x.clone(), 0)
    return seen | {
        "input changed": yes(not torch.equal(given, x)),
        "second call differs": yes(differ(seen, again)),
    }


def _turning_tokens_that_begin_later(candidate: Any) -> Seen:
    return _turned(candidate, numbers(2, 3, 8, seed=2), 5)


def _turning_one_token(candidate: Any) -> Seen:
    return _turned(candidate, numbers(3, 1, 4, seed=3), 4)


def _turning_one_sentence(candidate: Any) -> Seen:
    return _turned(candidate, numbers(1, 5, 6, seed=4), 0)


def _turning_one_pair(candidate: Any) -> Seen:
    return _turned(candidate, numbers(2, 4, 2, seed=5), 1)


def _turning_a_cube(candidate: Any) -> Seen:
    return _turned(candidate, numbers(4, 4, 4, seed=6), 0)


def _turning_a_long_text(candidate: Any) -> Seen:
    try:
        far = a_tensor(candidate(numbers(1, 3, 4, seed=8), 5000))
        expected = _rotary()(numbers(1, 3, 4, seed=8), 5000)
    except (RuntimeError, IndexError) as error:
        raise WrongReturn(
            "ends too early",
            f"Where start is large, your code stops with {type(error).__name__}."[:83],
            f"Is there a table of a fixed length? start may be in the thousands. Python says: {error}",
        ) from error
    last = a_tensor(candidate(numbers(1, 60, 12, seed=7), 40))[:, -3:]
    right = far.shape == expected.shape and torch.allclose(far.double(), expected.double(), atol=3e-2)
    return {"last tokens of the output": last, "right from start = 5000 on": yes(right)}


def _turning_as_many_tokens_as_pairs(candidate: Any) -> Seen:
    return _turned(candidate, numbers(3, 4, 8, seed=9), 2)


def _turning_the_second_sentence_alone(candidate: Any) -> Seen:
    return {"_output": a_tensor(candidate(numbers(2, 3, 8, seed=1)[1:], 0))}


def _turning_gradients(candidate: Any) -> Seen:
    (leaf,), (x,) = watched(numbers(2, 3, 8, seed=1))
    return gradients(a_tensor(candidate(x, 2)), {"x": leaf})


def _rates(i: Tensor, width: int) -> Tensor:
    return 10000.0 ** (-2 * i / width)


def _positions(x: Tensor, start: int) -> Tensor:
    return torch.arange(start, start + x.size(-2), dtype=torch.float64)


def _turn(a: Tensor, b: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    return a * cos - b * sin, a * sin + b * cos


def _rotary(
    *,
    rates: Callable[[Tensor, int], Tensor] = _rates,
    places: Callable[[Tensor, int], Tensor] = _positions,
    turn: Callable[..., tuple[Tensor, Tensor]] = _turn,
    pairs: Callable[[Tensor], tuple[Tensor, Tensor]] = lambda x: (x[..., 0::2], x[..., 1::2]),
    join: Callable[[Tensor, Tensor], Tensor] = lambda a, b: torch.stack([a, b], -1).flatten(-2),
) -> Callable[[Tensor, int], Tensor]:
    """The rotation with one part exchanged: frequencies, positions, the turn, which numbers are a pair."""

    def run(x: Tensor, start: int) -> Tensor:
        width = x.size(-1)
        angles = places(x, start)[..., None] * rates(torch.arange(width // 2, dtype=torch.float64), width)
        return join(*turn(*pairs(x), angles.cos().to(x.dtype), angles.sin().to(x.dtype)))

    return run


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    one, other = x.chunk(2, dim=-1)
    return one, other


def _laid_end_to_end(a: Tensor, b: Tensor) -> Tensor:
    return torch.cat([a, b], dim=-1)


def _mixed_layouts(x: Tensor, start: int) -> Tensor:
    """x · cos + rotate_half(x) · sin, with halves for the turn and neighbours for the angles."""
    angles = _positions(x, start)[:, None] * _rates(torch.arange(x.size(-1) // 2), x.size(-1))
    angles = angles.repeat_interleave(2, dim=-1).to(x.dtype)  # (T, Dh): each angle twice, side by side
    one, other = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat([-other, one], dim=-1) * angles.sin()


def _mixed_the_other_way(x: Tensor, start: int) -> Tensor:
    """Neighbours for the turn, halves for the angles."""
    angles = _positions(x, start)[:, None] * _rates(torch.arange(x.size(-1) // 2), x.size(-1))
    angles = torch.cat([angles, angles], dim=-1).to(x.dtype)
    turned = torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2)
    return x * angles.cos() + turned * angles.sin()


def _sinusoids(x: Tensor, start: int) -> Tensor:
    angles = _positions(x, start)[:, None] * _rates(torch.arange(x.size(-1) // 2), x.size(-1))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).to(x.dtype)  # (T, Dh)


def _in_place(x: Tensor, start: int) -> Tensor:
    turned = _rotary()(x, start)
    x.data.copy_(turned)
    return turned


def _one_after_the_other(x: Tensor, start: int) -> Tensor:
    """The second number of a pair is made from the first one after it was overwritten."""
    angles = _positions(x, start)[:, None] * _rates(torch.arange(x.size(-1) // 2), x.size(-1))
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first = x[..., 0::2] * cos - x[..., 1::2] * sin
    return torch.stack([first, first * sin + x[..., 1::2] * cos], dim=-1).flatten(-2)


_LINE = (
    "a, b = x[..., 0::2], x[..., 1::2]; torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)"
)
_ANGLES = "angles = torch.arange(start, start + T)[:, None] / 10000 ** (torch.arange(0, Dh, 2) / Dh)"

_HALVES = "Numbers 2i and 2i + 1 are a pair here: neighbours. x[..., 0::2] and x[..., 1::2] are the firsts and seconds."


_ROTARY_MISTAKES = (
    Mistake(
        "halves in place of neighbours",
        _rotary(pairs=_halves, join=_laid_end_to_end),
        "You pair x[i] with x[i + Dh/2]: a layout that exists; here neighbours are pairs.",
        f"Many published models pair the two halves. {_HALVES}",
        _LINE,
    ),
    Mistake(
        "laid end to end",
        _rotary(join=_laid_end_to_end),
        "The pairs are turned rightly, but laid out as all firsts, then all seconds.",
        "Where each number came from, it should go back to. torch.cat lays end to end; stack and flatten take turns.",
        _LINE,
    ),
    Mistake(
        "taken as halves, put back as neighbours",
        _rotary(pairs=_halves),
        "Your pairs are taken from the two halves, and put back as neighbours.",
        _HALVES,
        _LINE,
    ),
    Mistake(
        "halves turned by the angles of neighbours",
        _mixed_layouts,
        "Two layouts are mixed: halves are turned, by angles laid out for neighbours.",
        f"repeat_interleave belongs to neighbours, torch.cat([angles, angles]) to halves. {_HALVES}",
        _LINE,
    ),
    Mistake(
        "neighbours turned by the angles of halves",
        _mixed_the_other_way,
        "Two layouts are mixed: neighbours are turned, by angles laid out for halves.",
        f"repeat_interleave belongs to neighbours, torch.cat([angles, angles]) to halves. {_HALVES}",
        _LINE,
    ),
    Mistake(
        "the other way round",
        _rotary(turn=lambda a, b, cos, sin: (a * cos + b * sin, b * cos - a * sin)),
        "Your pairs are turned the other way round: the angle has the wrong sign.",
        "The first number loses b sin a, and the second gains a sin a.",
        _LINE,
    ),
    Mistake(
        "both signs plus",
        _rotary(turn=lambda a, b, cos, sin: (a * cos + b * sin, a * sin + b * cos)),
        "Both of your signs are plus: the pairs are not turned, and change their length.",
        "A turn has one minus: the first number is a cos − b sin.",
        _LINE,
    ),
    Mistake(
        "both signs minus",
        _rotary(turn=lambda a, b, cos, sin: (a * cos - b * sin, a * sin - b * cos)),
        "Both of your signs are minus: the second number of a pair should be a sum.",
        "(a cos − b sin, a sin + b cos).",
        _LINE,
    ),
    Mistake(
        "sine and cosine exchanged",
        _rotary(turn=lambda a, b, cos, sin: (a * sin - b * cos, a * cos + b * sin)),
        "Sine and cosine are exchanged: at position 0 nothing should be turned.",
        "At angle 0 the cosine is 1 and the sine 0. What becomes of a pair then?",
        _LINE,
    ),
    Mistake(
        "the pair exchanged",
        _rotary(turn=lambda a, b, cos, sin: (a * sin + b * cos, a * cos - b * sin)),
        "The two numbers of each pair have changed places.",
        "The first of a pair is a cos − b sin.",
        _LINE,
    ),
    Mistake(
        "multiplied, not turned",
        _rotary(turn=lambda a, b, cos, sin: (a * cos, b * sin)),
        "Your numbers are multiplied by cosine or sine; a turn mixes the two of a pair.",
        "(a cos − b sin, a sin + b cos).",
        _LINE,
    ),
    Mistake(
        "the cosine's part alone",
        _rotary(turn=lambda a, b, cos, sin: (a * cos, b * cos)),
        "The sines are missing: each number is multiplied by the cosine only.",
        "(a cos − b sin, a sin + b cos).",
        _LINE,
    ),
    Mistake(
        "the sum of both parts",
        _rotary(turn=lambda a, b, cos, sin: (a * cos + a * sin, b * cos + b * sin)),
        "Each number is mixed with itself; a turn mixes the two of a pair.",
        "The sine is multiplied by the *other* number of the pair.",
        _LINE,
    ),
    Mistake(
        "one after the other",
        _one_after_the_other,
        "The second number of each pair is made from the first one's new value.",
        "Keep the old first number until both are made.",
        _LINE,
    ),
    Mistake(
        "added in place of turned",
        lambda x, start: x + _sinusoids(x, start),
        "A table of sinusoids is added; here pairs are turned.",
        "Rotary positions multiply, they add nothing: a vector keeps its length.",
        _LINE,
    ),
    Mistake(
        "multiplied by sinusoids",
        lambda x, start: x * _sinusoids(x, start),
        "x is multiplied by a table of sinusoids; a turn mixes the two of a pair.",
        "(a cos − b sin, a sin + b cos).",
        _LINE,
    ),
    Mistake(
        "start is not used",
        _rotary(places=lambda x, start: _positions(x, 0)),
        "Your positions begin at 0 whatever `start` says.",
        "In step-by-step decoding each call brings one token: it would always be the first.",
        _ANGLES,
    ),
    Mistake(
        "positions begin at start + 1",
        _rotary(places=lambda x, start: _positions(x, start + 1)),
        "Your positions begin one too late: the first token stands at `start`.",
        "With start = 0 the first token is not turned at all.",
        _ANGLES,
    ),
    Mistake(
        "every token at start",
        _rotary(places=lambda x, start: torch.full((x.size(-2),), float(start), dtype=torch.float64)),
        "All tokens are turned alike: each should have its own position.",
        "start, start + 1, start + 2, … : one position a token.",
        _ANGLES,
    ),
    Mistake(
        "the batch in place of the tokens",
        _rotary(
            places=lambda x, start: torch.arange(start, start + x.size(0), dtype=torch.float64)[
                :, None
            ].expand(x.shape[:2])
        ),
        "Your positions count sentences, not tokens.",
        "x is (B, T, Dh): T is x.size(1).",
        _ANGLES,
    ),
    Mistake(
        "not turned",
        lambda x, start: x * 1.0,
        "Nothing is turned: your output is x.",
        "Do the angles reach what you return?",
        _LINE,
    ),
    Mistake(
        "one angle for all pairs",
        _rotary(rates=lambda i, width: torch.ones_like(i)),
        "All pairs of a token are turned by the same angle, its position.",
        "Pair i is slower than pair 0: the position is divided by 10000^(2i / Dh).",
        _ANGLES,
    ),
    Mistake(
        "the exponent grows by half as much",
        _rotary(rates=lambda i, width: 10000.0 ** (-i / width)),
        "Your frequencies are those of the exponent i / Dh, not 2i / Dh.",
        "For Dh = 8 the exponents are 0, 2/8, 4/8, 6/8. What are yours?",
        _ANGLES,
    ),
    Mistake(
        "the exponent grows twice as much",
        _rotary(rates=lambda i, width: 10000.0 ** (-4 * i / width)),
        "Your frequencies are those of the exponent 4i / Dh, not 2i / Dh.",
        "Does the 2 come in twice: once in arange(0, Dh, 2), and once more?",
        _ANGLES,
    ),
    Mistake(
        "multiplied by the base",
        _rotary(rates=lambda i, width: 10000.0 ** (2 * i / width)),
        "You multiply by 10000^(2i / Dh); the position should be divided by it.",
        "Later pairs turn more slowly. Is a minus sign missing in an exponent?",
        _ANGLES,
    ),
    Mistake(
        "the order of the frequencies",
        _rotary(rates=lambda i, width: 10000.0 ** (-(width - 2 - 2 * i) / width)),
        "Your frequencies are in reverse order: the first pair should be the fastest.",
        "The exponent of pair 0 is 0.",
        _ANGLES,
    ),
    Mistake(
        "base 1000",
        _rotary(rates=lambda i, width: 1000.0 ** (-2 * i / width)),
        "Your base is 1000; it should be 10000.",
        "Count the zeros.",
        _ANGLES,
    ),
    Mistake(
        "whole turns",
        _rotary(rates=lambda i, width: _rates(i, width) * 2 * math.pi),
        "Your angles are multiplied by 2π.",
        "The formula has no π: torch.cos takes the angle as it is.",
        _ANGLES,
    ),
    Mistake(
        "degrees",
        _rotary(rates=lambda i, width: _rates(i, width) * math.pi / 180),
        "Your angles are taken for degrees: multiplied by π / 180.",
        "torch.cos takes the angle as it is.",
        _ANGLES,
    ),
    Mistake(
        "only the first half",
        lambda x, start: torch.cat(
            [_rotary()(x, start)[..., : x.size(-1) // 2], x[..., x.size(-1) // 2 :]], dim=-1
        ),
        "Only the first half of each vector is turned.",
        "Some models do so; here every pair is turned.",
        _LINE,
    ),
    Mistake(
        "the complex numbers' parts",
        lambda x, start: _rotary()(x, start).unflatten(-1, (-1, 2)),
        "Your output still has an axis for the two numbers of a pair.",
        "After view_as_real, or stack, join the last two axes: flatten(-2).",
        _LINE,
    ),
    Mistake(
        "scaled to length 1",
        lambda x, start: F.normalize(_rotary()(x, start), dim=-1),
        "Your vectors are scaled to length 1; a turn keeps their length.",
        "Nothing is to be divided.",
        _LINE,
    ),
    Mistake(
        "x is added",
        lambda x, start: x + _rotary()(x, start),
        "x is added to the turned vectors; the turned ones alone are asked for.",
        "A sum of x and its layer belongs to the model, not to the positions.",
        _LINE,
    ),
    Mistake(
        "divided by √Dh",
        lambda x, start: _rotary()(x, start) / math.sqrt(x.size(-1)),
        "Your vectors are divided by √Dh; that scale belongs to the scores.",
        "A turn keeps the length of a vector.",
        _LINE,
    ),
    Mistake(
        "changes x",
        _in_place,
        "The output is right, but your function changes the x it was given.",
        "`x[..., 0::2] = …` writes into the caller's tensor. Make a new one.",
        _LINE,
    ),
    Mistake(
        "no gradient",
        lambda x, start: _rotary()(x.detach(), start),
        "The output is right, but no gradient flows back to x.",
        "`.detach()`, `.data`, `torch.tensor(…)`, torch.no_grad() and NumPy cut the gradient.",
        _LINE,
    ),
)


def _pairs_of(tensor: Tensor) -> Tensor:
    return tensor.unflatten(-1, (-1, 2)).double()  # (…, Dh/2, 2)


def _three(seen: dict[str, Seen]) -> Tensor:
    return seen[_THREE]["output"]


_ROTARY_PROPERTIES = (
    changes_its_input(_THREE),
    left_to_chance(_THREE),
    Property(
        "not a number",
        lambda seen: bool(_three(seen).isfinite().all()),
        "There are NaN or infinite numbers in your output.",
        "Is something divided by a position, which can be 0?",
    ),
    Property(
        "unlike alone",
        lambda seen: torch.allclose(
            seen["turning the second sentence alone"]["_output"], _three(seen)[1:], atol=1e-3
        ),
        "Alone, a sentence comes out otherwise than as the second of two.",
        "x is (B, T, Dh): positions count tokens, T = x.size(1), and every sentence is treated alike.",
    ),
    Property(
        "position 0 is turned",
        lambda seen: torch.allclose(_three(seen)[:, 0], numbers(2, 3, 8, seed=1)[:, 0].double(), atol=1e-3),
        "The token at position 0 should stay as it is: its angles are 0.",
        "cos 0 is 1, and sin 0 is 0. Do the numbers come back to where they were, and do positions begin at `start`?",
    ),
    Property(
        "the length of a vector",
        lambda seen: torch.allclose(
            _three(seen).norm(dim=-1), numbers(2, 3, 8, seed=1).double().norm(dim=-1), atol=1e-3
        ),
        "Your vectors change their length; a turn keeps it.",
        "cos² + sin² is 1 only if both belong to one angle, are not rounded, and have the signs of a turn.",
    ),
    Property(
        "other pairs",
        lambda seen: torch.allclose(
            _pairs_of(_three(seen)).norm(dim=-1), _pairs_of(numbers(2, 3, 8, seed=1)).norm(dim=-1), atol=1e-3
        ),
        "Your turn mixes numbers that are no pair: each pair (2i, 2i + 1) keeps its length.",
        _HALVES,
    ),
    Property(
        "the first pair's angle",
        lambda seen: torch.allclose(
            _three(seen)[..., :2], _rotary()(numbers(2, 3, 8, seed=1), 0)[..., :2].double(), atol=1e-3
        ),
        "Your first pair is turned by another angle than its position.",
        "Its exponent is 0: the angle is p itself, and the turn is (a cos p − b sin p, a sin p + b cos p).",
    ),
    Property(
        "not all are turned",
        lambda seen: bool(
            (_pairs_of(_three(seen)) != _pairs_of(numbers(2, 3, 8, seed=1)))[:, 1:]
            .any(-1)
            .any(0)
            .any(0)
            .all()
        ),
        "The first pair is right; some other pair is not turned at all.",
        "Dh / 2 pairs, Dh / 2 angles: is a loop or a slice too short, or an angle rounded down to 0?",
    ),
    Property(
        "other angles",
        lambda seen: agrees(seen, _turning_three_tokens, ROTARY.reference),
        "The first pair is right; later ones are turned by other angles than asked.",
        "For Dh = 8 the exponents are 0, 2/8, 4/8, 6/8. What are yours?",
    ),
    Property(
        "start",
        lambda seen: agrees(seen, _turning_tokens_that_begin_later, ROTARY.reference),
        "Right for start = 0; wrong where the first token stands later.",
        "The positions are start, start + 1, start + 2, one for each token.",
    ),
    Property(
        "another width",
        lambda seen: (
            agrees(seen, _turning_one_token, ROTARY.reference)
            and agrees(seen, _turning_one_sentence, ROTARY.reference)
            and agrees(seen, _turning_one_pair, ROTARY.reference)
            and agrees(seen, _turning_as_many_tokens_as_pairs, ROTARY.reference)
        ),
        "Right where x is (2, 3, 8); wrong for another width, length or number of sentences.",
        "Is there a fixed number in your code, or a size taken from the wrong axis?",
    ),
    Property(
        "wrong far out",
        lambda seen: agrees(seen, _turning_a_long_text, ROTARY.reference),
        "Right for the first positions; wrong far out in a long text.",
        "Is a table cut off or repeated, or an angle computed in half precision?",
    ),
    no_gradient("turning gradients", "x"),
)


ROTARY: Exercise = Exercise(
    id="03.rotary",
    title="Rotary positions",
    stub=ROTARY_STUB,
    reference=_rotary(),
    experiments=(
        _turning_three_tokens,
        _turning_tokens_that_begin_later,
        _turning_one_token,
        _turning_one_sentence,
        _turning_one_pair,
        _turning_a_cube,
        _turning_as_many_tokens_as_pairs,
        _turning_a_long_text,
        _turning_the_second_sentence_alone,
        _turning_gradients,
    ),
    mistakes=_ROTARY_MISTAKES,
    properties=_ROTARY_PROPERTIES,
    difficulty=3,
    importance=4,
    minutes=20,
)
