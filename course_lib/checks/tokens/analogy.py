"""Exercise 02.analogy: a is to b as c is to what, in a table of word vectors.

V vocab_size · D d_model
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import Text
from course_lib.checks.probe import a_function, numbers, yes
from course_lib.checks.probe_text import some_words
from course_lib.checks.shared import unchanged
from course_lib.checks.tokens.shared import (
    ASKED,
    SHIFTED,
    WORDS,
    WORDS_CHANGED,
    Measure,
    a_table,
    all_answers,
    as_the_reference,
    as_typed,
    cosines,
)

# ── 02.analogy ───────────────────────────────────────────────────────────────────────────────────────

ANALOGY_STUB = '''
def analogy(table, words, a, b, c, k):
    """Answer “a is to b as c is to …”: the words nearest to the point b - a + c.

    Args:
        table: one row for each word, (V, D). No row is all zeros.
        words: V different strings, in the order of the rows.
        a, b, c: three different words of them, such as "man", "king", "woman".
        k: how many answers, from 1 to V - 3.

    Returns:
        A list of k words, the nearest first. The three rows are divided by their lengths before they
        are added and subtracted. Near means: a large cosine. a, b and c themselves are never among
        the answers. table and words stay as they were.
    """
'''


def _answered(
    candidate: Any, table: Tensor, words: Sequence[str], asked: Sequence[tuple[str, str, str, int]]
) -> Seen:
    seen: Seen = {}
    changed = renamed = False
    for a, b, c, k in asked:
        given, names = table.clone(), list(words)
        found = some_words(a_function(candidate)(given, names, a, b, c, k), asked=ASKED)
        changed = changed or not torch.equal(given, table)
        renamed = renamed or names != list(words)
        call = f"analogy({as_typed(table, words)}, {a!r}, {b!r}, {c!r}, {k})"
        seen[f"{a!r} to {b!r} as {c!r}, k = {k}"] = Text(call, found, (table, words, a, b, c, k))
    return seen | {"input changed": yes(changed), "words changed": yes(renamed)}


def _royal_table() -> tuple[Tensor, tuple[str, ...]]:
    """Rows with meanings: royal, female, fruit, and how they lie at about the right places."""
    words = ("man", "king", "woman", "queen", "prince", "apple", "girl")
    rows = [
        [0.1, -1.0, 0.1],
        [1.8, -2.1, 0.2],
        [0.2, 1.3, 0.1],
        [0.8, 0.9, -0.1],
        [1.3, -0.6, 0.1],
        [-0.1, 0.2, 2.0],
        [-0.3, 3.4, 0.4],
    ]
    return torch.tensor(rows), words


def _analogy_king_and_queen(candidate: Any) -> Seen:
    return _answered(candidate, *_royal_table(), [("man", "king", "woman", 1), ("king", "man", "queen", 2)])


def _analogy_among_eleven(candidate: Any) -> Seen:
    asked = [
        ("apple", "pear", "phone", 3),
        ("king", "man", "queen", 4),
        ("fig", "screen", "plum", 2),
        ("woman", "laptop", "apple", 1),
    ]
    return _answered(candidate, a_table(11, 4, seed=200), WORDS, asked)


def _analogy_all_the_others(candidate: Any) -> Seen:
    asked = [("apple", "fig", "pear", 3), ("laptop", "plum", "fig", 3)]
    return _answered(candidate, a_table(6, 3, seed=210), WORDS[:6], asked)


def _analogy_in_many_dimensions(candidate: Any) -> Seen:
    asked = [("fig", "king", "apple", 3), ("phone", "plum", "pear", 2)]
    return _answered(candidate, a_table(9, 16, seed=220), WORDS[:9], asked)


def _analogy_in_a_square_table(candidate: Any) -> Seen:
    asked = [("plum", "apple", "laptop", 2), ("pear", "fig", "phone", 3)]
    return _answered(candidate, a_table(6, 6, seed=230), WORDS[:6], asked)


def _analogy_with_sparse_rows(candidate: Any) -> Seen:
    """Some rows have one large number, others many small ones: not every measure of length is the same."""
    table = a_table(8, 9, seed=250)
    table[::2] *= (numbers(4, 9, seed=252) > 0.6).float() + 0.02
    asked = [("apple", "fig", "pear", 4), ("phone", "plum", "king", 4), ("screen", "apple", "laptop", 4)]
    return _answered(candidate, table, WORDS[:8], asked)


def _analogy_with_long_rows(candidate: Any) -> Seen:
    """One row a hundred times as long as the others."""
    table = a_table(8, 4, seed=240) * torch.tensor([1, 1, 100, 1, 1, 1, 30, 1.0]).unsqueeze(-1)
    asked = [("apple", "plum", "fig", 2), ("plum", "pear", "phone", 2), ("screen", "apple", "plum", 3)]
    return _answered(candidate, table, WORDS[:8], asked)


def _analogy_where_words_are_parts_of_words(candidate: Any) -> Seen:
    words = ("man", "woman", "king", "kings", "an", "human", "queen")
    asked = [("man", "king", "woman", 4), ("kings", "king", "human", 4), ("woman", "kings", "human", 3)]
    return _answered(candidate, a_table(7, 5, seed=260), words, asked)


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows, dim=-1)


def _solving(
    target: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda a, b, c: b - a + c,
    *,
    prepare: Callable[[Tensor], Tensor] = _unit,
    measure: Measure = cosines,
    left_out: str = "abc",
    choose: Callable[[list[int], int], list[int]] = lambda order, k: order[:k],
) -> Any:
    """The analogy with one part exchanged: the point, what is done to its rows, near, who is left out, the choice."""

    def analogy(table: Tensor, words: Sequence[str], a: str, b: str, c: str, k: int) -> list[str]:
        rows = dict(zip("abc", (list(words).index(word) for word in (a, b, c)), strict=True))
        prepared = prepare(table)
        closeness = measure(table, target(*(prepared[rows[name]] for name in "abc")))
        order = closeness.argsort(descending=True, stable=True).tolist()
        return [words[i] for i in choose([i for i in order if i not in [rows[name] for name in left_out]], k)]

    return analogy


def _by_product(table: Tensor, words: Sequence[str], a: str, b: str, c: str, k: int) -> list[str]:
    """Levy and Goldberg's 3CosMul: cosines are multiplied and divided in place of added and subtracted."""
    rows = [list(words).index(word) for word in (a, b, c)]
    to_a, to_b, to_c = ((_unit(table) @ _unit(table)[row] + 1) / 2 for row in rows)
    order = (to_b * to_c / (to_a + 1e-3)).argsort(descending=True).tolist()
    return [words[i] for i in order if i not in rows][:k]


