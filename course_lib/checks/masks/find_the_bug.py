"""Exercise 05.find_the_bug: a test that finds two faults of a published masked softmax.

B batch · Tq queries · Tk keys
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.checks.engine import Exercise, Mistake, Property, Seen
from course_lib.checks.explain import WrongReturn, line_of
from course_lib.checks.probe import numbers, yes
from course_lib.checks.shared import always, another_exception, three_verdicts

BUG_STUB = '''
def test_masked_softmax(masked_softmax):
    """Raise AssertionError if masked_softmax breaks its promise; else stay silent.

    Args:
        masked_softmax: a function of scores, (B, Tq, Tk), and valid_lens, (B,) integers from 0 to Tk.
            It promises: weights, (B, Tq, Tk), a softmax of each row over the first valid_lens[b] keys;
            exactly 0 for the other keys, so that a sentence of length 0 gets zeros only. The tensors
            it was given stay as they were.

    It is tried on sound code in two styles, whose weights may differ in the last digits: there it
    stays silent. And on the published code, and on code that has only one of its two faults: there it
    raises AssertionError, every time it is run.
    """
'''


def published_masked_softmax(scores: Tensor, valid_lens: Tensor) -> Tensor:
    """The masked softmax of d2l 1.0.3 in our words, with its two faults (for valid_lens (B,) only).

    It writes −10⁶ into the caller's scores, because a reshape of a contiguous tensor is a view; and a row
    without any key is uniform, because all of its scores are −10⁶ then.
    """
    lengths = torch.repeat_interleave(valid_lens, scores.shape[1])  # (B · Tq,)
    rows = scores.reshape(-1, scores.shape[-1])  # (B · Tq, Tk): a view where the scores are contiguous
    hidden = torch.arange(scores.shape[-1])[None, :] >= lengths[:, None]
    rows[hidden] = -1e6
    return rows.reshape(scores.shape).softmax(dim=-1)


def _only_in_place(scores: Tensor, valid_lens: Tensor) -> Tensor:
    """Zeros for an empty sentence, but the caller's scores are changed."""
    weights = published_masked_softmax(scores, valid_lens)
    return weights.masked_fill((valid_lens == 0)[:, None, None], 0.0)


def _only_uniform(scores: Tensor, valid_lens: Tensor) -> Tensor:
    """The caller's scores are left alone, but an empty sentence is shared out equally."""
    return published_masked_softmax(scores.clone(), valid_lens)


def _sound(scores: Tensor, valid_lens: Tensor) -> Tensor:
    seen = (torch.arange(scores.size(-1)) < valid_lens[:, None])[:, None, :]  # (B, 1, Tk)
    return scores.masked_fill(~seen, -1e9).softmax(dim=-1).masked_fill(~seen, 0.0)


def _sound_sentence_by_sentence(scores: Tensor, valid_lens: Tensor) -> Tensor:
    """The same, one sentence after the other, by hand: its rounding differs."""
    tables = []
    for table, length in zip(scores, valid_lens.tolist(), strict=True):
        real = table[:, : int(length)].double()
        powers = (real - real.amax(-1, keepdim=True)).exp() if length else real
        weights = powers / powers.sum(-1, keepdim=True)
        rounding = torch.arange(weights.size(0), dtype=weights.dtype)[:, None] % 3
        weights = (weights * (1 + 2 * torch.finfo(scores.dtype).eps * rounding)).to(scores.dtype)
        tables.append(torch.nn.functional.pad(weights, (0, table.size(-1) - int(length))))
    return torch.stack(tables)


class _Watched:
    """Hands out a masked softmax and notes what the learner's test tries it on."""

    def __init__(self, code: Callable[[Tensor, Tensor], Tensor], sound: bool):
        self.code, self.sound = code, sound
        self.calls = 0
        self.inside = False  # stays True where the code itself falls over
        self.empty_row = self.short_row = False

    def __call__(self, scores: Tensor, valid_lens: Tensor) -> Tensor:
        self.calls += 1
        self.inside = True
        self.empty_row = self.empty_row or bool((valid_lens == 0).any())
        self.short_row = self.short_row or bool((valid_lens < scores.size(-1)).any())
        weights = self.code(scores, valid_lens)
        self.inside = False
        return weights

    def rejected_by(self, test: Any) -> tuple[bool, bool]:
        """Return whether the test rejects the code, and whether it returned something odd."""

        def masked_softmax(*given: Any, **named: Any) -> Tensor:
            try:
                bound = inspect.signature(self.code).bind(*given, **named)
            except TypeError:
                raise _other_call(
                    "The function takes scores and valid_lens: masked_softmax(scores, lengths)."
                ) from None
            return self(*bound.args)

        try:
            result = test(masked_softmax)
        except AssertionError:
            return True, False
        except NotImplementedError:
            raise
        except Exception as error:
            if self.inside and not self.sound:
                return True, False  # what sound code does without complaint, the faulty code fell over
            if self.inside:  # sound code stops only on what it was not promised
                raise _other_call(
                    "Its scores are a tensor of floats, (B, Tq, Tk); valid_lens is a tensor of B whole numbers from 0 "
                    f"to Tk. Python says: {type(error).__name__}: {error}"[:300].replace("\n", " ")
                    + "."
                ) from error
            if isinstance(error, WrongReturn) or ("`raise " not in line_of(error) and self.sound):
                raise
            raise another_exception(error) from error
        return False, result is not None


