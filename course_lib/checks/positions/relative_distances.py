"""Exercise 03.relative_distances: how far each key lies before each query.

Tq queries · Tk keys
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import a_function, a_tensor, yes
from course_lib.checks.shared import agrees, differ, left_to_chance

RELATIVE_STUB = '''
def relative_distances(n_queries, n_keys, max_distance):
    """Count how far each key lies before each query: i - j, cut off at max_distance.

    There are n_keys tokens, at positions 0 … n_keys - 1, and the *last* n_queries of them are the
    queries: the tokens before them are remembered from earlier. i is the position of a query, j that
    of a key.

    Args:
        n_queries: Tq, an int, at least 1.
        n_keys: Tk, an int, at least Tq.
        max_distance: an int, at least 1: larger distances become max_distance, those below
            -max_distance become -max_distance.

    Returns:
        (Tq, Tk) whole numbers: above 0 for a key before the query, 0 for itself, below 0 for a key
        after it.
    """
'''


_SENTENCE, _MEMORY, _CUT = (
    "distances in a sentence",
    "distances with a memory",
    "distances that are cut off",
)


def _distances_of(candidate: Any, n_queries: int, n_keys: int, max_distance: int) -> Seen:
    distances = a_tensor(a_function(candidate)(n_queries, n_keys, max_distance))
    if distances.dtype == torch.bool:
        raise WrongReturn(
            "truth values",
            "Your table holds True and False; whole numbers are asked for.",
            "Is there a comparison, or .bool(), in the last line?",
        )
    return {"distances": distances}


def _distances_in_a_sentence(candidate: Any) -> Seen:
    seen, again = _distances_of(candidate, 4, 4, 9), _distances_of(candidate, 4, 4, 9)
    return seen | {"second call differs": yes(differ(_numbers(seen), _numbers(again)))}


def _numbers(seen: Seen) -> Seen:
    return {name: tensor.double() for name, tensor in seen.items()}


def _distances_with_a_memory(candidate: Any) -> Seen:
    return _distances_of(candidate, 3, 5, 9)


def _distances_of_one_query(candidate: Any) -> Seen:
    return _distances_of(candidate, 1, 6, 9)


def _distances_of_one_token(candidate: Any) -> Seen:
    return _distances_of(candidate, 1, 1, 3)


def _distances_that_are_cut_off(candidate: Any) -> Seen:
    return _distances_of(candidate, 6, 6, 2)


def _distances_that_are_cut_off_with_a_memory(candidate: Any) -> Seen:
    return _distances_of(candidate, 4, 9, 3)


def _distances_that_are_cut_off_at_one(candidate: Any) -> Seen:
    return _distances_of(candidate, 3, 7, 1)


def _distances_of_a_long_memory(candidate: Any) -> Seen:
    """More tokens than eight bits can count."""
    return _distances_of(candidate, 3, 300, 100)


def _distance(n_queries: int, n_keys: int) -> Tensor:
    return torch.arange(n_keys - n_queries, n_keys)[:, None] - torch.arange(n_keys)


def _distances(
    of: Callable[[int, int], Tensor] = _distance,
    cut: Callable[[Tensor, int], Tensor] = lambda far, limit: far.clamp(-limit, limit),
) -> Callable[[int, int, int], Tensor]:
    """The distances (Tq, Tk) with another origin or sign, and another cut."""
    return lambda n_queries, n_keys, limit: cut(of(n_queries, n_keys), limit)


_LINE = "(torch.arange(n_keys - n_queries, n_keys)[:, None] - torch.arange(n_keys)).clamp(-m, m)"

_LAST = "The last query is the last token: its distance to the last key is 0. Which numbers stand in your last row?"


_RELATIVE_MISTAKES = (
    Mistake(
        "the sign",
        _distances(lambda q, k: -_distance(q, k)),
        "Your sign is turned: a key before its query should be at a distance above 0.",
        "i − j: the query's position minus the key's.",
        _LINE,
    ),
    Mistake(
        "queries are the first tokens",
        _distances(lambda q, k: torch.arange(q)[:, None] - torch.arange(k)),
        "Your queries are the first tokens; they are the last ones, after the memory.",
        f"{_LAST} How many tokens stand before the first query?",
        _LINE,
    ),
    Mistake(
        "queries are the first tokens, the sign",
        _distances(lambda q, k: torch.arange(k) - torch.arange(q)[:, None]),
        "Your sign is turned, and your queries are the first tokens; they are the last ones.",
        f"Two things: i − j, the query's position first. And: {_LAST[0].lower()}{_LAST[1:]}",
        _LINE,
    ),
    Mistake(
        "sizes only",
        _distances(lambda q, k: _distance(q, k).abs()),
        "Your distances have lost their sign: before and after look alike.",
        "Is there an abs()? A key after its query is at a distance below 0.",
        _LINE,
    ),
    Mistake(
        "sizes only, queries are the first tokens",
        _distances(lambda q, k: (torch.arange(q)[:, None] - torch.arange(k)).abs()),
        "Your distances have no sign, and your queries are the first tokens.",
        f"Two things: no abs(). And: {_LAST[0].lower()}{_LAST[1:]}",
        _LINE,
    ),
    Mistake(
        "no cut",
        _distances(cut=lambda far, limit: far),
        "Your distances are not cut off at max_distance.",
        "clamp gives a new tensor; is its result used?",
        _LINE,
    ),
    Mistake(
        "cut above only",
        _distances(cut=lambda far, limit: far.clamp(max=limit)),
        "Distances below −max_distance are not cut off.",
        "A limit on both sides: clamp(-max_distance, max_distance).",
        _LINE,
    ),
    Mistake(
        "cut below only",
        _distances(cut=lambda far, limit: far.clamp(min=-limit)),
        "Distances above max_distance are not cut off.",
        "A limit on both sides: clamp(-max_distance, max_distance).",
        _LINE,
    ),
    Mistake(
        "negative distances become 0",
        _distances(cut=lambda far, limit: far.clamp(0, limit)),
        "Distances below 0 become 0: keys after the query look like the query itself.",
        "The lower limit is −max_distance, not 0. (Or is there a tril? To hide the future is the mask's business.)",
        _LINE,
    ),
    Mistake(
        "negative distances become 0, not cut",
        _distances(cut=lambda far, limit: far.clamp(min=0)),
        "Distances below 0 become 0, and large ones are not cut off.",
        "clamp(-max_distance, max_distance).",
        _LINE,
    ),
    Mistake(
        "cut one too early",
        _distances(cut=lambda far, limit: far.clamp(1 - limit, limit - 1)),
        "You cut off at max_distance − 1.",
        "max_distance itself is still a distance that may stand there.",
        _LINE,
    ),
    Mistake(
        "cut one too late",
        _distances(cut=lambda far, limit: far.clamp(-limit - 1, limit + 1)),
        "You cut off at max_distance + 1.",
        "Nothing may lie beyond max_distance.",
        _LINE,
    ),
    Mistake(
        "cut one too early, above",
        _distances(cut=lambda far, limit: far.clamp(-limit, limit - 1)),
        "You cut off at max_distance − 1 on the upper side.",
        "max_distance itself is still a distance that may stand there.",
        _LINE,
    ),
    Mistake(
        "made into column numbers",
        _distances(cut=lambda far, limit: far.clamp(-limit, limit) + limit),
        "max_distance is added to your distances: they begin at 0.",
        "That is the next step, to look them up in a table. The distances themselves are asked for.",
        _LINE,
    ),
    Mistake(
        "round the end",
        _distances(cut=lambda far, limit: far.remainder(limit + 1) if limit else far),
        "Your distances go round: after max_distance they begin again.",
        "% repeats; clamp cuts off.",
        _LINE,
    ),
    Mistake(
        "far ones become 0",
        _distances(cut=lambda far, limit: far.masked_fill(far.abs() > limit, 0)),
        "Distances beyond max_distance become 0; they should become max_distance.",
        "0 is the distance to itself. All far tokens share the number of the farthest.",
        _LINE,
    ),
    Mistake(
        "the memory's side",
        _distances(lambda q, k: torch.arange(q)[:, None] - torch.arange(k) - (k - q)),
        "The memory is counted to the wrong side: your queries begin before the first token.",
        f"{_LAST} Add the length of the memory, Tk − Tq, to the query's position.",
        _LINE,
    ),
    Mistake(
        "keys are numbered from 1",
        _distances(lambda q, k: _distance(q, k) - 1),
        "Your distances are 1 too small: a token's distance to itself is 0.",
        "Count queries and keys from the same zero.",
        _LINE,
    ),
    Mistake(
        "queries are numbered from 1",
        _distances(lambda q, k: _distance(q, k) + 1),
        "Your distances are 1 too large: a token's distance to itself is 0.",
        "Count queries and keys from the same zero.",
        _LINE,
    ),
    Mistake(
        "transposed",
        lambda q, k, m: _distances()(q, k, m).T,
        "Your table is transposed: rows are keys; rows should be queries.",
        "(Tq, Tk). Which of the two gets [:, None]?",
        _LINE,
    ),
    Mistake(
        "the keys' axis first",
        _distances(lambda q, k: torch.arange(k)[:, None] - torch.arange(k - q, k)),
        "Your table is (Tk, Tq), and holds key minus query.",
        "One row a query, one column a key: which of the two gets [:, None]?",
        _LINE,
    ),
    Mistake(
        "all tokens are queries",
        _distances(lambda q, k: _distance(k, k)),
        "Your table has a row for every token; only the last Tq of them are queries.",
        "Take the last n_queries rows.",
        _LINE,
    ),
    Mistake(
        "only the queries are keys",
        _distances(lambda q, k: _distance(q, q)),
        "Your table has Tq columns; the keys of the memory are missing.",
        "There are Tk keys, and the queries are the last of them.",
        _LINE,
    ),
    Mistake(
        "the sum of the positions",
        _distances(lambda q, k: torch.arange(k - q, k)[:, None] + torch.arange(k)),
        "You add the positions of query and key; their difference is asked for.",
        "i − j.",
        _LINE,
    ),
    Mistake(
        "the position of the query",
        _distances(lambda q, k: torch.arange(k - q, k)[:, None].expand(q, k)),
        "Your rows hold the query's position, whatever the key.",
        "i − j: take the key's position away.",
        _LINE,
    ),
    Mistake(
        "the position of the key",
        _distances(lambda q, k: torch.arange(k).expand(q, k)),
        "Your rows hold the key's position, whatever the query.",
        "i − j: begin with the query's position.",
        _LINE,
    ),
    Mistake(
        "squares",
        _distances(lambda q, k: _distance(q, k) ** 2),
        "Your distances are squared.",
        "i − j itself is asked for.",
        _LINE,
    ),
    Mistake(
        "the sign alone",
        _distances(cut=lambda far, limit: far.sign()),
        "Your table says before or after only, −1, 0 or 1; how far is missing.",
        "clamp(-max_distance, max_distance), with the distance that was asked for.",
        _LINE,
    ),
    Mistake(
        "shares of max_distance",
        _distances(cut=lambda far, limit: far.clamp(-limit, limit) / limit),
        "Your distances are divided by max_distance; whole numbers are asked for.",
        "They will choose a row of a table.",
        _LINE,
    ),
)


def _expected(n_queries: int, n_keys: int, limit: int) -> Tensor:
    return _distances()(n_queries, n_keys, limit).double()


def _cut(seen: dict[str, Seen]) -> Tensor:
    return seen[_CUT]["distances"]


_RELATIVE_PROPERTIES = (
    left_to_chance(_SENTENCE),
    Property(
        "no whole numbers",
        lambda seen: bool((seen[_SENTENCE]["distances"].frac() == 0).all()),
        "Some of your distances are no whole numbers.",
        "A distance counts tokens. Is something divided?",
    ),
    Property(
        "not 0 to itself",
        lambda seen: bool((seen[_SENTENCE]["distances"].diagonal() == 0).all()),
        "In a sentence whose tokens are all queries, the diagonal should be 0.",
        "The diagonal is each token with itself.",
    ),
    Property(
        "wrong after the query",
        lambda seen: (
            torch.equal(seen[_SENTENCE]["distances"], _expected(4, 4, 9))
            or not torch.equal(seen[_SENTENCE]["distances"].tril(), _expected(4, 4, 9).tril())
        ),
        "Right for keys before the query; wrong for keys after it.",
        "i − j is below 0 there, and stays so: −1 for the next token, −2 for the one after it.",
    ),
    Property(
        "wrong before the query",
        lambda seen: (
            torch.equal(seen[_SENTENCE]["distances"], _expected(4, 4, 9))
            or not torch.equal(seen[_SENTENCE]["distances"].triu(), _expected(4, 4, 9).triu())
        ),
        "Right for keys after the query; wrong for keys before it.",
        "i − j is above 0 there: 1 for the token before, 2 for the one before that.",
    ),
    Property(
        "wrong in a sentence",
        lambda seen: torch.equal(seen[_SENTENCE]["distances"], _expected(4, 4, 9)),
        "Your table is wrong even where every token is a query and nothing is cut off.",
        "Row i, column j: i − j. Work row 1 out by hand.",
    ),
    Property(
        "not 0 to itself, with a memory",
        lambda seen: seen[_MEMORY]["distances"][-1, -1].item() == 0,
        "With a memory, the last query should be at distance 0 from the last key.",
        f"{_LAST} How many tokens stand before the first query?",
    ),
    Property(
        "wrong with a memory",
        lambda seen: agrees(seen, _distances_with_a_memory, RELATIVE.reference),
        "Right where every token is a query; wrong for fewer queries than keys.",
        f"{_LAST} How many tokens stand before the first query?",
    ),
    Property(
        "beyond the limit",
        lambda seen: bool((_cut(seen).abs() <= 2).all()),
        "Some of your distances lie beyond max_distance.",
        "A limit on both sides: clamp(-max_distance, max_distance).",
    ),
    Property(
        "near ones are changed",
        lambda seen: bool((_cut(seen) == _expected(6, 6, 9))[_expected(6, 6, 9).abs() <= 2].all()),
        "Where far distances are cut off, near ones change too.",
        "Distances within max_distance stay as they are.",
    ),
    Property(
        "far ones",
        lambda seen: agrees(seen, _distances_that_are_cut_off, RELATIVE.reference),
        "Distances beyond max_distance should become max_distance, with their sign.",
        "clamp(-max_distance, max_distance).",
    ),
    Property(
        "cut off with a memory",
        lambda seen: agrees(seen, _distances_that_are_cut_off_with_a_memory, RELATIVE.reference),
        "Right with a memory, and right where something is cut off; wrong with both.",
        "Add the memory to the positions first, then take the difference, then cut off.",
    ),
    Property(
        "a long memory",
        lambda seen: agrees(seen, _distances_of_a_long_memory, RELATIVE.reference),
        "Right for a few tokens; wrong for some hundreds.",
        "Eight bits count to 127, or 255: is there an int8, or a fixed number?",
    ),
)


RELATIVE: Exercise = Exercise(
    id="03.relative_distances",
    title="Relative distances, with a memory",
    stub=RELATIVE_STUB,
    reference=_distances(),
    experiments=(
        _distances_in_a_sentence,
        _distances_with_a_memory,
        _distances_of_one_query,
        _distances_of_one_token,
        _distances_that_are_cut_off,
        _distances_that_are_cut_off_with_a_memory,
        _distances_that_are_cut_off_at_one,
        _distances_of_a_long_memory,
    ),
    mistakes=_RELATIVE_MISTAKES,
    properties=_RELATIVE_PROPERTIES,
    difficulty=2,
    importance=3,
    minutes=10,
)
