"""Measure the course, and write what was found into two tables.

    python benchmarks/run.py                  speed, beside its peers, into results.md
    python benchmarks/run.py encoder xlnet    only these sections of it
    python benchmarks/run.py quality          what the models learn, three seeds, into quality.md (about an hour)
    python benchmarks/run.py quality bert     only this section of it

Everything runs on this machine, one thing after the other; nothing else should run on it meanwhile. A section that
is measured anew takes the place of the old one; the others stay.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

HERE = Path(__file__).parent
SPEED = ("encoder", "xlnet", "generation", "to_quality", "course")  # speed_….py
QUALITY = ("translation", "bert", "xlnet", "memory", "language_model", "pictures")  # quality_….py
SLOW_BASELINES = ("translation", "language_model")  # at several rates each: measured for the first seed only
SEEDS = (0, 1, 2)
PACKAGES = ("torch", "transformers", "tokenizers", "d2l", "matplotlib", "ipywidgets")


def machine() -> str:
    """Name what the figures depend on, without a date."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        cpu = names[0] if names else cpu
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    # What else ran meanwhile makes seconds longer; a quiet machine shows about as much load as there are threads.
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{cpu}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{load}; "
        f"Python {platform.python_version()}, {versions}"
    )


def speed(part: str) -> list[str]:
    """Return the lines of a table of speed."""
    rows = importlib.import_module(f"speed_{part}").measure()
    return ["| what | median | target |", "|---|---|---|"] + [
        f"| {what} | {value} | {target} |" for what, value, target in rows
    ]


def quality(part: str) -> list[str]:
    """Return the lines of a table of quality, with a column for each seed."""
    measure = importlib.import_module(f"quality_{part}").measure
    found: dict[str, list[str]] = {}
    targets = {}
    for seed in SEEDS:
        only_ours = part in SLOW_BASELINES and seed != SEEDS[0]
        for what, value, target in measure(seed, baselines=False) if only_ours else measure(seed):
            found.setdefault(what, []).append(value)
            targets[what] = target
    seeds = " | ".join(f"seed {seed}" for seed in SEEDS)
    lines = [f"| what | {seeds} | target |", "|---" * (len(SEEDS) + 2) + "|"]
    for what, values in found.items():
        values += ["–"] * (len(SEEDS) - len(values))
        lines.append(f"| {what} | {' | '.join(values)} | {targets[what]} |")
    return lines


def sections(path: Path) -> dict[str, str]:
    """Return the sections of a table that was written before, by their headings."""
    if not path.exists():
        return {}
    parts = path.read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.split("\n", 1)[0]: part.split("\n", 1)[1].strip() for part in parts}


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for, and keep each section as soon as it is there."""
    of_quality = arguments[:1] == ["quality"]
    every, title, name = (
        (QUALITY, "How well", "quality.md") if of_quality else (SPEED, "How fast", "results.md")
    )
    asked = arguments[1:] if of_quality else arguments
    unknown = [part for part in asked if part not in every]
    if unknown:
        raise SystemExit(f"run.py: {unknown[0]!r} is none of {', '.join(every)}")
    path = HERE / name
    for part in asked or every:
        lines = quality(part) if of_quality else speed(part)
        print("\n".join(lines), flush=True)
        kept = sections(path) | {part: "\n".join([machine(), "", *lines])}
        text = "\n\n".join(f"## {one}\n\n{kept[one]}" for one in every if one in kept)
        path.write_text(f"# {title}\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
