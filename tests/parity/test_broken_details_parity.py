"""The comparison with the references can fail: one detail of ours is broken at a time, and it notices each.

In double precision, with the same function that compares the sound models.
"""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib import attention, bert, gpt, layers, transformer
from course_lib.embeddings import TokenEmbedding
from course_lib.hugging_face import from_hugging_face, from_torch
from course_lib.layers import FeedForward, LayerNorm
from course_lib.masks import causal_mask, padding_mask
from course_lib.objectives import language_model_loss, next_token_labels
from course_lib.patches import image_patches
from course_lib.positions import LearnedPositions, sinusoidal_positions
from course_lib.torchvision_ops import define_missing_torchvision_ops
from course_lib.vit import ViT
from tests.parity.comparison import compare, padded, randomised

define_missing_torchvision_ops()
from transformers import (  # noqa: E402
    BertConfig,
    BertForPreTraining,
    BertForQuestionAnswering,
    GPT2Config,
    GPT2LMHeadModel,
    MarianConfig,
    MarianMTModel,
    RobertaConfig,
    RobertaModel,
    ViTConfig,
    ViTForImageClassification,
)

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch wonders at our small sizes

Patch = pytest.MonkeyPatch


class Pair:
    """A reference, ours with the same weights, and how to run both on the same input."""

    def __init__(
        self,
        theirs: nn.Module,
        convert: Callable[[nn.Module], nn.Module],
        run_theirs: Callable[[nn.Module], list[Tensor]],
        run_ours: Callable[[nn.Module], list[Tensor]],
    ):
        self.theirs, self.convert, self.run_theirs, self.run_ours = theirs, convert, run_theirs, run_ours
        self.ours = convert(theirs)

    def compare(self) -> None:
        compare(self.ours, self.theirs, self.convert, self.run_ours(self.ours), self.run_theirs(self.theirs))


def pair_of_marian() -> Pair:
    config = MarianConfig(
        vocab_size=23,
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=19,
        decoder_ffn_dim=19,
        max_position_embeddings=11,
        activation_function="gelu",
        scale_embedding=True,
        pad_token_id=22,
        decoder_start_token_id=22,
        eos_token_id=0,
        dropout=0.1,
        attn_implementation="eager",
    )
    theirs = randomised(MarianMTModel(config), torch.float64)
    theirs.final_logits_bias.normal_()
    src, tgt = padded([7, 3, 5], 23, 22), padded([6, 5, 2], 23, 22)

    def run_theirs(model: nn.Module) -> list[Tensor]:
        return [model(src, attention_mask=src != 22, decoder_input_ids=tgt).logits[tgt != 22]]

    return Pair(theirs, from_hugging_face, run_theirs, lambda model: [model(src, tgt)[tgt != 22]])


def pair_of_torch(norm_first: bool) -> Pair:
    theirs = randomised(
        nn.Transformer(12, 4, 2, 2, 17, dropout=0.1, batch_first=True, norm_first=norm_first), torch.float64
    )
    src, tgt = padded([5, 2, 4], 9, 0), padded([6, 7, 3], 9, 0)
    x, y = torch.randn(3, 5, 12, dtype=torch.float64), torch.randn(3, 7, 12, dtype=torch.float64)

    def run_theirs(model: nn.Module) -> list[Tensor]:
        hidden = {"src_key_padding_mask": src == 0, "memory_key_padding_mask": src == 0}
        return [model(x, y, tgt_mask=~causal_mask(7), **hidden)[tgt != 0]]

    def run_ours(model: nn.Module) -> list[Tensor]:
        encoder, decoder = model
        return [decoder(y, encoder(x, padding_mask(src, 0)), None, padding_mask(src, 0))[tgt != 0]]

    return Pair(theirs, lambda module: nn.ModuleList(from_torch(module)), run_theirs, run_ours)


def pair_of_post_norm() -> Pair:
    return pair_of_torch(norm_first=False)


def pair_of_pre_norm() -> Pair:
    return pair_of_torch(norm_first=True)


def gpt2(dtype: torch.dtype) -> nn.Module:
    config = GPT2Config(vocab_size=23, n_positions=11, n_embd=20, n_layer=2, n_head=4, n_inner=17)
    config.bos_token_id, config.eos_token_id, config._attn_implementation = 0, 1, "eager"
    return randomised(GPT2LMHeadModel(config), dtype)


