"""Spread: several samples as violins.

S samples
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Text
from torch import Tensor

from course_lib.viz.plots.shared import Values, digits_of, finite, label_axis, picture_of
from course_lib.viz.theme import (
    BLUE,
    DPI,
    GREY,
    VERMILLION,
    Picture,
    freeze_layout,
    measured,
    new_figure,
    style,
)


@dataclass
class SpreadArtists:
    """What `plot_spread` has drawn."""

    ax: Axes
    violins: list[Any]  # one body a sample
    deviations: list[Line2D]  # the bar from −σ to +σ around the mean of each
    numbers: list[Text]


def plot_spread(
    samples: Mapping[Any, Values],
    *,
    x_label: str | None = None,
    y_label: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> SpreadArtists:
    """Draw each sample as a violin, with one standard deviation to both sides of its mean.

    Args:
        samples: a dict of labels → (S,), finite, at least two different numbers each.
        x_label, y_label, title: words below, beside and above.
        ax: where to draw; None = on a new figure.

    Raises:
        ValueError: no sample, or one that is not one-dimensional, not finite, or has no spread.
    """
    drawn = _samples("plot_spread", samples)
    own_figure = ax is None
    if ax is None:
        ax = new_figure(min(7.0, 1.4 + 1.2 * len(drawn)), 3.2)[1][0]
    with style():
        places = range(len(drawn))
        numbers_of_each = [each.numpy() for each in drawn.values()]
        violins = ax.violinplot(numbers_of_each, places, widths=0.8, showextrema=False)["bodies"]
        for body in violins:
            body.set(facecolor=BLUE, edgecolor=BLUE, alpha=0.35)
        deviations, numbers = [], []
        for place, each in zip(places, drawn.values(), strict=True):
            mean, deviation = float(each.mean()), float(each.std())
            ends = [mean - deviation, mean + deviation]
            deviations += ax.plot([place] * 2, ends, color=VERMILLION, marker="_", markersize=12, linewidth=2)
            top = (place, float(each.max()))
            note = f"σ = {digits_of(deviation)}"
            numbers.append(ax.annotate(note, top, (0, 5), textcoords="offset points", ha="center"))
        label_axis(ax, "x", list(drawn), 0.7 * ax.get_window_extent().width / DPI / len(drawn))
        ax.axhline(0.0, color=GREY, linewidth=0.6, zorder=0)
        ax.margins(y=0.12)
        ax.set(xlabel=x_label or "", ylabel=y_label or "")
        if title is not None:
            ax.set_title(title, parse_math=False)
    if own_figure:
        freeze_layout(ax.figure)
    return SpreadArtists(ax, violins, deviations, numbers)


def describe_spread(samples: Mapping[Any, Values]) -> str:
    """Say in words the standard deviation of each sample. Arguments as in `plot_spread`."""
    drawn = _samples("describe_spread", samples)
    parts = [f"{name}: {measured(digits_of(float(each.std())))}" for name, each in drawn.items()]
    return f"Standard deviations of {len(drawn)} samples: {', '.join(parts)}."


def show_spread(
    samples: Mapping[Any, Values],
    *,
    x_label: str | None = None,
    y_label: str | None = None,
    title: str | None = None,
) -> Picture:
    """Show each sample as a violin with its standard deviation. Arguments as in `plot_spread`."""
    artists = plot_spread(samples, x_label=x_label, y_label=y_label, title=title)
    return picture_of(artists.ax.figure, title, {"": describe_spread(samples)})


def _samples(who: str, samples: Mapping[Any, Values]) -> dict[str, Tensor]:
    if not isinstance(samples, Mapping) or not samples:
        raise ValueError(f"{who}: samples must be a dict of at least one label, got {samples!r}")
    drawn = {str(name): finite(f"{who}: sample {name!r}", each, 1) for name, each in samples.items()}
    for name, each in drawn.items():
        if len(each) < 2 or float(each.std()) == 0:
            raise ValueError(
                f"{who}: sample {name!r} has no spread: all of {len(each)} are {float(each[0]):g}"
            )
    return drawn
