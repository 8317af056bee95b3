"""ViT: the same blocks on patches instead of words, be they cut from a picture, a sound or a film.

B batch · N patches · P numbers in a patch · D d_model · L n_layers · H heads · C classes

Papers: Dosovitskiy et al. 2021, "An image is worth 16x16 words"; Gong et al. 2021 (sound); Arnab et al. 2021 (film).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import SupportsFloat

import torch
from torch import Tensor, nn

from course_lib.layers import Activation, check_activation, check_sizes
from course_lib.positions import LearnedPositions
from course_lib.transformer import Encoder


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Sizes and choices of a `ViT`; the defaults are those of ViT-B.

    Args:
        n_patches: N, patches of a picture, a sound or a film: all have as many.
        patch_width: P, numbers in a patch: colours · height · width, samples of a frame, and so on (patches.py).
        n_classes: C.
        d_model, n_heads, activation, eps: as in `layers.EncoderBlock`.
        n_layers: L, number of blocks.
        d_ff: width of the feed-forward network's hidden layer; None = 4 · D.
        dropout: probability of dropping an attention weight, a number of a sub-layer's output, or one of the sum of
            patch and position, in training.
        init_std: spread of the first weights. 0.02 is made for some 768 numbers a token; with far fewer, a model learns
            sooner from about 1 / √D: its first scores are not all nearly 0 then.

    Raises:
        ValueError: sizes below 1 or that do not go together.
    """

    n_patches: int
    patch_width: int
    n_classes: int
    d_model: int = 768
    n_heads: int = 12
    n_layers: int = 12
    d_ff: int | None = None
    dropout: float = 0.0
    activation: Activation = "gelu"
    eps: float = 1e-12
    init_std: float = 0.02

    def __post_init__(self) -> None:
        check_sizes(
            "ViTConfig",
            n_patches=self.n_patches,
            patch_width=self.patch_width,
            n_classes=self.n_classes,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            d_ff=1 if self.d_ff is None else self.d_ff,
        )
        check_activation("ViTConfig", self.activation)
        if self.d_model % self.n_heads:
            raise ValueError(
                f"ViTConfig: d_model must be a multiple of n_heads, got d_model = {self.d_model}, "
                f"n_heads = {self.n_heads}"
            )
        if not (isinstance(self.dropout, SupportsFloat) and 0.0 <= self.dropout < 1.0):
            raise ValueError(f"ViTConfig: dropout must lie in [0, 1), got {self.dropout!r}")
        if not (isinstance(self.eps, SupportsFloat) and 0.0 < self.eps < math.inf):
            raise ValueError(f"ViTConfig: eps must be above 0, got {self.eps!r}")
        if not (isinstance(self.init_std, SupportsFloat) and 0.0 < self.init_std < math.inf):
            raise ValueError(f"ViTConfig: init_std must be above 0, got {self.init_std!r}")


# Dosovitskiy et al. 2021, table 1: 224 × 224 pixels in three colours, patches of 16 × 16, 1000 classes.
VIT_BASE_16 = ViTConfig(n_patches=14 * 14, patch_width=3 * 16 * 16, n_classes=1000)  # 87 million


class ViT(nn.Module):
    """Sort pictures, sounds or films into classes by their patches.

    z₀ = [x_class; x₁E; …; x_N E] + E_pos, the blocks, y = LayerNorm(z_L⁰) (Dosovitskiy et al. 2021, equations 1 to
    4). A patch is to it what a word is to BERT; the model does not know which patch lies beside which: E_pos, a row
    for each place, must learn it.

    Pictures are cut by `patches.image_patches`, sounds by `patches.sound_frames`, films by `patches.film_patches`.

    Args:
        config: sizes and choices.

    Differs from the paper: E has a bias, as in the authors' code; the head is one linear map from the start, as the
    paper has it for fine-tuning.
    """

    def __init__(self, config: ViTConfig):
        super().__init__()
        self.config = config
        d_model = config.d_model
        self.embedding = nn.Linear(config.patch_width, d_model)  # E
        self.class_token = nn.Parameter(torch.zeros(d_model))  # x_class
        self.positions = LearnedPositions(d_model=d_model, max_len=1 + config.n_patches)  # E_pos
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(
            n_layers=config.n_layers,
            d_model=d_model,
            n_heads=config.n_heads,
            d_ff=4 * d_model if config.d_ff is None else config.d_ff,
            dropout=config.dropout,
            activation=config.activation,
            norm_first=True,
            final_norm=True,
            eps=config.eps,
        )
        self.head = nn.Linear(d_model, config.n_classes)
        for module in self.modules():
            _draw_weights(module, config.init_std)
        nn.init.normal_(self.class_token, std=config.init_std)

    def forward(self, patches: Tensor) -> Tensor:
        """Score the classes.

        Args:
            patches: (B, N, P), floating point.

        Returns:
            Logits, (B, C).

        Raises:
            ValueError: as in `encode`.
        """
        return self.head(self.encode(patches)[:, 0])  # (B, C)

    def encode(self, patches: Tensor) -> Tensor:
        """Turn each patch into a vector that knows all the others.

        Args:
            patches: (B, N, P), floating point.

        Returns:
            (B, 1 + N, D): the class token first, then the patches, normalised.

        Raises:
            ValueError: `patches` is not (B, N, P) with the config's N and P, is empty, or holds a number that is
                not finite.
        """
        _check_patches(patches, self.config)
        x = self.embedding(patches)  # (B, N, P) → (B, N, D)
        first = self.class_token.to(x.dtype).expand(len(x), 1, -1)  # (B, 1, D)
        x = self.positions(torch.cat([first, x], dim=1))  # (B, 1 + N, D)
        return self.encoder(self.dropout(x))


def _check_patches(patches: Tensor, config: ViTConfig) -> None:
    if not isinstance(patches, Tensor) or not patches.is_floating_point():
        got = f"dtype {patches.dtype}" if isinstance(patches, Tensor) else f"a {type(patches).__name__}"
        raise ValueError(f"ViT: patches must be floating point, got {got}")
    if patches.dim() != 3 or len(patches) == 0 or patches.shape[1:] != (config.n_patches, config.patch_width):
        raise ValueError(
            f"ViT: patches must be (B, N, P) = (at least 1, {config.n_patches}, {config.patch_width}), got shape "
            f"{tuple(patches.shape)}"
        )
    if not patches.isfinite().all():
        raise ValueError(f"ViT: patches must be finite, got {patches[~patches.isfinite()][0].item()}")


def _draw_weights(module: nn.Module, std: float) -> None:
    """Draw maps and tables from N(0, std²), and begin without biases."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=std)
        nn.init.zeros_(module.bias)
    if isinstance(module, LearnedPositions):
        nn.init.normal_(module.table, std=std)
