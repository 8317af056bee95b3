"""masks: True = may attend."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.masks import causal_mask, length_mask, padding_mask, permutation_masks


def test_padding_mask_is_true_for_real_tokens_and_has_axes_for_heads_and_queries():
    tokens = torch.tensor([[5, 6, 0], [7, 0, 0]])
    mask = padding_mask(tokens, pad_id=0)
    assert mask.shape == (2, 1, 1, 3)
    assert mask.dtype == torch.bool
    assert mask[:, 0, 0].tolist() == [[True, True, False], [True, False, False]]


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_a_mask_from_lengths_is_the_padding_mask_of_the_same_batch(lengths):
    tokens = torch.tensor([[7] * length + [0] * (6 - length) for length in lengths])
    mask = length_mask(torch.tensor(lengths), n_keys=6)
    assert mask.dtype == torch.bool
    assert mask.shape == (len(lengths), 1, 1, 6)
    assert torch.equal(mask, padding_mask(tokens, pad_id=0))


def test_the_first_keys_are_the_real_ones():
    mask = length_mask(torch.tensor([2, 0, 3]), n_keys=3)
    assert mask[:, 0, 0].tolist() == [[True, True, False], [False, False, False], [True, True, True]]


@given(n_keys=st.integers(1, 8), fewer=st.integers(0, 7))
def test_causal_mask_lets_each_query_see_exactly_the_keys_up_to_its_own_place(n_keys, fewer):
    n_queries = max(1, n_keys - fewer)
    mask = causal_mask(n_queries, n_keys)
    for query in range(n_queries):
        for key in range(n_keys):
            assert mask[query, key].item() == (key <= query + n_keys - n_queries)


def test_the_last_query_of_a_causal_mask_sees_everything():
    assert causal_mask(3, 7)[-1].all()


def test_masks_combine_with_and():
    tokens = torch.tensor([[5, 6, 0]])
    both = padding_mask(tokens, 0) & causal_mask(3)
    assert both[0, 0].tolist() == [[True, False, False], [True, True, False], [True, True, False]]


def test_a_wrong_argument_is_named_with_its_value():
    with pytest.raises(ValueError, match=r"\(3,\)"):
        padding_mask(torch.tensor([1, 2, 3]), 0)
    with pytest.raises(ValueError, match="float32"):
        padding_mask(torch.ones(1, 3), 0)
    with pytest.raises(ValueError, match="bool"):
        padding_mask(torch.ones(1, 3, dtype=torch.bool), 0)
    with pytest.raises(ValueError, match="Tq = 4, Tk = 3"):
        causal_mask(4, 3)
    with pytest.raises(ValueError, match="Tq = 0"):
        causal_mask(0)
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        length_mask(torch.tensor([[1, 2]]), 3)
    with pytest.raises(ValueError, match="float32"):
        length_mask(torch.tensor([1.0]), 3)
    with pytest.raises(ValueError, match="n_keys = 3, got 4"):
        length_mask(torch.tensor([1, 4]), 3)
    with pytest.raises(ValueError, match="got -1"):
        length_mask(torch.tensor([-1]), 3)
    with pytest.raises(ValueError, match="n_keys must be at least 1, got 0"):
        length_mask(torch.tensor([0]), 0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: padding_mask(None, 0), "padding_mask: tokens .*a NoneType"),
        (lambda: padding_mask([[1]], 0), "a list"),
        (lambda: padding_mask(torch.ones(1, 3, dtype=torch.complex64), 0), "complex64"),
        (lambda: padding_mask(torch.tensor([[1]]), None), "pad_id .*got None"),
        (lambda: padding_mask(torch.tensor([[1]]), 0.5), "pad_id .*got 0.5"),
        (lambda: length_mask([1], 3), "length_mask: lengths .*a list"),
        (lambda: length_mask(torch.tensor([1]), None), "n_keys .*got None"),
        (lambda: length_mask(torch.tensor([1]), 2.5), "n_keys .*got 2.5"),
        (lambda: causal_mask(2.5), "Tq = 2.5"),
        (lambda: causal_mask(None), "Tq = None"),
        (lambda: causal_mask(2, "3"), "Tk = 3"),
        (lambda: causal_mask(-1, 3), "Tq = -1"),
    ],
)
def test_what_is_no_tensor_or_no_whole_number_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_integers_of_every_width_and_batches_of_nothing_are_read(dtype):
    tokens = torch.tensor([[5, 0], [6, 7]], dtype=dtype)
    assert padding_mask(tokens.T, 0)[:, 0, 0].tolist() == [[True, True], [False, True]]
    assert padding_mask(tokens[:0], 0).shape == (0, 1, 1, 2)
    assert length_mask(tokens[:1, 0], 6)[0, 0, 0].tolist() == [True] * 5 + [False]
    assert length_mask(tokens[:0, 0], 6).shape == (0, 1, 1, 6)


# --- permutation -------------------------------------------------------------------------------------------


def test_in_the_order_2_4_3_1_token_3_sees_tokens_2_and_4():
    content, query = permutation_masks(torch.tensor([1, 3, 2, 0]))  # counted from 0
    assert content.shape == query.shape == (4, 4) and content.dtype == query.dtype == torch.bool
    assert query[2].tolist() == [False, True, False, True]
    assert content[2].tolist() == [False, True, True, True]
    assert not query[1].any()  # the first of the order has nothing to go by
    assert content[0].all()  # the last sees everything


@st.composite
def orders(draw):
    length = draw(st.integers(1, 7))
    return torch.tensor(draw(st.lists(st.permutations(range(length)), min_size=1, max_size=3)))


@given(order=orders(), data=st.data())
def test_permutation_masks_are_what_the_definition_says_place_by_place(order, data):
    n_rows, n_tokens = order.shape
    counts = st.lists(st.integers(0, n_tokens), min_size=n_rows, max_size=n_rows)
    n_predict = torch.tensor(data.draw(counts))
    reuse_len = data.draw(st.integers(0, n_tokens))
    content, query = permutation_masks(order, n_predict, reuse_len)
    assert content.shape == query.shape == (n_rows, 1, n_tokens, n_tokens)
    for row in range(n_rows):
        line = order[row].tolist()
        given_ = line[: n_tokens - n_predict[row]]
        for i in range(n_tokens):
            for j in range(n_tokens):
                if i < reuse_len <= j:
                    here = there = False
                elif j < reuse_len <= i:
                    here = there = True
                else:
                    there = i not in given_ and (j in given_ or line.index(j) < line.index(i))
                    here = there or i == j or (i in given_ and j in given_)
                assert query[row, 0, i, j].item() == there
                assert content[row, 0, i, j].item() == here


@given(order=orders(), data=st.data())
def test_nothing_a_query_may_not_see_reaches_it_through_others(order, data):
    """However many layers: the query stream reads the content stream, which reads the content stream."""
    n_predict = data.draw(st.integers(0, order.size(1)))
    content, query = permutation_masks(order, n_predict, data.draw(st.integers(0, order.size(1))))
    reached = query.long()
    for _ in range(order.size(1)):
        reached = (reached @ content.long()).clamp(max=1)
    assert torch.equal(reached.bool(), query)
    assert not query.diagonal(dim1=-2, dim2=-1).any() and content.diagonal(dim1=-2, dim2=-1).all()


@given(order=orders())
def test_the_order_from_left_to_right_gives_the_causal_mask_and_each_rank_its_count(order):
    n_tokens = order.size(1)
    content, query = permutation_masks(torch.arange(n_tokens))
    assert torch.equal(content, causal_mask(n_tokens))
    assert torch.equal(content, query | torch.eye(n_tokens, dtype=torch.bool))
    content, _ = permutation_masks(order)
    seen_by_each_in_line = content[:, 0].sum(-1).gather(1, order)
    assert seen_by_each_in_line.tolist() == [list(range(1, n_tokens + 1))] * len(order)


def test_one_number_to_predict_serves_all_rows_and_a_single_order():
    order = torch.tensor([[1, 3, 2, 0], [0, 1, 2, 3]])
    together = permutation_masks(order, 2)
    assert all(torch.equal(a, b) for a, b in zip(together, permutation_masks(order, torch.tensor([2, 2]))))
    for row in range(2):
        alone = permutation_masks(order[row], 2)
        assert all(torch.equal(one, rows[row, 0]) for one, rows in zip(alone, together))
    everything = permutation_masks(order, 4)
    assert all(torch.equal(one, other) for one, other in zip(everything, permutation_masks(order)))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: permutation_masks([0, 1]), "permutation_masks: order .*a list"),
        (
            lambda: permutation_masks(torch.zeros(1, 1, 1).long()),
            r"\(T,\) or \(B, T\), got shape \(1, 1, 1\)",
        ),
        (lambda: permutation_masks(torch.tensor(0)), r"got shape \(\)"),
        (lambda: permutation_masks(torch.tensor([0.0, 1.0])), "float32"),
        (lambda: permutation_masks(torch.tensor([True])), "bool"),
        (lambda: permutation_masks(torch.empty(0).long()), r"at least one place, got \(0,\)"),
        (lambda: permutation_masks(torch.empty(0, 3).long()), r"got \(0, 3\)"),
        (lambda: permutation_masks(torch.tensor([[0, 1], [1, 1]])), r"0 … 1 once, got \[1, 1\]"),
        (lambda: permutation_masks(torch.tensor([1, 2, 3])), r"got \[1, 2, 3\]"),
        (lambda: permutation_masks(torch.tensor([0, -1])), r"got \[0, -1\]"),
        (lambda: permutation_masks(torch.tensor([0, 1]), 3), "n_predict .*T = 2, got 3"),
        (lambda: permutation_masks(torch.tensor([0, 1]), -1), "got -1"),
        (lambda: permutation_masks(torch.tensor([0, 1]), 0.5), "got 0.5"),
        (lambda: permutation_masks(torch.tensor([0, 1]), torch.tensor([1])), r"order of shape \(2,\)"),
        (lambda: permutation_masks(torch.tensor([[0, 1]]), torch.tensor([1, 1])), r"got shape \(2,\)"),
        (lambda: permutation_masks(torch.tensor([[0, 1]]), torch.tensor([3])), "got 3"),
        (lambda: permutation_masks(torch.tensor([[0, 1]]), torch.tensor([1.0])), "float32"),
        (lambda: permutation_masks(torch.tensor([0, 1]), None, 3), "reuse_len .*T = 2, got 3"),
        (lambda: permutation_masks(torch.tensor([0, 1]), None, None), "reuse_len .*got None"),
    ],
)
def test_what_is_no_order_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_an_order_of_any_integers_is_read():
    for dtype in (torch.uint8, torch.int16, torch.int32):
        content, _ = permutation_masks(torch.tensor([1, 0], dtype=dtype), 1)
        assert content.tolist() == [[True, True], [False, True]]
