"""Measure translation: the Transformer, and GRUs that get as many seconds, on the English–Italian world.

`measure(seed)` trains them all with the threads that torch has now and returns one row for each figure. The
Transformer's training is counted in steps; a GRU gets the steps that fit into the same seconds, at its best of
three learning rates.

B batch · Ts, Tt lengths of source and target
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_lib.attention import attention_weights
from course_lib.data import italian
from course_lib.data.italian import Pair
from course_lib.decoding import greedy
from course_lib.objectives import language_model_loss, next_token_labels
from course_lib.rnn import Seq2Seq
from course_lib.training import fit
from course_lib.transformer import Transformer, TransformerConfig

Row = tuple[str, str, str]  # what, measured, target
Batch = tuple[Tensor, Tensor]

RECIPE: dict[str, Any] = {
    "pairs": 80_000,
    "n_tokens": 720,  # about 64 sentences
    "steps": 2300,
    "lr": 5e-3,
    "weight_decay": 0.1,
    "warmup": 50,
    "precision": "fp32",
}
CONFIG = TransformerConfig(
    src_vocab_size=len(italian.ENGLISH.tokens),
    tgt_vocab_size=len(italian.ITALIAN.tokens),
    d_model=64,
    n_heads=1,
    d_ff=256,
    n_encoder_layers=2,
    n_decoder_layers=1,
    dropout=0.0,
    norm_first=True,
    max_len=64,
    pad_id=italian.PAD,
)
ALIGNING_LAYER = "decoder.blocks.0.cross_attention"
GRU_WIDTH = 128
GRU_RATES = (1e-3, 3e-3, 1e-2)
N_TEST, N_CHOICE = 2000, 300


@dataclass
class World:
    """What one seed draws: batches to train on, pairs to measure with, and others to choose a learning rate by."""

    batches: list[Batch]
    held_out: list[Pair]
    compositional: list[Pair]
    three_clauses: list[Pair]
    for_choosing: list[Pair]


def draw_world(seed: int) -> World:
    generator = torch.Generator().manual_seed(seed)
    training = italian.sample_pairs(RECIPE["pairs"], generator=generator)
    for_choosing = italian.sample_pairs(N_CHOICE, split="held_out", n_clauses=3, generator=generator)
    return World(
        italian.batches_of_like_length(training, RECIPE["n_tokens"]),
        italian.sample_pairs(N_TEST, split="held_out", generator=generator),
        italian.sample_pairs(N_TEST, split="compositional", generator=generator),
        italian.sample_pairs(N_TEST, split="held_out", n_clauses=3, generator=generator),
        for_choosing,
    )


def train_transformer(world: World, seed: int) -> tuple[Transformer, float]:
    """Return the model and the seconds its training took."""
    torch.manual_seed(seed)
    model = Transformer(CONFIG)

    def loss_of(model: Transformer, batch: Batch) -> Tensor:
        src, tgt = batch
        inputs, labels = next_token_labels(tgt, italian.PAD)
        return language_model_loss(model(src, inputs), labels)

    return model, _seconds_to_fit(model, world, loss_of, RECIPE["steps"], RECIPE["lr"], seed)


def train_gru(world: World, seed: int, *, attention: bool, seconds: float) -> tuple[Seq2Seq, float, float]:
    """Return the best of three by held-out sentences that measure nothing else; the rate it had, and its seconds."""
    best: tuple[float, Seq2Seq, float, float] | None = None
    for lr in GRU_RATES:
        torch.manual_seed(seed)
        model = _gru(attention)
        steps = _steps_that_fit(world, seed, attention=attention, seconds=seconds)
        taken = _seconds_to_fit(model, world, _gru_loss, steps, lr, seed)
        right = exact_match(_by_gru(model), world.for_choosing)
        if best is None or right > best[0]:
            best = (right, model, lr, taken)
    assert best is not None
    return best[1:]


def _gru(attention: bool) -> Seq2Seq:
    return Seq2Seq(
        src_vocab_size=len(italian.ENGLISH.tokens),
        tgt_vocab_size=len(italian.ITALIAN.tokens),
        d_model=GRU_WIDTH,
        attention=attention,
    )


def _gru_loss(model: Seq2Seq, batch: Batch) -> Tensor:
    src, tgt = batch
    inputs, labels = next_token_labels(tgt, italian.PAD)
    return language_model_loss(model(src, inputs, italian.PAD)[0], labels)


def _steps_that_fit(world: World, seed: int, *, attention: bool, seconds: float) -> int:
    """Time some steps of a model that is thrown away."""
    trial = 30
    torch.manual_seed(seed)
    _seconds_to_fit(_gru(attention), world, _gru_loss, 3, 1e-3, seed)  # the first steps are slow
    return max(
        1, round(trial * seconds / _seconds_to_fit(_gru(attention), world, _gru_loss, trial, 1e-3, seed))
    )


def _seconds_to_fit(
    model: Any, world: World, loss_of: Callable[[Any, Batch], Tensor], steps: int, lr: float, seed: int
) -> float:
    def draw_batch(generator: torch.Generator) -> Batch:
        return world.batches[int(torch.randint(len(world.batches), (), generator=generator))]

    start = time.perf_counter()
    fit(
        model,
        draw_batch,
        loss_of,
        steps=steps,
        lr=lr,
        warmup=min(RECIPE["warmup"], steps - 1),
        weight_decay=RECIPE["weight_decay"],
        precision=RECIPE["precision"],
        seed=seed,
        progress=False,
    )
    return time.perf_counter() - start


# --- what is measured --------------------------------------------------------------------------------------


@torch.no_grad()
def exact_match(translate: Callable[[Tensor], Tensor], pairs: Sequence[Pair]) -> float:
    """Return the share of sentences whose every word is right. `translate`: src ids (B, Ts) → target ids (B, T)."""
    right = 0
    for first in range(0, len(pairs), 500):
        some = pairs[first : first + 500]
        written = italian.words_of(translate(italian.batch(some)[0]), italian.ITALIAN)
        right += sum(words == pair.tgt for words, pair in zip(written, some))
    return right / len(pairs)


def by_transformer(model: Transformer) -> Callable[[Tensor], Tensor]:
    model.eval()

    def translate(src: Tensor) -> Tensor:
        start = torch.full((len(src), 1), italian.SOS)
        return greedy(
            model.step,
            start,
            model.start(src),
            max_len=CONFIG.max_len,
            eos_id=italian.EOS,
            pad_id=italian.PAD,
        )

    return translate


def _by_gru(model: Seq2Seq) -> Callable[[Tensor], Tensor]:
    return lambda src: model.eval().greedy(
        src, src_pad_id=italian.PAD, bos_id=italian.SOS, eos_id=italian.EOS, max_len=CONFIG.max_len
    )


@torch.no_grad()
def transformer_alignment_error(model: Transformer, pairs: Sequence[Pair]) -> float:
    """Where does the decoder look when it predicts a word? One layer, its heads averaged; `alignment_error`."""
    src, tgt = italian.batch(pairs)
    weights = attention_weights(model, src, tgt[:, :-1])[ALIGNING_LAYER]  # (B, H, Tt − 1, Ts)
    return italian.alignment_error(weights.mean(1), pairs)


@torch.no_grad()
def gru_alignment_error(model: Seq2Seq, pairs: Sequence[Pair]) -> float:
    src, tgt = italian.batch(pairs)
    return italian.alignment_error(model(src, tgt[:, :-1], italian.PAD)[1], pairs)


def measure(seed: int, baselines: bool = True) -> list[Row]:
    """Train and measure everything, or the Transformer alone; return rows (what, measured, target)."""
    world = draw_world(seed)
    model, seconds = train_transformer(world, seed)
    translate = by_transformer(model)
    threads = torch.get_num_threads()
    rows: list[Row] = [
        ("translation: seconds of training", f"{seconds:.1f} ({threads} threads)", "≤ 30"),
        _percent("translation: held-out exact match", exact_match(translate, world.held_out), "≥ 99"),
        _percent("translation: compositional split", exact_match(translate, world.compositional), "≥ 90"),
        _percent(
            "translation: three clauses, held out", exact_match(translate, world.three_clauses), "reported"
        ),
        _percent("translation: alignment error", transformer_alignment_error(model, world.held_out), "≤ 2"),
    ]
    for attention in (False, True) if baselines else ():
        gru, lr, taken = train_gru(world, seed, attention=attention, seconds=seconds)
        name = f"GRU {'with' if attention else 'without'} attention"
        found = f"(rate {lr}, {taken:.1f} s)"
        rows += [
            _percent(
                f"{name}: three clauses, held out",
                exact_match(_by_gru(gru), world.three_clauses),
                "reported",
                found,
            ),
            _percent(f"{name}: held-out exact match", exact_match(_by_gru(gru), world.held_out), "reported"),
        ]
        if attention:
            rows.append(
                _percent(f"{name}: alignment error", gru_alignment_error(gru, world.held_out), "reported")
            )
    return rows


def _percent(what: str, share: float, target: str, note: str = "") -> Row:
    return what, f"{100 * share:.1f} % {note}".strip(), target if target == "reported" else f"{target} %"


def main() -> None:
    for seed in range(3):
        for what, measured, target in measure(seed):
            print(f"seed {seed}  {what:<50}{measured:<30}{target}", flush=True)


if __name__ == "__main__":
    main()
