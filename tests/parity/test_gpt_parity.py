"""Our GPT against Hugging Face's GPT-2 at random weights: forward, loss and gradients, fp32 and fp64."""

import pytest
import torch

from course_lib.hugging_face import from_hugging_face
from course_lib.objectives import language_model_loss, next_token_labels
from course_lib.torchvision_ops import define_missing_torchvision_ops
from tests.parity.comparison import assert_same_numbers, compare, dtypes, padded, randomised

define_missing_torchvision_ops()
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model  # noqa: E402


def config(**changes: object) -> GPT2Config:
    sizes = {"vocab_size": 23, "n_positions": 11, "n_embd": 20, "n_layer": 3, "n_head": 4, "n_inner": 17}
    special = {"bos_token_id": 0, "eos_token_id": 1}
    return GPT2Config(**{**sizes, **special, **changes}, attn_implementation="eager")


@dtypes
@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu", "silu"])
def test_logits_equal_gpt2s(dtype, activation):
    theirs = randomised(GPT2LMHeadModel(config(activation_function=activation)), dtype)
    ours = from_hugging_face(theirs)
    tokens = torch.randint(23, (3, 7))
    compare(ours, theirs, from_hugging_face, [ours(tokens)], [theirs(tokens).logits])


def test_loss_of_ragged_texts_equals_gpt2s():
    """In single precision alone: theirs rounds its logits to it before it takes the loss."""
    theirs = randomised(GPT2LMHeadModel(config(n_inner=None)), torch.float32)
    ours = from_hugging_face(theirs)
    tokens = padded([7, 2, 5], 23, 0)
    expected = theirs(tokens, labels=tokens.masked_fill(tokens == 0, -100)).loss  # it shifts by itself
    inputs, labels = next_token_labels(tokens, pad_id=0)
    compare(ours, theirs, from_hugging_face, [language_model_loss(ours(inputs), labels)], [expected])


@dtypes
def test_a_mask_of_padding_equals_gpt2s(dtype):
    theirs = randomised(GPT2LMHeadModel(config()), dtype)
    ours = from_hugging_face(theirs)
    tokens = padded([7, 2, 5], 23, 0)
    tokens[:, 0], real = 0, tokens != 0  # a hole in front as well: row 0 sees nothing there, and is left out
    real[:, 0] = False
    expected = theirs(tokens, attention_mask=real.long()).logits
    output = ours(tokens, real[:, None, None, :])
    compare(ours, theirs, from_hugging_face, [output[real]], [expected[real]])


@dtypes
def test_vectors_of_the_model_without_a_head_equal_gpt2s(dtype):
    theirs = randomised(GPT2Model(config()), dtype)
    ours = from_hugging_face(theirs)
    tokens = torch.randint(23, (3, 7))
    x = ours.stack(ours.positions(ours.embedding(tokens)), causal=True)
    compare(ours, theirs, from_hugging_face, [x], [theirs(tokens).last_hidden_state])


@dtypes
def test_reading_token_by_token_equals_gpt2(dtype):
    theirs = randomised(GPT2LMHeadModel(config()), dtype)
    ours = from_hugging_face(theirs)
    tokens = torch.randint(23, (3, 9))
    expected, cache = theirs(tokens).logits, ours.start()
    logits, cache = ours.step(tokens[:, :4], cache)
    assert_same_numbers([logits], [expected[:, 3]])
    for place in range(4, 9):
        logits, cache = ours.step(tokens[:, place : place + 1], cache)
        assert_same_numbers([logits], [expected[:, place]])


def test_greedy_writing_is_what_gpt2_generates():
    theirs = randomised(GPT2LMHeadModel(config()), torch.float64)
    ours = from_hugging_face(theirs)
    tokens, cache = torch.randint(23, (3, 3)), ours.start()
    expected = theirs.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_length=10,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    logits, cache = ours.step(tokens, cache)
    while tokens.size(1) < 10:
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
        logits, cache = ours.step(tokens[:, -1:], cache)
    assert torch.equal(tokens, expected)
