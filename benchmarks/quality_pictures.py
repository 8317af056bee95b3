"""The same blocks on pictures, sound and film: `measure(seed)` trains a ViT on each, with and without order.

Digits by hands never seen, the order of three notes, the direction of moving dots. The control of each is the same,
trained and tested on examples in which what it should depend on was destroyed: the places of the patches,
the order of the frames. Alone: `python benchmarks/quality_pictures.py`.

B examples · N patches · P numbers in a patch
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.data import digits, moving_dots, tones
from course_lib.patches import film_patches, image_patches, sound_frames
from course_lib.training import evaluate, fit
from course_lib.vit import ViT, ViTConfig

N_TESTED = 2000
Row = tuple[str, str, str]
Draw = Callable[..., tuple[Tensor, Tensor]]  # (n, generator, held_out) → patches (B, N, P), classes (B,)


@dataclass(frozen=True)
class World:
    """A world of examples: how they are drawn and cut, the control, and what is expected."""

    name: str
    draw: Draw
    control: str
    draw_control: Draw
    config: ViTConfig
    batch: int
    steps: int
    bar: str


def small(n_patches: int, patch_width: int, n_classes: int) -> ViTConfig:
    """Return the sizes that two processor cores train in a minute; the first weights are as wide as √64 needs."""
    return ViTConfig(
        n_patches=n_patches,
        patch_width=patch_width,
        n_classes=n_classes,
        d_model=64,
        n_heads=4,
        n_layers=3,
        init_std=0.12,
    )


def digit_patches(n: int, generator: torch.Generator, held_out: bool) -> tuple[Tensor, Tensor]:
    hands = digits.HELD_OUT_HANDS if held_out else digits.TRAINING_HANDS
    images, classes = digits.sample_digits(n, generator=generator, hands=hands)
    return image_patches(2 * images - 1, size=7), classes


def tone_patches(n: int, generator: torch.Generator, held_out: bool) -> tuple[Tensor, Tensor]:
    sounds, classes = tones.sample_tones(n, generator=generator)
    return sound_frames(2 * sounds, size=tones.FRAME), classes


def dot_patches(n: int, generator: torch.Generator, held_out: bool) -> tuple[Tensor, Tensor]:
    films, classes = moving_dots.sample_moving_dots(n, generator=generator)
    return film_patches(2 * films, depth=2, size=4), classes


def patches_shuffled(draw: Draw) -> Draw:
    """Lay the patches of each example in an order of its own."""

    def shuffled(n: int, generator: torch.Generator, held_out: bool) -> tuple[Tensor, Tensor]:
        patches, classes = draw(n, generator, held_out)
        order = torch.rand(patches.shape[:2], generator=generator).argsort(-1)  # (B, N)
        return patches.gather(1, order[:, :, None].expand_as(patches)), classes

    return shuffled


def dot_patches_frames_shuffled(n: int, generator: torch.Generator, held_out: bool) -> tuple[Tensor, Tensor]:
    """Play each film in an order of its own: the axis of the movement may still show, its direction cannot."""
    films, classes = moving_dots.sample_moving_dots(n, generator=generator)
    order = torch.rand(n, films.size(2), generator=generator).argsort(-1)  # (B, F)
    films = films.gather(2, order[:, None, :, None, None].expand_as(films))
    return film_patches(2 * films, depth=2, size=4), classes


WORLDS = (
    World(
        "digits by unseen hands",
        digit_patches,
        "patches shuffled",
        patches_shuffled(digit_patches),
        small(16, 49, digits.N_DIGITS),
        128,
        1500,
        "≥ 97 % within 60 s",
    ),
    World(
        "order of three notes",
        tone_patches,
        "frames shuffled, chance 16.7 %",
        patches_shuffled(tone_patches),
        small(tones.SAMPLES // tones.FRAME, tones.FRAME, len(tones.MELODIES)),
        64,
        500,
        "≥ 95 %",
    ),
    World(
        "direction of moving dots",
        dot_patches,
        "frames shuffled, the axis alone gives 50 %",
        dot_patches_frames_shuffled,
        small(64, 32, moving_dots.N_DIRECTIONS),
        64,
        300,
        "≥ 95 %",
    ),
)


def measure(seed: int) -> list[Row]:
    """Train and measure everything with this seed: rows of what, measured, target."""
    rows = []
    for world in WORLDS:
        right, seconds = trained_and_tested(world, world.draw, seed)
        control, _ = trained_and_tested(world, world.draw_control, seed)
        rows += [
            (f"ViT, {world.name}", f"{right:.1%} after {seconds:.0f} s", world.bar),
            (f"ViT, {world.name}, {world.control} (control)", f"{control:.1%}", "reported"),
        ]
    return rows


def trained_and_tested(world: World, draw: Draw, seed: int) -> tuple[float, float]:
    """Return the share of test examples that a model trained from this seed gets right, and its seconds of training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ViT(world.config)
    patches, classes = draw(N_TESTED, torch.Generator().manual_seed(1000 + seed), held_out=True)
    begin = time.perf_counter()
    fit(
        model,
        lambda generator: draw(world.batch, generator, held_out=False),
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        steps=world.steps,
        lr=3e-3,
        warmup=50,
        decay="cosine",
        weight_decay=0.01,
        precision="bf16",
        seed=seed,
        progress=False,
    )
    seconds = time.perf_counter() - begin
    return evaluate(model, lambda model: (model(patches).argmax(-1) == classes).float().mean()), seconds


if __name__ == "__main__":
    for seed in range(3):
        for what, measured, target in measure(seed):
            print(f"seed {seed} · {what}: {measured} (target: {target})", flush=True)
