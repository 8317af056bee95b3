"""Exercise 02.nearest: what lies near what in a table of word vectors.

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
from course_lib.checks.probe import a_function, yes
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

NEAREST_STUB = '''
def nearest(table, words, query, k):
    """Find the words whose rows point most nearly in the direction of the query's row.

    Args:
        table: one row for each word, (V, D). No row is all zeros.
        words: V different strings, in the order of the rows.
        query: one of the words.
        k: how many words to find, from 1 to V - 1.

    Returns:
        A list of k words: those with the largest cosine with the query, the largest first. The query
        itself is never among them. table and words stay as they were.
    """
'''


def _found(candidate: Any, table: Tensor, words: Sequence[str], queries: Sequence[tuple[str, int]]) -> Seen:
    seen: Seen = {}
    changed = renamed = False
    for query, k in queries:
        given, names = table.clone(), list(words)
        found = some_words(a_function(candidate)(given, names, query, k), asked=ASKED)
        changed = changed or not torch.equal(given, table)
        renamed = renamed or names != list(words)
        call = f"nearest({as_typed(table, words)}, {query!r}, {k})"
        seen[f"nearest to {query!r}, k = {k}"] = Text(call, found, (table, words, query, k))
    return seen | {"input changed": yes(changed), "words changed": yes(renamed)}


def _nearest_in_the_plane(candidate: Any) -> Seen:
    """Five words on a page: the same direction, farther out; near by, but aside; opposite."""
    table = torch.tensor([[1.0, 1.2], [4.0, 4.4], [1.2, 0.5], [-1.1, -1.0], [0.2, 3.0]])
    return _found(candidate, table, ("apple", "pear", "plum", "fig", "phone"), [("apple", 2), ("plum", 1)])


def _nearest_among_eleven(candidate: Any) -> Seen:
    table = a_table(11, 4, seed=100)
    return _found(candidate, table, WORDS, [("apple", 3), ("queen", 4), ("phone", 1), ("woman", 2)])


def _nearest_all_the_others(candidate: Any) -> Seen:
    return _found(candidate, a_table(6, 3, seed=110), WORDS[:6], [("laptop", 5), ("apple", 5)])


def _nearest_in_many_dimensions(candidate: Any) -> Seen:
    return _found(candidate, a_table(9, 20, seed=120), WORDS[:9], [("fig", 3), ("queen", 2)])


def _nearest_in_a_square_table(candidate: Any) -> Seen:
    return _found(candidate, a_table(5, 5, seed=130), WORDS[:5], [("plum", 2), ("pear", 4)])


def _nearest_with_a_twin(candidate: Any) -> Seen:
    """One row is the query's, twice as long: its cosine is that of the query with itself."""
    table = a_table(6, 4, seed=140)
    table[1] = 2 * table[4]
    return _found(candidate, table, WORDS[:6], [("phone", 1), ("phone", 3), ("pear", 2)])


def _nearest_by_small_differences(candidate: Any) -> Seen:
    """Cosines that differ in the fourth digit, and rows of very unlike lengths."""
    angles = torch.tensor([0.2, 0.30, 0.315, 0.29, 0.325, 3.2])
    rows = torch.stack([angles.cos(), angles.sin()], -1) * torch.tensor(
        [[1.0], [9.0], [0.3], [20.0], [2.0], [1.0]]
    )
    return _found(candidate, rows, WORDS[:6], [("apple", 4), ("plum", 3)])


def _nearest_where_words_are_parts_of_words(candidate: Any) -> Seen:
    words = ("man", "woman", "king", "kings", "an", "human")
    table = a_table(6, 4, seed=150)
    table[3] += 2 * table[2]  # kings lies beside king: who drops it by its name loses the nearest
    return _found(candidate, table, words, [("man", 5), ("king", 5), ("woman", 5), ("an", 4)])


def _k_others(order: list[int], row: int, k: int) -> list[int]:
    return [place for place in order if place != row][:k]


