"""BERT in the small world: what pre-training is worth, and what it cannot do.

`measure(seed)` pre-trains one BERT, fine-tunes it for two tasks beside a BERT from scratch, and lets it fill in both
tokens of cities. Alone: `python benchmarks/quality_bert.py`.

N rows · T tokens
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.bert import BERT, BERTClassifier, BERTForPretraining, BERTForQuestionAnswering
from course_lib.data import small_world as world
from course_lib.objectives import (
    SentencePair,
    batch_of_pairs,
    best_span,
    span_loss,
)
from course_lib.training import fit
from course_lib.zoo import BERT_RECIPE, bert_config, new_bert, pretrain_bert, pretraining_pairs, widened

CONFIG = bert_config(BERT_RECIPE)
CLASSIFYING: dict[str, Any] = {"examples": 1024, "batch": 32, "steps": 300, "warmup": 30}
ANSWERING: dict[str, Any] = {
    "examples": 2048,
    "batch": 32,
    "steps": 1000,
    "warmup": 30,
    "keep_words": True,  # the table of words stays as pre-training left it (a model from scratch must learn it)
}
FINE_TUNING_RATE = 1e-3
SCRATCH_RATES = (5e-4, 1e-3, 2e-3)
N_TESTED = 2000
Row = tuple[str, str, str]


def measure(seed: int) -> list[Row]:
    """Train and measure everything with this seed: rows of what, measured, target."""
    bert, seconds = pretrained(seed)
    rows = [("BERT, seconds of pre-training", f"{seconds:.0f}", "≤ 90")]
    for task, bar, train in (
        ("classes of unseen words", "≥ 95 %", classifier),
        ("answers, exact match", "≥ 85 %", answerer),
    ):
        ours = train(bert.bert, seed, FINE_TUNING_RATE)
        scratch = {rate: train(None, seed, rate) for rate in SCRATCH_RATES}
        rate, best = max(scratch.items(), key=lambda one: one[1]["unseen"])
        rows += [
            (f"BERT, {task}", f"{ours['unseen']:.1%}", bar),
            (
                f"from scratch, best of three rates, {task}",
                f"{best['unseen']:.1%} (rate {rate})",
                "30 points below",
            ),
            (f"BERT, {task}, seen words (control)", f"{ours['seen']:.1%}", "reported"),
            (f"from scratch, the same rate, {task}, seen words (control)", f"{best['seen']:.1%}", "reported"),
        ]
    theory = world.independent_incoherent_share()
    share = world.incoherent_share(fill_cities(bert, seed))
    rows.append(("BERT, incoherent cities, sampled", f"{share:.1%}", f"near {theory:.1%}"))
    return rows


def pretrained(seed: int) -> tuple[BERTForPretraining, float]:
    """Pre-train a BERT on documents of the training side; also return the seconds of training."""
    recipe = BERT_RECIPE | {"seed": seed}
    pairs = pretraining_pairs(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_bert(recipe)
    start = time.perf_counter()
    pretrain_bert(model, pairs, recipe, "bert", progress=False)
    return model.eval(), time.perf_counter() - start


def classifier(bert: BERT | None, seed: int, rate: float) -> dict[str, float]:
    """Fine-tune for the 64 classes of reviews with seen adjectives; return the share of right ones in others.

    Args:
        bert: where to start from; None = from scratch.
        seed: of examples, first weights and batches.
        rate: the highest learning rate.

    Returns:
        "unseen" and "seen": on held-out reviews with adjectives of that kind.
    """
    recipe, generator = CLASSIFYING, torch.Generator().manual_seed(1000 + seed)
    examples = world.sample_reviews(recipe["examples"], generator=generator)
    model = made(lambda: BERTClassifier(CONFIG, n_classes=len(world.CLASSES)), seed)
    if bert is not None:
        model.bert.take_weights(bert)

    def draw_batch(generator: torch.Generator) -> list[Tensor]:
        chosen = torch.randint(recipe["examples"], (recipe["batch"],), generator=generator)
        return [column[chosen] for column in examples]

    def loss_of(model: BERTClassifier, batch: list[Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    _fit(model, draw_batch, loss_of, recipe, rate, seed)
    right = {}
    for half in ("unseen", "seen"):
        tested = world.sample_reviews(N_TESTED, generator=generator, side="held out", adjectives=half)
        with torch.no_grad():
            guessed = model.eval()(tested.tokens).argmax(dim=1)
        right[half] = (guessed == tested.labels).double().mean().item()
    return right


def answerer(bert: BERT | None, seed: int, rate: float) -> dict[str, float]:
    """Fine-tune for questions about diaries with seen adjectives; return the exact match on others.

    Arguments and result as of `classifier`.
    """
    recipe, generator = ANSWERING, torch.Generator().manual_seed(2000 + seed)
    examples = world.sample_questions(recipe["examples"], generator=generator)
    model = made(lambda: BERTForQuestionAnswering(CONFIG), seed)
    if bert is not None:
        model.bert.take_weights(bert)
        # Of all words only the seen ones would move, away from those that mean the same.
        model.bert.embedding.weight.requires_grad_(not recipe["keep_words"])

    def draw_batch(generator: torch.Generator) -> list[Tensor]:
        chosen = torch.randint(recipe["examples"], (recipe["batch"],), generator=generator)
        return [column[chosen] for column in examples]

    def loss_of(model: BERTForQuestionAnswering, batch: list[Tensor]) -> Tensor:
        tokens, segments, start, end = batch
        start_logits, end_logits = model(tokens, segments)
        return span_loss(start_logits, end_logits, start, end)

    _fit(model, draw_batch, loss_of, recipe, rate, seed)
    right = {}
    for half in ("unseen", "seen"):
        tested = world.sample_questions(N_TESTED, generator=generator, side="held out", adjectives=half)
        with torch.no_grad():
            start_logits, end_logits = model.eval()(tested.tokens, tested.segments)
        said = best_span(start_logits, end_logits, tested.segments == 1)
        right[half] = ((said.start == tested.start) & (said.end == tested.end)).double().mean().item()
    return right


def fill_cities(model: BERTForPretraining, seed: int) -> Tensor:
    """Hide the city of held-out reviews and draw both its tokens at once, each from its own distribution: (N, 2)."""
    generator = torch.Generator().manual_seed(3000 + seed)
    reviews = world.sample_documents(N_TESTED, generator=generator, side="held out", diaries=0.0)
    pairs = [SentencePair(world.encode(first), world.encode(second), True) for first, second in reviews]
    read = batch_of_pairs(pairs, cls_id=world.CLS, sep_id=world.SEP, pad_id=world.PAD)
    places = list(world.CITY_PLACES)
    read.tokens[:, places] = world.MASK
    with torch.no_grad():
        words, _ = model(read.tokens, read.segments)
    chances = words[:, places].softmax(dim=-1)  # (N, 2, V)
    return torch.multinomial(chances.flatten(0, 1), 1, generator=generator).view(-1, 2)  # (N, 2)


def made(build: Callable[[], Any], seed: int) -> Any:
    """Build a model from a seed, with first weights as wide as this small width needs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return widened(build(), BERT_RECIPE["first_weights"])


def _fit(
    model: nn.Module,
    draw_batch: Callable[[torch.Generator], Any],
    loss_of: Callable[[Any, Any], Tensor],
    recipe: dict[str, Any],
    rate: float,
    seed: int,
    progress: bool = False,
) -> float:
    """Train by a recipe, in bf16; return the seconds."""
    start = time.perf_counter()
    fit(
        model,
        draw_batch,
        loss_of,
        steps=recipe["steps"],
        lr=rate,
        warmup=recipe["warmup"],
        precision="bf16",
        seed=seed,
        progress=progress,
    )
    return time.perf_counter() - start


if __name__ == "__main__":
    for seed in range(3):
        for what, measured, target in measure(seed):
            print(f"seed {seed} · {what}: {measured} (target: {target})", flush=True)
