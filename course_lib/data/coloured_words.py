"""Coloured words: each sentence hides two answers, the word that is red and the word that is blue.

The smallest task on which one query has to fetch two things at once.

B batch · T tokens
"""

from __future__ import annotations

from typing import SupportsIndex

import torch
from torch import Tensor

PLAIN, RED, BLUE = 0, 1, 2
N_COLOURS = 3


def sample_coloured_words(
    n: int, *, n_words: int, n_tokens: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw `n` sentences of random words, of which one is red, one blue and the rest plain.

    Args:
        n: B, at least 1.
        n_words: size of the vocabulary.
        n_tokens: T, at least 2.
        generator: source of random numbers.

    Returns:
        words, (B, T), ids below `n_words`; colours, (B, T), `PLAIN`, `RED` or `BLUE`; answers, (B, 2), the red
        word and the blue word.

    Raises:
        ValueError: `n` or `n_words` below 1, or fewer than two tokens.
    """
    whole = all(isinstance(number, SupportsIndex) for number in (n, n_words, n_tokens))
    if not whole or n < 1 or n_words < 1 or n_tokens < 2:
        raise ValueError(
            f"sample_coloured_words: need n ≥ 1, n_words ≥ 1, n_tokens ≥ 2, got {n}, {n_words}, {n_tokens}"
        )
    words = torch.randint(n_words, (n, n_tokens), generator=generator)
    order = torch.rand(n, n_tokens, generator=generator).argsort(-1)  # (B, T)
    places = order[:, :2]  # (B, 2): where red and blue stand
    colours = torch.full((n, n_tokens), PLAIN).scatter(1, places, torch.tensor([[RED, BLUE]]).expand(n, 2))
    return words, colours, words.gather(1, places)
