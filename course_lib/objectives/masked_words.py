"""Masked words: BERT's cloze (lesson 10). Some tokens are chosen, spoilt, and asked for.

B batch · T tokens · V vocabulary · W words
The papers say "masked"; here a mask is for attention, so chosen places are called `is_target`.
True = is to be predicted. All chance comes from a generator.

Papers: Devlin et al. 2019, BERT, section 3.1 and appendix A.1; Liu et al. 2019, RoBERTa, section 4.1
(dynamic); Joshi et al. 2020, SpanBERT, section 3.1 (spans).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.objectives._chance import numbers_with, uniform
from course_lib.objectives._given import (
    check_choice,
    check_flags,
    check_generator,
    check_integers,
    check_share,
    check_tokens,
    check_whole,
    described,
    real_tokens,
    without,
)
from course_lib.objectives.next_token import IGNORED, language_model_loss

Unit = Literal["token", "word", "span"]


def corrupt_words(
    tokens: Tensor,
    *,
    mask_id: int,
    pad_id: int | None,
    special_ids: Iterable[int],
    vocab_size: int,
    generator: torch.Generator,
    share: float = 0.15,
    unit: Unit = "token",
    continues_word: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Choose 15 % of the tokens, spoil most of them, and ask for the originals (BERT, section 3.1).

    Called for every batch it gives new targets each time (RoBERTa's dynamic form); for targets that stay,
    see `static_copies`.

    Args:
        tokens: integer ids, (B, T), with [CLS] and [SEP] in their places; unchanged by this.
        mask_id: the id of [MASK].
        pad_id: the id that fills short rows up; None where there is none.
        special_ids: what must never be asked for, such as [CLS] and [SEP]. (Nor are padding and [MASK].)
        vocab_size: V. A random word may be any of it.
        generator: where the chance comes from.
        share: how many of the tokens are chosen; `target_count` says exactly.
        unit: "token": each for itself; "word": whole words, all their pieces or none; "span": runs of whole
            words, each run spoilt alike (SpanBERT).
        continues_word: boolean, (B, T), True at a piece that continues a word (WordPiece's "##"); None =
            every token is a word. "token" does not look at it.

    Returns:
        inputs, (B, T): what the model reads; labels, (B, T): the original at each target, −100 elsewhere.
        A row has fewer targets than its share, or none, where nothing else can be asked for.

    Raises:
        ValueError: tokens that are not (B, T) ids of the vocabulary, ids outside it, a share outside (0, 1],
            an unknown unit, `continues_word` that does not fit.
    """
    who = "corrupt_words"
    check_whole(who, "vocab_size", vocab_size, least=1)
    check_tokens(who, tokens, vocab_size)
    check_whole(who, "mask_id", mask_id, most=vocab_size - 1)
    is_real = real_tokens(who, tokens, pad_id)
    is_eligible = without(who, tokens, special_ids) & is_real & (tokens != mask_id)
    n_targets = target_count(is_real.sum(1), share)  # (B,)
    if unit == "token":
        is_target = choose_tokens(is_eligible, n_targets, generator=generator)
    elif unit == "word":
        is_target = choose_words(is_eligible, n_targets, continues_word, generator=generator)
    elif unit == "span":
        is_target = choose_spans(is_eligible, n_targets, continues_word, generator=generator)
    else:
        raise ValueError(f"{who}: unit must be 'token', 'word' or 'span', got {unit!r}")
    return spoil(
        tokens,
        is_target,
        mask_id=mask_id,
        vocab_size=vocab_size,
        generator=generator,
        runs_alike=unit == "span",
    )


