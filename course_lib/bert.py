"""BERT: a stack of blocks that sees both sides of every token, and the heads that stand on it.

B batch · T tokens · V vocab_size · D d_model · L n_layers · H heads · N target positions · C classes
A mask is boolean, True = may attend (masks.py).

Papers: Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers for language understanding";
Liu et al. 2019, "RoBERTa".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.layers import Activation, LayerNorm, activate, check_activation, check_sizes, check_tokens
from course_lib.masks import padding_mask
from course_lib.positions import LearnedPositions
from course_lib.transformer import Encoder


@dataclass(frozen=True, kw_only=True)
class BERTConfig:
    """Sizes and choices of a `BERT`; the defaults are those of BERT-base, uncased.

    Args:
        vocab_size: V, number of tokens.
        max_len: the longest sequence.
        d_model, n_heads, activation, eps: as in `layers.EncoderBlock`.
        n_layers: L, number of blocks.
        d_ff: width of the feed-forward network's hidden layer; None = 4 · D.
        n_segments: kinds of segments: 2 for sentence A and sentence B.
        dropout: probability of dropping an attention weight, a number of a sub-layer's output, one of the normalised
            sum of embeddings, or one of what enters a classifier, in training.
        pad_id: the id that fills short rows up.
        first_position: row of the position table that belongs to the first token. RoBERTa's table has pad_id + 1 = 2
            rows more than its longest sequence, and its first token takes row 2.
        init_std: spread of the first weights. 0.02 is made for some 768 numbers a token; with far fewer, a model learns
            sooner from about 1 / √D: its first scores are not all nearly 0 then.

    Raises:
        ValueError: sizes below 1 or that do not go together.
    """

    vocab_size: int
    max_len: int = 512
    d_model: int = 768
    n_heads: int = 12
    n_layers: int = 12
    d_ff: int | None = None
    n_segments: int = 2
    dropout: float = 0.1
    pad_id: int = 0
    first_position: int = 0
    activation: Activation = "gelu"
    eps: float = 1e-12
    init_std: float = 0.02

    def __post_init__(self) -> None:
        check_sizes(
            "BERTConfig",
            vocab_size=self.vocab_size,
            max_len=self.max_len,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            d_ff=1 if self.d_ff is None else self.d_ff,
            n_segments=self.n_segments,
        )
        check_activation("BERTConfig", self.activation)
        if self.d_model % self.n_heads:
            raise ValueError(
                f"BERTConfig: d_model must be a multiple of n_heads, got d_model = {self.d_model}, "
                f"n_heads = {self.n_heads}"
            )
        if not (isinstance(self.dropout, SupportsFloat) and 0.0 <= self.dropout < 1.0):
            raise ValueError(f"BERTConfig: dropout must lie in [0, 1), got {self.dropout!r}")
        if not (isinstance(self.eps, SupportsFloat) and 0.0 < self.eps < math.inf):
            raise ValueError(f"BERTConfig: eps must be above 0, got {self.eps!r}")
        if not (isinstance(self.init_std, SupportsFloat) and 0.0 < self.init_std < math.inf):
            raise ValueError(f"BERTConfig: init_std must be above 0, got {self.init_std!r}")
        if not (isinstance(self.pad_id, SupportsIndex) and 0 <= self.pad_id < self.vocab_size):
            raise ValueError(
                f"BERTConfig: pad_id must be an id of the vocabulary, got {self.pad_id!r} with size {self.vocab_size}"
            )
        if not (isinstance(self.first_position, SupportsIndex) and self.first_position >= 0):
            raise ValueError(f"BERTConfig: first_position must be at least 0, got {self.first_position!r}")


# Devlin et al. 2019, section 3, with the uncased vocabulary; Liu et al. 2019.
BERT_BASE = BERTConfig(vocab_size=30_522)  # 109 million
BERT_LARGE = BERTConfig(vocab_size=30_522, d_model=1024, n_heads=16, n_layers=24)  # 335 million
ROBERTA_BASE = BERTConfig(
    vocab_size=50_265, n_segments=1, pad_id=1, first_position=2, eps=1e-5
)  # 125 million


class BERT(nn.Module):
    """Turn each token into a vector that knows all the others, on both sides.

    x₀ = LayerNorm(word + segment + position); x_l = block(x_(l−1)) for l = 1 … L
    (Devlin et al. 2019, section 3 and figure 2). No future is hidden: it reads, and cannot write.

    Args:
        config: sizes and choices.
        pooler: also make the map that `pool` needs. Heads that look at single tokens do without.

    The norm and the dropout of the sum of embeddings, and the pooler with its tanh, are in the authors' code, not in
    the paper.
    """

    def __init__(self, config: BERTConfig, *, pooler: bool = True):
        super().__init__()
        self.config = config
        d_model = config.d_model
        self.embedding = nn.Embedding(config.vocab_size, d_model)
        self.segment_embedding = nn.Embedding(config.n_segments, d_model)
        self.positions = LearnedPositions(d_model=d_model, max_len=config.first_position + config.max_len)
        self.embedding_norm = LayerNorm(d_model, eps=config.eps)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(
            n_layers=config.n_layers,
            d_model=d_model,
            n_heads=config.n_heads,
            d_ff=4 * d_model if config.d_ff is None else config.d_ff,
            dropout=config.dropout,
            activation=config.activation,
            eps=config.eps,
        )
        self.pooler = nn.Linear(d_model, d_model) if pooler else None
        for module in self.modules():
            _draw_weights(module, config.init_std)

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        """Read whole sequences at once.

        Args:
            tokens: ids, (B, T), filled up with `pad_id`: nobody attends to the padding.
            segments: 0 for tokens of sentence A, 1 for those of B, (B, T); None = all 0.

        Returns:
            A vector for each token, (B, T, D). What stands at the padding has no meaning.

        Raises:
            ValueError: `tokens` is not (B, T) of ids of the vocabulary, is empty, or longer than max_len; `segments`
                is not of that shape, or holds a segment that there is not.
        """
        check_tokens("BERT: tokens", tokens, self.config.vocab_size, self.config.max_len)
        x = self.embedding(tokens) + self._segment_rows(tokens, segments)  # (B, T, D)
        x = self.positions(x, start=self.config.first_position)
        x = self.dropout(self.embedding_norm(x))
        return self.encoder(x, padding_mask(tokens, self.config.pad_id))

    def pool(self, x: Tensor) -> Tensor:
        """Sum a sequence up in one vector: tanh(W x₀ + b), of the first token, `[CLS]`.

        Args:
            x: what `forward` returned, (B, T, D).

        Returns:
            (B, D), each number between −1 and 1.

        Raises:
            ValueError: `x` is not (B, T, D), or there is no pooler.
        """
        if self.pooler is None:
            raise ValueError("BERT.pool: this BERT was made with pooler = False")
        if not isinstance(x, Tensor) or x.dim() != 3 or x.size(2) != self.config.d_model or x.size(1) == 0:
            got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise ValueError(f"BERT.pool: x must be (B, T, {self.config.d_model}), got {got}")
        return torch.tanh(self.pooler(x[:, 0]))  # (B, D)

    def take_weights(self, other: BERT) -> None:
        """Start from what another BERT has learned: the beginning of fine-tuning.

        Args:
            other: a BERT of the same sizes. A pooler is copied where both have one.

        Raises:
            ValueError: the two differ in size.
        """
        own, theirs = self.state_dict(), other.state_dict()
        both = {name: weight for name, weight in theirs.items() if name in own}
        for name, weight in both.items():
            if weight.shape != own[name].shape:
                raise ValueError(
                    f"BERT.take_weights: {name} has shape {tuple(own[name].shape)} here and {tuple(weight.shape)} there"
                )
        missing = [name for name in own.keys() - both.keys() if not name.startswith("pooler.")]
        unused = [name for name in theirs.keys() - both.keys() if not name.startswith("pooler.")]
        if missing or unused:
            raise ValueError(
                f"BERT.take_weights: the two differ in their blocks, {self.config.n_layers} here and "
                f"{other.config.n_layers} there"
            )
        self.load_state_dict(own | both)

    def _segment_rows(self, tokens: Tensor, segments: Tensor | None) -> Tensor:
        if segments is None:
            return self.segment_embedding.weight[0]  # (D,)
        check_tokens("BERT: segments", segments, self.config.n_segments, self.config.max_len)
        if segments.shape != tokens.shape:
            raise ValueError(
                f"BERT: segments must have the shape of tokens, got {tuple(segments.shape)} and {tuple(tokens.shape)}"
            )
        return self.segment_embedding(segments)  # (B, T, D)


class MaskedLanguageHead(nn.Module):
    """Score every word of the vocabulary for a token that was hidden.

    LayerNorm(GELU(x W + b)) Eᵀ + c, with E the table that also embeds the words (Devlin et al. 2019, section 3.1,
    task 1; the first map and its norm are in the authors' code).

    Args:
        config: sizes and choices of the BERT below.
    """

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.activation = config.activation
        self.dense = nn.Linear(config.d_model, config.d_model)  # W, b
        _draw_weights(self.dense, config.init_std)
        self.norm = LayerNorm(config.d_model, eps=config.eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))  # c

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """Return the logits (…, V) of vectors (…, D), scored against the rows of `table`, (V, D)."""
        x = self.norm(activate(self.dense(x), self.activation))  # (…, D)
        return F.linear(x, table, self.bias)  # (…, V)


class BERTForPretraining(nn.Module):
    """Guess the hidden words, and whether the second sentence follows the first (Devlin et al. 2019, section 3.1).

    Args:
        config: sizes and choices.
    """

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.bert = BERT(config)
        self.masked_language = MaskedLanguageHead(config)
        self.next_sentence = nn.Linear(config.d_model, 2)
        _draw_weights(self.next_sentence, config.init_std)

    def forward(
        self, tokens: Tensor, segments: Tensor | None = None, is_target: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of both tasks.

        Args:
            tokens, segments: as in `BERT`.
            is_target: boolean, (B, T), True at the N positions whose word is to be guessed. Given, the words are
                scored there alone: at 15 % of the positions that saves most of the work of a small model.

        Returns:
            Logits of the words, (B, T, V), or (N, V) in reading order, the order of `labels[is_target]`; and of the
            next sentence, (B, 2): column 0 for "follows", 1 for "was drawn at random".

        Raises:
            ValueError: as in `BERT`, or `is_target` is not boolean of the shape of `tokens`.
        """
        x = self.bert(tokens, segments)  # (B, T, D)
        at_targets = x
        if is_target is not None:
            if not isinstance(is_target, Tensor) or is_target.dtype != torch.bool:
                got = is_target.dtype if isinstance(is_target, Tensor) else f"a {type(is_target).__name__}"
                raise ValueError(f"BERTForPretraining: is_target must be boolean, got {got}")
            if is_target.shape != tokens.shape:
                raise ValueError(
                    f"BERTForPretraining: is_target must have the shape of tokens, got {tuple(is_target.shape)} and "
                    f"{tuple(tokens.shape)}"
                )
            at_targets = x[is_target]  # (N, D)
        words = self.masked_language(at_targets, self.bert.embedding.weight)  # (B, T, V) or (N, V)
        return words, self.next_sentence(self.bert.pool(x))  # (B, 2)


class BERTForMaskedLM(nn.Module):
    """Guess the hidden words, and nothing else: BERT without the second task, as RoBERTa is.

    Args:
        config: sizes and choices.
    """

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.bert = BERT(config, pooler=False)
        self.masked_language = MaskedLanguageHead(config)

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return the logits of the words, (B, T, V). Arguments and errors as in `BERT`."""
        return self.masked_language(self.bert(tokens, segments), self.bert.embedding.weight)  # (B, T, V)


class BERTClassifier(nn.Module):
    """Sort whole sequences, or pairs of them, into classes (Devlin et al. 2019, section 4.1).

    logits = C W + b, with C the vector that `BERT.pool` makes of `[CLS]`.

    Args:
        config: sizes and choices.
        n_classes: C; 1 gives one number, for a regression.

    Raises:
        ValueError: no class.
    """

    def __init__(self, config: BERTConfig, *, n_classes: int):
        super().__init__()
        check_sizes("BERTClassifier", n_classes=n_classes)
        self.bert = BERT(config)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, n_classes)
        _draw_weights(self.head, config.init_std)

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        """Return the logits of the classes, (B, C). Arguments and errors as in `BERT`."""
        pooled = self.bert.pool(self.bert(tokens, segments))  # (B, D)
        return self.head(self.dropout(pooled))  # (B, C)


class BERTForQuestionAnswering(nn.Module):
    """Point at the first and at the last token of the answer in a text (Devlin et al. 2019, section 4.2).

    start logits = S·xᵢ, end logits = E·xᵢ, for every token i.

    Args:
        config: sizes and choices.

    Differs from the paper: S and E come with a bias each, as in the authors' code.
    """

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.bert = BERT(config, pooler=False)
        self.head = nn.Linear(config.d_model, 2)  # rows S and E
        _draw_weights(self.head, config.init_std)

    def forward(self, tokens: Tensor, segments: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the logits of the start and of the end, (B, T) each. Arguments and errors as in `BERT`.

        Question, padding and all: where an answer may stand is for the loss and for the choice of a span to say.
        """
        start, end = self.head(self.bert(tokens, segments)).unbind(-1)  # (B, T, 2) → (B, T) each
        return start, end


def _draw_weights(module: nn.Module, std: float) -> None:
    """Draw maps and tables from N(0, std²), and begin without biases, as the authors' code does."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=std)
    if isinstance(module, LearnedPositions):
        nn.init.normal_(module.table, std=std)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
