"""GPT: a stack of blocks that sees no future, and so can write on from any text.

B batch · T tokens · V vocab_size · D d_model · L n_layers · H heads
A mask is boolean, True = may attend (masks.py).

Papers: Radford et al. 2018, "Improving language understanding by generative pre-training"; Radford et al. 2019,
"Language models are unsupervised multitask learners" (GPT-2), section 2.3; Hendrycks and Gimpel 2016 (GELU).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.attention import KVCache, check_rows
from course_lib.layers import Activation, check_activation, check_sizes, check_tokens
from course_lib.positions import LearnedPositions
from course_lib.transformer import Encoder


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Sizes and choices of a `GPT`; the defaults are those of the smallest GPT-2.

    Args:
        vocab_size: V, number of tokens.
        max_len: positions there are.
        d_model, n_heads, activation, eps: as in `layers.EncoderBlock`.
        n_layers: L, number of blocks.
        d_ff: width of the feed-forward network's hidden layer; None = 4 · D.
        dropout: probability of dropping an attention weight, a number of a sub-layer's output, or one of the sum of
            embedding and position, in training.
        init_std: spread of the first weights. 0.02 is made for some 768 numbers a token; with far fewer, a model learns
            sooner from about 1 / √D: its first scores are not all nearly 0 then.

    Raises:
        ValueError: sizes below 1 or that do not go together.
    """

    vocab_size: int
    max_len: int = 1024
    d_model: int = 768
    n_heads: int = 12
    n_layers: int = 12
    d_ff: int | None = None
    dropout: float = 0.1
    activation: Activation = "gelu_tanh"
    eps: float = 1e-5
    init_std: float = 0.02

    def __post_init__(self) -> None:
        check_sizes(
            "GPTConfig",
            vocab_size=self.vocab_size,
            max_len=self.max_len,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            d_ff=1 if self.d_ff is None else self.d_ff,
        )
        check_activation("GPTConfig", self.activation)
        if self.d_model % self.n_heads:
            raise ValueError(
                f"GPTConfig: d_model must be a multiple of n_heads, got d_model = {self.d_model}, "
                f"n_heads = {self.n_heads}"
            )
        if not (isinstance(self.dropout, SupportsFloat) and 0.0 <= self.dropout < 1.0):
            raise ValueError(f"GPTConfig: dropout must lie in [0, 1), got {self.dropout!r}")
        if not (isinstance(self.eps, SupportsFloat) and 0.0 < self.eps < math.inf):
            raise ValueError(f"GPTConfig: eps must be above 0, got {self.eps!r}")
        if not (isinstance(self.init_std, SupportsFloat) and 0.0 < self.init_std < math.inf):
            raise ValueError(f"GPTConfig: init_std must be above 0, got {self.init_std!r}")


# Radford et al. 2019, table 2. The paper counts 117, 345, 762 and 1542 million parameters; there are more.
GPT2_SMALL = GPTConfig(vocab_size=50_257)  # 124 million
GPT2_MEDIUM = GPTConfig(vocab_size=50_257, d_model=1024, n_heads=16, n_layers=24)  # 355 million
GPT2_LARGE = GPTConfig(vocab_size=50_257, d_model=1280, n_heads=20, n_layers=36)  # 774 million
GPT2_XL = GPTConfig(vocab_size=50_257, d_model=1600, n_heads=25, n_layers=48)  # 1558 million


class GPTCache:
    """What a text keeps between the steps of its writing: the keys and values of every block.

    Made by `GPT.start`. `length` counts the places read so far, padding among them.
    """

    def __init__(self, n_layers: int, padding: Tensor | None = None):
        self.length = 0
        self.padding = padding  # (B,), or None where no row has any
        self.n_rows = None if padding is None else len(padding)  # B, once it is known
        self.layers = [KVCache() for _ in range(n_layers)]

    def reorder(self, rows: Tensor) -> None:
        """Let row i go on from what row `rows[i]` has kept. Arguments and errors as in `KVCache.reorder`."""
        if self.n_rows is not None:
            check_rows("GPTCache", rows, self.n_rows)
        for layer in self.layers:
            layer.reorder(rows)
        if self.padding is not None:
            self.padding = self.padding[rows]
        if self.n_rows is not None:
            self.n_rows = len(rows)


