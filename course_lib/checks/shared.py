"""What the exercises of every lesson share: symptoms that any answer can show."""

from __future__ import annotations

from typing import Any

import torch

from course_lib.checks.engine import Property, Seen, experiment_name


def agrees(seen: dict[str, Seen], experiment: Any, reference: Any) -> bool:
    """Say whether what an experiment saw is what it sees of the reference."""
    shown, expected = seen[experiment_name(experiment)], experiment(reference)
    return all(torch.allclose(shown[name], wanted.double(), atol=1e-3) for name, wanted in expected.items())


def differ(one: Seen, other: Seen) -> bool:
    """Say whether two calls with the same input differ."""
    return any(
        one[name].shape != other[name].shape
        or not torch.allclose(one[name], other[name], atol=1e-6, equal_nan=True)
        for name in one
    )


def changes_its_input(experiment: str) -> Property:
    """The answer changed the tensors it was given: `experiment` saw "input changed"."""
    return Property(
        "changes its input",
        lambda seen: seen[experiment]["input changed"].item() == 0,
        "Your code changes the tensors it was given.",
        "`/=`, `+=`, `x[:] =` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
    )


def left_to_chance(experiment: str) -> Property:
    """Two calls with the same input differ: `experiment` saw "second call differs"."""
    return Property(
        "left to chance",
        lambda seen: seen[experiment]["second call differs"].item() == 0,
        "Two calls with the same input give different results.",
        "Is there dropout, a fresh random tensor or layer, or something kept from the call before?",
    )


def no_gradient(experiment: str, inputs: str) -> Property:
    """To one of the inputs no gradient flows: `experiment` saw the gradients."""
    return Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen[experiment].values()),
        f"No gradient flows back to {inputs}.",
        "Is it used at all? If it is: `.detach()`, `.data`, `.item()`, `torch.tensor(…)`, `.round()`, "
        "torch.no_grad() and NumPy cut the gradient, and nothing could be learned through your code.",
    )


def never_written(table: Any, what: str) -> Property:
    """Some entries are exactly 0: a loop or a selection left them out."""
    return Property(
        "never written",
        lambda seen: bool((table(seen) != 0).all()),
        f"Some of your {what} are exactly 0.",
        "Were they never written? Look at where the loop begins and ends, and at a `return` inside it.",
    )


def not_finite(table: Any, what: str) -> Property:
    """NaN or infinity in the very first experiment."""
    return Property(
        "not a number",
        lambda seen: bool(table(seen).isfinite().all()),
        f"There are NaN or infinite numbers among your {what}.",
        "A division of 0 by 0, or a root or logarithm of a negative number?",
    )
