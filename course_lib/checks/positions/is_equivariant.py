"""Exercise 03.is_equivariant: a test that says whether a function treats all positions alike.

T tokens · D d_model
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import a_function, kind_of, numbers, yes

EQUIVARIANT_STUB = '''
def is_equivariant(f):
    """Say whether f treats all positions alike: when the rows of x change places, do the rows of f(x)
    change places with them, and nothing else?

    Args:
        f: a function of x, (T, 4), floating point, for any T. It returns (T, 4).

    Returns:
        True or False, the same at every call. It is tried on functions of each kind: equivariant ones,
        ones that depend on the position, and ones that are invariant: the order of x does not matter
        to them at all. The functions round: differences below 1e-4 mean nothing, real ones are larger
        than 1e-2. Some treat only a few positions unlike the others, or take no notice of one
        particular way to change places; so try several, with T = 6 or more.
    """
'''


_Function = Callable[[Tensor], Tensor]
_W = 4**-0.5


@functools.cache
def _map(seed: int) -> Tensor:
    return numbers(4, 4, seed=seed, std=_W * 1.5).double()


def _attention(x: Tensor, seen: Tensor | None = None) -> Tensor:
    scores = x @ _map(20) @ x.T / 2
    if seen is not None:
        scores = scores.masked_fill(~seen, -1e9)
    return scores.softmax(-1) @ x @ _map(21)


def _each_token_for_itself(x: Tensor) -> Tensor:
    return torch.tanh(x @ _map(22))


def _without_the_mean(x: Tensor) -> Tensor:
    return x @ _map(23) - x.mean(0)


def _with_positions(x: Tensor) -> Tensor:
    angles = torch.arange(len(x), dtype=x.dtype)[:, None] / torch.tensor([1.0, 100.0])
    return _attention(x + torch.cat([angles.sin(), angles.cos()], -1))


def _causal_attention(x: Tensor) -> Tensor:
    return _attention(x, torch.ones(len(x), len(x)).tril().bool())


def _sorted_rows(x: Tensor) -> Tensor:
    """Invariant: whatever the order of x, the same table comes out."""
    return x[x[:, 0].argsort()]


def _one_mean_for_all(x: Tensor) -> Tensor:
    """Both: invariant, and equivariant too, for all rows of its output are equal."""
    return x.mean(0, keepdim=True).tanh().expand_as(x)


def _largest_first(x: Tensor) -> Tensor:
    """Invariant: the mean of x, times a number of the row."""
    return x.mean(0) * torch.linspace(1.0, 2.0, len(x), dtype=x.dtype)[:, None] + 1.0


def _recurrence(x: Tensor) -> Tensor:
    state, rows = torch.zeros(4, dtype=x.dtype), []
    for row in x:
        state = torch.tanh(row + state @ _map(24))
        rows.append(state)
    return torch.stack(rows)


def _first_row_unlike(x: Tensor) -> Tensor:
    return torch.cat([x[:1] * 1.5, x[1:]])


def _last_row_unlike(x: Tensor) -> Tensor:
    return torch.cat([x[:-1], x[-1:] + torch.tensor([0.3, 0.0, 0.0, 0.0])])


def _sixth_row_unlike(x: Tensor) -> Tensor:
    return torch.cat([x[:5], x[5:6] + torch.tensor([0.0, 0.0, 0.0, 0.3]), x[6:]])


def _first_two_alike(x: Tensor) -> Tensor:
    """Depends on the position, but the first two change places unnoticed."""
    return x + 0.2 * torch.arange(len(x), dtype=x.dtype).clamp(min=1)[:, None]


def _first_and_last_alike(x: Tensor) -> Tensor:
    """Depends on the position, but the first and the last change places unnoticed."""
    place = torch.arange(len(x), dtype=x.dtype)
    return x + 0.2 * (place % max(len(x) - 1, 1))[:, None]


def _pairs_alike(x: Tensor) -> Tensor:
    """Depends on the position, but two neighbours, 0 and 1, or 2 and 3, change places unnoticed."""
    return x + 0.2 * (torch.arange(len(x), dtype=x.dtype) // 2)[:, None]


def _middle_counts(x: Tensor) -> Tensor:
    """Depends on how far a row is from the middle: a text read backwards is not noticed."""
    place = torch.arange(len(x), dtype=x.dtype) - (len(x) - 1) / 2
    return x + 0.2 * place.abs()[:, None]


def _next_row_in_a_ring(x: Tensor) -> Tensor:
    """Mixes each row with the next one, round the end: a shift of all rows is not noticed."""
    return x + 0.5 * x.roll(-1, 0)


def _a_little_position(x: Tensor) -> Tensor:
    """A small step, between even and odd positions."""
    return x + 0.018 * (torch.arange(len(x), dtype=x.dtype) % 2)[:, None]


def _twice_x(x: Tensor) -> Tensor:
    return 2 * x


@functools.cache
def _thirds(n_tokens: int) -> Tensor:
    return (torch.arange(4 * n_tokens).view(n_tokens, 4) % 3 - 1).double()


class _Rounded:
    """A function for the learner's test: it computes in double precision and rounds, unlike from row to row."""

    def __init__(self, function: _Function, rounding: float = 1e-5):
        self.function, self.rounding = function, rounding
        self.calls = self.most_tokens = 0
        self.unlike_rows = self.reordered = False
        self._met: dict[tuple[float, ...], tuple[float, ...]] = {}

    def __call__(self, x: Tensor) -> Tensor:
        self._look_at(x)
        self.calls += 1
        self.most_tokens = max(self.most_tokens, len(x))
        self.unlike_rows = self.unlike_rows or bool((x != x[:1]).any())
        output = self.function(x.double())
        return (output + self.rounding * _thirds(len(x))).to(x.dtype)

    def _look_at(self, x: Tensor) -> None:
        """Refuse what f does not take, and note whether the same rows come in two orders."""
        if not isinstance(x, Tensor) or not x.is_floating_point():
            raise WrongReturn(
                "no floating point",
                "Your test gives f something else than a tensor of floating-point numbers.",
                "torch.randn(7, 4) draws some; torch.arange and torch.randint give whole numbers.",
            )
        if x.dim() != 2 or x.size(1) != 4 or len(x) == 0:
            raise WrongReturn(
                "another shape than (T, 4)",
                f"Your test gives f a tensor of shape {tuple(x.shape)}; f takes (T, 4)."[:83],
                "Four numbers a row, one row a position, no batch: torch.randn(7, 4).",
            )
        if not self.reordered:
            marks = (x.detach().double() * torch.tensor([1.0, 3.1, -2.3, 0.7])).sum(-1)
            rows = tuple(round(mark, 4) for mark in marks.tolist())
            self.reordered = self._met.setdefault(tuple(sorted(rows)), rows) != rows


