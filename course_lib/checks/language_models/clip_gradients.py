"""Exercise 01.clip_gradients: a gradient that is too long is shortened; its direction stays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.language_models.shared import crashes_in
from course_lib.checks.probe import a_function, kind_of, numbers, yes
from course_lib.checks.shared import agrees

CLIP_STUB = '''
def clip_gradients(parameters, largest):
    """Shorten the gradient of a model if it is longer than `largest`; its direction stays.

    All gradients together are taken as one long vector. Where its Euclidean norm is above `largest`,
    every gradient is multiplied by the same number, so that the norm becomes `largest`. Otherwise
    nothing changes.

    Args:
        parameters: what model.parameters() gives: it can be gone through only once. Some of the
            parameters may have no gradient: their .grad is None, and stays None.
        largest: a positive number.

    Returns:
        The norm before clipping, one number. The gradients change in their place: each parameter's
        .grad. The parameters themselves do not change. All gradients may be 0.
    """
'''

_SHAPES = (((3, 4), 1.0), ((5,), 3.0), ((2, 1, 3), 2.0))  # and how loud: the middle gradient is the longest


class _Model:
    """Some parameters with gradients; `parameters()` can be gone through once, as that of a module."""

    def __init__(self, gradients: list[Tensor | None], *, seed: int):
        self.tensors = []
        for number, gradient in enumerate(gradients):
            shape = (4,) if gradient is None else tuple(gradient.shape)
            parameter = numbers(*shape, seed=seed + number).requires_grad_()
            parameter.grad = None if gradient is None else gradient.clone()
            self.tensors.append(parameter)
        self.had = [tensor.grad is not None for tensor in self.tensors]
        self.before = [tensor.detach().clone() for tensor in self.tensors]

    def parameters(self) -> Iterator[Tensor]:
        yield from self.tensors

    def gradients(self) -> Tensor:
        """All gradients behind each other; -99 stands for one that is None, and for each number that is gone."""
        parts = []
        for tensor, had in zip(self.tensors, self.had, strict=True):
            none = torch.full((tensor.numel() if had else 1,), -99.0)
            parts.append(none if tensor.grad is None else tensor.grad.detach().flatten())
        return torch.cat(parts)

    def moved(self) -> bool:
        return not all(
            torch.equal(one.detach(), other) for one, other in zip(self.tensors, self.before, strict=True)
        )


def _some(scale: float, *, seed: int) -> list[Tensor | None]:
    return [
        numbers(*shape, seed=seed + number, std=scale * loud) for number, (shape, loud) in enumerate(_SHAPES)
    ]


def _clipped(candidate: Any, gradients: list[Tensor | None], largest: float, *, seed: int = 180) -> Seen:
    model = _Model(gradients, seed=seed)
    norm = candidate(model.parameters(), largest)
    return {
        "gradients": model.gradients(),
        "norm returned": _one_number(norm),
        "parameters moved": yes(model.moved()),
    }


def _one_number(norm: Any) -> Tensor:
    if isinstance(norm, (int, float)) and not isinstance(norm, bool):
        return torch.tensor(float(norm))
    if norm is None:
        raise WrongReturn(
            "nothing returned",
            "Your code returns nothing; the norm before clipping is asked for.",
            "Does the last line begin with `return`, in every branch?",
        )
    if not hasattr(norm, "shape"):
        raise WrongReturn(
            "no number returned",
            f"You return {kind_of(norm)}; one number is asked for, the norm before clipping."[:83],
            "End with `return norm`.",
        )
    return torch.as_tensor(norm).detach()


def _clip_a_long_gradient(candidate: Any) -> Seen:
    return _clipped(a_function(candidate), _some(1.5, seed=190), 2.0)


def _leave_a_short_gradient(candidate: Any) -> Seen:
    return _clipped(candidate, _some(0.2, seed=194), 3.0)


def _clip_one_parameter(candidate: Any) -> Seen:
    return _clipped(candidate, [numbers(4, 3, seed=198, std=2.0)], 1.0)


def _clip_where_each_alone_is_short(candidate: Any) -> Seen:
    """Each gradient alone is shorter than `largest`, all together are longer."""
    parts = [numbers(3, seed=202 + number) for number in range(5)]
    return _clipped(candidate, [part / part.norm() * (1.8 - 0.1 * n) for n, part in enumerate(parts)], 2.0)


def _clip_to_less_than_one(candidate: Any) -> Seen:
    return _clipped(candidate, _some(0.15, seed=214), 0.25)


def _clip_a_huge_gradient(candidate: Any) -> Seen:
    return _clipped(candidate, _some(1e6, seed=218), 5.0)


def _clip_a_gradient_a_little_too_long(candidate: Any) -> Seen:
    """Its norm is 1.2 times `largest`, and less than 1 above it."""
    gradient = numbers(3, 2, seed=230)
    return _clipped(candidate, [gradient / gradient.norm() * 1.8], 1.5)


def _clip_a_tiny_gradient(candidate: Any) -> Seen:
    """Gradients of a few thousandths, and a limit below them; a thousand times as large where they are kept."""
    model = _Model(_some(2e-3, seed=222), seed=180)
    candidate(model.parameters(), 1e-3)
    return {"gradients, times 1000": model.gradients() * 1000}


def _gradients_of_zero(candidate: Any) -> Seen:
    return _clipped(candidate, [torch.zeros(2, 3), torch.zeros(4)], 1.0)


def _a_parameter_without_gradient(candidate: Any) -> Seen:
    """The first and a middle one have none."""
    one, two, three = _some(1.5, seed=226)
    return _clipped(candidate, [None, one, two, None, three], 2.0)


def _clip(
    *,
    norm: Any = lambda grads, parameters: _long(grads).norm(),
    factor: Callable[[Tensor, float], Any] = lambda norm, largest: (largest / norm).clamp(max=1.0),
    apply: Any = None,
    result: Any = lambda before, after, factor: before,
    limit: Any = None,
) -> Any:
    """Return an answer with one part exchanged.

    `norm(gradients, parameters)` measures, `factor(norm, largest)` is what each gradient is multiplied by,
    `apply(parameter, factor)` does so, `result(norm before, norm after, factor)` is returned;
    `limit(gradient, largest)`, in place of the factor, changes each gradient by itself.
    """

    def run(parameters: Iterable[Tensor], largest: float) -> Any:
        having = [p for p in parameters if p.grad is not None]
        grads = [p.grad for p in having if p.grad is not None]
        before = norm(grads, having)
        by = factor(before, largest)
        for p in having:
            if apply is not None:
                apply(p, by)
            elif limit is not None:
                p.grad = limit(p.grad, largest)
            elif float(before) > 0:
                p.grad = p.grad * by
        after = norm([torch.zeros(1) if p.grad is None else p.grad for p in having], having)
        return result(before, after, by)

    return run


def _long(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.detach().flatten() for part in parts])


def _by_norm(measure: Any) -> Any:
    return _clip(norm=lambda grads, parameters: measure(_long(grads)))


def _each_by_itself(gradient: Tensor, largest: float) -> Tensor:
    return gradient * (largest / gradient.norm().clamp(min=1e-12)).clamp(max=1.0)


def _each_number(gradient: Tensor, largest: float) -> Tensor:
    return gradient.clamp(-largest, largest)


def _none_stops(parameters: Iterator[Tensor], largest: float) -> Tensor:
    kept = []
    for p in parameters:
        if p.grad is None:
            break
        kept.append(p)
    if not kept:
        return torch.tensor(0.0)
    return _clip()(kept, largest)


def _none_becomes_zeros(parameters: Iterator[Tensor], largest: float) -> Tensor:
    listed = list(parameters)
    for p in listed:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    return _clip()(listed, largest)


def _one_after_the_other(parameters: Iterator[Tensor], largest: float) -> Tensor:
    """The norm so far decides for each parameter in turn."""
    squares = torch.tensor(0.0)
    for p in parameters:
        if p.grad is None:
            continue
        squares = squares + p.grad.pow(2).sum()
        if squares.sqrt() > largest:
            p.grad = p.grad * largest / squares.sqrt()
    return squares.sqrt()


def _last_one_only(parameters: Iterator[Tensor], largest: float) -> Tensor:
    having = [p for p in parameters if p.grad is not None]
    norm = _long([p.grad for p in having]).norm()  # type: ignore[misc]
    if norm > largest:
        having[-1].grad = having[-1].grad * largest / norm  # type: ignore[operator]
    return norm


def _again_and_again(parameters: Iterator[Tensor], largest: float) -> Tensor:
    """Inside the loop the norm is measured anew, of gradients that were partly shortened."""
    having = [p for p in parameters if p.grad is not None]
    before = _long([p.grad for p in having]).norm()  # type: ignore[misc]
    for p in having:
        norm = _long([each.grad for each in having]).norm()  # type: ignore[misc]
        if norm > largest:
            p.grad = p.grad * largest / norm  # type: ignore[operator]
    return before


def _zero_divided_by_zero(parameters: Iterator[Tensor], largest: float) -> Tensor:
    having = [p for p in parameters if p.grad is not None]
    norm = _long([p.grad for p in having]).norm()  # type: ignore[misc]
    for p in having:
        p.grad = p.grad / norm * norm.clamp(max=largest)
    return norm


def _parameter_moved(parameter: Tensor, factor: Tensor) -> None:
    parameter.data.mul_(factor)


def _gradient_gone(parameter: Tensor, factor: Tensor) -> None:
    parameter.grad = None if float(factor) < 1 else parameter.grad


def _gradient_zeroed(parameter: Tensor, factor: Tensor) -> None:
    if float(factor) < 1:
        parameter.grad = torch.zeros_like(parameter)


_NORM_LINE = "norm = torch.cat([p.grad.flatten() for p in having]).norm()"
_LIST_LINE = "having = [p for p in parameters if p.grad is not None]"
_FACTOR_LINE = "if norm > largest: p.grad = p.grad * largest / norm, for each p"


def _scaled_in_any_case(p: Tensor, by: Any) -> None:
    p.grad = None if p.grad is None else p.grad * by


_TURNED = (
    "Short gradients are made longer, and long ones stay: a comparison is turned.",
    "The factor is at most 1: min(1, largest / norm).",
    _FACTOR_LINE,
)

_CLIP_MISTAKES = (
    Mistake(
        "each by itself",
        _clip(limit=_each_by_itself),
        "Each gradient is clipped by its own norm; all of them have one norm together.",
        "Clipped apart, the gradient as a whole points another way. Measure all, then multiply all by one number.",
        _NORM_LINE,
    ),
    Mistake(
        "each by itself, its norm returned",
        _clip(limit=_each_by_itself, result=lambda before, after, by: after),
        "Each gradient is clipped by its own norm; all of them have one norm together.",
        "Clipped apart, the gradient as a whole points another way. Measure all, then multiply all by one number.",
        _NORM_LINE,
    ),
    Mistake(
        "each number",
        _clip(limit=_each_number),
        "Each number of the gradient is clipped by itself, and the direction changes.",
        "`clamp` cuts the large numbers only. Multiply all by the same factor.",
        _FACTOR_LINE,
    ),
    Mistake(
        "always scaled",
        _clip(factor=lambda norm, largest: largest / norm),
        "A short gradient is made longer: every gradient gets the norm `largest`.",
        "Where the norm is below `largest` nothing should change. Which `if`, or `min(1, …)`, is missing?",
        _FACTOR_LINE,
    ),
    Mistake(
        "always to the norm 1",
        _clip(factor=lambda norm, largest: 1 / norm),
        "Every gradient is divided by its norm; `largest` plays no part.",
        "Only a norm above `largest` is shortened, and to `largest`: multiply by largest / norm there.",
        _FACTOR_LINE,
    ),
    Mistake(
        "the short ones are scaled",
        _clip(factor=lambda norm, largest: (largest / norm).clamp(min=1.0)),
        *_TURNED,
    ),
    Mistake(
        "the short ones are scaled, those of zero too",
        _clip(factor=lambda norm, largest: (largest / norm).clamp(min=1.0), apply=_scaled_in_any_case),
        *_TURNED,
    ),
    Mistake(
        "to the norm 1",
        _clip(factor=lambda norm, largest: 1 / norm if norm > largest else norm / norm),
        "A long gradient gets the norm 1; it should get the norm `largest`.",
        "g / norm has the norm 1. What must it be multiplied by?",
        _FACTOR_LINE,
    ),
    Mistake(
        "the factor is turned",
        _clip(factor=lambda norm, largest: norm / largest if norm > largest else norm / norm),
        "A long gradient is made even longer: the factor is upside down.",
        "largest / norm is below 1 for a long gradient.",
        _FACTOR_LINE,
    ),
    Mistake(
        "divided by largest",
        _clip(factor=lambda norm, largest: 1 / largest if norm > largest else 1.0),
        "A long gradient is divided by `largest`; its own norm plays no part in that.",
        "Multiply by largest / norm: then the new norm is `largest`.",
        _FACTOR_LINE,
    ),
    Mistake(
        "1 in the denominator",
        _clip(factor=lambda norm, largest: min(1.0, float(largest / (norm + 1.0)))),
        "Something as large as 1 is added to the norm before dividing.",
        "A tiny number, 1e-6, is meant to save a division by 0; 1.0 shortens every gradient too much.",
        _FACTOR_LINE,
    ),
    Mistake(
        "the squared norm",
        _by_norm(lambda long: long.pow(2).sum()),
        "The root is missing: you compare and divide by the squared norm.",
        "The Euclidean norm is the root of the sum of squares.",
        _NORM_LINE,
    ),
    Mistake(
        "compared squared",
        _clip(factor=lambda norm, largest: largest / norm if norm**2 > largest else norm / norm),
        "The squared norm is compared with `largest`, so some short gradients are scaled.",
        "Take the root before the comparison, too.",
        _FACTOR_LINE,
    ),
    Mistake(
        "the norms added up",
        _clip(norm=lambda grads, parameters: sum(g.norm() for g in grads)),
        "The norms of the parameters are added up; that is not the norm of the whole.",
        "Squares are added, norms are not: the norm of the whole is the root of all squares' sum.",
        _NORM_LINE,
    ),
    Mistake(
        "the mean of the norms",
        _clip(norm=lambda grads, parameters: sum(g.norm() for g in grads) / len(grads)),
        "You average the norms of the parameters; that is not the norm of the whole.",
        "Squares are added: the norm of the whole is the root of the sum of all squares.",
        _NORM_LINE,
    ),
    Mistake(
        "the largest of the norms",
        _clip(norm=lambda grads, parameters: max(g.norm() for g in grads)),
        "You take the largest of the parameters' norms; the norm of the whole is longer.",
        "Squares are added: the norm of the whole is the root of the sum of all squares.",
        _NORM_LINE,
    ),
    Mistake(
        "the last norm",
        _clip(norm=lambda grads, parameters: grads[-1].norm()),
        "Your norm is that of the last parameter's gradient alone.",
        "Is the norm overwritten in each round of a loop? Add the squares up.",
        _NORM_LINE,
    ),
    Mistake(
        "the first norm",
        _clip(norm=lambda grads, parameters: grads[0].norm()),
        "Your norm is that of the first parameter's gradient alone.",
        "Add up the squares of all.",
        _NORM_LINE,
    ),
    Mistake(
        "the largest number",
        _by_norm(lambda long: long.abs().max()),
        "You measure the largest number of the gradient, not its Euclidean norm.",
        "The Euclidean norm is the root of the sum of squares.",
        _NORM_LINE,
    ),
    Mistake(
        "the sum of absolute values",
        _by_norm(lambda long: long.abs().sum()),
        "You measure the sum of absolute values, not the Euclidean norm.",
        "The Euclidean norm is the root of the sum of squares.",
        _NORM_LINE,
    ),
    Mistake(
        "the mean square",
        _by_norm(lambda long: long.pow(2).mean().sqrt()),
        "The squares are averaged; in a norm they are added up.",
        "The Euclidean norm is the root of the *sum* of squares.",
        _NORM_LINE,
    ),
    Mistake(
        "the sum",
        _by_norm(lambda long: long.sum()),
        "You add the numbers up with their signs; a norm squares them.",
        "The Euclidean norm is the root of the sum of squares.",
        _NORM_LINE,
    ),
    Mistake(
        "the norm of the parameters",
        _clip(norm=lambda grads, parameters: _long(parameters).norm()),
        "You measure the parameters themselves, not their gradients.",
        "The gradient of p is p.grad.",
        _NORM_LINE,
    ),
    Mistake(
        "the parameters are scaled",
        _clip(apply=_parameter_moved),
        "You shorten the parameters; their gradients should be shortened.",
        "The gradient of p is p.grad.",
        _FACTOR_LINE,
    ),
    Mistake(
        "nothing is written",
        _clip(apply=lambda parameter, factor: None),
        "The norm is right, but the gradients stay as they were.",
        "`g = g * factor` gives a new tensor another name. Write it back: p.grad = …, or p.grad.mul_(…). And "
        "if `parameters` was gone through before, a second loop over it finds nothing.",
        _FACTOR_LINE,
    ),
    Mistake(
        "long gradients are thrown away",
        _clip(apply=_gradient_zeroed),
        "A long gradient is set to 0; it should be shortened.",
        "Its direction is still worth something: multiply by largest / norm.",
        _FACTOR_LINE,
    ),
    Mistake(
        "long gradients become None",
        _clip(apply=_gradient_gone),
        "A long gradient is taken away; it should be shortened.",
        "Its direction is still worth something: multiply by largest / norm.",
        _FACTOR_LINE,
    ),
    Mistake(
        "only the last parameter",
        _last_one_only,
        "Only the last parameter's gradient is shortened.",
        "Is the multiplication outside the loop?",
        _FACTOR_LINE,
    ),
    Mistake(
        "one after the other",
        _one_after_the_other,
        "Each gradient is shortened by the norm of those seen so far.",
        "Two rounds are needed: first measure all, then multiply all by one number.",
        _NORM_LINE,
    ),
    Mistake(
        "measured anew",
        _again_and_again,
        "The norm is measured anew while some gradients are shortened already.",
        "One number for all: measure once, before the loop.",
        _NORM_LINE,
    ),
    Mistake(
        "the norm afterwards",
        _clip(result=lambda before, after, by: after),
        "The gradients are right; you return the norm after clipping, not before.",
        "Whoever watches the training wants to see how large it was. Keep the first norm.",
        "return norm",
    ),
    Mistake(
        "the factor returned",
        _clip(result=lambda before, after, by: by),
        "The gradients are right; you return the factor, not the norm before clipping.",
        "Return what you measured.",
        "return norm",
    ),
    Mistake(
        "the squared norm returned",
        _clip(result=lambda before, after, by: before**2),
        "The gradients are right; you return the squared norm.",
        "Return the root.",
        "return norm",
    ),
    Mistake(
        "stops at a parameter without gradient",
        _none_stops,
        "After a parameter without gradient, the others are left out.",
        "`break` and `return` leave the loop; `continue` goes on with the next one.",
        _LIST_LINE,
    ),
    Mistake(
        "None becomes zeros",
        _none_becomes_zeros,
        "A parameter without gradient gets one of zeros; None should stay None.",
        "An optimiser skips None; a gradient of zeros lets it decay the weight.",
        _LIST_LINE,
    ),
    Mistake(
        "zero divided by zero",
        _zero_divided_by_zero,
        "Where all gradients are 0 they become NaN: 0 is divided by 0.",
        "Divide only where the norm is above `largest`, or add 1e-6 below the line.",
        _FACTOR_LINE,
    ),
)

_FIRST = "clip a long gradient"


def _grads(seen: dict[str, Seen], experiment: str = _FIRST) -> Tensor:
    return seen[experiment]["gradients"]


def _norm(seen: dict[str, Seen], experiment: str = _FIRST) -> Tensor:
    return seen[experiment]["norm returned"]


def _expected(experiment: Any, name: str = "gradients") -> Tensor:
    return experiment(CLIP.reference)[name].double()


def _as_they_were(gradients: list[Tensor | None]) -> Tensor:
    return _long([gradient for gradient in gradients if gradient is not None]).double()


def _same_direction(one: Tensor, other: Tensor) -> bool:
    return bool(torch.cosine_similarity(one, other, dim=0) > 1 - 1e-4)


_NO_GRADIENT, _NO_GRADIENT_MESSAGE, _NO_GRADIENT_HINT = crashes_in(
    "a parameter without gradient",
    "Your code stops where a parameter has no gradient: its .grad is None.",
    "Leave such parameters out: `if p.grad is not None`.",
)

_ZEROS, _ZEROS_MESSAGE, _ZEROS_HINT = crashes_in(
    "gradients of zero",
    "Your code stops where all gradients are 0; they should stay 0, and the norm is 0.",
    "A gradient of zeros is no missing one. Is there a division by the norm?",
)

_CLIP_PROPERTIES = (
    Property(
        "parameters moved",
        lambda seen: seen[_FIRST]["parameters moved"].item() == 0,
        "Your code changes the parameters themselves.",
        "Clipping touches gradients only, p.grad; the optimiser moves the parameters later.",
    ),
    Property(
        "not a number",
        lambda seen: bool(_grads(seen).isfinite().all()),
        "There are NaN or infinite numbers among the gradients afterwards.",
        "A division of 0 by 0, or a root of a negative number?",
    ),
    Property(
        "nothing changed",
        lambda seen: not torch.allclose(_grads(seen), _as_they_were(_some(1.5, seed=190)), atol=1e-6),
        "A long gradient stays as it was.",
        "Is the result written back, p.grad = …? Is a second loop over `parameters` empty? Is the norm too small?",
    ),
    Property(
        "another direction",
        lambda seen: _same_direction(_grads(seen), _as_they_were(_some(1.5, seed=190))),
        "The gradient as a whole points another way than before.",
        "All numbers of all gradients are multiplied by one and the same positive factor.",
    ),
    Property(
        "another norm returned",
        lambda seen: torch.allclose(
            _norm(seen), _expected(_clip_a_long_gradient, "norm returned"), rtol=1e-3
        ),
        "The number you return is not the norm before clipping.",
        "The root of the sum of all squares of all gradients, measured before anything changes.",
    ),
    Property(
        "another length",
        lambda seen: torch.allclose(_grads(seen).norm(), torch.tensor(2.0, dtype=torch.float64), rtol=1e-3),
        "After clipping, the norm of a long gradient is not `largest`.",
        "Multiply by largest / norm, with the norm of all gradients together.",
    ),
    Property(
        "short gradients change",
        lambda seen: torch.allclose(
            _grads(seen, "leave a short gradient"), _as_they_were(_some(0.2, seed=194)), atol=1e-5
        ),
        "A gradient shorter than `largest` changes; it should stay as it is.",
        "Which `if`, or `min(1, …)`, keeps the factor from being other than 1 there?",
    ),
    Property("stops at None", _NO_GRADIENT, _NO_GRADIENT_MESSAGE, _NO_GRADIENT_HINT),
    Property(
        "wrong with None",
        lambda seen: agrees(seen, _a_parameter_without_gradient, CLIP.reference),
        "Right where all have gradients, wrong where a .grad is None.",
        "Leave such parameters out, and only them; their .grad stays None.",
    ),
    Property("stops at zeros", _ZEROS, _ZEROS_MESSAGE, _ZEROS_HINT),
    Property(
        "zeros",
        lambda seen: agrees(seen, _gradients_of_zero, CLIP.reference),
        "Where all gradients are 0 they should stay 0, and the norm is 0.",
        "Is 0 divided by 0, or a gradient of 0 taken for a missing one?",
    ),
    Property(
        "a huge gradient",
        lambda seen: agrees(seen, _clip_a_huge_gradient, CLIP.reference),
        "Right for a gradient somewhat too long, wrong for one that is far too long.",
        "The factor is largest / norm, however small that is.",
    ),
    Property(
        "a little too long",
        lambda seen: agrees(seen, _clip_a_gradient_a_little_too_long, CLIP.reference),
        "A gradient only a little longer than `largest` does not get the norm `largest`.",
        "Compare norm > largest, nothing added or multiplied. And is `largest` itself used, not a fixed number?",
    ),
    Property(
        "small gradients",
        lambda seen: agrees(seen, _clip_a_tiny_gradient, CLIP.reference),
        "Right for gradients of ordinary length, wrong for very small ones.",
        "Is a fixed number added to the norm or to `largest`? 1e-6 does no harm; a larger one does.",
    ),
    Property(
        "each alone is short",
        lambda seen: agrees(seen, _clip_where_each_alone_is_short, CLIP.reference),
        "Where each gradient alone is short, but all together are not, nothing is right.",
        "One norm for all of them decides.",
    ),
)


CLIP: Exercise = Exercise(
    id="01.clip_gradients",
    title="Clip a gradient",
    stub=CLIP_STUB,
    reference=_clip(),
    experiments=(
        _clip_a_long_gradient,
        _leave_a_short_gradient,
        _clip_one_parameter,
        _clip_where_each_alone_is_short,
        _clip_to_less_than_one,
        _clip_a_huge_gradient,
        _clip_a_gradient_a_little_too_long,
        _clip_a_tiny_gradient,
        _gradients_of_zero,
        _a_parameter_without_gradient,
    ),
    mistakes=_CLIP_MISTAKES,
    properties=_CLIP_PROPERTIES,
    difficulty=2,
    importance=4,
    minutes=15,
)
