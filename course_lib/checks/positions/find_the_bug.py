"""Exercise 03.find_the_bug: a test that finds a fault of a published decoder.

B batch · T tokens · D d_model
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn, line_of
from course_lib.checks.probe import a_function, numbers, yes

BUG_STUB = '''
def test_decoder(build):
    """Raise AssertionError if the decoder that `build` makes loses count of positions.

    Stay silent if it does not.

    Args:
        build: build(d_model) returns a fresh nn.Module with random weights; d_model is even. It is
            called as `y, state = module(x, state)`: x, (B, T, D), are embedded tokens, and y,
            (B, T, D), is what it makes of them, each from itself and the tokens before it. state is
            None at the beginning of a text, and later what the call before returned: the text goes
            on there. No dropout.

    It is tried on sound decoders in two styles, and on the published one.
    """
'''


class Decoder(nn.Module):
    """One block of causal self-attention with positions, that may be fed piece by piece."""

    def __init__(self, d_model: int):
        super().__init__()
        self.w_q = nn.Linear(d_model, d_model, bias=False)
        self.w_k = nn.Linear(d_model, d_model, bias=False)
        self.w_v = nn.Linear(d_model, d_model, bias=False)
        self.w_o = nn.Linear(d_model, d_model, bias=False)

    def first_position(self, state: Tensor | None) -> int:
        """Return the position of the next token: as many as were read."""
        return 0 if state is None else state.size(1)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Any]:
        x = x + _sinusoids(self.first_position(state), x)
        memory = x if state is None else torch.cat([state, x], dim=1)  # (B, Tk, D): all tokens so far
        y = x + self._attend(x, memory)
        return y, memory

    def _attend(self, x: Tensor, memory: Tensor) -> Tensor:
        n_queries, n_keys = x.size(1), memory.size(1)
        seen = torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)
        scores = self.w_q(x) @ self.w_k(memory).mT / math.sqrt(x.size(-1))  # (B, Tq, Tk)
        return self.w_o(scores.masked_fill(~seen, -math.inf).softmax(-1) @ self.w_v(memory))


class PublishedDecoder(Decoder):
    """The decoder with the fault of d2l 1.0.3 in step-by-step use, in our words.

    Its PositionalEncoding always adds the first rows, P[:, :T]; in step-by-step prediction T is 1, so that every
    token is given position 0.
    """

    def first_position(self, state: Tensor | None) -> int:
        return 0


class _ReadsAgain(Decoder):
    """A sound decoder in another style: it keeps the tokens and reads all of them again at every call."""

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        tokens = [*([] if state is None else state), *x.unbind(1)]
        whole = torch.stack(tokens, dim=1)  # (B, Tk, D)
        whole = whole + _sinusoids(0, whole)
        rows = []
        for t in range(len(tokens) - x.size(1), len(tokens)):
            rows.append(whole[:, t] + self._attend(whole[:, t : t + 1], whole[:, : t + 1])[:, 0])
        return torch.stack(rows, dim=1), tuple(tokens)


def _sinusoids(first: int, x: Tensor) -> Tensor:
    """Return rows first … first + T − 1 of the sinusoidal table, (T, D)."""
    positions = torch.arange(first, first + x.size(1), dtype=x.dtype)[:, None]
    angles = positions / 10000 ** (torch.arange(0, x.size(2), 2, dtype=x.dtype) / x.size(2))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class _Watched:
    """Builds decoders for the learner's test, each with other weights, and notes how it uses them.

    Their outputs carry an error of a few parts in ten million of each number, as fp32 does: a test with the usual
    tolerances is safe, and one that wants exact equality is not.
    """

    def __init__(self, kind: type[Decoder], sound: bool):
        self.kind, self.sound = kind, sound
        self.built = self.calls = self.most_tokens = self.goes_on = 0
        self.inside = False  # stays True where the module itself falls over

    def __call__(self, d_model: int) -> nn.Module:
        watcher = self
        self.built += 1

        class Watched(self.kind):  # type: ignore[name-defined]
            def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
                watcher.inside = True
                watcher.calls += 1
                watcher.goes_on += state is not None
                watcher.most_tokens = max(watcher.most_tokens, x.size(1))
                y, state = super().forward(x, state)
                first, rows = torch.arange(x.size(1)) + watcher.calls, torch.finfo(x.dtype).eps
                watcher.inside = False
                return y * (1 + 2 * rows * (first % 3)[:, None]), state

        module = Watched(d_model)
        with torch.no_grad():
            for number, layer in enumerate((module.w_q, module.w_k, module.w_v, module.w_o)):
                seed = 500 + 10 * self.built + number
                layer.weight.copy_(numbers(d_model, d_model, seed=seed, std=d_model**-0.5 * 1.5))
        return module

    def rejected_by(self, test: Any) -> tuple[bool, bool]:
        """Return whether the test rejects the decoder, and whether it returned something odd."""

        def build(d_model: int) -> nn.Module:
            return self(d_model)

        try:
            result = test(build)
        except AssertionError:
            return True, False
        except NotImplementedError:
            raise
        except Exception as error:
            if self.inside and not self.sound:
                return True, False  # what sound code does without complaint, the faulty code fell over
            if self.inside or ("`raise " not in line_of(error) and self.sound):
                raise
            raise WrongReturn(
                "raises another exception",
                f"Your test raises {type(error).__name__}; it should raise AssertionError."[:83],
                "`assert condition, text` raises it where the condition is False.",
            ) from error
        return False, result is not None


def _judged(candidate: Any, kind: type[Decoder], sound: bool = False) -> Seen:
    """Run the learner's test three times, each from another random state."""
    watcher, rejected, odd = _Watched(kind, sound), [], False
    for run in range(3):
        torch.default_generator.manual_seed(run)
        rejects, returned = watcher.rejected_by(a_function(candidate))
        rejected.append(yes(rejects))
        odd = odd or returned
    return {
        "rejected": torch.stack(rejected),
        "_never called": yes(watcher.calls == 0),
        "_never goes on": yes(watcher.goes_on == 0),
        "_one token": yes(watcher.most_tokens == 1),
        "_returned": yes(odd),
    }