def static_copies(
    tokens: Tensor, corrupt: Callable[[Tensor], tuple[Tensor, Tensor]], *, copies: int = 10
) -> tuple[Tensor, Tensor]:
    """Corrupt a whole set of sequences once, in a few ways, to be read again and again (BERT's static form).

    BERT made ten copies, and forty epochs read each four times (RoBERTa, section 4.1). Epoch e reads
    `inputs[e % copies], labels[e % copies]`.

    Args:
        tokens: integer ids, (N, T), of all sequences.
        corrupt: such as `corrupt_words` with its settings filled in: tokens → inputs, labels.
        copies: in how many ways; 1 = the same targets in every epoch.

    Returns:
        inputs and labels, both (copies, N, T).

    Raises:
        ValueError: tokens that are no (N, T) of ids, or copies below 1.
    """
    check_tokens("static_copies", tokens)
    check_whole("static_copies", "copies", copies, least=1)
    pairs = [corrupt(tokens) for _ in range(copies)]
    return torch.stack([inputs for inputs, _ in pairs]), torch.stack([labels for _, labels in pairs])


def target_count(lengths: Tensor, share: float = 0.15) -> Tensor:
    """Say how many tokens of each sequence are asked for: n = max(1, round(share · length)).

    Args:
        lengths: integers, (B,): tokens without padding, but with [CLS] and [SEP], as in BERT's code.
        share: in (0, 1].

    Returns:
        n, (B,). A half is rounded to the even neighbour, as by Python's `round`.

    Raises:
        ValueError: lengths that are not (B,) of whole numbers ≥ 0, or a share outside (0, 1].
    """
    check_share("target_count", "share", share)
    if not isinstance(lengths, Tensor) or lengths.dim() != 1:
        raise ValueError(f"target_count: lengths must be (B,), got {described(lengths)}")
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool:
        raise ValueError(f"target_count: lengths must be integers, got dtype {lengths.dtype}")
    if (lengths < 0).any():
        raise ValueError(f"target_count: lengths must be at least 0, got {lengths.min().item()}")
    return (lengths.double() * share).round().long().clamp(min=1)  # (B,)


# --- who is asked for ----------------------------------------------------------------------------------------


def choose_tokens(is_eligible: Tensor, n_targets: Tensor, *, generator: torch.Generator) -> Tensor:
    """Choose tokens, each for itself: exactly n of a row, every set of n as likely as any other.

    Args:
        is_eligible: boolean, (B, T), True where a token may be asked for.
        n_targets: integers, (B,); where fewer are eligible, all of them are chosen.
        generator: where the chance comes from.

    Returns:
        is_target, boolean, (B, T).

    Raises:
        ValueError: shapes, dtypes or numbers that do not fit.
    """
    check_choice("choose_tokens", is_eligible, n_targets, generator)
    # A random number for each token; the n smallest of a row are chosen, the ineligible stand behind all.
    chance = uniform(is_eligible, generator).masked_fill(~is_eligible, 1.0)  # (B, T)
    place_in_line = chance.argsort(1).argsort(1)  # (B, T)
    return (place_in_line < n_targets[:, None]) & is_eligible


