"""Objectives: what a model is asked to predict, and how far off it is.

B batch · T tokens · V vocabulary
A label of −100 is ignored. Losses are means over the labels that count, in nats.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

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
        ValueError: `tokens` is not (B, T) with T ≥ 2, or holds no integers.
    """
    if tokens.dim() != 2 or tokens.size(1) < 2:
        raise ValueError(
            f"next_token_labels: tokens must be (B, T) with T at least 2, got shape {tuple(tokens.shape)}"
        )
    if tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise ValueError(f"next_token_labels: tokens must be integer ids, got dtype {tokens.dtype}")
    inputs, labels = tokens[:, :-1], tokens[:, 1:].long()  # both (B, T−1)
    if pad_id is not None:
        labels = labels.masked_fill(labels == pad_id, IGNORED)
    return inputs, labels


def language_model_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy: the mean of −log p(label), over the labels that count.

    Args:
        logits: (B, T, V), any real numbers.
        labels: integer ids, (B, T); −100 = ignored.

    Returns:
        One number, in nats per token. e to this power is the perplexity.

    Raises:
        ValueError: the shapes do not fit, a label lies outside the vocabulary, or every label is ignored.
    """
    if logits.dim() != 3 or logits.shape[:2] != labels.shape:
        raise ValueError(
            "language_model_loss: logits must be (B, T, V) and labels (B, T), "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    counted = labels[labels != IGNORED]
    if counted.numel() == 0:
        raise ValueError(f"language_model_loss: every label of {tuple(labels.shape)} is ignored")
    if counted.min() < 0 or counted.max() >= logits.size(-1):
        wrong = counted[(counted < 0) | (counted >= logits.size(-1))][0].item()
        raise ValueError(
            f"language_model_loss: label {wrong} lies outside the vocabulary of {logits.size(-1)}"
        )
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten().long(), ignore_index=IGNORED)