def _test_of_a_sound_decoder(candidate: Any) -> Seen:
    return _judged(candidate, Decoder, sound=True)


def _test_of_a_sound_decoder_in_another_style(candidate: Any) -> Seen:
    return _judged(candidate, _ReadsAgain, sound=True)


def _test_of_the_published_decoder(candidate: Any) -> Seen:
    return _judged(candidate, PublishedDecoder)


def _text() -> Tensor:
    return numbers(2, 5, 12, seed=40)


def _step_by_step(module: nn.Module, x: Tensor, *, handed_on: bool = True) -> Tensor:
    state, rows = None, []
    for t in range(x.size(1)):
        y, next_state = module(x[:, t : t + 1], state)
        state = next_state if handed_on else None
        rows.append(y)
    return torch.cat(rows, dim=1)


def _equal(one: Tensor, other: Tensor, atol: float = 1e-5) -> bool:
    return torch.allclose(one, other, atol=atol)


def _incremental_test(build: Any) -> None:
    module, x = build(12), _text()
    assert _equal(_step_by_step(module, x), module(x, None)[0])


def _shape_test(build: Any) -> None:
    module, x = build(12), _text()
    assert _step_by_step(module, x).shape == module(x, None)[0].shape


def _one_token_test(build: Any) -> None:
    module, x = build(12), _text()[:, :1]
    assert _equal(_step_by_step(module, x), module(x, None)[0])


def _forgetful_test(build: Any) -> None:
    module, x = build(12), _text()
    assert _equal(_step_by_step(module, x, handed_on=False), module(x, None)[0])


def _twice_test(build: Any) -> None:
    module, x = build(12), _text()
    assert _equal(module(x, None)[0], module(x, None)[0])


def _turned_round_test(build: Any) -> None:
    module, x = build(12), _text()
    assert not _equal(_step_by_step(module, x), module(x, None)[0])


def _returning_test(build: Any) -> bool:
    module, x = build(12), _text()
    return _equal(_step_by_step(module, x), module(x, None)[0])


