"""Masks: who may attend to whom.

One convention everywhere: a mask is boolean, True means *may attend*, and masks are combined with `&`.
A mask has any shape that broadcasts to (B, H, Tq, Tk).

B batch · H heads · Tq queries · Tk keys · T tokens
"""

from __future__ import annotations

from typing import SupportsIndex

import torch
from torch import Tensor


def padding_mask(tokens: Tensor, pad_id: int) -> Tensor:
    """Hide the padding from every query: True where a key is a real token.

    Args:
        tokens: integer ids, (B, Tk), of the sequence that is looked *at*.
        pad_id: the id that fills short rows up.

    Returns:
        Boolean mask, (B, 1, 1, Tk): the same for every head and every query.

    Raises:
        ValueError: `tokens` is not (B, Tk), or holds no integers, or `pad_id` is none.
    """
    _check_integers("padding_mask: tokens", tokens, "(B, Tk)", dims=2)
    if not isinstance(pad_id, SupportsIndex):
        raise ValueError(f"padding_mask: pad_id must be an integer id, got {pad_id!r}")
    return (tokens != pad_id)[:, None, None, :]  # (B, 1, 1, Tk)


def length_mask(lengths: Tensor, n_keys: int) -> Tensor:
    """Hide the padding from every query, where lengths are known and ids are not: True at key j < length.

    The first `lengths[b]` keys of row b are real, the rest is padding (on the right). Equal to
    `padding_mask` of the same batch.

    Args:
        lengths: integers, (B,), each between 0 and Tk.
        n_keys: Tk, at least 1.

    Returns:
        Boolean mask, (B, 1, 1, Tk). A length of 0 gives a row that may attend to nothing.

    Raises:
        ValueError: `lengths` is not (B,), holds no integers, or holds one below 0 or above Tk; Tk below 1.
    """
    _check_integers("length_mask: lengths", lengths, "(B,)", dims=1)
    if not isinstance(n_keys, SupportsIndex) or n_keys < 1:
        raise ValueError(f"length_mask: n_keys must be at least 1, got {n_keys!r}")
    outside = lengths[(lengths < 0) | (lengths > n_keys)]
    if len(outside):
        raise ValueError(
            f"length_mask: lengths must lie between 0 and n_keys = {n_keys}, got {outside[0].item()}"
        )
    places = torch.arange(n_keys, device=lengths.device)  # (Tk,)
    return (places < lengths[:, None])[:, None, None, :]  # (B, 1, 1, Tk)


def causal_mask(n_queries: int, n_keys: int | None = None) -> Tensor:
    """Hide the future: query i may attend to key j where j ≤ i + (Tk − Tq).

    With fewer queries than keys the queries are the *last* ones, as in step-by-step generation.

    Args:
        n_queries: Tq, at least 1.
        n_keys: Tk, at least Tq; Tq when left out.

    Returns:
        Boolean mask, (Tq, Tk).

    Raises:
        ValueError: a length below 1, or fewer keys than queries.
    """
    n_keys = n_queries if n_keys is None else n_keys
    whole = isinstance(n_queries, SupportsIndex) and isinstance(n_keys, SupportsIndex)
    if not whole or not 1 <= n_queries <= n_keys:
        raise ValueError(f"causal_mask: need 1 ≤ Tq ≤ Tk, got Tq = {n_queries}, Tk = {n_keys}")
    everything = torch.ones(n_queries, n_keys, dtype=torch.bool)
    return everything.tril(diagonal=n_keys - n_queries)  # (Tq, Tk)


def _check_integers(name: str, given: Tensor, shape: str, *, dims: int) -> None:
    if not isinstance(given, Tensor) or given.dim() != dims:
        got = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(f"{name} must be {shape}, got {got}")
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got dtype {given.dtype}")