def choose_words(
    is_eligible: Tensor,
    n_targets: Tensor,
    continues_word: Tensor | None,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Choose whole words in random order, while they fit: all pieces of a word, or none.

    A word with more pieces than are left to choose is passed over, as in BERT's code: a row may end with
    fewer than n targets, and never has more.

    Args:
        is_eligible: boolean, (B, T). A word with an ineligible piece is ineligible.
        n_targets: integers, (B,), counted in pieces.
        continues_word: boolean, (B, T), True at a piece that continues a word; None = nowhere.
        generator: where the chance comes from.

    Returns:
        is_target, boolean, (B, T).

    Raises:
        ValueError: shapes, dtypes or numbers that do not fit.
    """
    check_choice("choose_words", is_eligible, n_targets, generator)
    word = _word_numbers("choose_words", is_eligible, continues_word)  # (B, T)
    size = torch.zeros_like(word).scatter_add(1, word, torch.ones_like(word))  # (B, W = T): pieces of a word
    barred = torch.zeros_like(word).scatter_add(1, word, (~is_eligible).long())  # (B, W)
    size = size.masked_fill(barred > 0, 0)
    order = uniform(is_eligible, generator).argsort(1)  # (B, W): the line in which words are tried
    size_in_line = size.gather(1, order)
    is_chosen = torch.zeros_like(size, dtype=torch.bool)  # (B, W), in that line
    left = n_targets
    for turn in range(order.size(1)):
        fits = (size_in_line[:, turn] > 0) & (size_in_line[:, turn] <= left)  # (B,)
        is_chosen[:, turn] = fits
        left = left - size_in_line[:, turn] * fits
        if not left.any():
            break
    is_chosen = torch.zeros_like(is_chosen).scatter(1, order, is_chosen)  # (B, W), in the order of the text
    return is_chosen.gather(1, word)  # (B, T)


def choose_spans(
    is_eligible: Tensor,
    n_targets: Tensor,
    continues_word: Tensor | None = None,
    *,
    generator: torch.Generator,
    p: float = 0.2,
    longest: int = 10,
) -> Tensor:
    """Choose runs of whole words until n tokens of a row are chosen (SpanBERT, section 3.1).

    A run begins at the word of a random token that is not chosen yet; `span_lengths` says how many words it
    has. It ends before a token that may not be asked for, and the last one where the n are reached, be it
    within a word (as in the authors' code).

    Args:
        is_eligible: boolean, (B, T), True where a token may be asked for.
        n_targets: integers, (B,), counted in tokens; where fewer are eligible, all of them are chosen.
        continues_word: boolean, (B, T), True at a piece that continues a word; None = nowhere.
        generator: where the chance comes from.
        p, longest: as in `span_lengths`.

    Returns:
        is_target, boolean, (B, T).

    Raises:
        ValueError: shapes, dtypes or numbers that do not fit.
    """
    check_choice("choose_spans", is_eligible, n_targets, generator)
    word = _word_numbers("choose_spans", is_eligible, continues_word)  # (B, T)
    stretch = (~is_eligible).cumsum(1)  # (B, T): one number between two tokens that may not be asked for
    is_target = torch.zeros_like(is_eligible)
    left = torch.minimum(n_targets, is_eligible.sum(1))  # (B,)
    while left.any():
        is_free = is_eligible & ~is_target
        begin = uniform(is_free, generator).masked_fill(~is_free, -1.0).argmax(1, keepdim=True)  # (B, 1)
        words = span_lengths(len(left), generator=generator, p=p, longest=longest).to(word.device)[:, None]
        first_word = word.gather(1, begin)  # (B, 1)
        span = is_free & (word >= first_word) & (word < first_word + words)
        span &= stretch == stretch.gather(1, begin)
        span &= span.cumsum(1) <= left[:, None]  # (B, T): what is too much falls off the end
        is_target |= span
        left = left - span.sum(1)
    return is_target


def span_lengths(n: int, *, generator: torch.Generator, p: float = 0.2, longest: int = 10) -> Tensor:
    """Draw lengths of spans, in words: P(ℓ) ∝ p (1 − p)^(ℓ − 1) for ℓ = 1 … longest.

    With SpanBERT's p = 0.2 and 10 words at most, the mean is 3.797 (section 3.1).

    Args:
        n: how many, at least 1.
        generator: where the chance comes from.
        p: the chance that a span ends after each of its words, in (0, 1].
        longest: in words, at least 1.

    Returns:
        Integers, (n,), on the generator's device.

    Raises:
        ValueError: a number below 1, or p outside (0, 1].
    """
    check_whole("span_lengths", "n", n, least=1)
    check_share("span_lengths", "p", p)
    check_whole("span_lengths", "longest", longest, least=1)
    check_generator("span_lengths", generator)
    return numbers_with([p * (1 - p) ** (length - 1) for length in range(1, longest + 1)], n, generator)


# --- what becomes of them ------------------------------------------------------------------------------------


def spoil(
    tokens: Tensor,
    is_target: Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator,
    runs_alike: bool = False,
) -> tuple[Tensor, Tensor]:
    """Spoil the chosen tokens: 80 % become [MASK], 10 % a random word, 10 % stay (BERT, appendix A.1).

    One uniform number u decides for each target: u < 0.8 [MASK]; 0.8 ≤ u < 0.9 a random word; else it stays.
    All three are asked for.

    Args:
        tokens: integer ids, (B, T); unchanged by this.
        is_target: boolean, (B, T).
        mask_id: the id of [MASK].
        vocab_size: V. A random word may be any of it, the original too.
        generator: where the chance comes from.
        runs_alike: one number for a whole run of neighbouring targets, as in SpanBERT: all of it becomes
            [MASK], or all of it random words, or all of it stays.

    Returns:
        inputs, (B, T), of the tokens' dtype; labels, (B, T), int64: the original at each target, −100
        elsewhere.

    Raises:
        ValueError: shapes, dtypes or ids that do not fit.
    """
    check_whole("spoil", "vocab_size", vocab_size, least=1)
    check_tokens("spoil", tokens, vocab_size)
    check_flags("spoil", "is_target", is_target, tokens.shape)
    check_whole("spoil", "mask_id", mask_id, most=vocab_size - 1)
    check_generator("spoil", generator)
    if vocab_size - 1 > torch.iinfo(tokens.dtype).max:
        raise ValueError(f"spoil: tokens of dtype {tokens.dtype} cannot hold ids up to {vocab_size - 1}")
    u = uniform(tokens, generator)  # (B, T)
    if runs_alike:
        begins = is_target & ~F.pad(is_target, (1, -1))  # True at the first token of each run
        run = begins.cumsum(1)  # (B, T): 0 before the first run, so at most T
        u = u.gather(1, (run - 1).clamp(min=0))
    random_words = torch.randint(vocab_size, tokens.shape, generator=generator, device=generator.device)
    random_words = random_words.to(tokens)  # (B, T)
    inputs = tokens.masked_fill(is_target & (u < 0.8), mask_id)
    inputs = torch.where(is_target & (u >= 0.8) & (u < 0.9), random_words, inputs)
    labels = tokens.long().masked_fill(~is_target, IGNORED)
    return inputs, labels


def masked_word_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of the originals at the targets: the mean of −log p(label) over them.

    Args:
        logits: (B, T, V); or (N, V), those of the N targets alone in reading order, which spares computing
            the others: `head(x[labels != IGNORED])`.
        labels: integer ids, (B, T); −100 = not a target.

    Returns:
        One number, in nats per target.

    Raises:
        ValueError: shapes or dtypes that do not fit, a label outside the vocabulary, or no target at all.
    """
    if isinstance(logits, Tensor) and isinstance(labels, Tensor) and logits.dim() == 2:
        check_integers("masked_word_loss: labels", labels)
        labels = labels[labels != IGNORED]  # (N,)
        if len(labels) != len(logits):
            raise ValueError(
                f"masked_word_loss: logits of shape {described(logits)} need {len(logits)} targets, "
                f"and the labels hold {len(labels)}"
            )
        logits, labels = logits[None], labels[None]  # (1, N, V), (1, N)
    return language_model_loss(logits, labels)


# --- what may be given ---------------------------------------------------------------------------------------


def _word_numbers(who: str, is_eligible: Tensor, continues_word: Tensor | None) -> Tensor:
    """Number the words of each row from 0: (B, T). A first token always begins one."""
    if continues_word is None:
        return torch.arange(is_eligible.size(1), device=is_eligible.device).expand(is_eligible.shape)
    check_flags(who, "continues_word", continues_word, is_eligible.shape)
    return (~continues_word).cumsum(1) - (~continues_word[:, :1]).long()
