"""Answer spans: the loss of two places, and the best span that may be."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.objectives import answer_in_window, best_span, span_loss


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 40), st.integers(1, 4))
def test_equal_logits_cost_the_logarithm_of_the_length(n_tokens, n_rows):
    """And not twice it: start and end are averaged."""
    logits = torch.zeros(n_rows, n_tokens, dtype=torch.float64)
    place = torch.full((n_rows,), n_tokens - 1)
    assert span_loss(logits, logits, place, place).item() == pytest.approx(math.log(n_tokens), rel=1e-9)


def test_the_loss_is_half_the_start_and_half_the_end():
    start_logits, end_logits = torch.randn(2, 2, 4, generator=chance(), dtype=torch.float64)
    p_start, p_end = start_logits.softmax(1), end_logits.softmax(1)
    by_hand = -(p_start[0, 1].log() + p_start[1, 0].log()) / 2 - (p_end[0, 3].log() + p_end[1, 2].log()) / 2
    loss = span_loss(start_logits, end_logits, torch.tensor([1, 0]), torch.tensor([3, 2]))
    assert loss.item() == pytest.approx(by_hand.item() / 2, rel=1e-12)


def test_what_was_cut_off_is_ignored_and_what_lies_below_counts_as_the_first_place():
    logits = torch.randn(3, 5, generator=chance(), dtype=torch.float64, requires_grad=True)
    ends = torch.tensor([2, 2, 2])
    alone = span_loss(logits[:1], logits[:1], ends[:1], ends[:1])

    def loss(start, end):
        return span_loss(logits, logits, torch.tensor(start), torch.tensor(end))

    for away in (5, 99, -100):
        assert loss([2, away, away], [2, away, away]).item() == pytest.approx(alone.item(), rel=1e-12)
        (gradient,) = torch.autograd.grad(loss([2, away, away], [2, away, away]), logits)
        assert (gradient[1:] == 0).all() and (gradient[0] != 0).all()
    assert loss([2, -1, -7], [2, 2, 2]).item() == loss([2, 0, 0], [2, 2, 2]).item()
    # Start and end are means of their own: one row may count for one and not for the other.
    mixed = loss([1, 99, 99], [1, 3, 0])
    by_hand = (
        span_loss(logits[:1], logits[:1], torch.tensor([1]), torch.tensor([1])) * 2
        + logits[0].log_softmax(0)[1]
        - (logits[0].log_softmax(0)[1] + logits[1].log_softmax(0)[3] + logits[2].log_softmax(0)[0]) / 3
    ) / 2
    assert mixed.item() == pytest.approx(by_hand.item(), rel=1e-12)


def slow_best_span(start_logits, end_logits, is_context, max_len):
    """The definition: every span that may be, one after another."""
    best = (-math.inf, 0, 0)
    for start in range(len(start_logits)):
        for end in range(start, min(start + max_len, len(start_logits))):
            if all(is_context[start : end + 1]) and start_logits[start] + end_logits[end] > best[0]:
                best = (start_logits[start] + end_logits[end], start, end)
    return best


@given(st.data())
def test_the_best_span_is_the_best_of_all_that_may_be(data):
    n_rows, n_tokens = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 9))
    max_len = data.draw(st.integers(1, 11))
    flags = st.lists(st.booleans(), min_size=n_tokens, max_size=n_tokens).filter(any)
    is_context = torch.tensor(data.draw(st.lists(flags, min_size=n_rows, max_size=n_rows)))
    # Few different numbers, so that there are ties: the first start wins, then the shortest.
    start_logits, end_logits = torch.randint(
        -3, 4, (2, n_rows, n_tokens), generator=chance(data.draw(st.integers(0, 99)))
    ).double()
    start, end, score = best_span(start_logits, end_logits, is_context, max_len=max_len)
    for row in range(n_rows):
        expected = slow_best_span(
            start_logits[row].tolist(), end_logits[row].tolist(), is_context[row].tolist(), max_len
        )
        assert (score[row].item(), start[row].item(), end[row].item()) == expected


def test_two_best_ends_that_do_not_fit_together_give_way_to_the_best_pair():
    start_logits = torch.tensor([[0.0, 1.0, 0.0, 0.0, 5.0]])
    end_logits = torch.tensor([[0.0, 9.0, 0.0, 2.0, 4.0]])
    everything = torch.ones(1, 5, dtype=torch.bool)
    start, end, score = best_span(start_logits, end_logits, everything)
    assert (start.item(), end.item(), score.item()) == (1, 1, 10.0)  # 5 + 9 would end before it starts


def test_an_answer_never_stands_in_the_question_nor_is_it_longer_than_it_may_be():
    is_context = torch.tensor([[False, False, False, True, True, True, True, False]])
    start_logits = torch.tensor([[0.0, 9.0, 9.0, 5.0, 0.0, 0.0, 1.0, 9.0]])
    end_logits = torch.tensor([[0.0, 9.0, 9.0, 0.0, 1.0, 0.0, 8.0, 9.0]])
    assert [one.item() for one in best_span(start_logits, end_logits, is_context)] == [3, 6, 13.0]
    assert [one.item() for one in best_span(start_logits, end_logits, is_context, max_len=3)] == [6, 6, 9.0]
    far = start_logits.masked_fill(~is_context, math.inf)  # what stands outside the context is not looked at
    assert best_span(far, end_logits, is_context).start.item() == 3


def test_the_gold_answer_comes_back_with_its_last_token():
    words = "[CLS] where does anna live [SEP] anna lives in new york [SEP]".split()
    start, end = words.index("new"), words.index("york")
    logits = torch.zeros(2, 1, len(words))
    logits[0, 0, start] = logits[1, 0, end] = 4.0
    is_context = torch.tensor([[False] * 6 + [True] * 5 + [False]])
    found = best_span(logits[0], logits[1], is_context)
    assert " ".join(words[int(found.start) : int(found.end) + 1]) == "new york"


@given(st.integers(0, 30), st.integers(0, 5), st.integers(0, 30), st.integers(1, 20), st.integers(0, 10))
def test_an_answer_in_a_window_points_at_the_same_words_and_otherwise_at_cls(
    start, more, window_start, window_len, offset
):
    end = start + more
    text = list(range(100, 160))
    window = [0] * offset + text[window_start : window_start + window_len]
    found = answer_in_window(start, end, window_start=window_start, window_len=window_len, offset=offset)
    if all(one in window for one in text[start : end + 1]):
        assert window[found[0] : found[1] + 1] == text[start : end + 1]
    else:
        assert found == (0, 0)


LOGITS = torch.zeros(2, 4)
PLACES = torch.tensor([1, 2])
CONTEXT = torch.ones(2, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: span_loss(LOGITS, LOGITS[:, :3], PLACES, PLACES), r"span_loss: .*got \(2, 4\) and \(2, 3\)"),
        (lambda: span_loss(None, LOGITS, PLACES, PLACES), "got NoneType"),
        (lambda: span_loss(LOGITS[0], LOGITS[0], PLACES, PLACES), r"got \(4,\)"),
        (lambda: span_loss(LOGITS[:0], LOGITS[:0], PLACES[:0], PLACES[:0]), r"got \(0, 4\)"),
        (lambda: span_loss(LOGITS.long(), LOGITS.long(), PLACES, PLACES), "int64"),
        (lambda: span_loss(LOGITS, LOGITS.double(), PLACES, PLACES), "float32 and torch.float64"),
        (lambda: span_loss(LOGITS, LOGITS, PLACES[:1], PLACES), r"start must be \(2,\), got \(1,\)"),
        (lambda: span_loss(LOGITS, LOGITS, PLACES, [1, 2]), "end must be .*got list"),
        (lambda: span_loss(LOGITS, LOGITS, PLACES, PLACES.float()), "end .*float32"),
        (lambda: span_loss(LOGITS, LOGITS, PLACES + 9, PLACES), r"every start .*\[10, 11\]"),
        (lambda: best_span(LOGITS, LOGITS, CONTEXT[:1]), r"is_context .*\(2, 4\), got \(1, 4\)"),
        (lambda: best_span(LOGITS, LOGITS, LOGITS), "is_context .*float32"),
        (lambda: best_span(LOGITS, LOGITS, CONTEXT & torch.tensor([[True], [False]])), "row 1 .*no context"),
        (lambda: best_span(LOGITS, LOGITS, CONTEXT, max_len=0), "max_len .*got 0"),
        (lambda: best_span(LOGITS, LOGITS * math.nan, CONTEXT), "end_logits .*got nan"),
        (lambda: best_span(LOGITS - math.inf, LOGITS, CONTEXT), "start_logits .*got -inf"),
        (lambda: answer_in_window(3, 2, window_start=0, window_len=5, offset=0), "end .*at least 3, got 2"),
        (lambda: answer_in_window(-1, 2, window_start=0, window_len=5, offset=0), "start .*got -1"),
        (lambda: answer_in_window(1, 2, window_start=0, window_len=0, offset=0), "window_len .*got 0"),
        (lambda: answer_in_window(1, 2, window_start=0.5, window_len=1, offset=0), "window_start .*got 0.5"),
    ],
)
def test_what_is_wrong_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
