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
from course_lib.transformer import Transformer
from course_lib.zoo import TRANSLATOR_RECIPE as RECIPE
from course_lib.zoo import new_translator, train_translator, translation_batches

Row = tuple[str, str, str]  # what, measured, target
Batch = tuple[Tensor, Tensor]

ALIGNING_LAYER = "decoder.blocks.0.cross_attention"
GRU_WIDTH = 128
GRU_RATES = (1e-3, 3e-3, 1e-2)
N_TEST, N_CHOICE, N_ALIGNED = 2000, 300, 1000


@dataclass
class World:
    """What one seed draws: batches to train on, pairs to measure with, and others to choose a learning rate by."""

    batches: list[Batch]
    held_out: list[Pair]
    compositional: list[Pair]
    three_clauses: list[Pair]
    for_choosing: list[Pair]


def draw_world(seed: int) -> World:
    generator = torch.Generator().manual_seed(1000 + seed)
    for_choosing = italian.sample_pairs(N_CHOICE, split="held_out", n_clauses=3, generator=generator)
    return World(
        translation_batches(RECIPE | {"seed": seed}),
        italian.sample_pairs(N_TEST, split="held_out", generator=generator),
        italian.sample_pairs(N_TEST, split="compositional", generator=generator),
        italian.sample_pairs(N_TEST, split="held_out", n_clauses=3, generator=generator),
        for_choosing,
    )


def train_transformer(world: World, seed: int) -> tuple[Transformer, float]:
    """Return the model and the seconds its training took."""
    torch.manual_seed(seed)
    model = new_translator(RECIPE)
    start = time.perf_counter()
    train_translator(model, world.batches, RECIPE | {"seed": seed}, "translation", progress=False)
    return model, time.perf_counter() - start


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
        betas=RECIPE["betas"],
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
            max_len=RECIPE["max_len"],
            eos_id=italian.EOS,
            pad_id=italian.PAD,
        )

    return translate


def _by_gru(model: Seq2Seq) -> Callable[[Tensor], Tensor]:
    return lambda src: model.eval().greedy(
        src, src_pad_id=italian.PAD, bos_id=italian.SOS, eos_id=italian.EOS, max_len=RECIPE["max_len"]
    )


@torch.no_grad()
def weights_and_contributions(model: Transformer, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Return how the decoder's only layer weighs each source word, its heads averaged, and what each word gives it.

    A head may look at a word and take nothing: as where a pronoun was, to know that there is none to write. What word
    s gives at place t is the length of Σ_h α_h(t, s) W_O^h v_h(s) (Kobayashi et al. 2020, section 3).

    Returns:
        (B, Tt − 1, Ts) each.
    """
    src, tgt = italian.batch(pairs)
    weights = attention_weights(model, src, tgt[:, :-1])[ALIGNING_LAYER]  # (B, H, Tt − 1, Ts)
    attention = model.decoder.blocks[0].cross_attention
    _, v = attention.keys_and_values(model.encode(src))  # (B, H, Ts, Dh)
    w_o = attention.w_o.weight.unflatten(1, (attention.n_heads, -1))  # (D, H, Dh)
    given = torch.einsum("bhts,bhse,dhe->btsd", weights, v, w_o)  # (B, Tt − 1, Ts, D)
    return weights.mean(1), given.norm(dim=-1)


@torch.no_grad()
def gru_weights(model: Seq2Seq, pairs: Sequence[Pair]) -> Tensor:
    src, tgt = italian.batch(pairs)
    return model(src, tgt[:, :-1], italian.PAD)[1]


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
    ]
    aligned = world.held_out[:N_ALIGNED]
    weights, given = weights_and_contributions(model, aligned)
    error = italian.alignment_error(given, aligned, agreement=True)
    rows += _alignment_rows("translation", weights, aligned, "≤ 2")
    rows.append(
        _percent("translation: alignment error, by what each word gives, or decides", error, "reported")
    )
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
            rows += _alignment_rows(name, gru_weights(gru, aligned), aligned, "reported")
    return rows


def _alignment_rows(name: str, weights: Tensor, pairs: Sequence[Pair], target: str) -> list[Row]:
    links, either = (italian.alignment_error(weights, pairs, agreement=agreed) for agreed in (False, True))
    return [
        _percent(f"{name}: alignment error", links, target),
        _percent(
            f"{name}: alignment error, a word that decides the form counted as right", either, "reported"
        ),
    ]


def _percent(what: str, share: float, target: str, note: str = "") -> Row:
    return what, f"{100 * share:.1f} % {note}".strip(), target if target == "reported" else f"{target} %"


def main() -> None:
    for seed in range(3):
        for what, measured, target in measure(seed):
            print(f"seed {seed}  {what:<50}{measured:<30}{target}", flush=True)


if __name__ == "__main__":
    main()
