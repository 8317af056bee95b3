"""Permutation language model: orders, targets, who sees whom, and that nothing hidden leaks.

Bounds on shares are Hoeffding's: a sound function fails a line with probability below 1e-9 (the seeds are
fixed besides).
"""

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.attention import scaled_dot_product_attention
from course_lib.masks import permutation_masks
from course_lib.objectives import (
    choose_prediction_spans,
    masked_word_loss,
    one_hot_targets,
    order_with_targets_last,
    permutation_batch,
    permutation_orders,
    target_count,
)

PAD, CLS, SEP, FIRST_WORD, VOCAB = 0, 1, 2, 4, 40


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def margin(n, failure=1e-9):
    """How far the share of n independent draws strays from its probability (Hoeffding)."""
    return math.sqrt(math.log(2 / failure) / (2 * n))


def sequences(n_rows, length, seed=0):
    """Rows of words [SEP] [CLS], as XLNet writes them, padded on the right to `length`."""
    draw = chance(seed)
    tokens = torch.randint(FIRST_WORD, VOCAB, (n_rows, length), generator=draw)
    lengths = torch.randint(3, length + 1, (n_rows,), generator=draw)
    rows = torch.arange(n_rows)
    tokens[rows, lengths - 2], tokens[rows, lengths - 1] = SEP, CLS
    return tokens.masked_fill(torch.arange(length) >= lengths[:, None], PAD)


def batch_of(tokens, generator, **more):
    return permutation_batch(tokens, pad_id=PAD, special_ids=(CLS, SEP), generator=generator, **more)


# --- orders ------------------------------------------------------------------------------------------------


def test_every_order_is_as_likely_as_any_other():
    n = 60_000
    orders = [tuple(order) for order in permutation_orders(n, 3, generator=chance()).tolist()]
    for order in permutations(range(3)):
        assert orders.count(order) / n == pytest.approx(1 / 6, abs=margin(n))


def test_an_order_ends_with_the_targets_and_both_parts_are_random():
    n = 40_000
    is_target = torch.tensor([[True, False, True, False]]).expand(n, -1)
    orders = [tuple(order) for order in order_with_targets_last(is_target, generator=chance()).tolist()]
    for given_first in permutations((1, 3)):
        for targets in permutations((0, 2)):
            assert orders.count(given_first + targets) / n == pytest.approx(1 / 4, abs=margin(n))


# --- the batch ---------------------------------------------------------------------------------------------


@given(
    st.integers(1, 4),
    st.integers(3, 14),
    st.floats(0.05, 1.0),
    st.sampled_from(["token", "span"]),
    st.integers(0, 99),
)
def test_targets_are_the_tail_of_the_order_and_see_what_comes_before_them(n_rows, length, share, unit, seed):
    tokens = sequences(n_rows, length, seed)
    batch = batch_of(tokens, chance(seed), share=share, unit=unit)
    places = max(1, round(share * length))
    assert batch.query_mask.shape == (n_rows, 1, places, length)
    assert batch.content_mask.shape == (n_rows, 1, length, length)
    n_words = (tokens >= FIRST_WORD).sum(1)
    n_targets = target_count((tokens != PAD).sum(1), share).minimum(n_words)
    for row in range(n_rows):
        n = int(n_targets[row])
        order = batch.order[row].tolist()
        assert sorted(order) == list(range(length))
        targets, given_ = order[length - n :], order[: length - n]
        assert batch.target_positions[row].tolist() == order[length - places :]
        assert batch.weights[row].tolist() == [0.0] * (places - n) + [1.0] * n
        assert (tokens[row, targets] >= FIRST_WORD).all()  # nothing special, no padding
        assert batch.labels[row].tolist() == [-100] * (places - n) + tokens[row, targets].tolist()
        real = [place for place in given_ if tokens[row, place] != PAD]
        for number, target in enumerate(targets):
            seen = batch.query_mask[row, 0, places - n + number].nonzero().flatten().tolist()
            assert seen == sorted(real + targets[:number])
            seen = batch.content_mask[row, 0, target].nonzero().flatten().tolist()
            assert seen == sorted(real + targets[: number + 1])
        for place in given_:
            assert batch.content_mask[row, 0, place].nonzero().flatten().tolist() == sorted(real)


