"""Measure a stack of encoder blocks, forward and backward, beside its peers.

Every peer does the same work on the same batch, with dropout 0, GELU and post-norm. Their turns are interleaved, so
that a busy moment of the machine hits all of them, and medians are compared. "Ragged" means rows of unlike length in
one batch; each peer gets the padding in its own convention.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib.gpt import GPT, GPTConfig
from course_lib.masks import length_mask
from course_lib.objectives import language_model_loss
from course_lib.torchvision_ops import define_missing_torchvision_ops
from course_lib.transformer import Encoder

SIZES = {"d = 128": (128, 4, 512, 2), "d = 256": (256, 8, 1024, 2)}  # D, H, F and layers
LENGTHS = (64, 96, 256, 384, 1024)
TOKENS = 2048  # a step
WARM_UP, REPEATS = 2, 7
MEMORY_LENGTHS = (1024, 2048, 4096)
ALLOWED = {("fp32", length): 1.05 for length in LENGTHS} | {
    ("bf16", 64): 0.55,
    ("bf16", 256): 0.8,
    ("bf16", 1024): 1.05,
}

Run = Callable[[Tensor, Tensor | None], Tensor]


def peers(d_model: int, n_heads: int, d_ff: int, n_layers: int) -> dict[str, tuple[nn.Module, Run]]:
    """Return the encoders of one size, ours first: each a module, and how it is called with (x, lengths)."""
    define_missing_torchvision_ops()
    from d2l import torch as d2l
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertEncoder

    ours = Encoder(n_layers=n_layers, d_model=d_model, n_heads=n_heads, d_ff=d_ff, activation="gelu")
    layer = nn.TransformerEncoderLayer(
        d_model, n_heads, d_ff, dropout=0.0, activation="gelu", batch_first=True
    )
    torchs = nn.TransformerEncoder(layer, n_layers, enable_nested_tensor=False)
    config = BertConfig(
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=d_ff,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="sdpa",
    )
    bert = BertEncoder(config)
    blocks = d2l.TransformerEncoder(1, d_model, d_ff, n_heads, n_layers, 0.0, use_bias=True).blks
    for block in blocks:
        block.ffn.relu = nn.GELU()  # the same activation for all

    def run_ours(x: Tensor, lengths: Tensor | None) -> Tensor:
        return ours(x, None if lengths is None else length_mask(lengths, x.size(1)))

    def run_torch(x: Tensor, lengths: Tensor | None) -> Tensor:
        hidden = None if lengths is None else ~length_mask(lengths, x.size(1))[:, 0, 0]
        return torchs(x, src_key_padding_mask=hidden)

    def run_bert(x: Tensor, lengths: Tensor | None) -> Tensor:
        seen = None if lengths is None else length_mask(lengths, x.size(1)).expand(-1, -1, x.size(1), -1)
        return bert(x, attention_mask=seen).last_hidden_state

    def run_d2l(x: Tensor, lengths: Tensor | None) -> Tensor:
        for block in blocks:
            x = block(x, lengths)
        return x

    return {
        "ours": (ours, run_ours),
        "nn.TransformerEncoder": (torchs, run_torch),
        "HF BERT (sdpa)": (bert, run_bert),
        "d2l": (blocks, run_d2l),
    }


def step_seconds(
    encoders: dict[str, tuple[nn.Module, Run]], x: Tensor, lengths: Tensor | None, precision: str
) -> dict[str, float]:
    """Return the median seconds of one forward and backward pass of each encoder, measured in turns."""
    rows = torch.ones(x.shape[:2]) if lengths is None else length_mask(lengths, x.size(1))[:, 0, 0].float()
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(WARM_UP + REPEATS):
        for name, (module, run) in encoders.items():
            mixed = torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()
            start = time.perf_counter()
            with mixed:
                output = run(x, lengths)
            (output.float().square().mean(-1) * rows).sum().backward()
            if turn >= WARM_UP:
                times[name].append(time.perf_counter() - start)
            module.zero_grad()
    return {name: statistics.median(taken) for name, taken in times.items()}


def encoder_rows() -> list[tuple[str, str, str]]:
    """Compare the encoders at every length, in both precisions, with equal and with ragged rows."""
    rows = []
    for size, (d_model, n_heads, d_ff, n_layers) in SIZES.items():
        encoders = peers(d_model, n_heads, d_ff, n_layers)
        for precision in ("fp32", "bf16"):
            for length in LENGTHS:
                for ragged in (False, True):
                    n_batch = TOKENS // length
                    x = torch.randn(n_batch, length, d_model)
                    lengths = torch.linspace(length / 2, length, n_batch).long() if ragged else None
                    seconds = step_seconds(encoders, x, lengths, precision)
                    ours = seconds.pop("ours")
                    fair = {name: taken for name, taken in seconds.items() if name != "d2l"}
                    rival = seconds["HF BERT (sdpa)"] if precision == "bf16" else min(fair.values())
                    times = ", ".join(f"{name} {1000 * taken:.0f}" for name, taken in seconds.items())
                    allowed = ALLOWED.get((precision, length))
                    against = "HF" if precision == "bf16" else "the faster of nn and HF"
                    rows.append(
                        (
                            f"encoder {size}, {n_layers} layers, {precision}, T = {length}"
                            + (", ragged" if ragged else ""),
                            f"{ours / rival:.2f} × {against} (ours {1000 * ours:.0f} ms, {times})",
                            f"≤ {allowed}" if allowed else "",
                        )
                    )
    return rows


def memory_rows() -> list[tuple[str, str, str]]:
    """Measure how the peak memory of one attention layer grows with T, each in a process of its own."""
    rows = []
    for kind, target in (("ours, causal", "linear"), ("ours, padding", "linear"), ("d2l, padding", "")):
        peaks = [peak_megabytes(kind, length) for length in MEMORY_LENGTHS]
        ratio = (peaks[-1] - peaks[-2]) / (
            peaks[-2] - peaks[-3]
        )  # 2 where memory is linear in T, 4 where quadratic
        listed = ", ".join(f"T = {length}: {peak:.0f} MB" for length, peak in zip(MEMORY_LENGTHS, peaks))
        rows.append(
            (f"peak memory of attention, {kind}", f"{listed}; growth per doubling × {ratio:.1f}", target)
        )
    return rows


def peak_megabytes(kind: str, length: int) -> float:
    """Return what one forward and backward pass of attention adds to a new process's memory at its peak (Linux)."""
    program = f"""
import re, torch
torch.set_num_threads(1)
from course_lib.attention import MultiHeadAttention
from course_lib.masks import length_mask
from course_lib.torchvision_ops import define_missing_torchvision_ops
define_missing_torchvision_ops()
from d2l import torch as d2l
attention = MultiHeadAttention(d_model=128, n_heads=4)
theirs = d2l.MultiHeadAttention(128, 4, 0.0, bias=True)
def run(length):
    x, lengths = torch.randn(4, length, 128, requires_grad=True), torch.full((4,), length - 7)
    if {kind!r} == "ours, causal":
        output = attention(x, causal=True)
    elif {kind!r} == "ours, padding":
        output = attention(x, mask=length_mask(lengths, length))
    else:
        output = theirs(x, x, x, lengths)
    output.sum().backward()
def peak():  # not getrusage's: that of a child begins with its parent's
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
run(64)
before = peak()
run({length})
print((peak() - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def small_gpt_step(d_model: int, n_layers: int) -> Callable[[bool], None]:
    """Return a whole training step of a small GPT on 16 × 128 tokens; its argument asks for mixed precision."""
    torch.manual_seed(0)
    config = GPTConfig(
        vocab_size=1024, max_len=128, d_model=d_model, n_heads=d_model // 32, n_layers=n_layers, dropout=0.0
    )
    model = GPT(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(0, 1024, (16, 129))

    def step(mixed: bool) -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            logits = model(tokens[:, :-1])
            loss = language_model_loss(logits, tokens[:, 1:])
        loss.backward()
        optimiser.step()

    return step


def utilisation_rows() -> list[tuple[str, str, str]]:
    """Compare the arithmetic of a training step with what matrix products alone reach on the same cores."""
    rows = []
    for d_model, n_layers in ((128, 2), (256, 4)):
        step = small_gpt_step(d_model, n_layers)
        with FlopCounterMode(display=False) as counter:
            step(False)
        seconds = {}
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            taken = median_seconds(partial(step, precision == "bf16"))
            seconds[precision] = taken
            reached, peak = counter.get_total_flops() / taken, matmul_flops(dtype)
            rows.append(
                (
                    f"training step, GPT d = {d_model}, {n_layers} layers, 16 × 128 tokens, {precision}",
                    f"{1000 * taken:.0f} ms; {reached / 1e9:.0f} GFLOP/s, {100 * reached / peak:.0f} % of matmul's "
                    f"{peak / 1e9:.0f}",
                    "≥ 60 %" if precision == "fp32" else "",
                )
            )
        faster = seconds["fp32"] / seconds["bf16"]
        rows.append((f"training step, GPT d = {d_model}, bf16", f"{faster:.2f} × as fast as fp32", "≥ 1.8 ×"))
    return rows


def matmul_flops(dtype: torch.dtype) -> float:
    """Return the FLOP/s of the best of a few matrix products of the sizes such a model has."""
    best = 0.0
    for rows, inner, columns in ((2048, 256, 1024), (2048, 1024, 256), (2048, 256, 256), (1024, 1024, 1024)):
        a, b = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
        taken = median_seconds(partial(torch.matmul, a, b))
        best = max(best, 2 * rows * inner * columns / taken)
    return best


def median_seconds(action: Callable[[], object]) -> float:
    """Return the median time of an action after a warm-up."""
    times = []
    for _ in range(4 + 15):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times[4:])


def measure() -> list[tuple[str, str, str]]:
    """Return all rows: what, value, target."""
    return encoder_rows() + memory_rows() + utilisation_rows()
