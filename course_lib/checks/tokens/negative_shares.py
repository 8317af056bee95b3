"""Exercise 02.negative_shares: how often word2vec draws each word as a negative.

V vocab_size
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, yes
from course_lib.checks.shared import (
    agrees,
    changes_its_input,
    left_to_chance,
    not_finite,
    unlike,
)

# ── 02.negative_shares ───────────────────────────────────────────────────────────────────────────────

SHARES_STUB = '''
def negative_shares(counts, neighbour, power=0.75):
    """Say how likely each word is to be drawn as a negative for a pair whose neighbour is given.

    Args:
        counts: how often each word occurs in the text, (V,), whole numbers; some may be 0.
        neighbour: the id of the word that did stand near. It is never its own negative.
        power: a word is drawn in proportion to its count to this power; above 0.

    Returns:
        (V,): the shares of the words. They sum to 1; the neighbour's is 0, and so is that of a word
        that never occurs. At least one other word occurs. counts stay as they were.
    """
'''


def _shares(candidate: Any, counts: list[int], neighbour: int, **named: float) -> Tensor:
    return a_tensor(a_function(candidate)(torch.tensor(counts), neighbour, **named))


def _shares_of_four_words(candidate: Any) -> Seen:
    counts = torch.tensor([15, 80, 2, 250])
    given = counts.clone()
    shares = a_tensor(a_function(candidate)(given, 1))
    again = a_tensor(candidate(counts.clone(), 1))
    return {
        "shares": shares,
        "input changed": yes(not torch.equal(given, counts)),
        "second call differs": yes(unlike(shares, again)),
    }


def _shares_of_other_neighbours(candidate: Any) -> Seen:
    counts = [7, 40, 3, 500, 12, 90]
    return {
        f"shares beside word {neighbour}": _shares(candidate, counts, neighbour) for neighbour in (0, 3, 5)
    }


def _shares_with_words_that_never_occur(candidate: Any) -> Seen:
    shares = _shares(candidate, [0, 9, 4, 0, 30], 2)
    return {
        "shares": shares,
        # a thousand times as large: nearly 0 is not 0
        "shares that should be 0, in thousandths": 1000
        * (shares[[0, 2, 3]] if shares.shape == (5,) else shares),
        "shares beside a word that never occurs": _shares(candidate, [0, 9, 4, 0, 30], 3),
    }


def _shares_of_small_counts(candidate: Any) -> Seen:
    return {"shares": _shares(candidate, [2, 1, 3, 2, 1], 3)}


def _shares_of_two_words(candidate: Any) -> Seen:
    return {"shares": _shares(candidate, [5, 11], 0)}


def _shares_by_other_powers(candidate: Any) -> Seen:
    counts = [7, 40, 3, 500, 12, 90]
    return {
        "shares by power 1": _shares(candidate, counts, 1, power=1.0),
        "shares by power 0.5": _shares(candidate, counts, 1, power=0.5),
        "shares by power 2": _shares(candidate, counts, 1, power=2.0),
    }


def _shares_of_large_counts(candidate: Any) -> Seen:
    return {"shares": _shares(candidate, [3_000_000, 1, 2_000_000_000, 50_000], 3)}


def _weighing(
    weigh: Callable[[Tensor, float], Tensor], *, hide: str = "before", sums: str = "all"
) -> Callable[..., Tensor]:
    """The shares with one part exchanged: how counts become weights, and when the neighbour is taken out."""

    def negative_shares(counts: Tensor, neighbour: int, power: float = 0.75) -> Tensor:
        weights = weigh(counts.double(), power).clone()
        if hide == "before":
            weights[neighbour] = 0.0
        shares = weights / weights.sum() if sums == "all" else weights
        if hide == "after":
            shares = shares.clone()
            shares[neighbour] = 0.0
        return shares.float()

    return negative_shares


def _power(counts: Tensor, power: float) -> Tensor:
    return counts**power


def _weight_of(counts: Tensor, neighbour: int, power: float, place: int | Tensor) -> Tensor:
    weights = (counts.double() ** power).clone()
    weights[place] = 0.0
    return (weights / weights.sum()).float()


def _in_place(counts: Tensor, neighbour: int, power: float = 0.75) -> Tensor:
    counts[neighbour] = 0
    return _weighing(_power)(counts, neighbour, power)


def _removed(counts: Tensor, neighbour: int, power: float = 0.75) -> Tensor:
    others = torch.arange(len(counts)) != neighbour
    return _weighing(_power)(counts, neighbour, power)[others]


def _drawn(counts: Tensor, neighbour: int, power: float = 0.75) -> Tensor:
    shares = _weighing(_power)(counts, neighbour, power)
    return F.one_hot(shares.argmax(), len(shares)).to(shares.dtype)


_POWER_LINE = "weights = counts.float() ** power"
_HIDE_LINE = "weights[neighbour] = 0, before weights / weights.sum()"

_SHARES_MISTAKES = (
    Mistake(
        "no power",
        _weighing(lambda counts, power: counts),
        "Your shares are in proportion to the counts themselves, not to their power.",
        "With the power 0.75 rare words are drawn more often than they occur. Where does `power` enter?",
        _POWER_LINE,
    ),
    Mistake(
        "the power is fixed",
        _weighing(lambda counts, power: counts**0.75),
        "Your power is always 0.75, whatever `power` says.",
        "Use the argument in place of the number.",
        _POWER_LINE,
    ),
    Mistake(
        "the power is one over power",
        _weighing(lambda counts, power: counts ** (1 / power)),
        "You raise the counts to 1/power, which makes frequent words still more frequent.",
        "The power itself stands in the exponent.",
        _POWER_LINE,
    ),
    Mistake(
        "the rare ones first",
        _weighing(lambda counts, power: torch.where(counts > 0, counts.clamp(min=1) ** -power, 0.0)),
        "Rare words get the largest shares: the sign of the power is turned.",
        "A word that occurs more often is drawn more often, only less than in proportion.",
        _POWER_LINE,
    ),
    Mistake(
        "all words alike",
        _weighing(lambda counts, power: torch.ones_like(counts)),
        "All words but the neighbour get the same share.",
        "Where do the counts enter?",
        _POWER_LINE,
    ),
    Mistake(
        "all words that occur alike",
        _weighing(lambda counts, power: (counts > 0).double()),
        "All words that occur, but the neighbour, get the same share.",
        "Where do the counts enter?",
        _POWER_LINE,
    ),
    Mistake(
        "a softmax of the counts",
        lambda counts, neighbour, power=0.75: (
            counts.double().index_fill(0, torch.tensor(neighbour), -math.inf).softmax(0).float()
        ),
        "This is a softmax of the counts: the most frequent word takes nearly everything.",
        "Counts are positive already. Raise them to the power and divide by their sum.",
        "weights / weights.sum()",
    ),
    Mistake(
        "a softmax of the powers",
        lambda counts, neighbour, power=0.75: (
            (counts.double() ** power).index_fill(0, torch.tensor(neighbour), -math.inf).softmax(0).float()
        ),
        "You put a softmax on the powers; the most frequent word takes nearly everything.",
        "The powers are positive already. Divide them by their sum.",
        "weights / weights.sum()",
    ),
    Mistake(
        "logarithms",
        _weighing(lambda counts, power: (counts + 1).log()),
        "Your shares grow like the logarithm of the count; a power is asked for.",
        "In Python a power is written **.",
        _POWER_LINE,
    ),
    Mistake(
        "one is added",
        _weighing(lambda counts, power: (counts + 1) ** power),
        "You add 1 to the counts; a word that never occurs must have the share 0.",
        "0 to a power above 0 is 0: nothing has to be added.",
        _POWER_LINE,
    ),
    Mistake(
        "the neighbour is among them",
        _weighing(_power, hide="never"),
        "The neighbour may be drawn as its own negative: its share is not 0.",
        "The model would be told of one pair that it does stand near, and that it does not.",
        _HIDE_LINE,
    ),
    Mistake(
        "the neighbour is among them, without the power",
        _weighing(lambda counts, power: counts, hide="never"),
        "The neighbour may be drawn as its own negative: its share is not 0.",
        "The model would be told that a word stands near, and that it does not. (The power is missing too.)",
        _HIDE_LINE,
    ),
    Mistake(
        "taken out after the division",
        _weighing(_power, hide="after"),
        "The neighbour is taken out after the division: your shares do not sum to 1.",
        "Take it out first, and divide by the sum of what is left.",
        _HIDE_LINE,
    ),
    Mistake(
        "taken out before the power of the sum",
        _weighing(_power, sums="none"),
        "The weights are right, but they are not divided by their sum.",
        "Shares sum to 1.",
        "weights / weights.sum()",
    ),
    Mistake(
        "divided before the power",
        lambda counts, neighbour, power=0.75: _weighing(lambda c, p: (c / c.sum()) ** p, sums="none")(
            counts, neighbour, power
        ),
        "The sum is raised to the power too; divide by the sum of the powers.",
        "The power comes first, the division last: only then do the shares sum to 1.",
        "weights / weights.sum()",
    ),
    Mistake(
        "the power on the shares, neighbour left out of the sum",
        lambda counts, neighbour, power=0.75: (
            ((c := counts.double().index_fill(0, torch.tensor(neighbour), 0.0)) / c.sum()).pow(power).float()
        ),
        "The sum is raised to the power too; divide by the sum of the powers.",
        "The power comes first, the division last: only then do the shares sum to 1.",
        "weights / weights.sum()",
    ),
    Mistake(
        "divided by the sum of the counts",
        lambda counts, neighbour, power=0.75: (
            _weighing(_power, sums="none")(counts, neighbour, power) / counts.sum()
        ),
        "You divide by the sum of the counts, not by the sum of the powers.",
        "What must your numbers be divided by, so that they sum to 1?",
        "weights / weights.sum()",
    ),
    Mistake(
        "divided by the largest",
        lambda counts, neighbour, power=0.75: (
            (w := _weighing(_power, sums="none")(counts, neighbour, power)) / w.max()
        ),
        "You divide by the largest weight; shares are divided by the sum.",
        "Add your shares up: what do they give?",
        "weights / weights.sum()",
    ),
    Mistake(
        "the word after it is taken out",
        lambda counts, neighbour, power=0.75: _weight_of(
            counts, neighbour, power, (neighbour + 1) % len(counts)
        ),
        "The word after the neighbour is taken out, not the neighbour.",
        "Ids begin with 0.",
        _HIDE_LINE,
    ),
    Mistake(
        "the word before it is taken out",
        lambda counts, neighbour, power=0.75: _weight_of(counts, neighbour, power, neighbour - 1),
        "The word before the neighbour is taken out, not the neighbour.",
        "Ids begin with 0.",
        _HIDE_LINE,
    ),
    Mistake(
        "only the neighbour",
        lambda counts, neighbour, power=0.75: F.one_hot(torch.tensor(neighbour), len(counts)).float(),
        "Only the neighbour has a share; it is the one word that may not be drawn.",
        "Turn the condition round.",
        _HIDE_LINE,
    ),
    Mistake(
        "the last word is taken out",
        lambda counts, neighbour, power=0.75: _weight_of(counts, neighbour, power, -1),
        "You always take the last word out, not the neighbour.",
        "Use the argument `neighbour` as the index.",
        _HIDE_LINE,
    ),
    Mistake(
        "the most frequent word is taken out",
        lambda counts, neighbour, power=0.75: _weight_of(counts, neighbour, power, counts.argmax()),
        "You take the most frequent word out, not the neighbour.",
        "Use the argument `neighbour` as the index.",
        _HIDE_LINE,
    ),
    Mistake(
        "equal counts are taken out",
        lambda counts, neighbour, power=0.75: _weight_of(
            counts, neighbour, power, counts == counts[neighbour]
        ),
        "Every word with the neighbour's count is taken out, not the neighbour alone.",
        "Compare ids, not counts.",
        _HIDE_LINE,
    ),
    Mistake(
        "one entry too few",
        _removed,
        "The neighbour's entry is gone; it should stay, with the share 0.",
        "With V - 1 entries the ids after it do not fit any more.",
        _HIDE_LINE,
    ),
    Mistake(
        "the likeliest takes all",
        _drawn,
        "One word gets the share 1, all others 0: that is no draw.",
        "Return the shares; the drawing comes after.",
        "return weights / weights.sum()",
    ),
    Mistake(
        "changes the counts",
        _in_place,
        "The shares are right, but your function changes the counts it was given.",
        "counts[neighbour] = 0 works on the caller's tensor. The next pair needs that count.",
        "weights = counts.float() ** power; weights[neighbour] = 0",
    ),
)


_SHARES_PROPERTIES = (
    left_to_chance("shares of four words"),
    changes_its_input("shares of four words"),
    not_finite(lambda seen: seen["shares of four words"]["shares"], "shares"),
    Property(
        "the neighbour has a share",
        lambda seen: all(
            abs(seen[f"shares of {words}"]["shares"][neighbour].item()) < 1e-6
            for words, neighbour in (("four words", 1), ("small counts", 3), ("two words", 0))
        ),
        "The neighbour may be drawn as its own negative: its share is not 0.",
        "Which entry do you set to 0, and is the result of that used?",
    ),
    Property(
        "no shares",
        lambda seen: all(
            abs(seen[f"shares of {words}"]["shares"].sum().item() - 1) < 1e-3
            for words in ("four words", "small counts", "two words")
        ),
        "Your shares do not sum to 1.",
        "Divide by the sum as the last step, after the power and after the neighbour is taken out.",
    ),
    Property(
        "negative shares",
        lambda seen: bool((seen["shares of four words"]["shares"] >= 0).all()),
        "Some of your shares are negative.",
        "A count to a power is never negative. Where could a minus come in?",
    ),
    Property(
        "no share for a word that occurs",
        lambda seen: all(
            (seen[f"shares of {words}"]["shares"] > 0).sum().item()
            == len(seen[f"shares of {words}"]["shares"]) - 1
            for words in ("four words", "small counts", "two words")
        ),
        "A word that occurs, and is not the neighbour, has the share 0.",
        "Only the neighbour, and words whose count is 0, are never drawn. Word 0 is a word like any other.",
    ),
    Property(
        "another power",
        lambda seen: agrees(seen, _shares_of_four_words, NEGATIVE_SHARES.reference),
        "Your shares sum to 1 without the neighbour, but do not grow like count ** power.",
        "weights = counts ** power for each word, then divide by the sum.",
    ),
    Property(
        "words that never occur",
        lambda seen: agrees(seen, _shares_with_words_that_never_occur, NEGATIVE_SHARES.reference),
        "Right where all words occur, wrong where a count is 0.",
        "0 to a power above 0 is 0. Is something added, or a logarithm of 0 taken?",
    ),
    Property(
        "other powers",
        lambda seen: agrees(seen, _shares_by_other_powers, NEGATIVE_SHARES.reference),
        "Right for the power 0.75, wrong for another.",
        "Is 0.75 written where `power` is meant?",
    ),
)


NEGATIVE_SHARES: Exercise = Exercise(
    id="02.negative_shares",
    title="Which words are drawn as negatives",
    stub=SHARES_STUB,
    reference=_weighing(_power),
    experiments=(
        _shares_of_four_words,
        _shares_of_other_neighbours,
        _shares_with_words_that_never_occur,
        _shares_of_small_counts,
        _shares_of_two_words,
        _shares_by_other_powers,
        _shares_of_large_counts,
    ),
    mistakes=_SHARES_MISTAKES,
    properties=_SHARES_PROPERTIES,
    difficulty=1,
    importance=3,
    minutes=10,
)
