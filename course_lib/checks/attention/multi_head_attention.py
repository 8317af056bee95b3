"""Exercise 04.multi_head_attention: the module.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import attention
from course_lib.checks.attention.shared import (
    SOFTMAX_LINE,
    attend,
    cut,
    made_by_softmax,
    ones,
    weights_mistakes,
)
from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.probe import a_module, a_tensor, gradients, numbers, watched, yes
from course_lib.checks.shared import agrees, changes_its_input, left_to_chance, no_gradient

MULTI_HEAD_STUB = '''
class MultiHeadAttention(nn.Module):
    """Self-attention in n_heads pieces at once, mixed by W_O at the end.

    Four layers nn.Linear(d_model, d_model), called w_q, w_k, w_v, w_o. Head h reads the h-th piece,
    Dh wide, of the queries, keys and values; scores are divided by √Dh. No mask, no dropout.
    """

    def __init__(self, d_model, n_heads):
        super().__init__()

    def forward(self, x):
        """Map x, (B, T, D), to (B, T, D)."""
'''


_LAYERS = ("w_q", "w_k", "w_v", "w_o")


def _build(candidate: Any, d_model: int, n_heads: int) -> nn.Module:
    return a_module(candidate, _LAYERS, d_model=d_model, n_heads=n_heads).eval()


def _run(module: nn.Module, x: Tensor) -> Tensor:
    return a_tensor(module(x), called="the output alone")


def _fill(layer: nn.Linear, weight: Tensor | float) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(weight).expand_as(layer.weight))
        layer.bias.zero_()


def _multi_head_three_heads(candidate: Any) -> Seen:
    module, x = _build(candidate, 15, 3), numbers(2, 4, 15, seed=90)
    given = x.clone()
    output = _run(module, given)
    again = _run(module, x.clone())
    chance = not torch.allclose(output, again, atol=1e-6, equal_nan=True)
    training = not torch.allclose(again, _run(module.train(), x.clone()), atol=1e-6, equal_nan=True)
    return {
        "output": output,
        "input changed": yes(not torch.equal(given, x)),
        "second call differs": yes(chance),
        "training differs": yes(training and not chance),
    }


def _multi_head_one_head(candidate: Any) -> Seen:
    return {"output": _run(_build(candidate, 10, 1), numbers(2, 4, 10, seed=91))}


def _multi_head_square(candidate: Any) -> Seen:
    return {"output": _run(_build(candidate, 16, 4), numbers(4, 4, 16, seed=92))}


def _multi_head_one_token(candidate: Any) -> Seen:
    return {"output": _run(_build(candidate, 15, 3), numbers(3, 1, 15, seed=93))}


def _multi_head_call_after_call(candidate: Any) -> Seen:
    """The same module on one input after the other: what it kept of the first would show."""
    module = _build(candidate, 15, 3)
    first, second, third = numbers(2, 3, 15, seed=97), numbers(2, 3, 15, seed=98), numbers(2, 6, 15, seed=99)
    return {
        "output of the first call": _run(module, first),
        "output of the second call": _run(module, second),
        "output of the third call": _run(module, third),
    }


def _multi_head_equal_weights(candidate: Any) -> Seen:
    """With W_Q = W_K = 0 every weight is equal: what is left is values, merge and W_O."""
    module = _build(candidate, 15, 3)
    _fill(module.w_q, 0.0)  # type: ignore[arg-type]
    _fill(module.w_k, 0.0)  # type: ignore[arg-type]
    return {"output": _run(module, numbers(2, 4, 15, seed=94))}


def _multi_head_no_values(candidate: Any) -> Seen:
    """With W_V = 0 nothing is carried: every output is the bias of W_O."""
    module = _build(candidate, 15, 3)
    _fill(module.w_v, 0.0)  # type: ignore[arg-type]
    return {"output": _run(module, numbers(2, 4, 15, seed=95))}


def _tables_shown(candidate: Any, *, scores: bool) -> Tensor:
    """Make a module show its weights, (H, T, T) = (3, 5, 5), as its output.

    Token t gets the value one-hot(t) in every head, and W_O passes everything on: then each head's output is its
    table of weights.
    """
    module, x = _build(candidate, 15, 3), numbers(1, 5, 15, seed=89, std=0.5)
    one_hot = torch.eye(5).repeat(1, 3)  # (T, D): the same in each head
    _fill(module.w_v, (torch.linalg.pinv(x[0]) @ one_hot).T)  # type: ignore[arg-type]
    _fill(module.w_o, torch.eye(15))  # type: ignore[arg-type]
    if not scores:
        _fill(module.w_q, 0.0)  # type: ignore[arg-type]
        _fill(module.w_k, 0.0)  # type: ignore[arg-type]
    return attention.split_heads(_run(module, x), 3)[0]


def _multi_head_weights(candidate: Any) -> Seen:
    return {"weights": _tables_shown(candidate, scores=True)}


def _multi_head_weights_without_scores(candidate: Any) -> Seen:
    return {"weights": _tables_shown(candidate, scores=False)}


def _multi_head_raw_scores() -> Tensor:
    module, x = _build(Heads, 15, 3), numbers(1, 5, 15, seed=89, std=0.5)
    q, k = (attention.split_heads(layer(x), 3)[0] for layer in (module.w_q, module.w_k))  # type: ignore[operator]
    return (q @ k.mT).detach()  # (3, 5, 5)


def _multi_head_gradients(candidate: Any) -> Seen:
    module = _build(candidate, 15, 3)
    (leaf,), (x,) = watched(numbers(2, 4, 15, seed=96))
    weights = {name: getattr(module, name).weight for name in _LAYERS}
    return gradients(_run(module, x), {"x": leaf, **weights})


def _published_split(x: Tensor, n_heads: int) -> Tensor:
    return x.reshape(x.size(0), n_heads, x.size(1), -1)


def _interleaved_split(x: Tensor, n_heads: int) -> Tensor:
    return x.view(x.size(0), x.size(1), -1, n_heads).permute(0, 3, 1, 2)


def published_merge(x: Tensor) -> Tensor:
    return x.reshape(x.size(0), x.size(2), -1)


class Heads(nn.Module):
    """Multi-head attention in its definition form; the mistakes below exchange one part of it."""

    split = staticmethod(attention.split_heads)
    merge = staticmethod(attention.merge_heads)
    sources: tuple[str, ...] = ("w_q", "w_k", "w_v")
    parts: dict[str, Any] = {}  # noqa: RUF012 - arguments of attend

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.d_model, self.n_heads = d_model, n_heads
        self.w_q = nn.Linear(d_model, d_model)
        self.w_k = nn.Linear(d_model, d_model)
        self.w_v = nn.Linear(d_model, d_model)
        self.w_o = nn.Linear(d_model, d_model)

    def projected(self, x: Tensor) -> list[Tensor]:
        return [type(self).split(getattr(self, name)(x), self.n_heads) for name in self.sources]

    def attended(self, x: Tensor) -> Tensor:
        return attend(*self.projected(x), **self.parts)[0]  # (B, H, T, Dh)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_o(type(self).merge(self.attended(x)))


def _heads(**exchanged: Any) -> type[Heads]:
    """Return the class with the named attributes and methods exchanged."""
    return type("_HeadsWith", (Heads,), exchanged)


def _heads_with(**parts: Any) -> type[Heads]:
    """Return the class whose attention has the named parts of `attend` exchanged."""
    return _heads(parts=parts)


def _one_wide_head(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)
    return self.w_o((q @ k.mT * self.d_model**-0.5).softmax(-1) @ v)


def _projections_shared(self: Any, x: Tensor) -> list[Tensor]:
    return [attention.split_heads(x, self.n_heads)] * 3


def _w_o_first(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.w_q(x), self.w_k(x), self.w_o(self.w_v(x))
    q, k, v = (attention.split_heads(part, self.n_heads) for part in (q, k, v))
    return attention.merge_heads((q @ k.mT * q.size(-1) ** -0.5).softmax(-1) @ v)


def _over_the_batch(self: Any, x: Tensor) -> Tensor:
    return Heads.forward(self, x.transpose(0, 1)).transpose(0, 1)


def _heads_attend_to_heads(self: Any, x: Tensor) -> Tensor:
    q, k, v = (cut(getattr(self, name)(x), self.n_heads) for name in ("w_q", "w_k", "w_v"))  # (B, T, H, Dh)
    return self.w_o(((q @ k.mT * q.size(-1) ** -0.5).softmax(-1) @ v).flatten(2))


def _averaged_weights(self: Any, x: Tensor) -> Tensor:
    q, k, v = self.projected(x)
    return (q @ k.mT * q.size(-1) ** -0.5).softmax(-1).mean(1, keepdim=True) @ v


def _with_residual(self: Any, x: Tensor) -> Tensor:
    return x + Heads.forward(self, x)


def _exchanged_numbers(self: Any, x: Tensor) -> Tensor:
    d_head = self.d_model // self.n_heads
    q, k, v = (attention.split_heads(getattr(self, name)(x), d_head) for name in self.sources)
    return self.w_o(attention.merge_heads(attend(q, k, v, **self.parts)[0]))


def _activated(function: Any, *names: str) -> Any:
    def projected(self: Any, x: Tensor) -> list[Tensor]:
        layers = {name: getattr(self, name)(x) for name in self.sources}
        return [
            attention.split_heads(function(part) if name in names else part, self.n_heads)
            for name, part in layers.items()
        ]

    return projected


def _weights_not_transposed(self: Any, x: Tensor) -> Tensor:
    q, k, v = (
        attention.split_heads(x @ getattr(self, name).weight + getattr(self, name).bias, self.n_heads)
        for name in self.sources
    )
    return self.w_o(attention.merge_heads(attend(q, k, v)[0]))


def _first_head_for_all(*which: int) -> Any:
    def projected(self: Any, x: Tensor) -> list[Tensor]:
        parts = Heads.projected(self, x)
        return [part[:, :1].expand_as(part) if number in which else part for number, part in enumerate(parts)]

    return projected


def _chained(self: Any, x: Tensor) -> list[Tensor]:
    q = self.w_q(x)
    k = self.w_k(q)
    return [attention.split_heads(part, self.n_heads) for part in (q, k, self.w_v(k))]


def _values_split_wrongly(self: Any, x: Tensor) -> list[Tensor]:
    q, k, _ = Heads.projected(self, x)
    return [q, k, _published_split(self.w_v(x), self.n_heads)]


def _tied(first: str, second: str) -> Any:
    def init(self: Any, d_model: int, n_heads: int) -> None:
        Heads.__init__(self, d_model, n_heads)
        setattr(self, second, getattr(self, first))

    return init


def _both(**parts: Any) -> type[Heads]:
    return _heads(split=staticmethod(parts["split"]), merge=staticmethod(parts["merge"]))


_MULTI_HEAD_SCALE = "scores = q @ k.transpose(-2, -1) / d_head ** 0.5, with d_head = d_model // n_heads"


_SPLIT_IN_TWO = "self.w_q(x).view(B, T, H, d_head).transpose(1, 2)"


_MULTI_HEAD_MISTAKES = (
    Mistake(
        "Dh heads, n_heads wide",
        _heads(forward=_exchanged_numbers),
        "You have Dh heads, each n_heads wide; it should be the other way round.",
        "`x.view(B, T, n_heads, d_head)`: the number of heads first. (`split` takes a width, `chunk` a number.)",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "Dh heads, n_heads wide, divided by √Dh",
        _heads(forward=_exchanged_numbers, parts={"scale": lambda q, k, v: q.size(1) ** -0.5}),
        "You have Dh heads, each n_heads wide; it should be the other way round.",
        "`x.view(B, T, n_heads, d_head)`: the number of heads first. (`split` takes a width, `chunk` a number.)",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "an activation on queries, keys and values",
        _heads(projected=_activated(torch.relu, "w_q", "w_k", "w_v")),
        "A ReLU is applied to queries, keys and values; the maps are linear.",
        "Attention has no activation function besides its softmax.",
        "q = self.w_q(x)",
    ),
    Mistake(
        "an activation on the values",
        _heads(projected=_activated(torch.relu, "w_v")),
        "A ReLU is applied to the values; the map is linear.",
        "Attention has no activation function besides its softmax.",
        "v = self.w_v(x)",
    ),
    Mistake(
        "an activation before W_O",
        _heads(forward=lambda self, x: self.w_o(torch.relu(attention.merge_heads(self.attended(x))))),
        "A ReLU is applied before W_O; nothing should stand between merge and W_O.",
        "Attention has no activation function besides its softmax.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "an activation after W_O",
        _heads(forward=lambda self, x: torch.relu(Heads.forward(self, x))),
        "A ReLU is applied after W_O; the output of W_O is the result.",
        "Attention has no activation function besides its softmax.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "the matrices are not transposed",
        _heads(forward=_weights_not_transposed),
        "x @ weight is not what a layer does: nn.Linear stores its matrix transposed.",
        "Call the layer, self.w_q(x), or write x @ self.w_q.weight.T + self.w_q.bias.",
        "q = self.w_q(x)",
    ),
    Mistake(
        "queries not projected",
        _heads(
            projected=lambda self, x: [attention.split_heads(x, self.n_heads), *Heads.projected(self, x)[1:]]
        ),
        "The queries are x itself; W_Q is never used.",
        "Queries, keys and values are computed: W_Q x, W_K x, W_V x.",
        "q = self.w_q(x)",
    ),
    Mistake(
        "keys not projected",
        _heads(
            projected=lambda self, x: [
                (p := Heads.projected(self, x))[0],
                attention.split_heads(x, self.n_heads),
                p[2],
            ]
        ),
        "The keys are x itself; W_K is never used.",
        "Queries, keys and values are computed: W_Q x, W_K x, W_V x.",
        "k = self.w_k(x)",
    ),
    Mistake(
        "one head's keys and values for all",
        _heads(projected=_first_head_for_all(1, 2)),
        "All heads use the keys and values of head 0.",
        "Is there an index 0, or h that does not change, where each head should read its own piece?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "one head's values for all",
        _heads(projected=_first_head_for_all(2)),
        "All heads use the values of head 0.",
        "Is there an index 0, or h that does not change, where each head should read its own piece?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "head 0 for all",
        _heads(projected=_first_head_for_all(0, 1, 2)),
        "All heads are head 0.",
        "Is there an index 0, or h that does not change, where each head should read its own piece?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "the last head for all",
        _heads(attended=lambda self, x: (o := Heads.attended(self, x))[:, -1:].expand_as(o)),
        "All heads are the last one.",
        "Does a loop overwrite its result in every round?",
        "heads.append(…), then torch.cat(heads, dim=-1)",
    ),
    Mistake(
        "heads in reverse",
        _heads(attended=lambda self, x: Heads.attended(self, x).flip(1)),
        "The heads are merged in reverse order.",
        "Head 0 fills the first Dh numbers.",
        "heads.transpose(1, 2).flatten(2)",
    ),
    Mistake(
        "the values are split wrongly",
        _heads(projected=_values_split_wrongly),
        "Your split of the values mixes tokens: `view` without a transpose cuts across them.",
        "All three are split in the same way.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "split mixes tokens, and the scale is √d_model",
        type(
            "_Two",
            (_both(split=_published_split, merge=attention.merge_heads),),
            {"parts": {"scale": lambda q, k, v: (q.size(1) * q.size(-1)) ** -0.5}},
        ),
        "Two things: your split mixes tokens, and the scores are divided by √d_model.",
        "Cut the last axis before T and H change places; and each head's scores are sums of Dh products only.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "W_O is added to its input",
        _heads(forward=lambda self, x: (m := attention.merge_heads(self.attended(x))) + self.w_o(m)),
        "The merged heads are added to W_O's output; W_O's output alone is the result.",
        "Residual connections come in lesson 06.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "the layers are chained",
        _heads(projected=_chained),
        "Each layer takes the output of the one before; all three should take x.",
        "Is x overwritten on the way, as in x = self.w_q(x)?",
        "q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)",
    ),
    Mistake(
        "all sentences are one",
        _heads(forward=lambda self, x: Heads.forward(self, x.flatten(0, 1)[None]).view_as(x)),
        "Tokens see the tokens of other sentences: the batch is one long sentence.",
        "Are batch and tokens flattened into one axis before the scores?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "only the first sentence",
        _heads(forward=lambda self, x: Heads.forward(self, x[:1]).expand_as(x)),
        "Every sentence gets the result of the first one.",
        "Is there an index [0] that should run over the batch?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "four names, one layer",
        _heads(
            __init__=lambda self, d, n: (
                _tied("w_q", "w_k")(self, d, n),
                setattr(self, "w_v", self.w_q),
                setattr(self, "w_o", self.w_q),
            )[0]
        ),
        "w_q, w_k, w_v and w_o are one layer under four names.",
        "`a = b = nn.Linear(…)` makes one layer. Write nn.Linear(…) once for each.",
        "self.w_k = nn.Linear(d_model, d_model)",
    ),
    *(
        mistake
        for mistake in weights_mistakes(_heads_with)
        if mistake.name not in ("overflow", "one maximum for all rows")  # not asked for here
    ),
    Mistake(
        "tokens mixed by the split",
        _both(split=_published_split, merge=attention.merge_heads),
        "Your split mixes tokens: `view` without a transpose cuts across them.",
        "Try split_heads alone, in its own exercise. Which axis must be cut before T and H change places?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "tokens mixed by the merge",
        _both(split=attention.split_heads, merge=published_merge),
        "Your merge mixes tokens: a `reshape` without the transpose cuts across them.",
        "Try merge_heads alone, in its own exercise. T and H must change places before the last axes become one.",
        "heads.transpose(1, 2).flatten(2)",
    ),
    Mistake(
        "tokens mixed by split and merge",
        _both(split=_published_split, merge=published_merge),
        "Split and merge both lack their transpose: each head sees pieces of mixed tokens.",
        "The two cancel out in shape, not in meaning. Try split_heads alone, in its own exercise.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "heads interleaved",
        _both(split=_interleaved_split, merge=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
        "Head h takes every H-th number; it should take Dh neighbours.",
        "Cut D into (H, Dh), in this order. A model trained from scratch would not mind; loaded weights do.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "interleaved by the split",
        _both(split=_interleaved_split, merge=attention.merge_heads),
        "Your split gives head h every H-th number; it should take Dh neighbours.",
        "Cut D into (H, Dh), in this order.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "interleaved by the merge",
        _both(split=attention.split_heads, merge=lambda x: x.permute(0, 2, 3, 1).flatten(2)),
        "Your merge interleaves the heads; they should lie side by side.",
        "Before the flatten the axes must be (B, T, H, Dh), in this order.",
        "heads.transpose(1, 2).flatten(2)",
    ),
    Mistake(
        "divided by √d_model",
        _heads_with(scale=lambda q, k, v: (q.size(1) * q.size(-1)) ** -0.5),
        "Your scores are divided by √d_model; each head's are sums of Dh products only.",
        "Which width does a query have after the split?",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "divided by √H",
        _heads_with(scale=lambda q, k, v: q.size(1) ** -0.5),
        "Your scores are divided by the root of the number of heads.",
        "The root is of the width of one head, Dh.",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "divided by √T",
        _heads_with(scale=lambda q, k, v: q.size(-2) ** -0.5),
        "Your scores are divided by the root of the number of tokens.",
        "The root is of the width of one head, Dh = q.size(-1) after the split.",
        _MULTI_HEAD_SCALE,
    ),
    Mistake(
        "softmax over the heads",
        _heads_with(weigh=lambda s, d: s.softmax(1)),
        "Your softmax runs over the heads: they compete with each other.",
        "With four axes, dim=1 is the heads'. Which axis of (B, H, Tq, Tk) holds the keys?",
        SOFTMAX_LINE,
    ),
    Mistake(
        "W_O is missing",
        _heads(forward=lambda self, x: attention.merge_heads(self.attended(x))),
        "The merged heads are returned as they are; W_O does not mix them.",
        "Without W_O no head can use what another found. Which layer is not called?",
        "return self.w_o(merged)",
    ),
    Mistake(
        "W_O before the heads",
        _heads(forward=_w_o_first),
        "W_O stands before attention; it should mix the heads after they are merged.",
        "What each head found must reach W_O together.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "W_O twice",
        _heads(forward=lambda self, x: self.w_o(Heads.forward(self, x))),
        "W_O is applied twice.",
        "Once, after the merge.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "one wide head",
        _heads(forward=_one_wide_head),
        "There is one head, d_model wide; the split into heads is missing.",
        "Where does n_heads come into your forward?",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "the values come from W_K",
        _heads(sources=("w_q", "w_k", "w_k")),
        "The values are made by W_K; W_V is never used.",
        "Three maps, three names: q, k and v each have their own.",
        "v = self.w_v(x)",
    ),
    Mistake(
        "the values come from W_Q",
        _heads(sources=("w_q", "w_k", "w_q")),
        "The values are made by W_Q; W_V is never used.",
        "Three maps, three names: q, k and v each have their own.",
        "v = self.w_v(x)",
    ),
    Mistake(
        "the keys come from W_Q",
        _heads(sources=("w_q", "w_q", "w_v")),
        "The keys are made by W_Q; W_K is never used, and the scores are symmetric.",
        "Three maps, three names: q, k and v each have their own.",
        "k = self.w_k(x)",
    ),
    Mistake(
        "the queries come from W_K",
        _heads(sources=("w_k", "w_k", "w_v")),
        "The queries are made by W_K; W_Q is never used, and the scores are symmetric.",
        "Three maps, three names: q, k and v each have their own.",
        "q = self.w_q(x)",
    ),
    Mistake(
        "queries and keys exchanged",
        _heads(sources=("w_k", "w_q", "w_v")),
        "Queries are made by W_K and keys by W_Q; or the scores are transposed.",
        "Rows of the scores are queries: q @ k.transpose(-2, -1), in this order.",
        "q = self.w_q(x); k = self.w_k(x)",
    ),
    Mistake(
        "keys and values exchanged",
        _heads(sources=("w_q", "w_v", "w_k")),
        "Keys are made by W_V and values by W_K: the two are exchanged.",
        "Queries are compared with keys; values are mixed.",
        "k = self.w_k(x); v = self.w_v(x)",
    ),
    Mistake(
        "queries and values exchanged",
        _heads(sources=("w_v", "w_k", "w_q")),
        "Queries are made by W_V and values by W_Q: the two are exchanged.",
        "Queries are compared with keys; values are mixed.",
        "q = self.w_q(x); v = self.w_v(x)",
    ),
    Mistake(
        "one map for all three",
        _heads(sources=("w_q", "w_q", "w_q")),
        "Queries, keys and values are all made by W_Q.",
        "Three maps, three names: q, k and v each have their own.",
        "q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)",
    ),
    Mistake(
        "one layer under three names",
        _heads(
            __init__=lambda self, d, n: (_tied("w_q", "w_k")(self, d, n), setattr(self, "w_v", self.w_q))[0]
        ),
        "w_q, w_k and w_v are one layer under three names.",
        "`a = b = nn.Linear(…)` makes one layer. Write nn.Linear(…) once for each.",
        "self.w_q = nn.Linear(d_model, d_model), and again for w_k and w_v",
    ),
    Mistake(
        "w_q and w_k are one layer",
        _heads(__init__=_tied("w_q", "w_k")),
        "w_q and w_k are one layer under two names, so the scores are symmetric.",
        "Write nn.Linear(…) once for each.",
        "self.w_k = nn.Linear(d_model, d_model)",
    ),
    Mistake(
        "w_k and w_v are one layer",
        _heads(__init__=_tied("w_k", "w_v")),
        "w_k and w_v are one layer under two names.",
        "Write nn.Linear(…) once for each.",
        "self.w_v = nn.Linear(d_model, d_model)",
    ),
    Mistake(
        "no projections",
        _heads(projected=_projections_shared),
        "x itself is split; W_Q, W_K and W_V are never used.",
        "Queries, keys and values are computed: W_Q x, W_K x, W_V x.",
        "q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)",
    ),
    Mistake(
        "values not projected",
        _heads(
            projected=lambda self, x: [*Heads.projected(self, x)[:2], attention.split_heads(x, self.n_heads)]
        ),
        "The values are x itself; W_V is never used.",
        "Queries, keys and values are computed: W_Q x, W_K x, W_V x.",
        "v = self.w_v(x)",
    ),
    Mistake(
        "queries and keys not projected",
        _heads(
            projected=lambda self, x: (
                [attention.split_heads(x, self.n_heads)] * 2 + Heads.projected(self, x)[2:]
            )
        ),
        "Queries and keys are x itself; W_Q and W_K are never used.",
        "Queries, keys and values are computed: W_Q x, W_K x, W_V x.",
        "q, k = self.w_q(x), self.w_k(x)",
    ),
    Mistake(
        "attends over the batch",
        _heads(forward=_over_the_batch),
        "The tokens attend to other sentences: batch and time are exchanged.",
        "Batch first: x is (B, T, D), and attention runs over T.",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "heads attend to heads",
        _heads(forward=_heads_attend_to_heads),
        "Within a token the heads attend to each other; tokens never meet.",
        "T and H must change places before the scores, so that the last two axes are (T, Dh).",
        _SPLIT_IN_TWO,
    ),
    Mistake(
        "weights averaged over the heads",
        _heads(attended=_averaged_weights),
        "All heads use one average of their weights.",
        "Each head mixes its own values by its own weights.",
        "heads = weights @ v, with both (B, H, …)",
    ),
    Mistake(
        "x is added",
        _heads(forward=_with_residual),
        "x is added to the result; that residual connection comes in lesson 06.",
        "The module returns what attention gathered, and nothing else.",
        "return self.w_o(merged)",
    ),
    Mistake(
        "dropout that never stops",
        _heads_with(weigh=lambda s, d: F.dropout(s.softmax(-1), 0.1, training=True)),
        "Two calls differ, in evaluation too: there is dropout that never stops.",
        "This exercise has no dropout. (F.dropout drops unless it is told `training=False`.)",
        SOFTMAX_LINE,
    ),
)


def _rows_equal(output: Tensor) -> bool:
    return torch.allclose(output, output[:, :1].expand_as(output), atol=1e-4)


def _call_is_right(seen: dict[str, Seen], which: str) -> bool:
    name = f"output of the {which} call"
    expected = _multi_head_call_after_call(Heads)[name].double()
    return torch.allclose(seen["multi head call after call"][name], expected, atol=1e-3)


_MULTI_HEAD_PROPERTIES = (
    changes_its_input("multi head three heads"),
    left_to_chance("multi head three heads"),
    Property(
        "training and evaluation differ",
        lambda seen: seen["multi head three heads"]["training differs"].item() == 0,
        "In training mode the result differs from that in evaluation mode.",
        "Is there dropout, or an `if self.training`? This exercise has neither.",
    ),
    Property(
        "something is kept between calls",
        lambda seen: (
            not _call_is_right(seen, "first") or _call_is_right(seen, "second")  # of the same size
        ),
        "The first call is right, a later one is not.",
        "What does forward keep on `self`? Keys, weights and lists of heads belong to one call only.",
    ),
    Property(
        "not a number",
        lambda seen: bool(seen["multi head three heads"]["output"].isfinite().all()),
        "There are NaN or infinite numbers in your output.",
        "A division of 0 by 0, a root of a negative number, or a row in which every key is hidden?",
    ),
    Property(
        "something besides the values comes through",
        lambda seen: _rows_equal(seen["multi head no values"]["output"]),
        "With W_V set to 0 your output still depends on x.",
        "Everything attention carries comes through W_V. Is x, q or k added or mixed in somewhere?",
    ),
    Property(
        "another end",
        lambda seen: agrees(seen, _multi_head_no_values, Heads),
        "With W_V set to 0 the output should be the bias of W_O, and is not.",
        "Is W_O missing, or does something stand after the heads besides it: a function, a norm, a sum?",
    ),
    Property(
        "tokens never meet",
        lambda seen: (
            not torch.allclose(
                seen["multi head weights"]["weights"],
                torch.eye(5, dtype=torch.float64).expand(3, 5, 5),
                atol=1e-3,
            )
        ),
        "Each token gets its own value only: tokens never meet.",
        "Are the values mixed by the weights, weights @ v, over the tokens' axis?",
    ),
    Property(
        "hidden or treated by place",
        lambda seen: (
            not ones(seen["multi head weights without scores"]["weights"].sum(-1))
            or _even(seen["multi head weights without scores"]["weights"])
        ),
        "With W_Q and W_K set to 0 every weight should be 1/T, and some are not.",
        "Something else than q and k enters the scores: a mask, or positions? Neither belongs here.",
    ),
    Property(
        "tokens mixed",
        lambda seen: (
            not ones(seen["multi head weights without scores"]["weights"].sum(-1))
            or _rows_equal(seen["multi head equal weights"]["output"])
        ),
        "With W_Q and W_K set to 0 all tokens should come out equal; yours do not.",
        "Somewhere a view or reshape lets tokens exchange numbers. Try split_heads and merge_heads alone.",
    ),
    Property(
        "no weighted mean of the values",
        lambda seen: (
            ones(seen["multi head weights"]["weights"].sum(-1))
            and bool((seen["multi head weights"]["weights"] >= -1e-3).all())
        ),
        "Your heads give no weighted mean of the values W_V x.",
        "Do the weights of each row sum to 1? Is anything done to x, to the values, or to what the heads found, "
        "besides W_V and W_O?",
    ),
    *made_by_softmax(lambda seen: seen["multi head weights"]["weights"], _multi_head_raw_scores, 5**-0.5),
    Property(
        "right with one head",
        lambda seen: (
            not (
                agrees(seen, _multi_head_one_head, Heads) and not agrees(seen, _multi_head_three_heads, Heads)
            )
        ),
        "Right with one head, wrong with three.",
        "What depends on n_heads: how many pieces are cut, their order, and Dh under the root. Check each alone.",
    ),
    Property(
        "values, merge or W_O",
        lambda seen: agrees(seen, _multi_head_equal_weights, Heads),
        "Even with equal weights the output is wrong: look at the values, the merge and W_O.",
        "Set W_Q and W_K to 0: every head then averages the values. Follow W_V, split, mean, merge, W_O.",
    ),
    Property(
        "other weights",
        lambda seen: agrees(seen, _multi_head_weights, Heads),
        "With equal weights your output is right; with real scores it is not.",
        "Look at queries, keys and softmax(q kᵀ / √Dh) over the keys, one table for each head; and whether the rows "
        "come out in the order in which they came in.",
    ),
    no_gradient("multi head gradients", "some of x, w_q, w_k, w_v and w_o"),
)


def _even(weights: Tensor) -> bool:
    return torch.allclose(weights, torch.full_like(weights, 1 / weights.size(-1)), atol=1e-3)


MULTI_HEAD: Exercise = Exercise(
    id="04.multi_head_attention",
    title="Multi-head attention as a module",
    stub=MULTI_HEAD_STUB,
    reference=Heads,
    experiments=(
        _multi_head_three_heads,
        _multi_head_one_head,
        _multi_head_square,
        _multi_head_one_token,
        _multi_head_call_after_call,
        _multi_head_weights,
        _multi_head_weights_without_scores,
        _multi_head_equal_weights,
        _multi_head_no_values,
        _multi_head_gradients,
    ),
    mistakes=_MULTI_HEAD_MISTAKES,
    properties=_MULTI_HEAD_PROPERTIES,
    difficulty=3,
    importance=5,
    minutes=25,
)
