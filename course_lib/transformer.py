"""The Transformer: encoder, decoder, and the two together.

B batch · Ts source tokens · Tt target tokens · T tokens · D d_model · V target vocabulary · H heads · Dh d_head
A mask is boolean, True = may attend (masks.py).

Paper: Vaswani et al. 2017, "Attention is all you need".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.attention import KVCache, check_rows
from course_lib.embeddings import TokenEmbedding
from course_lib.layers import (
    Activation,
    DecoderBlock,
    EncoderBlock,
    LayerNorm,
    check_activation,
    check_eps,
    check_sizes,
    check_tokens,
)
from course_lib.masks import padding_mask
from course_lib.positions import Layout, SinusoidalPositions, check_layout


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Sizes and choices of a `Transformer`; the defaults are the paper's base model (table 3).

    Args:
        src_vocab_size, tgt_vocab_size: tokens of the two languages.
        d_model, n_heads, d_ff: as in `EncoderBlock`.
        n_encoder_layers, n_decoder_layers: blocks of each stack.
        dropout: probability of dropping an attention weight, a number of a sub-layer's output, or one of the sum of
            embedding and position, in training.
        max_len: positions there are.
        pad_id: the id that fills short rows up, in both languages.
        activation: as in `FeedForward`.
        norm_first: normalise what enters a sub-layer, and once more after the last block; False = as in the paper.
        share_weights: one table embeds both languages and scores the output (section 3.4); they then have one
            vocabulary.
        output_bias: add a learned number to each token's score.
        position_layout: as in `sinusoidal_positions`.
        eps: as in `layer_norm`.

    Raises:
        ValueError: sizes below 1 or that do not go together.
    """

    src_vocab_size: int
    tgt_vocab_size: int
    d_model: int = 512
    n_heads: int = 8
    d_ff: int = 2048
    n_encoder_layers: int = 6
    n_decoder_layers: int = 6
    dropout: float = 0.1
    max_len: int = 512
    pad_id: int = 0
    activation: Activation = "relu"
    norm_first: bool = False
    share_weights: bool = False
    output_bias: bool = False
    position_layout: Layout = "interleaved"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        check_sizes(
            "TransformerConfig",
            src_vocab_size=self.src_vocab_size,
            tgt_vocab_size=self.tgt_vocab_size,
            d_model=self.d_model,
            n_heads=self.n_heads,
            d_ff=self.d_ff,
            n_encoder_layers=self.n_encoder_layers,
            n_decoder_layers=self.n_decoder_layers,
            max_len=self.max_len,
        )
        check_activation("TransformerConfig", self.activation)
        check_eps("TransformerConfig", self.eps)
        check_layout("TransformerConfig", self.position_layout)
        if self.d_model % self.n_heads or self.d_model % 2:
            raise ValueError(
                f"TransformerConfig: d_model must be even and a multiple of n_heads, got d_model = {self.d_model}, "
                f"n_heads = {self.n_heads}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"TransformerConfig: dropout must lie in [0, 1), got {self.dropout}")
        if not 0 <= self.pad_id < min(self.src_vocab_size, self.tgt_vocab_size):
            raise ValueError(
                f"TransformerConfig: pad_id must be an id of both vocabularies, got {self.pad_id} with sizes "
                f"{self.src_vocab_size} and {self.tgt_vocab_size}"
            )
        if self.share_weights and self.src_vocab_size != self.tgt_vocab_size:
            raise ValueError(
                f"TransformerConfig: shared weights need one vocabulary, got sizes {self.src_vocab_size} and "
                f"{self.tgt_vocab_size}"
            )


class Encoder(nn.Module):
    """A stack of encoder blocks: vectors in, vectors out (Vaswani et al. 2017, section 3.1).

    Args:
        n_layers: how many blocks.
        d_model, n_heads, d_ff, dropout, activation, norm_first, eps: as in `EncoderBlock`.
        final_norm: normalise once more after the last block; as a rule where `norm_first` is.

    Raises:
        ValueError: as in the parts, or no block.
    """

    def __init__(
        self,
        *,
        n_layers: int,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        activation: Activation = "relu",
        norm_first: bool = False,
        final_norm: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        check_sizes("Encoder", n_layers=n_layers)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                d_model=d_model,
                n_heads=n_heads,
                d_ff=d_ff,
                dropout=dropout,
                activation=activation,
                norm_first=norm_first,
                eps=eps,
            )
            for _ in range(n_layers)
        )
        self.norm = LayerNorm(d_model, eps=eps) if final_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        *,
        causal: bool = False,
        caches: list[KVCache] | None = None,
    ) -> Tensor:
        """Return the tokens (B, T, D) after all blocks; one cache for each block. Arguments as in `EncoderBlock`."""
        for number, block in enumerate(self.blocks):
            x = block(x, mask, causal=causal, cache=None if caches is None else caches[number])
        return self.norm(x)


