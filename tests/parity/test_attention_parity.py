"""Our attention against torch.nn and d2l at random weights: forward and gradients, fp32 and fp64.

Limits: fp32 forward 1e-5 of the largest number, gradients 1e-4 in relative norm; fp64 1e-12 and 1e-11.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.attention import AdditiveAttention, MultiHeadAttention, scaled_dot_product_attention
from course_lib.masks import causal_mask, padding_mask
from course_lib.torchvision_ops import define_missing_torchvision_ops

define_missing_torchvision_ops()
from d2l import torch as d2l  # noqa: E402

LIMITS = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-11)}
dtypes = pytest.mark.parametrize("dtype", LIMITS)


def randomised(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Add N(0, 0.2) to every weight: at default initialisation a missing bias would not show."""
    module.to(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return module


def assert_equal(ours: Tensor, reference: Tensor, leaves: list[Tensor], dtype: torch.dtype) -> None:
    """Compare two outputs, and the gradients of one random mix of them to every leaf."""
    forward, backward = LIMITS[dtype]
    assert ours.shape == reference.shape
    assert (ours - reference).abs().max() <= forward * reference.abs().max()
    mix = torch.randn_like(reference)
    of_ours = torch.autograd.grad((ours * mix).sum(), leaves, retain_graph=True)
    of_reference = torch.autograd.grad((reference * mix).sum(), leaves)
    for one, other in zip(of_ours, of_reference, strict=True):
        # A key's bias has gradient 0: the softmax does not notice what is added to a whole row.
        assert (one - other).norm() <= backward * max(other.norm().item(), 1.0)


def leaf(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


@dtypes
@pytest.mark.parametrize("mask", [None, "causal", "padding", "both"])
def test_scaled_dot_product_attention_equals_torchs(dtype, mask):
    tokens = torch.tensor([[4, 5, 6, 0, 0], [7, 8, 9, 1, 0]])
    masks = {
        None: None,
        "causal": causal_mask(3, 5),
        "padding": padding_mask(tokens, 0),
        "both": padding_mask(tokens, 0) & causal_mask(3, 5),
    }
    q, k, v = leaf(2, 6, 3, 4, dtype=dtype), leaf(2, 6, 5, 4, dtype=dtype), leaf(2, 6, 5, 7, dtype=dtype)
    ours, _ = scaled_dot_product_attention(q, k, v, masks[mask])
    assert_equal(ours, F.scaled_dot_product_attention(q, k, v, attn_mask=masks[mask]), [q, k, v], dtype)


@dtypes
@pytest.mark.parametrize("form", ["fused", "definition"])
@pytest.mark.parametrize("kind", ["self", "self, causal and padding", "cross, padding"])
def test_multi_head_attention_equals_torch_nn(dtype, form, kind):
    ours = randomised(MultiHeadAttention(d_model=12, n_heads=3), dtype)
    reference = nn.MultiheadAttention(12, 3, batch_first=True, dtype=dtype)
    x, memory = leaf(2, 5, 12, dtype=dtype), leaf(2, 7, 12, dtype=dtype)
    lengths = {"self, causal and padding": (5, [5, 3]), "cross, padding": (7, [7, 4])}
    source = memory if kind.startswith("cross") else x
    mask, hidden = None, {}
    if kind in lengths:
        n_keys, real = lengths[kind]
        tokens = (torch.arange(n_keys) < torch.tensor(real)[:, None]).long()
        mask = padding_mask(tokens, 0)
        hidden["key_padding_mask"] = tokens == 0  # torch's polarity: True = hidden
        if "causal" in kind:
            mask = mask & causal_mask(n_keys)
            hidden["attn_mask"] = ~causal_mask(n_keys)
    arguments = (x, source if source is memory else None, mask)
    output = ours(*arguments) if form == "fused" else ours.with_weights(*arguments)[0]

    # torch's module computes with tensors made of our parameters, so that gradients can be compared.
    expected, weights = F.multi_head_attention_forward(
        x.transpose(0, 1),
        source.transpose(0, 1),
        source.transpose(0, 1),
        12,
        3,
        torch.cat([ours.w_q.weight, ours.w_k.weight, ours.w_v.weight]),
        torch.cat([ours.w_q.bias, ours.w_k.bias, ours.w_v.bias]),
        None,
        None,
        False,
        0.0,
        ours.w_o.weight,
        ours.w_o.bias,
        training=False,
        average_attn_weights=False,
        **hidden,
    )
    leaves = [x, *([memory] if source is memory else []), *ours.parameters()]
    assert_equal(output, expected.transpose(0, 1), leaves, dtype)
    if form == "definition":
        torch.testing.assert_close(ours.with_weights(*arguments)[1], weights)

    with torch.no_grad():  # and the module itself, by its state dict
        reference.in_proj_weight.copy_(torch.cat([ours.w_q.weight, ours.w_k.weight, ours.w_v.weight]))
        reference.in_proj_bias.copy_(torch.cat([ours.w_q.bias, ours.w_k.bias, ours.w_v.bias]))
        reference.out_proj.load_state_dict(ours.w_o.state_dict())
        by_module, _ = reference(x, source, source, **hidden)
        assert (by_module - output).abs().max() <= LIMITS[dtype][0] * by_module.abs().max()


@dtypes
def test_multi_head_attention_equals_d2ls(dtype):
    ours = randomised(MultiHeadAttention(d_model=12, n_heads=3), dtype)
    theirs = d2l.MultiHeadAttention(12, 3, dropout=0, bias=True)
    theirs.W_q, theirs.W_k, theirs.W_v, theirs.W_o = ours.w_q, ours.w_k, ours.w_v, ours.w_o
    x, memory = leaf(2, 5, 12, dtype=dtype), leaf(2, 7, 12, dtype=dtype)
    lengths = torch.tensor([7, 4])
    mask = (torch.arange(7) < lengths[:, None])[:, None, None, :]
    expected = theirs(x, memory, memory, lengths)
    assert_equal(ours(x, memory, mask), expected, [x, memory, *ours.parameters()], dtype)


@dtypes
def test_dot_product_attention_equals_d2ls(dtype):
    q, k, v = leaf(2, 3, 4, dtype=dtype), leaf(2, 5, 4, dtype=dtype), leaf(2, 5, 6, dtype=dtype)
    lengths = torch.tensor([5, 2])
    mask = (torch.arange(5) < lengths[:, None])[:, None, :]
    ours, _ = scaled_dot_product_attention(q, k, v, mask)
    assert_equal(ours, d2l.DotProductAttention(dropout=0)(q, k, v, lengths), [q, k, v], dtype)


@dtypes
def test_additive_attention_equals_d2ls(dtype):
    ours = randomised(AdditiveAttention(d_query=3, d_key=4, d_hidden=7), dtype)
    theirs = d2l.AdditiveAttention(num_hiddens=7, dropout=0)
    theirs.W_q, theirs.W_k, theirs.w_v = ours.w_q, ours.w_k, ours.w_v
    q, k, v = leaf(2, 5, 3, dtype=dtype), leaf(2, 6, 4, dtype=dtype), leaf(2, 6, 8, dtype=dtype)
    lengths = torch.tensor([6, 2])
    mask = (torch.arange(6) < lengths[:, None])[:, None, :]
    output, _ = ours(q, k, v, mask)
    assert_equal(output, theirs(q, k, v, lengths), [q, k, v, *ours.parameters()], dtype)


@pytest.mark.parametrize("broken", ["mask polarity", "a bias", "scale", "head order"])
def test_the_comparison_notices_a_broken_detail(broken):
    ours = randomised(MultiHeadAttention(d_model=12, n_heads=3), torch.float32)
    theirs = d2l.MultiHeadAttention(12, 3, dropout=0, bias=True)
    theirs.W_q, theirs.W_k, theirs.W_v, theirs.W_o = ours.w_q, ours.w_k, ours.w_v, ours.w_o
    x, lengths = leaf(2, 5, 12, dtype=torch.float32), torch.tensor([5, 3])
    mask = (torch.arange(5) < lengths[:, None])[:, None, None, :]
    expected = theirs(x, x, x, lengths)
    if broken == "mask polarity":
        lengths_shown = ~mask
        lengths_shown[0] = True
        output = ours(x, mask=lengths_shown)
    else:
        changed = MultiHeadAttention(d_model=12, n_heads=3)
        changed.load_state_dict(ours.state_dict())
        with torch.no_grad():
            if broken == "a bias":
                changed.w_v.bias[0] += 0.01
            elif broken == "scale":
                changed.w_q.weight *= 1.01
                changed.w_q.bias *= 1.01
            else:
                changed.w_v.weight.copy_(ours.w_v.weight.roll(1, 0))
        output = changed(x, mask=mask)
    with pytest.raises(AssertionError):
        assert_equal(output, expected, [x], torch.float32)
