"""Exercise 02.tied_table: one table for both ends of a model.

V vocab_size · D d_model · B batch · T tokens
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn
from course_lib.checks.probe import a_module, a_tensor, gradients, numbers, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, not_finite, unlike

STUB = '''
class TiedEmbedding(nn.Module):
    """One table at both ends of a model: token ids become vectors, and vectors become logits.

    The table is the module's only parameter: (V, D), one row for each token. Its numbers begin at
    random, with mean 0 and standard deviation 1/√D.
    """

    def __init__(self, vocab_size, d_model):
        super().__init__()

    def forward(self, tokens):
        """Return each token's row, times √D: ids, (B, T), to (B, T, D)."""

    def unembed(self, x):
        """Return each vector's dot products with all rows: x, (B, T, D), to logits, (B, T, V).

        No scaling, no bias, no softmax. Gradients flow back to x and to the table, from both ends.
        """
'''


def _tables(module: nn.Module, shape: tuple[int, int]) -> list[nn.Parameter]:
    """Return the module's tables, or say kindly why there is none."""
    found = [parameter for parameter in module.parameters() if parameter.shape == shape]
    if found:
        return found
    if any(parameter.shape == shape[::-1] for parameter in module.parameters()):
        raise WrongReturn(
            "a table that lies on its side",
            "Your table is (D, V); it should be (V, D), one row for each token.",
            "nn.Embedding(V, D).weight and nn.Linear(D, V).weight are both (V, D).",
        )
    if any(buffer.shape == shape for buffer in module.buffers()):
        raise WrongReturn(
            "a table that does not learn",
            "Your table is a buffer; only a parameter is trained.",
            "`self.weight = nn.Parameter(…)`, or a layer that holds one.",
        )
    if any(isinstance(thing, Tensor) and thing.shape == shape for thing in vars(module).values()):
        raise WrongReturn(
            "a table that does not learn",
            "Your table is a plain tensor; only a parameter is trained.",
            "`self.weight = nn.Parameter(…)`, or a layer that holds one.",
        )
    raise WrongReturn(
        "no table",
        "Your module has no parameter of shape (V, D), one row for each token.",
        "Create it in `__init__`: `self.weight = nn.Parameter(…)`, or a layer that holds one.",
    )


def _build(candidate: Any, n_tokens: int, width: int) -> tuple[nn.Module, list[nn.Parameter]]:
    """Build the module and give its tables the same numbers for everybody; whatever else it has gets some too."""
    module = a_module(candidate, (), vocab_size=n_tokens, d_model=width)
    tables = _tables(module, (n_tokens, width))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(numbers(*parameter.shape, seed=400 + parameter.dim(), std=0.7))
    return module, tables


def _unembed(module: nn.Module, x: Tensor) -> Tensor:
    if not callable(getattr(module, "unembed", None)):
        raise WrongReturn(
            "no unembed",
            "Your class has no method called unembed.",
            "Is it spelled otherwise, or indented into another method?",
        )
    return a_tensor(module.unembed(x))  # type: ignore[operator]


def _ids(n_tokens: int, *shape: int, seed: int) -> Tensor:
    return torch.randint(n_tokens, shape, generator=torch.Generator().manual_seed(seed))


def _tied_vectors(candidate: Any) -> Seen:
    module, _ = _build(candidate, 7, 5)
    tokens = torch.tensor([[2, 0, 6, 4], [5, 2, 1, 0]])
    given = tokens.clone()
    vectors, again = a_tensor(module(given)), a_tensor(module(tokens.clone()))
    return {
        "vectors": vectors,
        "input changed": yes(not torch.equal(given, tokens)),
        "second call differs": yes(unlike(vectors, again)),
    }


def _tied_logits(candidate: Any) -> Seen:
    module, _ = _build(candidate, 7, 5)
    x = numbers(2, 4, 5, seed=410)
    given = x.clone()
    logits, again = _unembed(module, given), _unembed(module, x.clone())
    return {
        "logits": logits,
        "input changed": yes(not torch.equal(given, x)),
        "second call differs": yes(unlike(logits, again)),
    }


def _tied_sizes_that_are_equal(candidate: Any) -> Seen:
    module, _ = _build(candidate, 4, 4)
    return {
        "vectors": a_tensor(module(_ids(4, 4, 4, seed=420))),
        "logits": _unembed(module, numbers(4, 4, 4, seed=421)),
    }


def _tied_one_token(candidate: Any) -> Seen:
    module, _ = _build(candidate, 5, 3)
    return {
        "vectors": a_tensor(module(torch.tensor([[4]]))),
        "logits": _unembed(module, numbers(1, 1, 3, seed=430)),
    }


def _tied_wide_rows(candidate: Any) -> Seen:
    module, _ = _build(candidate, 3, 64)
    return {
        "vectors": a_tensor(module(_ids(3, 2, 5, seed=440))),
        "logits": _unembed(module, numbers(2, 5, 64, seed=441)),
    }


def _tied_a_row_is_moved(candidate: Any) -> Seen:
    """The table changes, as it does in training: both ends must follow."""
    module, tables = _build(candidate, 7, 5)
    ids, x = _ids(7, 2, 3, seed=451), numbers(2, 3, 5, seed=452)
    vectors_before, logits_before = a_tensor(module(ids)).clone(), _unembed(module, x).clone()
    with torch.no_grad():
        tables[0].add_(numbers(7, 5, seed=450))
    vectors, logits = a_tensor(module(ids)), _unembed(module, x)
    return {
        "vectors after the table changed": vectors,
        "logits after the table changed": logits,
        "_vectors follow": yes(not torch.equal(vectors, vectors_before)),
        "_logits follow": yes(not torch.equal(logits, logits_before)),
    }


_NUMBERS = (_tied_sizes_that_are_equal, _tied_one_token, _tied_wide_rows, _tied_a_row_is_moved)


def _tied_parameters(candidate: Any) -> Seen:
    module, _ = _build(candidate, 7, 5)
    return {"number of parameters": torch.tensor(float(sum(p.numel() for p in module.parameters())))}


def _tied_gradients(candidate: Any) -> Seen:
    """The gradient of a mix of both ends to the table, of each end alone, and of the logits to x."""
    module, tables = _build(candidate, 7, 5)
    x = numbers(2, 3, 5, seed=460).requires_grad_()
    vectors, logits = a_tensor(module(_ids(7, 2, 4, seed=461))), _unembed(module, x)
    table: dict[str, Tensor] = {"table": tables[0]}
    seen = gradients(logits, {"x": x})
    for end, output in (("vectors", vectors), ("logits", logits)):
        seen[f"gradient to the table from the {end}"] = gradients(output, table)["gradient to table"]
    return seen


def _tied_first_numbers(candidate: Any) -> Seen:
    """How large a fresh table's numbers are, times √D, in steps of about 40 per cent (half powers of 2)."""
    module = a_module(candidate, (), vocab_size=400, d_model=64)
    table = _tables(module, (400, 64))[0].detach() * 8.0
    spread = table.std().clamp(min=1e-3)
    return {
        "size of the first numbers": (2 * spread.log2()).round(),
        "mean of the first numbers": (4 * table.mean() / spread).round(),
        "rows that begin alike": torch.tensor(float(len(table) - len(table.unique(dim=0)))),
    }


def _tied_two_modules(candidate: Any) -> Seen:
    one, other = (
        _tables(a_module(candidate, (), vocab_size=7, d_model=5), (7, 5))[0].detach().clone()
        for _ in range(2)
    )
    return {"the same first numbers twice": yes(torch.equal(one, other))}


class _Tied(nn.Module):
    """The tied table; the mistakes exchange a part."""

    def __init__(self, vocab_size: int, d_model: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(vocab_size, d_model) / math.sqrt(d_model))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.weight[tokens] * math.sqrt(self.weight.size(1))

    def unembed(self, x: Tensor) -> Tensor:
        return x @ self.weight.T


def _with(
    *,
    first: Callable[[int, int], Tensor] | None = None,
    more: Callable[[Any, int, int], None] | None = None,
    forward: Callable[[Any, Tensor], Tensor] | None = None,
    unembed: Callable[[Any, Tensor], Tensor] | None = None,
) -> type[_Tied]:
    """Return the class with parts exchanged: its first numbers, what else it has, its two ends."""

    def init(self: Any, vocab_size: int, d_model: int) -> None:
        _Tied.__init__(self, vocab_size, d_model)
        if first is not None:
            self.weight = nn.Parameter(first(vocab_size, d_model))
        if more is not None:
            more(self, vocab_size, d_model)

    exchanged: dict[str, Any] = {"__init__": init}
    if forward is not None:
        exchanged["forward"] = forward
    if unembed is not None:
        exchanged["unembed"] = unembed
    return type("TiedEmbedding", (_Tied,), exchanged)


def _add_head(module: Any, vocab_size: int, d_model: int) -> None:
    module.head = nn.Parameter(module.weight.detach().clone())


def _add_shared_memory(module: Any, vocab_size: int, d_model: int) -> None:
    module.head = nn.Parameter(torch.zeros(vocab_size, d_model))
    module.head.data = module.weight.data


def _add_bias(module: Any, vocab_size: int, d_model: int) -> None:
    module.bias = nn.Parameter(torch.zeros(vocab_size))


def _add_kept_copy(module: Any, vocab_size: int, d_model: int) -> None:
    """A copy that is no parameter, taken when the module is first used."""
    module.kept = None


def _with_kept_copy(module: Any, x: Tensor) -> Tensor:
    if module.kept is None:
        module.kept = module.weight.detach().clone()
    return x @ module.kept.T


def _square_or_nothing(module: Any, x: Tensor) -> Tensor:
    return x @ module.weight


def _root(module: Any) -> float:
    return math.sqrt(module.weight.size(1))


_SCALE_LINE = "return self.weight[tokens] * math.sqrt(self.weight.size(1))"
_HEAD_LINE = "return x @ self.weight.T"
_FIRST_LINE = "nn.Parameter(torch.randn(vocab_size, d_model) / math.sqrt(d_model))"
_TOO_LARGE = (
    "The table's first numbers are too large: their standard deviation should be 1/√D.",
    "nn.Embedding begins with a standard deviation of 1. Then the logits of an untrained model are √D times as "
    "large as they should be, and its first loss is high.",
    _FIRST_LINE,
)
_TOO_SMALL = (
    "The table's first numbers are too small: their standard deviation should be 1/√D.",
    "torch.randn has a standard deviation of 1: divide by √D, once. Numbers drawn evenly up to 1/√D, as nn.Linear "
    "begins, have 1/√(3D).",
    _FIRST_LINE,
)
_UNSCALED = (
    "The vectors are the rows as they are; the factor √D is missing.",
    "The table's numbers are small, about 1/√D, for the sake of the logits. What makes vectors of size 1 of them?",
    _SCALE_LINE,
)

_OWN_TABLE = (
    "Your two ends have a table each; both should use one.",
    "A copy begins equal, learns from one end only, and goes its own way. Use the same parameter at both ends.",
    _HEAD_LINE,
)

_MISTAKES = (
    Mistake(
        "a table of its own", _with(more=_add_head, unembed=lambda self, x: x @ self.head.T), *_OWN_TABLE
    ),
    Mistake(
        "a table of its own for the vectors",
        _with(more=_add_head, forward=lambda self, tokens: self.head[tokens] * _root(self)),
        *_OWN_TABLE,
    ),
    Mistake(
        "two parameters, one memory",
        _with(more=_add_shared_memory, unembed=lambda self, x: x @ self.head.T),
        "Two parameters share one memory: the optimizer sees, and moves, it twice.",
        "`.data =` makes them look equal. Assign the parameter itself: head.weight = embedding.weight.",
        _HEAD_LINE,
    ),
    Mistake(
        "a copy that was kept",
        _with(more=_add_kept_copy, unembed=_with_kept_copy),
        "Your head uses a copy of the table that no longer follows it, nor learns.",
        "`.clone()`, `.detach()` and `.data` make copies. Use the parameter itself, each time.",
        _HEAD_LINE,
    ),
    Mistake("not scaled", _with(forward=lambda self, tokens: self.weight[tokens]), *_UNSCALED),
    Mistake(
        "neither end scaled rightly",
        _with(
            forward=lambda self, tokens: self.weight[tokens],
            unembed=lambda self, x: x @ self.weight.T * _root(self),
        ),
        "The factor √D stands at the wrong end: it belongs to the vectors, not the logits.",
        "√D · row on the way in, x · row on the way out.",
        _SCALE_LINE,
    ),
    Mistake(
        "divided by √D",
        _with(forward=lambda self, tokens: self.weight[tokens] / _root(self)),
        "The vectors are divided by √D; they should be multiplied.",
        "The division by √d belongs to attention scores.",
        _SCALE_LINE,
    ),
    Mistake(
        "times D",
        _with(forward=lambda self, tokens: self.weight[tokens] * self.weight.size(1)),
        "The vectors are multiplied by D; the root is missing.",
        "√D, so that numbers of about 1/√D become about 1.",
        _SCALE_LINE,
    ),
    Mistake(
        "times √V",
        _with(forward=lambda self, tokens: self.weight[tokens] * math.sqrt(self.weight.size(0))),
        "The vectors are multiplied by √V; it should be √D, the width of a row.",
        "weight.size(0) counts tokens, weight.size(1) the numbers of a row.",
        _SCALE_LINE,
    ),
    Mistake(
        "times √T",
        _with(forward=lambda self, tokens: self.weight[tokens] * math.sqrt(tokens.size(1))),
        "The vectors are multiplied by the root of the number of tokens.",
        "√D: the width of a row, not the length of the sentence.",
        _SCALE_LINE,
    ),
    Mistake(
        "length √D",
        _with(forward=lambda self, tokens: F.normalize(self.weight[tokens], dim=-1) * _root(self)),
        "Your vectors are brought to one length; they should keep their own.",
        "Multiply by √D; nothing is divided out.",
        _SCALE_LINE,
    ),
    Mistake(
        "the head is scaled too",
        _with(unembed=lambda self, x: x @ self.weight.T * _root(self)),
        "The logits are multiplied by √D too; only the vectors are.",
        "√D · row on the way in, x · row on the way out.",
        _HEAD_LINE,
    ),
    Mistake(
        "the head is divided by √D",
        _with(unembed=lambda self, x: x @ self.weight.T / _root(self)),
        "The logits are divided by √D; plain dot products are asked for.",
        "Some models do this. Here the table's first numbers are small enough already.",
        _HEAD_LINE,
    ),
    Mistake(
        "divided at both ends",
        _with(
            forward=lambda self, tokens: self.weight[tokens],
            unembed=lambda self, x: x @ self.weight.T / _root(self),
        ),
        "The vectors are not scaled, and the logits are divided by √D.",
        "√D · row on the way in, x · row on the way out.",
        _SCALE_LINE,
    ),
    Mistake(
        "a bias",
        _with(more=_add_bias, unembed=lambda self, x: x @ self.weight.T + self.bias),
        "Your head has a bias; the table is the only parameter.",
        "nn.Linear has one by default: bias=False. Or multiply by the table yourself.",
        _HEAD_LINE,
    ),
    Mistake(
        "softmax in the head",
        _with(unembed=lambda self, x: (x @ self.weight.T).softmax(-1)),
        "You return probabilities; logits are asked for, without a softmax.",
        "The loss takes logits, and applies the softmax itself.",
        _HEAD_LINE,
    ),
    Mistake(
        "log-softmax in the head",
        _with(unembed=lambda self, x: (x @ self.weight.T).log_softmax(-1)),
        "You return log probabilities; logits are asked for, without a softmax.",
        "The loss takes logits, and applies the softmax itself.",
        _HEAD_LINE,
    ),
    Mistake(
        "softmax over the tokens",
        _with(unembed=lambda self, x: (x @ self.weight.T).softmax(1)),
        "You apply a softmax over the tokens; logits are asked for, without a softmax.",
        "The loss takes logits, and applies the softmax itself.",
        _HEAD_LINE,
    ),
    Mistake(
        "the best token",
        _with(unembed=lambda self, x: (x @ self.weight.T).argmax(-1)),
        "You return ids of tokens; the logits of all tokens are asked for.",
        "Choosing comes later, and has no gradient.",
        _HEAD_LINE,
    ),
    Mistake(
        "cosines in the head",
        _with(unembed=lambda self, x: F.normalize(x, dim=-1) @ F.normalize(self.weight, dim=-1).T),
        "Your logits are cosines; plain dot products are asked for.",
        "No length is divided out.",
        _HEAD_LINE,
    ),
    Mistake(
        "rows of length one in the head",
        _with(unembed=lambda self, x: x @ F.normalize(self.weight, dim=-1).T),
        "In your head the rows are brought to length 1; they should stay as they are.",
        "Plain dot products with the table's rows.",
        _HEAD_LINE,
    ),
    Mistake(
        "not transposed",
        _with(unembed=_square_or_nothing),
        "The table is not turned for the head: it works only where V = D.",
        "(B, T, D) meets (V, D): which axis of the table must be added over?",
        _HEAD_LINE,
    ),
    Mistake(
        "no gradient from the head",
        _with(unembed=lambda self, x: x @ self.weight.detach().T),
        "The table does not learn from the logits: the head cuts its gradient.",
        "`.detach()`, `.data` and torch.no_grad() cut the gradient. Use the parameter itself.",
        _HEAD_LINE,
    ),
    Mistake(
        "no gradient from the vectors",
        _with(forward=lambda self, tokens: self.weight.detach()[tokens] * _root(self)),
        "The table does not learn from the vectors: the look-up cuts its gradient.",
        "`.detach()`, `.data` and torch.no_grad() cut the gradient. Use the parameter itself.",
        _SCALE_LINE,
    ),
    Mistake(
        "no gradient to x",
        _with(unembed=lambda self, x: x.detach() @ self.weight.T),
        "No gradient flows back from the logits to x.",
        "Everything below the head would learn nothing.",
        _HEAD_LINE,
    ),
    Mistake(
        "a frozen table",
        _with(more=lambda self, vocab_size, d_model: self.weight.requires_grad_(False)),
        "The table is frozen: no gradient flows back to it from either end.",
        "`requires_grad=False` and nn.Embedding.from_pretrained freeze it.",
        _FIRST_LINE,
    ),
    Mistake(
        "id 0 is padding",
        _with(forward=lambda self, tokens: self.weight[tokens] * (tokens != 0).unsqueeze(-1) * _root(self)),
        "Id 0 gets zeros, as if it were padding; here it is a token like any other.",
        "Is there a `padding_idx=0`?",
        _SCALE_LINE,
    ),
    Mistake(
        "id 0 is padding for the gradient",
        _with(forward=lambda self, tokens: F.embedding(tokens, self.weight, padding_idx=0) * _root(self)),
        "Row 0 does not learn from the vectors, as if it were padding.",
        "padding_idx keeps one row from learning. Here id 0 is a token like any other.",
        _SCALE_LINE,
    ),
    Mistake("numbers of size 1", _with(first=torch.randn), *_TOO_LARGE),
    Mistake("numbers of size 0.02", _with(first=lambda n, d: torch.randn(n, d) * 0.02), *_TOO_SMALL),
    Mistake("numbers of size 1/D", _with(first=lambda n, d: torch.randn(n, d) / d), *_TOO_SMALL),
    Mistake("numbers of size √D", _with(first=lambda n, d: torch.randn(n, d) * math.sqrt(d)), *_TOO_LARGE),
    Mistake("numbers of size 1/√V", _with(first=lambda n, d: torch.randn(n, d) / math.sqrt(n)), *_TOO_SMALL),
    Mistake(
        "uniform numbers",
        _with(first=lambda n, d: (2 * torch.rand(n, d) - 1) / math.sqrt(d)),
        *_TOO_SMALL,
    ),
    Mistake(
        "numbers that are all positive",
        _with(first=lambda n, d: torch.rand(n, d)),
        "The table's first numbers are all positive; their mean should be 0.",
        "torch.rand draws between 0 and 1, torch.randn around 0.",
        _FIRST_LINE,
    ),
    Mistake(
        "zeros",
        _with(first=lambda n, d: torch.zeros(n, d)),
        "The table begins with equal numbers: then all tokens stay alike for a while.",
        "torch.randn draws numbers around 0.",
        _FIRST_LINE,
    ),
    Mistake(
        "numbers of size 1, not scaled",
        _with(first=torch.randn, forward=lambda self, tokens: self.weight[tokens]),
        *_UNSCALED,
    ),
)


def _same_direction(one: Tensor, other: Tensor) -> bool:
    return bool((F.cosine_similarity(one, other, dim=-1) > 0.9999).all())


_PROPERTIES = (
    left_to_chance("tied vectors"),
    changes_its_input("tied vectors"),
    not_finite(lambda seen: seen["tied vectors"]["vectors"], "vectors"),
    Property(
        "several tables",
        lambda seen: seen["tied parameters"]["number of parameters"].item() == 35,
        "Your module has more parameters than the table.",
        "One table, (V, D), for both ends: no copy, no bias, no further layer.",
    ),
    Property(
        "does not follow the table",
        lambda seen: (
            seen["tied a row is moved"]["_vectors follow"].item() == 1
            and seen["tied a row is moved"]["_logits follow"].item() == 1
        ),
        "When the table changes, one of your two ends does not follow.",
        "Is a copy made somewhere, in `__init__` or at the first call? Use the parameter itself, each time.",
    ),
    Property(
        "another factor",
        lambda seen: (
            agrees(seen, _tied_vectors, TIED_TABLE.reference)
            or not _same_direction(
                seen["tied vectors"]["vectors"], _tied_vectors(TIED_TABLE.reference)["vectors"].double()
            )
        ),
        "Your vectors are the right rows, but not times √D.",
        "math.sqrt(d_model), with d_model the width of a row.",
    ),
    Property(
        "other vectors",
        lambda seen: agrees(seen, _tied_vectors, TIED_TABLE.reference),
        "Your vectors are not the tokens' rows times √D.",
        "forward: self.weight[tokens] * math.sqrt(d_model), and nothing else.",
    ),
    Property(
        "left to chance in the head",
        lambda seen: seen["tied logits"]["second call differs"].item() == 0,
        "Two calls of unembed with the same x give different logits.",
        "Is there dropout, a fresh random tensor or layer, or something kept from the call before?",
    ),
    Property(
        "the head changes its input",
        lambda seen: seen["tied logits"]["input changed"].item() == 0,
        "unembed changes the x that it was given.",
        "`/=`, `+=` and methods that end in `_` overwrite the caller's tensor. Make a new one.",
    ),
    Property(
        "other logits",
        lambda seen: agrees(seen, _tied_logits, TIED_TABLE.reference),
        "Your logits are not the dot products of x with the table's rows.",
        "unembed: x @ self.weight.T, and nothing else.",
    ),
    Property(
        "no gradient",
        lambda seen: all(gradient.abs().max() > 0 for gradient in seen["tied gradients"].values()),
        "Through one of the two ends no gradient flows back.",
        "`.detach()`, `.data`, torch.no_grad() and `requires_grad=False` cut it. Table and x learn from both ends.",
    ),
    Property(
        "another gradient",
        lambda seen: (
            agrees(seen, _tied_gradients, TIED_TABLE.reference)
            or not all(agrees(seen, experiment, TIED_TABLE.reference) for experiment in _NUMBERS)
        ),
        "The numbers are right, but a gradient is not.",
        "Is a part of the table or of x cut off, or one row kept from learning?",
    ),
    Property(
        "another mean",
        lambda seen: seen["tied first numbers"]["mean of the first numbers"].item() == 0,
        "The mean of your table's first numbers is not 0.",
        "torch.randn draws numbers around 0.",
    ),
    Property(
        "too large",
        lambda seen: seen["tied first numbers"]["size of the first numbers"].item() <= 0,
        *_TOO_LARGE[:2],
    ),
    Property(
        "too small",
        lambda seen: seen["tied first numbers"]["size of the first numbers"].item() >= 0,
        *_TOO_SMALL[:2],
    ),
    Property(
        "rows that begin alike",
        lambda seen: seen["tied first numbers"]["rows that begin alike"].item() == 0,
        "Some rows of your table begin with the same numbers; each should have its own.",
        "The random numbers have the shape (V, D): one draw for each entry, not one row for all.",
    ),
    Property(
        "the same first numbers",
        lambda seen: seen["tied two modules"]["the same first numbers twice"].item() == 0,
        "Every module of yours begins with the same numbers; they should be drawn anew.",
        "Is there a torch.manual_seed, or a generator with a fixed seed, in `__init__`? The caller seeds.",
    ),
)


TIED_TABLE: Exercise = Exercise(
    id="02.tied_table",
    title="One table at both ends",
    stub=STUB,
    reference=_Tied,
    experiments=(
        _tied_vectors,
        _tied_logits,
        *_NUMBERS,
        _tied_parameters,
        _tied_gradients,
        _tied_first_numbers,
        _tied_two_modules,
    ),
    mistakes=_MISTAKES,
    properties=_PROPERTIES,
    difficulty=2,
    importance=4,
    minutes=15,
)
