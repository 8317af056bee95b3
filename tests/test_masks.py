"""masks: True = may attend."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.masks import causal_mask, length_mask, padding_mask


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
