"""Exercise 02.embed: the look-up, from ids to vectors.

V vocab_size · D d_model · B batch · T tokens
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_function, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import (
    agrees,
    changes_its_input,
    left_to_chance,
    no_gradient,
    not_finite,
    unlike,
)

STUB = '''
def embed(table, ids):
    """Look up the vector of each token: row ids[b, t] of the table, at place [b, t].

    Args:
        table: one row for each token of the vocabulary, (V, D).
        ids: token ids, (B, T), integers from 0 to V - 1. An id may stand in many places.

    Returns:
        (B, T, D): the rows as they are in the table, not scaled. Neither input changes. Gradients flow
        back to the table: each row gets the sum over all its places, and rows that are not used get 0.
    """
'''


def _rows(n_rows: int, width: int, ids: list[list[int]], seed: int) -> tuple[Tensor, Tensor]:
    return numbers(n_rows, width, seed=seed, std=1.5), torch.tensor(ids)


def _embed_two_sentences(candidate: Any) -> Seen:
    table, ids = _rows(7, 3, [[2, 0, 6, 4], [5, 3, 1, 2]], seed=20)
    given_table, given_ids = table.clone(), ids.clone()
    vectors = a_tensor(a_function(candidate)(given_table, given_ids))
    again = a_tensor(candidate(table.clone(), ids.clone()))
    return {
        "vectors": vectors,
        "input changed": yes(not (torch.equal(given_table, table) and torch.equal(given_ids, ids))),
        "second call differs": yes(unlike(vectors, again)),
    }


def _embed_a_word_that_stands_twice(candidate: Any) -> Seen:
    return {
        "vectors": a_tensor(candidate(*_rows(6, 5, [[1, 1, 4], [0, 4, 1], [5, 5, 5], [2, 3, 1]], seed=21)))
    }


def _embed_rows_that_are_not_used(candidate: Any) -> Seen:
    return {"vectors": a_tensor(candidate(*_rows(9, 4, [[8, 3, 5], [3, 6, 5]], seed=28)))}


def _embed_one_token(candidate: Any) -> Seen:
    return {"vectors": a_tensor(candidate(*_rows(5, 3, [[4]], seed=22)))}


def _embed_one_sentence(candidate: Any) -> Seen:
    return {"vectors": a_tensor(candidate(*_rows(5, 2, [[4, 0, 2]], seed=23)))}


def _embed_sizes_that_are_equal(candidate: Any) -> Seen:
    return {
        "vectors": a_tensor(
            candidate(*_rows(4, 4, [[3, 1, 0, 2], [1, 1, 2, 3], [0, 2, 2, 0], [3, 3, 1, 0]], 24))
        )
    }


def _embed_vectors_of_one_number(candidate: Any) -> Seen:
    return {"vectors": a_tensor(candidate(*_rows(5, 1, [[4, 0, 2], [1, 1, 3]], seed=25)))}


def _embed_a_table_of_one_row(candidate: Any) -> Seen:
    return {"vectors": a_tensor(candidate(*_rows(1, 3, [[0, 0], [0, 0]], seed=26)))}


def _embed_gradients(candidate: Any) -> Seen:
    table, ids = _rows(7, 3, [[2, 0, 2, 4], [5, 2, 1, 4]], seed=27)
    (leaf,), (copied,) = watched(table)
    return gradients(a_tensor(candidate(copied, ids)), {"table": leaf})


def _position_by_position(table: Tensor, ids: Tensor) -> Tensor:
    places = torch.arange(ids.size(1)) % len(table)
    return table[places].expand(*ids.shape, -1)


def _padded(table: Tensor, ids: Tensor) -> Tensor:
    return table[ids] * (ids != 0).unsqueeze(-1)


def _first_place_only(table: Tensor, ids: Tensor) -> Tensor:
    """Each place gets its row, the later places of an id get none: as if looked up in a set."""
    flat = ids.flatten()
    is_first = torch.stack([~(flat[:place] == flat[place]).any() for place in range(len(flat))])
    return table[ids] * is_first.view_as(ids).unsqueeze(-1)


def _by_share(table: Tensor, ids: Tensor) -> Tensor:
    """nn.Embedding's scale_grad_by_freq: the right rows, their gradients divided by how often an id stands there."""
    times = (ids.flatten()[:, None] == ids.flatten()).sum(-1).view_as(ids).unsqueeze(-1)
    rows = table[ids]
    return rows / times + (rows - rows / times).detach()


def _made_short(table: Tensor, ids: Tensor) -> Tensor:
    with torch.no_grad():
        table[ids.unique()] = F.normalize(table[ids.unique()], dim=-1)
    return table[ids]


def _mixed(table: Tensor, ids: Tensor) -> Tensor:
    one_hot = F.one_hot(ids, len(table)).to(table.dtype)
    return one_hot.softmax(-1) @ table


_LINE = "return table[ids]"
_GRADIENT_LINE = "table[ids], with the table as it is given"