def _other_call(hint: str) -> WrongReturn:
    return WrongReturn(
        "another call", "Your test calls the function with something else than it takes.", hint
    )


def _judged(candidate: Any, code: Callable[[Tensor, Tensor], Tensor], sound: bool = False) -> Seen:
    """Run the learner's test three times, each from another random state."""
    watcher = _Watched(code, sound)
    rejected, odd = three_verdicts(candidate, watcher.rejected_by)
    return {
        "rejected": rejected,
        "_never called": yes(watcher.calls == 0),
        "_no empty sentence": yes(not watcher.empty_row),
        "_nothing hidden": yes(not watcher.short_row),
        "_returned": yes(odd),
    }


def _test_of_sound_code(candidate: Any) -> Seen:
    return _judged(candidate, _sound, sound=True)


def _test_of_sound_code_in_another_style(candidate: Any) -> Seen:
    return _judged(candidate, _sound_sentence_by_sentence, sound=True)


def _test_of_the_published_code(candidate: Any) -> Seen:
    return _judged(candidate, published_masked_softmax)


def _test_of_code_that_only_changes_its_input(candidate: Any) -> Seen:
    return _judged(candidate, _only_in_place)


def _test_of_code_that_only_errs_on_empty_sentences(candidate: Any) -> Seen:
    return _judged(candidate, _only_uniform)


def _case(lengths: tuple[int, ...] = (3, 0, 4)) -> tuple[Tensor, Tensor]:
    return numbers(len(lengths), 2, 4, seed=31), torch.tensor(lengths)


def _input_kept(masked_softmax: Any, lengths: tuple[int, ...] = (3, 0, 4)) -> None:
    scores, valid_lens = _case(lengths)
    before = scores.clone()
    masked_softmax(scores, valid_lens)
    assert torch.equal(scores, before)


def _empty_is_zero(masked_softmax: Any) -> None:
    scores, valid_lens = _case()
    assert (masked_softmax(scores, valid_lens)[1] == 0).all()


def _both(masked_softmax: Any) -> None:
    _input_kept(masked_softmax)
    _empty_is_zero(masked_softmax)


def _sums_to_one(masked_softmax: Any) -> None:
    scores, valid_lens = _case((3, 1, 4))
    assert torch.allclose(masked_softmax(scores, valid_lens).sum(-1), torch.ones(3, 2))


def _every_row_sums_to_one(masked_softmax: Any) -> None:
    scores, valid_lens = _case()
    assert torch.allclose(masked_softmax(scores, valid_lens).sum(-1), torch.ones(3, 2))


def _turned_round(masked_softmax: Any) -> None:
    scores, valid_lens = _case()
    before = scores.clone()
    weights = masked_softmax(scores, valid_lens)
    assert not torch.equal(scores, before) or not (weights[1] == 0).all()


def _returns_its_finding(masked_softmax: Any) -> bool:
    scores, valid_lens = _case()
    before = scores.clone()
    return bool((masked_softmax(scores, valid_lens)[1] == 0).all()) and torch.equal(scores, before)


def _no_empty_sentence(masked_softmax: Any) -> None:
    _input_kept(masked_softmax, (3, 1, 4))
    _sums_to_one(masked_softmax)


def _nothing_hidden(masked_softmax: Any) -> None:
    scores, valid_lens = _case((4, 4, 4))
    before = scores.clone()
    assert torch.allclose(masked_softmax(scores, valid_lens).sum(-1), torch.ones(3, 2))
    assert torch.equal(scores, before)


def _compared_with_itself(masked_softmax: Any) -> None:
    scores, valid_lens = _case()
    before = scores
    weights = masked_softmax(scores, valid_lens)
    assert torch.equal(scores, before) and (weights[0] >= 0).all()


_LINE = (
    "before = scores.clone(); weights = masked_softmax(scores, torch.tensor([3, 0])); "
    "assert torch.equal(scores, before) and (weights[1] == 0).all()"
)


