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
from course_lib.checks.probe import kind_of, numbers, yes
from course_lib.checks.shared import always, another_exception, three_verdicts

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


class _Exact(Decoder):
    """A sound decoder without rounding errors: it computes in double precision, and hands out few digits."""

    def __init__(self, d_model: int):
        super().__init__(d_model)
        self.double()

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, memory = super().forward(x.double(), state)
        return (y * 256).round().to(x.dtype) / 256, memory


class _AtRandom(Decoder):
    """A decoder whose answers are drawn by lot: no two calls agree, not even on the first token."""

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        y, memory = super().forward(x, state)
        return torch.randn_like(y), memory


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
        self.texts: list[
            tuple[int, list[Tensor], Any]
        ] = []  # module, the pieces read so far, the state after them
        self.traced = True

    def __call__(self, d_model: int) -> nn.Module:
        if not isinstance(d_model, int) or d_model < 2 or d_model % 2:
            raise WrongReturn(
                "an odd width",
                f"Your test builds a decoder with d_model = {d_model}; an even number is asked for."[:83],
                "Sines and cosines come in pairs. Take 8, or 12.",
            )
        watcher = self
        self.built += 1
        number_of_module = self.built

        class Watched(self.kind):  # type: ignore[name-defined]
            def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
                watcher.inside = True
                _refuse_odd_tokens(x, d_model)
                watcher.calls += 1
                watcher.goes_on += state is not None
                watcher.most_tokens = max(watcher.most_tokens, x.size(1))
                y, next_state = super().forward(x, state)
                watcher.note(number_of_module, x, state, next_state)
                first, rows = torch.arange(x.size(1)) + watcher.calls, torch.finfo(x.dtype).eps
                watcher.inside = False
                exact = isinstance(self, _Exact)
                return y if exact else y * (1 + 2 * rows * (first % 3)[:, None]), next_state

        module = Watched(d_model)
        with torch.no_grad():
            for number, layer in enumerate((module.w_q, module.w_k, module.w_v, module.w_o)):
                seed = 500 + 10 * self.built + number
                layer.weight.copy_(numbers(d_model, d_model, seed=seed, std=d_model**-0.5 * 1.5))
        return module

    def note(self, module: int, x: Tensor, state: Any, next_state: Any) -> None:
        """Keep which pieces a text was read in: the state says which text goes on."""
        before: list[Tensor] = []
        if state is not None:
            found = [pieces for _, pieces, after in self.texts if after is state]
            self.traced = self.traced and bool(found)
            before = found[-1] if found else []
        self.texts.append((module, [*before, x.detach().clone()], next_state))

    def in_two_ways(self) -> bool:
        """Say whether one decoder was fed the same two tokens or more in pieces of different lengths."""
        if not self.traced:
            return True  # a state that was copied: nobody can tell
        return any(
            one == other and _same_tokens_in_other_pieces(pieces, others)
            for number, (one, pieces, _) in enumerate(self.texts)
            for other, others, _ in self.texts[:number]
        )

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
            raise another_exception(error) from error
        return False, result is not None


def _refuse_odd_tokens(x: Any, d_model: int) -> None:
    if not isinstance(x, Tensor) or x.dim() != 3:
        what = f"a tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else kind_of(x)
        raise WrongReturn(
            "another shape than (B, T, D)",
            f"Your test feeds the decoder {what}; x is (B, T, D)."[:83],
            "A slice keeps the axis, an index drops it: x[:, t : t + 1] is (B, 1, D), x[:, t] is (B, D).",
        )
    if not x.is_floating_point():
        raise WrongReturn(
            "whole numbers",
            "Your test feeds the decoder whole numbers; x holds embedded tokens.",
            "Embedded tokens are vectors of floating-point numbers: torch.randn(2, 5, d_model).",
        )
    if x.size(2) != d_model:
        raise WrongReturn(
            "another width",
            f"Your test builds with d_model = {d_model}, and feeds tokens {x.size(2)} wide."[:83],
            "The last size of x is d_model.",
        )


def _same_tokens_in_other_pieces(pieces: list[Tensor], others: list[Tensor]) -> bool:
    one, other = torch.cat(pieces, 1), torch.cat(others, 1)
    n_tokens = min(one.size(1), other.size(1))
    if n_tokens < 2 or not torch.equal(one[:, :n_tokens], other[:, :n_tokens]):
        return False
    ends, other_ends = _ends(pieces), _ends(others)
    return {end for end in ends if end < n_tokens} != {end for end in other_ends if end < n_tokens}


def _ends(pieces: list[Tensor]) -> list[int]:
    return torch.tensor([piece.size(1) for piece in pieces]).cumsum(0).tolist()