_MISTAKES = (
    Mistake(
        "one too low",
        lambda table, ids: table[ids - 1],
        "Each id gets the row before its own.",
        "Ids and rows both begin with 0.",
        _LINE,
    ),
    Mistake(
        "one too high",
        lambda table, ids: table[(ids + 1) % len(table)],
        "Each id gets the row after its own.",
        "Ids and rows both begin with 0.",
        _LINE,
    ),
    Mistake(
        "from the end",
        lambda table, ids: table[len(table) - 1 - ids],
        "You count the rows from the end of the table.",
        "Id 0 is the first row. Is there a minus sign, or a `flip`?",
        _LINE,
    ),
    Mistake(
        "the places in place of the ids",
        _position_by_position,
        "You look up the place in the sentence, not the id that stands there.",
        "Is the table indexed with t, where ids[b, t] is meant?",
        _LINE,
    ),
    Mistake(
        "the first sentence for all",
        lambda table, ids: table[ids[0]].expand(*ids.shape, -1),
        "Every sentence gets the vectors of the first one.",
        "Is there an index 0 where the number of the sentence belongs, or a `return` inside a loop?",
        _LINE,
    ),
    Mistake(
        "the first token for all",
        lambda table, ids: table[ids[:, :1]].expand(*ids.shape, -1),
        "Every token of a sentence gets the vector of the first one.",
        "Is there an index 0 where the place of the token belongs?",
        _LINE,
    ),
    Mistake(
        "sentences mixed",
        lambda table, ids: table[ids.T.flatten()].view(*ids.shape, -1),
        "Tokens of several sentences are mixed: axes were swapped before a reshape.",
        "`view`, `reshape` and `flatten` read row by row; they do not move axes back.",
        _LINE,
    ),
    Mistake(
        "the numbers of a vector are mixed",
        lambda table, ids: table.T[:, ids].reshape(*ids.shape, -1),
        "The numbers of different tokens are mixed within one vector.",
        "table.T[:, ids] is (D, B, T). A reshape does not bring D to the end; `permute` does, or `table[ids]`.",
        _LINE,
    ),
    Mistake(
        "the table is read by columns",
        lambda table, ids: table.T.reshape(table.shape)[ids],
        "The table's rows are mixed up: it was turned by `.T` and reshaped.",
        "The table is (V, D) already: row i belongs to token i.",
        _LINE,
    ),
    Mistake(
        "sentences and places exchanged",
        lambda table, ids: table[ids.T],
        "Sentences and places are exchanged: the result is (T, B, D), not (B, T, D).",
        "Batch first: [b, t] of the result belongs to ids[b, t].",
        _LINE,
    ),
    Mistake(
        "the vectors lie in columns",
        lambda table, ids: table[ids].transpose(1, 2),
        "Your result is (B, D, T); the vectors should be along the last axis.",
        "result[b, t] should be one vector.",
        _LINE,
    ),
    Mistake(
        "the vectors lie along the first axis",
        lambda table, ids: table.T[:, ids],
        "Your result is (D, B, T); the vectors should be along the last axis.",
        "table[:, ids] indexes columns. Which axis of the table do ids count?",
        _LINE,
    ),
    Mistake(
        "one long row of tokens",
        lambda table, ids: table[ids.flatten()],
        "Your result is (B·T, D): the sentences lie one after the other.",
        "Indexing with (B, T) ids keeps both axes.",
        _LINE,
    ),
    Mistake(
        "added up over the sentence",
        lambda table, ids: table[ids].sum(1),
        "The vectors of a sentence are added up; each token keeps its own.",
        "The result is (B, T, D). Is there a `sum`, or a product with counts?",
        _LINE,
    ),
    Mistake(
        "the mean of the sentence",
        lambda table, ids: table[ids].mean(1),
        "You take the mean of each sentence; each token keeps its own vector.",
        "The result is (B, T, D). nn.EmbeddingBag takes means, nn.Embedding does not.",
        _LINE,
    ),
    Mistake(
        "one-hot rows",
        lambda table, ids: F.one_hot(ids, len(table)).to(table.dtype),
        "You return the one-hot rows; they still have to be multiplied by the table.",
        "(B, T, V) @ (V, D) is (B, T, D).",
        "F.one_hot(ids, len(table)).to(table.dtype) @ table",
    ),
    Mistake(
        "scaled by √d",
        lambda table, ids: table[ids] * math.sqrt(table.size(1)),
        "The vectors are multiplied by √D; here they stay as they are in the table.",
        "The scaling belongs to the Transformer's embedding, in the exercise with the tied table.",
        _LINE,
    ),
    Mistake(
        "divided by √d",
        lambda table, ids: table[ids] / math.sqrt(table.size(1)),
        "The vectors are divided by √D; here they stay as they are in the table.",
        "The division by √d belongs to attention scores.",
        _LINE,
    ),
    Mistake(
        "length one",
        lambda table, ids: F.normalize(table[ids], dim=-1),
        "Your vectors have length 1; they should stay as they are in the table.",
        "Lengths are divided out when directions are compared, not in the look-up.",
        _LINE,
    ),
    Mistake(
        "id 0 is padding",
        _padded,
        "Id 0 gets zeros, as if it were padding; here it is a token like any other.",
        "Is there a `padding_idx=0`, or a condition that takes 0 for false?",
        _LINE,
    ),
    Mistake(
        "id 0 is padding for the gradient",
        lambda table, ids: F.embedding(ids, table, padding_idx=0),
        "The vectors are right, but row 0 gets no gradient, as if it were padding.",
        "padding_idx keeps one row from learning. Here id 0 is a token like any other.",
        _GRADIENT_LINE,
    ),
    Mistake(
        "only the first place",
        _first_place_only,
        "An id that stands in several places gets its vector in the first only.",
        "Is each id taken from a set, a dict or `unique` once, and then used up?",
        _LINE,
    ),
    Mistake(
        "sorted ids",
        lambda table, ids: table[ids.sort(-1).values],
        "The tokens of each sentence come in the order of their ids.",
        "Is there a `sort`, a `unique` or a set? The order of the sentence must stay.",
        _LINE,
    ),
    Mistake(
        "softmax of one-hot rows",
        _mixed,
        "Each vector is a mix of all rows, not one row.",
        "A softmax of one-hot rows is not one-hot any more.",
        "F.one_hot(ids, len(table)).to(table.dtype) @ table",
    ),
    Mistake(
        "whole numbers",
        lambda table, ids: F.one_hot(ids, len(table)) @ table.long(),
        "The table was rounded to whole numbers.",
        "F.one_hot gives integers. Turn these into floats, not the table into integers.",
        "F.one_hot(ids, len(table)).to(table.dtype) @ table",
    ),
    Mistake(
        "shortens the table's rows",
        _made_short,
        "Your function brings rows of the table to length 1, in the table itself.",
        "`max_norm` and assignments to table[…] change the caller's table.",
        _LINE,
    ),
    Mistake(
        "no gradient",
        lambda table, ids: table.detach()[ids],
        "The vectors are right, but no gradient flows back to the table.",
        "`.detach()`, `.data`, `.tolist()`, `torch.tensor(…)` and nn.Embedding.from_pretrained cut the gradient.",
        _GRADIENT_LINE,
    ),
    Mistake(
        "gradient divided by how often",
        _by_share,
        "The vectors are right, but a frequent id gets a smaller gradient than asked.",
        "scale_grad_by_freq divides. The gradient of a row is the sum over its places.",
        _GRADIENT_LINE,
    ),
)


