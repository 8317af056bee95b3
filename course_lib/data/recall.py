"""Recall and copy: tasks with a dial for how far, or how much, something must be carried.

*Recall*: a key is shown, `distance` fillers follow, then the key is asked for. Whoever forgot it is left with
chance, 1 / n_keys. *Copy* (or *reverse*): a whole sequence is read and then written; a network that keeps it
in one vector has a bottleneck.

B batch · T tokens · Ts, Tt lengths of source and target
"""

from __future__ import annotations

from typing import SupportsIndex

import torch
from torch import Tensor

N_FILLERS = 4
PAD, SOS, EOS = 0, 1, 2
N_SPECIALS = 3


def recall_vocab_size(n_keys: int) -> int:
    """Return how many ids the recall task uses: the keys (from 0), the fillers, and one that asks (the last)."""
    _check_keys(n_keys)
    return n_keys + N_FILLERS + 1


def recall_chance(n_keys: int) -> float:
    """Return the share of right answers of somebody who forgot the key: 1 / n_keys."""
    _check_keys(n_keys)
    return 1 / n_keys


def sample_recall(n: int, *, distance: int, n_keys: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw `n` sequences: a key, `distance` random fillers, and the token that asks for the key.

    Args:
        n: B, at least 1.
        distance: how many fillers stand between the key and the question, at least 0.
        n_keys: how many different keys there are, at least 2.
        generator: source of random numbers.

    Returns:
        tokens, (B, distance + 2), and answers, (B,): the key of each row.

    Raises:
        ValueError: a number out of range.
    """
    if not _whole(n, distance) or n < 1 or distance < 0:
        raise ValueError(f"sample_recall: need n ≥ 1 and distance ≥ 0, got {n} and {distance}")
    _check_keys(n_keys)
    keys = torch.randint(n_keys, (n, 1), generator=generator)
    fillers = n_keys + torch.randint(N_FILLERS, (n, distance), generator=generator)
    asking = torch.full((n, 1), n_keys + N_FILLERS)
    return torch.cat([keys, fillers, asking], dim=1), keys[:, 0]


def sample_copies(
    n: int,
    *,
    n_symbols: int,
    min_length: int,
    max_length: int,
    generator: torch.Generator,
    reverse: bool = False,
) -> tuple[Tensor, Tensor]:
    """Draw `n` random sequences of unlike lengths, and what is to be written: the same, or the same backwards.

    Ids: `PAD`, `SOS`, `EOS`, then the symbols from `N_SPECIALS`.

    Args:
        n: B, at least 1.
        n_symbols: how many different symbols, at least 1.
        min_length, max_length: lengths are drawn evenly from 1 ≤ min_length … max_length.
        generator: source of random numbers.
        reverse: whether the target runs backwards.

    Returns:
        source, (B, Ts): the symbols, then padding; target, (B, Ts + 2): `SOS`, the symbols, `EOS`, then padding. Ts is
        the longest length drawn.

    Raises:
        ValueError: a number out of range.
    """
    whole = _whole(n, n_symbols, min_length, max_length)
    if not whole or n < 1 or n_symbols < 1 or not 1 <= min_length <= max_length:
        raise ValueError(
            "sample_copies: need n ≥ 1, n_symbols ≥ 1 and 1 ≤ min_length ≤ max_length, got "
            f"{n}, {n_symbols}, {min_length} and {max_length}"
        )
    lengths = torch.randint(min_length, max_length + 1, (n,), generator=generator)
    source = torch.full((n, int(lengths.max())), PAD)
    target = torch.full((n, int(lengths.max()) + 2), PAD)
    for row, length in enumerate(lengths.tolist()):
        symbols = N_SPECIALS + torch.randint(n_symbols, (length,), generator=generator)
        source[row, :length] = symbols
        target[row, 0] = SOS
        target[row, 1 : length + 1] = symbols.flip(0) if reverse else symbols
        target[row, length + 1] = EOS
    return source, target


def _check_keys(n_keys: int) -> None:
    if not _whole(n_keys) or n_keys < 2:
        raise ValueError(f"recall needs at least two keys, got n_keys = {n_keys!r}")


def _whole(*numbers: int) -> bool:
    return all(isinstance(number, SupportsIndex) for number in numbers)
