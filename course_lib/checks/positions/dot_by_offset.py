"""Exercise 03.dot_by_offset: how alike are positions that lie k apart?

T tokens · D d_model
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import (
    agrees,
    changes_its_input,
    differ,
    left_to_chance,
    never_written,
    no_gradient,
)

OFFSET_STUB = '''
def dot_by_offset(table):
    """Measure how alike two positions are, by how far they lie apart.

    Args:
        table: any table of positions, (T, D), one row a position.

    Returns:
        (T,): number k is the mean of the dot products table[p] · table[p + k] over all p for which both
        rows exist, p = 0 … T - 1 - k. The table stays as it was, and gradients flow back to it.
    """
'''


_FOUR = "offsets of four positions"


def _offsets_of(candidate: Any, table: Tensor) -> Seen:
    return {"means": a_tensor(a_function(candidate)(table))}


def _offsets_of_four_positions(candidate: Any) -> Seen:
    table = numbers(4, 3, seed=1)
    given = table.clone()
    seen = _offsets_of(candidate, given)
    again = _offsets_of(candidate, table.clone())
    return seen | {
        "input changed": yes(not torch.equal(given, table)),
        "second call differs": yes(differ(seen, again)),
    }


def _offsets_of_more_positions(candidate: Any) -> Seen:
    return _offsets_of(candidate, numbers(7, 4, seed=2))


def _offsets_of_a_wide_table(candidate: Any) -> Seen:
    return _offsets_of(candidate, numbers(3, 8, seed=3))


def _offsets_of_a_square(candidate: Any) -> Seen:
    return _offsets_of(candidate, numbers(5, 5, seed=4))


def _offsets_of_one_position(candidate: Any) -> Seen:
    return _offsets_of(candidate, numbers(1, 4, seed=5))


def _offsets_of_one_column(candidate: Any) -> Seen:
    return _offsets_of(candidate, numbers(6, 1, seed=6))


def _offsets_of_sinusoids(candidate: Any) -> Seen:
    angles = torch.arange(9.0)[:, None] / 10000 ** (torch.arange(0, 6, 2) / 6)
    return _offsets_of(candidate, torch.cat([angles.sin(), angles.cos()], dim=1))


def _offsets_of_unit_vectors(candidate: Any) -> Seen:
    """Most products are 0 here, and count as well."""
    return _offsets_of(candidate, torch.eye(4)[[0, 1, 0, 2, 0]])


def _offset_gradients(candidate: Any) -> Seen:
    (leaf,), (table,) = watched(numbers(4, 3, seed=1))
    return gradients(a_tensor(candidate(table)), {"table": leaf})


def _diagonals(products: Tensor) -> Tensor:
    return torch.stack([products.diagonal(k).mean() for k in range(len(products))])


def _by_offset(change: Callable[[Tensor], Tensor] = lambda t: t) -> Callable[[Tensor], Tensor]:
    """The means of the dot products of a changed table."""
    return lambda table: _diagonals(change(table) @ change(table).T)


def _each(of: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda table: torch.stack([of(table, k) for k in range(len(table))])


def _all_pairs(table: Tensor) -> Tensor:
    products = table @ table.T
    far = (torch.arange(len(table))[:, None] - torch.arange(len(table))).abs()
    return torch.stack([(products * (far == k)).sum() / len(table) for k in range(len(table))])


_LINE = "(table[: T - k] * table[k:]).sum(dim=-1).mean() for each k"

_PAIRS = "With T rows there are T − k pairs that lie k apart. List them for T = 4 and k = 1."


_OFFSET_MISTAKES = (
    Mistake(
        "sums in place of means",
        _each(lambda t, k: (t @ t.T).diagonal(k).sum()),
        "You sum the dot products of each offset; their mean is asked for.",
        _PAIRS,
        _LINE,
    ),
    Mistake(
        "divided by T",
        _each(lambda t, k: (t @ t.T).diagonal(k).sum() / len(t)),
        "You divide every sum by T; at offset k there are T − k pairs only.",
        _PAIRS,
        _LINE,
    ),
    Mistake(
        "both directions, divided by T",
        _all_pairs,
        "Each pair counts in both directions, and you divide by T, not by their number.",
        _PAIRS,
        _LINE,
    ),
    Mistake(
        "round the end",
        _each(lambda t, k: (t * t.roll(-k, 0)).sum(-1).mean()),
        "Your rows go round the end: the last position is compared with the first.",
        "roll, or an index modulo T, puts row 0 after the last one. Only pairs for which both rows exist count.",
        _LINE,
    ),
    Mistake(
        "from position 0 only",
        lambda t: t @ t[0],
        "You compare every row with row 0 only; the mean is over all pairs k apart.",
        "For a table of sinusoids that is the same; for other tables it is not.",
        _LINE,
    ),
    Mistake(
        "from the last position only",
        lambda t: (t @ t[-1]).flip(0),
        "You compare every row with the last one only; the mean is over all pairs k apart.",
        "For a table of sinusoids that is the same; for other tables it is not.",
        _LINE,
    ),
    Mistake(
        "the mean of each row",
        lambda t: (t @ t.T).mean(-1),
        "You average over all other positions, whatever their offset.",
        "Pairs k apart lie on a diagonal of table @ table.T.",
        _LINE,
    ),
    Mistake(
        "only offset 0",
        lambda t: (t * t).sum(-1),
        "You return the dot product of each row with itself: offset 0 only.",
        "Number k belongs to the pairs (p, p + k).",
        _LINE,
    ),
    Mistake(
        "the main diagonal for every offset",
        _each(lambda t, k: (t @ t.T).diagonal().mean()),
        "All your numbers are alike: the mean at offset 0.",
        "Does k reach the selection of the rows? `diagonal(k)`, or `table[k:]`.",
        _LINE,
    ),
    Mistake(
        "one offset too far",
        lambda t: torch.cat([_diagonals(t @ t.T)[1:], torch.zeros(1)]),
        "Number k of yours belongs to offset k + 1; the first should be offset 0.",
        "Offset 0 is each row with itself.",
        _LINE,
    ),
    Mistake(
        "offset 0 is missing",
        lambda t: torch.cat([torch.zeros(1), _diagonals(t @ t.T)[1:]]),
        "Number 0 is 0; it should be the mean dot product of a row with itself.",
        "Does your loop begin at 1?",
        _LINE,
    ),
    Mistake(
        "the last offset is missing",
        lambda t: (
            torch.cat([_diagonals(t @ t.T)[:-1], torch.zeros(1)]) if len(t) > 1 else _diagonals(t @ t.T)
        ),
        "The last number is 0; there is one pair that lies T − 1 apart.",
        "range(T − 1) ends before T − 1.",
        _LINE,
    ),
    Mistake(
        "cosines",
        _by_offset(lambda t: F.normalize(t, dim=-1)),
        "Your products are cosines: divided by the lengths of the rows.",
        "The dot product itself is asked for.",
        _LINE,
    ),
    Mistake(
        "divided by D",
        lambda t: _diagonals(t @ t.T) / t.size(1),
        "Your dot products are divided by D: a mean over the columns in place of a sum.",
        "A dot product sums over D; the mean is over the pairs.",
        _LINE,
    ),
    Mistake(
        "divided by √D",
        lambda t: _diagonals(t @ t.T) / t.size(1) ** 0.5,
        "Your dot products are divided by √D; that scale belongs to attention.",
        "The dot product itself is asked for.",
        _LINE,
    ),
    Mistake(
        "distances",
        _each(lambda t, k: (t[: len(t) - k] - t[k:]).norm(dim=-1).mean()),
        "You average distances; dot products are asked for.",
        "Multiply number by number and add up.",
        _LINE,
    ),
    Mistake(
        "squared distances",
        _each(lambda t, k: (t[: len(t) - k] - t[k:]).square().sum(-1).mean()),
        "You average squared distances; dot products are asked for.",
        "Multiply number by number and add up.",
        _LINE,
    ),
    Mistake(
        "sizes of the products",
        lambda t: _diagonals((t @ t.T).abs()),
        "Your dot products have lost their sign.",
        "Is there an abs() that should not be there? A dot product may be negative.",
        _LINE,
    ),
    Mistake(
        "columns in place of rows",
        lambda t: (
            _diagonals(t.T @ t)[: len(t)]
            if t.size(1) >= len(t)
            else torch.cat([_diagonals(t.T @ t), torch.zeros(len(t) - t.size(1))])
        ),
        "You compare columns; rows are positions.",
        "table @ table.T has one row and one column a position; table.T @ table has them for numbers.",
        _LINE,
    ),
    Mistake(
        "columns in place of rows, as many as there are",
        lambda t: _diagonals(t.T @ t),
        "You compare columns, and return D numbers; rows are positions.",
        "table @ table.T has one row and one column a position; table.T @ table has them for numbers.",
        _LINE,
    ),
    Mistake(
        "the mean is taken away",
        _by_offset(lambda t: t - t.mean(0)),
        "The mean row is taken away first; the table should be used as it is.",
        "That would be a covariance.",
        _LINE,
    ),
    Mistake(
        "the table of products",
        lambda t: t @ t.T,
        "You return all dot products, (T, T); one mean for each offset is asked for.",
        "Pairs k apart lie on a diagonal of this table: torch.diagonal has an argument for it.",
        _LINE,
    ),
    Mistake(
        "both directions",
        lambda t: torch.stack([(t @ t.T).diagonal(k).mean() for k in range(1 - len(t), len(t))]),
        "You return offsets in both directions, 2T − 1 numbers; k runs from 0 to T − 1.",
        "k apart to the left is the same as to the right.",
        _LINE,
    ),
    Mistake(
        "the largest",
        _each(lambda t, k: (t @ t.T).diagonal(k).max()),
        "You take the largest product of each offset; their mean is asked for.",
        _PAIRS,
        _LINE,
    ),
    Mistake(
        "the smallest",
        _each(lambda t, k: (t @ t.T).diagonal(k).min()),
        "You take the smallest product of each offset; their mean is asked for.",
        _PAIRS,
        _LINE,
    ),
    Mistake(
        "squares of the products",
        _each(lambda t, k: (t @ t.T).diagonal(k).square().mean()),
        "Your dot products are squared before the mean.",
        "The mean of the products themselves is asked for; they may be negative.",
        _LINE,
    ),
    Mistake(
        "running sums",
        lambda t: _diagonals(t @ t.T).cumsum(0),
        "Number k of yours is the sum of the means up to offset k.",
        "Is there a cumsum, or a sum that is not set back to 0 for each k?",
        _LINE,
    ),
    Mistake(
        "sizes of the means",
        lambda t: _diagonals(t @ t.T).abs(),
        "Your means have lost their sign.",
        "Is there an abs()? A mean of dot products may be negative.",
        _LINE,
    ),
    Mistake(
        "the middle one",
        _each(lambda t, k: (t @ t.T).diagonal(k).median()),
        "You take the median of the products of each offset; their mean is asked for.",
        _PAIRS,
        _LINE,
    ),
    Mistake(
        "the last pair is missing",
        _each(lambda t, k: (t @ t.T).diagonal(k)[: max(len(t) - k - 1, 1)].mean()),
        "The last pair of each offset is missing, unless it is the only one.",
        _PAIRS,
        _LINE,
    ),
    Mistake(
        "the first pair is missing",
        _each(lambda t, k: (t @ t.T).diagonal(k)[min(1, len(t) - k - 1) :].mean()),
        "The first pair of each offset is missing, unless it is the only one.",
        _PAIRS,
        _LINE,
    ),
    Mistake(
        "the product of the means",
        _each(lambda t, k: t[: len(t) - k].mean(0) @ t[k:].mean(0)),
        "You multiply means of rows; the mean of the products of rows is asked for.",
        "The mean comes last: one product a pair, then the mean over the pairs.",
        _LINE,
    ),
    Mistake(
        "farther than k, too",
        _each(
            lambda t, k: (t @ t.T).triu(k).sum() / torch.ones(len(t), len(t)).triu(k).sum(),
        ),
        "Number k of yours is a mean over all offsets from k on.",
        "Only pairs that lie exactly k apart count: diagonal(k), not triu(k).",
        _LINE,
    ),
    Mistake(
        "above 0 only",
        _each(lambda t, k: (t[: len(t) - k] * t[k:]).relu().sum(-1).mean()),
        "Products below 0 are taken for 0 before you add them up.",
        "A dot product adds up all products of numbers, with their signs.",
        _LINE,
    ),
    Mistake(
        "in reverse",
        lambda t: _diagonals(t @ t.T).flip(0),
        "Your numbers stand in reverse order: offset 0 should be the first.",
        "Number 0 is the mean dot product of a row with itself.",
        _LINE,
    ),
    Mistake(
        "divided by the first",
        lambda t: (d := _diagonals(t @ t.T)) / d[0],
        "Your numbers are divided by that of offset 0.",
        "The means themselves are asked for.",
        _LINE,
    ),
    Mistake(
        "nearer than k, too",
        lambda t: torch.stack([_diagonals(t @ t.T)[: k + 1].mean() for k in range(len(t))]),
        "Number k of yours is a mean over all offsets up to k.",
        "Only pairs that lie exactly k apart count.",
        _LINE,
    ),
    Mistake(
        "no gradient",
        lambda t: _diagonals(t.detach() @ t.detach().T),
        "The numbers are right, but no gradient flows back to the table.",
        "`.item()`, `.detach()`, `torch.tensor([…])` and NumPy cut the gradient; torch.stack does not.",
        "torch.stack([… for k in range(len(table))])",
    ),
)


def _right(table: Tensor) -> Tensor:
    return _diagonals(table.double() @ table.double().T)


def _shares(seen: dict[str, Seen]) -> Tensor:
    """What each number is, as a multiple of the right one."""
    return seen[_FOUR]["means"] / _right(numbers(4, 3, seed=1))


def _wrong_ones(seen: dict[str, Seen]) -> list[bool]:
    return ((seen[_FOUR]["means"] - _right(numbers(4, 3, seed=1))).abs() > 1e-3).tolist()


_OFFSET_PROPERTIES = (
    changes_its_input(_FOUR),
    left_to_chance(_FOUR),
    Property(
        "not a number",
        lambda seen: bool(seen[_FOUR]["means"].isfinite().all()),
        "There are NaN or infinite numbers among your means.",
        "The mean of nothing is NaN: at the last offset there is one pair. How long are the two slices?",
    ),
    Property(
        "rounded",
        lambda seen: bool(
            (
                (1e3 * seen[_FOUR]["means"]).frac().abs() * (1 - (1e3 * seen[_FOUR]["means"]).frac().abs())
                > 1e-3
            ).any()
        ),
        "Your means are rounded to a few digits.",
        "Leave them as they are: what is rounded has no gradient, either.",
    ),
    Property(
        "a softmax",
        lambda seen: abs(seen[_FOUR]["means"].sum().item() - 1) > 1e-3,
        "Your means add up to 1.",
        "Is there a softmax, or a division by the sum? The means themselves are asked for.",
    ),
    never_written(lambda seen: seen[_FOUR]["means"], "means"),
    Property(
        "offset 0 alone",
        lambda seen: _wrong_ones(seen) != [True, False, False, False],
        "Only your first number is wrong: at offset 0 each row meets itself.",
        "table[:-k] is empty for k = 0: write table[: T - k], and no case of its own.",
    ),
    Property(
        "scaled",
        lambda seen: (
            not any(_wrong_ones(seen)) or bool((_shares(seen) - _shares(seen)[0]).abs().max() > 1e-3)
        ),
        "All your numbers are too large, or too small, by one and the same factor.",
        "Is something divided or multiplied besides the mean over the pairs?",
    ),
    Property(
        "divided by another number",
        lambda seen: (
            not any(_wrong_ones(seen))
            or bool(
                ((divisors := torch.arange(4, 0, -1) / _shares(seen)) - divisors.round()).abs().max() > 1e-3
                or divisors.min() < 0.5
            )
        ),
        "Your sums are right, but not what you divide them by.",
        _PAIRS,
    ),
    Property(
        "offset 0",
        lambda seen: torch.allclose(
            seen[_FOUR]["means"][0], numbers(4, 3, seed=1).double().square().sum(-1).mean(), atol=1e-3
        ),
        "Your first number is wrong: the mean dot product of a row with itself.",
        "By hand: the squares of a row added up, and the mean of these sums over all rows.",
    ),
    Property(
        "the last offset",
        lambda seen: torch.allclose(
            seen[_FOUR]["means"][-1],
            (numbers(4, 3, seed=1)[0] * numbers(4, 3, seed=1)[-1]).sum().double(),
            atol=1e-3,
        ),
        "Your last number is wrong: one pair lies T − 1 apart, the first row and the last.",
        _PAIRS,
    ),
    Property(
        "offsets between",
        lambda seen: agrees(seen, _offsets_of_four_positions, OFFSET.reference),
        "Your first and last numbers are right; some between are not.",
        _PAIRS,
    ),
    no_gradient("offset gradients", "the table"),
)


OFFSET: Exercise = Exercise(
    id="03.dot_by_offset",
    title="Likeness by offset",
    stub=OFFSET_STUB,
    reference=_by_offset(),
    experiments=(
        _offsets_of_four_positions,
        _offsets_of_more_positions,
        _offsets_of_a_wide_table,
        _offsets_of_a_square,
        _offsets_of_one_position,
        _offsets_of_one_column,
        _offsets_of_sinusoids,
        _offsets_of_unit_vectors,
        _offset_gradients,
    ),
    mistakes=_OFFSET_MISTAKES,
    properties=_OFFSET_PROPERTIES,
    difficulty=2,
    importance=3,
    minutes=10,
)