def _verdict(result: Any) -> bool:
    if isinstance(result, bool):
        return result
    if isinstance(result, Tensor) and result.numel() == 1 and result.dtype == torch.bool:
        return bool(result.item())
    if type(result).__name__ in ("bool_", "bool"):
        return bool(result)
    if result is None:
        raise WrongReturn(
            "nothing returned",
            "Your function returns nothing; True or False is asked for.",
            "Does the last line begin with `return`, in every branch? `assert` returns nothing.",
        )
    what = kind_of(result)
    if isinstance(result, Tensor):
        what = "a number" if result.numel() == 1 else "a tensor of several numbers"
    raise WrongReturn(
        "not True or False",
        f"You return {what}; True or False is asked for.",
        "torch.allclose(a, b, atol=1e-4) says it of two whole tensors.",
    )


def _said(candidate: Any, function: _Function, rounding: float = 1e-5) -> Seen:
    """Ask the learner's test three times about one function, each time from another random state."""
    watcher, answers = _Rounded(function, rounding), []

    def f(x: Tensor) -> Tensor:
        return watcher(x)

    for run in range(3):
        torch.default_generator.manual_seed(run)
        try:
            answers.append(yes(_verdict(a_function(candidate)(f))))
        except AssertionError as error:
            raise WrongReturn(
                "raises in place of returning",
                "Your function raises AssertionError; it should return False.",
                "Here the finding is returned: `return torch.allclose(…)`, without assert.",
            ) from error
    return {
        "says equivariant": torch.stack(answers),
        "_never called": yes(watcher.calls == 0),
        "_one token": yes(watcher.most_tokens == 1),
        "_six tokens": yes(watcher.most_tokens >= 6),
        "_the same rows in another order": yes(watcher.reordered),
        "_equal rows": yes(watcher.calls > 0 and watcher.most_tokens > 1 and not watcher.unlike_rows),
    }


def _twice_x_is_equivariant(candidate: Any) -> Seen:
    exactly = _said(candidate, _twice_x, rounding=0.0)["says equivariant"]
    return _said(candidate, _twice_x) | {"_says so where nothing is rounded": exactly}


def _each_token_for_itself_is_equivariant(candidate: Any) -> Seen:
    return _said(candidate, _each_token_for_itself)


def _attention_is_equivariant(candidate: Any) -> Seen:
    return _said(candidate, _attention)


def _taking_the_mean_away_is_equivariant(candidate: Any) -> Seen:
    return _said(candidate, _without_the_mean)