def _parallel(table: Tensor, words: Sequence[str], a: str, b: str, c: str, k: int) -> list[str]:
    """The words d for which d - c points in the direction of b - a."""
    rows = [list(words).index(word) for word in (a, b, c)]
    unit = _unit(table)
    steps = unit - unit[rows[2]]
    order = cosines(steps, unit[rows[1]] - unit[rows[0]]).argsort(descending=True).tolist()
    return [words[i] for i in order if i not in rows][:k]


def _analogy_words_removed(table: Tensor, words: list[str], a: str, b: str, c: str, k: int) -> list[str]:
    found = _solving()(table, words, a, b, c, k)
    for word in (a, b, c):
        words.remove(word)
    return found


def _analogy_names_shifted(table: Tensor, words: Sequence[str], a: str, b: str, c: str, k: int) -> list[str]:
    """The three rows are taken out of the table, and the names still count them."""
    unit = _unit(table)
    rows = [list(words).index(word) for word in (a, b, c)]
    others = unit[[i for i in range(len(words)) if i not in rows]]
    order = (others @ (unit[rows[1]] - unit[rows[0]] + unit[rows[2]])).argsort(descending=True)
    return [words[i] for i in order[:k].tolist()]


def _only_two_divided(table: Tensor, words: Sequence[str], a: str, b: str, c: str, k: int) -> list[str]:
    rows = [list(words).index(word) for word in (a, b, c)]
    unit = _unit(table)
    order = cosines(table, unit[rows[1]] - unit[rows[0]] + table[rows[2]]).argsort(descending=True).tolist()
    return [words[i] for i in order if i not in rows][:k]


def _squares(table: Tensor) -> Tensor:
    return table / table.square().sum(-1, keepdim=True)


def _centred(table: Tensor) -> Tensor:
    return table - table.mean(0)


def _analogy_in_place(table: Tensor, words: Sequence[str], a: str, b: str, c: str, k: int) -> list[str]:
    table /= table.norm(dim=-1, keepdim=True)
    return _solving()(table, words, a, b, c, k)


