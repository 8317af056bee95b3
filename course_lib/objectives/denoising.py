"""Denoising: an encoder reads a text with holes, a decoder writes what was there (lesson 14).

A text is a list of ids here, for holes change its length. All chance comes from a generator.

Papers: Raffel et al. 2020, T5, section 3.1.4 and figure 2; Lewis et al. 2020, BART, section 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from course_lib.objectives._chance import below
from course_lib.objectives._given import (
    check_generator,
    check_integers,
    check_mean_length,
    check_share,
    check_whole,
    described,
)


def corrupt_spans(
    tokens: Sequence[int] | Tensor,
    *,
    sentinel_ids: Sequence[int],
    generator: torch.Generator,
    share: float = 0.15,
    mean_length: float = 3.0,
) -> tuple[list[int], list[int]]:
    """Replace spans of a text by sentinels, and ask for what stood there (T5, figure 2).

    "thank you for inviting me to your party" → inputs "thank you ⟨0⟩ me to ⟨1⟩ party", target
    "⟨0⟩ for inviting ⟨1⟩ your ⟨2⟩": each sentinel, then its span; a last sentinel ends it.

    Args:
        tokens: ids, at least two of them, none of them a sentinel.
        sentinel_ids: the ids of ⟨0⟩, ⟨1⟩, …, all different: one more than there are spans.
        generator: where the chance comes from.
        share: of n tokens, round(share · n) are removed, at least 1 and at most n − 1.
        mean_length: of a span, at least 1: so many tokens are removed in round(removed / mean) spans, at
            least one.

    Returns:
        inputs and target. Every way to cut so many tokens into so many spans, and to place these with a token
        at least between two, is as likely as any other.

    Raises:
        ValueError: fewer than two tokens, a sentinel among them, too few sentinels or one twice, a share
            outside (0, 1], a mean below 1.

    Differs from the authors' code: theirs always begins a text with a kept token and ends it with a removed
    one, so that a text short enough for one span would always lose its end.
    """
    who = "corrupt_spans"
    text = _text(who, tokens, least=2)
    check_generator(who, generator)
    check_share(who, "share", share)
    check_mean_length(who, mean_length)
    removed = min(max(round(share * len(text)), 1), len(text) - 1)
    kept = len(text) - removed
    n_spans = min(max(round(removed / mean_length), 1), removed, kept + 1)
    sentinels = _sentinels(who, sentinel_ids)
    if len(sentinels) < n_spans + 1:
        raise ValueError(
            f"{who}: {n_spans} spans need {n_spans + 1} sentinels, got {len(sentinels)} sentinel_ids"
        )
    _check_absent(who, "sentinel", sentinels, text)

    lengths = _parts(removed, n_spans, generator)
    before = _some_of(kept + 1, n_spans, generator)  # how many kept tokens stand before each span
    inputs: list[int] = []
    target: list[int] = []
    at, n_kept = 0, 0
    for sentinel, length, stand_before in zip(sentinels, lengths, before, strict=False):
        begin = at + stand_before - n_kept
        inputs += [*text[at:begin], sentinel]
        target += [sentinel, *text[begin : begin + length]]
        at, n_kept = begin + length, stand_before
    return inputs + text[at:], target + [sentinels[n_spans]]


def restore_spans(
    inputs: Sequence[int] | Tensor, target: Sequence[int] | Tensor, *, sentinel_ids: Sequence[int]
) -> list[int]:
    """Put the spans of a target back into their places: the inverse of `corrupt_spans`.

    The target may be what a model wrote: a sentinel it left out brings nothing, what it writes before the
    first sentinel belongs nowhere, and of a sentinel it wrote twice the first counts.

    Args:
        inputs, target: ids, as `corrupt_spans` returns them.
        sentinel_ids: the same as there.

    Returns:
        The text.

    Raises:
        ValueError: what is no list of ids, or a sentinel twice.
    """
    sentinels = set(_sentinels("restore_spans", sentinel_ids))
    spans: dict[int, list[int]] = {}
    span: list[int] = []
    for one in _text("restore_spans", target, least=0):
        if one in sentinels:
            span = []
            spans.setdefault(one, span)
        else:
            span.append(one)
    text = []
    for one in _text("restore_spans", inputs, least=0):
        text += spans.get(one, []) if one in sentinels else [one]
    return text


def infill(
    tokens: Sequence[int] | Tensor,
    *,
    mask_id: int,
    generator: torch.Generator,
    share: float = 0.3,
    mean_length: float = 3.0,
) -> tuple[list[int], list[list[int]]]:
    """Replace spans of a text by one [MASK] each, whatever their length (BART, section 2.2, text infilling).

    Lengths come from a Poisson distribution with λ = 3. A span of length 0 is a [MASK] that stands for
    nothing. So the model must also find out how much is missing; it is to write the whole text.

    Args:
        tokens: ids, at least one, none of them `mask_id`. The target of the decoder.
        mask_id: the id of [MASK].
        generator: where the chance comes from.
        share: of n tokens, max(1, round(share · n)) are removed; the last length drawn is cut to fit.
        mean_length: λ, at least 1.

    Returns:
        inputs, what the encoder reads; and what each [MASK] stands for, in their order. Every place between
        kept tokens is as likely for a span as any other, and two spans may meet.

    Raises:
        ValueError: no token, `mask_id` among them, a share outside (0, 1], a mean below 1.
    """
    who = "infill"
    text = _text(who, tokens, least=1)
    check_whole(who, "mask_id", mask_id)
    _check_absent(who, "mask_id", [mask_id], text)
    check_generator(who, generator)
    check_share(who, "share", share)
    check_mean_length(who, mean_length)
    left = max(1, round(share * len(text)))
    kept = len(text) - left
    rate = torch.tensor(float(mean_length), device=generator.device)
    lengths: list[int] = []
    while left > 0:
        lengths.append(min(int(torch.poisson(rate, generator=generator)), left))
        left -= lengths[-1]
    # The last length was cut: in random order it does not always stand at the end.
    lengths = [lengths[i] for i in _shuffled(len(lengths), generator)]
    before = sorted(
        below(kept + 1, generator) for _ in lengths
    )  # how many kept tokens stand before each span
    inputs: list[int] = []
    removed: list[list[int]] = []
    at, n_kept = 0, 0
    for length, stand_before in zip(lengths, before, strict=True):
        begin = at + stand_before - n_kept
        inputs += [*text[at:begin], mask_id]
        removed.append(text[begin : begin + length])
        at, n_kept = begin + length, stand_before
    return inputs + text[at:], removed


def restore_infilling(
    inputs: Sequence[int] | Tensor, removed: Sequence[Sequence[int]], *, mask_id: int
) -> list[int]:
    """Put back what each [MASK] stands for: the inverse of `infill`.

    Args:
        inputs: ids with a [MASK] for each span.
        removed: the spans, in their order.
        mask_id: the id of [MASK].

    Returns:
        The text.

    Raises:
        ValueError: what is no list of ids, or another number of [MASK] than of spans.
    """
    who = "restore_infilling"
    check_whole(who, "mask_id", mask_id)
    ids = _text(who, inputs, least=0)
    if not isinstance(removed, Sequence) or ids.count(mask_id) != len(removed):
        got = f"{len(removed)} spans" if isinstance(removed, Sequence) else type(removed).__name__
        raise ValueError(f"{who}: the inputs hold mask_id {ids.count(mask_id)} times, got {got}")
    spans = iter(removed)
    text = []
    for one in ids:
        text += _text(who, next(spans), least=0) if one == mask_id else [one]
    return text


# --- chance --------------------------------------------------------------------------------------------------


def _shuffled(n: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(n, generator=generator, device=generator.device).tolist()


def _some_of(n: int, k: int, generator: torch.Generator) -> list[int]:
    """Choose k of the numbers 0 … n − 1, in rising order."""
    return sorted(_shuffled(n, generator)[:k])


def _parts(n: int, k: int, generator: torch.Generator) -> list[int]:
    """Cut n into k parts of at least 1, every way as likely as any other."""
    cuts = [0, *(1 + cut for cut in _some_of(n - 1, k - 1, generator)), n]
    return [end - begin for begin, end in pairwise(cuts)]


# --- what may be given ---------------------------------------------------------------------------------------


def _text(who: str, tokens: Sequence[int] | Tensor, *, least: int) -> list[int]:
    if isinstance(tokens, Tensor) and tokens.dim() == 1:
        check_integers(f"{who}: tokens", tokens)
        tokens = tokens.tolist()
    if not isinstance(tokens, Sequence) or isinstance(tokens, str) or len(tokens) < least:
        got = f"{len(tokens)}" if isinstance(tokens, list | tuple) else described(tokens)
        raise ValueError(f"{who}: tokens must be a list of at least {least} ids, got {got}")
    for one in tokens:
        check_whole(who, "each token", one)
    return list(tokens)


def _sentinels(who: str, sentinel_ids: Sequence[int]) -> list[int]:
    if not isinstance(sentinel_ids, Sequence) or isinstance(sentinel_ids, str):
        raise ValueError(f"{who}: sentinel_ids must be a list of ids, got {described(sentinel_ids)}")
    for one in sentinel_ids:
        check_whole(who, "each of sentinel_ids", one)
    if len(set(sentinel_ids)) < len(sentinel_ids):
        raise ValueError(f"{who}: sentinel_ids must be all different, got {list(sentinel_ids)}")
    return list(sentinel_ids)


def _check_absent(who: str, name: str, ids: list[int], text: list[int]) -> None:
    for one in ids:
        if one in text:
            raise ValueError(f"{who}: the tokens already hold the {name} {one}, at place {text.index(one)}")
