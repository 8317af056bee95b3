"""Our objectives against Hugging Face's collators and losses, and torch's: same shares, same masks, same losses.

Limits of losses: fp32 1e-5, gradients 1e-4 in relative norm; fp64 1e-12 and 1e-11. Shares: Hoeffding, 1e-9.
"""

import math

import pytest
import torch
from torch import Tensor, nn

from course_lib.masks import permutation_masks
from course_lib.objectives import (
    corrupt_words,
    distillation_loss,
    masked_word_loss,
    next_sentence_loss,
    one_hot_targets,
    permutation_batch,
    span_loss,
)
from course_lib.torchvision_ops import define_missing_torchvision_ops

define_missing_torchvision_ops()
from transformers import (  # noqa: E402
    BertConfig,
    BertForPreTraining,
    BertForQuestionAnswering,
    DataCollatorForLanguageModeling,
    DataCollatorForPermutationLanguageModeling,
    XLNetConfig,
    XLNetLMHeadModel,
)

LIMITS = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-11)}
dtypes = pytest.mark.parametrize("dtype", LIMITS)
PAD, CLS, SEP, MASK, FIRST_WORD, VOCAB = 0, 1, 2, 3, 4, 40


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


class Tokenizer:
    """As much of a tokenizer as the collators ask for."""

    mask_token, pad_token, _pad_token = "[MASK]", "[PAD]", "[PAD]"
    mask_token_id, pad_token_id = MASK, PAD

    def __len__(self):
        return VOCAB

    def convert_tokens_to_ids(self, token):
        return {"[MASK]": MASK, "[PAD]": PAD}[token]

    def get_special_tokens_mask(self, ids, already_has_special_tokens):
        return [int(one < FIRST_WORD) for one in ids]


def sequences(n_rows: int, length: int) -> Tensor:
    draw = chance(1)
    tokens = torch.randint(FIRST_WORD, VOCAB, (n_rows, length), generator=draw)
    lengths = torch.randint(6, length + 1, (n_rows,), generator=draw)
    rows = torch.arange(n_rows)
    tokens[:, 0] = CLS
    tokens[rows, lengths - 1] = SEP
    return tokens.masked_fill(torch.arange(length) >= lengths[:, None], PAD)


