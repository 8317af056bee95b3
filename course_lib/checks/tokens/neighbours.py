"""Exercises 02.nearest and 02.analogy: what lies near what in a table of word vectors.

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
from course_lib.checks.tokens.shared import as_the_reference

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

_ASKED = "a list of words, the nearest first"
_WORDS = ("apple", "pear", "plum", "fig", "phone", "laptop", "screen", "king", "queen", "man", "woman")


def _table(n_words: int, width: int, seed: int) -> Tensor:
    """Random rows of very unlike lengths, moved off the centre, so that no two measures agree."""
    lengths = torch.exp(numbers(n_words, 1, seed=seed + 1, std=0.7))
    return (numbers(n_words, width, seed=seed) + 0.4) * lengths


def _as_typed(table: Tensor, words: Sequence[str]) -> str:
    """Write a small table and its words as a learner could type them; a large one would hide the rest."""
    if table.numel() > 24:
        return "table, words"
    rows = [[round(number, 4) for number in row] for row in table.tolist()]
    return f"torch.tensor({rows}), {list(words)}"


def _found(candidate: Any, table: Tensor, words: Sequence[str], queries: Sequence[tuple[str, int]]) -> Seen:
    seen: Seen = {}
    changed = renamed = False
    for query, k in queries:
        given, names = table.clone(), list(words)
        found = some_words(a_function(candidate)(given, names, query, k), asked=_ASKED)
        changed = changed or not torch.equal(given, table)
        renamed = renamed or names != list(words)
        call = f"nearest({_as_typed(table, words)}, {query!r}, {k})"
        seen[f"nearest to {query!r}, k = {k}"] = Text(call, found, (table, words, query, k))
    return seen | {"input changed": yes(changed), "words changed": yes(renamed)}


def _nearest_in_the_plane(candidate: Any) -> Seen:
    """Five words on a page: the same direction, farther out; near by, but aside; opposite."""
    table = torch.tensor([[1.0, 1.2], [4.0, 4.4], [1.2, 0.5], [-1.1, -1.0], [0.2, 3.0]])
    return _found(candidate, table, ("apple", "pear", "plum", "fig", "phone"), [("apple", 2), ("plum", 1)])


def _nearest_among_eleven(candidate: Any) -> Seen:
    table = _table(11, 4, seed=100)
    return _found(candidate, table, _WORDS, [("apple", 3), ("queen", 4), ("phone", 1), ("woman", 2)])


def _nearest_all_the_others(candidate: Any) -> Seen:
    return _found(candidate, _table(6, 3, seed=110), _WORDS[:6], [("laptop", 5), ("apple", 5)])


def _nearest_in_many_dimensions(candidate: Any) -> Seen:
    return _found(candidate, _table(9, 20, seed=120), _WORDS[:9], [("fig", 3), ("queen", 2)])


def _nearest_in_a_square_table(candidate: Any) -> Seen:
    return _found(candidate, _table(5, 5, seed=130), _WORDS[:5], [("plum", 2), ("pear", 4)])


def _nearest_with_a_twin(candidate: Any) -> Seen:
    """One row is the query's, twice as long: its cosine is that of the query with itself."""
    table = _table(6, 4, seed=140)
    table[1] = 2 * table[4]
    return _found(candidate, table, _WORDS[:6], [("phone", 1), ("phone", 3), ("pear", 2)])


def _nearest_by_small_differences(candidate: Any) -> Seen:
    """Cosines that differ in the fourth digit, and rows of very unlike lengths."""
    angles = torch.tensor([0.2, 0.30, 0.315, 0.29, 0.325, 3.2])
    rows = torch.stack([angles.cos(), angles.sin()], -1) * torch.tensor(
        [[1.0], [9.0], [0.3], [20.0], [2.0], [1.0]]
    )
    return _found(candidate, rows, _WORDS[:6], [("apple", 4), ("plum", 3)])


def _nearest_where_words_are_parts_of_words(candidate: Any) -> Seen:
    words = ("man", "woman", "king", "kings", "an", "human")
    table = _table(6, 4, seed=150)
    table[3] += 2 * table[2]  # kings lies beside king: who drops it by its name loses the nearest
    return _found(candidate, table, words, [("man", 5), ("king", 5), ("woman", 5), ("an", 4)])


