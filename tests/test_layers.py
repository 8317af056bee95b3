"""The layers around attention: normalisation, feed-forward network, blocks."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from course_lib.attention import KVCache
from course_lib.layers import DecoderBlock, EncoderBlock, FeedForward, LayerNorm, activate, layer_norm
from course_lib.masks import causal_mask, length_mask


def random_everywhere(module: nn.Module, seed: int = 0) -> nn.Module:
    """Move every parameter away from its start: a norm of γ = 1 and β = 0 would hide mistakes."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
    return module.eval()


def block(kind, **changed):
    torch.manual_seed(1)
    return random_everywhere(
        kind(**{"d_model": 12, "n_heads": 3, "d_ff": 20, "activation": "gelu"} | changed)
    )


def test_a_normalised_token_has_mean_zero_and_variance_one():
    x = 3 + 5 * torch.randn(4, 6, 32)
    y = LayerNorm(32)(x)
    torch.testing.assert_close(y.mean(-1), torch.zeros(4, 6), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.var(-1, correction=0), torch.ones(4, 6), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype, limit", [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_both_forms_of_layer_norm_agree_in_values_and_gradients(dtype, limit):
    norm = random_everywhere(LayerNorm(7, eps=1e-3).to(dtype))
    x = torch.randn(2, 5, 7, dtype=dtype, requires_grad=True)
    ways = (norm(x), layer_norm(x, norm.weight, norm.bias, 1e-3))
    torch.testing.assert_close(*ways, atol=limit, rtol=limit)
    pull = torch.randn(2, 5, 7, dtype=dtype)
    inputs = (x, norm.weight, norm.bias)
    for one, other in zip(*(torch.autograd.grad(way, inputs, pull) for way in ways)):
        torch.testing.assert_close(one, other, atol=10 * limit, rtol=10 * limit)


def test_layer_norm_of_one_token_knows_nothing_of_the_others():
    norm = random_everywhere(LayerNorm(8))
    x = torch.randn(3, 4, 8)
    changed = x.clone()
    changed[1:] = 100.0
    changed[0, 1:] = -7.0
    assert torch.equal(norm(x)[0, 0], norm(changed)[0, 0])


def test_equal_numbers_are_normalised_to_beta_and_not_to_nan():
    norm = random_everywhere(LayerNorm(6))
    torch.testing.assert_close(norm(torch.full((2, 6), 4.0)), norm.bias.detach().expand(2, 6))


def test_a_feed_forward_network_treats_each_token_by_itself():
    network = FeedForward(d_model=6, d_ff=10)
    x = torch.randn(2, 5, 6)
    swapped = x.flip(1)
    torch.testing.assert_close(network(swapped), network(x).flip(1))
    w = network.expand.weight.T, network.expand.bias, network.contract.weight.T, network.contract.bias
    torch.testing.assert_close(network(x), (x @ w[0] + w[1]).clamp(min=0) @ w[2] + w[3])


def test_the_activations_are_what_their_names_say():
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)
    phi = 0.5 * (1 + torch.erf(x / 2**0.5))
    inner = (2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)
    torch.testing.assert_close(activate(x, "relu"), x.clamp(min=0))
    torch.testing.assert_close(activate(x, "gelu"), x * phi)
    torch.testing.assert_close(activate(x, "gelu_tanh"), 0.5 * x * (1 + inner.tanh()))
    torch.testing.assert_close(activate(x, "silu"), x / (1 + (-x).exp()))
    assert (activate(x, "gelu") - activate(x, "gelu_tanh")).abs().max() > 1e-4


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_block_is_two_sub_layers_each_added_and_normalised(norm_first):
    ours = block(EncoderBlock, norm_first=norm_first)
    x, mask = torch.randn(2, 5, 12), length_mask(torch.tensor([5, 3]), 5)
    if norm_first:
        y = x + ours.attention(ours.attention_norm(x), mask=mask)
        expected = y + ours.feed_forward(ours.feed_forward_norm(y))
    else:
        y = ours.attention_norm(x + ours.attention(x, mask=mask))
        expected = ours.feed_forward_norm(y + ours.feed_forward(y))
    torch.testing.assert_close(ours(x, mask), expected)


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_decoder_block_looks_at_its_past_then_at_the_source(norm_first):
    ours = block(DecoderBlock, norm_first=norm_first)
    x, memory = torch.randn(2, 5, 12), torch.randn(2, 4, 12)
    seen = length_mask(torch.tensor([4, 2]), 4)
    past = causal_mask(5)
    if norm_first:
        y = x + ours.self_attention(ours.self_attention_norm(x), mask=past)
        y = y + ours.cross_attention(ours.cross_attention_norm(y), memory, seen)
        expected = y + ours.feed_forward(ours.feed_forward_norm(y))
    else:
        y = ours.self_attention_norm(x + ours.self_attention(x, mask=past))
        y = ours.cross_attention_norm(y + ours.cross_attention(y, memory, seen))
        expected = ours.feed_forward_norm(y + ours.feed_forward(y))
    torch.testing.assert_close(ours(x, memory, None, seen), expected, atol=1e-5, rtol=1e-5)
    changed = memory.clone()
    changed[1, 2:] = 50.0  # the padding of the second source
    assert torch.equal(ours(x, memory, None, seen), ours(x, changed, None, seen))