def pair_of_gpt() -> Pair:
    tokens = torch.randint(23, (3, 7))
    return Pair(
        gpt2(torch.float64),
        from_hugging_face,
        lambda model: [model(tokens).logits],
        lambda model: [model(tokens)],
    )


def pair_of_gpt_with_loss() -> Pair:
    tokens = torch.randint(23, (3, 7))

    def run_ours(model: nn.Module) -> list[Tensor]:
        inputs, labels = next_token_labels(tokens)
        return [language_model_loss(model(inputs), labels)]

    return Pair(
        gpt2(torch.float32), from_hugging_face, lambda model: [model(tokens, labels=tokens).loss], run_ours
    )


BERT_SIZES = {
    "vocab_size": 23,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 17,
    "max_position_embeddings": 13,
    "attn_implementation": "eager",
}


def pair_of_bert(randomise: bool = True) -> Pair:
    theirs = BertForPreTraining(BertConfig(**BERT_SIZES)).to(torch.float64).eval()
    if randomise:
        randomised(theirs, torch.float64)
    tokens = padded([7, 3, 5], 23, 0)
    segments, real = (torch.arange(7) >= torch.tensor([[4], [1], [2]])).long(), tokens != 0

    def run_theirs(model: nn.Module) -> list[Tensor]:
        outputs = model(tokens, attention_mask=real.long(), token_type_ids=segments)
        return [outputs.prediction_logits[real], outputs.seq_relationship_logits]

    def run_ours(model: nn.Module) -> list[Tensor]:
        words, pairs = model(tokens, segments)
        return [words[real], pairs]

    return Pair(theirs, from_hugging_face, run_theirs, run_ours)


def pair_of_answers() -> Pair:
    theirs = randomised(BertForQuestionAnswering(BertConfig(**BERT_SIZES)), torch.float64)
    tokens = torch.randint(1, 23, (3, 7))

    def run_theirs(model: nn.Module) -> list[Tensor]:
        outputs = model(tokens)
        return [outputs.start_logits, outputs.end_logits]

    return Pair(theirs, from_hugging_face, run_theirs, lambda model: list(model(tokens)))


def pair_of_roberta() -> Pair:
    config = RobertaConfig(**BERT_SIZES, type_vocab_size=1, pad_token_id=1)
    tokens = torch.randint(2, 23, (3, 7))
    return Pair(
        randomised(RobertaModel(config, add_pooling_layer=False), torch.float64),
        from_hugging_face,
        lambda model: [model(tokens).last_hidden_state],
        lambda model: [model(tokens)],
    )


def pair_of_vit() -> Pair:
    config = ViTConfig(
        hidden_size=20,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=17,
        image_size=(6, 9),
        patch_size=3,
        num_channels=2,
        num_labels=5,
        attn_implementation="sdpa",
    )
    images = torch.randn(3, 2, 6, 9, dtype=torch.float64)
    return Pair(
        randomised(ViTForImageClassification(config), torch.float64),
        from_hugging_face,
        lambda model: [model(images).logits],
        lambda model: [model(image_patches(images, size=3))],
    )


def each(model: nn.Module, kind: type[nn.Module]) -> list:
    found = [module for module in model.modules() if isinstance(module, kind)]
    assert found
    return found


def set_everywhere(kind: type[nn.Module], name: str, value: object) -> Callable[[nn.Module, Patch], None]:
    def spoil(ours: nn.Module, patch: Patch) -> None:
        for module in each(ours, kind):
            assert getattr(module, name) != value
            setattr(module, name, value)

    return spoil


def without(name: str) -> Callable[[nn.Module, Patch], None]:
    """Set one weight to 0: the detail is forgotten."""

    def spoil(ours: nn.Module, patch: Patch) -> None:
        ours.get_parameter(name).zero_()

    return spoil


def nothing_instead_of(name: str) -> Callable[[nn.Module, Patch], None]:
    def spoil(ours: nn.Module, patch: Patch) -> None:
        ours.set_submodule(name, nn.Identity())

    return spoil


def replaced(
    owner: object, name: str, make: Callable[[Callable], Callable]
) -> Callable[[nn.Module, Patch], None]:
    """Put `make(what was there)` into its place."""

    def spoil(ours: nn.Module, patch: Patch) -> None:
        patch.setattr(owner, name, make(getattr(owner, name)))

    return spoil


def attending(
    change: Callable[..., tuple[Tensor, Tensor | None, bool]],
) -> Callable[[nn.Module, Patch], None]:
    """Change what `attend` is given: query, mask, causal."""

    def make(sound: Callable) -> Callable:
        def attend(
            q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout: float
        ) -> Tensor:
            q, mask, causal = change(q, mask, causal)
            return sound(q, k, v, mask, causal, dropout)

        return attend

    return replaced(attention, "_attend", make)


