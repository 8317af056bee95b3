"""Digits: written by a thousand invented hands, each image drawn anew.

A digit is a few strokes. A hand has its habits: how it slants, how wide and how thick it writes, how it bends each
digit, and which form it knows (a 7 with or without a bar). Every image adds its own chance: size, place, turn,
pressure, paper and noise. The last hands are kept for testing, so that a test asks for hands never seen.

B images · K strokes' pieces (straight lines) · S side of an image in pixels
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import SupportsIndex

import torch
from torch import Tensor

N_DIGITS = 10
IMAGE_SIZE = 28
N_HANDS = 1000
TRAINING_HANDS = range(900)
HELD_OUT_HANDS = range(900, N_HANDS)
HANDS_SEED = 20_17  # the hands are part of this world: the same on every machine

Stroke = list[tuple[float, float]]


def sample_digits(
    n: int, *, generator: torch.Generator, hands: Sequence[int] = TRAINING_HANDS, size: int = IMAGE_SIZE
) -> tuple[Tensor, Tensor]:
    """Draw `n` random digits by random hands.

    Args:
        n: B, at least 1.
        generator: source of random numbers.
        hands: numbers of the hands that may write: `TRAINING_HANDS`, `HELD_OUT_HANDS` or others.
        size: S, at least 8.

    Returns:
        images, (B, 1, S, S), numbers from 0 (paper) to 1 (ink); and digits, (B,), ids 0 … 9.

    Raises:
        ValueError: a number out of range, or no hand.
    """
    if not isinstance(n, SupportsIndex) or n < 1:
        raise ValueError(f"sample_digits: n must be a whole number, at least 1, got {n!r}")
    if len(hands) == 0:
        raise ValueError("sample_digits: need at least one hand, got none")
    digits = torch.randint(N_DIGITS, (n,), generator=generator)  # (B,)
    chosen = torch.randint(len(hands), (n,), generator=generator)  # (B,)
    return draw_digits(digits, torch.tensor(hands)[chosen], generator=generator, size=size), digits


def draw_digits(
    digits: Tensor, hands: Tensor, *, generator: torch.Generator, size: int = IMAGE_SIZE
) -> Tensor:
    """Let hands write digits.

    Args:
        digits: what is written, (B,), ids 0 … 9.
        hands: who writes, (B,), numbers below `N_HANDS`.
        generator: source of random numbers: each image has its own chance.
        size: S, at least 8.

    Returns:
        Images, (B, 1, S, S), numbers from 0 (paper) to 1 (ink).

    Raises:
        ValueError: ids out of range or not (B,), or a size below 8.
    """
    _check_ids("digits", digits, N_DIGITS)
    _check_ids("hands", hands, N_HANDS)
    if digits.shape != hands.shape:
        raise ValueError(f"draw_digits: digits and hands must be alike, got {len(digits)} and {len(hands)}")
    if not isinstance(size, SupportsIndex) or size < 8:
        raise ValueError(f"draw_digits: size must be a whole number, at least 8, got {size!r}")
    n = len(digits)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, 1, generator=generator)  # (B, 1)

    habits, bends, forms = _hands()
    slant, width, thickness = habits[hands].split(1, dim=-1)  # (B, 1) each
    pieces = _forms()[0][forms[hands, digits]]  # (B, K, 2, 2): from and to, x and y
    x, y = pieces.flatten(1, 2).unbind(-1)  # (B, 2K) each, from −1 to 1
    # Bends: the hand's for this digit, and a smaller one of this image.
    bend = bends[hands, digits] + 0.05 * torch.randn(n, 6, generator=generator)  # (B, 6)
    squares = torch.stack([x * x, x * y, y * y], dim=-1)  # (B, 2K, 3)
    x = width * (x + (squares * bend[:, None, :3]).sum(-1)) - slant * y
    y = y + (squares * bend[:, None, 3:]).sum(-1)
    # A turn, a size and a place.
    angle, scale = 0.1 * torch.randn(n, 1, generator=generator), between(0.5, 0.8)
    x, y = angle.cos() * x - angle.sin() * y, angle.sin() * x + angle.cos() * y
    x, y = scale * x + between(-0.2, 0.2), scale * y + between(-0.2, 0.2)
    thickness = thickness * scale * between(0.8, 1.25)
    ends = torch.stack([x, y], dim=-1).unflatten(1, (-1, 2))  # (B, K, 2, 2)
    distance = _distance_to_strokes(ends, size)  # (B, S · S)
    ink = torch.sigmoid((thickness - distance) * size)  # about a pixel from ink to paper
    paper = between(0.0, 0.2)
    image = paper + (between(0.6, 1.0) - paper) * ink
    image = image + between(0.0, 0.15) * torch.randn(n, size * size, generator=generator)
    return image.clamp(0, 1).view(n, 1, size, size)


def _distance_to_strokes(ends: Tensor, size: int) -> Tensor:
    """Return how far each pixel's middle lies from the nearest of the pieces (B, K, 2, 2): (B, S · S)."""
    line = (torch.arange(size) + 0.5) * (2 / size) - 1  # (S,), from −1 to 1
    pixel_x, pixel_y = line.repeat(size), line.repeat_interleave(size)  # (S · S,) each
    nearest = torch.full((len(ends), size * size), math.inf)
    for piece in range(ends.size(1)):  # one at a time: all at once would be a table of B · K · S · S numbers
        (from_x, from_y), (to_x, to_y) = (end.unsqueeze(-1).unbind(1) for end in ends[:, piece].unbind(1))
        along_x, along_y = to_x - from_x, to_y - from_y  # (B, 1)
        length = (along_x.square() + along_y.square()).clamp(min=1e-12)
        x, y = pixel_x - from_x, pixel_y - from_y  # (B, S · S)
        share = ((x * along_x + y * along_y) / length).clamp(0, 1)  # the nearest point of the piece
        nearest = torch.minimum(nearest, (x - share * along_x).square() + (y - share * along_y).square())
    return nearest.sqrt()


