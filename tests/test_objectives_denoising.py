"""Denoising: T5's spans and BART's infilling, and that a text can be put together again.

Bounds on shares are Hoeffding's: a sound function fails a line with probability below 1e-9 (the seeds are
fixed besides).
"""

import math
from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.objectives import corrupt_spans, infill, restore_infilling, restore_spans

SENTINELS = list(range(1000, 1400))
MASK = 3


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def margin(n, failure=1e-9):
    """How far the share of n independent draws strays from its probability (Hoeffding)."""
    return math.sqrt(math.log(2 / failure) / (2 * n))


texts = st.lists(st.integers(10, 99), min_size=2, max_size=60)
shares = st.floats(0.01, 1.0)
means = st.floats(1.0, 8.0)


# --- T5 ----------------------------------------------------------------------------------------------------


@given(texts, shares, means, st.integers(0, 999))
def test_inputs_and_target_together_are_the_text(text, share, mean, seed):
    before = list(text)
    inputs, target = corrupt_spans(
        text, sentinel_ids=SENTINELS, generator=chance(seed), share=share, mean_length=mean
    )
    assert text == before
    assert restore_spans(inputs, target, sentinel_ids=SENTINELS) == text


@given(texts, shares, means, st.integers(0, 999))
def test_sentinels_count_up_separate_the_spans_and_end_the_target(text, share, mean, seed):
    inputs, target = corrupt_spans(
        text, sentinel_ids=SENTINELS, generator=chance(seed), share=share, mean_length=mean
    )
    in_inputs = [one for one in inputs if one in SENTINELS]
    in_target = [one for one in target if one in SENTINELS]
    assert in_inputs == SENTINELS[: len(in_inputs)]
    assert in_target == [*in_inputs, SENTINELS[len(in_inputs)]]
    assert target[0] == SENTINELS[0] and target[-1] == in_target[-1]
    for tokens in (inputs, target):  # no span is empty, and a kept token stands between two
        assert not any(one in SENTINELS and other in SENTINELS for one, other in pairwise(tokens))
    removed = min(max(1, round(share * len(text))), len(text) - 1)
    assert len(target) - len(in_target) == removed
    assert len(in_inputs) == min(max(1, round(removed / mean)), removed, len(text) - removed + 1)


def test_a_hundred_tokens_lose_15_in_5_spans_of_3_on_average():
    inputs, target = corrupt_spans(range(10, 110), sentinel_ids=SENTINELS, generator=chance())
    assert len(inputs) == 100 - 15 + 5
    assert len(target) == 15 + 6


def test_every_way_to_cut_and_place_the_spans_is_as_likely_as_any_other():
    """3 of 5 tokens in 2 spans: 2 ways to cut them, 3 to place them among 2 kept tokens."""
    n = 8000
    generator = chance()
    seen = {}
    for _ in range(n):
        inputs, target = corrupt_spans(
            [10, 11, 12, 13, 14], sentinel_ids=[0, 1, 2], generator=generator, share=0.6, mean_length=1.5
        )
        seen[tuple(inputs), tuple(target)] = seen.get((tuple(inputs), tuple(target)), 0) + 1
    assert len(seen) == 2 * len(list(combinations(range(3), 2)))
    for count in seen.values():
        assert count / n == pytest.approx(1 / 6, abs=margin(n))


def test_a_target_a_model_wrote_is_read_as_far_as_it_goes():
    inputs = [10, 1000, 13, 1001, 15]
    assert restore_spans(inputs, [1000, 11, 12, 1001, 14, 1002], sentinel_ids=SENTINELS) == [
        10,
        11,
        12,
        13,
        14,
        15,
    ]
    assert restore_spans(inputs, [1000, 11], sentinel_ids=SENTINELS) == [10, 11, 13, 15]
    assert restore_spans(inputs, [77, 1001, 14, 1001, 88], sentinel_ids=SENTINELS) == [10, 13, 14, 15]
    assert restore_spans(inputs, [], sentinel_ids=SENTINELS) == [10, 13, 15]


def test_a_tensor_of_ids_is_a_text_too():
    by_list = corrupt_spans([5, 6, 7, 8], sentinel_ids=SENTINELS, generator=chance())
    by_tensor = corrupt_spans(torch.tensor([5, 6, 7, 8]), sentinel_ids=SENTINELS, generator=chance())
    assert by_list == by_tensor
    assert infill(torch.tensor([5, 6]), mask_id=MASK, generator=chance()) == infill(
        [5, 6], mask_id=MASK, generator=chance()
    )


# --- BART --------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(10, 99), min_size=1, max_size=60), shares, means, st.integers(0, 999))
def test_inputs_and_what_was_removed_together_are_the_text(text, share, mean, seed):
    before = list(text)
    inputs, removed = infill(text, mask_id=MASK, generator=chance(seed), share=share, mean_length=mean)
    assert text == before
    assert restore_infilling(inputs, removed, mask_id=MASK) == text
    assert sum(map(len, removed)) == max(1, round(share * len(text)))
    assert inputs.count(MASK) == len(removed)
    assert len(inputs) == len(text) - sum(map(len, removed)) + len(removed)