def _ranking(
    measure: Measure = cosines,
    *,
    choose: Callable[[list[int], int, int], list[int]] = _k_others,
    shift: int = 0,
) -> Any:
    """The search with one part exchanged: `measure` is large where words are near, `choose(order, row, k)` takes k."""

    def nearest(table: Tensor, words: Sequence[str], query: str, k: int) -> list[str]:
        row = list(words).index(query)
        closeness = measure(table, table[(row + shift) % len(table)])
        order = closeness.argsort(descending=True, stable=True).tolist()
        return [words[i] for i in choose(order, row, k)]

    return nearest


def _in_place(table: Tensor, words: Sequence[str], query: str, k: int) -> list[str]:
    table /= table.norm(dim=-1, keepdim=True)
    return _ranking()(table, words, query, k)


def _words_removed(table: Tensor, words: list[str], query: str, k: int) -> list[str]:
    found = _ranking()(table, words, query, k)
    words.remove(query)
    return found


def _names_shifted(table: Tensor, words: Sequence[str], query: str, k: int) -> list[str]:
    """The query's row is taken out of the table, and the names still count it."""
    row = list(words).index(query)
    others = torch.cat([table[:row], table[row + 1 :]])
    return [words[i] for i in cosines(others, table[row]).argsort(descending=True)[:k].tolist()]


def _sorted_words(table: Tensor, words: Sequence[str], query: str, k: int) -> list[str]:
    return sorted(_ranking()(table, words, query, k))


_COSINE_LINE = "cosines = F.normalize(table, dim=-1) @ F.normalize(table[row], dim=-1)"
_OWN_LINE = "[i for i in order if i != row][:k]"
_LENGTHS = (
    "You compare dot products: a long row looks near to everything.",
    "Divide the lengths out, of the query's row and of every other row. (The query's alone changes no order.)",
    _COSINE_LINE,
)
_DISTANCE = (
    "You compare distances, not directions.",
    "A word that points the same way is near, however long its row. Divide all rows by their lengths first.",
    _COSINE_LINE,
)
_WRONG_AXIS = (
    "The lengths run over the wrong axis: columns are divided, not rows.",
    "A word is a row. Which axis of (V, D) holds its numbers?",
    "table / table.norm(dim=-1, keepdim=True)",
)