_POINT_LINE = "point = unit[b] - unit[a] + unit[c], with unit = F.normalize(table, dim=-1)"
_OTHERS_LINE = "[i for i in order if i not in (row_a, row_b, row_c)][:k]"
_AMONG = (
    "One of the three words of the question is among your answers.",
    "The point b - a + c mostly lies nearest to b or c itself. All three are left out.",
    _OTHERS_LINE,
)
_LONG = (
    "You compare dot products with the point: a long row looks near to everything.",
    "Divide by the lengths of the rows that are compared, too.",
    "cosines = F.normalize(table, dim=-1) @ point",
)
_PART = (
    "Your point is not b - a + c: a row of the three has no part in it.",
    "From a to b, the same step from c: c + (b - a).",
    _POINT_LINE,
)

_BY_SQUARES = (
    "You divide by the squares of the lengths; the root is missing.",
    "A length is the root of the sum of squares: `norm(dim=-1)`.",
    _POINT_LINE,
)

_ANALOGY_MISTAKES = (
    Mistake(
        "changes the words",
        _analogy_words_removed,
        *WORDS_CHANGED,
        "[word for word in words if word not in (a, b, c)]",
    ),
    Mistake("names shifted", _analogy_names_shifted, *SHIFTED, _OTHERS_LINE),
    Mistake(
        "c as it is",
        _only_two_divided,
        "You divide the rows of a and b by their lengths, but not the row of c.",
        "All three are divided before they are added. Take them from one table of unit rows.",
        _POINT_LINE,
    ),
    Mistake(
        "the step has length 1",
        _solving(lambda a, b, c: F.normalize(b - a, dim=-1) + c),
        "You divide the step b - a by its own length; it keeps its length.",
        "Only the three rows are divided, before they are added and subtracted.",
        _POINT_LINE,
    ),
    Mistake("divided by squares", _solving(prepare=_squares), *_BY_SQUARES),
    Mistake(
        "divided by squares everywhere",
        _solving(prepare=_squares, measure=lambda table, vector: _squares(table) @ vector),
        *_BY_SQUARES,
    ),
    Mistake(
        "the centre is moved",
        lambda table, words, a, b, c, k: _solving()(_centred(table), words, a, b, c, k),
        "The mean of all rows is taken away before the comparison; it should stay.",
        "Leave the rows where they are; only their lengths are divided out.",
        _POINT_LINE,
    ),
    Mistake(
        "the step is turned",
        _solving(lambda a, b, c: a - b + c),
        "You go from b to a; the step is from a to b: b - a + c.",
        "“man is to king”: what must be added to man to come to king?",
        _POINT_LINE,
    ),
    Mistake(
        "c is subtracted",
        _solving(lambda a, b, c: b + a - c),
        "You subtract c and add a; it is b - a + c.",
        "The step from a to b is taken from c.",
        _POINT_LINE,
    ),
    Mistake(
        "c is subtracted from the step",
        _solving(lambda a, b, c: b - a - c),
        "You subtract c; the step b - a is added to c.",
        "The step from a to b is taken from c: c + (b - a).",
        _POINT_LINE,
    ),
    Mistake(
        "the farthest",
        _solving(lambda a, b, c: a - b - c),
        "You find the words farthest from the point: the order, or all signs, are turned.",
        "A large cosine is near. `argsort` begins with the smallest: is `descending=True` missing?",
        "cosines.argsort(descending=True)",
    ),
    Mistake(
        "all three are added",
        _solving(lambda a, b, c: a + b + c),
        "You add all three rows; a is subtracted.",
        "b without what it shares with a, and c added: b - a + c.",
        _POINT_LINE,
    ),
    Mistake("only the step", _solving(lambda a, b, c: b - a), *_PART),
    Mistake("without a", _solving(lambda a, b, c: b + c), *_PART),
    Mistake("without b", _solving(lambda a, b, c: c - a), *_PART),
    Mistake("only c", _solving(lambda a, b, c: c), *_PART),
    Mistake("only b", _solving(lambda a, b, c: b), *_PART),
    Mistake(
        "rows as they are",
        _solving(prepare=lambda table: table),
        "You add the rows as they are; each should first be divided by its length.",
        "A long row would outweigh the others.",
        _POINT_LINE,
    ),
    Mistake(
        "rows as they are, dot products",
        _solving(prepare=lambda table: table, measure=lambda table, vector: table @ vector),
        "No length is divided out, neither of the three rows nor of those compared.",
        "First bring all rows to length 1. Then a dot product with the point gives the order of the cosines.",
        _POINT_LINE,
    ),
    Mistake("dot products", _solving(measure=lambda table, vector: table @ vector), *_LONG),
    Mistake(
        "distances to the rows as they are",
        _solving(prepare=lambda table: table, measure=lambda table, vector: -(table - vector).norm(dim=-1)),
        "You look for the smallest distance; the largest cosine is asked for.",
        "Bring all rows to length 1, and compare directions.",
        _POINT_LINE,
    ),
    Mistake(
        "distances",
        _solving(measure=lambda table, vector: -(table - vector).norm(dim=-1)),
        "You look for the smallest distance; the largest cosine is asked for.",
        "Bring all rows to length 1, and compare directions.",
        _POINT_LINE,
    ),
    Mistake("c is among them", _solving(left_out="ab"), *_AMONG),
    Mistake("b is among them", _solving(left_out="ac"), *_AMONG),
    Mistake("a is among them", _solving(left_out="bc"), *_AMONG),
    Mistake("all are among them", _solving(left_out=""), *_AMONG),
    Mistake(
        "three words too few",
        lambda table, words, a, b, c, k: [
            word for word in _solving(left_out="")(table, words, a, b, c, k) if word not in (a, b, c)
        ],
        "You return too few words: a, b and c are taken out after the choice.",
        "Take them out first, then choose k.",
        _OTHERS_LINE,
    ),
    Mistake(
        "the first three are left out",
        _solving(left_out="", choose=lambda order, k: order[3 : k + 3]),
        "You leave out the three nearest words; they are not always a, b and c.",
        "Take a, b and c out by their rows. a can lie far from the point.",
        _OTHERS_LINE,
    ),
    Mistake(
        "the right words, farthest first",
        _solving(choose=lambda order, k: order[:k][::-1]),
        "You find the right words, but the farthest of them comes first.",
        "The largest cosine should stand at the front.",
        "cosines.argsort(descending=True)",
    ),
    Mistake(
        "in the order of the alphabet",
        lambda *given: sorted(_solving()(*given)),
        "You find the right words, but list them in alphabetical order.",
        "The largest cosine should stand at the front.",
        _OTHERS_LINE,
    ),
    Mistake(
        "in the order of the table",
        _solving(choose=lambda order, k: sorted(order[:k])),
        "You find the right words, but list them in the order of the table.",
        "The largest cosine should stand at the front.",
        _OTHERS_LINE,
    ),
    Mistake(
        "either direction",
        _solving(measure=lambda table, vector: cosines(table, vector).abs()),
        "Words opposite to the point count as near: a minus sign is lost.",
        "A cosine of -1 is as far as can be. Is there an `abs`, or a square?",
        "cosines.argsort(descending=True)",
    ),
    Mistake(
        "divided by sums",
        _solving(prepare=lambda table: F.normalize(table, p=1, dim=-1)),
        "You divide by the sum of a row's numbers without signs, not by its length.",
        "A length is the root of the sum of squares: `norm(dim=-1)`.",
        _POINT_LINE,
    ),
    Mistake(
        "divided over the wrong axis",
        _solving(prepare=lambda table: F.normalize(table, dim=0)),
        "The lengths run over the wrong axis: columns are divided, not rows.",
        "A word is a row. Which axis of (V, D) holds its numbers?",
        _POINT_LINE,
    ),
    Mistake(
        "divided over the wrong axis everywhere",
        lambda table, words, a, b, c, k: _solving(
            prepare=lambda rows: rows, measure=lambda rows, vector: rows @ vector
        )(F.normalize(table, dim=0), words, a, b, c, k),
        "The lengths run over the wrong axis: columns are divided, not rows.",
        "A word is a row. Which axis of (V, D) holds its numbers?",
        _POINT_LINE,
    ),
    Mistake(
        "cosines multiplied",
        _by_product,
        "You multiply and divide cosines; here rows are added and subtracted.",
        "This is another published rule. The exercise asks for the words nearest to b - a + c.",
        _POINT_LINE,
    ),
    Mistake(
        "the direction of the step",
        _parallel,
        "You compare steps: which d - c points like b - a? The point b - a + c is asked for.",
        "This is another published rule. The exercise asks for the words nearest to b - a + c.",
        _POINT_LINE,
    ),
    Mistake(
        "one less than asked",
        _solving(choose=lambda order, k: order[: k - 1]),
        "You return k - 1 words.",
        "A slice [:k] holds k entries.",
        _OTHERS_LINE,
    ),
    Mistake(
        "one more than asked",
        _solving(choose=lambda order, k: order[: k + 1]),
        "You return k + 1 words.",
        "A slice [:k] holds k entries.",
        _OTHERS_LINE,
    ),
    Mistake(
        "all the others",
        _solving(choose=lambda order, k: order),
        "You return all the other words; only k are asked for.",
        "A slice [:k] holds k entries.",
        _OTHERS_LINE,
    ),
    Mistake(
        "the nearest alone",
        _solving(choose=lambda order, k: order[:1]),
        "You return the nearest word alone, whatever k is.",
        "A slice [:k] holds k entries.",
        _OTHERS_LINE,
    ),
    Mistake(
        "the nearest is left out",
        _solving(choose=lambda order, k: order[1 : k + 1]),
        "The nearest word is left out.",
        "a, b and c are taken out already; a slice [1:] takes out one word more.",
        _OTHERS_LINE,
    ),
    Mistake(
        "changes the table",
        _analogy_in_place,
        "The words are right, but your function changes the table it was given.",
        "`/=` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
        _POINT_LINE,
    ),
)