def _judged(candidate: Any, kind: type[Decoder], sound: bool = False) -> Seen:
    """Run the learner's test three times, each from another random state."""
    watcher = _Watched(kind, sound)
    rejected, odd = three_verdicts(candidate, watcher.rejected_by)
    return {
        "rejected": rejected,
        "_never called": yes(watcher.calls == 0),
        "_never goes on": yes(watcher.goes_on == 0),
        "_one token": yes(watcher.most_tokens == 1),
        "_two ways": yes(watcher.in_two_ways()),
        "_several decoders": yes(len({module for module, _, _ in watcher.texts}) > 3),  # in three runs
        "_returned": yes(odd),
    }


def _test_of_a_sound_decoder(candidate: Any) -> Seen:
    return _judged(candidate, Decoder, sound=True)


def _test_of_a_sound_decoder_in_another_style(candidate: Any) -> Seen:
    return _judged(candidate, _ReadsAgain, sound=True)


def _test_of_the_published_decoder(candidate: Any) -> Seen:
    return _judged(candidate, PublishedDecoder)


def _test_of_an_exact_decoder(candidate: Any) -> Seen:
    return {"_rejected": _judged(candidate, _Exact, sound=True)["rejected"]}


def _test_of_a_decoder_at_random(candidate: Any) -> Seen:
    return {"_rejected": _judged(candidate, _AtRandom, sound=True)["rejected"]}


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
        "Your test is content with the published decoder, and even with one that draws lots.",
        f"Is the finding raised: `assert`, no parentheses around condition and text, nothing that catches it, no "
        f"tolerance as large as the numbers? {_STEPS}",
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
        "Your test asks several decoders, each with other weights, and rejects sound ones.",
        "build gives other random weights each time: call it once, and feed that one module in two ways.",
        "module = build(12)",
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


_SOUND, _PUBLISHED = "test of a sound decoder", "test of the published decoder"


_BUG_PROPERTIES = (
    Property(
        "depends on chance",
        lambda seen: all(
            shown["rejected"].sum().item() in (0, 3) for shown in seen.values() if "rejected" in shown
        ),
        "Your test finds the fault sometimes only, or rejects sound code sometimes.",
        "Does it rest on a tolerance that random weights may exceed, or on a number of tokens drawn at random?",
    ),
    Property(
        "takes rounding for a fault",
        lambda seen: (
            always(seen, _SOUND, 0) or bool((seen["test of an exact decoder"]["_rejected"] == 1).any())
        ),
        "Your test takes rounding for a fault: it rejects a sound decoder that rounds.",
        "Decoders compute with seven digits: torch.allclose(…, atol=1e-5) in place of == or torch.equal.",
    ),
    Property(
        "several decoders",
        lambda seen: seen[_SOUND]["_several decoders"].item() == 0 or seen[_SOUND]["_two ways"].item() == 1,
        "Your test builds several decoders, and feeds none of them one text in two ways.",
        "build gives other random weights each time: call it once, and feed that one module in two ways.",
    ),
    Property(
        "never one text in two ways",
        lambda seen: seen[_SOUND]["_two ways"].item() == 1,
        "Your test never feeds a decoder one text in two ways: at once, and piece by piece.",
        f"The same tokens in the same order, the state handed on, and no token twice. {_STEPS}",
    ),
    Property(
        "rejects sound code",
        lambda seen: always(seen, _SOUND, 0),
        "Your test rejects a sound decoder.",
        "Is what it asserts true of every decoder? Row t of the pieces belongs beside row t of the whole, in the order "
        "of the tokens, up to atol=1e-5.",
    ),
    Property(
        "rejects another style",
        lambda seen: always(seen, "test of a sound decoder in another style", 0),
        "Your test rejects a sound decoder that is written in another style.",
        "Look at y only: what a state is made of is the decoder's business. And allow atol=1e-5 for rounding.",
    ),
    Property(
        "accepts everything",
        lambda seen: always(seen, _PUBLISHED, 1) or always(seen, "test of a decoder at random", 1),
        "Your test is content with the published decoder, and even with one that draws lots.",
        "Is the finding raised: `assert`, no parentheses around condition and text, nothing that catches it, no "
        f"tolerance as large as the numbers? {_STEPS}",
    ),
    Property(
        "accepts the published fault",
        lambda seen: always(seen, _PUBLISHED, 1),
        "Your test finds some faults, but is content with the published decoder.",
        "The first piece is at the right positions there; what comes after it is not. Compare the later rows with "
        "those of one call for all.",
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
        _test_of_an_exact_decoder,
        _test_of_a_decoder_at_random,
    ),
    mistakes=_BUG_MISTAKES,
    properties=_BUG_PROPERTIES,
    difficulty=4,
    importance=4,
    minutes=20,
)
