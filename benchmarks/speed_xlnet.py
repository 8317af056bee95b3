"""Measure a training step of XLNet in two streams, forward and backward, beside Hugging Face's.

Both have the same weights, and get the same tokens, order, targets and segments; before anything is timed, their losses
must agree. A sixth of the tokens is predicted, as in pre-training (and once all of them), and dropout is 0. Theirs
knows one attention, "eager". Turns are interleaved, so that a busy moment of the machine hits both, and medians are
compared. Alone: `python benchmarks/speed_xlnet.py`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F

from course_lib.hugging_face import from_hugging_face
from course_lib.objectives import masked_word_loss, one_hot_targets, permutation_batch
from course_lib.torchvision_ops import define_missing_torchvision_ops
from course_lib.xlnet import XLNetLM

VOCABULARY, PAD = 1000, 0
TOKENS = 2048  # of a step
# D, H, layers, T, the share of tokens that is predicted, precision. What both must multiply alike, the maps, grows with
# D²: the wider the model and the shorter the text, the less there is to gain.
CASES = (
    (128, 4, 2, 256, 1 / 6, "fp32"),
    (256, 8, 4, 256, 1 / 6, "fp32"),
    (256, 8, 4, 512, 1 / 6, "fp32"),
    (256, 8, 4, 1024, 1 / 6, "fp32"),
    (256, 8, 4, 512, 1.0, "fp32"),
    (512, 8, 4, 256, 1 / 6, "fp32"),
    (512, 8, 4, 512, 1 / 6, "fp32"),
    (768, 12, 2, 512, 1 / 6, "fp32"),
    (256, 8, 4, 256, 1 / 6, "bf16"),
    (256, 8, 4, 512, 1 / 6, "bf16"),
    (256, 8, 4, 1024, 1 / 6, "bf16"),
)
WARM_UP, REPEATS = 1, 5

Row = tuple[str, str, str]


def steps(
    d_model: int, n_heads: int, n_layers: int, n_tokens: int, share: float
) -> tuple[Callable[[], float], Callable[[], float]]:
    """Return a step of ours and one of theirs; each returns its loss."""
    define_missing_torchvision_ops()
    from transformers import XLNetConfig, XLNetLMHeadModel

    torch.manual_seed(0)
    config = XLNetConfig(
        vocab_size=VOCABULARY,
        d_model=d_model,
        n_head=n_heads,
        n_layer=n_layers,
        d_inner=4 * d_model,
        dropout=0.0,
        attn_implementation="eager",
    )
    theirs: Any = XLNetLMHeadModel(config).train()  # it then keeps no memory
    ours = cast(XLNetLM, from_hugging_face(theirs))
    n_batch = TOKENS // n_tokens
    tokens = torch.randint(1, VOCABULARY, (n_batch, n_tokens))
    segments = (torch.arange(n_tokens) > n_tokens // 2).long().expand(n_batch, -1)
    asked = permutation_batch(
        tokens, pad_id=PAD, special_ids=(), generator=torch.Generator().manual_seed(0), share=share
    )
    is_target = F.one_hot(asked.target_positions, n_tokens).sum(1).bool()  # (B, T)
    visible = asked.content_mask[:, 0] & ~(torch.eye(n_tokens, dtype=torch.bool) & is_target[:, None])
    hidden = (~visible).float()  # (B, T, T): their polarity, and one mask for both streams
    mapping = one_hot_targets(asked.target_positions, asked.weights, n_tokens)  # (B, N, T)

    def step_of_ours() -> float:
        ours.zero_grad()
        logits, _ = ours(
            tokens,
            mask=asked.content_mask,
            query_mask=asked.query_mask,
            targets=asked.target_positions,
            segments=segments,
        )
        loss = masked_word_loss(logits, asked.labels)
        loss.backward()
        return loss.item()

    def step_of_theirs() -> float:
        theirs.zero_grad()
        loss = theirs(
            tokens,
            perm_mask=hidden,
            target_mapping=mapping,
            token_type_ids=segments,
            labels=asked.labels,
        ).loss
        loss.backward()
        return loss.item()

    return step_of_ours, step_of_theirs


def medians(ours: Callable[[], float], theirs: Callable[[], float], precision: str) -> tuple[float, float]:
    """Return the median seconds of both, measured in turns.

    Raises:
        RuntimeError: their losses differ, so their times cannot be compared.
    """
    times: list[list[float]] = [[], []]
    for turn in range(WARM_UP + REPEATS):
        losses = []
        for taken, step in zip(times, (ours, theirs)):
            start = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                losses.append(step())
            if turn >= WARM_UP:
                taken.append(time.perf_counter() - start)
        if abs(losses[0] - losses[1]) > (1e-2 if precision == "bf16" else 1e-4):
            raise RuntimeError(f"losses differ, {losses[0]} and {losses[1]}: the times cannot be compared")
    return statistics.median(times[0]), statistics.median(times[1])


def measure() -> list[Row]:
    """Return all rows: what, value, target."""
    rows = []
    for d_model, n_heads, n_layers, n_tokens, share, precision in CASES:
        ours, theirs = medians(*steps(d_model, n_heads, n_layers, n_tokens, share), precision)
        targets = "all tokens" if share == 1.0 else "a sixth"
        rows.append(
            (
                f"XLNet step, d = {d_model}, {n_layers} layers, {precision}, T = {n_tokens}, {targets} predicted",
                f"{theirs / ours:.2f} × as fast as HF ({1000 * ours:.0f} ms against {1000 * theirs:.0f})",
                "≥ 2 ×",
            )
        )
    return rows


if __name__ == "__main__":
    for row in measure():
        print(*row, sep=" | ", flush=True)
