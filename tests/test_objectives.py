"""Objectives: the shift by one, and a loss in nats per token."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.objectives import language_model_loss, next_token_labels

PAD = 0


def test_each_place_reads_a_token_and_is_to_predict_the_next():
    tokens = torch.tensor([[5, 6, 7, 8], [5, 9, 8, 6]])
    inputs, labels = next_token_labels(tokens)
    assert inputs.tolist() == [[5, 6, 7], [5, 9, 8]]
    assert labels.tolist() == [[6, 7, 8], [9, 8, 6]]


def test_padding_is_read_and_never_asked_for():
    inputs, labels = next_token_labels(torch.tensor([[5, 6, 7, 8], [5, 9, PAD, PAD]]), PAD)
    assert inputs.tolist() == [[5, 6, 7], [5, 9, PAD]]
    assert labels.tolist() == [[6, 7, 8], [9, -100, -100]]


@pytest.mark.parametrize("tokens", [torch.tensor([5, 6, 7]), torch.tensor([[5], [6]])])
def test_tokens_too_short_to_shift_are_named_with_their_shape(tokens):
    with pytest.raises(ValueError, match=r"next_token_labels: tokens must be .*\(\d,( 1)?\)"):
        next_token_labels(tokens)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.complex64])
def test_tokens_that_are_no_integers_are_refused(dtype):
    with pytest.raises(ValueError, match=f"got dtype {dtype}"):
        next_token_labels(torch.ones(2, 3, dtype=dtype))


def test_what_is_no_tensor_and_no_id_of_padding_is_named():
    with pytest.raises(ValueError, match=r"tokens must be .*got list"):
        next_token_labels([[1, 2]])
    with pytest.raises(ValueError, match=r"tokens must be .*got NoneType"):
        next_token_labels(None)
    with pytest.raises(ValueError, match=r"pad_id must be .*got 0.5"):
        next_token_labels(torch.tensor([[1, 2]]), 0.5)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_ids_of_every_width_are_read_and_labels_can_hold_the_sign_for_ignored(dtype):
    inputs, labels = next_token_labels(torch.tensor([[1, 4], [2, PAD]], dtype=dtype), PAD)
    assert inputs.dtype == dtype and labels.dtype == torch.int64
    assert labels.tolist() == [[4], [-100]]
    logits = torch.randn(2, 1, 5)
    assert language_model_loss(logits, torch.tensor([[4], [0]], dtype=dtype)) == language_model_loss(
        logits, torch.tensor([[4], [0]])
    )


@given(st.integers(2, 50), st.integers(1, 4), st.integers(1, 7))
def test_equal_logits_cost_the_logarithm_of_the_vocabulary(vocab_size, batch, length):
    labels = torch.randint(vocab_size, (batch, length))
    loss = language_model_loss(torch.zeros(batch, length, vocab_size), labels)
    assert loss.item() == pytest.approx(math.log(vocab_size), rel=1e-5)


def test_the_loss_is_the_mean_of_the_negative_logarithms_of_what_was_given_to_the_labels():
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([[1, 4, -100], [0, -100, -100]])
    p = logits.softmax(-1)
    by_hand = -(p[0, 0, 1].log() + p[0, 1, 4].log() + p[1, 0, 0].log()) / 3
    assert language_model_loss(logits, labels).item() == pytest.approx(by_hand.item(), rel=1e-12)


@given(st.integers(0, 6))
def test_more_padding_changes_nothing(extra):
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 9, (3, 5), generator=draw)
    longer = torch.cat([tokens, torch.full((3, extra), PAD)], 1)
    table = torch.randn(9, 9, generator=draw)

    def loss(tokens):
        inputs, labels = next_token_labels(tokens, PAD)
        return language_model_loss(table[inputs], labels)

    assert loss(longer).item() == pytest.approx(loss(tokens).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.long), r"got \(2, 3\) and \(2, 3\)"),
        (torch.zeros(2, 3, 5), torch.zeros(3, 2, dtype=torch.long), r"got \(2, 3, 5\) and \(3, 2\)"),
        (torch.zeros(1, 2, 5), torch.tensor([[1, 5]]), "label 5 lies outside the vocabulary of 5"),
        (torch.zeros(1, 2, 5), torch.tensor([[1, -1]]), "label -1 lies outside"),
        (torch.zeros(1, 2, 5), torch.tensor([[-100, -100]]), "every label"),
        (torch.zeros(0, 2, 5), torch.zeros(0, 2, dtype=torch.long), r"every label of \(0, 2\)"),
        (torch.zeros(1, 2, 5), torch.zeros(1, 2), "labels must be integer ids, got dtype torch.float32"),
        (torch.zeros(1, 2, 5), torch.zeros(1, 2, dtype=torch.bool), "got dtype torch.bool"),
        (torch.zeros(1, 2, 5).long(), torch.zeros(1, 2).long(), "logits must be floating point, .*int64"),
        (None, torch.zeros(1, 2).long(), r"got NoneType and \(1, 2\)"),
        (torch.zeros(1, 2, 5), [[1, 2]], r"got \(1, 2, 5\) and list"),
    ],
)
def test_what_cannot_be_scored_is_named(logits, labels, message):
    with pytest.raises(ValueError, match=message):
        language_model_loss(logits, labels)