def shifted_mask(by: int) -> Callable[..., tuple[Tensor, Tensor | None, bool]]:
    def change(q: Tensor, mask: Tensor | None, causal: bool) -> tuple[Tensor, Tensor | None, bool]:
        if causal:
            past = torch.ones(q.size(2), q.size(2), dtype=torch.bool).tril(by)
            mask = past if mask is None else mask & past
        return q, mask, False

    return change


def heads_cut_the_other_way(x: Tensor, n_heads: int) -> Tensor:
    return x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2)


def transposed(ours: nn.Module, patch: Patch) -> None:
    weight = ours.stack.blocks[0].attention.w_o.weight
    weight.copy_(weight.T.clone())


def exchanged(one: str, other: str) -> Callable[[nn.Module, Patch], None]:
    def spoil(ours: nn.Module, patch: Patch) -> None:
        first, second = ours.get_parameter(one), ours.get_parameter(other)
        kept = first.clone()
        first.copy_(second)
        second.copy_(kept)

    return spoil


def rows_rolled(name: str) -> Callable[[nn.Module, Patch], None]:
    def spoil(ours: nn.Module, patch: Patch) -> None:
        weight = ours.get_parameter(name)
        weight.copy_(weight.roll(1, 0))

    return spoil


def interleaved(ours: nn.Module, patch: Patch) -> None:
    ours.positions.table.copy_(sinusoidal_positions(11, 24))


def order_of_norm_exchanged(ours: nn.Module, patch: Patch) -> None:
    for module in ours.modules():
        if hasattr(module, "norm_first"):
            module.norm_first = not module.norm_first


def residual_from_behind_the_norm(sound: Callable) -> Callable:
    def add_and_norm(
        x: Tensor, sublayer: Callable, norm: nn.Module, dropout: nn.Module, norm_first: bool
    ) -> Tensor:
        return norm(x) + dropout(sublayer(norm(x)))

    return add_and_norm


def first_position_forgotten(ours: nn.Module, patch: Patch) -> None:
    object.__setattr__(ours.config, "first_position", 0)


def head_of_its_own(ours: nn.Module, patch: Patch) -> None:
    ours.unembed.weight = nn.Parameter(ours.unembed.weight.clone())


HERE = globals()


def patches_seen_as(change: Callable[[Tensor], Tensor]) -> Callable[[nn.Module, Patch], None]:
    def spoil(ours: nn.Module, patch: Patch) -> None:
        patch.setitem(
            HERE, "image_patches", lambda images, size: change(image_patches_as_they_are(images, size=size))
        )

    return spoil


image_patches_as_they_are = image_patches


def labels_not_shifted(ours: nn.Module, patch: Patch) -> None:
    patch.setitem(HERE, "next_token_labels", lambda tokens: (tokens, tokens))


