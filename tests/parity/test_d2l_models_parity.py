"""Our encoder and our BERT against those of Dive into Deep Learning at random weights: forward, losses, gradients."""

import pytest
import torch
from torch import Tensor, nn

from course_lib.hugging_face import from_d2l
from course_lib.masks import padding_mask
from course_lib.objectives import masked_word_loss, next_sentence_loss
from course_lib.torchvision_ops import define_missing_torchvision_ops
from tests.parity.comparison import compare, dtypes, padded, randomised

define_missing_torchvision_ops()
from d2l import torch as d2l  # noqa: E402

LENGTHS = [7, 3, 5]


def encoder(dtype: torch.dtype, *, bias: bool) -> nn.Module:
    model = d2l.TransformerEncoder(23, 12, 17, 4, 3, dropout=0.1, use_bias=bias).eval()
    model(torch.zeros(1, 2, dtype=torch.long), None)  # d2l makes its weights in the first call
    return randomised(model, dtype)


def bert(dtype: torch.dtype) -> nn.Module:
    model = d2l.BERTModel(23, 12, 17, 4, 3, dropout=0.1, max_len=11).eval()
    tokens = torch.zeros(1, 2, dtype=torch.long)
    model(tokens, tokens, None, tokens)
    return randomised(model, dtype)


@dtypes
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("is_ragged", [True, False], ids=["ragged", "full"])
def test_its_encoder_equals_ours(dtype, bias, is_ragged):
    def convert(module: nn.Module) -> nn.ModuleList:
        return nn.ModuleList(from_d2l(module))

    theirs = encoder(dtype, bias=bias)
    ours = convert(theirs)
    embedding, positions, stack = ours
    tokens = padded(LENGTHS, 23, 0)
    real = tokens != 0 if is_ragged else torch.ones_like(tokens, dtype=torch.bool)
    expected = theirs(tokens, torch.tensor(LENGTHS) if is_ragged else None)
    output = stack(positions(embedding(tokens)), padding_mask(tokens, 0) if is_ragged else None)
    compare(ours, theirs, convert, [output[real]], [expected[real]])


def given() -> tuple[Tensor, Tensor, Tensor]:
    tokens = padded(LENGTHS, 23, 5)
    segments = (torch.arange(7) >= torch.tensor([[4], [1], [2]])).long()
    return tokens, segments, tokens != 5


def convert_bert(module: nn.Module) -> nn.Module:
    return from_d2l(module, pad_id=5)


@dtypes
def test_its_bert_equals_ours_without_a_norm_of_embeddings_and_with_an_untied_head(dtype):
    theirs = bert(dtype)
    ours = convert_bert(theirs)
    tokens, segments, real = given()
    places = torch.tensor([[1, 4, 6], [0, 1, 2], [1, 2, 4]])  # as many in each row: d2l takes no others
    x, words, pairs = theirs(tokens, segments, torch.tensor(LENGTHS), places)
    is_target = torch.zeros_like(real).scatter(1, places, True)
    at_targets, of_pairs = ours(tokens, segments, is_target)
    compare(
        ours,
        theirs,
        convert_bert,
        [ours.bert(tokens, segments)[real], at_targets, of_pairs],
        [x[real], words.flatten(0, 1), pairs],
    )


@dtypes
@pytest.mark.parametrize("is_filled_up", [False, True])
def test_its_loss_equals_ours_where_each_row_has_as_many_targets(dtype, is_filled_up):
    """Its rows of targets are filled up with place 0, weight 0. Its loss takes the mean before it weights: a mean of
    all places, the filled ones among them, where their label is 0. Ours leaves them out."""
    theirs = bert(dtype)
    ours = convert_bert(theirs)
    tokens, segments, _ = given()
    places = torch.tensor([[1, 4, 6], [2, 1, 0], [1, 2, 4]])
    weights = torch.ones(3, 3, dtype=dtype)
    words_there, follows = torch.randint(1, 23, (3, 3)), torch.tensor([1, 0, 1])
    if is_filled_up:
        weights[1, 2], words_there[1, 2] = 0, 0
    of_words, of_pairs, _ = d2l._get_batch_loss_bert(
        theirs,
        nn.CrossEntropyLoss(),
        23,
        tokens,
        segments,
        torch.tensor(LENGTHS),
        places,
        weights,
        words_there,
        follows,
    )
    of_words = of_words * (weights.sum() + 1e-8) / weights.sum()  # it keeps away from a division by 0
    labels = torch.full_like(tokens, -100).scatter(1, places, words_there)
    if is_filled_up:
        labels[1, 0] = -100
    words, pairs = ours(tokens, segments)
    losses = [masked_word_loss(words, labels), next_sentence_loss(pairs, follows)]
    if is_filled_up:
        assert losses[0] != of_words
        labels[1, 0] = 0
        losses[0] = masked_word_loss(words, labels)
    compare(ours, theirs, convert_bert, losses, [of_words, of_pairs])
