"""Layers: what stands around attention in a block.

B batch · T tokens · Tq queries · Tk keys · D d_model · F d_ff
A mask is boolean, True = may attend (masks.py).

Papers: Vaswani et al. 2017, sections 3.1 and 3.3; He et al. 2016 (residual connections); Ba et al. 2016 (layer
normalisation); Hendrycks and Gimpel 2016 (GELU); Xiong et al. 2020 (where the norm stands).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, SupportsIndex, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.attention import KVCache, MultiHeadAttention

Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Give each token's numbers mean 0 and variance 1, then stretch and shift each feature.

    γ ⊙ (x − μ) / √(σ² + ε) + β, with μ and σ² over the D numbers of one token (Ba et al. 2016, equations 3 and 4).
    The definition form; `LayerNorm` uses PyTorch's fused one.

    Args:
        x: (…, D), floating point.
        weight, bias: γ and β, (D,).
        eps: ε, above 0; it keeps the division away from 0. The variance is the plain mean of squares: divided by D,
            not D − 1.

    Returns:
        The shape of `x`.

    Raises:
        ValueError: shapes or dtypes that do not fit, or an `eps` of 0 or below.
    """
    _check_vectors("layer_norm", x, weight.size(-1))
    if weight.dim() != 1 or weight.shape != bias.shape:
        raise ValueError(
            f"layer_norm: weight and bias must be (D,), got shapes {tuple(weight.shape)} and {tuple(bias.shape)}"
        )
    check_eps("layer_norm", eps)
    mean = x.mean(dim=-1, keepdim=True)  # (…, 1)
    variance = (x - mean).square().mean(dim=-1, keepdim=True)  # (…, 1)
    return weight * (x - mean) / (variance + eps).sqrt() + bias


class LayerNorm(nn.Module):
    """Normalise each token over its own features, with a learned γ and β (Ba et al. 2016).

    Nothing of other tokens or other sequences enters: it is the same in training and testing, at every length and
    in every batch.

    Args:
        d_model: D.
        eps: as in `layer_norm`.

    Raises:
        ValueError: a width below 1, or an `eps` of 0 or below.
    """

    def __init__(self, d_model: int, *, eps: float = 1e-5):
        super().__init__()
        check_sizes("LayerNorm", d_model=d_model)
        check_eps("LayerNorm", eps)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))  # γ
        self.bias = nn.Parameter(torch.zeros(d_model))  # β

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (…, D), each normalised."""
        _check_vectors("LayerNorm", x, len(self.weight))
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class FeedForward(nn.Module):
    """Let each token think by itself: two linear maps with a bend between them.

    FFN(x) = f(x W₁ + b₁) W₂ + b₂ (Vaswani et al. 2017, equation 2), with f = ReLU there, GELU in GPT and BERT.

    Args:
        d_model: D.
        d_ff: F, width of the hidden layer; usually 4 · D.
        activation: f: "relu"; "gelu", x · Φ(x); "gelu_tanh", GPT's approximation of it; "silu", x · σ(x).

    Raises:
        ValueError: a width below 1, or an unknown activation.
    """

    def __init__(self, *, d_model: int, d_ff: int, activation: Activation = "relu"):
        super().__init__()
        check_sizes("FeedForward", d_model=d_model, d_ff=d_ff)
        check_activation("FeedForward", activation)
        self.activation = activation
        self.expand = nn.Linear(d_model, d_ff)  # W₁, b₁
        self.contract = nn.Linear(d_ff, d_model)  # W₂, b₂

    def forward(self, x: Tensor) -> Tensor:
        """Return what each token (…, D) makes of itself, (…, D)."""
        _check_vectors("FeedForward", x, self.expand.in_features)
        return self.contract(activate(self.expand(x), self.activation))  # (…, D) → (…, F) → (…, D)


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Bend each number of `x`: the activations of `FeedForward`, by name."""
    if activation == "relu":
        return F.relu(x)
    if activation == "silu":
        return F.silu(x)
    return F.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")