_BUG_MISTAKES = (
    Mistake(
        "never runs the function",
        lambda masked_softmax: None,
        "Your test never calls the function it is given.",
        "Make random scores and some lengths, call it, and look at what comes out, and at what went in.",
        _LINE,
    ),
    Mistake(
        "returns its finding",
        _returns_its_finding,
        "Your test returns its finding; it should raise AssertionError.",
        "Put the finding behind `assert`: it raises where the condition is False.",
        _LINE,
    ),
    Mistake(
        "nothing is hidden",
        _nothing_hidden,
        "Your test hides nothing: every length is the full one, and no fault can show.",
        "Take lengths below Tk, and one of 0.",
        _LINE,
    ),
    Mistake(
        "accepts everything",
        _compared_with_itself,
        "Your test is content with the published code too.",
        "What is promised of a sentence of length 0, and of the scores? `before = scores` is the same tensor, not a "
        "copy. And is the finding raised: `assert`, no parentheses around condition and text, no try/except around it?",
        _LINE,
    ),
    Mistake(
        "accepts everything, no empty sentence",
        _sums_to_one,
        "Your test is content with the published code too, and tries no empty sentence.",
        "Lengths run from 0 to Tk: try both ends. And compare the scores before and after.",
        _LINE,
    ),
    Mistake(
        "only the changed scores",
        _input_kept,
        "Your test finds the changed scores; it overlooks what an empty sentence gets.",
        "A sentence of length 0: which weights are promised? Which does the published code give?",
        _LINE,
    ),
    Mistake(
        "only the changed scores, no empty sentence",
        _no_empty_sentence,
        "Your test finds the changed scores, but never tries a sentence of length 0.",
        "Lengths run from 0 to Tk: try both ends. Which weights are promised where nothing may be seen?",
        _LINE,
    ),
    Mistake(
        "only the empty sentence",
        _empty_is_zero,
        "Your test finds the fault of the empty sentence; it overlooks another one.",
        "Look at the scores that you handed in: are they still what they were? Compare with a .clone() made before.",
        _LINE,
    ),
    Mistake(
        "rejects everything",
        _every_row_sums_to_one,
        "Your test rejects sound code too.",
        "Is what it asserts promised? A sentence of length 0 gets zeros, which do not sum to 1; and sums in another "
        "order differ by rounding, so allow atol=1e-5.",
        _LINE,
    ),
    Mistake(
        "turned round",
        _turned_round,
        "Your test rejects sound code and accepts the published one: it is turned round.",
        "`assert` raises where its condition is False. Is there a `not`, or a != in place of ==?",
        _LINE,
    ),
)


_BUG_PROPERTIES = (
    Property(
        "depends on chance",
        lambda seen: all(shown["rejected"].sum().item() in (0, 3) for shown in seen.values()),
        "Your test finds a fault sometimes only: it depends on chance.",
        "Are the lengths drawn at random, so that a 0 is sometimes missing? Choose them.",
    ),
    Property(
        "never runs the function",
        lambda seen: any(shown["_never called"].item() == 0 for shown in seen.values()),
        "Your test never calls the function it is given.",
        "Its name is that of your test's argument. Is another function called, the published one perhaps?",
    ),
    Property(
        "returns its finding",
        lambda seen: (
            not any(
                shown["_returned"].item() == 1 and shown["rejected"].sum().item() == 0
                for shown in seen.values()
            )
        ),
        "Your test returns something; only a raised AssertionError is heard.",
        "Put the finding behind `assert`, or write `raise AssertionError(…)` in place of `return`.",
    ),
    Property(
        "rejects sound code",
        lambda seen: always(seen, "test of sound code", 0),
        "Your test rejects sound code.",
        "Is what it asserts promised? A sentence of length 0 gets zeros, not NaN and no sum of 1. And the last digits "
        "may differ: allow atol=1e-5.",
    ),
    Property(
        "rejects another style",
        lambda seen: always(seen, "test of sound code in another style", 0),
        "Your test rejects sound code that is written in another style.",
        "Test what is promised, not how it is computed. Sums in another order differ by rounding: allow atol=1e-5.",
    ),
    Property(
        "accepts the published code",
        lambda seen: always(seen, "test of the published code", 1),
        "Your test is content with the published code.",
        "What is promised of a sentence of length 0, and of the scores that were handed in?",
    ),
    Property(
        "overlooks the changed scores",
        lambda seen: always(seen, "test of code that only changes its input", 1),
        "Your test overlooks code that changes the scores it was given.",
        "Keep a copy, made by .clone() before the call, and compare afterwards, with a length below Tk. Are the scores "
        "handed over as they are, not as a copy, a slice or an expression?",
    ),
    Property(
        "overlooks the empty sentence",
        lambda seen: always(seen, "test of code that only errs on empty sentences", 1),
        "Your test overlooks code that gives an empty sentence equal weights.",
        "Try a sentence of length 0: all of its weights are promised to be 0.",
    ),
)


BUG: Exercise = Exercise(
    id="05.find_the_bug",
    title="Find the bug: a masked softmax",
    stub=BUG_STUB,
    reference=_both,
    experiments=(
        _test_of_sound_code,
        _test_of_sound_code_in_another_style,
        _test_of_the_published_code,
        _test_of_code_that_only_changes_its_input,
        _test_of_code_that_only_errs_on_empty_sentences,
    ),
    mistakes=_BUG_MISTAKES,
    properties=_BUG_PROPERTIES,
    difficulty=4,
    importance=4,
    minutes=20,
)
