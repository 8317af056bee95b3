"""The next token: what a language model is asked, and how far off it is (lessons 01, 07, 09).

B batch · T tokens · V vocabulary
"""

from __future__ import annotations

from typing import SupportsIndex

import torch.nn.functional as F
from torch import Tensor

from course_lib.objectives._given import check_integers, described

IGNORED = -100


def next_token_labels(tokens: Tensor, pad_id: int | None = None) -> tuple[Tensor, Tensor]:
    """Shift by one: at each place the model reads a token and is to predict the next one.

    The model always reads the true tokens, whatever it predicted (teacher forcing).

    Args:
        tokens: integer ids, (B, T), at least two of them, from the first token (such as <sos>) to the last
            (such as <eos>).
        pad_id: the id that fills short rows up; None where there is none.

    Returns:
        inputs, (B, T−1): all tokens but the last; labels, (B, T−1): all but the first, −100 at the padding.

    Raises:
        ValueError: `tokens` is not (B, T) with T ≥ 2, or holds no integers, or `pad_id` is none.
    """
    if not isinstance(tokens, Tensor) or tokens.dim() != 2 or tokens.size(1) < 2:
        raise ValueError(
            f"next_token_labels: tokens must be (B, T) with T at least 2, got {described(tokens)}"
        )
    check_integers("next_token_labels: tokens", tokens)
    if pad_id is not None and not isinstance(pad_id, SupportsIndex):
        raise ValueError(f"next_token_labels: pad_id must be an integer id or None, got {pad_id!r}")
    inputs, labels = tokens[:, :-1], tokens[:, 1:].long()  # both (B, T−1)
    if pad_id is not None:
        labels = labels.masked_fill(labels == pad_id, IGNORED)
    return inputs, labels


def language_model_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy: the mean of −log p(label), over the labels that count.

    Args:
        logits: (B, T, V), floating point.
        labels: integer ids, (B, T); −100 = ignored.

    Returns:
        One number, in nats per token. e to this power is the perplexity.

    Raises:
        ValueError: shapes or dtypes that do not fit, a label outside the vocabulary, or no label that counts.
    """
    tensors = isinstance(logits, Tensor) and isinstance(labels, Tensor)
    if not tensors or logits.dim() != 3 or logits.shape[:2] != labels.shape:
        raise ValueError(
            "language_model_loss: logits must be (B, T, V) and labels (B, T), "
            f"got {described(logits)} and {described(labels)}"
        )
    if not logits.is_floating_point():
        raise ValueError(f"language_model_loss: logits must be floating point, got dtype {logits.dtype}")
    check_integers("language_model_loss: labels", labels)
    labels = labels.long()
    counted = labels[labels != IGNORED]
    if counted.numel() == 0:
        raise ValueError(f"language_model_loss: every label of {tuple(labels.shape)} is ignored")
    if counted.min() < 0 or counted.max() >= logits.size(-1):
        wrong = counted[(counted < 0) | (counted >= logits.size(-1))][0].item()
        raise ValueError(
            f"language_model_loss: label {wrong} lies outside the vocabulary of {logits.size(-1)}"
        )
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