def _one_mean_for_all_is_equivariant(candidate: Any) -> Seen:
    return _said(candidate, _one_mean_for_all)


def _attention_with_positions_is_not(candidate: Any) -> Seen:
    return _said(candidate, _with_positions)


def _causal_attention_is_not(candidate: Any) -> Seen:
    return _said(candidate, _causal_attention)


def _a_recurrence_is_not(candidate: Any) -> Seen:
    return _said(candidate, _recurrence)


def _sorting_is_not(candidate: Any) -> Seen:
    return _said(candidate, _sorted_rows)


def _an_invariant_function_is_not(candidate: Any) -> Seen:
    return _said(candidate, _largest_first)


def _one_row_unlike_is_not(candidate: Any) -> Seen:
    functions = (_first_row_unlike, _last_row_unlike, _sixth_row_unlike)
    return {"says equivariant": torch.stack([_said(candidate, f)["says equivariant"] for f in functions])}


def _what_one_exchange_does_not_notice_is_not(candidate: Any) -> Seen:
    functions = (_first_two_alike, _first_and_last_alike, _pairs_alike)
    return {"says equivariant": torch.stack([_said(candidate, f)["says equivariant"] for f in functions])}


def _what_a_reversal_does_not_notice_is_not(candidate: Any) -> Seen:
    return _said(candidate, _middle_counts)


def _what_a_shift_does_not_notice_is_not(candidate: Any) -> Seen:
    return _said(candidate, _next_row_in_a_ring)


def _a_little_position_is_not(candidate: Any) -> Seen:
    return _said(candidate, _a_little_position)


def _close(one: Tensor, other: Tensor, atol: float = 1e-3) -> bool:
    return torch.allclose(one, other, rtol=0.0, atol=atol)


def _orders(n_tokens: int) -> list[Tensor]:
    """A few ways to change places that share no habit: an exchange, a shift, a shuffle."""
    everyone = torch.arange(n_tokens)
    swapped = everyone.clone()
    swapped[[1, 3]] = swapped[[3, 1]]
    return [swapped, everyone.roll(2), torch.tensor([3, 0, 5, 1, 6, 4, 2])[:n_tokens], everyone.flip(0)]


def _judge(
    same: Callable[[_Function, Tensor, Tensor], bool],
    orders: Callable[[int], list[Tensor]] = _orders,
    x: Callable[[], Tensor] = lambda: numbers(7, 4, seed=30),
) -> Callable[[_Function], bool]:
    """A test that compares in its own way, for its own choice of orders and input."""
    return lambda f: all(same(f, x(), order) for order in orders(len(x())))


def _rows_follow(f: _Function, x: Tensor, order: Tensor) -> bool:
    return _close(f(x[order]), f(x)[order])


def _exchange(one: int, other: int) -> Callable[[int], list[Tensor]]:
    def orders(n_tokens: int) -> list[Tensor]:
        order = torch.arange(n_tokens)
        order[[one, other]] = order[[other, one]]
        return [order]

    return orders


_LINE = "torch.allclose(f(x[order]), f(x)[order], atol=1e-3), for several orders of 6 or more rows"

_SEVERAL = (
    "Some functions take no notice of one way to change places. Try several: shuffle, exchange, reverse."
)