def randomised(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Add N(0, 0.2) to every weight, and switch dropout off."""
    module.to(dtype).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=chance(parameter.numel())).to(dtype)
    return module


def assert_equal(ours: Tensor, reference: Tensor, leaves: list[Tensor], dtype: torch.dtype) -> None:
    """Compare two losses and their gradients."""
    forward, backward = LIMITS[dtype]
    assert abs(ours.item() - reference.item()) <= forward * max(1.0, abs(reference.item()))
    of_ours = torch.autograd.grad(ours, leaves, retain_graph=True)
    of_reference = torch.autograd.grad(reference, leaves)
    for one, other in zip(of_ours, of_reference, strict=True):
        assert other.norm() > 0
        assert (one - other).norm() <= backward * other.norm()


def small_bert(**more) -> BertConfig:
    return BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        attn_implementation="eager",
        **more,
    )


# --- masked words and next sentence ------------------------------------------------------------------------


def test_targets_become_mask_random_or_stay_as_often_as_with_hugging_face():
    tokens = sequences(12_000, 24)
    torch.manual_seed(0)
    collator = DataCollatorForLanguageModeling(Tokenizer(), mlm_probability=0.15)
    theirs = collator.torch_mask_tokens(tokens.clone(), (tokens < FIRST_WORD).long())
    ours = corrupt_words(
        tokens,
        mask_id=MASK,
        pad_id=PAD,
        special_ids=(CLS, SEP),
        vocab_size=VOCAB,
        generator=chance(),
    )
    shares = []
    for inputs, labels in (theirs, ours):
        is_target = labels != -100
        assert torch.equal(labels[is_target], tokens[is_target])
        assert torch.equal(inputs[~is_target], tokens[~is_target])
        assert not (is_target & (tokens < FIRST_WORD)).any()
        masked, stayed = (inputs == MASK)[is_target], (inputs == tokens)[is_target]
        shares.append([masked.double().mean(), stayed.double().mean(), 1.0 * len(masked)])
    (mask_theirs, stay_theirs, n_theirs), (mask_ours, stay_ours, n_ours) = shares
    bound = sum(math.sqrt(math.log(2e9) / (2 * n)) for n in (n_theirs, n_ours))
    assert abs(mask_theirs - mask_ours) < bound < 0.05
    assert abs(stay_theirs - stay_ours) < bound


@dtypes
def test_the_two_losses_of_bert_add_up_to_hugging_faces_with_its_polarity_of_next(dtype):
    model = randomised(BertForPreTraining(small_bert()), dtype)
    tokens = sequences(5, 12)
    inputs, labels = corrupt_words(
        tokens, mask_id=MASK, pad_id=PAD, special_ids=(CLS, SEP), vocab_size=VOCAB, generator=chance()
    )
    is_random = torch.tensor([0, 1, 1, 0, 1])
    output = model(
        inputs, attention_mask=(tokens != PAD).long(), labels=labels, next_sentence_label=is_random
    )
    ours = masked_word_loss(output.prediction_logits, labels) + next_sentence_loss(
        output.seq_relationship_logits, is_random
    )
    leaves = [model.cls.seq_relationship.weight, model.bert.embeddings.word_embeddings.weight]
    assert_equal(ours, output.loss, leaves, dtype)


# --- answer spans ------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ([1, 0, 5, 11], [1, 4, 9, 11]),
        ([1, 12, 5, 900], [3, 12, 30, 2]),  # behind the text: ignored
        ([-1, 2, -9, 3], [0, 2, -1, 7]),  # below 0: place 0
    ],
)
def test_the_span_loss_is_berts(dtype, start, end):
    model = randomised(BertForQuestionAnswering(small_bert()), dtype)
    start, end = torch.tensor(start), torch.tensor(end)
    tokens = sequences(4, 12)
    output = model(tokens, start_positions=start, end_positions=end)
    ours = span_loss(output.start_logits, output.end_logits, start, end)
    assert_equal(
        ours, output.loss, [model.qa_outputs.weight, model.bert.embeddings.word_embeddings.weight], dtype
    )


# --- permutation -------------------------------------------------------------------------------------------


def test_who_sees_whom_is_as_in_hugging_faces_collator():
    """From their targets and the ranks in their mask we make an order; our masks of it must be theirs.

    Compared for targets and ordinary tokens. (A special token of theirs keeps a place in the order; ours
    sees no target.)
    """
    tokens = sequences(60, 24)
    torch.manual_seed(0)
    collator = DataCollatorForPermutationLanguageModeling(Tokenizer())
    _, hidden, _, labels = collator.torch_mask_tokens(tokens.clone())
    theirs = ~hidden.bool()  # (B, T, T), True = may attend; targets do not see themselves
    is_target = labels != -100
    n_targets = is_target.sum(1)
    assert n_targets.min() < n_targets.max() and n_targets.max() >= 4
    seen_targets = (theirs & is_target[:, None, :]).sum(2)
    order = (seen_targets + 1).masked_fill(~is_target, 0).argsort(1)
    content, query = permutation_masks(order, n_targets)
    content, query = content[:, 0], query[:, 0]
    assert torch.equal(query[is_target], theirs[is_target])
    ordinary = ~is_target & (tokens >= FIRST_WORD)
    assert torch.equal(content[ordinary], theirs[ordinary])
    diagonal = torch.eye(24, dtype=torch.bool)
    assert torch.equal(content[is_target], (theirs | diagonal)[is_target])


def test_one_hot_targets_are_hugging_faces_target_mapping():
    tokens = torch.randint(FIRST_WORD, VOCAB, (6, 12), generator=chance())
    _, _, mapping, _ = DataCollatorForPermutationLanguageModeling(Tokenizer()).torch_mask_tokens(
        tokens.clone()
    )
    every_place = torch.arange(12).expand(6, -1)
    assert torch.equal(one_hot_targets(every_place, torch.ones(6, 12), 12), mapping)


def test_xlnet_of_hugging_face_predicts_our_targets_without_seeing_them():
    """Our batch drives their model: the loss is its own, and a target's prediction hears of visible tokens only."""
    torch.manual_seed(0)
    config = XLNetConfig(vocab_size=VOCAB, d_model=16, n_layer=2, n_head=2, d_inner=24, dropout=0.0)
    model = randomised(XLNetLMHeadModel(config), torch.float32)
    tokens = torch.randint(FIRST_WORD, VOCAB, (3, 10), generator=chance(2))
    batch = permutation_batch(
        tokens, pad_id=None, special_ids=(), generator=chance(3), share=0.4, unit="span"
    )
    mapping = one_hot_targets(batch.target_positions, batch.weights, 10)
    x = model.transformer.word_embedding(tokens).detach().requires_grad_()
    output = model(
        inputs_embeds=x,
        perm_mask=(~batch.content_mask[:, 0] | torch.eye(10, dtype=torch.bool)).float(),
        target_mapping=mapping,
        labels=batch.labels,
    )
    assert masked_word_loss(output.logits, batch.labels).item() == pytest.approx(output.loss.item(), rel=1e-5)
    for place in range(batch.labels.size(1)):
        (gradient,) = torch.autograd.grad(output.logits[:, place].sum(), x, retain_graph=True)
        assert torch.equal((gradient != 0).any(-1), batch.query_mask[:, 0, place])


# --- distillation ------------------------------------------------------------------------------------------


@dtypes
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_distillation_loss_is_torchs_divergence_and_cross_entropy(dtype, temperature):
    student = torch.randn(7, 5, generator=chance(), dtype=dtype, requires_grad=True)
    teacher = torch.randn(7, 5, generator=chance(1), dtype=dtype)
    labels = torch.randint(5, (7,), generator=chance(2))
    soft = nn.KLDivLoss(reduction="batchmean")(
        nn.functional.log_softmax(student / temperature, dim=-1),
        nn.functional.softmax(teacher / temperature, dim=-1),
    )
    reference = 0.3 * temperature**2 * soft + 0.7 * nn.CrossEntropyLoss()(student, labels)
    ours = distillation_loss(student, teacher, labels, temperature=temperature, soft_share=0.3)
    assert_equal(ours, reference, [student], dtype)
