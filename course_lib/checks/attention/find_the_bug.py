"""Exercise 04.find_the_bug: a test that finds a published fault.

B batch · H heads · T tokens · Tq queries · Tk keys · D d_model · Dh d_head · Dv width of a value
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checks.attention.multi_head_attention import Heads, published_merge
from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import line_of
from course_lib.checks.probe import numbers, yes
from course_lib.checks.shared import always, another_exception, three_verdicts

BUG_STUB = '''
def test_multi_head(build):
    """Raise AssertionError if the module that `build` makes mixes tokens up; else stay silent.

    Args:
        build: build(d_model, n_heads) returns a fresh nn.Module with random weights. It maps x,
            (B, T, D), to (B, T, D), and has the layers w_q, w_k, w_v, w_o; no dropout, no mask.

    It is tried on sound modules in two styles, and on the published one.
    """
'''


class PublishedMultiHeadAttention(Heads):
    """A multi-head attention with the fault of a published one: its heads mix tokens when they are merged.

    The same behaviour as jsbaan/transformer-from-scratch before its pull request 6, in our words: after
    attention, (B, H, T, Dh) is reshaped to (B, T, D) without exchanging H and T first.
    """

    merge = staticmethod(published_merge)


class _HeadByHead(Heads):
    """A sound module in another style: one head after the other, by einsum."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.w_q(x), self.w_k(x), self.w_v(x)
        d_head = self.d_model // self.n_heads
        found = []
        for first in range(0, self.d_model, d_head):
            piece = slice(first, first + d_head)
            scores = torch.einsum("bqd,bkd->bqk", q[..., piece], k[..., piece]) / math.sqrt(d_head)
            found.append(torch.einsum("bqk,bkd->bqd", scores.softmax(-1), v[..., piece]))
        return self.w_o(torch.cat(found, dim=-1))


class _Watched:
    """Builds modules for the learner's test, each with other weights, and notes how it uses them.

    They compute in fp64 and carry an error of a few parts in ten million of each number, as fp32 does: a test
    with the usual tolerances is safe, and one that wants exact equality is not.
    """

    def __init__(self, kind: type[Heads]):
        self.kind = kind
        self.built = self.most_heads = self.most_tokens = self.calls = 0

    def __call__(self, d_model: int, n_heads: int) -> nn.Module:
        watcher = self
        self.built += 1
        self.most_heads = max(self.most_heads, n_heads)

        class MultiHeadAttention(self.kind):  # type: ignore[name-defined]
            computes = False

            def forward(self, x: Tensor) -> Tensor:
                if self.computes:
                    return super().forward(x)
                watcher.calls += 1
                watcher.most_tokens = max(watcher.most_tokens, x.size(1) if x.dim() > 1 else 0)
                weights = {name: weight.double() for name, weight in self.named_parameters()}
                self.computes = True
                try:
                    output = torch.func.functional_call(self, weights, (x.double(),))
                finally:
                    self.computes = False
                rounding = torch.arange(output.size(1), dtype=output.dtype) % 3  # unlike from row to row
                return (output * (1 + 2 * torch.finfo(x.dtype).eps * rounding[:, None])).to(x.dtype)

        module = MultiHeadAttention(d_model, n_heads)
        with torch.no_grad():
            for number, layer in enumerate((module.w_q, module.w_k, module.w_v, module.w_o)):
                seed = 400 + 10 * self.built + number
                layer.weight.copy_(numbers(d_model, d_model, seed=seed, std=d_model**-0.5 * 1.5))
                layer.bias.copy_(numbers(d_model, seed=seed + 100, std=0.3))
        return module

    def rejected_by(self, test: Any) -> tuple[bool, bool]:
        """Return whether the test rejects the module, and whether it returned something odd."""

        def build(d_model: int, n_heads: int) -> nn.Module:
            return self(d_model, n_heads)

        try:
            result = test(build)
        except AssertionError:
            return True, False
        except Exception as error:
            if "`raise " in line_of(error) and not isinstance(error, NotImplementedError):
                raise another_exception(error) from error
            raise
        return False, result is not None


def _judged(candidate: Any, kind: type[Heads]) -> Seen:
    """Run the learner's test three times, each from another random state."""
    watcher = _Watched(kind)
    rejected, odd = three_verdicts(candidate, watcher.rejected_by)
    return {
        "rejected": rejected,
        "_never called": yes(watcher.calls == 0),
        "_one head": yes(watcher.most_heads == 1),
        "_one token": yes(watcher.most_tokens == 1),
        "_returned": yes(odd),
    }


def _test_of_sound_code(candidate: Any) -> Seen:
    return _judged(candidate, Heads)


def _test_of_sound_code_in_another_style(candidate: Any) -> Seen:
    return _judged(candidate, _HeadByHead)