_NEAREST_MISTAKES = (
    Mistake("changes the words", _words_removed, *WORDS_CHANGED, "[word for word in words if word != query]"),
    Mistake("names shifted", _names_shifted, *SHIFTED, _OWN_LINE),
    Mistake(
        "negative cosines cut off",
        _ranking(lambda table, vector: cosines(table, vector).clamp(min=0)),
        "Negative cosines are cut off at 0: among these words the order is lost.",
        "A cosine of -0.1 is nearer than one of -0.9. Is there a `clamp` or a `relu`?",
        _COSINE_LINE,
    ),
    Mistake(
        "divided by the largest number",
        _ranking(lambda table, vector: table @ vector / table.abs().amax(-1)),
        "You divide by the largest number of a row, not by its length.",
        "A length is the root of the sum of squares: `norm(dim=-1)`.",
        _COSINE_LINE,
    ),
    Mistake(
        "one word more",
        _ranking(choose=lambda order, row, k: [*(i for i in order if i != row), row][: k + 1]),
        "You return k + 1 words.",
        "The query is taken out already, and needs no room: a slice [:k] holds k entries.",
        _OWN_LINE,
    ),
    Mistake(
        "the best is left out, the query stands at the end",
        _ranking(choose=lambda order, row, k: [*(i for i in order if i != row), row][1 : k + 1]),
        "The nearest word is left out.",
        "The query was moved to the end already; a slice [1:] takes out one word more.",
        _OWN_LINE,
    ),
    Mistake("dot products", _ranking(lambda table, vector: table @ vector), *_LENGTHS),
    Mistake("distances", _ranking(lambda table, vector: -(table - vector).norm(dim=-1)), *_DISTANCE),
    Mistake(
        "distances along the axes",
        _ranking(lambda table, vector: -(table - vector).abs().sum(-1)),
        *_DISTANCE,
    ),
    Mistake(
        "the query is among them",
        _ranking(choose=lambda order, row, k: order[:k]),
        "The query itself is among your words.",
        "Every word is nearest to itself. It takes the place of another one.",
        _OWN_LINE,
    ),
    Mistake(
        "one word too few",
        _ranking(choose=lambda order, row, k: [i for i in order[:k] if i != row]),
        "You find one word too few: the query is taken out after the k best were chosen.",
        "Take it out first, or choose k + 1.",
        _OWN_LINE,
    ),
    Mistake(
        "one word too many",
        _ranking(choose=lambda order, row, k: order[: k + 1]),
        "You return k + 1 words, with the query among them.",
        "k + 1 were chosen to make room for the query. Now it has to go.",
        _OWN_LINE,
    ),
    Mistake(
        "the best is left out",
        _ranking(choose=lambda order, row, k: [i for i in order if i != row][1 : k + 1]),
        "The nearest word is left out.",
        "The query is taken out already; a slice [1:] takes out one word more.",
        _OWN_LINE,
    ),
    Mistake(
        "the first of the order is left out",
        _ranking(choose=lambda order, row, k: order[1 : k + 1]),
        "You leave out the first word of the order; it is not always the query.",
        "Another row may point exactly the same way. Take the query out by its row number.",
        _OWN_LINE,
    ),
    Mistake(
        "the farthest",
        _ranking(lambda table, vector: -cosines(table, vector)),
        "You find the farthest words: the order is turned.",
        "A large cosine is near. `argsort` begins with the smallest: is `descending=True` missing?",
        "cosines.argsort(descending=True)",
    ),
    Mistake(
        "the farthest by dot product",
        _ranking(lambda table, vector: -(table @ vector)),
        "You find the words with the smallest dot products: the order is turned.",
        "A large product is near. And lengths must be divided out, which makes cosines of them.",
        _COSINE_LINE,
    ),
    Mistake(
        "the farthest by distance",
        _ranking(lambda table, vector: (table - vector).norm(dim=-1)),
        "You find the words at the largest distance: the order is turned.",
        "A small distance is near, a large cosine is near. The exercise asks for cosines.",
        _COSINE_LINE,
    ),
    Mistake(
        "the right words, farthest first",
        _ranking(choose=lambda order, row, k: [i for i in order if i != row][:k][::-1]),
        "You find the right words, but the farthest of them comes first.",
        "The largest cosine should stand at the front.",
        "cosines.argsort(descending=True)",
    ),
    Mistake(
        "in the order of the alphabet",
        _sorted_words,
        "You find the right words, but list them in alphabetical order.",
        "Is there a `sorted` round the words? The largest cosine should stand at the front.",
        _OWN_LINE,
    ),
    Mistake(
        "in the order of the table",
        _ranking(choose=lambda order, row, k: sorted([i for i in order if i != row][:k])),
        "You find the right words, but list them in the order of the table.",
        "The largest cosine should stand at the front.",
        _OWN_LINE,
    ),
    Mistake(
        "either direction",
        _ranking(lambda table, vector: cosines(table, vector).abs()),
        "Opposite words count as near: a minus sign is lost.",
        "A cosine of -1 is as far as can be. Is there an `abs`, or a square?",
        _COSINE_LINE,
    ),
    Mistake(
        "divided over the wrong axis",
        _ranking(lambda table, vector: (t := F.normalize(table, dim=0)) @ _row_like(t, table, vector)),
        *_WRONG_AXIS,
    ),
    Mistake(
        "divided over the wrong axis, then by length",
        _ranking(lambda table, vector: cosines(t := F.normalize(table, dim=0), _row_like(t, table, vector))),
        *_WRONG_AXIS,
    ),
    Mistake(
        "divided by squares",
        _ranking(lambda table, vector: table @ vector / table.square().sum(-1)),
        "You divide by the squares of the lengths; the root is missing.",
        "A length is the root of the sum of squares: `norm(dim=-1)`.",
        _COSINE_LINE,
    ),
    Mistake(
        "divided by sums",
        _ranking(lambda table, vector: table @ vector / table.abs().sum(-1)),
        "You divide by the sum of a row's numbers without signs, not by its length.",
        "A length is the root of the sum of squares: `norm(dim=-1)`.",
        _COSINE_LINE,
    ),
    Mistake(
        "divided by plain sums",
        _ranking(lambda table, vector: table @ vector / table.sum(-1)),
        "You divide by the sum of a row's numbers, not by its length.",
        "A length is the root of the sum of squares: `norm(dim=-1)`.",
        _COSINE_LINE,
    ),
    Mistake(
        "multiplied by the length",
        _ranking(lambda table, vector: table @ vector * table.norm(dim=-1)),
        "You multiply by the lengths; they should be divided out.",
        "cos = (a · b) / (|a| |b|): both lengths stand below the line. Are parentheses missing?",
        _COSINE_LINE,
    ),
    Mistake(
        "the root of the length",
        _ranking(lambda table, vector: table @ vector / table.norm(dim=-1).sqrt()),
        "You divide by the root of the length; by the length itself is asked.",
        "`norm` has taken the root already.",
        _COSINE_LINE,
    ),
    Mistake(
        "the mean is taken away",
        _ranking(lambda table, vector: cosines(table - table.mean(-1, keepdim=True), vector - vector.mean())),
        "A mean is taken away before the comparison: that is a correlation, not a cosine.",
        "Leave the rows where they are; only their lengths are divided out.",
        _COSINE_LINE,
    ),
    Mistake(
        "the centre is moved",
        _ranking(lambda table, vector: cosines(table - table.mean(0), vector - table.mean(0))),
        "The mean of all rows is taken away before the comparison; it should stay.",
        "Leave the rows where they are; only their lengths are divided out.",
        _COSINE_LINE,
    ),
    Mistake(
        "neighbours in the list",
        _ranking(choose=lambda order, row, k: [(row + i + 1) % len(order) for i in range(k)]),
        "You return the words that follow the query in the list.",
        "Where a word stands in the list says nothing. Compare rows of the table.",
        _COSINE_LINE,
    ),
    Mistake(
        "the first of the list",
        _ranking(choose=lambda order, row, k: [i for i in range(len(order)) if i != row][:k]),
        "You return the first words of the list: the cosines have no influence.",
        "Sorting must give row numbers: `argsort`, not `sort`.",
        "cosines.argsort(descending=True)",
    ),
    Mistake(
        "places in the order",
        _ranking(
            choose=lambda order, row, k: [
                i for i in sorted(range(len(order)), key=order.__getitem__) if i != row
            ][:k]
        ),
        "You take ranks for row numbers: argsort is applied twice.",
        "The first argsort says which row is nearest; the second says how near each row is.",
        "cosines.argsort(descending=True)",
    ),
    Mistake(
        "another word's row",
        _ranking(shift=1),
        "You compare with the row after the query's.",
        "words.index(query) is the row.",
        "table[words.index(query)]",
    ),
    Mistake(
        "the row before",
        _ranking(shift=-1),
        "You compare with the row before the query's.",
        "words.index(query) is the row.",
        "table[words.index(query)]",
    ),
    Mistake(
        "always the first row",
        lambda table, words, query, k: _ranking(lambda rows, vector: cosines(rows, rows[0]))(
            table, words, query, k
        ),
        "You always compare with the first row, whatever the query.",
        "words.index(query) is the row.",
        "table[words.index(query)]",
    ),
    Mistake(
        "one less than all",
        _ranking(choose=lambda order, row, k: [i for i in order if i != row][: k - 1]),
        "You return k - 1 words.",
        "A slice [:k] holds k entries. Is the query counted among the k?",
        _OWN_LINE,
    ),
    Mistake(
        "all the others",
        _ranking(choose=lambda order, row, k: [i for i in order if i != row]),
        "You return all the other words; only k are asked for.",
        "A slice [:k] holds k entries.",
        _OWN_LINE,
    ),
    Mistake(
        "the nearest alone",
        _ranking(choose=lambda order, row, k: [i for i in order if i != row][:1]),
        "You return the nearest word alone, whatever k is.",
        "A slice [:k] holds k entries. Is there a `return` inside a loop?",
        _OWN_LINE,
    ),
    Mistake(
        "k times the nearest",
        _ranking(choose=lambda order, row, k: [i for i in order if i != row][:1] * k),
        "You return the nearest word k times.",
        "A word that was found must not be found again.",
        _OWN_LINE,
    ),
    Mistake(
        "changes the table",
        _in_place,
        "The words are right, but your function changes the table it was given.",
        "`/=` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
        "F.normalize(table, dim=-1), which is a new tensor",
    ),
)


