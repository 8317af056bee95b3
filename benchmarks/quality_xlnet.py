"""XLNet in the small world: of two hidden tokens, the second is guessed with the first in view.

`measure(seed)` trains one XLNet and lets it fill in cities of which both tokens are hidden, one after the other. Alone:
`python benchmarks/quality_xlnet.py`.

N rows · T tokens
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from course_lib.data import small_world as world
from course_lib.masks import padding_mask, permutation_masks
from course_lib.objectives import (
    PermutationBatch,
    masked_word_loss,
    order_with_targets_last,
    permutation_batch,
)
from course_lib.training import fit
from course_lib.xlnet import XLNetConfig, XLNetLM

CONFIG = XLNetConfig(vocab_size=len(world.WORDS), d_model=128, n_heads=4, n_layers=2, dropout=0.0)
# As for BERT, 0.02 is made for 768 numbers a token. The embeddings are no longer normalised before the first block.
FIRST_WEIGHTS, FIRST_EMBEDDINGS = 0.08, 0.5
TRAINING: dict[str, Any] = {
    "documents": 40_000,
    "diaries": 0.5,
    "share": 0.3,  # of the tokens, the last of their order, are predicted
    "unit": "span",
    "batch": 48,
    "steps": 1000,
    "lr": 2e-3,
    "warmup": 100,
}
N_TESTED = 2000
Row = tuple[str, str, str]


def measure(seed: int) -> list[Row]:
    """Train and measure everything with this seed: rows of what, measured, target."""
    model, seconds = trained(seed)
    cities = fill_cities(model, seed)
    whole = {tuple(pair) for pair in cities.tolist()} & {tuple(world.encode(city)) for city in world.CITIES}
    return [
        ("XLNet, seconds of training", f"{seconds:.0f}", "≤ 120"),
        ("XLNet, incoherent cities, sampled", f"{world.incoherent_share(cities):.1%}", "≤ 5 %"),
        ("XLNet, cities among the samples (control)", f"{len(whole)} of {len(world.CITIES)}", "all"),
    ]


def trained(seed: int, progress: bool = False) -> tuple[XLNetLM, float]:
    """Train an XLNet on documents of the training side; also return the seconds of training."""
    recipe, generator = TRAINING, torch.Generator().manual_seed(seed)
    documents = world.sample_documents(recipe["documents"], generator=generator, diaries=recipe["diaries"])
    rows = world.text_rows(documents)  # (N, T)

    def draw_batch(generator: torch.Generator) -> tuple[Tensor, PermutationBatch]:
        tokens = rows[torch.randint(len(rows), (recipe["batch"],), generator=generator)]
        return tokens, permutation_batch(
            tokens,
            pad_id=world.PAD,
            special_ids=(world.CLS, world.SEP),
            generator=generator,
            share=recipe["share"],
            unit=recipe["unit"],
        )

    def loss_of(model: XLNetLM, batch: tuple[Tensor, PermutationBatch]) -> Tensor:
        tokens, asked = batch
        logits, _ = model(
            tokens, mask=asked.content_mask, query_mask=asked.query_mask, targets=asked.target_positions
        )
        return masked_word_loss(logits, asked.labels)

    model = made(seed)
    start = time.perf_counter()
    fit(
        model,
        draw_batch,
        loss_of,
        steps=recipe["steps"],
        lr=recipe["lr"],
        warmup=recipe["warmup"],
        precision="bf16",
        seed=seed,
        progress=progress,
    )
    return model.eval(), time.perf_counter() - start


def made(seed: int) -> XLNetLM:
    """Build the model from a seed, with first weights as wide as this small width needs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = XLNetLM(CONFIG)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in ("xlnet.embedding.weight", "xlnet.query_start"):
                weight.mul_(FIRST_EMBEDDINGS / 0.02)
            elif weight.dim() >= 2:
                weight.mul_(FIRST_WEIGHTS / 0.02)
    return model


def fill_cities(model: XLNetLM, seed: int) -> Tensor:
    """Hide the city of held-out reviews and draw its tokens one after the other, in a random order: (N, 2)."""
    generator = torch.Generator().manual_seed(3000 + seed)
    tokens = world.text_rows(
        world.sample_documents(N_TESTED, generator=generator, side="held out", diaries=0.0)
    )
    places = list(world.CITY_PLACES)
    is_target = torch.zeros_like(tokens, dtype=torch.bool)
    is_target[:, places] = True
    tokens[:, places] = world.MASK  # nobody sees them; a drawn token takes its place
    order = order_with_targets_last(is_target, generator=generator)  # (N, T)
    content_mask, query_mask = permutation_masks(order, 2)  # (N, 1, T, T)
    is_real = padding_mask(tokens, world.PAD)
    for target in (order[:, -2:-1], order[:, -1:]):  # (N, 1) each
        row = target[:, None, :, None].expand(-1, 1, -1, tokens.size(1))  # (N, 1, 1, T)
        with torch.no_grad():
            logits, _ = model(
                tokens,
                mask=content_mask & is_real,
                query_mask=query_mask.gather(2, row) & is_real,
                targets=target,
            )
        drawn = torch.multinomial(logits[:, 0].softmax(dim=-1), 1, generator=generator)  # (N, 1)
        tokens.scatter_(1, target, drawn)
    return tokens[:, places]


if __name__ == "__main__":
    for seed in range(3):
        for what, measured, target in measure(seed):
            print(f"seed {seed} · {what}: {measured} (target: {target})", flush=True)
