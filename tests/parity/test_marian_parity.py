"""Our encoder-decoder against Hugging Face's MarianMT at random weights: forward and gradients, fp32 and fp64.

Marian is the Transformer of the paper as people translate with it: sin|cos halves, embeddings times √d, one table for
both languages and the output, a number added to each word's score. A translation begins with the id of padding.
"""

import pytest
import torch
import torch.nn.functional as F

from course_lib.hugging_face import from_hugging_face
from course_lib.torchvision_ops import define_missing_torchvision_ops
from tests.parity.comparison import assert_same_numbers, compare, dtypes, padded, randomised

define_missing_torchvision_ops()
from transformers import MarianConfig, MarianMTModel  # noqa: E402

PAD, START = 22, 22  # the last id, as in the published models


def marian(dtype: torch.dtype, **changes: object) -> MarianMTModel:
    sizes = {
        "vocab_size": 23,
        "d_model": 24,
        "encoder_layers": 2,
        "decoder_layers": 3,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 19,
        "decoder_ffn_dim": 19,
        "max_position_embeddings": 11,
        "activation_function": "swish",
        "scale_embedding": True,
        "pad_token_id": PAD,
        "decoder_start_token_id": START,
        "eos_token_id": 0,
    }
    model = randomised(
        MarianMTModel(MarianConfig(**{**sizes, **changes}, attn_implementation="eager")), dtype
    )
    model.final_logits_bias.normal_()
    return model


def given(start: int = START) -> tuple[torch.Tensor, torch.Tensor]:
    """Sources and targets of ragged length; each target begins with `start`."""
    src, tgt = padded([7, 3, 5], 23, PAD), padded([6, 5, 2], 23, PAD)
    tgt[:, 0] = start
    return src, tgt


@dtypes
@pytest.mark.parametrize("activation", ["swish", "gelu", "relu"])
def test_translation_equals_marian(dtype, activation):
    theirs = marian(dtype, activation_function=activation)
    ours = from_hugging_face(theirs)
    # Their table learns nothing where it is looked up for padding, which is also how a target begins. So the
    # gradients are compared on targets that begin with another id.
    src, tgt = given(start=3)
    real = tgt != PAD
    expected = theirs(src, attention_mask=src != PAD, decoder_input_ids=tgt)
    memory = expected.encoder_last_hidden_state
    compare(
        ours,
        theirs,
        from_hugging_face,
        [ours(src, tgt)[real], ours.encode(src)[src != PAD]],
        [expected.logits[real], memory[src != PAD]],
    )


@dtypes
def test_a_translation_that_begins_with_the_id_of_padding_equals_marian(dtype):
    theirs = marian(dtype)
    ours = from_hugging_face(theirs)
    src, tgt = given()
    real = tgt != PAD
    real[:, 0] = True
    expected = theirs(src, attention_mask=src != PAD, decoder_input_ids=tgt).logits
    assert_same_numbers([ours(src, tgt)[real]], [expected[real]])


@dtypes
def test_the_loss_equals_marians(dtype):
    theirs = marian(dtype)
    ours = from_hugging_face(theirs)
    src, labels = padded([7, 3, 5], 23, PAD), padded([6, 5, 2], 23, PAD)
    tgt = torch.cat([torch.full((3, 1), START), labels[:, :-1]], dim=1)  # one to the right
    labels = labels.masked_fill(labels == PAD, -100)
    expected = theirs(src, attention_mask=src != PAD, labels=labels).loss
    assert_same_numbers([F.cross_entropy(ours(src, tgt).flatten(0, 1), labels.flatten())], [expected])


@dtypes
def test_two_vocabularies_equal_marian(dtype):
    theirs = marian(dtype, decoder_vocab_size=29, share_encoder_decoder_embeddings=False)
    ours = from_hugging_face(theirs)
    assert ours.unembed.weight is ours.tgt_embedding.weight
    assert ours.src_embedding.weight.shape != ours.tgt_embedding.weight.shape
    src, tgt = padded([7, 3, 5], 23, PAD), padded([6, 5, 2], 29, PAD)
    expected = theirs(src, attention_mask=src != PAD, decoder_input_ids=tgt).logits
    compare(ours, theirs, from_hugging_face, [ours(src, tgt)[tgt != PAD]], [expected[tgt != PAD]])


@dtypes
def test_translating_token_by_token_equals_marian(dtype):
    theirs = marian(dtype)
    ours = from_hugging_face(theirs)
    src, _ = given()
    tgt = torch.randint(22, (3, 6))
    tgt[:, 0] = START
    expected = theirs(src, attention_mask=src != PAD, decoder_input_ids=tgt).logits
    cache = ours.start(src)
    for place in range(6):
        logits, cache = ours.step(tgt[:, place : place + 1], cache)
        assert_same_numbers([logits], [expected[:, place]])


def test_greedy_translation_writes_what_marian_generates():
    theirs = marian(torch.float64)
    ours = from_hugging_face(theirs)
    src, _ = given()
    expected = theirs.generate(
        src,
        attention_mask=src != PAD,
        max_length=9,
        num_beams=1,
        do_sample=False,
        eos_token_id=None,
        forced_eos_token_id=None,
    )
    tokens, cache = torch.full((3, 1), START), ours.start(src)
    for _ in range(8):
        logits, cache = ours.step(tokens[:, -1:], cache)
        tokens = torch.cat([tokens, logits.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(tokens, expected)
