"""Exercise 05.padding_mask: True where a key is a real token.

B batch · H heads · T tokens · Tq queries · Tk keys
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.masks.shared import FLIPPED, boolean, changes_an_input, keys_of, not_a_boolean_mask
from course_lib.checks.probe import a_function, a_tensor, yes
from course_lib.checks.shared import left_to_chance, unlike

PADDING_STUB = '''
def padding_mask(tokens, pad_id):
    """Say which keys are real tokens: True = may attend.

    Args:
        tokens: integer ids of the sentences that are looked at, (B, Tk). Rows are filled up with
            pad_id, on the right or on the left; a row may also be full, or all padding.
        pad_id: the id of the padding, an int. It need not be 0, nor the smallest id.

    Returns:
        Boolean mask, (B, 1, 1, Tk): it fits every head and every query. The tokens stay as they
        were.
    """
'''


# The names of the experiments, so that properties and hints can point to them.
_TWO, _OTHER, _LARGEST = "padding of two sentences", "padding with another id", "padding with the largest id"
_LEFT, _FULL, _EMPTY = "padding on the left", "padding of full rows", "padding of an empty row"


def _mask_of(candidate: Any, tokens: list[list[int]], pad_id: int) -> Seen:
    given = torch.tensor(tokens)
    mask = a_tensor(a_function(candidate)(given, pad_id), called="a mask, one tensor")
    return {
        "mask": mask,
        "mask is boolean": boolean(mask),
        "input changed": yes(given.tolist() != tokens),
    }


def _padding_of_two_sentences(candidate: Any) -> Seen:
    tokens = [[4, 5, 6, 0, 0], [7, 8, 4, 9, 0]]
    seen, again = _mask_of(candidate, tokens, 0), _mask_of(candidate, tokens, 0)
    return seen | {"second call differs": yes(unlike(again["mask"], seen["mask"]))}


def _padding_with_another_id(candidate: Any) -> Seen:
    """The id 0 is a word here, and there are words below and above the id of the padding."""
    return _mask_of(candidate, [[0, 3, 5, 1, 1, 1], [6, 0, 2, 4, 1, 1], [5, 2, 0, 3, 7, 1]], 1)


def _padding_with_the_largest_id(candidate: Any) -> Seen:
    return _mask_of(candidate, [[0, 1, 2, 9], [3, 0, 9, 9], [8, 4, 0, 5]], 9)


def _padding_with_a_negative_id(candidate: Any) -> Seen:
    return _mask_of(candidate, [[3, 1, -1], [0, -1, -1]], -1)


def _padding_on_the_left(candidate: Any) -> Seen:
    return _mask_of(candidate, [[0, 0, 4, 5, 6, 3], [0, 7, 8, 4, 9, 2]], 0)


def _padding_of_one_sentence(candidate: Any) -> Seen:
    return _mask_of(candidate, [[4, 5, 6, 0]], 0)


def _padding_of_single_words(candidate: Any) -> Seen:
    return _mask_of(candidate, [[4], [0], [5]], 0)


def _padding_of_a_square(candidate: Any) -> Seen:
    return _mask_of(candidate, [[4, 5, 0, 0], [6, 4, 7, 5], [8, 0, 0, 0], [9, 4, 3, 0]], 0)


def _padding_of_full_rows(candidate: Any) -> Seen:
    return _mask_of(candidate, [[4, 5, 6], [7, 8, 9]], 0)


def _padding_of_an_empty_row(candidate: Any) -> Seen:
    return _mask_of(candidate, [[4, 5, 0], [0, 0, 0]], 0)


def _keys(seen: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, int], Tensor]:
    """A mask of the right shape from a wrong idea (B, Tk) of what is seen."""
    return lambda tokens, pad_id: seen(tokens, pad_id)[:, None, None, :]


def _by_length(shift: int) -> Callable[[Tensor, int], Tensor]:
    def seen(tokens: Tensor, pad_id: int) -> Tensor:
        lengths = (tokens != pad_id).sum(-1, keepdim=True)
        return torch.arange(tokens.size(1)) < lengths + shift

    return _keys(seen)


def _to_be_added(low: float) -> Callable[[Tensor, int], Tensor]:
    return lambda tokens, pad_id: torch.zeros(tokens.shape)[:, None, None].masked_fill(
        ~keys_of(tokens, pad_id), low
    )


def _overwrites(tokens: Tensor, pad_id: int) -> Tensor:
    mask = keys_of(tokens, pad_id).clone()
    tokens[tokens == pad_id] = -7
    return mask


def _outer(tokens: Tensor, pad_id: int) -> Tensor:
    seen = tokens != pad_id
    return (seen[:, :, None] & seen[:, None, :])[:, None]


_LINE = "(tokens != pad_id)[:, None, None, :]"

_ZERO = (
    "You take the id 0 for padding; here the padding has the id pad_id.",
    "A vocabulary may give any id to its padding. Which argument tells you?",
    _LINE,
)

_AXES = (
    "(B, 1, 1, Tk): batch, heads, queries, keys. `[:, None, None, :]` puts two axes of size 1 in the middle."
)


_PADDING_MISTAKES = (
    Mistake("flipped", _keys(lambda t, p: t == p), *FLIPPED, _LINE),
    Mistake("zero is taken for padding", _keys(lambda t, p: t != 0), *_ZERO),
    Mistake("zero is taken for padding, flipped", _keys(lambda t, p: t == 0), *_ZERO),
    Mistake(
        "words above the padding's id",
        _keys(lambda t, p: t > p),
        "Your mask hides words whose id is below that of the padding.",
        "The padding need not have the smallest id. Compare with `!=`.",
        _LINE,
    ),
    Mistake(
        "words below the padding's id",
        _keys(lambda t, p: t < p),
        "Your mask hides words whose id is above that of the padding.",
        "The padding need not have the largest id. Compare with `!=`.",
        _LINE,
    ),
    Mistake(
        "positive ids",
        _keys(lambda t, p: t > 0),
        "Your mask allows every id above 0, and hides the others; pad_id is not asked.",
        "The padding may have any id, and 0 or less may be words. Which argument tells you?",
        _LINE,
    ),
    Mistake(
        "at least the padding's id",
        _keys(lambda t, p: t >= p),
        "Your mask allows the padding itself: it asks for ids of at least pad_id.",
        "The padding is what *equals* pad_id. Compare with `!=`.",
        _LINE,
    ),
    Mistake(
        "one axis in the middle is missing",
        lambda t, p: (t != p)[:, None, :],
        "Your mask is (B, 1, Tk); one axis of size 1 is missing: (B, 1, 1, Tk).",
        _AXES + " With three axes, broadcasting would lay your batch over the heads.",
        _LINE,
    ),
    Mistake(
        "both axes in the middle are missing",
        lambda t, p: t != p,
        "Your mask is (B, Tk); the axes of heads and queries are missing.",
        _AXES + " With two axes, broadcasting would lay your batch over the queries.",
        _LINE,
    ),
    Mistake(
        "both axes in the middle are missing, flipped",
        lambda t, p: t == p,
        "Your mask is (B, Tk), and True marks the padding.",
        "Two things: True means *may attend*; and the shape is (B, 1, 1, Tk).",
        _LINE,
    ),
    Mistake(
        "one axis in the middle is missing, flipped",
        lambda t, p: (t == p)[:, None, :],
        "Your mask is (B, 1, Tk), and True marks the padding.",
        "Two things: True means *may attend*; and the shape is (B, 1, 1, Tk).",
        _LINE,
    ),
    Mistake(
        "rows in place of columns",
        lambda t, p: (t != p)[:, None, :, None],
        "Your mask is (B, 1, Tk, 1): it hides rows, the queries; hide columns, the keys.",
        "A row of the scores is one query, a column one key. Who must not be looked *at*?",
        _LINE,
    ),
    Mistake(
        "rows in place of columns, flipped",
        lambda t, p: (t == p)[:, None, :, None],
        "Your mask is (B, 1, Tk, 1), over the queries, and True marks the padding.",
        "A row of the scores is one query, a column one key. Who must not be looked *at*? And True means *may attend*.",
        _LINE,
    ),
    Mistake(
        "rows and columns",
        _outer,
        "Your mask is (B, 1, Tk, Tk) and hides queries too; only keys are to be hidden.",
        "A padded query may look where it likes: nobody reads its output. A row without any key makes NaN.",
        _LINE,
    ),
    Mistake(
        "spelled out for every query",
        lambda t, p: keys_of(t, p).expand(-1, -1, t.size(1), -1),
        "Your mask is (B, 1, Tk, Tk), all rows alike; one row, (B, 1, 1, Tk), is asked for.",
        "In cross-attention there are more or fewer queries than keys. Broadcasting repeats an axis of size 1.",
        _LINE,
    ),
    Mistake(
        "the batch on the axis of the heads",
        lambda t, p: (t != p)[None, :, None, :],
        "Your mask is (1, B, 1, Tk): the batch stands on the axis of the heads.",
        _AXES,
        _LINE,
    ),
    Mistake(
        "the batch on the axis of the queries",
        lambda t, p: (t != p)[None, None],
        "Your mask is (1, 1, B, Tk): the batch stands on the axis of the queries.",
        _AXES,
        _LINE,
    ),
    Mistake(
        "the new axes at the end",
        lambda t, p: (t != p)[:, :, None, None],
        "Your mask is (B, Tk, 1, 1): the keys stand on the axis of the heads.",
        _AXES,
        _LINE,
    ),
    Mistake(
        "the new axes at the front and the end",
        lambda t, p: (t != p)[None, :, :, None],
        "Your mask is (1, B, Tk, 1); the axes of size 1 belong in the middle.",
        _AXES,
        _LINE,
    ),
    Mistake(
        "batch and keys exchanged",
        lambda t, p: (p != t.T)[:, None, None, :],
        "Your mask is (Tk, 1, 1, B): batch and keys have changed places.",
        "The first axis of tokens is the batch already; nothing must be transposed.",
        _LINE,
    ),
    Mistake(
        "zeros and ones",
        lambda t, p: keys_of(t, p).float(),
        "Your mask is right, but it holds 1 and 0 in place of True and False.",
        "A comparison gives booleans by itself; leave out `.float()`, `.int()`, `.long()`. `~` and `&` need them.",
        _LINE,
    ),
    Mistake(
        "zeros and ones, flipped",
        lambda t, p: (~keys_of(t, p)).float(),
        "Your mask holds 0 for words and 1 for padding; True = may attend is asked for.",
        "Two things: a comparison gives booleans by itself; and the words, not the padding, may be attended to.",
        _LINE,
    ),
    Mistake(
        "zeros and ones without the axes",
        lambda t, p: (t != p).float(),
        "Your mask holds 1 and 0, and is (B, Tk); booleans, (B, 1, 1, Tk), are asked for.",
        _AXES,
        _LINE,
    ),
    Mistake(
        "−∞ for padding",
        _to_be_added(-math.inf),
        "Your mask is made to be added, 0 and −∞; here it is True and False.",
        "Both kinds exist. A boolean mask says who may attend; −∞ is written into the scores later.",
        _LINE,
    ),
    Mistake(
        "a large negative number for padding",
        _to_be_added(-1e9),
        "Your mask is made to be added, 0 and large negatives; here it is True and False.",
        "Both kinds exist. A boolean mask says who may attend; −∞ is written into the scores later.",
        _LINE,
    ),
    Mistake(
        "the ids themselves",
        lambda t, p: (t * (t != p))[:, None, None, :],
        "Your mask holds the ids of the words, not True and False.",
        "The comparison alone is the answer; do not multiply the tokens by it.",
        _LINE,
    ),
    Mistake(
        "by length",
        _by_length(0),
        "Right where the padding stands on the right; wrong where it stands on the left.",
        "You count the words, and allow as many keys from the left. Compare each token with pad_id instead.",
        _LINE,
    ),
    Mistake(
        "by length, one too many",
        _by_length(1),
        "Your mask allows the first n + 1 keys of a row with n words: one too many.",
        "Compare each token with pad_id in place of counting: then no < or <= can go wrong.",
        _LINE,
    ),
    Mistake(
        "by length, one too few",
        _by_length(-1),
        "Your mask allows the first n − 1 keys of a row with n words: one too few.",
        "Compare each token with pad_id in place of counting: then no < or <= can go wrong.",
        _LINE,
    ),
    Mistake(
        "up to the first padding",
        _keys(lambda t, p: (t == p).cumsum(-1) == 0),
        "Your mask hides everything from the first padding on, words on its right too.",
        "Padding may stand on the left. Each key is judged by its own id alone.",
        _LINE,
    ),
    Mistake(
        "up to the last word",
        _keys(lambda t, p: (t != p).flip(-1).cumsum(-1).flip(-1) > 0),
        "Your mask hides only what comes after the last word, not padding on the left.",
        "Padding may stand on the left. Each key is judged by its own id alone.",
        _LINE,
    ),
    Mistake(
        "the last id is taken for padding",
        _keys(lambda t, p: t != t[:, -1:]),
        "You hide the id that ends each row; a full row ends with a word.",
        "The last token of a row need not be padding. Which argument says what is?",
        _LINE,
    ),
    Mistake(
        "the lowest id is taken for padding",
        _keys(lambda t, p: t != t.min()),
        "You hide the smallest id of the batch; that need not be the padding.",
        "A batch may have no padding, or words with smaller ids. Which argument says what is padding?",
        _LINE,
    ),
    Mistake(
        "hidden where any sentence has padding",
        lambda t, p: (t != p).all(0).expand(t.shape)[:, None, None],
        "A column is hidden for all sentences as soon as one of them has padding there.",
        "Each sentence has its own length: no `all` or `any` over the batch.",
        _LINE,
    ),
    Mistake(
        "hidden where all sentences have padding",
        lambda t, p: (t != p).any(0).expand(t.shape)[:, None, None],
        "A column is hidden only where every sentence has padding.",
        "Each sentence has its own length: no `all` or `any` over the batch.",
        _LINE,
    ),
    Mistake(
        "the first sentence's for all",
        lambda t, p: (t[:1] != p).expand(t.shape)[:, None, None],
        "Every sentence gets the mask of the first one.",
        "Is there an index [0] that should run over the batch?",
        _LINE,
    ),
    Mistake(
        "everything allowed",
        _keys(lambda t, p: torch.ones_like(t, dtype=torch.bool)),
        "Your mask allows everything; padding is not hidden.",
        "Does the comparison with pad_id reach what you return?",
        _LINE,
    ),
    Mistake(
        "an empty row is opened",
        lambda t, p: keys_of(t, p) | (t == p).all(-1)[:, None, None, None],
        "Right, but a row that is all padding is allowed as a whole.",
        "What becomes of a row without any key is the softmax's business, not the mask's.",
        _LINE,
    ),
    Mistake(
        "the first key is always allowed",
        _keys(lambda t, p: (t != p) | (torch.arange(t.size(1)) == 0)),
        "Your mask allows the first key even where it is padding.",
        "Padding may stand on the left, or fill a row. Each key is judged by its own id alone.",
        _LINE,
    ),
    Mistake(
        "changes the tokens",
        _overwrites,
        "The mask is right, but your function changes the tokens it was given.",
        "An assignment to `tokens[…]` writes into the caller's tensor. Make a new one.",
        _LINE,
    ),
)


def _wanted(name: str) -> Tensor:
    experiment = next(
        each for each in PADDING.experiments if each.__name__.strip("_").replace("_", " ") == name
    )
    return experiment(PADDING.reference)["mask"].double()


def _hides_no_word(*names: str) -> Callable[[dict[str, Seen]], bool]:
    return lambda seen: all(bool((seen[name]["mask"] >= _wanted(name)).all()) for name in names)


def _hides_all_padding(*names: str) -> Callable[[dict[str, Seen]], bool]:
    return lambda seen: all(bool((seen[name]["mask"] <= _wanted(name)).all()) for name in names)


_PADDING_PROPERTIES = (
    changes_an_input("tokens"),
    left_to_chance(_TWO),
    *not_a_boolean_mask(lambda seen: seen[_TWO]["mask"], lambda seen: seen[_TWO]["mask is boolean"]),
    Property("flipped", lambda seen: not torch.equal(seen[_TWO]["mask"], 1 - _wanted(_TWO)), *FLIPPED),
    Property(
        "hides words",
        _hides_no_word(_TWO),
        "Your mask hides a word that is no padding.",
        "Print the tokens and your mask below each other: which False stands below a word?",
    ),
    Property(
        "lets padding through",
        _hides_all_padding(_TWO),
        "Your mask allows some of the padding.",
        "Print the tokens and your mask below each other: which True stands below padding?",
    ),
    Property(
        "wrong for full rows",
        _hides_no_word(_FULL),
        "A sentence without any padding loses words in your mask.",
        "Where do you look for the padding? Each key is judged by its own id: tokens != pad_id.",
    ),
    Property(
        "padding on the left",
        lambda seen: torch.equal(seen[_LEFT]["mask"], _wanted(_LEFT)),
        "Your mask is wrong where the padding stands on the left.",
        "Do you count words, or look for the first padding? Compare each token with pad_id.",
    ),
    Property(
        "an empty row",
        lambda seen: torch.equal(seen[_EMPTY]["mask"], _wanted(_EMPTY)),
        "Right, but not for a row that is all padding.",
        "All of its keys are padding, so all are False; the softmax deals with that.",
    ),
    Property(
        "another id, words hidden",
        _hides_no_word(_OTHER, _LARGEST, "padding with a negative id"),
        "Right where the padding has the id 0; with another pad_id it hides words.",
        "Does a 0, a `>`, or the truth of an id stand where `!= pad_id` belongs?",
    ),
    Property(
        "another id, padding allowed",
        _hides_all_padding(_OTHER, _LARGEST, "padding with a negative id"),
        "Right where the padding has the id 0; with another pad_id it is not hidden.",
        "Does a 0, a `>`, or the truth of an id stand where `!= pad_id` belongs?",
    ),
)


PADDING: Exercise = Exercise(
    id="05.padding_mask",
    title="A padding mask",
    stub=PADDING_STUB,
    reference=keys_of,
    experiments=(
        _padding_of_two_sentences,
        _padding_with_another_id,
        _padding_with_the_largest_id,
        _padding_with_a_negative_id,
        _padding_on_the_left,
        _padding_of_one_sentence,
        _padding_of_single_words,
        _padding_of_a_square,
        _padding_of_full_rows,
        _padding_of_an_empty_row,
    ),
    mistakes=_PADDING_MISTAKES,
    properties=_PADDING_PROPERTIES,
    difficulty=1,
    importance=5,
    minutes=10,
)
