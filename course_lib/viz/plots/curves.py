"""Curves: up to six lines over one axis.

P points of a curve · N data points
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course_lib.viz.plots.shared import Values, digits_of, finite, picture_of
from course_lib.viz.theme import COLOURS, LINES, MARKERS, Picture, freeze_layout, measured, new_figure, style

_MOST_INSIDE = 4  # more names than these would lie on the curves, and stand beside them


@dataclass
class CurveArtists:
    """What `plot_curves` has drawn."""

    ax: Axes
    lines: dict[str, Line2D]


def plot_curves(
    x: Values,
    curves: Mapping[Any, Values],
    *,
    points: tuple[Values, Values] | None = None,
    log_x: bool = False,
    log_y: bool = False,
    x_label: str | None = None,
    y_label: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> CurveArtists:
    """Draw up to six lines, which differ by dash and, where they have few points, by marker.

    Args:
        x: (P,).
        curves: a dict of labels → (P,).
        points: data beside the lines, x and y of (N,) each, drawn as dots.
        log_x, log_y: logarithmic axes.
        x_label, y_label, title: words below, beside and above.
        ax: where to draw; None = on a new figure.

    Raises:
        ValueError: a curve of another length than `x`; none or more than six; a number that is not finite, or
            not above 0 on a logarithmic axis.
    """
    places, drawn = _curves("plot_curves", x, curves)
    dots = None if points is None else [finite("plot_curves: points", each, 1) for each in points]
    if dots is not None and len(dots[0]) != len(dots[1]):
        raise ValueError(f"plot_curves: points need as many x as y, got {len(dots[0])} and {len(dots[1])}")
    checks = [("x", places, log_x), *((repr(name), each, log_y) for name, each in drawn.items())]
    for name, each, is_log in checks:
        if is_log and float(each.min()) <= 0:
            raise ValueError(
                f"plot_curves: a logarithmic axis needs more than 0, {name} has {float(each.min()):g}"
            )
    own_figure = ax is None
    beside = len(drawn) > _MOST_INSIDE
    if ax is None:
        ax = new_figure(7.0 if beside else 5.5, 3.2)[1][0]
    with style():
        lines = {}
        few = len(places) <= 25  # markers on a dense line would look like data
        if dots is not None:
            ax.scatter(*dots, s=14, color="#666666", zorder=3)
        for number_of_line, (name, each) in enumerate(drawn.items()):
            lines[name] = ax.plot(
                places,
                each,
                color=COLOURS[number_of_line],
                linestyle=LINES[number_of_line],
                marker=MARKERS[number_of_line] if few else None,
                markersize=4.5,
                markevery=max(1, len(places) // 10),
                label=name,
            )[0]
        ax.set(xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
        if log_x and len(places) <= 8:  # the few values themselves say more than powers of ten
            ax.set_xticks(places, [f"{float(place):g}" for place in places], minor=False)
            ax.set_xticks([], minor=True)
        elif not log_x and bool((places == places.round()).all()):
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel=x_label or "", ylabel=y_label or "")
        ax.grid(color="#e5e5e5", linewidth=0.6)
        if title is not None:
            ax.set_title(title, parse_math=False)
        if beside:
            ax.legend(frameon=False, handlelength=3, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        elif len(lines) > 1:
            ax.legend(frameon=False, handlelength=3)
    if own_figure:
        freeze_layout(ax.figure)
    return CurveArtists(ax, lines)


def describe_curves(x: Values, curves: Mapping[Any, Values]) -> str:
    """Say in words where each curve starts and ends. Arguments as in `plot_curves`."""
    points, drawn = _curves("describe_curves", x, curves)
    ends = [
        f"{name} from {measured(digits_of(float(each[0])))} to {measured(digits_of(float(each[-1])))}"
        for name, each in drawn.items()
    ]
    return f"From {digits_of(float(points[0]))} to {digits_of(float(points[-1]))}: {'; '.join(ends)}."


def show_curves(x: Values, curves: Mapping[Any, Values], **options: Any) -> Picture:
    """Show up to six lines. Arguments as in `plot_curves`, without `ax`."""
    artists = plot_curves(x, curves, **options)
    return picture_of(artists.ax.figure, options.get("title"), {"": describe_curves(x, curves)})


def _curves(who: str, x: Values, curves: Mapping[Any, Values]) -> tuple[Tensor, dict[str, Tensor]]:
    points = finite(f"{who}: x", x, 1)
    if not isinstance(curves, Mapping) or not 1 <= len(curves) <= len(LINES):
        raise ValueError(f"{who}: curves must be a dict of 1 to {len(LINES)} labels, got {curves!r}")
    drawn = {str(name): finite(f"{who}: curve {name!r}", each, 1) for name, each in curves.items()}
    for name, each in drawn.items():
        if len(each) != len(points):
            raise ValueError(f"{who}: x has {len(points)} points, but curve {name!r} has {len(each)}")
    return points, drawn