Measure = Callable[[Tensor, Tensor], Tensor]


def _cosines(table: Tensor, vector: Tensor) -> Tensor:
    return F.normalize(table, dim=-1) @ F.normalize(vector, dim=-1)


def _k_others(order: list[int], row: int, k: int) -> list[int]:
    return [place for place in order if place != row][:k]


def _ranking(
    measure: Measure = _cosines,
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
    return [words[i] for i in _cosines(others, table[row]).argsort(descending=True)[:k].tolist()]


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

_SHIFTED = (
    "Rows were taken out, but the words were not: later rows get other words' names.",
    "After a row is taken out, row i is no longer the row of words[i]. Keep the row numbers of the whole table.",
)
_WORDS_CHANGED = (
    "The words are right, but your function changes the list of words it was given.",
    "`remove`, `pop` and `del` work on the caller's own list. Make a new one.",
)

_NEAREST_MISTAKES = (
    Mistake(
        "changes the words", _words_removed, *_WORDS_CHANGED, "[word for word in words if word != query]"
    ),
    Mistake("names shifted", _names_shifted, *_SHIFTED, _OWN_LINE),
    Mistake(
        "negative cosines cut off",
        _ranking(lambda table, vector: _cosines(table, vector).clamp(min=0)),
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
        _ranking(lambda table, vector: -_cosines(table, vector)),
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
        _ranking(lambda table, vector: _cosines(table, vector).abs()),
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
        _ranking(lambda table, vector: _cosines(t := F.normalize(table, dim=0), _row_like(t, table, vector))),
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
        _ranking(
            lambda table, vector: _cosines(table - table.mean(-1, keepdim=True), vector - vector.mean())
        ),
        "A mean is taken away before the comparison: that is a correlation, not a cosine.",
        "Leave the rows where they are; only their lengths are divided out.",
        _COSINE_LINE,
    ),
    Mistake(
        "the centre is moved",
        _ranking(lambda table, vector: _cosines(table - table.mean(0), vector - table.mean(0))),
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
        lambda table, words, query, k: _ranking(lambda rows, vector: _cosines(rows, rows[0]))(
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


def _all(seen: dict[str, Seen], holds: Callable[..., bool]) -> bool:
    """Say whether `holds(found, table, words, …)` is true of every answer that was seen."""
    texts = [thing for saw in seen.values() for thing in saw.values() if isinstance(thing, Text)]
    return all(holds(text.gave, *text.given) for text in texts)


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
        lambda seen: _all(seen, lambda found, table, words, query, k: set(found) <= set(words)),
        "Your answer holds something that is none of the words.",
        "`words[i]` is the word of row i.",
    ),
    Property(
        "another number of words",
        lambda seen: _all(seen, lambda found, table, words, query, k: len(found) == k),
        "You do not return k words.",
        "k words without the query: is it taken out after the choice, or one too many chosen?",
    ),
    Property(
        "the query is among them",
        lambda seen: _all(seen, lambda found, table, words, query, k: query not in found),
        "The query itself is among your words.",
        "Take it out by its row number, before the k best are chosen. Another row may point the same way.",
    ),
    Property(
        "a word twice",
        lambda seen: _all(seen, lambda found, *given: len(set(found)) == len(found)),
        "A word stands twice in your answer.",
        "Each row is compared once. What is added to the list more than once?",
    ),
    Property(
        "the right words in another order",
        lambda seen: (
            as_the_reference(seen, _nearest_among_eleven, NEAREST.reference)
            or not _all(seen, lambda found, *given: sorted(found) == sorted(_ranking()(*given)))
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
        found = some_words(a_function(candidate)(given, names, a, b, c, k), asked=_ASKED)
        changed = changed or not torch.equal(given, table)
        renamed = renamed or names != list(words)
        call = f"analogy({_as_typed(table, words)}, {a!r}, {b!r}, {c!r}, {k})"
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
    return _answered(candidate, _table(11, 4, seed=200), _WORDS, asked)


def _analogy_all_the_others(candidate: Any) -> Seen:
    asked = [("apple", "fig", "pear", 3), ("laptop", "plum", "fig", 3)]
    return _answered(candidate, _table(6, 3, seed=210), _WORDS[:6], asked)


def _analogy_in_many_dimensions(candidate: Any) -> Seen:
    asked = [("fig", "king", "apple", 3), ("phone", "plum", "pear", 2)]
    return _answered(candidate, _table(9, 16, seed=220), _WORDS[:9], asked)


def _analogy_in_a_square_table(candidate: Any) -> Seen:
    asked = [("plum", "apple", "laptop", 2), ("pear", "fig", "phone", 3)]
    return _answered(candidate, _table(6, 6, seed=230), _WORDS[:6], asked)


def _analogy_with_sparse_rows(candidate: Any) -> Seen:
    """Some rows have one large number, others many small ones: not every measure of length is the same."""
    table = _table(8, 9, seed=250)
    table[::2] *= (numbers(4, 9, seed=252) > 0.6).float() + 0.02
    asked = [("apple", "fig", "pear", 4), ("phone", "plum", "king", 4), ("screen", "apple", "laptop", 4)]
    return _answered(candidate, table, _WORDS[:8], asked)


def _analogy_with_long_rows(candidate: Any) -> Seen:
    """One row a hundred times as long as the others."""
    table = _table(8, 4, seed=240) * torch.tensor([1, 1, 100, 1, 1, 1, 30, 1.0]).unsqueeze(-1)
    asked = [("apple", "plum", "fig", 2), ("plum", "pear", "phone", 2), ("screen", "apple", "plum", 3)]
    return _answered(candidate, table, _WORDS[:8], asked)


def _analogy_where_words_are_parts_of_words(candidate: Any) -> Seen:
    words = ("man", "woman", "king", "kings", "an", "human", "queen")
    asked = [("man", "king", "woman", 4), ("kings", "king", "human", 4), ("woman", "kings", "human", 3)]
    return _answered(candidate, _table(7, 5, seed=260), words, asked)


Rows = tuple[Tensor, Tensor, Tensor]


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows, dim=-1)


def _solving(
    target: Callable[[Tensor, Tensor, Tensor], Tensor] = lambda a, b, c: b - a + c,
    *,
    prepare: Callable[[Tensor], Tensor] = _unit,
    measure: Measure = _cosines,
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
    order = _cosines(steps, unit[rows[1]] - unit[rows[0]]).argsort(descending=True).tolist()
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
    order = _cosines(table, unit[rows[1]] - unit[rows[0]] + table[rows[2]]).argsort(descending=True).tolist()
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
        *_WORDS_CHANGED,
        "[word for word in words if word not in (a, b, c)]",
    ),
    Mistake("names shifted", _analogy_names_shifted, *_SHIFTED, _OTHERS_LINE),
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
        _solving(measure=lambda table, vector: _cosines(table, vector).abs()),
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
        lambda seen: _all(seen, lambda found, table, words, *asked: set(found) <= set(words)),
        "Your answer holds something that is none of the words.",
        "`words[i]` is the word of row i.",
    ),
    Property(
        "another number of words",
        lambda seen: _all(seen, lambda found, table, words, a, b, c, k: len(found) == k),
        "You do not return k words.",
        "k words without a, b and c: are they taken out after the choice, or too many chosen?",
    ),
    Property(
        "a, b or c is among them",
        lambda seen: _all(seen, lambda found, table, words, a, b, c, k: not {a, b, c} & set(found)),
        *_AMONG[:2],
    ),
    Property(
        "a word twice",
        lambda seen: _all(seen, lambda found, *given: len(set(found)) == len(found)),
        "A word stands twice in your answer.",
        "Each row is compared once. What is added to the list more than once?",
    ),
    Property(
        "the right words in another order",
        lambda seen: (
            as_the_reference(seen, _analogy_among_eleven, ANALOGY.reference)
            or not _all(seen, lambda found, *given: sorted(found) == sorted(_solving()(*given)))
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
