"""Words for what is wrong when no known mistake fits: exceptions, shapes, and plain differences.

Every function returns (name, message, hint): the name is None where only a difference is known.
"""

from __future__ import annotations

import linecache
import traceback
from pathlib import Path

from torch import Tensor

Words = tuple[str | None, str, str]
_OURS = str(Path(__file__).parent)


class WrongReturn(Exception):
    """The answer is, or gave back, the wrong kind of thing: its name, the message and the hint."""

    def __init__(self, name: str, message: str, hint: str):
        super().__init__(name, message, hint)
        self.name, self.message, self.hint = name, message, hint


# (a part of the exception's text, name, message, hint); the first that fits is said.
_KNOWN_ERRORS = (
    (
        "is ambiguous",
        "a tensor as a condition",
        "A tensor with several elements stands where Python wants one yes or no.",
        "`if`, `and`, `or`, `not` and `max()` take one truth value. Ask `is not None`, or use `&`, `|`, `~`, "
        "`torch.where`.",
    ),
    (
        "view size is not compatible",
        "view after a transpose",
        "`view` cannot read a tensor whose axes were just swapped.",
        "After `transpose` or `permute` the numbers lie in another order in memory: use `reshape` or `flatten`.",
    ),
    (
        "is invalid for input of size",
        "a reshape that does not fit",
        "A `view` or `reshape` asks for more or fewer numbers than there are.",
        "Multiply the sizes you ask for, and the sizes you have. Which factor is missing or counted twice?",
    ),
    (
        "mat1 and mat2 shapes cannot be multiplied",
        "a matmul whose inner sizes differ",
        "A matrix product meets two inner sizes that differ.",
        "In A @ B the last size of A must be the last but one of B. Print both shapes just before that line.",
    ),
    (
        "Expected size for first two dimensions of batch2",
        "a matmul whose inner sizes differ",
        "A matrix product meets two inner sizes that differ.",
        "In A @ B the last size of A must be the last but one of B. Print both shapes; is a transpose missing?",
    ),
    (
        "must match the size of tensor b",
        "shapes that do not broadcast",
        "Two tensors of unlike shapes meet in one operation.",
        "Is it `*` or `+` where `@` belongs, a sum without `keepdim=True`, or a transpose too few?",
    ),
    (
        "modified by an inplace operation",
        "changed in place",
        "A tensor that the gradient still needs was changed in place.",
        "Operations that end in `_`, and `+=`, overwrite what the backward pass wants to read. Make a new tensor.",
    ),
    (
        "to have the same dtype",
        "two dtypes",
        "Two tensors of unlike dtypes meet in one operation.",
        "Make new tensors like the old ones: `x.new_zeros(…)`, or `torch.zeros(…, dtype=x.dtype)`.",
    ),
    (
        "expected scalar type",
        "two dtypes",
        "Two tensors of unlike dtypes meet in one operation.",
        "Make new tensors like the old ones: `x.new_zeros(…)`, or `torch.zeros(…, dtype=x.dtype)`.",
    ),
    (
        "Dimension out of range",
        "an axis that is not there",
        "An operation asks for an axis that this tensor does not have.",
        "Count axes from the end: -1 is the last, -2 the one before; that works with and without a batch axis.",
    ),
    (
        "cannot assign module before Module.__init__",
        "super().__init__() is missing",
        "A layer is created before `super().__init__()` was called.",
        "Make `super().__init__()` the first line of your `__init__`.",
    ),
    (
        "positional argument",
        "arguments that do not fit",
        "Your function does not take the arguments that the exercise names.",
        "Compare your `def` line with the one in the exercise: the same names, in the same order.",
    ),
    (
        "unexpected keyword argument",
        "arguments that do not fit",
        "Your code calls something with an argument it does not know.",
        "Compare the names of the arguments with the documentation, or with the exercise's `def` line.",
    ),
)
_KNOWN_TYPES = {
    NameError: (
        "a name that is not defined",
        "Your code uses a name that is not defined.",
        "Was it spelled differently above, or is an import missing in this notebook?",
    ),
    RecursionError: (
        "a function that calls itself",
        "Your function calls itself without end.",
        "Does it use its own name where it means the library's function?",
    ),
    ZeroDivisionError: (
        "a division by zero",
        "Your code divides by zero.",
        "Which size or sum can be 0 here?",
    ),
}