_EQUIVARIANT_MISTAKES = (
    Mistake(
        "always True",
        lambda f: f(numbers(7, 4, seed=30)).shape == (7, 4),
        "Your test says True of every function.",
        "Compare f of the shuffled rows with the shuffled rows of f. Is the tolerance as large as the numbers?",
        _LINE,
    ),
    Mistake(
        "never calls f",
        lambda f: True,
        "Your test never calls the function it is given.",
        "Make some random rows, and call f on them twice: as they are, and shuffled.",
        _LINE,
    ),
    Mistake(
        "never calls f, says False",
        lambda f: False,
        "Your test never calls the function it is given.",
        "Make some random rows, and call f on them twice: as they are, and shuffled.",
        _LINE,
    ),
    Mistake(
        "always False",
        lambda f: bool(torch.equal(f(torch.zeros(7, 4)), torch.ones(7, 4))),
        "Your test says False of every function, equivariant ones too.",
        "Functions round: torch.equal, or a tolerance below 1e-4, finds differences that mean nothing. And is what you "
        "compare true of attention?",
        _LINE,
    ),
    Mistake(
        "invariance",
        _judge(lambda f, x, order: _close(f(x[order]), f(x))),
        "Your test asks whether the order matters at all: that is invariance.",
        "Equivariant: the outputs change places *with* the inputs. Shuffle the rows of f(x) as well.",
        _LINE,
    ),
    Mistake(
        "turned round",
        lambda f: not _judge(_rows_follow)(f),
        "Your test is turned round: True for the functions that depend on the position.",
        "Is there a `not`, or a return True in the wrong branch?",
        _LINE,
    ),
    Mistake(
        "the wrong rows are shuffled back",
        _judge(lambda f, x, order: _close(f(x[order])[order], f(x)), lambda n: [_orders(n)[2]]),
        "Your test says False of equivariant functions, unless all output rows are equal.",
        "f(x[order]) is to be compared with f(x)[order]. A second shuffle is no way back (order.argsort() is), and "
        "both x and f(x) change places.",
        _LINE,
    ),
    Mistake(
        "a reversal only",
        _judge(_rows_follow, lambda n: [torch.arange(n).flip(0)]),
        "Your test is fooled by functions for which backwards is as good as forwards.",
        _SEVERAL,
        _LINE,
    ),
    Mistake(
        "a shift only",
        _judge(_rows_follow, lambda n: [torch.arange(n).roll(1)]),
        "Your test is fooled by functions that mix neighbours in a ring.",
        _SEVERAL,
        _LINE,
    ),
    Mistake(
        "an exchange of the first two only",
        _judge(_rows_follow, _exchange(0, 1)),
        "Your test moves too few rows: some functions treat only the others unlike.",
        _SEVERAL,
        _LINE,
    ),
    Mistake(
        "an exchange of the first and the last only",
        _judge(_rows_follow, _exchange(0, 6)),
        "Your test moves too few rows: some functions treat only the others unlike.",
        _SEVERAL,
        _LINE,
    ),
    Mistake(
        "equal rows",
        _judge(_rows_follow, x=lambda: torch.ones(7, 4)),
        "Your test gives f rows that are all equal: nothing shows when they change places.",
        "Take random rows.",
        "x = torch.randn(7, 4)",
    ),
    Mistake(
        "one token",
        _judge(_rows_follow, lambda n: [torch.arange(n)], lambda: numbers(1, 4, seed=30)),
        "Your test gives f one row only: there is nothing to change places with.",
        "Take six rows or more.",
        "x = torch.randn(7, 4)",
    ),
    Mistake(
        "sums are compared",
        _judge(lambda f, x, order: _close(f(x[order]).sum(0), f(x).sum(0))),
        "Your test adds up over the rows: then nobody sees who stands where.",
        "Compare row by row: f(x[order]) with f(x)[order].",
        _LINE,
    ),
    Mistake(
        "the first row only",
        _judge(lambda f, x, order: _close(f(x[order])[0], f(x)[order][0]), lambda n: [_orders(n)[2]]),
        "Your test overlooks a function that treats a single row unlike the others.",
        "Compare whole tables: torch.allclose without an index.",
        _LINE,
    ),
    Mistake(
        "columns change places",
        _judge(lambda f, x, order: _close(f(x[:, [2, 0, 3, 1]]), f(x)[:, [2, 0, 3, 1]])),
        "Your test exchanges columns, not rows.",
        "A row is a position: x[order], not x[:, order].",
        _LINE,
    ),
    Mistake(
        "too large a tolerance",
        _judge(lambda f, x, order: _close(f(x[order]), f(x)[order], 0.25)),
        "Your test overlooks small differences: its tolerance is too large.",
        "Real differences are larger than 1e-2, rounding is below 1e-4: choose between them.",
        _LINE,
    ),
)


def _answers(seen: dict[str, Seen], name: str) -> Tensor:
    return seen[name]["says equivariant"]


def _all_are(answer: int, *names: str) -> Callable[[dict[str, Seen]], bool]:
    return lambda seen: all(bool((_answers(seen, name) == answer).all()) for name in names)


_TWICE = "twice x is equivariant"