class Decoder(nn.Module):
    """A stack of decoder blocks (Vaswani et al. 2017, section 3.1). Arguments and errors as in `Encoder`."""

    def __init__(
        self,
        *,
        n_layers: int,
        d_model: int,
        n_heads: int,
        d_ff: int,
        dropout: float = 0.0,
        activation: Activation = "relu",
        norm_first: bool = False,
        final_norm: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        check_sizes("Decoder", n_layers=n_layers)
        self.blocks = nn.ModuleList(
            DecoderBlock(
                d_model=d_model,
                n_heads=n_heads,
                d_ff=d_ff,
                dropout=dropout,
                activation=activation,
                norm_first=norm_first,
                eps=eps,
            )
            for _ in range(n_layers)
        )
        self.norm = LayerNorm(d_model, eps=eps) if final_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        *,
        causal: bool = True,
        caches: list[tuple[KVCache, KVCache]] | None = None,
    ) -> Tensor:
        """Return the target's tokens (B, Tt, D) after all blocks. Arguments as in `DecoderBlock`."""
        for number, block in enumerate(self.blocks):
            cache = None if caches is None else caches[number]
            x = block(x, memory, mask, memory_mask, causal=causal, cache=cache)
        return self.norm(x)


class TransformerCache:
    """What a translation keeps between its steps: the encoder's output, and keys and values of every block.

    Made by `Transformer.start`. `length` counts the target's tokens read so far.
    """

    def __init__(self, memory: Tensor, memory_mask: Tensor, n_layers: int):
        self.memory = memory  # (B, Ts, D)
        self.memory_mask = memory_mask  # (B, 1, 1, Ts)
        self.length = 0
        self.layers = [(KVCache(), KVCache()) for _ in range(n_layers)]  # self-attention, cross-attention
        self._sentence = torch.arange(len(memory), device=memory.device)  # whose translation each row is

    def reorder(self, rows: Tensor) -> None:
        """Let row i go on from what row `rows[i]` has kept. Arguments and errors as in `KVCache.reorder`."""
        check_rows("TransformerCache", rows, len(self._sentence))
        sentence = self._sentence[rows]
        # Where every row goes on with the same source, as among the beams of a sentence, only the target's
        # keys and values move.
        moved = not torch.equal(sentence, self._sentence)
        for of_self, of_memory in self.layers:
            of_self.reorder(rows)
            if moved:
                of_memory.reorder(rows)
        if moved:
            self.memory, self.memory_mask = self.memory[rows], self.memory_mask[rows]
            self._sentence = sentence


