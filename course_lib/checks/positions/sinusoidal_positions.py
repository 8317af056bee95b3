"""Exercise 03.sinusoidal_positions: the table of sines and cosines.

T tokens · D d_model
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, yes
from course_lib.checks.shared import agrees, differ, left_to_chance

SINUSOIDAL_STUB = '''
def sinusoidal_positions(length, d_model):
    """Compute the table of sinusoidal positions: one row a position, two columns a frequency.

    table[p, 2i] = sin(p / 10000^(2i / d_model)) and table[p, 2i + 1] = cos(p / 10000^(2i / d_model)),
    for positions p = 0 … length - 1 and pairs i = 0 … d_model / 2 - 1.

    Args:
        length: T, an int, at least 1.
        d_model: D, an even int, at least 2.

    Returns:
        The table, (T, D), floating point. Sines and cosines stand in turns: sin, cos, sin, cos, …
    """
'''


_SMALL = "table of five positions"


def _table_of(candidate: Any, length: int, d_model: int) -> Seen:
    return {"table": a_tensor(a_function(candidate)(length, d_model))}


def _table_of_five_positions(candidate: Any) -> Seen:
    seen, again = _table_of(candidate, 5, 8), _table_of(candidate, 5, 8)
    return seen | {"second call differs": yes(differ(seen, again))}


def _table_of_more_positions(candidate: Any) -> Seen:
    return _table_of(candidate, 11, 8)


def _table_of_other_widths(candidate: Any) -> Seen:
    wide, narrow = a_tensor(candidate(3, 260)), a_tensor(candidate(7, 4))
    return {"wide table": wide, "narrow table": narrow}


def _table_of_one_frequency(candidate: Any) -> Seen:
    return _table_of(candidate, 4, 2)


def _table_of_one_position(candidate: Any) -> Seen:
    return _table_of(candidate, 1, 6)


def _table_that_is_square(candidate: Any) -> Seen:
    return _table_of(candidate, 6, 6)


def _table_of_a_long_text(candidate: Any) -> Seen:
    """The far end of a longer table: rounding, and what does not go on for ever."""
    far, expected = a_tensor(candidate(5100, 4)), _made()(5100, 4)
    right = far.shape == expected.shape and torch.allclose(far.double(), expected.double(), atol=1e-2)
    return {"last rows of the table": a_tensor(candidate(150, 12))[-4:], "5100 rows are right": yes(right)}


def _rates(i: Tensor, d: int) -> Tensor:
    return 10000.0 ** (-2 * i / d)


def _made(
    rates: Callable[[Tensor, int], Tensor] = _rates,
    *,
    first: int = 0,
    even: Callable[[Tensor], Tensor] = torch.sin,
    odd: Callable[[Tensor], Tensor] = torch.cos,
) -> Callable[[int, int], Tensor]:
    """The table with other frequencies (of pair i at width D), another first position, other functions."""

    def table(length: int, d_model: int) -> Tensor:
        positions = torch.arange(first, first + length, dtype=torch.float64)[:, None]
        angles = positions * rates(torch.arange(d_model // 2, dtype=torch.float64), d_model)
        return torch.stack([even(angles), odd(angles)], dim=-1).flatten(-2).float()  # (T, D)

    return table


def _then(change: Callable[[Tensor], Tensor]) -> Callable[[int, int], Tensor]:
    """The right table, and then something done to it."""
    return lambda length, d_model: change(_made()(length, d_model))


def _a_frequency_for_each_column(shift: int) -> Callable[[int, int], Tensor]:
    def table(length: int, d_model: int) -> Tensor:
        column = torch.arange(d_model, dtype=torch.float64) + shift * (torch.arange(d_model) % 2 == 0)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * 10000.0 ** (-column / d_model)
        return torch.where(torch.arange(d_model) % 2 == 0, angles.sin(), angles.cos()).float()

    return table


def _all_columns(function: Callable[[Tensor], Tensor]) -> Callable[[int, int], Tensor]:
    def table(length: int, d_model: int) -> Tensor:
        column = torch.arange(d_model, dtype=torch.float64)
        angles = torch.arange(length, dtype=torch.float64)[:, None] * 10000.0 ** (-column / d_model)
        return function(angles).float()

    return table


def _floored(length: int, d_model: int) -> Tensor:
    """-math.log(10000) / d_model // 2: the division by 2 rounds down, and nothing of the logarithm is left."""
    rate = -math.log(10000.0) / d_model // 2
    return _made(lambda i, d: torch.exp(2 * i * rate))(length, d_model)


