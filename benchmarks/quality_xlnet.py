"""XLNet in the small world: of two hidden tokens, the second is guessed with the first in view.

`measure(seed)` trains one XLNet and lets it fill in cities of which both tokens are hidden, one after the other. Alone:
`python benchmarks/quality_xlnet.py`.

N rows · T tokens
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from course_lib.data import small_world as world
from course_lib.masks import padding_mask, permutation_masks
from course_lib.objectives import (
    order_with_targets_last,
)
from course_lib.xlnet import XLNetLM
from course_lib.zoo import XLNET_RECIPE, new_xlnet, pretrain_xlnet, xlnet_rows

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


def trained(seed: int) -> tuple[XLNetLM, float]:
    """Train an XLNet on documents of the training side; also return the seconds of training."""
    recipe = XLNET_RECIPE | {"seed": seed}
    rows = xlnet_rows(recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_xlnet(recipe)
    start = time.perf_counter()
    pretrain_xlnet(model, rows, recipe, "xlnet", progress=False)
    return model.eval(), time.perf_counter() - start


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
