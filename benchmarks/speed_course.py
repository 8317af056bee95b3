"""Measure what a learner waits for.

Medians over repeats after a warm-up, on this machine: from a change of a control to the new PNG of every
explorer, one judgement of every exercise's reference, the tokenizers, and the import of the package on top of torch.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from course_lib import viz
from course_lib.checks import EXERCISES, judge
from course_lib.checks.engine import known_observations
from course_lib.data.apple import TABLE
from course_lib.data.manual import manual_paragraphs
from course_lib.tokenization import PIECES, SPECIALS, BPETokenizer

WARM_UP, REPEATS, FIRST_JUDGEMENTS, JUDGEMENTS, IMPORTS = 5, 40, 3, 10, 5
VOCABULARY, TOKENIZER_RUNS = 4000, 7
TRAINING_BAR, ENCODING_BAR = 20, 10  # how many times as long as the compiled tokenizers ours may take
MODULES = ("course_lib", "course_lib.viz", "course_lib.checks")
# fmt: off
TOKENS = ["the", "apple", "phone", "on", "the", "keyboard", "and", "an", "orange", "beside", "my", "lemon"]
# fmt: on
NETWORKS = ((1.0, "RNN"), (0.5, "LSTM"), (0.0, "attention"))


def median_ms(action: Callable[[int], Any], *, warm_up: int, repeats: int) -> float:
    """Return the median time in ms of action(0), action(1), …, without the first `warm_up` calls."""
    times = []
    for turn in range(warm_up + repeats):
        start = time.perf_counter()
        action(turn)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[warm_up:])


def explorers() -> list[tuple[str, Any, dict[str, tuple[Any, Sequence[Any]]]]]:
    """Return each explorer at its largest real size, with values that its controls go through."""
    draw = torch.Generator().manual_seed(0)
    gravity = viz.ContextGravity(None, TABLE, {"12 words": TOKENS, "7 words": TOKENS[6:] + ["apple"]})
    q, k = torch.randn(256, generator=draw), torch.randn(8, 256, generator=draw)
    softmax = viz.SoftmaxTemperature(q, k)
    weights = torch.randn(2, 12, 12, 12, generator=draw).mul(2).softmax(-1)
    browser = viz.HeadBrowser(weights, TOKENS)
    numbered = viz.HeadBrowser(weights[..., :8, :8], TOKENS[:8])
    steps = torch.arange(128)
    # The functions cost nothing: what is measured is the picture, not the learner's network.
    decays = {name: lambda length, radius, gate, n=n: radius ** (n * steps[:length]) for n, name in NETWORKS}
    through = viz.GradientThroughTime(decays)
    words = [f"word {n}" for n in range(2000)]
    near = viz.EmbeddingNeighbours(words, torch.randn(2000, 64, generator=draw), analogies=[words[:3]])
    near.k.value = near.k.max
    scrubber = viz.PositionScrubber(torch.randn(512, 128, generator=draw))
    painter = viz.MaskPainter(torch.randn(6, 6, generator=draw), TOKENS[:6])
    painter.paint("flipped")  # one row sees nothing, so that all four ways to the weights differ
    return [
        (
            "ContextGravity, 12 words",
            gravity,
            {
                "strength": (gravity.strength, (0.5, 0.6, 0.7)),
                "head": (gravity.head, gravity.head.options),
                "a word": (gravity.taking_part[2], (False, True)),
                "sentence": (gravity.sentence, gravity.sentence.options),
            },
        ),
        (
            "SoftmaxTemperature, 8 keys, d = 256",
            softmax,
            {
                "temperature": (softmax.temperature, (1.0, 2.0, 8.0)),
                "divide by √d": (softmax.scaled, (True, False)),
                "d": (softmax.d, (4, 16, 64, 256)),
            },
        ),
        (
            "HeadBrowser, 2 layers, 12 heads, 12 × 12",
            browser,
            {
                "layer": (browser.layer, (1, 0)),
                "head": (browser.head, range(12)),
                "query token": (browser.query, range(12)),
            },
        ),
        ("HeadBrowser, 8 × 8 with numbers", numbered, {"head": (numbered.head, range(12))}),
        (
            "GradientThroughTime, 3 curves",
            through,
            {
                "length": (through.length, (8, 16, 32, 64, 128)),
                "spectral radius": (through.radius, (0.8, 0.9, 1.1)),
            },
        ),
        (
            "EmbeddingNeighbours, 2000 × 64",
            near,
            {
                "word": (near.word, words[:20]),
                "neighbours": (near.k, (4, 7, 10)),
                "nearness": (near.similarity, near.similarity.options),
                "question": (near.analogy, near.analogy.options),
            },
        ),
        (
            "PositionScrubber, 512 × 128",
            scrubber,
            {
                "position": (scrubber.position, range(100, 200, 5)),
                "pair": (scrubber.pair, range(0, 60, 7)),
                "offset": (scrubber.offset, range(-50, 50, 9)),
            },
        ),
        (
            "MaskPainter, 6 × 6",
            painter,
            {
                "a cell": (painter.cells[1][4], (True, False)),
                "softmax": (painter.softmax, painter.softmax.options),
                "key": (painter.key, range(6)),
            },
        ),
    ]


def redraws() -> list[tuple[str, float]]:
    """Measure every control of every explorer."""
    rows = []
    for name, explorer, controls in explorers():
        for control, (widget, values) in controls.items():

            def move(turn: int, widget: Any = widget, values: Sequence[Any] = values) -> None:
                widget.value = values[turn % len(values)]

            move(0)
            first = explorer.image.value
            move(1)
            if explorer.image.value == first:
                raise RuntimeError(
                    f"{name}: moving {control} changes no pixel, so there is nothing to measure"
                )
            rows.append((f"{name}: {control}", median_ms(move, warm_up=WARM_UP, repeats=REPEATS)))
    return rows


def judgements() -> list[tuple[str, float]]:
    """Measure how long each exercise takes to judge its reference: first in a kernel, and from then on."""
    rows = []
    for name, exercise in EXERCISES.items():
        if not judge(name, exercise.reference).passed:
            raise RuntimeError(f"{name}: the reference does not pass, so its time says nothing")

        def ask(_: int, name: str = name, reference: Any = exercise.reference) -> None:
            judge(name, reference)

        def ask_first(_: int, ask: Callable[[int], None] = ask) -> None:
            known_observations.cache_clear()  # as in a fresh kernel: every known mistake is looked at first
            ask(0)

        rows.append((f"first judgement of {name}", median_ms(ask_first, warm_up=1, repeats=FIRST_JUDGEMENTS)))
        rows.append((f"judge {name}", median_ms(ask, warm_up=1, repeats=JUDGEMENTS)))
    return rows


def tokenizers() -> list[tuple[str, float]]:
    """Measure BPE on Python's manual beside Hugging Face's compiled one, each on one thread and with empty caches."""
    os.environ["RAYON_NUM_THREADS"], os.environ["TOKENIZERS_PARALLELISM"] = "1", "false"
    import tokenizers as hugging_face

    texts = manual_paragraphs()

    def untrained() -> Any:
        reference = hugging_face.Tokenizer(hugging_face.models.BPE(unk_token="[UNK]"))
        cut = hugging_face.Regex(PIECES.pattern)
        reference.pre_tokenizer = hugging_face.pre_tokenizers.Split(cut, "isolated")
        return reference

    def train_theirs(_: int) -> Any:
        trainer = hugging_face.trainers.BpeTrainer(
            vocab_size=VOCABULARY, special_tokens=list(SPECIALS), show_progress=False
        )
        reference = untrained()
        reference.train_from_iterator(texts, trainer)
        return reference

    def train_ours(_: int) -> BPETokenizer:
        return BPETokenizer.train(texts, vocab_size=VOCABULARY)

    turns = TOKENIZER_RUNS + 1
    fresh_ours = [train_ours(0) for _ in range(turns)]
    fresh_theirs = [train_theirs(0) for _ in range(turns)]

    def encode_ours(turn: int) -> list[list[int]]:
        return [fresh_ours[turn].encode(text) for text in texts]

    def encode_theirs(turn: int) -> list[list[int]]:
        return [fresh_theirs[turn].encode(text).ids for text in texts]

    if encode_ours(0) != encode_theirs(0):
        raise RuntimeError("the two tokenizers disagree, so their times cannot be compared")
    rows = []
    for what, ours, theirs, bar in (
        (f"train BPE, {VOCABULARY:,} tokens, Python's manual", train_ours, train_theirs, TRAINING_BAR),
        ("encode Python's manual by BPE", encode_ours, encode_theirs, ENCODING_BAR),
    ):
        times = [median_ms(action, warm_up=1, repeats=TOKENIZER_RUNS) for action in (ours, theirs)]
        if times[0] > bar * times[1]:
            raise RuntimeError(
                f"{what}: {times[0] / times[1]:.1f} times as long as Hugging Face's, bar {bar}"
            )
        rows += [(what, times[0]), (f"{what}: Hugging Face's", times[1])]
    return rows


def import_ms(module: str) -> float:
    """Return the median time of an import in a fresh process, after torch."""
    code = f"import torch, time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", code]
    runs = [
        float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)
        for _ in range(IMPORTS)
    ]
    return 1000 * statistics.median(runs)


def measure() -> list[tuple[str, str, str]]:
    """Return all rows: what, value, target."""
    rows = [(name, f"{value:.1f} ms", "≤ 60 ms") for name, value in redraws()]
    rows += [(name, f"{value:.1f} ms", "") for name, value in judgements() + tokenizers()]
    return rows + [(f"import {module}, after torch", f"{import_ms(module):.0f} ms", "") for module in MODULES]