@functools.cache
def _hands() -> tuple[Tensor, Tensor, Tensor]:
    """Return slant, width and thickness (hands, 3), bends (hands, 10, 6) and forms (hands, 10) of all hands."""
    draw = torch.Generator().manual_seed(HANDS_SEED)
    slant = 0.2 * torch.randn(N_HANDS, 1, generator=draw)
    width = 0.65 + 0.5 * torch.rand(N_HANDS, 1, generator=draw)
    thickness = 0.05 + 0.11 * torch.rand(N_HANDS, 1, generator=draw)
    bends = 0.1 * torch.randn(N_HANDS, N_DIGITS, 6, generator=draw)
    _, first, n_forms = _forms()
    forms = first + (torch.rand(N_HANDS, N_DIGITS, generator=draw) * n_forms).long()
    return torch.cat([slant, width, thickness], dim=-1), bends, forms


@functools.cache
def _forms() -> tuple[Tensor, Tensor, Tensor]:
    """Return the pieces of all forms (forms, K, 2, 2), the first form of each digit (10,), and how many it has."""
    pieces = [
        [ends for stroke in form for ends in itertools.pairwise(stroke)]
        for forms in _strokes()
        for form in forms
    ]
    most = max(map(len, pieces))
    # A form with fewer pieces repeats its last one: the nearest stroke is as near.
    filled = torch.tensor([form + [form[-1]] * (most - len(form)) for form in pieces])
    n_forms = torch.tensor([len(forms) for forms in _strokes()])
    return filled, n_forms.cumsum(0) - n_forms, n_forms