def explain_error(error: Exception, where: str = "") -> Words:
    """Put an exception into words for the learner, with the line of their code that raised it."""
    if isinstance(error, WrongReturn):
        return error.name, error.message, error.hint
    if isinstance(error, NotImplementedError):
        return (
            "not written yet",
            "Not written yet: this exercise is waiting for you.",
            "Take the line `raise NotImplementedError` away and write your answer in its place.",
        )
    text = str(error)
    said = f"Python says: {type(error).__name__}: {_one_line(text)}"
    place = _line_of(error) + (f" {where}" if where else "")
    for part, name, message, hint in _KNOWN_ERRORS:
        if part in text:
            return name, message, f"{hint} {said}{place}"
    for kind, (name, message, hint) in _KNOWN_TYPES.items():
        if isinstance(error, kind):
            return name, message, f"{hint} {said}{place}"
    message = f"Your code stops with {type(error).__name__}"
    return f"stops with {type(error).__name__}", f"{message}.", f"{said}{place}"


def explain_shape(where: str, got: Tensor, expected: Tensor) -> Words:
    """Say that a shape differs."""
    quantity = where.split(",")[0]
    message = f"The shape of {quantity} is {_shape(got)}; expected {_shape(expected)}."
    hint = f"Seen in: {where}. Every size there is different: find each of yours in the expected shape."
    return "a shape that differs", message[:83], hint


def explain_difference(where: str, got: Tensor | None, expected: Tensor | None, only_later: bool) -> Words:
    """Say where the numbers differ first, and by how much.

    Args:
        where: the quantity and the experiment.
        only_later: the first experiment was right, so that the answer is right for some inputs.
    """
    if got is None or expected is None or got.numel() == 0:
        return None, "Your answer differs from what was expected.", where
    if not got.isfinite().all() and expected.isfinite().all():
        kind = "NaN" if got.isnan().any() else "infinity"
        return (
            "a number that is not finite",
            f"Your answer holds {kind} where a number was expected.",
            f"Seen in: {where}. What is exponentiated, divided or squared there, and how large can it be?",
        )
    off = (got - expected).abs().nan_to_num(0.0)
    index = tuple(int(i) for i in (off == off.max()).nonzero()[0])
    numbers = (
        f"Seen in: {where}. Farthest off at index {list(index)}: got {got[index]:.4g}, "
        f"expected {expected[index]:.4g}."
    )
    if where.startswith("gradient to"):
        quantity = where.split(",")[0]
        return (
            "another gradient",
            f"The numbers are right, but the {quantity} is not.",
            f"Is a part cut off by `.detach()`, `.data`, torch.no_grad() or a rounding? {numbers}",
        )
    if only_later:
        return (
            "right for some inputs only",
            "Right for the first input, wrong for another.",
            f"Is a size written as a number, taken from the wrong axis, or squeezed away? {numbers}",
        )
    return (
        None,
        "Your answer has the right shape, but other numbers than expected.",
        f"{numbers} Follow that one number through your code by hand.",
    )


def _shape(tensor: Tensor) -> str:
    return f"({', '.join(map(str, tensor.shape))})"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]


def _line_of(error: Exception) -> str:
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "/torch/" not in f.filename.replace("\\", "/")
    ]
    for frame in reversed(frames):
        if frame.filename.startswith(_OURS):
            break
        line = linecache.getline(frame.filename, frame.lineno or 0).strip()
        if line:
            return f" — in the line `{line[:100]}`"
    return ""