def test_the_tokens_themselves_are_neither_changed_nor_moved():
    tokens = sequences(20, 12)
    before = tokens.clone()
    batch_of(tokens, chance())
    assert torch.equal(tokens, before)


def test_each_row_has_its_own_order_and_its_own_targets():
    tokens = torch.full((50, 12), 9)
    batch = batch_of(tokens, chance())
    assert len({tuple(row) for row in batch.target_positions.tolist()}) > 30
    assert not torch.equal(batch.content_mask[0], batch.content_mask[1])


def test_every_word_is_as_often_a_target_as_any_other():
    n = 30_000
    batch = batch_of(torch.full((n, 6), 9), chance(), share=1 / 3)
    for place in range(6):
        share = (batch.target_positions == place).any(1).double().mean().item()
        assert share == pytest.approx(1 / 3, abs=margin(n))


def test_a_sixth_is_predicted():
    assert batch_of(torch.full((3, 24), 9), chance()).weights.sum(1).tolist() == [4.0, 4.0, 4.0]


# --- spans -------------------------------------------------------------------------------------------------


def test_spans_have_one_to_five_tokens_with_chances_as_one_to_a_fifth():
    """The first run of a row is never cut (5 targets are asked for) and never touches the next."""
    n = 30_000
    is_target = choose_prediction_spans(
        torch.ones(n, 75, dtype=torch.bool), torch.full((n,), 5), generator=chance()
    )
    assert (is_target.sum(1) == 5).all()
    first = is_target.long().argmax(1)
    behind = torch.nn.functional.pad(is_target, (0, 1))
    shifted = behind.gather(1, first[:, None] + torch.arange(6)).long()
    lengths = shifted.cumprod(1).sum(1)
    total = sum(1 / length for length in range(1, 6))
    for length in range(1, 6):
        share = (lengths == length).double().mean().item()
        assert share == pytest.approx(1 / length / total, abs=margin(n))
    # A run of one token lies anywhere in its seven places but the last.
    alone = first[lengths == 1]
    for place in range(6):
        share = (alone == place).double().mean().item()
        assert share == pytest.approx(1 / 6, abs=margin(len(alone)))
    assert alone.max() == 5


def test_each_run_lies_in_a_context_of_its_own():
    """Runs of one token, ten in seventy: one in each seven, never at the seventh, so that no two touch."""
    is_target = choose_prediction_spans(
        torch.ones(500, 70, dtype=torch.bool), torch.full((500,), 10), generator=chance(), longest=1
    )
    sevens = is_target.view(500, 10, 7)
    assert (sevens.sum(2) == 1).all() and not sevens[:, :, 6].any()


@given(st.integers(1, 4), st.integers(1, 30), st.integers(0, 30), st.integers(0, 99))
def test_spans_give_exactly_the_number_asked_for_where_there_is_enough(n_rows, length, n, seed):
    is_eligible = torch.rand(n_rows, length, generator=chance(seed)) < 0.8
    chosen = choose_prediction_spans(is_eligible, torch.full((n_rows,), n), generator=chance(seed + 1))
    assert not (chosen & ~is_eligible).any()
    assert chosen.sum(1).tolist() == is_eligible.sum(1).clamp(max=n).tolist()


# --- the reused half ---------------------------------------------------------------------------------------


@given(st.integers(0, 99), st.integers(0, 12))
def test_the_reused_half_never_sees_what_follows_and_is_wholly_seen_by_it(seed, reuse_len):
    tokens = torch.randint(FIRST_WORD, VOCAB, (3, 12), generator=chance(seed))
    batch = batch_of(tokens, chance(seed), share=0.5, reuse_len=reuse_len)
    assert not batch.content_mask[:, 0, :reuse_len, reuse_len:].any()
    assert batch.content_mask[:, 0, reuse_len:, :reuse_len].all()
    is_first = batch.target_positions < reuse_len
    query = batch.query_mask[:, 0]
    assert not query[is_first][:, reuse_len:].any()
    assert query[~is_first][:, :reuse_len].all()


# --- nothing hidden leaks ----------------------------------------------------------------------------------


