"""What experiments with words are made of: answers of the right kind, whatever Python writes them as."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from numbers import Real
from typing import Any

from torch import Tensor

from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import kind_of

MANY = 10_000  # more entries than any answer here has: a generator may have no end


def some_words(result: Any, *, asked: str = "a list of strings") -> list[str]:
    """Return the words of an answer: a list, a tuple, a generator, an array of strings.

    Args:
        asked: what the exercise asks for, in words.
    """
    found = _entries(result, asked)
    for entry in found:
        if isinstance(entry, (tuple, list)):
            raise WrongReturn(
                f"{kind_of(entry)} in place of a string",
                f"The entries of your result are of type {type(entry).__name__}; each should be one string.",
                f"The exercise asks for {asked}: leave scores and brackets out, and join letters by ''.join(…).",
            )
        if not isinstance(entry, str):
            raise WrongReturn(
                f"{kind_of(entry)} in place of a string",
                f"Your result holds {kind_of(entry)}; the exercise asks for strings."[:83],
                f"The exercise asks for {asked}. Of a row number, `words[number]` is the word.",
            )
    return [str(entry) for entry in found]


def some_pairs(result: Any, *, asked: str) -> dict[tuple[str, str], int]:
    """Return how often each pair of words stands in an answer; the order of the pairs is left open."""
    if isinstance(result, (set, frozenset)):
        raise WrongReturn(
            "a set in place of a list",
            "You return a set, which keeps each pair only once; a list keeps all.",
            "A pair that occurs twice in the text counts twice in training. Use a list and append.",
        )
    return dict(Counter(_pair(entry, asked) for entry in _entries(result, asked)))


def some_counts(result: Any, *, asked: str) -> dict[tuple[str, str], float]:
    """Return the counts of pairs of an answer: a dict or a Counter. A count of 0 is left out."""
    if not isinstance(result, Mapping):
        _refuse(result, asked)
        raise WrongReturn(
            f"{kind_of(result)} in place of a dict",
            f"Where a dict of counts is asked for, you give {kind_of(result)}."[:83],
            f"The exercise asks for {asked}. dict(…) makes one of a list of (pair, count).",
        )
    counts = {}
    for key, count in result.items():
        if isinstance(count, Tensor) and count.numel() == 1:
            count = count.item()
        if not isinstance(count, Real):
            raise WrongReturn(
                "a count that is no number",
                f"The values of your dict should be numbers; one is {kind_of(count)}."[:83],
                f"The exercise asks for {asked}.",
            )
        if count:
            number = float(count)  # 2.0 is shown as 2: yours and ours should look alike
            counts[_pair(key, asked)] = int(number) if number.is_integer() else number
    return counts


def several(result: Any, number: int, *, asked: str) -> list[Any]:
    """Return the parts of an answer that has several, in order."""
    _refuse(result, asked)
    if not isinstance(result, (tuple, list)) or len(result) != number:
        many = f"{len(result)} things" if isinstance(result, (tuple, list)) else kind_of(result)
        raise WrongReturn(
            f"{many} in place of {number}",
            f"You return {many}; the exercise asks for {number} things."[:83],
            f"The exercise asks for {asked}: `return first, second`.",
        )
    return list(result)


def _entries(result: Any, asked: str) -> list[Any]:
    _refuse(result, asked)
    if isinstance(result, str):
        raise WrongReturn(
            "one string in place of a list",
            "You return one string; the exercise asks for a list.",
            f"The exercise asks for {asked}. A list with one entry has brackets round it: [word].",
        )
    if isinstance(result, (Mapping, set, frozenset)) or not isinstance(result, Iterable):
        order = " A set has no order." if isinstance(result, (set, frozenset)) else ""
        raise WrongReturn(
            f"{kind_of(result)} in place of a list",
            f"You return {kind_of(result)}; the exercise asks for a list."[:83],
            f"The exercise asks for {asked}.{order}",
        )
    found = list(itertools.islice(result, MANY))
    if len(found) == MANY:
        raise WrongReturn("no end", "Your result has no end.", "Does your generator ever stop?")
    return found


def _refuse(result: Any, asked: str) -> None:
    """Say kindly what an answer is that can be neither words nor counts."""
    if result is None:
        raise WrongReturn(
            "nothing returned",
            "Your code returns nothing.",
            "Does the last line begin with `return`, in every branch? (`.sort()` and `.append()` give None.)",
        )
    if isinstance(result, Tensor):
        raise WrongReturn(
            "a tensor in place of words",
            "You return a tensor; this exercise asks for words.",
            f"The exercise asks for {asked}. `.tolist()` makes Python numbers of row numbers, and words[number] is "
            "the word.",
        )
    if callable(result):
        raise WrongReturn(
            "a method in place of its result",
            "You return a function or a method, not what it gives.",
            "Are the parentheses () missing after `.items`, `.split` or another method?",
        )


def _pair(entry: Any, asked: str) -> tuple[str, str]:
    if isinstance(entry, str):
        raise WrongReturn(
            "strings in place of pairs",
            "Your result holds strings; the exercise asks for pairs, such as ('a', 'b').",
            f"The exercise asks for {asked}. Joined, ('a', 'bc') and ('ab', 'c') could not be told apart.",
        )
    parts = list(entry) if isinstance(entry, (tuple, list)) else [entry]
    if len(parts) != 2 or not all(isinstance(part, Hashable) for part in parts):
        raise WrongReturn(
            "no pairs",
            "Your result holds something that is no pair of two strings.",
            f"The exercise asks for {asked}. Yours holds, for example, {entry!r}."[:300],
        )
    for part in parts:
        if not isinstance(part, str):
            raise WrongReturn(
                f"pairs that hold {kind_of(part)}",
                f"Your pairs hold {kind_of(part)}; they should hold strings."[:83],
                f"The exercise asks for {asked}. Places are not words: `sentence[i]` is the word.",
            )
    return str(parts[0]), str(parts[1])