def _test_of_the_published_code(candidate: Any) -> Seen:
    return _judged(candidate, PublishedMultiHeadAttention)


def _equivariance_test(build: Any, *, d_model: int = 12, n_heads: int = 3, n_tokens: int = 5) -> None:
    module, x = build(d_model, n_heads), numbers(2, n_tokens, d_model, seed=170)
    order = torch.randperm(n_tokens, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-5)


def _shape_test(build: Any) -> None:
    x = numbers(2, 5, 12, seed=170)
    assert build(12, 3)(x).shape == x.shape


def _invariance_test(build: Any) -> None:
    module, x = build(12, 3), numbers(2, 5, 12, seed=170)
    assert torch.allclose(module(x.flip(1)), module(x), atol=1e-5)


def _inverted_test(build: Any) -> None:
    module, x = build(12, 3), numbers(2, 5, 12, seed=170)
    assert not torch.allclose(module(x.flip(1)), module(x).flip(1), atol=1e-5)


def _test_that_returns(build: Any) -> Any:
    module, x = build(12, 3), numbers(2, 5, 12, seed=170)
    return (module(x.flip(1)) - module(x).flip(1)).abs().max()


_ACCEPTS_ALL = (
    "Your test is content with the broken module too.",
    "Does it compare what a sound module must do when tokens change places? And is the finding raised: `assert`, "
    "no parentheses around condition and text, no try/except around it, no tolerance as large as the numbers?",
    "assert torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-5)",
)


_BUG_MISTAKES = (
    Mistake("accepts everything", _shape_test, *_ACCEPTS_ALL),
    Mistake(
        "never runs the module",
        lambda build: None,
        "Your test never runs the module it is given.",
        "Build one, make a random x, call it, and look at what comes out.",
        "module = build(12, 3); y = module(torch.randn(2, 5, 12))",
    ),
    Mistake(
        "one head",
        lambda build: _equivariance_test(build, n_heads=1),
        "Your test builds one head only; the fault shows with two heads or more.",
        "With H = 1 a reshape with and without the transpose are the same.",
        "module = build(12, 3)",
    ),
    Mistake(
        "one token",
        lambda build: _equivariance_test(build, n_tokens=1),
        "Your test shows the module one token only: nothing can be mixed up.",
        "Take several tokens, all different.",
        "x = torch.randn(2, 5, 12)",
    ),
    Mistake(
        "rejects everything",
        _invariance_test,
        "Your test rejects sound code too.",
        "Does what it asserts hold for every attention? When tokens change places, the outputs change places "
        "with them; and sums in another order differ by rounding, so allow atol=1e-5.",
        "assert torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-5)",
    ),
    Mistake(
        "turned round",
        _inverted_test,
        "Your test rejects sound modules and accepts the broken one: it is turned round.",
        "`assert` raises where its condition is False. Is there a `not`, or a != in place of ==?",
        "assert torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-5)",
    ),
    Mistake(
        "returns its finding",
        _test_that_returns,
        "Your test returns its finding; it should raise AssertionError.",
        "Put the finding behind `assert`: it raises where the condition is False.",
        "assert torch.allclose(module(x[:, order]), module(x)[:, order], atol=1e-5)",
    ),
)


_BUG_PROPERTIES = (
    Property(
        "rejects sound code",
        lambda seen: always(seen, "test of sound code", 0),
        "Your test rejects a sound module.",
        "Is what it asserts true of every attention? Two sums in another order differ by rounding: allow "
        "atol=1e-5.",
    ),
    Property(
        "rejects another style",
        lambda seen: always(seen, "test of sound code in another style", 0),
        "Your test rejects a sound module that is written in another style.",
        "Test what the module computes, not how. Allow for rounding: atol=1e-5.",
    ),
    Property(
        "finds the fault sometimes",
        lambda seen: seen["test of the published code"]["rejected"].sum().item() in (0, 3),
        "Your test finds the fault sometimes only: it depends on chance.",
        "Does it add up differences with their signs, look at one number, or draw an order that may change nothing?",
    ),
    Property(
        "accepts the published fault",
        lambda seen: always(seen, "test of the published code", 1),
        "Your test is content with the published module, whose heads mix tokens.",
        "Take several heads, several tokens and random numbers. What must hold when tokens change places?",
    ),
)


BUG: Exercise = Exercise(
    id="04.find_the_bug",
    title="Find the bug: heads that mix tokens",
    stub=BUG_STUB,
    reference=_equivariance_test,
    experiments=(
        _test_of_sound_code,
        _test_of_sound_code_in_another_style,
        _test_of_the_published_code,
    ),
    mistakes=_BUG_MISTAKES,
    properties=_BUG_PROPERTIES,
    difficulty=4,
    importance=4,
    minutes=20,
)