def _strokes() -> list[list[list[Stroke]]]:
    """Return the forms of each digit, each a list of strokes, in a box from −1 to 1: x to the right, y down."""
    eight = [(0.55 * math.sin(2 * t), -math.cos(t)) for t in (math.tau * i / 24 for i in range(25))]
    return [
        [[_arc(0, 0, 0.6, 1, -90, 270)], [_arc(0, 0, 0.6, 1, -55, 285)]],
        [
            [[(0, -1), (0, 1)]],
            [[(-0.35, -0.6), (0, -1), (0, 1)]],
            [[(-0.35, -0.6), (0, -1), (0, 1)], [(-0.4, 1), (0.4, 1)]],
        ],
        [
            [[*_arc(0, -0.45, 0.55, 0.55, -180, 20), (-0.6, 1), (0.6, 1)]],
            [[(-0.55, -1), (0.55, -1), (-0.55, 1), (0.6, 1)]],
        ],
        [
            [_arc(0, -0.5, 0.5, 0.5, -160, 90), _arc(0, 0.5, 0.55, 0.5, -90, 160)],
            [[(-0.5, -1), (0.5, -1), (0, -0.18), *_arc(0, 0.4, 0.55, 0.58, -90, 150)]],
        ],
        [
            [[(0.25, 1), (0.25, -1), (-0.6, 0.35), (0.6, 0.35)]],
            [[(-0.5, -1), (-0.55, 0.1), (0.6, 0.1)], [(0.3, -0.7), (0.3, 1)]],
        ],
        [
            [[(0.5, -1), (-0.45, -1), (-0.5, -0.1), *_arc(-0.02, 0.4, 0.55, 0.6, -135, 150)]],
            [[*_arc(0, -0.5, 0.5, 0.5, -20, -270), *_arc(0, 0.5, 0.52, 0.5, -80, 160)]],
        ],
        [
            [[*_arc(0.35, 0.45, 0.9, 1.45, 270, 180), *_arc(0, 0.45, 0.55, 0.55, 180, 540)]],
            [[(0.2, -1), *_arc(0, 0.45, 0.55, 0.55, 200, 560)]],
        ],
        [
            [[(-0.55, -1), (0.55, -1), (-0.15, 1)]],
            [[(-0.55, -1), (0.55, -1), (-0.15, 1)], [(-0.3, 0), (0.45, 0)]],
            [[(-0.55, -0.7), (-0.55, -1), (0.55, -1), (0.05, 1)]],
        ],
        [[_arc(0, -0.5, 0.45, 0.48, 90, 450), _arc(0, 0.48, 0.55, 0.52, -90, 270)], [eight]],
        [
            [_arc(0, -0.45, 0.52, 0.52, 0, 360), [(0.52, -0.45), (0.42, 1)]],
            [[*_arc(0, -0.45, 0.52, 0.52, 0, -360), *_arc(-0.33, -0.45, 0.85, 1.45, 0, 90)]],
        ],
    ]


def _arc(x: float, y: float, x_radius: float, y_radius: float, begin: float, end: float) -> Stroke:
    """Return a piece of an ellipse around (x, y), between two angles in degrees: 0 to the right, 90 down."""
    angles = (math.radians(begin + (end - begin) * i / 12) for i in range(13))
    return [(x + x_radius * math.cos(angle), y + y_radius * math.sin(angle)) for angle in angles]


def _check_ids(name: str, given: Tensor, n: int) -> None:
    if not isinstance(given, Tensor) or given.dtype not in (torch.int32, torch.int64):
        got = f"dtype {given.dtype}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(f"draw_digits: {name} must be whole numbers, (B,), got {got}")
    if given.dim() != 1 or len(given) == 0:
        raise ValueError(f"draw_digits: {name} must be (B,), not empty, got shape {tuple(given.shape)}")
    if given.min() < 0 or given.max() >= n:
        wrong = given[(given < 0) | (given >= n)][0].item()
        raise ValueError(f"draw_digits: {name} must lie between 0 and {n - 1}, got {wrong}")