def _row_like(changed: Tensor, table: Tensor, vector: Tensor) -> Tensor:
    """Return the row of `changed` that is `vector` in `table`."""
    return changed[int((table - vector).abs().sum(-1).argmin())]


_NEAREST_PROPERTIES = (
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
        lambda seen: all_answers(seen, lambda found, table, words, query, k: set(found) <= set(words)),
        "Your answer holds something that is none of the words.",
        "`words[i]` is the word of row i.",
    ),
    Property(
        "another number of words",
        lambda seen: all_answers(seen, lambda found, table, words, query, k: len(found) == k),
        "You do not return k words.",
        "k words without the query: is it taken out after the choice, or one too many chosen?",
    ),
    Property(
        "the query is among them",
        lambda seen: all_answers(seen, lambda found, table, words, query, k: query not in found),
        "The query itself is among your words.",
        "Take it out by its row number, before the k best are chosen. Another row may point the same way.",
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
            as_the_reference(seen, _nearest_among_eleven, NEAREST.reference)
            or not all_answers(seen, lambda found, *given: sorted(found) == sorted(_ranking()(*given)))
        ),
        "You find the right words, but not with the nearest first.",
        "Sort by the cosine, the largest first, and keep that order.",
    ),
    Property(
        "not the nearest",
        lambda seen: as_the_reference(seen, _nearest_among_eleven, NEAREST.reference),
        "Other words have a larger cosine with the query than yours.",
        "cos = (a · b) / (|a| |b|): the dot product of two rows, divided by both lengths.",
    ),
    Property(
        "a row in the same direction",
        lambda seen: as_the_reference(seen, _nearest_with_a_twin, NEAREST.reference),
        "Right unless another row points exactly the same way as the query's.",
        "That word is the nearest. Take the query out by its row number, not by its cosine or its place.",
    ),
    Property(
        "small differences",
        lambda seen: as_the_reference(seen, _nearest_by_small_differences, NEAREST.reference),
        "Right where cosines are far apart, wrong where they are close.",
        "Is something rounded, or in half precision?",
    ),
)


NEAREST: Exercise = Exercise(
    id="02.nearest",
    title="The nearest words",
    stub=NEAREST_STUB,
    reference=_ranking(),
    experiments=(
        _nearest_in_the_plane,
        _nearest_among_eleven,
        _nearest_all_the_others,
        _nearest_in_many_dimensions,
        _nearest_in_a_square_table,
        _nearest_with_a_twin,
        _nearest_by_small_differences,
        _nearest_where_words_are_parts_of_words,
    ),
    mistakes=_NEAREST_MISTAKES,
    properties=_NEAREST_PROPERTIES,
    difficulty=2,
    importance=4,
    minutes=15,
)
