"""Our blocks and stacks against torch.nn's, at random weights: forward and gradients, fp32 and fp64.

torch's masks are turned: there, True means hidden. Rows of the padding are left out; torch may set them to 0.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.hugging_face import from_torch
from course_lib.masks import causal_mask, padding_mask
from course_lib.transformer import Transformer, TransformerConfig
from tests.parity.comparison import compare, dtypes, padded, randomised

pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # torch wonders at our small sizes

# 4 heads of 3 numbers; every size differs from every other.
SIZES = {"d_model": 12, "nhead": 4, "dim_feedforward": 17, "dropout": 0.0, "batch_first": True}
ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "gelu_tanh": nn.GELU(approximate="tanh"), "silu": F.silu}
kinds = pytest.mark.parametrize(
    ("norm_first", "activation"),
    [(False, "relu"), (True, "gelu"), (False, "gelu_tanh"), (True, "silu")],
    ids=["post-norm, relu", "pre-norm, gelu", "post-norm, tanh gelu", "pre-norm, silu"],
)
masks = pytest.mark.parametrize("mask", ["none", "padding", "causal", "both"])


def source(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def torch_masks(mask: str, tokens: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
    """The same mask for ours and, the other way round, for theirs."""
    ours, theirs = None, {}
    if mask in ("padding", "both"):
        ours = padding_mask(tokens, 0)
        theirs["src_key_padding_mask"] = tokens == 0
    if mask in ("causal", "both"):
        theirs["mask"] = ~causal_mask(tokens.size(1))
    return ours, theirs


@dtypes
@kinds
@masks
@pytest.mark.parametrize("final_norm", [False, True], ids=["", "last norm"])
def test_an_encoder_equals_torchs(dtype, norm_first, activation, mask, final_norm):
    layer = nn.TransformerEncoderLayer(
        **SIZES, norm_first=norm_first, activation=ACTIVATIONS[activation], layer_norm_eps=1e-3
    )
    norm = nn.LayerNorm(12, eps=1e-3) if final_norm else None
    theirs = randomised(nn.TransformerEncoder(layer, 3, norm, enable_nested_tensor=False), dtype)
    ours = from_torch(theirs)
    tokens = padded([7, 4, 5], 9, 0)
    real = tokens != 0 if mask in ("padding", "both") else torch.ones_like(tokens, dtype=torch.bool)
    x = source(3, 7, 12, dtype=dtype)
    own_mask, their_masks = torch_masks(mask, tokens)
    output = ours(x, own_mask, causal=mask in ("causal", "both"))
    compare(ours, theirs, from_torch, [output[real]], [theirs(x, **their_masks)[real]])


@dtypes
@kinds
def test_a_decoder_equals_torchs(dtype, norm_first, activation):
    layer = nn.TransformerDecoderLayer(**SIZES, norm_first=norm_first, activation=ACTIVATIONS[activation])
    theirs = randomised(nn.TransformerDecoder(layer, 2, nn.LayerNorm(12)), dtype)
    ours = from_torch(theirs)
    src, tgt = padded([5, 2, 4], 9, 0), padded([6, 7, 3], 9, 0)
    x, memory = source(3, 7, 12, dtype=dtype), source(3, 5, 12, dtype=dtype)
    output = ours(x, memory, padding_mask(tgt, 0), padding_mask(src, 0))
    expected = theirs(
        x,
        memory,
        tgt_mask=~causal_mask(7),
        tgt_key_padding_mask=tgt == 0,
        memory_key_padding_mask=src == 0,
    )
    compare(ours, theirs, from_torch, [output[tgt != 0]], [expected[tgt != 0]])


@dtypes
@kinds
def test_one_block_of_each_kind_equals_torchs(dtype, norm_first, activation):
    options = {**SIZES, "norm_first": norm_first, "activation": ACTIVATIONS[activation]}
    x, memory = source(3, 6, 12, dtype=dtype), source(3, 5, 12, dtype=dtype)
    encoder = randomised(nn.TransformerEncoderLayer(**options), dtype)
    ours = from_torch(encoder)
    compare(ours, encoder, from_torch, [ours(x)], [encoder(x)])
    decoder = randomised(nn.TransformerDecoderLayer(**options), dtype)
    ours = from_torch(decoder)
    expected = decoder(x, memory, tgt_mask=~causal_mask(6))
    compare(ours, decoder, from_torch, [ours(x, memory)], [expected])


@dtypes
@kinds
def test_encoder_and_decoder_together_equal_torchs_transformer(dtype, norm_first, activation):
    theirs = randomised(
        nn.Transformer(
            **SIZES,
            num_encoder_layers=2,
            num_decoder_layers=3,
            norm_first=norm_first,
            activation=ACTIVATIONS[activation],
        ),
        dtype,
    )

    def convert(module: nn.Module) -> nn.ModuleList:
        return nn.ModuleList(from_torch(module))

    ours = convert(theirs)
    encoder, decoder = ours
    src, tgt = padded([5, 2, 4], 9, 0), padded([6, 7, 3], 9, 0)
    x, y = source(3, 5, 12, dtype=dtype), source(3, 7, 12, dtype=dtype)
    output = decoder(y, encoder(x, padding_mask(src, 0)), padding_mask(tgt, 0), padding_mask(src, 0))
    expected = theirs(
        x,
        y,
        tgt_mask=~causal_mask(7),
        src_key_padding_mask=src == 0,
        tgt_key_padding_mask=tgt == 0,
        memory_key_padding_mask=src == 0,
    )
    compare(ours, theirs, convert, [output[tgt != 0]], [expected[tgt != 0]])


@dtypes
def test_attention_equals_torchs_by_its_state_dict(dtype):
    theirs = randomised(nn.MultiheadAttention(12, 4, batch_first=True), dtype)
    ours = from_torch(theirs)
    x, memory = source(3, 6, 12, dtype=dtype), source(3, 5, 12, dtype=dtype)
    tokens = padded([5, 1, 3], 9, 0)
    expected, weights = theirs(
        x, memory, memory, key_padding_mask=tokens == 0, average_attn_weights=False, need_weights=True
    )
    compare(ours, theirs, from_torch, [ours(x, memory, padding_mask(tokens, 0))], [expected])
    torch.testing.assert_close(ours.with_weights(x, memory, padding_mask(tokens, 0))[1], weights)


@dtypes
def test_maps_without_biases_equal_torchs(dtype):
    layer = nn.TransformerEncoderLayer(**SIZES, bias=False)
    theirs = randomised(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), dtype)
    ours = from_torch(theirs)
    x = source(3, 6, 12, dtype=dtype)
    compare(ours, theirs, from_torch, [ours(x)], [theirs(x)])
    assert not any(weight.requires_grad for name, weight in ours.named_parameters() if name.endswith("bias"))


def test_the_base_model_of_the_paper_has_its_number_of_parameters():
    with torch.device("meta"):
        model = Transformer(
            TransformerConfig(src_vocab_size=37_000, tgt_vocab_size=37_000, share_weights=True)
        )
    assert sum(weight.numel() for weight in model.parameters()) == 63_082_496
