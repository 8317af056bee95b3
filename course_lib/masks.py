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


def permutation_masks(
    order: Tensor, n_predict: int | Tensor | None = None, reuse_len: int = 0
) -> tuple[Tensor, Tensor]:
    """Let each token see those that come before it in an order: the two masks of XLNet.

    Of the order 2 → 4 → 3 → 1 (counted from 1; here `[1, 3, 2, 0]`) token 3 sees tokens 2 and 4. The content
    stream of a token also sees the token itself, its query stream does not, for it must predict it
    (Yang et al. 2019, section 2.3: h attends to z_{≤t}, g to z_{<t}).

    Args:
        order: integers, (T,) or (B, T): each row holds the places 0 … T − 1 once, first revealed first.
        n_predict: how many of the order, at its end, are predicted (0 … T; one number, or one a row, (B,)).
            The others are then given together: visible to all, and blind to what is predicted. None = all T
            are predicted, one after another.
        reuse_len: the first `reuse_len` places are a half whose states are kept as memory. They see none of
            the places after them, and those see all of them, whatever the order. 0 = no such half.

    Returns:
        content, query: boolean, (T, T) or (B, 1, T, T); entry i, j is True where i may attend to j. The query
        row of what is given, and of the first in an order, may attend to nothing.

    Raises:
        ValueError: an order that is no permutation, an `n_predict` or `reuse_len` outside 0 … T.
    """
    dims = order.dim() if isinstance(order, Tensor) and order.dim() in (1, 2) else 2
    _check_integers("permutation_masks: order", order, "(T,) or (B, T)", dims=dims)
    n_tokens = order.size(-1)
    if order.numel() == 0:
        raise ValueError(f"permutation_masks: order must hold at least one place, got {tuple(order.shape)}")
    order = order.long()
    # rank[i] says when token i is revealed: the order read backwards, not the order itself.
    rank = torch.full_like(order, -1)
    if order.min() >= 0 and order.max() < n_tokens:
        rank.scatter_(-1, order, torch.arange(n_tokens, device=order.device).expand(order.shape))
    if (rank < 0).any():
        row = order if order.dim() == 1 else order[(rank < 0).any(-1)][0]
        raise ValueError(
            f"permutation_masks: an order must hold each of 0 … {n_tokens - 1} once, got {row.tolist()}"
        )
    if n_predict is not None:
        n_given = n_tokens - _counts("n_predict", n_predict, order)
        rank = (rank - n_given).clamp(min=-1)  # what is given is revealed at once
    content = rank.unsqueeze(-2) <= rank.unsqueeze(-1)  # (…, T, T)
    query = rank.unsqueeze(-2) < rank.unsqueeze(-1)
    if not isinstance(reuse_len, SupportsIndex) or not 0 <= reuse_len <= n_tokens:
        raise ValueError(
            f"permutation_masks: reuse_len must be a whole number between 0 and T = {n_tokens}, "
            f"got {reuse_len!r}"
        )
    if reuse_len:
        is_first = torch.arange(n_tokens, device=order.device) < reuse_len  # (T,)
        same_half = is_first[:, None] == is_first  # (T, T)
        looks_back = ~is_first[:, None] & is_first
        content = content & same_half | looks_back
        query = query & same_half | looks_back
    if order.dim() == 2:
        content, query = content[:, None], query[:, None]  # (B, 1, T, T)
    return content, query


def _counts(name: str, given: int | Tensor, order: Tensor) -> int | Tensor:
    """Return a number, or one a row as (B, 1), each between 0 and T."""
    n_tokens = order.size(-1)
    if isinstance(given, Tensor):
        _check_integers(f"permutation_masks: {name}", given, f"({len(order)},)", dims=1)
        if order.dim() != 2 or len(given) != len(order):
            raise ValueError(
                f"permutation_masks: {name} must be one number, or one for each row of an order (B, T), got "
                f"shape {tuple(given.shape)} for an order of shape {tuple(order.shape)}"
            )
        outside = given[(given < 0) | (given > n_tokens)]
        if len(outside):
            raise ValueError(
                f"permutation_masks: {name} must lie between 0 and T = {n_tokens}, got {outside[0].item()}"
            )
        return given[:, None]
    if not isinstance(given, SupportsIndex) or not 0 <= given <= n_tokens:
        raise ValueError(
            f"permutation_masks: {name} must be a whole number between 0 and T = {n_tokens}, got {given!r}"
        )
    return given


def _check_integers(name: str, given: Tensor, shape: str, *, dims: int) -> None:
    if not isinstance(given, Tensor) or given.dim() != dims:
        got = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"a {type(given).__name__}"
        raise ValueError(f"{name} must be {shape}, got {got}")
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got dtype {given.dtype}")
