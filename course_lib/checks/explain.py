"""Words for what is wrong when no known mistake fits: exceptions, shapes, and plain differences.

Every function returns (name, message, hint): the name is None where only a difference is known.
"""

from __future__ import annotations

import linecache
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from course_lib.checks.sandbox import EndlessLoop

Words = tuple[str | None, str, str]
_OURS = Path(__file__).parents[1].as_posix()


class WrongReturn(Exception):
    """The answer is, or gave back, the wrong kind of thing: its name, the message and the hint."""

    def __init__(self, name: str, message: str, hint: str):
        super().__init__(name, message, hint)
        self.name, self.message, self.hint = name, message, hint


@dataclass(frozen=True)
class Text:
    """An answer made of words or counts, and the call that it answers, as the learner could type it."""

    call: str
    gave: Any  # a list of words, or a dict of counts
    given: tuple = field(default=(), compare=False)  # the arguments of the call, for properties

    def beside(self, expected: Text) -> str:
        """Lay this answer and the expected one side by side, in lines; of dicts only what differs."""
        one, other = self.gave, expected.gave
        if not (isinstance(one, dict) and isinstance(other, dict)):
            return f"yours:    {_cut(one)}\nexpected: {_cut(other)}"
        keys = [key for key in {**other, **one} if one.get(key) != other.get(key)]
        lines = [
            f"{key!r}: yours {one.get(key, 'nothing')}, expected {other.get(key, 'nothing')}"
            for key in keys[:6]
        ]
        return "\n".join(lines) + (f"\nand {len(keys) - 6} more" if len(keys) > 6 else "")