class GPT(nn.Module):
    """Score the next token at every place of a text, from the tokens up to there.

    h₀ = U W_e + W_p; h_l = block(h_(l−1)) for l = 1 … L; P(next) = softmax(h_L W_eᵀ)
    (Radford et al. 2018, equation 2). As in GPT-2, each block normalises what enters its sub-layers, and a last
    norm follows the last block (Radford et al. 2019, section 2.3).

    The blocks are those of an encoder: what makes it a language model is that the future is hidden.

    Args:
        config: sizes and choices.

    Differs from the paper: the maps of attention have biases and GELU is computed by its tanh approximation, as in
    the authors' code; positions start as widely spread as words, where that code has half of it.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)  # W_e, which also scores the output
        self.positions = LearnedPositions(d_model=config.d_model, max_len=config.max_len)  # W_p
        self.dropout = nn.Dropout(config.dropout)
        self.stack = Encoder(
            n_layers=config.n_layers,
            d_model=config.d_model,
            n_heads=config.n_heads,
            d_ff=4 * config.d_model if config.d_ff is None else config.d_ff,
            dropout=config.dropout,
            activation=config.activation,
            norm_first=True,
            final_norm=True,
            eps=config.eps,
        )
        for module in self.modules():
            _draw_weights(module, config.init_std)
        # 2L sub-layers add up along the residual path. So that their sum starts as large as one of them, the last
        # map of each is drawn smaller by √(2L) (Radford et al. 2019, section 2.3).
        for name, weight in self.named_parameters():
            if name.endswith(("attention.w_o.weight", "feed_forward.contract.weight")):
                nn.init.normal_(weight, std=config.init_std / math.sqrt(2 * config.n_layers))

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Score the next token at every place of the text at once.

        Args:
            tokens: ids, (B, T). Padding at the right needs no mask: no real token sees it.
            mask: boolean, broadcastable to (B, H, T, T), True = may attend; it hides more than the future, which
                is hidden in any case. Without one, memory grows with T, not T².

        Returns:
            Logits, (B, T, V).

        Raises:
            ValueError: `tokens` is not (B, T) of ids of the vocabulary, is empty, or longer than max_len; a mask
                that is not boolean or does not fit.
        """
        check_tokens("GPT: tokens", tokens, self.config.vocab_size, self.config.max_len)
        x = self.positions(self.embedding(tokens))  # (B, T, D)
        x = self.stack(self.dropout(x), mask, causal=True)
        return self.unembed(x)  # (B, T, V)

    def unembed(self, x: Tensor) -> Tensor:
        """Score each vector (…, D) against every row of the embedding: x W_eᵀ, (…, V)."""
        return F.linear(x, self.embedding.weight)

    def start(self, padding: Tensor | None = None) -> GPTCache:
        """Return the cache of texts of which nothing was read yet, for `step`.

        Args:
            padding: how many places at the left of each row are padding, (B,): rows of different length end at
                the same place then, as `pad_left` lays them out. None = no padding.

        Raises:
            ValueError: `padding` is not (B,) of whole numbers of at least 0.
        """
        if padding is not None:
            if not isinstance(padding, Tensor) or padding.dtype not in (torch.int32, torch.int64):
                got = f"dtype {padding.dtype}" if isinstance(padding, Tensor) else f"{padding!r}"
                raise ValueError(f"GPT.start: padding must be whole numbers, (B,), got {got}")
            if padding.dim() != 1 or len(padding) == 0:
                raise ValueError(f"GPT.start: padding must be (B,), got shape {tuple(padding.shape)}")
            if padding.min() < 0:
                raise ValueError(f"GPT.start: padding must be at least 0, got {int(padding.min())}")
        return GPTCache(self.config.n_layers, padding)

    def step(self, tokens: Tensor, cache: GPTCache) -> tuple[Tensor, GPTCache]:
        """Read the next tokens and score the one that follows; nothing is computed twice.

        Args:
            tokens: ids that were not read yet, (B, T): the prompt first, then token by token.
            cache: from `start`, or from the step before. It is changed, and returned.

        Returns:
            Logits of the next token, (B, V), and the cache. Each row's are those of that row without its padding.

        Raises:
            ValueError: `tokens` is not (B, T) of ids, is empty, or a row grows longer than max_len; the number of
                rows changed, or a row has read nothing but padding.
        """
        padded = 0 if cache.padding is None else int(cache.padding.min())  # of the longest row
        room = self.config.max_len - (cache.length - padded)
        check_tokens("GPT.step: tokens", tokens, self.config.vocab_size, room)
        if cache.n_rows is not None and len(tokens) != cache.n_rows:
            raise ValueError(
                f"GPT.step: tokens must have a row for each of {cache.n_rows} texts, got {len(tokens)}"
            )
        end = cache.length + tokens.size(1)
        mask = None
        if cache.padding is None:
            x = self.positions(self.embedding(tokens), start=cache.length)  # (B, T, D)
        else:
            if end <= cache.padding.max():
                raise ValueError(
                    f"GPT.step: a row of {end} places with padding {int(cache.padding.max())} holds no token"
                )
            places = torch.arange(end, device=tokens.device)  # (Tk,)
            places = places - cache.padding.to(tokens.device)[:, None]  # (B, Tk): below 0 at the padding
            mask = (places >= 0)[:, None, None, :]  # (B, 1, 1, Tk)
            rows = self.positions.table[places[:, cache.length :].clamp(min=0)]  # (B, T, D)
            x = self.embedding(tokens) + rows
        x = self.stack(self.dropout(x), mask, causal=True, caches=cache.layers)
        cache.length, cache.n_rows = end, len(tokens)
        return self.unembed(x[:, -1]), cache  # (B, V)


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Lay prompts of different length out so that they end at the same place: there all go on together.

    Args:
        prompts: ids, one list for each text.
        pad_id: what fills the left; any id will do, for nobody sees it.

    Returns:
        tokens (B, T) for `GPT.step`, and padding (B,) for `GPT.start`.

    Raises:
        ValueError: no prompt, an empty one, or one that is no list of ids.
    """
    if not isinstance(pad_id, SupportsIndex):
        raise ValueError(f"pad_left: pad_id must be an id, got {pad_id!r}")
    rows = []
    for number, prompt in enumerate(prompts):
        try:
            ids = torch.as_tensor(prompt)  # (length,)
        except (TypeError, ValueError, RuntimeError):
            raise ValueError(f"pad_left: prompt {number} must be a list of ids, got {prompt!r}") from None
        if ids.dim() != 1 or len(ids) == 0 or ids.dtype not in (torch.int32, torch.int64):
            raise ValueError(f"pad_left: prompt {number} must be a list of at least one id, got {prompt!r}")
        rows.append(ids)
    if not rows:
        raise ValueError("pad_left: need at least one prompt, got none")
    lengths = torch.tensor([len(ids) for ids in rows])  # (B,)
    longest = int(lengths.max())
    tokens = torch.full((len(rows), longest), int(pad_id), dtype=torch.long)  # (B, T)
    for number, ids in enumerate(rows):
        tokens[number, longest - len(ids) :] = ids
    return tokens, longest - lengths


def _draw_weights(module: nn.Module, std: float) -> None:
    """Draw maps and tables from N(0, std²), and begin without biases (Radford et al. 2018, section 4.1)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, LearnedPositions):
        nn.init.normal_(module.table, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
