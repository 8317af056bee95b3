"""What the exercises of every lesson share: symptoms that any answer can show, and answers that are tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Property, Seen, experiment_name
from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import a_function, yes


def agrees(seen: dict[str, Seen], experiment: Any, reference: Any) -> bool:
    """Say whether what an experiment saw is what it sees of the reference."""
    shown, expected = seen[experiment_name(experiment)], experiment(reference)
    return all(torch.allclose(shown[name], wanted.double(), atol=1e-3) for name, wanted in expected.items())


def unlike(one: Tensor, other: Tensor) -> bool:
    """Say whether two calls with the same input gave different tensors; NaN is like NaN."""
    return one.shape != other.shape or not torch.allclose(
        one.double(), other.double(), atol=1e-6, equal_nan=True
    )


def differ(one: Seen, other: Seen) -> bool:
    """Say whether two calls with the same input differ."""
    return any(unlike(one[name], other[name]) for name in one)


def unchanged(seen: dict[str, Seen]) -> bool:
    """Say whether no experiment saw "input changed": some inputs only tempt an answer to change them."""
    return all(not saw["input changed"].any() for saw in seen.values() if "input changed" in saw)


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


# --- find the bug: the answer is a test, tried on sound code and on faulty code ---------------------------------


def three_verdicts(candidate: Any, rejected_by: Callable[[Any], tuple[bool, bool]]) -> tuple[Tensor, bool]:
    """Run the learner's test three times, each from another random state.

    Args:
        candidate: the test.
        rejected_by: test → whether it rejects the code at hand, and whether it returned something.

    Returns:
        1.0 where it was rejected, (3,); whether something was returned in any run.
    """
    rejected, odd = [], False
    for run in range(3):
        torch.default_generator.manual_seed(run)  # torch.manual_seed also looks at devices: 20 times the time
        rejects, returned = rejected_by(a_function(candidate))
        rejected.append(yes(rejects))
        odd = odd or returned
    return torch.stack(rejected), odd


def always(seen: dict[str, Seen], name: str, rejected: int) -> bool:
    """Say whether an experiment's code was rejected (1) or accepted (0) in every run."""
    return bool((seen[name]["rejected"] == rejected).all())


def another_exception(error: Exception) -> WrongReturn:
    """Say kindly that a test raises, but not the exception that is heard."""
    return WrongReturn(
        "raises another exception",
        f"Your test raises {type(error).__name__}; it should raise AssertionError."[:83],
        "`assert condition, text` raises it where the condition is False.",
    )