def _whole_angles(length: int, d_model: int) -> Tensor:
    angles = torch.arange(length)[:, None] // 10000.0 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def _of_length(length: int, d_model: int) -> Tensor:
    angles = torch.arange(length, dtype=torch.float64)[:, None] / length
    angles = angles * _rates(torch.arange(d_model // 2, dtype=torch.float64), d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2).float()


_LINE = "angles = positions[:, None] / 10000 ** (torch.arange(0, d_model, 2) / d_model)"
_TURNS = "table[:, 0::2] = angles.sin(); table[:, 1::2] = angles.cos()"

_EXPONENT = "Work out the exponents for d_model = 8: they are 0, 2/8, 4/8, 6/8. What are yours?"


_SINUSOIDAL_MISTAKES = (
    Mistake(
        "sines first, cosines after",
        _then(lambda t: torch.cat([t[:, 0::2], t[:, 1::2]], dim=1)),
        "All sines stand before all cosines: a layout that exists; here they take turns.",
        "The numbers are right, and many programs use this layout. The exercise asks for sin, cos, sin, cos: "
        "the paper's formula.",
        _TURNS,
    ),
    Mistake(
        "cosines first, sines after",
        _then(lambda t: torch.cat([t[:, 1::2], t[:, 0::2]], dim=1)),
        "All your cosines stand before all sines; here they take turns, sine first.",
        "The numbers are right. The exercise asks for sin, cos, sin, cos: the paper's formula.",
        _TURNS,
    ),
    Mistake(
        "sine and cosine exchanged",
        _made(even=torch.cos, odd=torch.sin),
        "Sine and cosine are exchanged: column 0 should hold sines.",
        "At position 0 the row is 0, 1, 0, 1, …: sin 0 is 0, cos 0 is 1.",
        _TURNS,
    ),
    Mistake(
        "sines only, in pairs",
        _made(odd=torch.sin),
        "Both columns of a pair are sines; the second should be a cosine.",
        "A sine alone cannot tell an angle from its mirror image.",
        _TURNS,
    ),
    Mistake(
        "cosines only, in pairs",
        _made(even=torch.cos),
        "Both columns of a pair are cosines; the first should be a sine.",
        "A cosine alone cannot tell an angle from its mirror image.",
        _TURNS,
    ),
    Mistake(
        "sines only, a frequency for each column",
        _all_columns(torch.sin),
        "Every column is a sine, with a frequency of its own; sine and cosine share one.",
        "Even columns take the sine and odd ones the cosine, of the same angle.",
        _TURNS,
    ),
    Mistake(
        "a frequency for each column",
        _a_frequency_for_each_column(0),
        "Your cosines have another frequency than the sine beside them; a pair shares one.",
        "Columns 2i and 2i + 1 have the same exponent, 2i / d_model. For an odd column j, what is 2i?",
        _LINE,
    ),
    Mistake(
        "the exponent grows by half as much",
        _made(lambda i, d: 10000.0 ** (-i / d)),
        "Your frequencies are those of the exponent i / d_model, not 2i / d_model.",
        _EXPONENT,
        _LINE,
    ),
    Mistake(
        "the exponent grows twice as much",
        _made(lambda i, d: 10000.0 ** (-4 * i / d)),
        "Your frequencies are those of the exponent 4i / d_model, not 2i / d_model.",
        "Does the 2 come in twice: once in arange(0, d_model, 2), and once more? " + _EXPONENT,
        _LINE,
    ),
    Mistake(
        "the last exponent is 1",
        _made(lambda i, d: 10000.0 ** (-i / max(d / 2 - 1, 1))),
        "Your exponents run from 0 to 1; the last one should be (d_model − 2) / d_model.",
        "That is tensor2tensor's variant: linspace includes its end. " + _EXPONENT,
        _LINE,
    ),
    Mistake(
        "the last exponent is 1, by the width",
        _made(lambda i, d: 10000.0 ** (-2 * i / max(d - 1, 1))),
        "Your exponent is 2i / (d_model − 1); it should be 2i / d_model.",
        _EXPONENT,
        _LINE,
    ),
    Mistake(
        "the exponents begin at 2 / d",
        _made(lambda i, d: 10000.0 ** (-2 * (i + 1) / d)),
        "Your exponents begin at 2 / d_model; the first one is 0.",
        "Pairs are counted from i = 0, so that the fastest frequency is 1.",
        _LINE,
    ),
    Mistake(
        "the exponent is rounded away",
        _made(lambda i, d: 10000.0 ** (-(2 * i // d))),
        "Every pair has the same frequency, as if your exponents were all 0.",
        "`//` rounds down, and 2i is always below d_model. Write `/`. Or is the division by 10000^(…) missing?",
        _LINE,
    ),
    Mistake(
        "the logarithm is rounded",
        _floored,
        "A rounded division stands in your exponent: `//`, or `/ d // 2`.",
        "In Python -log(10000) / d // 2 rounds down, to −1 or less. Write brackets, and `/`.",
        _LINE,
    ),
    Mistake(
        "multiplied",
        _made(lambda i, d: 10000.0 ** (2 * i / d)),
        "You multiply by 10000^(2i / d_model); the position should be divided by it.",
        "The later pairs should turn slowly. Is a minus sign missing in an exponent?",
        _LINE,
    ),
    Mistake(
        "the order of the frequencies",
        _made(lambda i, d: 10000.0 ** (-(d - 2 - 2 * i) / d)),
        "Your frequencies are in reverse order: the first pair should be the fastest.",
        "The exponent of pair 0 is 0.",
        _LINE,
    ),
    Mistake(
        "base 1000",
        _made(lambda i, d: 1000.0 ** (-2 * i / d)),
        "Your base is 1000; it should be 10000.",
        "Count the zeros.",
        _LINE,
    ),
    Mistake(
        "base 100000",
        _made(lambda i, d: 100000.0 ** (-2 * i / d)),
        "Your base is 100000; it should be 10000.",
        "Count the zeros.",
        _LINE,
    ),
    Mistake(
        "the logarithm to base 10",
        _made(lambda i, d: torch.exp(-math.log10(10000.0) * 2 * i / d)),
        "Your frequencies come from a logarithm to base 10: the base is e⁴ in effect.",
        "exp and log undo each other only if log is the natural one: math.log, not math.log10.",
        _LINE,
    ),
    Mistake(
        "no exponent",
        _made(lambda i, d: 1 / (10000.0 * 2 * i / d)),
        "Your first pair is NaN: 10000 times 2i / d_model is 0 there; a power is asked for.",
        "A power is written `**` in Python.",
        _LINE,
    ),
    Mistake(
        "the angles are rounded down",
        _whole_angles,
        "Your angles are rounded down to whole numbers.",
        "`//` rounds down. Write `/`.",
        _LINE,
    ),
    Mistake(
        "positions begin at 1",
        _made(first=1),
        "Your positions begin at 1; the first one is 0.",
        "Row 0 should be 0, 1, 0, 1 and so on.",
        "torch.arange(length)",
    ),
    Mistake(
        "positions in reverse",
        _then(lambda t: t.flip(0)),
        "Your rows stand in reverse order: position 0 should be the first.",
        "Row 0 should be 0, 1, 0, 1 and so on.",
        "torch.arange(length)",
    ),
    Mistake(
        "positions are divided by the length",
        _of_length,
        "Your positions are divided by the length; row p should not depend on it.",
        "Otherwise the third word of a long sentence has another row than the third word of a short one.",
        "torch.arange(length)",
    ),
    Mistake(
        "degrees",
        _made(lambda i, d: _rates(i, d) * math.pi / 180),
        "Your angles are taken for degrees: multiplied by π / 180.",
        "torch.sin takes the angle as it is.",
        _LINE,
    ),
    Mistake(
        "whole turns",
        _made(lambda i, d: _rates(i, d) * 2 * math.pi),
        "Your angles are multiplied by 2π.",
        "The formula has no π: torch.sin takes the angle as it is.",
        _LINE,
    ),
    Mistake(
        "the angles themselves",
        _made(even=lambda a: a, odd=lambda a: a),
        "Your table holds the angles; the sine and the cosine are missing.",
        "Every number of the table lies between −1 and 1.",
        _TURNS,
    ),
    Mistake(
        "the sign of the sine",
        _made(even=lambda a: -a.sin()),
        "Your sines have the wrong sign.",
        "Is there a minus in front of the position? It belongs into the exponent only.",
        _LINE,
    ),
    Mistake(
        "the sine's columns alone",
        _made(odd=torch.zeros_like),
        "Every second column is 0: the cosines are missing.",
        "`0::2` are the even columns, `1::2` the odd ones.",
        _TURNS,
    ),
    Mistake(
        "the cosine's columns alone",
        _made(even=torch.zeros_like),
        "Every second column is 0: the sines are missing.",
        "`0::2` are the even columns, `1::2` the odd ones.",
        _TURNS,
    ),
    Mistake(
        "scaled by the root of the width",
        lambda length, d_model: _made()(length, d_model) * math.sqrt(d_model),
        "Your table is multiplied by √d_model; that belongs to the embeddings.",
        "Every number of the table lies between −1 and 1.",
        _TURNS,
    ),
    Mistake(
        "rows of length 1",
        _then(lambda t: t / t.norm(dim=-1, keepdim=True)),
        "Your rows are scaled to length 1.",
        "sin² + cos² is 1 for each pair already; nothing is to be divided.",
        _TURNS,
    ),
    Mistake(
        "transposed",
        lambda length, d_model: _made()(length, d_model).T,
        "Your table is transposed: rows should be positions.",
        "(T, D): one row a position. Which of the two gets [:, None]?",
        _LINE,
    ),
    Mistake(
        "a batch axis in front",
        _then(lambda t: t[None]),
        "Your table is (1, T, D); the exercise asks for (T, D).",
        "Broadcasting puts the missing axis in front by itself.",
        _TURNS,
    ),
    Mistake(
        "position and pair exchanged",
        lambda length, d_model: torch.stack(
            [
                (
                    a := torch.arange(d_model // 2) / 10000.0 ** (2 * torch.arange(length)[:, None] / d_model)
                ).sin(),
                a.cos(),
            ],
            dim=-1,
        ).flatten(-2),
        "Position and pair are exchanged: the exponent should grow with the pair.",
        "Row 1 should be sin 1, cos 1, then slower ones. Which of the two stands in the exponent?",
        _LINE,
    ),
)


def _small(seen: dict[str, Seen]) -> Tensor:
    return seen[_SMALL]["table"]


_SINUSOIDAL_PROPERTIES = (
    left_to_chance(_SMALL),
    Property(
        "not a number",
        lambda seen: bool(_small(seen).isfinite().all()),
        "There are NaN or infinite numbers in your table.",
        "Is something divided by 0, or by a position, or a logarithm taken of 0?",
    ),
    Property(
        "outside −1 and 1",
        lambda seen: bool((_small(seen).abs() <= 1.001).all()),
        "Some numbers of your table lie outside −1 and 1.",
        "A sine or a cosine never does. Is something multiplied or added afterwards, or not written at all?",
    ),
    Property(
        "row 0",
        lambda seen: torch.allclose(_small(seen)[0], torch.tensor([0.0, 1.0] * 4).double(), atol=1e-3),
        "Row 0 of your table should be 0, 1, 0, 1 and so on.",
        "At position 0 every angle is 0; cos 0 is 1. Do positions begin at 0, do sines and cosines take turns?",
    ),
    Property(
        "whole numbers",
        lambda seen: bool((_small(seen).frac() != 0).any()),
        "Your table holds whole numbers only.",
        "Is it made with an integer dtype? Sines and cosines want floating point.",
    ),
    Property(
        "pairs of unlike angles",
        lambda seen: bool(((_small(seen).unflatten(-1, (4, 2)) ** 2).sum(-1) - 1).abs().max() < 1e-3),
        "In some pair of columns sin² + cos² is not 1.",
        "Columns 2i and 2i + 1 are the sine and the cosine of the same angle, and nothing is done to them.",
    ),
    Property(
        "the first pair",
        lambda seen: torch.allclose(_small(seen)[:, 0], torch.arange(5.0).double().sin(), atol=1e-3),
        "Your first column should be sin 0, sin 1, sin 2, …: its angle is the position.",
        "The first exponent is 0, and 10000 to the power of 0 is 1.",
    ),
    Property(
        "the first pair's cosine",
        lambda seen: torch.allclose(_small(seen)[:, 1], torch.arange(5.0).double().cos(), atol=1e-3),
        "Your second column should be cos 0, cos 1, cos 2, …: its angle is the position.",
        "It is the partner of column 0, with the same angle. cos 2 is below 0.",
    ),
    Property(
        "wrong for another length",
        lambda seen: torch.allclose(_small(seen), seen["table of more positions"]["table"][:5], atol=1e-3),
        "Your first rows change when the table gets longer.",
        "Row p depends on p and d_model alone.",
    ),
    Property(
        "multiplied, and rounded",
        lambda seen: (
            not torch.allclose(_small(seen)[1, ::2], (10.0 ** torch.arange(4.0)).double().sin(), atol=1e-2)
        ),
        "You multiply by 10000^(2i / d_model); the position should be divided by it.",
        "The later pairs should turn slowly. Is a minus sign missing in an exponent?",
    ),
    Property(
        "other frequencies",
        lambda seen: agrees(seen, _table_of_five_positions, SINUSOIDAL.reference),
        "The first pair is right; later ones have other angles than asked.",
        _EXPONENT,
    ),
    Property(
        "wrong for another width",
        lambda seen: agrees(seen, _table_of_other_widths, SINUSOIDAL.reference),
        "Right for d_model = 8; wrong for another width.",
        "Is there a fixed number in your code where d_model belongs?",
    ),
    Property(
        "wrong far out",
        lambda seen: agrees(seen, _table_of_a_long_text, SINUSOIDAL.reference),
        "Right for the first positions; wrong far out in a long table.",
        "Is the table cut off or repeated, or computed in half precision? length may be thousands.",
    ),
)


SINUSOIDAL: Exercise = Exercise(
    id="03.sinusoidal_positions",
    title="The sinusoidal table",
    stub=SINUSOIDAL_STUB,
    reference=_made(),
    experiments=(
        _table_of_five_positions,
        _table_of_more_positions,
        _table_of_other_widths,
        _table_of_one_frequency,
        _table_of_one_position,
        _table_that_is_square,
        _table_of_a_long_text,
    ),
    mistakes=_SINUSOIDAL_MISTAKES,
    properties=_SINUSOIDAL_PROPERTIES,
    difficulty=2,
    importance=4,
    minutes=15,
)
