"""Exercise 04.kernel_regression.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, never_written, no_gradient, not_finite

KERNEL_STUB = '''
def kernel_regression(x_new, x, y, h):
    """Estimate y at new points by a weighted mean of known ones: softmax(-(x_new - x)² / (2 h²)) y.

    Args:
        x_new: where to estimate, (N,).
        x, y: the known points, (K,) each.
        h: the width of the kernel, a number.

    Returns:
        The estimates, (N,). The inputs stay as they were, and gradients flow back to them.
    """
'''


def _points(n: int, known: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    return numbers(n, seed=seed), numbers(known, seed=seed + 1), numbers(known, seed=seed + 2, std=2.0)


def _kernel_with_few_points(candidate: Any) -> Seen:
    points = _points(3, 5, seed=210)
    given = tuple(tensor.clone() for tensor in points)
    estimates = a_tensor(a_function(candidate)(*given, 0.7))
    changed = not all(torch.equal(one, other) for one, other in zip(given, points, strict=True))
    return {"estimates": estimates, "input changed": yes(changed)}


def _kernel_with_as_many_new_points_as_known(candidate: Any) -> Seen:
    return {"estimates": a_tensor(candidate(*_points(4, 4, seed=215), 0.5))}


def _kernel_at_one_new_point(candidate: Any) -> Seen:
    return {"estimates": a_tensor(candidate(*_points(1, 5, seed=217), 0.5))}


def _kernel_with_one_known_point(candidate: Any) -> Seen:
    return {"estimates": a_tensor(candidate(*_points(3, 1, seed=218), 0.5))}


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


def _kernel_of_products(x_new: Tensor, x: Tensor, y: Tensor, h: float) -> Tensor:
    return (x_new[:, None] * x).softmax(-1) @ y


def _kernel_over_everything(x_new: Tensor, x: Tensor, y: Tensor, h: float) -> Tensor:
    shares = (-((x_new[:, None] - x) ** 2) / (2 * h**2)).exp()
    return shares / shares.sum() @ y


_KERNEL_LINE = "(-((x_new[:, None] - x) ** 2) / (2 * h**2)).softmax(dim=-1) @ y"


_KERNEL_MISTAKES = (
    Mistake(
        "x and y exchanged",
        lambda x_new, x, y, h: (-((x_new[:, None] - y) ** 2) / (2 * h**2)).softmax(-1) @ x,
        "x and y are exchanged: new points are compared with y, and x is mixed.",
        "Keys are compared, values are mixed. Which is which here?",
        _KERNEL_LINE,
    ),
    Mistake(
        "the mean of the products",
        lambda x_new, x, y, h: ((-((x_new[:, None] - x) ** 2) / (2 * h**2)).softmax(-1) * y).mean(-1),
        "Shares times y are averaged; they should be added up.",
        "The shares sum to 1 already.",
        _KERNEL_LINE,
    ),
    Mistake(
        "the bell curve's own constant",
        lambda x_new, x, y, h: (
            (-((x_new[:, None] - x) ** 2) / (2 * h**2)).exp() @ y / (h * (2 * math.pi) ** 0.5)
        ),
        "The kernel's values are divided by a constant, not by their sum.",
        "A weighted mean has shares that sum to 1, whatever h is.",
        _KERNEL_LINE,
    ),
    Mistake(
        "h is left out, and the 2",
        _kernel(lambda d, h: -(d**2)),
        "The width h has no influence, and the 2 is missing.",
        "-(x_new - x)² / (2 h²).",
        _KERNEL_LINE,
    ),
    Mistake(
        "the 2 is squared too",
        _kernel(lambda d, h: -(d**2) / (2 * h) ** 2),
        "The 2 is squared together with h.",
        "2 * h**2 squares h alone; (2 * h)**2 squares both.",
        _KERNEL_LINE,
    ),
    Mistake(
        "multiplied by 2 h²",
        _kernel(lambda d, h: -(d**2) * (2 * h**2)),
        "You multiply by 2 h²; the scores should be divided by it.",
        "A wider kernel makes the scores smaller.",
        _KERNEL_LINE,
    ),
    Mistake(
        "no minus, no 2",
        _kernel(lambda d, h: d**2 / h**2),
        "The minus sign and the 2 are missing.",
        "Near means a large score: -(x_new - x)² / (2 h²).",
        _KERNEL_LINE,
    ),
    Mistake(
        "dot products",
        _kernel_of_products,
        "The scores are products x_new · x; the kernel looks at distances.",
        "-(x_new - x)² / (2 h²).",
        _KERNEL_LINE,
    ),
    Mistake(
        "divided by the total",
        _kernel_over_everything,
        "The kernel's values are divided by their total; each row needs its own sum.",
        "`sum()` without an axis adds up the whole table.",
        _KERNEL_LINE,
    ),
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
    changes_its_input("kernel with few points"),
    not_finite(lambda seen: seen["kernel with few points"]["estimates"], "estimates"),
    never_written(lambda seen: seen["kernel with few points"]["estimates"], "estimates"),
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
    no_gradient("kernel gradients", "some of x_new, x and y"),
    Property(
        "another kernel",
        lambda seen: agrees(seen, _kernel_with_few_points, KERNEL.reference),
        "Your estimates are not the weighted means that the formula gives.",
        "Each share is softmax(-(x_new - x)² / (2 h²)), over the known points.",
    ),
)


KERNEL: Exercise = Exercise(
    id="04.kernel_regression",
    title="Kernel regression is attention",
    stub=KERNEL_STUB,
    reference=_kernel(lambda d, h: -(d**2) / (2 * h**2)),
    experiments=(
        _kernel_with_few_points,
        _kernel_with_as_many_new_points_as_known,
        _kernel_at_one_new_point,
        _kernel_with_one_known_point,
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