def two_streams(x, batch, n_layers=3):
    """XLNet without its trimmings: the content stream begins with the tokens, the query stream with none.

    Both take keys and values from the content stream (section 2.3). Returns g at the targets, (B, P, D).
    """
    draw = torch.Generator().manual_seed(5)
    d_model = x.size(-1)
    h, g = x, torch.ones(*batch.target_positions.shape, d_model, dtype=x.dtype)
    for _ in range(n_layers):
        w_q, w_k, w_v = torch.randn(3, d_model, d_model, dtype=x.dtype, generator=draw).unbind()
        k, v = h @ w_k, h @ w_v
        g = g + scaled_dot_product_attention(g @ w_q, k, v, batch.query_mask[:, 0])[0]
        h = h + scaled_dot_product_attention(h @ w_q, k, v, batch.content_mask[:, 0])[0]
    return g


def seen_by_gradient(tokens, batch):
    """Which tokens each target's prediction depends on, (B, P, T): where the gradient is not exactly 0."""
    x = torch.randn(*tokens.shape, 4, dtype=torch.float64, generator=chance(9), requires_grad=True)
    g = two_streams(x, batch)
    seen = torch.zeros(batch.query_mask.size(0), batch.query_mask.size(2), tokens.size(1), dtype=torch.bool)
    for place in range(g.size(1)):
        (gradient,) = torch.autograd.grad(g[:, place].sum(), x, retain_graph=True)
        seen[:, place] = (gradient != 0).any(-1)
    return seen


@pytest.mark.parametrize("unit", ["token", "span"])
@pytest.mark.parametrize("reuse_len", [0, 5])
def test_the_gradient_to_every_hidden_token_is_exactly_zero_and_to_every_visible_one_is_not(unit, reuse_len):
    tokens = sequences(6, 11)
    tokens[0] = 9  # one row without special tokens and padding
    batch = batch_of(tokens, chance(2), share=0.4, unit=unit, reuse_len=reuse_len)
    seen = seen_by_gradient(tokens, batch)
    is_counted = batch.weights == 1
    assert torch.equal(seen[is_counted], batch.query_mask[:, 0][is_counted])
    itself = seen.gather(2, batch.target_positions[:, :, None])[:, :, 0]
    assert not itself[is_counted].any()


def order_for_rank(order, n_predict):
    rank = order
    if n_predict is not None:
        rank = (rank - order.size(-1) + n_predict[:, None]).clamp(min=-1)
    return (rank[:, None, None] <= rank[:, None, :, None]), (rank[:, None, None] < rank[:, None, :, None])


def content_does_not_see_itself(order, n_predict):
    _, query = permutation_masks(order, n_predict)
    return query, query


def query_sees_itself(order, n_predict):
    content, _ = permutation_masks(order, n_predict)
    return content, content


def transposed(order, n_predict):
    content, query = permutation_masks(order, n_predict)
    return content.transpose(-2, -1), query.transpose(-2, -1)


def opposite_polarity(order, n_predict):
    content, query = permutation_masks(order, n_predict)
    return ~content, ~query


def left_to_right(order, n_predict):
    return permutation_masks(torch.arange(order.size(1)).expand(order.shape), n_predict)


def the_first_of_the_order_predicted(order, n_predict):
    return permutation_masks(order.flip(1), n_predict)


def the_first_row_for_all(order, n_predict):
    content, query = permutation_masks(order[:1], n_predict[:1])
    return content.expand(len(order), -1, -1, -1), query.expand(len(order), -1, -1, -1)


def assert_masks_follow_the_order(masks):
    order = torch.tensor([[3, 0, 4, 1, 2], [2, 4, 1, 0, 3]])
    content, query = masks(order, torch.tensor([5, 5]))
    for row in range(2):
        for number, place in enumerate(order[row].tolist()):
            before = sorted(order[row, :number].tolist())
            assert query[row, 0, place].nonzero().flatten().tolist() == before
            assert content[row, 0, place].nonzero().flatten().tolist() == sorted([*before, place])


def test_the_masks_follow_the_order():
    assert_masks_follow_the_order(permutation_masks)


@pytest.mark.parametrize(
    "mistake",
    [
        order_for_rank,
        content_does_not_see_itself,
        query_sees_itself,
        transposed,
        opposite_polarity,
        left_to_right,
        the_first_of_the_order_predicted,
        the_first_row_for_all,
    ],
    ids=lambda mistake: mistake.__name__,
)
def test_what_learners_get_wrong_is_noticed(mistake):
    with pytest.raises(AssertionError):
        assert_masks_follow_the_order(mistake)


