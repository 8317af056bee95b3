"""Exercise 05.causal_mask: True where a key is not in the query's future.

Tq queries · Tk keys
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.masks.shared import FLIPPED, boolean, last_queries, not_a_boolean_mask
from course_lib.checks.probe import a_function, a_tensor, yes
from course_lib.checks.shared import left_to_chance, unlike

CAUSAL_STUB = '''
def causal_mask(n_queries, n_keys):
    """Hide the future: True where a query may attend to a key.

    There are n_keys tokens, and the *last* n_queries of them are the queries. A token may attend to
    itself and to every token before it, to none after it.

    Args:
        n_queries: Tq, an int, at least 1.
        n_keys: Tk, an int, at least Tq. Where both are equal, every token is a query.

    Returns:
        Boolean mask, (Tq, Tk): one row a query, one column a key.
    """
'''


_SQUARE, _LAST = "causal mask of a sentence", "causal mask of the last queries"
_ONE, _LONG = "causal mask of one query", "causal mask of a longer text"


def _mask_of(candidate: Any, n_queries: int, n_keys: int) -> Seen:
    mask = a_tensor(a_function(candidate)(n_queries, n_keys), called="a mask, one tensor")
    return {"mask": mask, "mask is boolean": boolean(mask)}


def _causal_mask_of_a_sentence(candidate: Any) -> Seen:
    seen, again = _mask_of(candidate, 4, 4), _mask_of(candidate, 4, 4)
    return seen | {"second call differs": yes(unlike(seen["mask"], again["mask"]))}


def _causal_mask_of_the_last_queries(candidate: Any) -> Seen:
    return _mask_of(candidate, 3, 5)


def _causal_mask_of_one_query(candidate: Any) -> Seen:
    return _mask_of(candidate, 1, 4)


def _causal_mask_of_all_but_one(candidate: Any) -> Seen:
    return _mask_of(candidate, 4, 5)


def _causal_mask_of_one_token(candidate: Any) -> Seen:
    return _mask_of(candidate, 1, 1)


def _causal_mask_of_two_queries(candidate: Any) -> Seen:
    return _mask_of(candidate, 2, 7)


def _causal_mask_of_a_longer_text(candidate: Any) -> Seen:
    """After an answer for few queries: what was kept of it would show."""
    return _mask_of(candidate, 11, 17)


def _ones(n_queries: int, n_keys: int) -> Tensor:
    return torch.ones(n_queries, n_keys, dtype=torch.bool)


def _band(n_queries: int, n_keys: int, width: int) -> Tensor:
    """The last `width` tokens up to and with the query itself."""
    back = torch.arange(n_keys - n_queries, n_keys)[:, None] - torch.arange(n_keys)
    return (back >= 0) & (back < width)


def _to_be_added(low: float) -> Callable[[int, int], Tensor]:
    return lambda q, k: torch.zeros(q, k).masked_fill(~last_queries(q, k), low)


_LINE = "torch.ones(n_queries, n_keys, dtype=torch.bool).tril(diagonal=n_keys - n_queries)"

_TOP_LEFT = "The last query is the last token: it may see every key. Which row of your mask is all True?"


_CAUSAL_MISTAKES = (
    Mistake(
        "aligned top left",
        lambda q, k: _ones(q, k).tril(),
        "Your mask takes the queries for the first tokens; they are the last ones.",
        f"{_TOP_LEFT} tril has a second argument.",
        _LINE,
    ),
    Mistake(
        "aligned top left, flipped",
        lambda q, k: _ones(q, k).triu(1),
        "Your mask is True in the future, and takes the queries for the first tokens.",
        f"Two things: True means *may attend*. And: {_TOP_LEFT[0].lower()}{_TOP_LEFT[1:]}",
        _LINE,
    ),
    Mistake(
        "aligned top left, itself hidden",
        lambda q, k: _ones(q, k).tril(-1),
        "Your mask hides each token from itself, and takes the queries for the first tokens.",
        f"Two things: a token may see itself. And: {_TOP_LEFT[0].lower()}{_TOP_LEFT[1:]}",
        _LINE,
    ),
    Mistake(
        "aligned top left, the past is hidden",
        lambda q, k: _ones(q, k).triu(),
        "Your mask hides the past and allows the future: the triangle is the wrong one.",
        "Row i is a query. The keys before it stand on its left. And where do the *last* queries begin?",
        _LINE,
    ),
    Mistake("flipped", lambda q, k: ~last_queries(q, k), *FLIPPED, _LINE),
    Mistake(
        "itself hidden",
        lambda q, k: _ones(q, k).tril(k - q - 1),
        "Your mask hides each token from itself; the diagonal should be allowed.",
        "Query 0 has no key before it. What would be left for it to look at?",
        _LINE,
    ),
    Mistake(
        "one key of the future",
        lambda q, k: _ones(q, k).tril(k - q + 1),
        "Your mask lets each query see one token of its future.",
        "Which < should be a <=, or which + 1 is too many? In training that token is the answer.",
        _LINE,
    ),
    Mistake(
        "two keys of the future",
        lambda q, k: _ones(q, k).tril(k - q + 2),
        "Your mask lets each query see two tokens of its future.",
        "The farthest key that query i may see is the query itself.",
        _LINE,
    ),
    Mistake(
        "the past is hidden",
        lambda q, k: _ones(q, k).triu(k - q),
        "Your mask hides the past and allows the future: the triangle is the wrong one.",
        "Row i is a query. The keys before it stand on its left.",
        _LINE,
    ),
    Mistake(
        "shifted to the other side",
        lambda q, k: _ones(q, k).tril(q - k),
        "Your diagonal is moved to the wrong side: the queries seem to begin too early.",
        "Is it Tq − Tk in place of Tk − Tq? The last query may see every key.",
        _LINE,
    ),
    Mistake(
        "shifted by the number of queries",
        lambda q, k: _ones(q, k).tril(q),
        "Your diagonal is moved by Tq; the queries begin at token Tk − Tq.",
        "How many tokens stand before the first query?",
        _LINE,
    ),
    Mistake(
        "everything allowed",
        _ones,
        "Your mask allows everything: the future is not hidden.",
        "Does the triangle reach what you return? tril gives a new tensor. How far is the diagonal moved?",
        _LINE,
    ),
    Mistake(
        "everything hidden",
        lambda q, k: ~_ones(q, k),
        "Your mask hides everything.",
        "True means *may attend*. torch.zeros and torch.empty begin with False.",
        _LINE,
    ),
    Mistake(
        "only itself",
        lambda q, k: _band(q, k, 1),
        "Each token may see itself only; the tokens before it are hidden.",
        "Equal or earlier: which comparison says so? torch.eye gives the diagonal only.",
        _LINE,
    ),
    Mistake(
        "only itself, top left",
        lambda q, k: torch.eye(q, k, dtype=torch.bool),
        "Your mask allows one key for each query only; every earlier one belongs there.",
        "Equal or earlier: which comparison says so? torch.eye gives the diagonal only.",
        _LINE,
    ),
    Mistake(
        "only the token before",
        lambda q, k: _band(q, k, 2),
        "Each token may see itself and one token before it; all earlier ones belong there.",
        "Is there a lower limit that should not be there?",
        _LINE,
    ),
    Mistake(
        "the past before the queries is hidden",
        lambda q, k: torch.cat([~_ones(q, k - q), _ones(q, q).tril()], 1),
        "Your mask hides the tokens that stand before the first query.",
        "The first Tk − Tq keys are in the past of every query: all of them may be seen.",
        _LINE,
    ),
    Mistake(
        "the past is laid behind the queries",
        lambda q, k: torch.cat([_ones(q, q).tril(), _ones(q, k - q)], 1),
        "Your mask allows the last Tk − Tq keys to every query; those are the first ones.",
        "The older tokens come first: in which order are the two parts put together?",
        _LINE,
    ),
    Mistake(
        "mirrored",
        lambda q, k: last_queries(q, k).flip(0),
        "Your rows stand in the reverse order: the first query sees most.",
        "Row 0 is the earliest query. Are its keys fewer, or more, than those of the last row?",
        _LINE,
    ),
    Mistake(
        "mirrored left to right",
        lambda q, k: last_queries(q, k).flip(1),
        "Your columns stand in the reverse order: key 0 is the last one to be seen.",
        "Column 0 is the first token; every query may see it.",
        _LINE,
    ),
    Mistake(
        "transposed",
        lambda q, k: last_queries(q, k).T,
        "Your mask is transposed: rows are keys; rows should be queries.",
        "One row a query, one column a key: (Tq, Tk).",
        _LINE,
    ),
    Mistake(
        "compared the wrong way, transposed",
        lambda q, k: torch.arange(k - q, k) <= torch.arange(k)[:, None],
        "Your mask is (Tk, Tq), and True where the query is no later than the key.",
        "One row a query, one column a key: which of the two gets [:, None]? And who must be earlier?",
        _LINE,
    ),
    Mistake(
        "all tokens are queries",
        lambda q, k: _ones(k, k).tril(),
        "Your mask has a row for every token; only the last Tq of them are queries.",
        "Take the last n_queries rows, or begin with a (Tq, Tk) table.",
        _LINE,
    ),
    Mistake(
        "only the queries are keys",
        lambda q, k: _ones(q, q).tril(),
        "Your mask has Tq columns; there are Tk keys, and the earlier ones are missing.",
        "Step by step generation has one query and many keys.",
        _LINE,
    ),
    Mistake(
        "one size for all",
        lambda q, k: last_queries(4, 4),
        "Your mask is (4, 4), whatever sizes are asked for.",
        "Is the mask of an earlier call kept, or a size written into the code? Ask n_queries and n_keys each time.",
        _LINE,
    ),
    Mistake(
        "one axis too many",
        lambda q, k: last_queries(q, k)[None],
        "Your mask is (1, Tq, Tk); the exercise asks for (Tq, Tk).",
        "Broadcasting puts the missing axes in front by itself.",
        _LINE,
    ),
    Mistake(
        "two axes too many",
        lambda q, k: last_queries(q, k)[None, None],
        "Your mask is (1, 1, Tq, Tk); the exercise asks for (Tq, Tk).",
        "Broadcasting puts the missing axes in front by itself.",
        _LINE,
    ),
    Mistake(
        "zeros and ones",
        lambda q, k: last_queries(q, k).float(),
        "Your mask is right, but it holds 1 and 0 in place of True and False.",
        "torch.ones gives numbers. Ask for dtype=torch.bool, or compare: mask == 1.",
        _LINE,
    ),
    Mistake(
        "zeros and ones, top left",
        lambda q, k: torch.ones(q, k).tril(),
        "Your mask holds 1 and 0, and takes the queries for the first tokens.",
        "torch.ones gives numbers; ask for dtype=torch.bool. And the last query may see every key.",
        _LINE,
    ),
    Mistake(
        "zeros and ones, flipped",
        lambda q, k: torch.ones(q, k).triu(k - q + 1),
        "Your mask holds 1 for the future, 0 for the past; True = may attend is asked for.",
        "Two things: torch.ones gives numbers, not booleans; and the past may be attended to, not the future.",
        _LINE,
    ),
    Mistake(
        "−∞ in the future",
        _to_be_added(-math.inf),
        "Your mask is made to be added, 0 and −∞; here it is True and False.",
        "Both kinds exist (PyTorch's generate_square_subsequent_mask is one to be added). Here: True = may attend.",
        _LINE,
    ),
    Mistake(
        "−∞ in the future, top left",
        lambda q, k: torch.full((q, k), -math.inf).triu(1),
        "Your mask is made to be added, 0 and −∞; here it is True and False.",
        "Here True = may attend. And the queries are the last tokens, not the first: the last one may see every key.",
        _LINE,
    ),
    Mistake(
        "a large negative number in the future",
        _to_be_added(-1e9),
        "Your mask is made to be added, 0 and large negatives; here it is True and False.",
        "Both kinds exist. A boolean mask says who may attend; −∞ is written into the scores later.",
        _LINE,
    ),
)


def _right(seen: dict[str, Seen], name: str, n_queries: int, n_keys: int) -> bool:
    return torch.equal(seen[name]["mask"], last_queries(n_queries, n_keys).double())


def _square(seen: dict[str, Seen]) -> Tensor:
    return seen[_SQUARE]["mask"]


_CAUSAL_PROPERTIES = (
    left_to_chance(_SQUARE),
    *not_a_boolean_mask(_square, lambda seen: seen[_SQUARE]["mask is boolean"]),
    Property(
        "flipped",
        lambda seen: not torch.equal(_square(seen), 1 - last_queries(4, 4).double()),
        *FLIPPED,
    ),
    Property(
        "itself hidden",
        lambda seen: bool((_square(seen).diagonal() == 1).all()),
        "In your mask some token cannot see itself.",
        "The diagonal of a square mask is each token with itself; it should be True everywhere.",
    ),
    Property(
        "sees the future",
        lambda seen: bool((_square(seen).triu(1) == 0).all()),
        "In your mask some query sees its future.",
        "Row i, column j: j > i is the future. In training the next token is the answer itself.",
    ),
    Property(
        "the past is hidden",
        lambda seen: bool((_square(seen).tril(-1) + torch.ones(4, 4).triu() == 1).all()),
        "In your mask some query cannot see all of its past.",
        "Row i, column j: every j < i may be seen, however far back.",
    ),
    Property(
        "wrong with fewer queries than keys",
        lambda seen: _right(seen, _LAST, 3, 5) or not _right(seen, _SQUARE, 4, 4),
        "Right where every token is a query; wrong for fewer queries than keys.",
        f"There are Tk − Tq tokens before the first query. {_TOP_LEFT}",
    ),
    Property(
        "one query",
        lambda seen: _right(seen, _ONE, 1, 4),
        "Right for several queries; wrong for one.",
        "One query is the last token: it may see every key, also in generation, step by step.",
    ),
    Property(
        "wrong for longer texts",
        lambda seen: _right(seen, _LONG, 11, 17),
        "Right for few tokens, wrong for more.",
        "Is there a fixed size, or a mask kept from an earlier call?",
    ),
)


CAUSAL: Exercise = Exercise(
    id="05.causal_mask",
    title="A causal mask",
    stub=CAUSAL_STUB,
    reference=last_queries,
    experiments=(
        _causal_mask_of_a_sentence,
        _causal_mask_of_the_last_queries,
        _causal_mask_of_one_query,
        _causal_mask_of_all_but_one,
        _causal_mask_of_one_token,
        _causal_mask_of_two_queries,
        _causal_mask_of_a_longer_text,
    ),
    mistakes=_CAUSAL_MISTAKES,
    properties=_CAUSAL_PROPERTIES,
    difficulty=2,
    importance=5,
    minutes=10,
)
