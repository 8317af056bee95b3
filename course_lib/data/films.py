"""The film shelf: what a query, a key and a value are, on six invented films.

A key says what a film is about, in four numbers a person can read; a query says what somebody wants, in the
same four numbers; a value is what the shelf hands out.

K the number of films · 4 the width of a key
"""

from __future__ import annotations

import torch
from torch import Tensor

TRAITS = ("tender", "violent", "funny", "eerie")
FILMS: dict[str, tuple[str, tuple[float, float, float, float], tuple[float, float]]] = {
    # title: (genre, key in TRAITS, value: minutes and age limit)
    "Letters in April": ("romantic", (3.0, 0.0, 0.5, 0.0), (110.0, 6.0)),
    "The Last Bridge": ("war", (0.5, 3.0, 0.0, 0.5), (140.0, 16.0)),
    "Two Left Shoes": ("comedy", (0.5, 0.0, 3.0, 0.0), (90.0, 0.0)),
    "Who Locked the Attic": ("horror", (0.0, 1.5, 0.0, 3.0), (100.0, 18.0)),
    "Moving In": ("romantic comedy", (2.0, 0.0, 2.0, 0.0), (95.0, 6.0)),
    "Under the Ice": ("thriller", (0.0, 2.0, 0.0, 1.5), (120.0, 12.0)),
}
QUERIES: dict[str, tuple[float, float, float, float]] = {
    "love": (3.0, 0.0, 0.0, 0.0),
    "a good laugh": (0.0, 0.0, 3.0, 0.0),
    "a fright": (0.0, 0.5, 0.0, 3.0),
    "love and laughter": (2.2, 0.0, 2.2, 0.0),
}


def film_keys() -> Tensor:
    """Return the key of each film, (K, 4)."""
    return torch.tensor([key for _, key, _ in FILMS.values()])


def film_values() -> Tensor:
    """Return the value of each film, (K, 2): minutes, age limit."""
    return torch.tensor([value for _, _, value in FILMS.values()])


def film_query(wish: str) -> Tensor:
    """Return the query of a wish, (1, 4).

    Raises:
        ValueError: a wish that the shelf has no numbers for.
    """
    if wish not in QUERIES:
        raise ValueError(f"the film shelf knows no wish {wish!r}; it knows {', '.join(QUERIES)}")
    return torch.tensor([QUERIES[wish]])
