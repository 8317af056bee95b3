"""Our BERT and its heads against Hugging Face's BERT and RoBERTa at random weights: forward, losses and gradients.

Ragged rows, two segments; what stands at the padding is left out of the comparison.
"""

import pytest
import torch
from torch import Tensor

from course_lib.hugging_face import from_hugging_face
from course_lib.objectives import masked_word_loss, next_sentence_loss, span_loss
from course_lib.torchvision_ops import define_missing_torchvision_ops
from tests.parity.comparison import compare, dtypes, padded, randomised

define_missing_torchvision_ops()
from transformers import (  # noqa: E402
    BertConfig,
    BertForMaskedLM,
    BertForNextSentencePrediction,
    BertForPreTraining,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForQuestionAnswering,
    RobertaForSequenceClassification,
    RobertaModel,
)

LENGTHS = [7, 3, 5]
SIZES = {
    "vocab_size": 23,
    "hidden_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 17,
    "max_position_embeddings": 13,
    "attn_implementation": "eager",
}


def bert(**changes: object) -> BertConfig:
    return BertConfig(**{**SIZES, "type_vocab_size": 3, "pad_token_id": 4, **changes})


def roberta(**changes: object) -> RobertaConfig:
    return RobertaConfig(
        **{**SIZES, "type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5, **changes}
    )


def given(pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, their segments, and where there is no padding."""
    tokens = padded(LENGTHS, 23, pad_id)
    segments = (torch.arange(7) >= torch.tensor([[4], [1], [2]])).long()
    return tokens, segments, tokens != pad_id


@dtypes
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
def test_vectors_and_the_pooled_one_equal_berts(dtype, activation):
    theirs = randomised(BertModel(bert(hidden_act=activation)), dtype)
    ours = from_hugging_face(theirs)
    tokens, segments, real = given(pad_id=4)
    expected = theirs(tokens, attention_mask=real.long(), token_type_ids=segments)
    x = ours(tokens, segments)
    compare(
        ours,
        theirs,
        from_hugging_face,
        [x[real], ours.pool(x)],
        [expected.last_hidden_state[real], expected.pooler_output],
    )


@dtypes
def test_without_a_pooler_and_without_segments_vectors_equal_berts(dtype):
    theirs = randomised(BertModel(bert(), add_pooling_layer=False), dtype)
    ours = from_hugging_face(theirs)
    tokens, _, real = given(pad_id=4)
    expected = theirs(tokens, attention_mask=real.long()).last_hidden_state
    compare(ours, theirs, from_hugging_face, [ours(tokens)[real]], [expected[real]])


@dtypes
def test_logits_and_loss_of_pretraining_equal_berts(dtype):
    theirs = randomised(BertForPreTraining(bert()), dtype)
    ours = from_hugging_face(theirs)
    tokens, segments, real = given(pad_id=4)
    is_target = torch.tensor([[0, 1, 0, 0, 1, 0, 1], [0, 0, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0]]).bool()
    labels = torch.randint(23, tokens.shape).masked_fill(~is_target, -100)
    follows = torch.tensor([1, 0, 1])
    expected = theirs(
        tokens,
        attention_mask=real.long(),
        token_type_ids=segments,
        labels=labels,
        next_sentence_label=follows,
    )
    words, pairs = ours(tokens, segments)
    loss = masked_word_loss(words, labels) + next_sentence_loss(pairs, follows)
    at_targets, _ = ours(tokens, segments, is_target)
    logits = expected.prediction_logits
    compare(
        ours,
        theirs,
        from_hugging_face,
        [words[real], pairs, loss, at_targets],
        [logits[real], expected.seq_relationship_logits, expected.loss, logits[is_target]],
    )


@dtypes
def test_guessed_words_equal_those_of_bert_without_the_second_task(dtype):
    theirs = randomised(BertForMaskedLM(bert()), dtype)
    ours = from_hugging_face(theirs)
    tokens, segments, real = given(pad_id=4)
    expected = theirs(tokens, attention_mask=real.long(), token_type_ids=segments).logits
    compare(ours, theirs, from_hugging_face, [ours(tokens, segments)[real]], [expected[real]])


@dtypes
@pytest.mark.parametrize("n_classes", [1, 5])
def test_classes_equal_berts(dtype, n_classes):
    theirs = randomised(BertForSequenceClassification(bert(num_labels=n_classes)), dtype)
    ours = from_hugging_face(theirs)
    tokens, segments, real = given(pad_id=4)
    expected = theirs(tokens, attention_mask=real.long(), token_type_ids=segments).logits
    compare(ours, theirs, from_hugging_face, [ours(tokens, segments)], [expected])


@dtypes
def test_next_sentences_equal_berts(dtype):
    theirs = randomised(BertForNextSentencePrediction(bert()), dtype)
    ours = from_hugging_face(theirs)
    tokens, segments, real = given(pad_id=4)
    expected = theirs(tokens, attention_mask=real.long(), token_type_ids=segments).logits
    compare(ours, theirs, from_hugging_face, [ours(tokens, segments)], [expected])


@dtypes
def test_answers_and_their_loss_equal_berts(dtype):
    theirs = randomised(BertForQuestionAnswering(bert()), dtype)
    ours = from_hugging_face(theirs)
    tokens, segments, real = given(pad_id=4)
    start, end = torch.tensor([2, 1, 4]), torch.tensor([5, 1, 4])
    whole = torch.ones_like(real)  # theirs knows of no padding in its loss: compared on full rows
    tokens = tokens.masked_fill(~real, 6)
    expected = theirs(
        tokens,
        attention_mask=whole.long(),
        token_type_ids=segments,
        start_positions=start,
        end_positions=end,
    )
    starts, ends = ours(tokens, segments)
    compare(
        ours,
        theirs,
        from_hugging_face,
        [starts, ends, span_loss(starts, ends, start, end)],
        [expected.start_logits, expected.end_logits, expected.loss],
    )


@dtypes
def test_answers_in_ragged_rows_equal_berts(dtype):
    theirs = randomised(BertForQuestionAnswering(bert()), dtype)
    ours = from_hugging_face(theirs)
    tokens, segments, real = given(pad_id=4)
    expected = theirs(tokens, attention_mask=real.long(), token_type_ids=segments)
    starts, ends = ours(tokens, segments)
    compare(
        ours,
        theirs,
        from_hugging_face,
        [starts[real], ends[real]],
        [expected.start_logits[real], expected.end_logits[real]],
    )


@dtypes
def test_vectors_equal_robertas_whose_positions_begin_behind_the_padding(dtype):
    theirs = randomised(RobertaModel(roberta()), dtype)
    ours = from_hugging_face(theirs)
    tokens, _, real = given(pad_id=1)
    expected = theirs(tokens, attention_mask=real.long())
    x = ours(tokens)
    compare(
        ours,
        theirs,
        from_hugging_face,
        [x[real], ours.pool(x)],
        [expected.last_hidden_state[real], expected.pooler_output],
    )


@dtypes
def test_heads_equal_robertas(dtype):
    tokens, _, real = given(pad_id=1)
    padding = {"attention_mask": real.long()}
    theirs = randomised(RobertaForMaskedLM(roberta()), dtype)
    ours = from_hugging_face(theirs)
    expected = theirs(tokens, **padding).logits
    compare(ours, theirs, from_hugging_face, [ours(tokens)[real]], [expected[real]])

    theirs = randomised(RobertaForSequenceClassification(roberta(num_labels=5)), dtype)
    ours = from_hugging_face(theirs)
    compare(ours, theirs, from_hugging_face, [ours(tokens)], [theirs(tokens, **padding).logits])

    theirs = randomised(RobertaForQuestionAnswering(roberta()), dtype)
    ours = from_hugging_face(theirs)
    outputs = theirs(tokens, **padding)
    starts, ends = ours(tokens)
    expected = [outputs.start_logits[real], outputs.end_logits[real]]
    compare(ours, theirs, from_hugging_face, [starts[real], ends[real]], expected)
