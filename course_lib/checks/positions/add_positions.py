"""Exercise 03.add_positions: a module with a learned table of positions.

B batch · T tokens · D d_model
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import a_tensor, built, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, differ, no_gradient

LEARNED_STUB = '''
class LearnedPositions(nn.Module):
    """Add to each token the learned vector of its position.

    There is one learned table, (max_len, d_model), under any name: an nn.Parameter, or an
    nn.Embedding. Nothing else is learned.
    """

    def __init__(self, d_model, max_len):
        super().__init__()

    def forward(self, x, start=0):
        """Map x, (B, T, D), to x plus rows start … start + T - 1 of the table, for every sentence.

        The first token stands at position `start`: 0 for a whole sentence, more in step-by-step
        decoding. Where start + T is more than max_len there is no row left: raise ValueError. x stays
        as it was.
        """
'''


_FOUR = "positions of four tokens"
_WIDTH, _LENGTH = 6, 9


def _build(candidate: Any, d_model: int = _WIDTH, max_len: int = _LENGTH) -> tuple[nn.Module, Tensor | None]:
    """Build the candidate's module, give its table random numbers, and return both; None where none is learned.

    A table that is kept as a buffer or a plain tensor is filled, too: what it does can then be seen.
    """
    module = built(candidate, d_model=d_model, max_len=max_len)
    plain = [thing for thing in vars(module).values() if isinstance(thing, Tensor)]
    for tensors in ([*module.parameters()], [*module.buffers()], plain):
        for tensor in tensors:
            if tensor.shape in ((max_len, d_model), (1, max_len, d_model)) and tensor.is_floating_point():
                with torch.no_grad():
                    tensor.copy_(numbers(max_len, d_model, seed=70).view(tensor.shape))
                return module.eval(), tensor
    shapes = [tuple(parameter.shape) for parameter in module.parameters()]
    if shapes:
        raise WrongReturn(
            "a table of another shape",
            f"No learned table is (max_len, d_model) = ({max_len}, {d_model}); yours: {shapes[0]}."[:83],
            "One row a position, d_model wide. `__init__` takes d_model first, then max_len; nn.Embedding takes "
            "the number of rows first.",
        )
    raise WrongReturn(
        "no learned table",
        "Your module has no learned table: no nn.Parameter, no nn.Embedding.",
        "Create it in `__init__` and assign it to self; a list, or a tensor in a list or dict, is not found.",
    )


def _add(module: nn.Module, x: Tensor, *start: int) -> Tensor:
    return a_tensor(module(x, *start), called="x with positions added, one tensor")


def _positions_of_four_tokens(candidate: Any) -> Seen:
    module, _ = _build(candidate)
    x = numbers(2, 4, _WIDTH, seed=71)
    given = x.clone()
    output = _add(module, given)
    again = _add(module, x.clone())
    training = _add(module.train(), x.clone())
    return {
        "output": output,
        "input changed": yes(not torch.equal(given, x)),
        "second call differs": yes(differ({"": output}, {"": again})),
        "training differs": yes(differ({"": again}, {"": training})),
    }


def _positions_that_begin_later(candidate: Any) -> Seen:
    module, _ = _build(candidate)
    names = inspect.signature(module.forward).parameters
    if "start" not in names and all(name.kind is not name.VAR_KEYWORD for name in names.values()):
        raise WrongReturn(
            "no argument called start",
            "Your forward has no argument called start; the exercise names it so.",
            "def forward(self, x, start=0): step-by-step decoding calls it as module(x, start=5).",
        )
    return {
        "output, start = 3": _add(module, numbers(2, 4, _WIDTH, seed=72), 3),
        "output of one token, start = 5": _add(module, numbers(2, 1, _WIDTH, seed=73), 5),
        "output, start=2 by name": a_tensor(
            module(numbers(2, 3, _WIDTH, seed=79), start=2), called="x with positions added, one tensor"
        ),
    }


def _positions_of_tokens_of_zeros(candidate: Any) -> Seen:
    x = numbers(2, 3, _WIDTH, seed=69)
    x[0, 1] = 0.0
    return {"output": _add(_build(candidate)[0], x)}


def _positions_of_one_sentence(candidate: Any) -> Seen:
    return {"output": _add(_build(candidate)[0], numbers(1, 5, _WIDTH, seed=74))}


def _positions_of_a_cube(candidate: Any) -> Seen:
    return {"output": _add(_build(candidate, 4, 5)[0], numbers(4, 4, 4, seed=75))}


def _positions_up_to_the_last_row(candidate: Any) -> Seen:
    module, _ = _build(candidate)
    try:
        return {
            "output of a full sentence": _add(module, numbers(2, _LENGTH, _WIDTH, seed=76)),
            "output of the last token": _add(module, numbers(3, 1, _WIDTH, seed=77), _LENGTH - 1),
        }
    except ValueError as error:
        raise WrongReturn(
            "refuses what fits",
            "Your module refuses a sentence that just fits: start + T = max_len.",
            "Only where start + T is *more* than max_len there is no row left: > in place of >=.",
        ) from error


def _positions_beyond_the_last_row(candidate: Any) -> Seen:
    """Too long a sentence, and too late a start.

    1 for a ValueError, 2 for another exception, 3 for one that is returned, 0 for none.
    """
    module, _ = _build(candidate)

    def refusal(n_tokens: int, start: int) -> Tensor:
        try:
            result = module(numbers(2, n_tokens, _WIDTH, seed=78), start)
        except ValueError:
            return torch.tensor(1.0)
        except Exception:
            return torch.tensor(2.0)
        returned = isinstance(result, Exception) or result is ValueError
        return torch.tensor(3.0 if returned else 0.0)

    return {
        "refuses a long sentence": refusal(_LENGTH + 1, 0),
        "refuses a late start": refusal(4, _LENGTH - 3),
        "refuses a start beyond the end": refusal(1, _LENGTH),
        "refuses a much longer sentence": refusal(_LENGTH + 4, 0),
        "refuses a start far beyond the end": refusal(3, _LENGTH + 4),
    }


def _what_is_learned(candidate: Any) -> Seen:
    module, table = _build(candidate)
    kept = sum(tensor.numel() for tensor in module.state_dict().values() if tensor.is_floating_point())
    learned = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    return {
        "learned numbers": torch.tensor(float(learned)),
        "kept in the state dict": yes(kept >= _LENGTH * _WIDTH),
        "_is a parameter": yes(isinstance(table, nn.Parameter)),
    }


def _position_gradients(candidate: Any) -> Seen:
    module, table = _build(candidate)
    (leaf,), (x,) = watched(numbers(2, 4, _WIDTH, seed=71))
    learned = table if table is not None else leaf
    found = gradients(_add(module, x, 2), {"x": leaf, "table": learned})
    found |= gradients(_add(module, numbers(2, _LENGTH, _WIDTH, seed=68)), {"table, all rows": learned})
    return {name: gradient.reshape(-1, _WIDTH) for name, gradient in found.items()}


class Positions(nn.Module):
    """The answer; `rows` and `join` are where mistakes differ from it."""

    def __init__(self, d_model: int, max_len: int):
        super().__init__()
        self.table = nn.Parameter(0.02 * torch.randn(max_len, d_model))

    def check(self, x: Tensor, start: int) -> None:
        if start + x.size(1) > len(self.table):
            raise ValueError(f"{start} + {x.size(1)} tokens are more than {len(self.table)}")

    def rows(self, x: Tensor, start: int) -> Tensor:
        return self.table[start : start + x.size(1)]

    def join(self, x: Tensor, rows: Tensor) -> Tensor:
        return x + rows

    def forward(self, x: Tensor, start: int = 0) -> Tensor:
        self.check(x, start)
        return self.join(x, self.rows(x, start))


def _positions(**methods: Callable[..., Any]) -> type[Positions]:
    """The answer with some of its methods exchanged."""
    return type("LearnedPositions", (Positions,), methods)


def _join(join: Callable[[Tensor, Tensor], Tensor]) -> type[Positions]:
    return _positions(join=lambda self, x, rows: join(x, rows))


def _rows(rows: Callable[[Tensor, Tensor, int], Tensor]) -> type[Positions]:
    return _positions(rows=lambda self, x, start: rows(self.table, x, start))


class _Buffer(Positions):
    """The table is kept, but not learned."""

    def __init__(self, d_model: int, max_len: int):
        nn.Module.__init__(self)
        self.register_buffer("table", torch.randn(max_len, d_model))


class _Plain(Positions):
    """The table is neither learned nor kept."""

    def __init__(self, d_model: int, max_len: int):
        nn.Module.__init__(self)
        self.table = torch.randn(max_len, d_model)  # type: ignore[assignment]


class _Frozen(Positions):
    def __init__(self, d_model: int, max_len: int):
        super().__init__(d_model, max_len)
        self.table.requires_grad_(False)


class _WithMap(Positions):
    """A linear map of the positions is learned as well; it is the identity here."""

    def __init__(self, d_model: int, max_len: int):
        super().__init__(d_model, max_len)
        self.map = nn.Linear(d_model, d_model, bias=False)
        nn.init.eye_(self.map.weight)


class _WithNorm(Positions):
    def __init__(self, d_model: int, max_len: int):
        super().__init__(d_model, max_len)
        self.norm = nn.LayerNorm(d_model)

    def join(self, x: Tensor, rows: Tensor) -> Tensor:
        return self.norm(x + rows)


class _WithDropout(Positions):
    def join(self, x: Tensor, rows: Tensor) -> Tensor:
        return F.dropout(x + rows, 0.1, self.training)


def _added_in_place(self: Positions, x: Tensor, rows: Tensor) -> Tensor:
    total = x + rows
    x.data.copy_(total)
    return total


def _embedding_end(self: Positions, x: Tensor, start: int) -> None:
    if start + x.size(1) > len(self.table):
        raise IndexError("index out of range in self")


_LINE = "x + self.table[start : start + x.size(1)]"
_RAISE = "if start + x.size(1) > max_len: raise ValueError(…)"


_LEARNED_MISTAKES = (
    Mistake(
        "start is not used",
        _rows(lambda table, x, start: table[: x.size(1)]),
        "Your rows begin at 0 whatever `start` says.",
        "In step-by-step decoding each call brings one token: it would always be the first.",
        _LINE,
    ),
    Mistake(
        "every token gets row start",
        _rows(lambda table, x, start: table[start]),
        "Every token gets the same row; each should have that of its own position.",
        "start, start + 1, start + 2, …: a slice, not one index.",
        _LINE,
    ),
    Mistake(
        "rows by sentence",
        _rows(lambda table, x, start: table[start : start + x.size(0)][:, None]),
        "Your rows are chosen by the sentence, not by the token.",
        "x is (B, T, D): T is x.size(1).",
        _LINE,
    ),
    Mistake(
        "the last rows",
        _rows(lambda table, x, start: table[len(table) - start - x.size(1) : len(table) - start]),
        "Your rows are taken from the end of the table.",
        "Position 0 has row 0.",
        _LINE,
    ),
    Mistake(
        "the rows in reverse",
        _rows(lambda table, x, start: table[start : start + x.size(1)].flip(0)),
        "Your rows stand in reverse order.",
        "Position p has row p.",
        _LINE,
    ),
    Mistake(
        "one row too late",
        _rows(
            lambda table, x, start: table[
                (torch.arange(start, start + x.size(1)) + 1).clamp(max=len(table) - 1)
            ]
        ),
        "Your rows begin one too late: position 0 has row 0.",
        "Do you count from 1?",
        _LINE,
    ),
    Mistake(
        "the whole table's mean",
        _rows(lambda table, x, start: table.mean(0)),
        "Every token gets the mean of the whole table.",
        "Each token should have the row of its own position.",
        _LINE,
    ),
    Mistake(
        "multiplied",
        _join(lambda x, rows: x * rows),
        "The rows are multiplied with x; they should be added.",
        "Addition, number by number.",
        _LINE,
    ),
    Mistake(
        "the rows alone",
        _join(lambda x, rows: rows.expand_as(x) + 0 * x),
        "You return the positions alone; x is not added.",
        "A token must keep what it is.",
        _LINE,
    ),
    Mistake(
        "the rows without a batch",
        _join(lambda x, rows: rows),
        "You return the rows alone, without x and without the batch.",
        "x + rows: broadcasting repeats the rows for every sentence.",
        _LINE,
    ),
    Mistake(
        "nothing is added",
        _join(lambda x, rows: x + 0 * rows),
        "Your output is x: no position is added.",
        "Is the sum returned?",
        _LINE,
    ),
    Mistake(
        "laid beside each other",
        _join(lambda x, rows: torch.cat([x, rows.expand_as(x)], dim=-1)),
        "The rows are laid beside x, 2D numbers wide; they should be added.",
        "The lesson's section “Why add?” compares the two. Here: add.",
        _LINE,
    ),
    Mistake(
        "put in front",
        _join(lambda x, rows: torch.cat([rows.expand_as(x), x], dim=1)),
        "The rows are put in front of x as further tokens; they should be added.",
        "Addition, number by number.",
        _LINE,
    ),
    Mistake(
        "taken away",
        _join(lambda x, rows: x - rows),
        "The rows are taken away from x; they should be added.",
        "x + rows.",
        _LINE,
    ),
    Mistake(
        "x is scaled",
        _join(lambda x, rows: x * math.sqrt(x.size(-1)) + rows),
        "x is multiplied by √D before the sum.",
        "That belongs to the embedding of the tokens, not to the positions.",
        _LINE,
    ),
    Mistake(
        "the rows are scaled",
        _join(lambda x, rows: x + rows * math.sqrt(x.size(-1))),
        "The rows are multiplied by √D before the sum.",
        "The table is learned: it finds its own size.",
        _LINE,
    ),
    Mistake(
        "the rows are scaled down",
        _join(lambda x, rows: x + rows / math.sqrt(x.size(-1))),
        "The rows are divided by √D before the sum.",
        "The table is learned: it finds its own size.",
        _LINE,
    ),
    Mistake(
        "the mean of both",
        _join(lambda x, rows: (x + rows) / 2),
        "The sum is halved: a mean of token and position.",
        "x + rows.",
        _LINE,
    ),
    Mistake(
        "the sine of the table",
        _join(lambda x, rows: x + rows.sin()),
        "A sine is taken of your rows; the table is learned and added as it is.",
        "Sines belong to the table that is computed.",
        _LINE,
    ),
    Mistake(
        "a layer norm after it",
        _WithNorm,
        "A layer norm follows the sum, and learns numbers of its own.",
        "BERT has one there; this exercise wants the sum alone.",
        _LINE,
    ),
    Mistake(
        "dropout after it",
        _WithDropout,
        "In training some numbers are dropped; this exercise wants no dropout.",
        "Dropout belongs to the model, after the sum.",
        _LINE,
    ),
    Mistake(
        "a map is learned, too",
        _WithMap,
        "More is learned than the table of (max_len, d_model) numbers.",
        "Is there a further layer, or parameter, in `__init__`?",
        "self.table = nn.Parameter(torch.randn(max_len, d_model) * 0.02)",
    ),
    Mistake(
        "a buffer",
        _Buffer,
        "Your table is a buffer: it is kept, but never learned.",
        "register_buffer is for tables that are computed. What makes a tensor learnable?",
        "self.table = nn.Parameter(torch.randn(max_len, d_model) * 0.02)",
    ),
    Mistake(
        "a plain tensor",
        _Plain,
        "Your table is not learned, and not kept in the state dict.",
        "A plain tensor is no parameter, and an optimizer finds parameters only. What makes a tensor one?",
        "self.table = nn.Parameter(torch.randn(max_len, d_model) * 0.02)",
    ),
    Mistake(
        "frozen",
        _Frozen,
        "Your table does not learn: it wants no gradient.",
        "Is there a requires_grad=False, or an nn.Embedding.from_pretrained without freeze=False?",
        "self.table = nn.Parameter(torch.randn(max_len, d_model) * 0.02)",
    ),
    Mistake(
        "the rows are detached",
        _join(lambda x, rows: x + rows.detach()),
        "The numbers are right, but no gradient reaches your table: it would never learn.",
        "`.detach()`, `.data` and torch.no_grad() cut the gradient.",
        _LINE,
    ),
    Mistake(
        "x is detached",
        _join(lambda x, rows: x.detach() + rows),
        "The numbers are right, but no gradient reaches x: the embeddings would not learn.",
        "`.detach()`, `.data` and torch.no_grad() cut the gradient.",
        _LINE,
    ),
    Mistake(
        "round the end",
        _positions(
            check=lambda self, x, start: None,
            rows=lambda self, x, start: self.table[torch.arange(start, start + x.size(1)) % len(self.table)],
        ),
        "Beyond max_len your module raises nothing; a ValueError is asked for.",
        "Positions that begin again, or stay at the last row, give two tokens one row, and nobody would notice.",
        _RAISE,
    ),
    Mistake(
        "another exception",
        _positions(check=_embedding_end),
        "Beyond max_len another exception than ValueError is raised.",
        "PyTorch's own says that an index, or a size, is wrong; yours should say that the sentence is too long.",
        _RAISE,
    ),
    Mistake(
        "the length alone is checked",
        _positions(
            check=lambda self, x, start: Positions.check(self, x, 0),
            rows=lambda self, x, start: self.table[
                torch.arange(start, start + x.size(1)).clamp(max=len(self.table) - 1)
            ],
        ),
        "A long sentence is refused, but not one that starts too late.",
        "start + T must not be more than max_len.",
        _RAISE,
    ),
    Mistake(
        "the length alone is checked, then another exception",
        _positions(
            check=lambda self, x, start: (
                Positions.check(self, x, 0) if x.size(1) > len(self.table) else _embedding_end(self, x, start)
            ),
        ),
        "A sentence that starts too late is refused by another exception than ValueError.",
        "start + T must not be more than max_len: check the sum.",
        _RAISE,
    ),
    Mistake(
        "changes x",
        _positions(join=_added_in_place),
        "The output is right, but your module changes the x it was given.",
        "`x += …` and methods that end in `_` write into the caller's tensor. Make a new one.",
        _LINE,
    ),
)


def _four(seen: dict[str, Seen]) -> Tensor:
    return seen[_FOUR]["output"] - numbers(2, 4, _WIDTH, seed=71).double()


_BEYOND, _GRADIENTS = "positions beyond the last row", "position gradients"


def _refusals(seen: dict[str, Seen]) -> list[int]:
    return [int(refused.item()) for refused in seen[_BEYOND].values()]


_LEARNED_PROPERTIES = (
    changes_its_input(_FOUR),
    Property(
        "left to chance",
        lambda seen: seen[_FOUR]["second call differs"].item() == 0,
        "Two calls with the same input give different results.",
        "Is there dropout that does not ask self.training, a random tensor, or something kept from the call before?",
    ),
    Property(
        "another output in training",
        lambda seen: seen[_FOUR]["training differs"].item() == 0,
        "In training your module gives another output; this exercise wants no dropout.",
        "Dropout belongs to the model, after the sum.",
    ),
    Property(
        "unlike from sentence to sentence",
        lambda seen: torch.allclose(_four(seen)[0], _four(seen)[1], atol=1e-3),
        "What you add depends on the sentence; it should depend on the position only.",
        "Is x scaled, normalised or mixed with the rows, or are rows chosen by the sentence?",
    ),
    Property(
        "other rows",
        lambda seen: torch.allclose(
            _four(seen)[0], numbers(_LENGTH, _WIDTH, seed=70)[:4].double(), atol=1e-3
        ),
        "What you add to the tokens are not the first T rows of your table, as they are.",
        "Subtract x from the output of one sentence, and compare with the table.",
    ),
    Property(
        "start",
        lambda seen: agrees(seen, _positions_that_begin_later, LEARNED.reference),
        "Right for start = 0; wrong where the first token stands later.",
        "Rows start … start + T − 1, T being the number of tokens in x.",
    ),
    Property(
        "tokens of zeros",
        lambda seen: agrees(seen, _positions_of_tokens_of_zeros, LEARNED.reference),
        "A token whose numbers are all 0 does not get its row.",
        "Every token has a position, whatever it holds. Is there a mask, or a division?",
    ),
    Property(
        "the last row",
        lambda seen: agrees(seen, _positions_up_to_the_last_row, LEARNED.reference),
        "Wrong where the last row of the table is used; start + T may be max_len itself.",
        "Is there a >= in place of a >?",
    ),
    Property(
        "returns the exception",
        lambda seen: 3 not in _refusals(seen),
        "Beyond max_len your module returns an exception; it should raise it.",
        "`raise ValueError(…)` in place of `return`.",
    ),
    Property(
        "never a ValueError",
        lambda seen: 1 in _refusals(seen),
        "Beyond max_len your module never raises ValueError.",
        "A slice beyond the end is silently shorter, one row broadcasts, and PyTorch's exceptions are others. Compare "
        "start + T with max_len yourself, and raise ValueError.",
    ),
    Property(
        "one too late",
        lambda seen: _refusals(seen)[0] == 1 or _refusals(seen)[3] != 1,
        "A sentence of max_len + 1 tokens is not refused by a ValueError; longer ones are.",
        "start + T may be max_len, not one more: > max_len.",
    ),
    Property(
        "the length alone",
        lambda seen: _refusals(seen)[0] != 1 or _refusals(seen)[1] == _refusals(seen)[2] == 1,
        "A ValueError refuses a long sentence, but not every one that starts too late.",
        "start + T must not be more than max_len: check the sum.",
    ),
    Property(
        "the start alone",
        lambda seen: _refusals(seen)[0] == 1,
        "A ValueError refuses some late starts, but not a sentence that is too long.",
        "start + T must not be more than max_len: check the sum.",
    ),
    Property(
        "not every refusal",
        lambda seen: set(_refusals(seen)) == {1},
        "Beyond max_len your module raises ValueError in some cases only.",
        "Check the sum at the beginning of forward, and raise ValueError with a sentence that names both numbers.",
    ),
    Property(
        "nothing is learned",
        lambda seen: seen["what is learned"]["learned numbers"].item() > 0,
        "Your module learns nothing: no parameter that wants a gradient.",
        "A plain tensor is no parameter, even with requires_grad=True. What makes a tensor one?",
    ),
    Property(
        "more is learned",
        lambda seen: seen["what is learned"]["learned numbers"].item() <= _LENGTH * _WIDTH,
        "Your module learns more than the max_len × d_model numbers of its table.",
        "Look at [p.shape for p in module.parameters()].",
    ),
    Property(
        "a row that does not learn",
        lambda seen: (
            bool(seen[_GRADIENTS]["gradient to table, all rows"].any(-1).all())
            or not bool(seen[_GRADIENTS]["gradient to table, all rows"].any())
        ),
        "To some row of your table no gradient flows: its position would never learn.",
        "Is there a padding_idx? It keeps a row from learning, and here no row is padding.",
    ),
    no_gradient("position gradients", "x, or to your table"),
)


LEARNED: Exercise = Exercise(
    id="03.add_positions",
    title="A learned table of positions",
    stub=LEARNED_STUB,
    reference=Positions,
    experiments=(
        _positions_of_four_tokens,
        _positions_that_begin_later,
        _positions_of_one_sentence,
        _positions_of_a_cube,
        _positions_of_tokens_of_zeros,
        _positions_up_to_the_last_row,
        _positions_beyond_the_last_row,
        _what_is_learned,
        _position_gradients,
    ),
    mistakes=_LEARNED_MISTAKES,
    properties=_LEARNED_PROPERTIES,
    difficulty=2,
    importance=4,
    minutes=15,
)
