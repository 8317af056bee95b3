"""Permutation language model: one token at a time, in a random order (lesson 13).

B batch · T tokens · P places for targets · V vocabulary
An order z lists places in the order in which their tokens are revealed; the *last* of it are predicted.
The tokens stay where they are: only who sees whom follows the order (`masks.permutation_masks`).

Paper: Yang et al. 2019, XLNet, sections 2.2 to 2.4. Where targets are spans, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from course_lib.masks import permutation_masks
from course_lib.objectives._chance import numbers_with, uniform
from course_lib.objectives._given import (
    check_choice,
    check_flags,
    check_generator,
    check_integers,
    check_tokens,
    check_whole,
    described,
    real_tokens,
    without,
)
from course_lib.objectives.masked_words import choose_tokens, target_count
from course_lib.objectives.next_token import IGNORED


class PermutationBatch(NamedTuple):
    """What XLNet needs beside the tokens, to predict some of them.

    content_mask: boolean, (B, 1, T, T): whom the content stream of each token sees.
    query_mask: boolean, (B, 1, P, T): whom the query stream of each target sees, never the target itself.
    target_positions: (B, P): the last P places of the order. A row with fewer targets begins with places
        that are none.
    weights: (B, P), 1.0 at a target, 0.0 at what only fills the row up.
    labels: (B, P): the token at each target, −100 where the weight is 0. For `masked_word_loss`.
    order: (B, T): the order itself, targets last.
    """

    content_mask: Tensor
    query_mask: Tensor
    target_positions: Tensor
    weights: Tensor
    labels: Tensor
    order: Tensor


def permutation_batch(
    tokens: Tensor,
    *,
    pad_id: int | None,
    special_ids: Iterable[int],
    generator: torch.Generator,
    share: float = 1 / 6,
    unit: Literal["token", "span"] = "token",
    reuse_len: int = 0,
) -> PermutationBatch:
    """Choose targets, draw an order that ends with them, and say who sees whom.

    Partial prediction (XLNet, section 2.3): only the last 1/K of an order is predicted, K = 6, for the first
    of an order have too little to go by. What is not predicted is visible to all and sees no target; target
    i sees target j if and only if j comes earlier in the order. Padding is seen by nobody.

    Args:
        tokens: integer ids, (B, T). They are not changed, and not moved.
        pad_id: the id that fills short rows up; None where there is none.
        special_ids: what must never be asked for, such as [CLS] and [SEP].
        generator: where the chance comes from.
        share: 1/K; a row of length n (without padding) has max(1, round(n/K)) targets.
        unit: "token": each for itself; "span": runs of 1 to 5 tokens (`choose_prediction_spans`).
        reuse_len: the first `reuse_len` tokens are a half whose states are kept as memory for what comes
            next: they never see the rest, and the rest sees all of them (authors' code). 0 = no such half.

    Returns:
        A `PermutationBatch` with P = max(1, round(T/K)).

    Raises:
        ValueError: tokens that are not (B, T) ids, a share outside (0, 1], an unknown unit, a `reuse_len`
            that is not between 0 and T.

    Differs from the authors' code: [CLS] and [SEP] are visible to all, like every token that is not
    predicted; theirs keeps a place in the order for them.
    """
    who = "permutation_batch"
    check_tokens(who, tokens)
    check_generator(who, generator)
    n_tokens = tokens.size(1)
    is_real = real_tokens(who, tokens, pad_id)
    is_eligible = without(who, tokens, special_ids) & is_real
    n_targets = target_count(is_real.sum(1), share)  # (B,)
    if unit == "token":
        is_target = choose_tokens(is_eligible, n_targets, generator=generator)
    elif unit == "span":
        is_target = choose_prediction_spans(is_eligible, n_targets, generator=generator)
    else:
        raise ValueError(f"{who}: unit must be 'token' or 'span', got {unit!r}")
    n_targets = is_target.sum(1)  # (B,): fewer where nothing else can be asked for
    order = order_with_targets_last(is_target, generator=generator)  # (B, T)
    content_mask, query_mask = permutation_masks(order, n_targets, reuse_len)  # (B, 1, T, T)
    if pad_id is not None:
        keys = is_real[:, None, None, :]  # (B, 1, 1, T)
        content_mask, query_mask = content_mask & keys, query_mask & keys

    places = max(1, round(share * n_tokens))  # P
    target_positions = order[:, n_tokens - places :]  # (B, P)
    is_counted = torch.arange(places, device=tokens.device) >= places - n_targets[:, None]  # (B, P)
    labels = tokens.long().gather(1, target_positions).masked_fill(~is_counted, IGNORED)
    query_mask = query_mask.gather(2, target_positions[:, None, :, None].expand(-1, 1, -1, n_tokens))
    return PermutationBatch(content_mask, query_mask, target_positions, is_counted.float(), labels, order)


def permutation_orders(n_rows: int, length: int, *, generator: torch.Generator) -> Tensor:
    """Draw orders of factorisation, every order as likely as any other (XLNet, equation 3).

    Args:
        n_rows, length: B and T, at least 1.
        generator: where the chance comes from.

    Returns:
        Orders, (B, T), on the generator's device: each row holds 0 … T − 1 once. With [1, 3, 2, 0] the
        token at place 1 is revealed first, and the one at place 0 last.

    Raises:
        ValueError: a number below 1.
    """
    check_whole("permutation_orders", "n_rows", n_rows, least=1)
    check_whole("permutation_orders", "length", length, least=1)
    check_generator("permutation_orders", generator)
    return torch.rand(n_rows, length, generator=generator, device=generator.device).argsort(1)


def order_with_targets_last(is_target: Tensor, *, generator: torch.Generator) -> Tensor:
    """Draw an order that ends with the targets: both parts in random order.

    Args:
        is_target: boolean, (B, T).
        generator: where the chance comes from.

    Returns:
        Orders, (B, T).

    Raises:
        ValueError: `is_target` is no boolean (B, T).
    """
    check_flags("order_with_targets_last", "is_target", is_target)
    check_generator("order_with_targets_last", generator)
    return (uniform(is_target, generator) + is_target).argsort(1)  # (B, T): targets draw from [1, 2)


def choose_prediction_spans(
    is_eligible: Tensor,
    n_targets: Tensor,
    *,
    generator: torch.Generator,
    longest: int = 5,
    context: int = 6,
) -> Tensor:
    """Choose runs of 1 to 5 tokens, each in a context of its own, until n of a row are chosen.

    From left to right: draw a length ℓ with P(ℓ) ∝ 1/ℓ, lay out 6 ℓ tokens of context, and put the run at a
    random place among them. Where this gives fewer than n, single tokens at random places are added
    (authors' code).

    Args:
        is_eligible: boolean, (B, T), True where a token may be asked for; a run skips the others.
        n_targets: integers, (B,); where fewer are eligible, all of them are chosen.
        generator: where the chance comes from.
        longest: the longest run, at least 1.
        context: tokens of context for each token of a run, at least 1.

    Returns:
        is_target, boolean, (B, T).

    Raises:
        ValueError: shapes, dtypes or numbers that do not fit.

    Differs from the authors' code: lengths are counted in tokens, theirs in words; a run may end with the text.
    """
    who = "choose_prediction_spans"
    check_choice(who, is_eligible, n_targets, generator)
    check_whole(who, "longest", longest, least=1)
    check_whole(who, "context", context, least=1)
    n_rows, n_tokens = is_eligible.shape
    runs = -(-n_tokens // (context + 1))  # R: as many as there can be
    chances = [1 / length for length in range(1, longest + 1)]
    lengths = numbers_with(chances, n_rows * runs, generator, is_eligible.device).view(n_rows, runs)  # (B, R)
    room = lengths * (1 + context)  # (B, R): a run and its context, which follow one another
    shift = (uniform(lengths, generator) * (lengths * context)).long()
    begin = room.cumsum(1) - room + shift  # (B, R)
    edges = torch.zeros(n_rows, n_tokens + 1, dtype=torch.long, device=is_eligible.device)
    edges.scatter_add_(1, begin.clamp(max=n_tokens), torch.ones_like(begin))
    edges.scatter_add_(1, (begin + lengths).clamp(max=n_tokens), -torch.ones_like(begin))
    is_target = is_eligible & (edges.cumsum(1)[:, :n_tokens] > 0)  # (B, T)
    is_target &= is_target.cumsum(1) <= n_targets[:, None]
    missing = n_targets - is_target.sum(1)  # (B,)
    return is_target | choose_tokens(is_eligible & ~is_target, missing, generator=generator)


def one_hot_targets(target_positions: Tensor, weights: Tensor, length: int) -> Tensor:
    """Write target positions as rows of 0 and 1 (`target_mapping` in the authors' code and in Hugging Face).

    A product with it picks the targets out of a sequence: (B, P, T) @ (B, T, D) → (B, P, D). `gather` by
    position does the same for less.

    Args:
        target_positions: integers, (B, P), each between 0 and T − 1.
        weights: (B, P), 0 at what only fills the row up.
        length: T.

    Returns:
        (B, P, T), of the weights' dtype: 1 at a target's place; a row of zeros where the weight is 0.

    Raises:
        ValueError: shapes or dtypes that do not fit, or a position outside.
    """
    who = "one_hot_targets"
    check_whole(who, "length", length, least=1)
    tensors = isinstance(target_positions, Tensor) and isinstance(weights, Tensor)
    if not tensors or target_positions.dim() != 2 or target_positions.shape != weights.shape:
        raise ValueError(
            f"{who}: target_positions and weights must both be (B, P), "
            f"got {described(target_positions)} and {described(weights)}"
        )
    check_integers(f"{who}: target_positions", target_positions)
    outside = target_positions[(target_positions < 0) | (target_positions >= length)]
    if len(outside):
        raise ValueError(f"{who}: positions must lie between 0 and {length - 1}, got {outside[0].item()}")
    is_place = target_positions[:, :, None] == torch.arange(length, device=target_positions.device)
    return (is_place & (weights != 0)[:, :, None]).to(weights.dtype)  # (B, P, T)
