"""Moving dots: short films in which most dots drift one way, and a single frame says nothing.

Some dots drift along, each of the others goes a way of its own; that share is the dial for how hard it is. What leaves
on one side comes back on the other, so that no frame shows which way the dots went.

B films · F frames · S side of a frame in pixels · K dots
"""

from __future__ import annotations

import math
from typing import SupportsFloat, SupportsIndex

import torch
from torch import Tensor

N_DIRECTIONS = 8  # 0 to the right, then clockwise: 2 is down
RADIUS = 0.8  # of a dot, in pixels
SPEEDS = (0.75, 1.5)  # pixels a frame


def sample_moving_dots(
    n: int,
    *,
    generator: torch.Generator,
    n_frames: int = 8,
    size: int = 16,
    n_dots: int = 12,
    coherence: float = 0.8,
    noise: float = 0.1,
) -> tuple[Tensor, Tensor]:
    """Draw `n` films of dots that drift in a random direction.

    Args:
        n: B, at least 1.
        generator: source of random numbers.
        n_frames: F, at least 2.
        size: S, at least 4.
        n_dots: K, at least 1.
        coherence: chance of each dot to drift along, from 0 to 1.
        noise: spread of what is added to each pixel, at least 0.

    Returns:
        films, (B, 1, F, S, S), dark is 0 and a dot's middle 1, before the noise; and directions, (B,), ids 0 … 7.

    Raises:
        ValueError: a number out of range.
    """
    for name, number, least in (
        ("n", n, 1),
        ("n_frames", n_frames, 2),
        ("size", size, 4),
        ("n_dots", n_dots, 1),
    ):
        if not isinstance(number, SupportsIndex) or number < least:
            raise ValueError(
                f"sample_moving_dots: {name} must be a whole number, at least {least}, got {number!r}"
            )
    if not isinstance(coherence, SupportsFloat) or not 0 <= coherence <= 1:
        raise ValueError(f"sample_moving_dots: coherence must lie between 0 and 1, got {coherence!r}")
    if not isinstance(noise, SupportsFloat) or not 0 <= noise < math.inf:
        raise ValueError(f"sample_moving_dots: noise must be a number, at least 0, got {noise!r}")
    directions = torch.randint(N_DIRECTIONS, (n,), generator=generator)  # (B,)
    own = torch.randint(N_DIRECTIONS, (n, n_dots), generator=generator)  # (B, K)
    along = torch.rand(n, n_dots, generator=generator) < coherence
    angles = torch.where(along, directions[:, None], own) * (math.tau / N_DIRECTIONS)  # (B, K)
    slowest, fastest = SPEEDS
    speeds = slowest + (fastest - slowest) * torch.rand(n, 1, generator=generator)  # (B, 1)
    time = torch.arange(n_frames)  # (F,)

    def brightness(begin: Tensor, speed: Tensor) -> Tensor:
        """Return how near each column (or row) is to each dot: (B, K, F, S)."""
        places = begin.unsqueeze(-1) + speed.unsqueeze(-1) * time  # (B, K, F)
        away = torch.arange(size) - places.unsqueeze(-1)  # (B, K, F, S)
        away = (away + size / 2) % size - size / 2  # the short way round
        return torch.exp(-away.square() / (2 * RADIUS**2))

    begins = size * torch.rand(2, n, n_dots, generator=generator)  # x and y
    columns, rows = brightness(begins[0], speeds * angles.cos()), brightness(begins[1], speeds * angles.sin())
    films = torch.einsum("bkfy,bkfx->bfyx", rows, columns).clamp(max=1)  # (B, F, S, S)
    films = films + noise * torch.randn(films.shape, generator=generator)
    return films.unsqueeze(1), directions