BROKEN = {
    # the Transformer
    "mask the wrong way round": (
        pair_of_marian,
        replaced(transformer, "padding_mask", lambda sound: lambda tokens, pad: ~sound(tokens, pad)),
    ),
    "padding of the source shown to the decoder": (
        pair_of_marian,
        replaced(
            layers.DecoderBlock,
            "forward",
            lambda sound: (
                lambda self, x, memory, mask, memory_mask, **rest: sound(self, x, memory, mask, None, **rest)
            ),
        ),
    ),
    "sines and cosines interleaved": (pair_of_marian, interleaved),
    "embeddings not times √d": (
        pair_of_marian,
        replaced(
            TokenEmbedding, "forward", lambda sound: lambda self, tokens: F.embedding(tokens, self.weight)
        ),
    ),
    "no number added to the score of a word": (pair_of_marian, without("unembed.bias")),
    "table not shared with the output": (pair_of_marian, head_of_its_own),
    "dropout left on": (pair_of_marian, lambda ours, patch: ours.train()),
    "a token sees the next one": (pair_of_marian, attending(shifted_mask(1))),
    "a token does not see itself": (pair_of_gpt, attending(shifted_mask(-1))),
    "scores divided by √d_model": (
        pair_of_post_norm,
        attending(lambda q, mask, causal: (q / math.sqrt(q.size(1)), mask, causal)),
    ),
    "scores not divided": (
        pair_of_bert,
        attending(lambda q, mask, causal: (q * math.sqrt(q.size(3)), mask, causal)),
    ),
    "heads cut the other way": (
        pair_of_post_norm,
        replaced(attention, "split_heads", lambda sound: heads_cut_the_other_way),
    ),
    "norm before instead of after": (pair_of_post_norm, order_of_norm_exchanged),
    "no last norm": (pair_of_pre_norm, nothing_instead_of("1.norm")),
    "a bias of a value forgotten": (pair_of_post_norm, without("1.blocks.1.cross_attention.w_v.bias")),
    "query and key exchanged": (
        pair_of_post_norm,
        exchanged("0.blocks.0.attention.w_q.weight", "0.blocks.0.attention.w_k.weight"),
    ),
    "epsilon 1e-6 instead of 1e-5": (pair_of_post_norm, set_everywhere(LayerNorm, "eps", 1e-6)),
    # GPT
    "exact GELU instead of GPT-2's": (pair_of_gpt, set_everywhere(FeedForward, "activation", "gelu")),
    "a map not transposed": (pair_of_gpt, transposed),
    "positions shifted by one": (
        pair_of_gpt,
        replaced(
            LearnedPositions, "forward", lambda sound: lambda self, x, start=0: sound(self, x, start + 1)
        ),
    ),
    "no last norm in GPT": (pair_of_gpt, nothing_instead_of("stack.norm")),
    "residual taken from behind the norm": (
        pair_of_gpt,
        replaced(layers, "_add_and_norm", residual_from_behind_the_norm),
    ),
    "the head does not teach the table": (
        pair_of_gpt,
        replaced(
            gpt.GPT, "unembed", lambda sound: lambda self, x: F.linear(x, self.embedding.weight.detach())
        ),
    ),
    "labels not shifted": (pair_of_gpt_with_loss, labels_not_shifted),
    # BERT
    "epsilon 1e-5 instead of BERT's 1e-12": (pair_of_bert, set_everywhere(LayerNorm, "eps", 1e-5)),
    "tanh GELU instead of BERT's": (pair_of_bert, set_everywhere(FeedForward, "activation", "gelu_tanh")),
    "sentence A taken for B": (pair_of_bert, rows_rolled("bert.segment_embedding.weight")),
    "pooler without tanh": (
        pair_of_bert,
        replaced(bert.BERT, "pool", lambda sound: lambda self, x: self.pooler(x[:, 0])),
    ),
    "pooler reads the last token": (
        pair_of_bert,
        replaced(bert.BERT, "pool", lambda sound: lambda self, x: sound(self, x.flip(1))),
    ),
    "no norm of the embeddings": (pair_of_bert, nothing_instead_of("bert.embedding_norm")),
    "no bias of the words": (pair_of_bert, without("masked_language.bias")),
    "no norm in the head": (pair_of_bert, nothing_instead_of("masked_language.norm")),
    "padding shown": (
        pair_of_bert,
        replaced(bert, "padding_mask", lambda sound: lambda tokens, pad: torch.ones_like(sound(tokens, pad))),
    ),
    "start and end exchanged": (pair_of_answers, rows_rolled("head.weight")),
    "RoBERTa's positions from 0": (pair_of_roberta, first_position_forgotten),
    # ViT
    "colours of a pixel side by side": (
        pair_of_vit,
        patches_seen_as(lambda x: x.unflatten(-1, (2, 9)).transpose(-1, -2).flatten(-2)),
    ),
    "patches read down first": (
        pair_of_vit,
        patches_seen_as(lambda x: x.unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2)),
    ),
    "positions of the patches shifted": (pair_of_vit, rows_rolled("positions.table")),
    "mean of the patches instead of the class token": (
        pair_of_vit,
        replaced(
            ViT, "forward", lambda sound: lambda self, patches: self.head(self.encode(patches)[:, 1:].mean(1))
        ),
    ),
}


@pytest.mark.parametrize("detail", BROKEN)
def test_the_comparison_notices(detail, monkeypatch):
    make, spoil = BROKEN[detail]
    pair = make()
    pair.compare()  # sound
    with torch.no_grad():
        spoil(pair.ours, monkeypatch)
    with pytest.raises(AssertionError, match=r"apart|other weights"):
        pair.compare()


def test_at_default_initialisation_a_forgotten_bias_would_not_be_noticed():
    """Why every weight is drawn anew first (control): there, biases are 0."""
    pair = pair_of_bert(randomise=False)
    with torch.no_grad():
        for name, weight in pair.ours.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
    pair.compare()
