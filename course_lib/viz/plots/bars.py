"""Bars: one number a label.

N labels
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from course_lib.viz.plots.shared import Values, finite, label_axis, labels_for, picture_of, short, tensor_of
from course_lib.viz.theme import (
    BLUE,
    DPI,
    HATCH,
    VERMILLION,
    Picture,
    freeze_layout,
    measured,
    new_figure,
    number,
    style,
)


@dataclass
class BarArtists:
    """What `plot_bars` has drawn."""

    ax: Axes
    bars: list[Rectangle]  # N
    numbers: list[Text]  # N
    has_room: bool  # for every number; else only the largest is written


def plot_bars(
    values: Values,
    labels: Sequence[str] | None = None,
    *,
    limits: tuple[float, float] | None = None,
    y_label: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> BarArtists:
    """Draw one bar a label; the largest is hatched and in the second colour.

    Args:
        values: (N,), finite: a distribution, or scores.
        labels: N words; None = 0, 1, ….
        limits: bottom and top of the axis; None = room for these values.
        y_label, title: words beside and above.
        ax: where to draw; None = on a new figure.

    Raises:
        ValueError: a wrong shape or number of labels, a value that is not finite, limits in the wrong order.
    """
    heights = finite("plot_bars: values", values, 1)
    words = labels_for("plot_bars", labels, len(heights))
    if limits is None:
        low, high = min(0.0, float(heights.min())), max(0.0, float(heights.max()))
        low, high = _with_margin(low, high)
    else:
        low, high = limits
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"plot_bars: limits must be two numbers, the smaller first, got {limits}")
    own_figure = ax is None
    if ax is None:
        ax = new_figure(min(7.0, 1.2 + 0.5 * len(words)), 2.6)[1][0]
    with style():
        bars = list(ax.bar(range(len(words)), [0.0] * len(words), width=0.75, linewidth=0.8))
        ax.set_xlim(-0.6, len(words) - 0.4)
        ax.set_ylim(low, high)
        width = 0.9 * ax.get_window_extent().width / DPI / len(words)
        label_axis(ax, "x", words, width)
        ax.tick_params(axis="x", length=0)
        if low < 0:
            ax.axhline(0.0, color="black", linewidth=0.8)
        if y_label is not None:
            ax.set_ylabel(y_label)
        if title is not None:
            ax.set_title(short(title, 40), parse_math=False)
        has_room = width >= 0.24
        size = min(9.0, width * 72 / 2.6) if has_room else 9.0
        numbers = [ax.text(x, 0.0, "", ha="center", fontsize=size) for x in range(len(words))]
        artists = BarArtists(ax, bars, numbers, has_room)
        update_bars(artists, heights)
    if own_figure:
        freeze_layout(ax.figure)
    return artists


def update_bars(artists: BarArtists, values: Values) -> None:
    """Give the bars other heights (N,); the axis stays, and a bar beyond its end is cut there.

    Raises:
        ValueError: another number of values, or one that is not finite.
    """
    heights = finite("update_bars: values", values, 1)
    if len(heights) != len(artists.bars):
        raise ValueError(f"update_bars: the picture has {len(artists.bars)} bars, got {len(heights)} values")
    low, high = artists.ax.get_ylim()
    largest = int(heights.argmax())
    for place, (bar, height) in enumerate(zip(artists.bars, heights.tolist(), strict=True)):
        bar.set_height(height)
        bar.set_facecolor("white" if place == largest else BLUE)
        bar.set_edgecolor(VERMILLION if place == largest else BLUE)
        bar.set_hatch(HATCH if place == largest else "")
    digits = 2 if max(abs(low), abs(high)) < 10 else 1 if max(abs(low), abs(high)) < 100 else 0
    gap = 0.015 * (high - low)
    for place, (text, height) in enumerate(zip(artists.numbers, heights.tolist(), strict=True)):
        text.set_visible(artists.has_room or place == largest)
        inside = min(max(height, low), high)
        # A number stands outside its bar, and turns inwards only where the axis ends.
        above = height >= 0
        text.set_text(number(height, digits))
        text.set_y(min(inside + gap, high - 6 * gap) if above else max(inside - gap, low + 6 * gap))
        text.set_va("bottom" if above else "top")


def describe_bars(values: Values, labels: Sequence[str] | None = None) -> str:
    """Say in words which label is largest, and of a distribution its entropy. Arguments as in `plot_bars`."""
    heights = finite("describe_bars: values", values, 1)
    words = labels_for("describe_bars", labels, len(heights))
    largest = int(heights.argmax())
    text = f"{len(words)} labels, largest " + measured(
        f"'{words[largest]}' {number(float(heights[largest]))}"
    )
    if len(words) > 1 and float(heights.min()) >= 0 and abs(float(heights.sum()) - 1) < 1e-3:
        most = number(math.log(len(words)))
        text += f"; entropy {measured(number(entropy(heights)))} of at most {most} nats"
    return text + "."


def show_bars(
    values: Values | Mapping[str, Values],
    labels: Sequence[str] | None = None,
    *,
    y_label: str | None = None,
    title: str | None = None,
) -> Picture:
    """Show the bars of one set of values, or of several side by side on one axis.

    Args:
        values: (N,), or a dict of names → (N,): at most eight panels.
        labels: N words; None = 0, 1, ….
        y_label, title: words beside and above.

    Raises:
        ValueError: as in `plot_bars`; panels of different lengths; none or more than eight.
    """
    panels = (
        {str(name): given for name, given in values.items()} if isinstance(values, Mapping) else {"": values}
    )
    if not 1 <= len(panels) <= 8:
        raise ValueError(f"show_bars: a dict of 1 to 8 panels, got {len(panels)}")
    heights = {name: finite(f"show_bars: {name or 'values'}", given, 1) for name, given in panels.items()}
    lengths = sorted({len(each) for each in heights.values()})
    if len(lengths) > 1:
        raise ValueError(f"show_bars: the panels must have one length, got lengths {lengths}")
    words = labels_for("show_bars", labels, lengths[0])
    n_columns = len(panels) if len(panels) <= 4 else math.ceil(len(panels) / 2)
    n_rows = math.ceil(len(panels) / n_columns)
    width = min(7.0, 0.8 + n_columns * (0.4 + 0.45 * len(words)))
    figure, axes = new_figure(width, 2.5 * n_rows + 0.3 * (title is not None), n_columns, n_rows)
    every = torch.cat(list(heights.values()))
    limits = _with_margin(min(0.0, float(every.min())), max(0.0, float(every.max())))
    for place, ((name, each), ax) in enumerate(zip(heights.items(), axes, strict=False)):
        plot_bars(
            each,
            words,
            limits=limits,
            title=name or None,
            ax=ax,
            y_label=None if place % n_columns else y_label,
        )
        if place % n_columns:
            ax.tick_params(labelleft=False)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    if title is not None:
        with style():
            figure.suptitle(title, fontsize=11)
    freeze_layout(figure)
    return picture_of(figure, title, {name: describe_bars(each, words) for name, each in heights.items()})


def _with_margin(low: float, high: float) -> tuple[float, float]:
    """Return limits with room for a number at the ends that have bars."""
    if low == high:
        return 0.0, 1.0
    room = 0.12 * (high - low)
    return (low - room if low < 0 else low, high + room if high > 0 else high)


def entropy(weights: Values) -> float:
    """Return the entropy of a distribution (N,) in nats: −Σ p ln p.

    It is 0 where one label is certain and ln N where N labels are equal.
    """
    p = tensor_of("entropy: weights", weights, 1)
    return float(torch.special.entr(p).sum())  # entr(0) = 0, as the limit of p ln p is