def _table() -> Tensor:
    return _rows(7, 3, [[0]], seed=20)[0].double()


def _all_are_rows(vectors: Tensor) -> bool:
    apart = (vectors[..., None, :] - _table()).abs().amax(-1)  # (B, T, V)
    return bool((apart.amin(-1) < 1e-3).all())


_LATER = (
    _embed_a_word_that_stands_twice,
    _embed_rows_that_are_not_used,
    _embed_one_token,
    _embed_one_sentence,
    _embed_sizes_that_are_equal,
    _embed_vectors_of_one_number,
    _embed_a_table_of_one_row,
)


_PROPERTIES = (
    left_to_chance("embed two sentences"),
    changes_its_input("embed two sentences"),
    not_finite(lambda seen: seen["embed two sentences"]["vectors"], "vectors"),
    Property(
        "no rows of the table",
        lambda seen: _all_are_rows(seen["embed two sentences"]["vectors"]),
        "Some of your vectors are no rows of the table.",
        "Nothing is computed in a look-up. Is something added, scaled, normalised, or mixed by a reshape?",
    ),
    Property(
        "other rows",
        lambda seen: agrees(seen, _embed_two_sentences, EMBED.reference),
        "Your vectors are rows of the table, but not those that the ids name.",
        "result[b, t] should be table[ids[b, t]]. Print ids[0, 0], and compare result[0, 0] with the rows.",
    ),
    Property(
        "words that stand twice",
        lambda seen: agrees(seen, _embed_a_word_that_stands_twice, EMBED.reference),
        "Right for ids that are all different, wrong where an id stands twice.",
        "Is there a set, a dict or `unique` in your code?",
    ),
    Property(
        "rows that are not used",
        lambda seen: agrees(seen, _embed_rows_that_are_not_used, EMBED.reference),
        "Right where every row of the table is used, wrong where some are not.",
        "Are the ids numbered anew, by `unique` or a dict? An id is the number of its row.",
    ),
    no_gradient("embed gradients", "the table"),
    Property(
        "another gradient",
        lambda seen: (
            agrees(seen, _embed_gradients, EMBED.reference)
            or not all(agrees(seen, experiment, EMBED.reference) for experiment in _LATER)
        ),
        "The vectors are right, but the gradient to the table is not.",
        "A row gets the sum of the gradients of all its places. Is one of the places cut off or scaled?",
    ),
)


EMBED: Exercise = Exercise(
    id="02.embed",
    title="From ids to vectors",
    stub=STUB,
    reference=lambda table, ids: table[ids],
    experiments=(
        _embed_two_sentences,
        *_LATER,
        _embed_gradients,
    ),
    mistakes=_MISTAKES,
    properties=_PROPERTIES,
    difficulty=1,
    importance=5,
    minutes=10,
)