def test_spans_have_poisson_lengths_with_mean_3_and_some_stand_for_nothing():
    """30 000 tokens are removed in 9 000 to 11 000 spans (18 σ away); all lengths but the last are plain draws.

    Hoeffding's bound for the largest deviation up to the 11 000th draw, divided by at least 9 000.
    """
    _, removed = infill(range(10, 60_010), mask_id=MASK, generator=chance(), share=0.5)
    lengths = [len(span) for span in removed]
    assert 9000 < len(lengths) < 11_000
    bound = (math.sqrt(11_000 * math.log(2e9) / 2) + 1) / 9000  # 0.027
    for length in range(9):
        poisson = math.exp(-3) * 3**length / math.factorial(length)
        assert lengths.count(length) / len(lengths) == pytest.approx(poisson, abs=bound)
    assert lengths.count(0) > 9000 * (math.exp(-3) - bound)  # these insert a [MASK]


def test_the_number_of_spans_is_that_of_a_poisson_process_stopped_at_its_budget():
    """With 3 tokens to remove and λ = 3, two spans or fewer are enough with a probability we can sum up."""
    n = 8000
    poisson = [math.exp(-3) * 3**k / math.factorial(k) for k in range(4)]
    one = 1 - sum(poisson[:3])
    two = sum(poisson[k] * (1 - sum(poisson[: 3 - k])) for k in range(3))
    generator = chance()
    counts = [len(infill(range(10, 20), mask_id=MASK, generator=generator)[1]) for _ in range(n)]
    assert counts.count(1) / n == pytest.approx(one, abs=margin(n))
    assert counts.count(2) / n == pytest.approx(two, abs=margin(n))


def test_the_length_that_was_cut_stands_anywhere():
    """Of 3 tokens removed in spans of 1 and 2 the shorter comes first in half; as drawn, in 36 %."""
    generator = chance()
    found = [infill(range(10, 20), mask_id=MASK, generator=generator)[1] for _ in range(8000)]
    orders = [
        lengths for lengths in ([len(span) for span in spans] for spans in found) if sorted(lengths) == [1, 2]
    ]
    assert orders.count([1, 2]) / len(orders) == pytest.approx(1 / 2, abs=margin(len(orders)))
    assert margin(len(orders)) < 0.1


def test_a_span_may_stand_at_any_place():
    """One token of 4 removed by one span: it is each of them equally often."""
    n = 8000
    generator = chance()
    found = [infill([10, 11, 12, 13], mask_id=MASK, generator=generator, share=0.25) for _ in range(n)]
    alone = [removed[0][0] for _, removed in found if len(removed) == 1]
    for token in (10, 11, 12, 13):
        assert alone.count(token) / len(alone) == pytest.approx(1 / 4, abs=margin(len(alone)))


def test_the_same_generator_gives_the_same_holes_and_the_global_state_is_left_alone():
    state, text = torch.get_rng_state(), list(range(10, 60))
    for make in (
        lambda seed: corrupt_spans(text, sentinel_ids=SENTINELS, generator=chance(seed)),
        lambda seed: infill(text, mask_id=MASK, generator=chance(seed)),
    ):
        assert make(1) == make(1) != make(2)
    assert torch.equal(torch.get_rng_state(), state)


TEXT = [10, 11, 12, 13]


def t5(text=TEXT, sentinel_ids=SENTINELS, generator=None, **more):
    return corrupt_spans(text, sentinel_ids=sentinel_ids, generator=generator or chance(), **more)


def bart(text=TEXT, mask_id=MASK, generator=None, **more):
    return infill(text, mask_id=mask_id, generator=generator or chance(), **more)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: t5([10]), "corrupt_spans: tokens .*at least 2 ids, got 1"),
        (lambda: t5("ab"), "got str"),
        (lambda: t5(None), "got NoneType"),
        (lambda: t5([10, -1]), "each token .*got -1"),
        (lambda: t5([10, 0.5]), "got 0.5"),
        (lambda: t5(torch.zeros(2, 2).long()), r"got \(2, 2\)"),
        (lambda: t5(torch.zeros(2)), "float32"),
        (lambda: t5([10, 1001]), "already hold the sentinel 1001, at place 1"),
        (lambda: t5(sentinel_ids=[1000]), "1 spans need 2 sentinels, got 1"),
        (lambda: t5(sentinel_ids=[1000, 1000]), r"all different, got \[1000, 1000\]"),
        (lambda: t5(sentinel_ids=7), "sentinel_ids .*got int"),
        (lambda: t5(sentinel_ids=[1000, None]), "sentinel_ids .*got None"),
        (lambda: t5(generator=5), "generator .*got int"),
        (lambda: t5(share=0), "share .*got 0"),
        (lambda: t5(share=1.01), "share .*got 1.01"),
        (lambda: t5(share=math.nan), "share .*got nan"),
        (lambda: t5(mean_length=0.5), "mean_length .*got 0.5"),
        (lambda: t5(mean_length=math.inf), "mean_length .*got inf"),
        (lambda: bart([]), "infill: tokens .*got 0"),
        (lambda: bart([10, MASK]), "already hold the mask_id 3, at place 1"),
        (lambda: bart(mask_id=None), "mask_id .*got None"),
        (lambda: bart(share=-0.1), "share .*got -0.1"),
        (lambda: bart(mean_length=0), "mean_length .*got 0"),
        (lambda: bart(mean_length=math.nan), "mean_length .*got nan"),
        (lambda: restore_spans([10], [0.5], sentinel_ids=SENTINELS), "restore_spans: each token .*got 0.5"),
        (lambda: restore_infilling([MASK], [], mask_id=MASK), "hold mask_id 1 times, got 0 spans"),
        (lambda: restore_infilling([10], None, mask_id=MASK), "got NoneType"),
        (lambda: restore_infilling([MASK], [None], mask_id=MASK), "got NoneType"),
    ],
)
def test_what_is_wrong_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
