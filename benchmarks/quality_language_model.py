"""A small GPT beside an LSTM on English prose: bits per character of text that neither has seen.

`measure(seed)` trains each for about a minute, with AdamW at the best of some rates and with Muon, on
the same tokens in the same precision, and scores the same held-out paragraphs. Alone:
`python benchmarks/quality_language_model.py`.

A bit per *character*, whatever the tokens are: all −log₂ p of the held-out tokens, over the number of characters
(the end of a paragraph is one).

B batch · T tokens of a window · S tokens of the held-out text
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.objectives import IGNORED
from course_lib.training import evaluate
from course_lib.zoo import GPT_RECIPE, new_gpt, prose, prose_tokenizer, stream, train_language_model

# About a minute each on one thread; the seconds measured stand in the table.
GPT_STEPS, LSTM_STEPS = 650, 1100
GPT_RATES, LSTM_RATES = (2e-3, 4e-3, 8e-3), (4e-3, 1e-2, 2e-2)
MUON_RATES = {"GPT": 1e-2, "LSTM": 1e-2}
Row = tuple[str, str, str]


class LSTMLanguageModel(nn.Module):
    """The baseline, with PyTorch's fused LSTM: as fast as an LSTM can be here."""

    def __init__(self, vocab_size: int, d_model: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.rnn = nn.LSTM(d_model, d_model, batch_first=True)
        self.to_logits = nn.Linear(d_model, vocab_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T) → (B, T, V)."""
        states, _ = self.rnn(self.embedding(tokens))
        return self.to_logits(states)


def measure(seed: int, baselines: bool = True) -> list[Row]:
    """Train and measure everything with this seed, or the GPT alone: rows of what, measured, target."""
    training, held_out = prose()
    tokenizer = prose_tokenizer(training, GPT_RECIPE["vocab_size"])
    tokens, unseen = stream(training, tokenizer), stream(held_out, tokenizer)
    n_characters = sum(len(text) + 1 for text in held_out)

    def score(build: Callable[[], nn.Module], **changes: Any) -> tuple[float, float]:
        """Train one model; return its bits per character and the seconds that training took."""
        recipe = GPT_RECIPE | {"seed": seed} | changes
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build()
        start = time.perf_counter()
        train_language_model(model, tokens, recipe, "language model", progress=False)
        seconds = time.perf_counter() - start
        window = GPT_RECIPE["max_len"]
        return evaluate(model, lambda model: bits(model, unseen, window) / n_characters), seconds

    def new_lstm() -> nn.Module:
        return LSTMLanguageModel(GPT_RECIPE["vocab_size"], GPT_RECIPE["d_model"])

    def new_model() -> nn.Module:
        return new_gpt(GPT_RECIPE)

    rows = []
    models = [("GPT", new_model, GPT_STEPS, GPT_RATES), ("LSTM", new_lstm, LSTM_STEPS, LSTM_RATES)]
    for name, build, steps, rates in models if baselines else models[:1]:
        per_character, seconds = score(build, steps=steps, optimiser="muon", lr=MUON_RATES[name])
        target = "≤ 1.85 in 60 s" if name == "GPT" else "reported"
        rows.append((f"{name}, Muon, bits per character", f"{per_character:.3f} in {seconds:.0f} s", target))
        if baselines:
            by_rate = {rate: score(build, steps=steps, optimiser="adamw", lr=rate) for rate in rates}
            rate, (per_character, seconds) = min(by_rate.items(), key=lambda one: one[1])
            what = f"{name}, AdamW, best of {len(rates)} rates, bits per character"
            rows.append((what, f"{per_character:.3f} in {seconds:.0f} s (rate {rate})", "reported"))
    return rows


def bits(model: nn.Module, tokens: Tensor, window: int) -> float:
    """Return −log₂ p of a text (S,) after its first token, read in windows that overlap by half.

    Every token is scored once, and every one but the first few with at least half a window before it.
    """
    half = window // 2
    starts = torch.arange(0, max(len(tokens) - 1 - half, 1), half)
    places = starts[:, None] + torch.arange(window + 1)  # (N, T + 1)
    rows = F.pad(tokens, (0, window + half), value=0)[places]
    inputs, labels = rows[:, :-1], rows[:, 1:].clone()
    labels[places[:, 1:] >= len(tokens)] = IGNORED
    labels[1:, : window - half] = IGNORED  # scored by the window before
    nats = 0.0
    for inputs_, labels_ in zip(inputs.split(64), labels.split(64)):
        nats += F.cross_entropy(model(inputs_).flatten(0, 1), labels_.flatten(), reduction="sum").item()
    return nats / math.log(2)


if __name__ == "__main__":
    for row in measure(0):
        print(" | ".join(row))
