"""Chance, all of it from one generator. A generator on the CPU serves tensors on any device, alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def uniform(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a number from [0, 1) for each entry of `like`, on its device."""
    return torch.rand(like.shape, generator=generator, device=generator.device).to(like.device)


def below(n: int, generator: torch.Generator) -> int:
    """Draw one whole number from 0 … n − 1."""
    return int(torch.randint(n, (), generator=generator, device=generator.device))


def coin(share: float, generator: torch.Generator) -> bool:
    """Throw a coin that shows True with this probability."""
    return torch.rand((), generator=generator, device=generator.device).item() < share


def numbers_with(
    probabilities: Sequence[float], n: int, generator: torch.Generator, device: torch.device | None = None
) -> Tensor:
    """Draw n of the numbers 1, 2, …, each with its probability (they need not sum to 1): (n,)."""
    table = torch.tensor(probabilities, dtype=torch.float64, device=generator.device)
    return (torch.multinomial(table, n, replacement=True, generator=generator) + 1).to(device)