_ANALOGY_PROPERTIES = (
    Property(
        "changes the words",
        lambda seen: all(saw["words changed"].item() == 0 for saw in seen.values()),
        "Your code changes the list of words that it was given.",
        "`.remove()`, `.sort()`, `.pop()` and `del` work on the caller's own list. Make a new one.",
    ),
    Property(
        "changes the table",
        unchanged,
        "Your code changes the table that it was given.",
        "`/=`, `table[i] = …` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
    ),
    Property(
        "unknown words",
        lambda seen: all_answers(seen, lambda found, table, words, *asked: set(found) <= set(words)),
        "Your answer holds something that is none of the words.",
        "`words[i]` is the word of row i.",
    ),
    Property(
        "another number of words",
        lambda seen: all_answers(seen, lambda found, table, words, a, b, c, k: len(found) == k),
        "You do not return k words.",
        "k words without a, b and c: are they taken out after the choice, or too many chosen?",
    ),
    Property(
        "a, b or c is among them",
        lambda seen: all_answers(seen, lambda found, table, words, a, b, c, k: not {a, b, c} & set(found)),
        *_AMONG[:2],
    ),
    Property(
        "a word twice",
        lambda seen: all_answers(seen, lambda found, *given: len(set(found)) == len(found)),
        "A word stands twice in your answer.",
        "Each row is compared once. What is added to the list more than once?",
    ),
    Property(
        "the right words in another order",
        lambda seen: (
            as_the_reference(seen, _analogy_among_eleven, ANALOGY.reference)
            or not all_answers(seen, lambda found, *given: sorted(found) == sorted(_solving()(*given)))
        ),
        "You find the right words, but not with the nearest first.",
        "Sort by the cosine with the point, the largest first, and keep that order.",
    ),
    Property(
        "not the nearest",
        lambda seen: as_the_reference(seen, _analogy_among_eleven, ANALOGY.reference),
        "Other words lie nearer to the point b - a + c than yours.",
        "Each of the three rows is divided by its length, then b - a + c; then the largest cosines.",
    ),
    Property(
        "long rows",
        lambda seen: (
            as_the_reference(seen, _analogy_with_long_rows, ANALOGY.reference)
            or not all(
                as_the_reference(seen, experiment, ANALOGY.reference)
                for experiment in ANALOGY.experiments
                if experiment is not _analogy_with_long_rows
            )
        ),
        "Right for all tables but one, in which two rows are much longer than the others.",
        "Each of the three rows is divided by its length before it is added.",
    ),
)


ANALOGY: Exercise = Exercise(
    id="02.analogy",
    title="Analogies",
    stub=ANALOGY_STUB,
    reference=_solving(),
    experiments=(
        _analogy_king_and_queen,
        _analogy_among_eleven,
        _analogy_all_the_others,
        _analogy_in_many_dimensions,
        _analogy_in_a_square_table,
        _analogy_with_sparse_rows,
        _analogy_with_long_rows,
        _analogy_where_words_are_parts_of_words,
    ),
    mistakes=_ANALOGY_MISTAKES,
    properties=_ANALOGY_PROPERTIES,
    difficulty=2,
    importance=3,
    minutes=15,
)