# (a part of the exception's text, name, message, hint); the first that fits is said.
_KNOWN_ERRORS = (
    (
        "Expected target size",
        "logits and labels that do not fit",
        "The cross-entropy is given logits and labels whose shapes do not fit.",
        "F.cross_entropy wants logits (N, V) with labels (N,), or (B, V, T) with (B, T): the words stand on axis 1. "
        "Flatten both alike, or transpose(1, 2) the logits; and are both cut by the same number of places?",
    ),
    (
        "to match target batch_size",
        "logits and labels that do not fit",
        "The cross-entropy is given logits and labels whose shapes do not fit.",
        "F.cross_entropy wants logits (N, V) with labels (N,), or (B, V, T) with (B, T): the words stand on axis 1. "
        "Flatten both alike, or transpose(1, 2) the logits; and are both cut by the same number of places?",
    ),
    (
        "floating point type for target",
        "labels that are no integers",
        "The cross-entropy takes logits first, then labels; here their shapes are the same.",
        "Logits have one axis more than labels: the words of the vocabulary. Is it gone, or are the two exchanged?",
    ),
    (
        "expected target dtype to be Long",
        "labels that are no integers",
        "The labels of a cross-entropy are token ids: whole numbers, torch.long.",
        "Is there a `.float()`, or are logits and labels exchanged?",
    ),
    (
        "Sizes of tensors must match except",
        "pieces that cannot be joined",
        "torch.cat is given pieces whose other axes differ in size.",
        "All axes must agree but the one along which they are joined. Print both shapes: is `dim` the right one?",
    ),
    (
        "Tensors must have same number of dimensions",
        "pieces with unlike numbers of axes",
        "torch.cat is given pieces that do not have the same number of axes.",
        "`keepdim=True`, or `unsqueeze`, gives a piece its missing axis; `flatten` makes each one long row.",
    ),
    (
        "Index tensor must have the same number of dimensions",
        "an index with another number of axes",
        "`gather` is given an index with fewer or more axes than the tensor it reads.",
        "Give the index an axis of size 1, `ids.unsqueeze(-1)`, and take it away afterwards with `squeeze(-1)`.",
    ),
    (
        "backward through the graph a second time",
        "a graph gone through twice",
        "A gradient is taken twice through the same steps; they are gone after the first.",
        "Does your function call `backward` where only its result is asked for? Is a state carried on without "
        "`.detach()`? Several gradients of one graph: add up first, or retain_graph=True.",
    ),
    (
        "implicitly created only for scalar",
        "a gradient of many numbers",
        "A gradient is asked of several numbers; it can be asked of one only.",
        "Add them up first: `.sum()`, then `backward` or torch.autograd.grad.",
    ),
    (
        "appears to not have been used in the graph",
        "a tensor that was not used",
        "A gradient is asked for a tensor that had no part in the result.",
        "`requires_grad_()` comes before the model reads it; and it must be that very tensor, not a clone of it.",
    ),
    (
        "a leaf Variable that requires grad",
        "changed in place",
        "A tensor whose gradient is wanted is changed in place.",
        "Operations that end in `_`, `+=` and `x[…] =` overwrite it. Make a new tensor.",
    ),
    (
        "has no len()",
        "a length of what has none",
        "`len` is asked of something that has no length.",
        "A generator, as model.parameters() gives one, has none: make a list of it first, and use only the list.",
    ),
    (
        "step must be greater than zero",
        "a tensor read backwards",
        "A tensor cannot be read backwards by [::-1].",
        "`x.flip(1)` turns axis 1 round.",
    ),
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
        "size mismatch, got input",
        "a matmul whose inner sizes differ",
        "A matrix product meets two inner sizes that differ.",
        "In A @ B the last size of A must be the last but one of B. Print both shapes just before that line.",
    ),
    (
        "bitwise_xor",
        "a power with ^",
        "`^` is no power in Python.",
        "A power is written `**`: h**2.",
    ),
    (
        "not implemented for",
        "another kind of number",
        "An operation does not know this kind of number.",
        "Whole numbers become floats by `.float()`; counts, ids and one-hot rows are whole numbers.",
    ),
    (
        "operand type(s) for ^",
        "a power with ^",
        "`^` is no power in Python.",
        "A power is written `**`: h**2.",
    ),
    (
        "must match the size of tensor b",
        "shapes that do not broadcast",
        "Two tensors of unlike shapes meet in one operation.",
        "Is it `*` or `+` where `@` belongs, a sum without `keepdim=True`, or `.T`, which turns *all* axes round?",
    ),
    (
        "modified by an inplace operation",
        "changed in place",
        "A tensor that the gradient still needs was changed in place.",
        "Operations that end in `_`, and `+=`, overwrite what the backward pass wants to read. Make a new tensor.",
    ),
    (
        "einsum()",
        "letters that do not fit",
        "In einsum one letter stands for two unlike sizes, or a letter is missing.",
        "Write the sizes beside the letters: b batch, q queries, k keys, d width. Each letter is one size.",
    ),
    (
        "has no attribute",
        "a name that is not there",
        "Your code asks an object for something it does not have.",
        "Is the name spelled rightly, and is the object what you think? Print type(…) and the shape before it.",
    ),
    (
        "out of bounds",
        "an index out of bounds",
        "An index goes past the end of an axis.",
        "Is range(…) taken from the wrong size, or the wrong axis indexed? Rows are `table[ids]`.",
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
        "cannot assign parameters before Module.__init__",
        "super().__init__() is missing",
        "A parameter is created before `super().__init__()` was called.",
        "Make `super().__init__()` the first line of your `__init__`.",
    ),
    (
        "torch.return_types",
        "max returns two things",
        "`max` with an axis returns two things: the values and where they stand.",
        "Take the values: `scores.max(dim=-1, keepdim=True).values`, or use `amax`.",
    ),
    (
        'arguments: "dim"',
        "softmax without an axis",
        "`torch.softmax` wants to know the axis over which it sums to 1.",
        "Write `dim=-1` for the last axis.",
    ),
    (
        "keepdims",
        "NumPy on a tensor",
        "A function of NumPy is called on a tensor.",
        "PyTorch has its own: torch.exp, torch.max, … with `dim` and `keepdim`; gradients flow through those.",
    ),
    (
        "call numpy() on Tensor that requires grad",
        "NumPy on a tensor",
        "A tensor that wants a gradient is turned into a NumPy array.",
        "Detaching it would cut the gradient. Stay with torch operations.",
    ),
    (
        "converted to Python scalars",
        "a tensor where one number is meant",
        "A function for single numbers, as math.exp or float, is called on a whole tensor.",
        "torch.exp, torch.sqrt, … work on every number of a tensor.",
    ),
    (
        "'torch.Size' object is not callable",
        "shape with parentheses",
        "`x.shape` is written without parentheses; `x.size()` has them.",
        "B, T, D = x.shape",
    ),
    (
        "stack expects each tensor to be equal size",
        "pieces of unlike sizes",
        "The pieces you put together have unlike sizes.",
        "Does `split` take a width where you gave a number of pieces? `chunk` takes the number. Along which axis?",
    ),
    (
        "only one dimension can be inferred",
        "two sizes left open",
        "Only one size of a `view` or `reshape` may be -1.",
        "Write the others out.",
    ),
    (
        "must be tuple of Tensors, not Tensor",
        "a tensor where a list is meant",
        "torch.cat and torch.stack take a list of tensors.",
        "Put the pieces in a list: torch.cat([a, b], dim=-1).",
    ),
    (
        "transpose(",
        "transpose takes two axes",
        "`transpose` exchanges two axes, no more and no fewer.",
        "`permute` takes the whole new order of all axes.",
    ),
    (
        "is not equal to len(dims)",
        "permute takes every axis",
        "`permute` wants every axis of the tensor, each once.",
        "Four axes need four numbers. To exchange two of them, use `transpose`.",
    ),
    (
        "self must be a matrix",
        "mm without a batch",
        "`torch.mm` multiplies two matrices, without a batch in front.",
        "`@` and `torch.matmul` multiply the last two axes, whatever stands before them.",
    ),
    (
        'missing the required "forward"',
        "no forward",
        "Your class has no method called forward.",
        "Is it spelled otherwise, or indented into `__init__`?",
    ),
    (
        "does not require grad",
        "no gradient wanted",
        "A tensor whose gradient is asked for does not record one.",
        "Is something frozen (`requires_grad = False`) or inside torch.no_grad()?",
    ),
    (
        "tensors used as indices must be",
        "an index that is no whole number",
        "A tensor is indexed with numbers that are no whole numbers.",
        "Ids and places are integers: `.long()`, or make them with `torch.arange` or `torch.tensor([0, 1])`.",
    ),
    (
        "argument #1 'indices'",
        "ids and table exchanged",
        "F.embedding gets its two arguments in the wrong order, or ids with fractions.",
        "It is `F.embedding(ids, table)`: the ids first, and they are whole numbers.",
    ),
    (
        "'weight' must be 2-D",
        "ids and table exchanged",
        "F.embedding gets its two arguments in the wrong order.",
        "It is `F.embedding(ids, table)`: the ids first.",
    ),
    (
        "can't be cast to the desired output type",
        "fractions written into whole numbers",
        "A result with fractions is to be written into a tensor of whole numbers.",
        "`.float()` first, and no method that ends in `_`: it writes into the tensor it is called on.",
    ),
    (
        "indices must be integers",
        "a name in place of a number",
        "A list or a string is indexed with something that is no whole number.",
        "Is it a dict that you want, or `words.index(word)`?",
    ),
    (
        "not enough values to unpack",
        "an unpacking that does not fit",
        "More names stand left of the `=` or the `in` than there are values to the right.",
        "Print the shape, or what the function returns, just before that line.",
    ),
    (
        "too many values to unpack",
        "an unpacking that does not fit",
        "Fewer names stand left of the `=` or the `in` than there are values to the right.",
        "Print the shape, or what the function returns, just before that line. (Of a dict, `.items()` gives pairs.)",
    ),
    (
        "must be tuple of ints",
        "a size that is no whole number",
        "A size or an index is no whole number.",
        "`/` gives 4.0 where `//` gives 4.",
    ),
    (
        "cannot be interpreted as an integer",
        "a size that is no whole number",
        "A size or an index is no whole number.",
        "`/` gives 4.0 where `//` gives 4.",
    ),
    (
        "'builtin_function_or_method'",
        "a method that is not called",
        "A method is used where its result is meant.",
        "Are the parentheses () missing, as in `x.contiguous().view(…)`?",
    ),
    (
        "positional argument",
        "arguments that do not fit",
        "Your code calls something with more or fewer arguments than it takes.",
        "Compare the call with the exercise's text: what does a model take there, and what does it return?",
    ),
    (
        "unexpected keyword argument",
        "arguments that do not fit",
        "Your code calls something with an argument it does not know.",
        "Compare the names of the arguments with the documentation, or with the exercise's `def` line.",
    ),
    (
        "index out of range in self",
        "an id past the table",
        "An id is looked up in a table that has no such row.",
        "Is it the right table, and are these ids of it, counted from 0?",
    ),
    (
        "index out of range",
        "an index past the end",
        "An index goes past the end of a list, a string or a tuple.",
        "Where a line looks at place i + 1, the last i has no neighbour. And what of an empty list?",
    ),
    (
        "'NoneType' object",
        "None in place of a thing",
        "Somewhere a value is None that should be a thing.",
        "Does a function that you call not return anything? `list.sort()`, `.append()`, `.update()` give None.",
    ),
    (
        "object is not iterable",
        "a loop over one thing",
        "A loop, or a function that wants many things, gets a single one.",
        "`range(n)` counts to n; `for thing in things` wants the list, not its length.",
    ),
    (
        "argument is empty",
        "the best of nothing",
        "`min` or `max` is asked for the best of nothing.",
        "What should be given back when there is nothing to choose from? Look first whether there is.",
    ),
    (
        "is an empty sequence",
        "the best of nothing",
        "`min` or `max` is asked for the best of nothing.",
        "What should be given back when there is nothing to choose from? Look first whether there is.",
    ),
    (
        "unhashable type",
        "a list as a key",
        "A list or a set cannot be a key of a dict, nor stand in a set.",
        "A tuple can: `tuple(pair)`.",
    ),
    (
        "changed size during iteration",
        "changed while it is read",
        "A dict or set is changed while a loop runs over it.",
        "Loop over a copy, `list(…)`, or fill a new one.",
    ),
    (
        "does not support item assignment",
        "what cannot be changed",
        "A string or a tuple is written into; neither can be changed.",
        "Make a list of it, or build a new one.",
    ),
    (
        "object is not subscriptable",
        "an index into what has none",
        "Something is indexed with [ ] that has no places or keys.",
        "A set has no order, a function is called with ( ). Which one is it?",
    ),
    (
        "is not in list",
        "a word that is not in the list",
        "A word is looked up in a list in which it does not stand.",
        "Print the list, and what you look for. Is it the word, or its row?",
    ),
)
_KNOWN_TYPES = {
    KeyError: (
        "a key that is not there",
        "A dict is asked for a key that it does not have.",
        "`d.get(key, default)`, `key in d` or a Counter help where a key may be missing.",
    ),
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


def explain_error(error: BaseException, where: str = "") -> Words:
    """Put an exception into words for the learner, with the line of their code that raised it."""
    if isinstance(error, WrongReturn):
        return error.name, error.message, error.hint
    says_more = any(part in str(error) for part in ("forward", "not implemented for"))  # PyTorch's own
    if isinstance(error, NotImplementedError) and not says_more:
        return (
            "not written yet",
            "Not written yet: this exercise is waiting for you.",
            "Take the line `raise NotImplementedError` away and write your answer in its place.",
        )
    if isinstance(error, EndlessLoop):
        return (
            "a loop without end",
            "Your code had not ended after five seconds.",
            f"Does a `while` loop never reach its end, because nothing in it changes?{line_of(error)}",
        )
    if isinstance(error, SystemExit):
        return (
            "leaves Python",
            "Your code leaves Python: exit() ends the whole kernel.",
            "Use return, or raise.",
        )
    text = str(error)
    if "positional argument" in text and isinstance(error, TypeError) and not line_of(error):
        return (
            "arguments that do not fit",
            "Your function or class does not take the arguments that the exercise names.",
            f"Compare your `def` lines with those of the exercise. Python says: {_one_line(text)}",
        )
    said = f"Python says: {type(error).__name__}: {_one_line(text)}"
    place = line_of(error) + (f" {where}" if where else "")
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
    message = f"The shape of the {quantity} is {_shape(got)}; expected {_shape(expected)}."
    hint = f"Seen in: {where}."
    if sorted(got.shape) == sorted(expected.shape):
        hint += " The sizes are right, their order is not: which axes should change places?"
    elif got.numel() == expected.numel():
        hint += " No number is lost, but axes are split or joined otherwise than asked."
    else:
        hint += " Print the shape after every line, and compare with the shapes you expect."
    return "a shape that differs", message[:83], hint


def explain_nearly(where: str) -> Words:
    """Say that everything is right to two digits."""
    return (
        "nearly right",
        "Nearly right: every number is within one per cent, but not as near as it should be.",
        f"Seen in: {where}. Is something rounded, in half precision, or a small number added or cut off?",
    )


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
            "What is special there: an axis of size 1, equal sizes, large or small numbers? Look for a fixed number "
            f"in your code, or a size taken from the wrong axis. {numbers}",
        )
    return (
        None,
        "Your answer has the right shape, but other numbers than expected.",
        f"{numbers} Follow that one number through your code by hand.",
    )


def explain_words(got: Text, expected: Text, only_later: bool) -> Words:
    """Say which call gave other words or counts, and lay both answers side by side.

    Args:
        only_later: the first experiment was right, so that the answer is right for some inputs.
    """
    side_by_side = f"{got.call}: {got.beside(expected)}".replace("\n", " · ").replace("yours:    ", "yours: ")
    if only_later:
        return (
            "right for some inputs only",
            "Right for the first input, wrong for another.",
            side_by_side + ".",
        )
    return None, "Your answer differs from what was expected; both are shown.", side_by_side + "."


def _cut(answer: Any) -> str:
    text = repr(answer)
    return text if len(text) <= 200 else f"{text[:200]} …"


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]


def line_of(error: BaseException) -> str:
    """Return the last line of the learner's own code that the exception went through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = frame.filename.replace("\\", "/")
        line = linecache.getline(frame.filename, frame.lineno or 0).strip()
        if (
            line
            and not path.startswith(_OURS)
            and "/site-packages/" not in path
            and "/lib/python" not in path
        ):
            return f" — in the line `{line[:100]}`"
    return ""
