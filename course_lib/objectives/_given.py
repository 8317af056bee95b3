"""What the objectives may be given: every complaint names the function, the argument and what it got."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import SupportsFloat, SupportsIndex

import torch
from torch import Tensor


def described(given: object) -> str:
    """Say what something is: a tensor's shape, anything else's type."""
    return str(tuple(given.shape)) if isinstance(given, Tensor) else type(given).__name__


def check_integers(name: str, given: Tensor) -> None:
    """Refuse a tensor that cannot hold ids."""
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise ValueError(f"{name} must be integer ids, got dtype {given.dtype}")


def check_tokens(who: str, tokens: Tensor, vocab_size: int | None = None) -> None:
    """Refuse what is not (B, T) with B, T ≥ 1, holds no integers, or ids outside of the vocabulary."""
    if not isinstance(tokens, Tensor) or tokens.dim() != 2 or tokens.numel() == 0:
        raise ValueError(f"{who}: tokens must be (B, T) with B and T at least 1, got {described(tokens)}")
    check_integers(f"{who}: tokens", tokens)
    least, most = (number.item() for number in tokens.aminmax())
    highest = math.inf if vocab_size is None else vocab_size - 1
    if least < 0 or most > highest:
        raise ValueError(
            f"{who}: ids must lie between 0 and {highest}, got {least if least < 0 else most} in tokens"
        )


def check_flags(who: str, name: str, flags: Tensor, shape: torch.Size | None = None) -> None:
    """Refuse what is no boolean (B, T) with B, T ≥ 1, or not of the given shape."""
    if not isinstance(flags, Tensor) or flags.dim() != 2 or flags.numel() == 0:
        raise ValueError(f"{who}: {name} must be (B, T) with B and T at least 1, got {described(flags)}")
    if flags.dtype != torch.bool:
        raise ValueError(f"{who}: {name} must be boolean, got dtype {flags.dtype}")
    if shape is not None and flags.shape != shape:
        raise ValueError(
            f"{who}: {name} must have the shape of the tokens, {tuple(shape)}, got {described(flags)}"
        )


def check_choice(who: str, is_eligible: Tensor, n_targets: Tensor, generator: torch.Generator) -> None:
    """Refuse what no targets can be chosen from: is_eligible (B, T) boolean, n_targets (B,) whole numbers."""
    check_flags(who, "is_eligible", is_eligible)
    check_generator(who, generator)
    if not isinstance(n_targets, Tensor) or n_targets.shape != is_eligible.shape[:1]:
        raise ValueError(
            f"{who}: n_targets must be ({len(is_eligible)},), one number a row, got {described(n_targets)}"
        )
    check_integers(f"{who}: n_targets", n_targets)
    if (n_targets < 0).any():
        raise ValueError(f"{who}: n_targets must be at least 0, got {n_targets.min().item()}")


def check_whole(who: str, name: str, number: int, *, least: int = 0, most: int | None = None) -> None:
    """Refuse what is no whole number from `least` to `most`."""
    whole = isinstance(number, SupportsIndex) and not isinstance(number, bool | Tensor)
    if not whole or number < least or (most is not None and number > most):
        limits = f"at least {least}" if most is None else f"between {least} and {most}"
        raise ValueError(f"{who}: {name} must be a whole number {limits}, got {number!r}")


def real_tokens(who: str, tokens: Tensor, pad_id: int | None) -> Tensor:
    """Return True where a token is no padding: boolean, (B, T)."""
    if pad_id is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    check_whole(who, "pad_id", pad_id)
    return tokens != pad_id


def without(who: str, tokens: Tensor, special_ids: Iterable[int]) -> Tensor:
    """Return True where a token is none of these ids: boolean, (B, T)."""
    if isinstance(special_ids, str) or not isinstance(special_ids, Iterable):
        raise ValueError(f"{who}: special_ids must be a collection of ids, got {special_ids!r}")
    ordinary = torch.ones_like(tokens, dtype=torch.bool)
    for one in special_ids:
        check_whole(who, "each of special_ids", one)
        ordinary &= tokens != one
    return ordinary


def check_share(who: str, name: str, share: float, *, zero: bool = False) -> None:
    """Refuse what is no share: in (0, 1], or in [0, 1] where `zero` may be."""
    number = isinstance(share, SupportsFloat) and not isinstance(share, bool | Tensor)
    if not number or not (0 <= share <= 1) or (share == 0 and not zero):
        raise ValueError(f"{who}: {name} must lie in {'[' if zero else '('}0, 1], got {share!r}")


def check_positive(who: str, name: str, number: float) -> None:
    """Refuse what is no finite number above 0."""
    real = isinstance(number, SupportsFloat) and not isinstance(number, bool | Tensor)
    if not real or not 0 < float(number) < math.inf:
        raise ValueError(f"{who}: {name} must be a positive number, got {number!r}")


def check_mean_length(who: str, mean_length: float) -> None:
    """Refuse what is no finite number of at least 1."""
    check_positive(who, "mean_length", mean_length)
    if mean_length < 1:
        raise ValueError(f"{who}: mean_length must be at least 1, got {mean_length!r}")


def check_generator(who: str, generator: torch.Generator) -> None:
    """Refuse what is no torch.Generator: all chance comes from one, so that a run repeats."""
    if not isinstance(generator, torch.Generator):
        raise ValueError(f"{who}: generator must be a torch.Generator, got {type(generator).__name__}")