class Transformer(nn.Module):
    """Translate: the encoder reads the source once, the decoder writes the target token by token.

    embed → attend → think → unembed (Vaswani et al. 2017, figure 1).

    Args:
        config: sizes and choices.

    Differs from the paper: the maps of attention have biases; dropout also falls on attention weights, as in the
    authors' own code.
    """

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        d_model = config.d_model
        self.src_embedding = TokenEmbedding(config.src_vocab_size, d_model)
        shared = config.share_weights
        self.tgt_embedding = self.src_embedding if shared else TokenEmbedding(config.tgt_vocab_size, d_model)
        self.positions = SinusoidalPositions(
            d_model=d_model, max_len=config.max_len, layout=config.position_layout
        )
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(
            n_layers=config.n_encoder_layers,
            d_model=d_model,
            n_heads=config.n_heads,
            d_ff=config.d_ff,
            dropout=config.dropout,
            activation=config.activation,
            norm_first=config.norm_first,
            final_norm=config.norm_first,
            eps=config.eps,
        )
        self.decoder = Decoder(
            n_layers=config.n_decoder_layers,
            d_model=d_model,
            n_heads=config.n_heads,
            d_ff=config.d_ff,
            dropout=config.dropout,
            activation=config.activation,
            norm_first=config.norm_first,
            final_norm=config.norm_first,
            eps=config.eps,
        )
        self.unembed = nn.Linear(d_model, config.tgt_vocab_size, bias=config.output_bias)
        if shared:
            self.unembed.weight = self.tgt_embedding.weight  # one parameter under two names, not a copy
        self.apply(_initialise)
        if not shared:  # each score then starts as large as the paper's shared table makes it
            nn.init.normal_(self.unembed.weight, std=1 / math.sqrt(d_model))

    def encode(self, src: Tensor) -> Tensor:
        """Read the source.

        Args:
            src: ids, (B, Ts), filled up with `pad_id`.

        Returns:
            memory, (B, Ts, D). What stands at the padding has no meaning.

        Raises:
            ValueError: `src` is not (B, Ts) of ids of the vocabulary, is empty, or longer than max_len.
        """
        check_tokens("Transformer: src", src, self.config.src_vocab_size, self.config.max_len)
        x = self.dropout(self.positions(self.src_embedding(src)))  # (B, Ts, D)
        return self.encoder(x, padding_mask(src, self.config.pad_id))

    def decode(self, tgt: Tensor, memory: Tensor, src: Tensor) -> Tensor:
        """Score the next token at every place of the target at once.

        Args:
            tgt: ids, (B, Tt), filled up at the end: what follows is hidden from a token in any case, so this padding
                needs no mask, and a target may begin with `pad_id`, as Marian's do.
            memory: the encoder's output, (B, Ts, D).
            src: the ids it was made from, (B, Ts): their padding is hidden.

        Returns:
            Logits, (B, Tt, V).

        Raises:
            ValueError: `tgt` is not (B, Tt) of ids of the vocabulary, is empty, or longer than max_len; the batches
                differ.
        """
        self._check_target(tgt, memory, src)
        x = self.dropout(self.positions(self.tgt_embedding(tgt)))  # (B, Tt, D)
        x = self.decoder(x, memory, None, padding_mask(src, self.config.pad_id))
        return self.unembed(x)  # (B, Tt, V)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """Return the logits of the next target token at every place: (B, Ts), (B, Tt) → (B, Tt, V)."""
        return self.decode(tgt, self.encode(src), src)

    def start(self, src: Tensor) -> TransformerCache:
        """Read the source, once, and return the cache that `step` goes on from."""
        memory = self.encode(src)
        return TransformerCache(memory, padding_mask(src, self.config.pad_id), self.config.n_decoder_layers)

    def step(self, tokens: Tensor, cache: TransformerCache) -> tuple[Tensor, TransformerCache]:
        """Read the target's next tokens and score the one that follows; nothing is computed twice.

        Args:
            tokens: ids that were not read yet, (B, T); they are taken as real tokens, without padding.
            cache: from `start`, or from the step before. It is changed, and returned.

        Returns:
            Logits of the next token, (B, V), and the cache.

        Raises:
            ValueError: `tokens` is not (B, T) of ids, is empty, or the target grows longer than max_len.
        """
        room = self.config.max_len - cache.length
        check_tokens("Transformer.step: tokens", tokens, self.config.tgt_vocab_size, room)
        if len(tokens) != len(cache.memory):
            raise ValueError(
                f"Transformer.step: tokens must have a row for each of {len(cache.memory)} sources, got {len(tokens)}"
            )
        x = self.dropout(self.positions(self.tgt_embedding(tokens), start=cache.length))  # (B, T, D)
        x = self.decoder(x, cache.memory, None, cache.memory_mask, caches=cache.layers)
        cache.length += tokens.size(1)
        return self.unembed(x[:, -1]), cache  # (B, V)

    def _check_target(self, tgt: Tensor, memory: Tensor, src: Tensor) -> None:
        check_tokens("Transformer: tgt", tgt, self.config.tgt_vocab_size, self.config.max_len)
        if memory.shape != (*src.shape, self.config.d_model) or len(tgt) != len(src):
            raise ValueError(
                f"Transformer: src, memory and tgt must belong together, got shapes {tuple(src.shape)}, "
                f"{tuple(memory.shape)} and {tuple(tgt.shape)}"
            )


def _initialise(module: nn.Module) -> None:
    """Draw the maps as the authors' code does (Glorot and Bengio 2010): what passes keeps its size."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