# --- one-hot targets and the loss --------------------------------------------------------------------------


def test_one_hot_targets_pick_what_gather_picks_and_fill_up_with_zeros():
    x = torch.randn(2, 5, 3, generator=chance())
    positions = torch.tensor([[4, 0, 2], [1, 1, 3]])
    weights = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    mapping = one_hot_targets(positions, weights, 5)
    assert mapping.shape == (2, 3, 5)
    assert mapping.sum(2).tolist() == weights.tolist()
    picked = x.gather(1, positions[:, :, None].expand(-1, -1, 3)) * weights[:, :, None]
    assert torch.equal(mapping @ x, picked)


def test_the_loss_is_the_mean_over_the_targets_of_all_rows():
    tokens = sequences(5, 13)
    batch = batch_of(tokens, chance(), share=0.3)
    logits = torch.randn(*batch.labels.shape, VOCAB, generator=chance(1), dtype=torch.float64)
    p = logits.log_softmax(-1).gather(2, batch.labels.clamp(min=0)[:, :, None])[:, :, 0]
    by_hand = -(p * batch.weights).sum() / batch.weights.sum()
    assert masked_word_loss(logits, batch.labels).item() == pytest.approx(by_hand.item(), rel=1e-12)


def test_the_same_generator_gives_the_same_batch_and_the_global_state_is_left_alone():
    tokens, state = sequences(5, 13), torch.get_rng_state()
    for unit in ("token", "span"):
        first, again = batch_of(tokens, chance(3), unit=unit), batch_of(tokens, chance(3), unit=unit)
        assert all(torch.equal(one, other) for one, other in zip(first, again))
    assert torch.equal(torch.get_rng_state(), state)


TOKENS = torch.tensor([[5, 6, 7, 8]])
FLAGS = torch.ones(1, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: batch_of(TOKENS[0], chance()), r"permutation_batch: tokens .*got \(4,\)"),
        (lambda: batch_of(TOKENS[:0], chance()), r"got \(0, 4\)"),
        (lambda: batch_of(TOKENS.float(), chance()), "float32"),
        (lambda: batch_of(-TOKENS, chance()), "got -8 in tokens"),
        (lambda: batch_of(TOKENS, None), "generator .*got NoneType"),
        (lambda: batch_of(TOKENS, chance(), share=0), "share .*got 0"),
        (lambda: batch_of(TOKENS, chance(), share=math.inf), "share .*got inf"),
        (lambda: batch_of(TOKENS, chance(), unit="word"), "unit .*got 'word'"),
        (lambda: batch_of(TOKENS, chance(), reuse_len=5), "reuse_len .*T = 4, got 5"),
        (lambda: batch_of(TOKENS, chance(), reuse_len=0.5), "reuse_len .*got 0.5"),
        (lambda: permutation_orders(0, 3, generator=chance()), "n_rows .*got 0"),
        (lambda: permutation_orders(3, 2.0, generator=chance()), "length .*got 2.0"),
        (lambda: permutation_orders(3, 2, generator=7), "generator .*got int"),
        (lambda: order_with_targets_last(TOKENS, generator=chance()), "is_target .*int64"),
        (lambda: choose_prediction_spans(FLAGS, torch.tensor([-1]), generator=chance()), "got -1"),
        (
            lambda: choose_prediction_spans(FLAGS, torch.tensor([1]), generator=chance(), longest=0),
            "longest .*got 0",
        ),
        (
            lambda: choose_prediction_spans(FLAGS, torch.tensor([1]), generator=chance(), context=0),
            "context .*got 0",
        ),
        (lambda: one_hot_targets(TOKENS, torch.ones(1, 3), 9), r"got \(1, 4\) and \(1, 3\)"),
        (lambda: one_hot_targets(TOKENS, torch.ones(1, 4), 8), "between 0 and 7, got 8"),
        (lambda: one_hot_targets(TOKENS.float(), torch.ones(1, 4), 9), "float32"),
        (lambda: one_hot_targets(TOKENS, torch.ones(1, 4), 0), "length .*got 0"),
    ],
)
def test_what_is_wrong_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()
