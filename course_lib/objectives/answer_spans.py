"""Answer spans: where in a text the answer begins and ends (lesson 11).

B batch · T tokens · L longest answer
Start and end are places of tokens; the end is the *last* token of the answer, not the one behind it.

Paper: Devlin et al. 2019, BERT, section 4.2 (SQuAD).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.objectives._given import check_flags, check_integers, check_whole, described
from course_lib.objectives.next_token import IGNORED


class AnswerSpan(NamedTuple):
    """The best answer of each row: its first and last token and its score, each (B,)."""

    start: Tensor
    end: Tensor
    score: Tensor


def span_loss(start_logits: Tensor, end_logits: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return the mean of two cross-entropies over places: (−log p_start(start) − log p_end(end)) / 2.

    Places are read as in BERT's code: one behind the text (the answer was cut off) is ignored, one below 0
    counts as place 0, where [CLS] stands. Each half is a mean over the rows that count for it.

    Args:
        start_logits, end_logits: (B, T), floating point: one number for each place.
        start, end: integers, (B,): first and last token of the answer; −100 = ignored.

    Returns:
        One number, in nats.

    Raises:
        ValueError: shapes or dtypes that do not fit, or no start or no end that counts.
    """
    _check_logits("span_loss", start_logits, end_logits)
    n_rows, n_tokens = start_logits.shape
    halves = []
    for name, logits, place in (("start", start_logits, start), ("end", end_logits, end)):
        if not isinstance(place, Tensor) or place.shape != (n_rows,):
            raise ValueError(f"span_loss: {name} must be ({n_rows},), got {described(place)}")
        check_integers(f"span_loss: {name}", place)
        place = place.long()
        is_ignored = (place == IGNORED) | (place >= n_tokens)
        if is_ignored.all():
            raise ValueError(
                f"span_loss: every {name} is ignored or lies behind the {n_tokens} tokens: {place.tolist()}"
            )
        label = place.clamp(min=0).masked_fill(is_ignored, IGNORED)
        halves.append(F.cross_entropy(logits, label, ignore_index=IGNORED))
    return (halves[0] + halves[1]) / 2


def best_span(
    start_logits: Tensor, end_logits: Tensor, is_context: Tensor, *, max_len: int = 30
) -> AnswerSpan:
    """Return the span with the highest start + end among all that may be (BERT, section 4.2).

    The best start and the best end, each for itself, may stand in the wrong order, too far apart, or in the
    question. Here both are sought together: start ≤ end ≤ start + max_len − 1, all of it context.

    Args:
        start_logits, end_logits: (B, T), floating point.
        is_context: boolean, (B, T), True where an answer may stand: not the question, [CLS], [SEP], padding.
        max_len: L, the most tokens an answer may have.

    Returns:
        `AnswerSpan`: start, end (integers) and score = start_logit + end_logit, each (B,). Among equals, the
        first start, then the shortest.

    Raises:
        ValueError: shapes or dtypes that do not fit, a row without context, a logit in the context that is
            no finite number.
    """
    _check_logits("best_span", start_logits, end_logits)
    check_flags("best_span", "is_context", is_context, start_logits.shape)
    check_whole("best_span", "max_len", max_len, least=1)
    if not is_context.any(1).all():
        row = int((~is_context.any(1)).nonzero()[0])
        raise ValueError(f"best_span: row {row} of is_context holds no context")
    for name, logits in (("start_logits", start_logits), ("end_logits", end_logits)):
        inside = logits[is_context]
        if not inside.isfinite().all():
            raise ValueError(
                f"best_span: {name} must be finite in the context, got {inside[~inside.isfinite()][0].item()}"
            )
    width = min(max_len, start_logits.size(1))  # L
    starts = start_logits.masked_fill(~is_context, -math.inf)  # (B, T)
    ends = end_logits.masked_fill(~is_context, -math.inf)
    # Row i of a window holds what stands at the places i … i + L − 1: the ends that go with start i.
    end_of = F.pad(ends, (0, width - 1), value=-math.inf).unfold(1, width, 1)  # (B, T, L)
    scores = starts[:, :, None] + end_of
    # Two places of the context have something else between them where this count differs.
    gaps = (~is_context).long().cumsum(1)  # (B, T)
    gap_of = F.pad(gaps, (0, width - 1)).unfold(1, width, 1)  # (B, T, L)
    scores = scores.masked_fill(gaps[:, :, None] != gap_of, -math.inf)
    score, number = scores.flatten(1).max(1)  # (B,)
    start = torch.div(number, width, rounding_mode="floor")
    return AnswerSpan(start, start + number % width, score)


def answer_in_window(
    start: int, end: int, *, window_start: int, window_len: int, offset: int
) -> tuple[int, int]:
    """Say where an answer stands in an input that holds only a window of the text.

    A long text is read in windows. A window that does not hold the whole answer is labelled with place 0,
    [CLS]: "not here" (BERT's code).

    Args:
        start, end: first and last token of the answer, counted in the text.
        window_start: the first token of the text that the window holds.
        window_len: how many tokens of the text it holds, at least 1.
        offset: where the window begins in the input, behind [CLS] question [SEP].

    Returns:
        First and last token of the answer, counted in the input; (0, 0) where the window lacks any of it.

    Raises:
        ValueError: a number that is none or below 0, or an end before its start.
    """
    who = "answer_in_window"
    for name, number in (("start", start), ("window_start", window_start), ("offset", offset)):
        check_whole(who, name, number)
    check_whole(who, "end", end, least=start)
    check_whole(who, "window_len", window_len, least=1)
    if start < window_start or end >= window_start + window_len:
        return 0, 0
    return start - window_start + offset, end - window_start + offset


def _check_logits(who: str, start_logits: Tensor, end_logits: Tensor) -> None:
    tensors = isinstance(start_logits, Tensor) and isinstance(end_logits, Tensor)
    if (
        not tensors
        or start_logits.dim() != 2
        or start_logits.shape != end_logits.shape
        or start_logits.numel() == 0
    ):
        raise ValueError(
            f"{who}: start_logits and end_logits must both be (B, T) with B and T at least 1, "
            f"got {described(start_logits)} and {described(end_logits)}"
        )
    if not start_logits.is_floating_point() or start_logits.dtype != end_logits.dtype:
        raise ValueError(
            f"{who}: start_logits and end_logits must have one floating-point dtype, "
            f"got {start_logits.dtype} and {end_logits.dtype}"
        )