def _two_decoders_test(build: Any) -> None:
    x = _text()
    assert _equal(_step_by_step(build(12), x), build(12)(x, None)[0])


_LINE = "assert torch.allclose(torch.cat(steps, dim=1), module(x, None)[0], atol=1e-5)"

_STEPS = (
    "Feed the tokens one at a time, `y, state = module(x[:, t : t + 1], state)`, put the rows together, and compare "
    "with one call for all."
)


_BUG_MISTAKES = (
    Mistake(
        "accepts everything",
        _shape_test,
        "Your test is content with the published decoder too.",
        f"{_STEPS} And is the finding raised: `assert`, no parentheses around condition and text, no tolerance as "
        "large as the numbers?",
        _LINE,
    ),
    Mistake(
        "never runs the module",
        lambda build: None,
        "Your test never runs the decoder it is given.",
        f"Build one, make a random x, and call it. {_STEPS}",
        _LINE,
    ),
    Mistake(
        "never goes on",
        _twice_test,
        "Your test never hands a state back: the text always begins anew.",
        f"The fault shows where a text goes on. {_STEPS}",
        _LINE,
    ),
    Mistake(
        "one token",
        _one_token_test,
        "Your test shows the decoder one token only: position 0 is right there.",
        "Take several tokens.",
        "x = torch.randn(2, 5, 12)",
    ),
    Mistake(
        "forgets the state",
        _forgetful_test,
        "Your test rejects sound decoders, and never hands a state back.",
        f"Each call begins a new text, if its state is None. {_STEPS}",
        _LINE,
    ),
    Mistake(
        "rejects everything",
        _two_decoders_test,
        "Your test rejects sound decoders too.",
        "Does it compare two calls of *one* module (build gives other weights each time), the same tokens, and allow "
        "atol=1e-5 for rounding?",
        _LINE,
    ),
    Mistake(
        "turned round",
        _turned_round_test,
        "Your test rejects sound decoders and accepts the published one: it is turned round.",
        "`assert` raises where its condition is False. Is there a `not`, or a != in place of ==?",
        _LINE,
    ),
    Mistake(
        "returns its finding",
        _returning_test,
        "Your test returns its finding; it should raise AssertionError.",
        "Put the finding behind `assert`: it raises where the condition is False.",
        _LINE,
    ),
)


def _always(seen: dict[str, Seen], name: str, rejected: int) -> bool:
    return bool((seen[name]["rejected"] == rejected).all())


_BUG_PROPERTIES = (
    Property(
        "depends on chance",
        lambda seen: all(shown["rejected"].sum().item() in (0, 3) for shown in seen.values()),
        "Your test finds the fault sometimes only, or rejects sound code sometimes.",
        "Does it rest on a tolerance that random weights may exceed, or on a number of tokens drawn at random?",
    ),
    Property(
        "rejects sound code",
        lambda seen: _always(seen, "test of a sound decoder", 0),
        "Your test rejects a sound decoder.",
        "Is what it asserts true of every decoder? Step by step and all at once give the same, up to atol=1e-5.",
    ),
    Property(
        "rejects another style",
        lambda seen: _always(seen, "test of a sound decoder in another style", 0),
        "Your test rejects a sound decoder that is written in another style.",
        "Look at y only: what a state is made of is the decoder's business. And allow atol=1e-5 for rounding.",
    ),
    Property(
        "accepts the published fault",
        lambda seen: _always(seen, "test of the published decoder", 1),
        "Your test is content with the published decoder, which loses count of positions.",
        _STEPS,
    ),
)


BUG: Exercise = Exercise(
    id="03.find_the_bug",
    title="Find the bug: a decoder that loses count",
    stub=BUG_STUB,
    reference=_incremental_test,
    experiments=(
        _test_of_a_sound_decoder,
        _test_of_a_sound_decoder_in_another_style,
        _test_of_the_published_decoder,
    ),
    mistakes=_BUG_MISTAKES,
    properties=_BUG_PROPERTIES,
    difficulty=4,
    importance=4,
    minutes=20,
)