_EQUIVARIANT_PROPERTIES = (
    Property(
        "equal rows",
        lambda seen: seen["attention is equivariant"]["_equal rows"].item() == 0,
        "Your test gives f rows that are all equal: nothing shows when they change places.",
        "Take random rows.",
    ),
    Property(
        "one row",
        lambda seen: seen["attention is equivariant"]["_one token"].item() == 0,
        "Your test gives f one row only: there is nothing to change places with.",
        "Take six rows or more.",
    ),
    Property(
        "never another order",
        lambda seen: seen["attention is equivariant"]["_the same rows in another order"].item() == 1,
        "Your test never gives f the same rows in another order.",
        "f wants x once, and x[order] once: whole rows, each as it was. Are columns or single numbers shuffled, is "
        "something added, or x overwritten before the first call?",
    ),
    Property(
        "left to chance",
        lambda seen: all(
            bool((shown["says equivariant"] == shown["says equivariant"][..., :1]).all())
            for shown in seen.values()
        ),
        "Your test says now True, now False, of one function: it is left to chance.",
        "A single random shuffle of few rows may change nothing, or nothing that matters. Take more rows, and several.",
    ),
    Property(
        "takes rounding for a difference",
        lambda seen: (
            bool((_answers(seen, _TWICE) == 1).all())
            or bool((seen[_TWICE]["_says so where nothing is rounded"] == 0).any())
        ),
        "Your test takes rounding for a difference: it says False of f(x) = 2x, rounded.",
        "Differences below 1e-4 mean nothing: torch.allclose(a, b, atol=1e-3) in place of == or torch.equal.",
    ),
    Property(
        "says False of 2x",
        _all_are(1, _TWICE),
        "Your test says False even of f(x) = 2x, which treats all positions alike.",
        "f(x[order]) is to be compared with f(x)[order]: one order, used twice, on whole rows.",
    ),
    Property(
        "attention",
        _all_are(
            1,
            "each token for itself is equivariant",
            "attention is equivariant",
            "taking the mean away is equivariant",
        ),
        "Your test says True of f(x) = 2x, but False of other equivariant functions.",
        "Rows may look at each other, as in attention. f(x[order]) and f(x)[order] are equal up to rounding, "
        "atol=1e-3: is that what you compare, and nothing else?",
    ),
    Property(
        "both at once",
        _all_are(1, "one mean for all is equivariant"),
        "Your test says False of a function that is invariant *and* equivariant.",
        "If all rows of the output are equal, they may change places as they like. Ask only: do rows follow?",
    ),
    Property(
        "positions",
        _all_are(0, "attention with positions is not", "causal attention is not", "a recurrence is not"),
        "Your test says True of a function that depends on the position.",
        "f(x[order]) must be compared with f(x)[order], all rows, for an order that changes places.",
    ),
    Property(
        "invariant functions",
        _all_are(0, "sorting is not", "an invariant function is not"),
        "Your test says True of a function that is invariant, but not equivariant.",
        "Equivariant: the outputs change places *with* the inputs. Shuffle the rows of f(x) as well.",
    ),
    Property(
        "few rows",
        lambda seen: (
            seen["attention is equivariant"]["_six tokens"].item() == 1
            or bool((_answers(seen, "one row unlike is not")[-1] == 0).all())
        ),
        "Your test gives f fewer than six rows: it overlooks what happens further on.",
        "Take T = 6 or more.",
    ),
    Property(
        "some rows only",
        _all_are(0, "one row unlike is not"),
        "Your test overlooks a function that treats a single row unlike the others.",
        "Move every row, the first and the last too, and compare whole tables.",
    ),
    Property(
        "backwards",
        _all_are(0, "what a reversal does not notice is not"),
        "Your test is fooled by functions for which backwards is as good as forwards.",
        _SEVERAL,
    ),
    Property(
        "a ring",
        _all_are(0, "what a shift does not notice is not"),
        "Your test is fooled by functions that mix neighbours in a ring.",
        _SEVERAL,
    ),
    Property(
        "some orders only",
        _all_are(0, "what one exchange does not notice is not"),
        "Your test is fooled by a function that does not notice your way to change places.",
        _SEVERAL,
    ),
    Property(
        "small differences",
        _all_are(0, "a little position is not"),
        "Your test overlooks a small dependence on the position.",
        "Real differences are larger than 1e-2, rounding is below 1e-4: choose between them.",
    ),
)


EQUIVARIANT: Exercise = Exercise(
    id="03.is_equivariant",
    title="A test for equivariance",
    stub=EQUIVARIANT_STUB,
    reference=_judge(_rows_follow),
    experiments=(
        _twice_x_is_equivariant,
        _each_token_for_itself_is_equivariant,
        _attention_is_equivariant,
        _taking_the_mean_away_is_equivariant,
        _one_mean_for_all_is_equivariant,
        _attention_with_positions_is_not,
        _causal_attention_is_not,
        _a_recurrence_is_not,
        _sorting_is_not,
        _an_invariant_function_is_not,
        _one_row_unlike_is_not,
        _what_one_exchange_does_not_notice_is_not,
        _what_a_reversal_does_not_notice_is_not,
        _what_a_shift_does_not_notice_is_not,
        _a_little_position_is_not,
    ),
    mistakes=_EQUIVARIANT_MISTAKES,
    properties=_EQUIVARIANT_PROPERTIES,
    difficulty=3,
    importance=4,
    minutes=20,
)
