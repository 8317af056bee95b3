"""Tones: three notes of a chord, one after the other; the order is the class, and nothing else tells it.

Key, loudness, timbre, tempo and beginning are drawn for each sound. Between two notes there is silence longer than a
frame of `FRAME` samples: no frame holds two notes, so a bag of frames says nothing about their order.

B sounds · S samples
"""

from __future__ import annotations

import itertools
import math
from typing import SupportsFloat, SupportsIndex

import torch
from torch import Tensor

STEPS = (1.0, 1.26, 1.5)  # the notes of a major chord, as multiples of its lowest
MELODIES = tuple(itertools.permutations(range(3)))  # six orders of them
RATE = 4000  # samples a second
SAMPLES = 2048
FRAME = 64
LOWEST = (300.0, 450.0)  # hertz, of the chord's lowest note
N_OVERTONES = 2


def sample_tones(n: int, *, generator: torch.Generator, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    """Draw `n` melodies of three notes.

    Args:
        n: B, at least 1.
        generator: source of random numbers.
        noise: spread of what is added to each sample, at least 0.

    Returns:
        sounds, (B, SAMPLES), about between −1 and 1; and melodies, (B,), ids 0 … 5 of `MELODIES`.

    Raises:
        ValueError: a number out of range.
    """
    if not isinstance(n, SupportsIndex) or n < 1:
        raise ValueError(f"sample_tones: n must be a whole number, at least 1, got {n!r}")
    if not isinstance(noise, SupportsFloat) or not 0 <= noise < math.inf:
        raise ValueError(f"sample_tones: noise must be a number, at least 0, got {noise!r}")

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    melodies = torch.randint(len(MELODIES), (n,), generator=generator)  # (B,)
    order = torch.tensor(MELODIES)[melodies]  # (B, 3)
    pitches = between(*LOWEST, 1) * torch.tensor(STEPS)[order]  # (B, 3), hertz
    lengths = between(400.0, 500.0, 1)  # of a note, in samples
    # Rests and the first beginning are drawn over whole frames: how a note lies to the frames does not tell which one
    # it is either.
    rests = between(FRAME + 1.0, 2 * FRAME + 1.0, 2)
    begin = between(0.0, 4.0 * FRAME, 1)
    second = begin + lengths + rests[:, :1]
    begins = torch.cat(
        [begin, second, second + lengths + rests[:, 1:]], dim=1
    )  # (B, 3): the last ends at 2014
    samples = torch.arange(SAMPLES)
    since = samples - begins.unsqueeze(-1)  # (B, 3, S): samples since a note began
    # Half a sine: a note swells and fades.
    swell = torch.sin(math.pi * since / lengths.unsqueeze(-1)) * (
        (since >= 0) & (since <= lengths.unsqueeze(-1))
    )
    sounds = torch.zeros(n, SAMPLES)
    for overtone in range(1 + N_OVERTONES):
        strength = (
            1.0 if overtone == 0 else between(0.0, 0.5, 1, 1)
        )  # the timbre is the same for all three notes
        phase = between(0.0, math.tau, 3, 1)
        turns = (1 + overtone) * (pitches / RATE).unsqueeze(-1) * samples  # (B, 3, S)
        sounds = sounds + (strength * swell * torch.sin(math.tau * turns + phase)).sum(1)  # (B, S)
    sounds = between(0.3, 0.7, 1) * sounds + noise * torch.randn(n, SAMPLES, generator=generator)
    return sounds, melodies
