"""The apple world: a two-dimensional map of words on which "apple" lies between fruit and computers.

The two numbers of a word say how much it has to do with computers (first) and with fruit (second).
They are set by hand, so that every later number can be checked on paper.

T tokens · 2 the width of the map
"""

from __future__ import annotations

import random
from typing import SupportsIndex

import torch
from torch import Tensor

TABLE: dict[str, tuple[float, float]] = {
    "apple": (1.8, 1.8),
    "orange": (0.3, 2.6),
    "banana": (0.1, 2.4),
    "cherry": (0.5, 2.3),
    "lemon": (0.2, 2.1),
    "pear": (0.4, 2.8),
    "phone": (2.6, 0.3),
    "laptop": (2.8, 0.4),
    "screen": (2.2, 0.2),
    "tablet": (2.4, 0.5),
    "keyboard": (2.1, 0.1),
    "the": (0.1, 0.0),
    "an": (0.0, 0.1),
    "and": (0.1, 0.1),
    "beside": (-0.1, 0.1),
    "my": (0.0, -0.1),
    "old": (0.1, -0.1),
    "on": (-0.1, 0.0),
}
FRUIT = ("orange", "banana", "cherry", "lemon", "pear")
COMPUTERS = ("phone", "laptop", "screen", "tablet", "keyboard")
NEUTRAL = ("the", "an", "and", "beside", "my", "old", "on")


def embed(tokens: list[str]) -> Tensor:
    """Look each word up in the table: a list of T words → (T, 2).

    Raises:
        ValueError: a word that the table does not hold.
    """
    unknown = [token for token in tokens if token not in TABLE]
    if unknown:
        raise ValueError(f"the apple world has no word {unknown[0]!r}; it has {', '.join(TABLE)}")
    return torch.tensor([TABLE[token] for token in tokens]).view(-1, 2)  # (0, 2) for no word


def fruit_gap(x: Tensor) -> Tensor:
    """Say on which side of the map a point lies: cosine to the fruit minus cosine to the computers.

    Args:
        x: points of the map, (…, 2).

    Returns:
        (…): above 0 nearer to the fruit's mean direction, below 0 nearer to the computers'.

    Raises:
        ValueError: `x` is not (…, 2), or no floating point.
    """
    if x.dim() < 1 or x.size(-1) != 2 or not x.is_floating_point():
        raise ValueError(
            f"fruit_gap: points of the map have width 2, floating point, got shape {tuple(x.shape)}, "
            f"dtype {x.dtype}"
        )
    fruit, computers = embed(list(FRUIT)).mean(0).to(x), embed(list(COMPUTERS)).mean(0).to(x)  # (2,) each
    return torch.cosine_similarity(x, fruit, dim=-1) - torch.cosine_similarity(x, computers, dim=-1)


def sample_sentences(n: int, *, seed: int, n_others: int = 0) -> list[tuple[list[str], str]]:
    """Draw `n` sentences about an apple, half among fruit and half among computers, in random order.

    Each holds "apple" once, `n_others` + 1 or `n_others` + 2 words of its own side, `n_others` words of the
    other side and two to four neutral words, in random order.

    Returns:
        Pairs of the words and the side, "fruit" or "computers".

    Raises:
        ValueError: `n` is odd or below 2, or `n_others` is not 0, 1 or 2.
    """
    if not isinstance(n, SupportsIndex) or n < 2 or n % 2:
        raise ValueError(f"sample_sentences: n must be even and at least 2, got {n!r}")
    if n_others not in (0, 1, 2):
        raise ValueError(f"sample_sentences: n_others must be 0, 1 or 2, got {n_others}")
    draw = random.Random(seed)
    sentences = []
    for number in range(n):
        side = "fruit" if number % 2 else "computers"
        own, other = (FRUIT, COMPUTERS) if side == "fruit" else (COMPUTERS, FRUIT)
        words = ["apple", *draw.sample(own, n_others + draw.randint(1, 2)), *draw.sample(other, n_others)]
        words += draw.sample(NEUTRAL, draw.randint(2, 4))
        draw.shuffle(words)
        sentences.append((words, side))
    draw.shuffle(sentences)
    return sentences