class EncoderBlock(nn.Module):
    """Let the tokens look at each other, then each think by itself: two sub-layers.

    x ← LayerNorm(x + Sublayer(x)) for each (Vaswani et al. 2017, section 3.1), or, with `norm_first`,
    x ← x + Sublayer(LayerNorm(x)) (GPT-2; Xiong et al. 2020).

    Args:
        d_model: D.
        n_heads: H, a divisor of D.
        d_ff: F, width of the feed-forward network's hidden layer.
        dropout: probability of dropping an attention weight, or a number of a sub-layer's output, in training.
        activation: as in `FeedForward`.
        norm_first: normalise what enters a sub-layer, not what leaves it.
        eps: as in `layer_norm`.

    Raises:
        ValueError: as in the parts.
    """

    def __init__(
        self,
        *,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        activation: Activation = "relu",
        norm_first: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.norm_first = norm_first
        self.attention = MultiHeadAttention(d_model=d_model, n_heads=n_heads, dropout=dropout)
        self.attention_norm = LayerNorm(d_model, eps=eps)
        self.feed_forward = FeedForward(d_model=d_model, d_ff=d_ff, activation=activation)
        self.feed_forward_norm = LayerNorm(d_model, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor | None = None, *, causal: bool = False, cache: KVCache | None = None
    ) -> Tensor:
        """Return the tokens after the block.

        Args:
            x: (B, Tq, D).
            mask: boolean, broadcastable to (B, H, Tq, Tk); True = may attend.
            causal: hide the future as well: the block of a decoder-only model.
            cache: as in `MultiHeadAttention`; x then holds the new tokens alone.

        Returns:
            (B, Tq, D).
        """

        def attend(y: Tensor) -> Tensor:
            return self.attention(y, mask=mask, causal=causal, cache=cache)

        x = _add_and_norm(x, attend, self.attention_norm, self.dropout, self.norm_first)
        return _add_and_norm(x, self.feed_forward, self.feed_forward_norm, self.dropout, self.norm_first)


class DecoderBlock(nn.Module):
    """Look at the tokens written so far, then at the encoder's output, then think: three sub-layers.

    Vaswani et al. 2017, section 3.1. Arguments and errors as in `EncoderBlock`.
    """

    def __init__(
        self,
        *,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        activation: Activation = "relu",
        norm_first: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.norm_first = norm_first
        self.self_attention = MultiHeadAttention(d_model=d_model, n_heads=n_heads, dropout=dropout)
        self.self_attention_norm = LayerNorm(d_model, eps=eps)
        self.cross_attention = MultiHeadAttention(d_model=d_model, n_heads=n_heads, dropout=dropout)
        self.cross_attention_norm = LayerNorm(d_model, eps=eps)
        self.feed_forward = FeedForward(d_model=d_model, d_ff=d_ff, activation=activation)
        self.feed_forward_norm = LayerNorm(d_model, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        *,
        causal: bool = True,
        cache: tuple[KVCache, KVCache] | None = None,
    ) -> Tensor:
        """Return the target's tokens after the block.

        Args:
            x: the target's tokens, (B, Tq, D).
            memory: the encoder's output, (B, Ts, D).
            mask: of the target, boolean, broadcastable to (B, H, Tq, Tk); True = may attend.
            memory_mask: of the source, boolean, broadcastable to (B, H, Tq, Ts); never causal.
            causal: hide the target's future.
            cache: those of self-attention and of cross-attention; x then holds the new tokens alone.

        Returns:
            (B, Tq, D).
        """
        of_self, of_memory = (None, None) if cache is None else cache

        def attend(y: Tensor) -> Tensor:
            return self.self_attention(y, mask=mask, causal=causal, cache=of_self)

        def look_at_memory(y: Tensor) -> Tensor:
            return self.cross_attention(y, memory, memory_mask, cache=of_memory)

        x = _add_and_norm(x, attend, self.self_attention_norm, self.dropout, self.norm_first)
        x = _add_and_norm(x, look_at_memory, self.cross_attention_norm, self.dropout, self.norm_first)
        return _add_and_norm(x, self.feed_forward, self.feed_forward_norm, self.dropout, self.norm_first)


def _add_and_norm(
    x: Tensor, sublayer: Callable[[Tensor], Tensor], norm: LayerNorm, dropout: nn.Dropout, norm_first: bool
) -> Tensor:
    """Add what a sub-layer found to what entered it: post-norm as in the paper, or pre-norm."""
    if norm_first:
        return x + dropout(sublayer(norm(x)))
    return norm(x + dropout(sublayer(x)))


def check_sizes(who: str, **sizes: int) -> None:
    """Raise a ValueError that names the sizes which are no whole numbers of at least 1."""
    wrong = {
        name: size for name, size in sizes.items() if not (isinstance(size, SupportsIndex) and size >= 1)
    }
    if wrong:
        got = ", ".join(f"{name} = {size!r}" for name, size in wrong.items())
        raise ValueError(f"{who}: need whole numbers, at least 1, got {got}")


def check_tokens(name: str, tokens: Tensor, vocab_size: int, max_len: int) -> None:
    """Raise a ValueError unless `tokens` is (B, T) of ids below `vocab_size`, with 1 ≤ T ≤ max_len and B ≥ 1."""
    if not isinstance(tokens, Tensor) or tokens.dtype not in (torch.int32, torch.int64):
        got = f"dtype {tokens.dtype}" if isinstance(tokens, Tensor) else f"a {type(tokens).__name__}"
        raise ValueError(f"{name} must be ids, int64 or int32, got {got}")
    if tokens.dim() != 2 or tokens.numel() == 0:
        raise ValueError(f"{name} must be (B, T) and not empty, got shape {tuple(tokens.shape)}")
    if tokens.size(1) > max_len:
        raise ValueError(f"{name}: there is room for {max_len} tokens, got T = {tokens.size(1)}")
    smallest, largest = (bound.item() for bound in tokens.aminmax())
    if smallest < 0 or largest >= vocab_size:
        wrong = smallest if smallest < 0 else largest
        raise ValueError(f"{name} must lie between 0 and {vocab_size - 1}, got {wrong}")


def check_activation(who: str, activation: str) -> None:
    """Raise a ValueError for an activation that `activate` does not know."""
    if activation not in get_args(Activation):
        raise ValueError(f"{who}: activation must be one of {get_args(Activation)}, got {activation!r}")


def check_eps(who: str, eps: float) -> None:
    """Raise a ValueError for an ε of 0 or below."""
    if not eps > 0:
        raise ValueError(f"{who}: eps must be above 0, got {eps!r}")


def _check_vectors(who: str, x: Tensor, width: int) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() < 1:
        got = f"shape {tuple(x.shape)}, dtype {x.dtype}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
        raise ValueError(f"{who}: x must be (…, D), floating point, got {got}")
    if x.size(-1) != width:
        raise ValueError(f"{who}: x must have width {width}, got {x.size(-1)} in shape {tuple(x.shape)}")