@pytest.mark.parametrize("norm_first", [False, True])
def test_blocks_with_a_cache_give_what_they_give_without(norm_first):
    x, memory = torch.randn(2, 7, 12), torch.randn(2, 4, 12)
    encoder = block(EncoderBlock, norm_first=norm_first)
    decoder = block(DecoderBlock, norm_first=norm_first)
    for pieces in ((7,), (1,) * 7, (3, 1, 2, 1), (2, 5)):
        cache, caches = KVCache(), (KVCache(), KVCache())
        parts = x.split(pieces, dim=1)
        steps = torch.cat([encoder(part, causal=True, cache=cache) for part in parts], dim=1)
        torch.testing.assert_close(steps, encoder(x, causal=True), atol=2e-6, rtol=1e-5)
        steps = torch.cat([decoder(part, memory, cache=caches) for part in parts], dim=1)
        torch.testing.assert_close(steps, decoder(x, memory), atol=2e-6, rtol=1e-5)


def test_dropout_falls_on_what_a_sub_layer_gives_and_only_in_training():
    ours = block(EncoderBlock, dropout=0.5)
    x = torch.randn(2, 5, 12)
    assert torch.equal(ours(x), ours(x))
    ours.train()
    assert not torch.equal(ours(x), ours(x))
    silent = copy.deepcopy(ours)
    silent.dropout.p = 1.0  # all that the sub-layers give is lost: the tokens go through, only normalised
    expected = silent.feed_forward_norm(silent.attention_norm(x))
    torch.testing.assert_close(silent(x), expected)


@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: LayerNorm(0), "d_model = 0"),
        (lambda: LayerNorm(4, eps=0.0), "eps must be above 0, got 0.0"),
        (lambda: LayerNorm(4)(torch.zeros(2, 5)), "width 4, got 5"),
        (lambda: LayerNorm(4)(torch.zeros(2, 4, dtype=torch.long)), "floating point, got shape (2, 4)"),
        (lambda: layer_norm(torch.zeros(2, 4), torch.ones(4), torch.zeros(3)), "(4,) and (3,)"),
        (lambda: layer_norm(torch.zeros(2, 4), torch.ones(4), torch.zeros(4), -1.0), "got -1.0"),
        (lambda: FeedForward(d_model=4, d_ff=0), "d_ff = 0"),
        (lambda: FeedForward(d_model=4, d_ff=5, activation="tanh"), "got 'tanh'"),
        (lambda: FeedForward(d_model=4, d_ff=5)([1.0]), "got a list"),
        (lambda: EncoderBlock(d_model=5, n_heads=2, d_ff=3), "d_model = 5, n_heads = 2"),
        (lambda: EncoderBlock(d_model=4, n_heads=2, d_ff=3, dropout=1.0), "got 1.0"),
        (lambda: DecoderBlock(d_model=4, n_heads=2, d_ff=3, eps=-1e-5), "got -1e-05"),
        (lambda: block(EncoderBlock)(torch.zeros(2, 0, 12)), "not empty, got shape (2, 0, 12)"),
        (lambda: block(EncoderBlock)(torch.zeros(2, 12)), "(2, 12)"),
        (lambda: block(DecoderBlock)(torch.zeros(2, 3, 12), torch.zeros(1, 4, 12)), "2 and 1"),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(ValueError) as error:
        make()
    assert named in str(error.value)


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 3), st.booleans(), st.integers(0, 10**6))
def test_a_causal_block_never_lets_a_later_token_change_an_earlier_one(
    n_batch, n_tokens, n_heads, norm_first, seed
):
    torch.manual_seed(seed)
    ours = EncoderBlock(d_model=4 * n_heads, n_heads=n_heads, d_ff=7, norm_first=norm_first)
    x = torch.randn(n_batch, n_tokens, 4 * n_heads)
    place = seed % n_tokens
    changed = x.clone()
    changed[:, place:] += 1.0
    torch.testing.assert_close(ours(x, causal=True)[:, :place], ours(changed, causal=True)[:, :place])
