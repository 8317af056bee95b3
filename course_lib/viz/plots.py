"""Static pictures of attention: tensors and tokens in, artists or a `Picture` out.

Every picture x comes in up to four functions of one scheme:

    show_x(data, …) -> Picture          one call in a notebook cell
    plot_x(data, …, ax=None) -> artists  on axes of your own (None = on a new figure, `artists.ax.figure`)
    update_x(artists, data)              new data into the same artists; the pictures that move have it
    describe_x(data, …) -> str           the same in words: the text alternative

The scale, the labels and the number of cells are settled by `plot_x`; `update_x` changes values only, because
drawing afresh takes twice as long.

H heads · Tq queries · Tk keys · N words or labels · S samples · P points of a curve
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import IdentityTransform
from torch import Tensor

from course_lib.viz.theme import (
    BLUE,
    COLOURS,
    DIVERGING,
    DPI,
    GREY,
    HATCH,
    HIDDEN,
    LINES,
    MARKERS,
    SEQUENTIAL,
    VERMILLION,
    Picture,
    freeze_layout,
    measured,
    new_figure,
    number,
    percent,
    style,
)

Values = Tensor | np.ndarray | Sequence  # whatever torch.as_tensor understands

MAX_NUMBERED = 12  # a matrix up to 12 × 12 has its numbers written into the cells
_NUMBER_WIDTH = 0.3  # inches that a number in a cell needs
_LABEL_HEIGHT = 0.13  # inches between two labels on an axis


# ----------------------------------------------------------------------------------------------------
# Matrices: weights (from 0) and scores (signed)


@dataclass
class MatrixArtists:
    """What `plot_weights` and `plot_scores` have drawn."""

    ax: Axes
    image: AxesImage
    cells: list[list[Text]]  # Tq lists of Tk numbers; empty where the cells are too many or too small


def plot_weights(
    weights: Values,
    query_tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    *,
    limit: float | None = None,
    title: str | None = None,
    numbers: bool | None = None,
    ax: Axes | None = None,
) -> MatrixArtists:
    """Draw attention weights as a heatmap: rows are queries, columns are keys.

    Args:
        weights: (Tq, Tk), between 0 and 1; NaN is drawn grey.
        query_tokens: Tq labels of the rows; None = positions 0, 1, ….
        key_tokens: Tk labels of the columns; None = the query tokens where Tq = Tk, else positions.
        limit: the weight with the lightest colour; None = the largest here.
        title: above the heatmap.
        numbers: write the weights into the cells; None = where there are at most 12 × 12 and they fit.
        ax: where to draw; None = on a new figure.

    Raises:
        ValueError: a wrong shape, a wrong number of tokens, or a weight outside [0, 1].
    """
    matrix = _weights("plot_weights", weights, 2)
    limit = _largest(matrix) if limit is None else limit
    return _plot_matrix(
        "plot_weights", matrix, query_tokens, key_tokens, SEQUENTIAL, 0.0, limit, title, numbers, ax
    )


def plot_scores(
    scores: Values,
    query_tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    *,
    limit: float | None = None,
    title: str | None = None,
    numbers: bool | None = None,
    ax: Axes | None = None,
) -> MatrixArtists:
    """Draw scores, or other signed numbers, in a map whose white is zero. Arguments as in `plot_weights`.

    Args:
        scores: (Tq, Tk); −∞ (a hidden key) and NaN are drawn grey.
        limit: the size of the number with the strongest colour, on both sides of zero.

    Raises:
        ValueError: a wrong shape or a wrong number of tokens.
    """
    matrix = _tensor("plot_scores: scores", scores, 2)
    limit = _largest(matrix) if limit is None else limit
    return _plot_matrix(
        "plot_scores", matrix, query_tokens, key_tokens, DIVERGING, -limit, limit, title, numbers, ax
    )


def update_weights(artists: MatrixArtists, weights: Values) -> None:
    """Show other weights (Tq, Tk) in the same heatmap; the scale stays."""
    _update_matrix("update_weights", artists, _weights("update_weights", weights, 2))


def update_scores(artists: MatrixArtists, scores: Values) -> None:
    """Show other scores (Tq, Tk) in the same heatmap; the scale stays."""
    _update_matrix("update_scores", artists, _tensor("update_scores: scores", scores, 2))


def describe_weights(
    weights: Values,
    query_tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    *,
    at_most: int = 6,
) -> str:
    """Say in words where each query looks most.

    The first three arguments are those of `plot_weights`; `at_most` queries are named.
    """
    matrix = _weights("describe_weights", weights, 2)
    rows, columns = _axis_tokens("describe_weights", matrix, query_tokens, key_tokens)
    looks = []
    for token, row in zip(rows[:at_most], matrix[:at_most]):
        key = int(row.nan_to_num(-1.0).argmax())
        if not row.isfinite().any() or float(row[key]) == 0:
            looks.append(f"'{token}' at nothing")
        else:
            looks.append(f"'{token}' most at " + measured(f"'{columns[key]}' {percent(float(row[key]))}"))
    more = f", and {len(rows) - at_most} more" if len(rows) > at_most else ""
    return f"Weights of {len(rows)} queries over {len(columns)} keys: {', '.join(looks)}{more}."


def describe_scores(
    scores: Values, query_tokens: Sequence[str] | None = None, key_tokens: Sequence[str] | None = None
) -> str:
    """Say in words how far the scores reach and which pair has the largest. Arguments as in `plot_scores`."""
    matrix = _tensor("describe_scores: scores", scores, 2)
    rows, columns = _axis_tokens("describe_scores", matrix, query_tokens, key_tokens)
    text = f"Scores of {len(rows)} queries against {len(columns)} keys"
    finite = matrix[matrix.isfinite()]
    if len(finite) == 0:
        return f"{text}, none of them finite."
    top = int(matrix.masked_fill(~matrix.isfinite(), -math.inf).argmax())
    row, column = divmod(top, len(columns))
    hidden = matrix.numel() - len(finite)
    reach = measured(f"{number(float(finite.min()))} to {number(float(finite.max()))}")
    pair = measured(f"'{rows[row]}' with '{columns[column]}'")
    return f"{text}, from {reach}; the largest is {pair}" + (f"; {hidden} are not finite." if hidden else ".")


def show_weights(
    weights: Values | Mapping[str, Values],
    query_tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    *,
    title: str | None = None,
) -> Picture:
    """Show one heatmap of weights, or several side by side on one scale.

    Args:
        weights: (Tq, Tk), or (H, Tq, Tk) for a panel a head, or a dict of names → (Tq, Tk).
        query_tokens, key_tokens: as in `plot_weights`.
        title: above all panels.

    Raises:
        ValueError: as in `plot_weights`, or panels of different shapes.
    """
    panels = _panels("show_weights", weights)
    few = max(1, 6 // len(panels))  # many panels: a word about each
    describe = partial(describe_weights, at_most=few)
    return _show_matrices("show_weights", panels, query_tokens, key_tokens, title, plot_weights, describe)


def show_scores(
    scores: Values | Mapping[str, Values],
    query_tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    *,
    title: str | None = None,
) -> Picture:
    """Show one heatmap of signed scores, or several on one scale. Arguments as in `show_weights`."""
    panels = _panels("show_scores", scores)
    return _show_matrices(
        "show_scores", panels, query_tokens, key_tokens, title, plot_scores, describe_scores
    )


def _show_matrices(
    who: str,
    panels: dict[str, Tensor],
    query_tokens: Sequence[str] | None,
    key_tokens: Sequence[str] | None,
    title: str | None,
    plot: Callable[..., MatrixArtists],
    describe: Callable[..., str],
) -> Picture:
    first = next(iter(panels.values()))
    rows, columns = _axis_tokens(who, first, query_tokens, key_tokens)
    n_columns = {1: 1, 2: 2, 3: 3, 4: 2, 5: 3, 6: 3, 9: 3}.get(len(panels), 4)
    n_rows = math.ceil(len(panels) / n_columns)
    width, cells, labels = _matrix_size(rows, columns, n_columns)
    heading = 0.3 if len(panels) > 1 or "" not in panels else 0.0
    height = min((cells + heading) * n_rows + labels + 0.3 * (title is not None), 9.0)
    figure, axes = new_figure(width, height, n_columns, n_rows)
    limit = _largest(torch.stack(list(panels.values())))
    for (name, matrix), ax in zip(panels.items(), axes, strict=False):
        artists = plot(matrix, rows, columns, limit=limit, title=name or None, ax=ax)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    with style():
        # Words stand once, at the edge of a grid of panels: repeated, they would take the room of the cells.
        for place, ax in enumerate(axes[: len(panels)]):
            if place % n_columns:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
            if place + n_columns < len(panels):
                ax.set_xlabel("")
                ax.tick_params(labelbottom=False)
        figure.colorbar(artists.image, ax=axes, shrink=0.8, aspect=25, pad=0.02)
        if title is not None:
            figure.suptitle(title, fontsize=11)
    freeze_layout(figure)
    return _picture(figure, title, {name: describe(matrix, rows, columns) for name, matrix in panels.items()})


def _plot_matrix(
    who: str,
    matrix: Tensor,
    query_tokens: Sequence[str] | None,
    key_tokens: Sequence[str] | None,
    colours: str,
    low: float,
    high: float,
    title: str | None,
    numbers: bool | None,
    ax: Axes | None,
) -> MatrixArtists:
    if not (math.isfinite(high) and high > 0):
        raise ValueError(f"{who}: limit must be a number above 0, got {high}")
    rows, columns = _axis_tokens(who, matrix, query_tokens, key_tokens)
    own_figure = ax is None
    if ax is None:
        width, cells, labels = _matrix_size(rows, columns, 1)
        ax = new_figure(width, cells + labels + 0.3 * (title is not None))[1][0]
    with style():
        colour_map = matplotlib.colormaps[colours].with_extremes(bad=HIDDEN)
        image = ax.imshow(_maskable(matrix), cmap=colour_map, vmin=low, vmax=high, interpolation="nearest")
        ax.spines[:].set_visible(False)
        cell = _cell_size(ax, len(rows), len(columns))
        _label_axis(ax, "x", columns, cell)
        _label_axis(ax, "y", rows, cell)
        ax.set(xlabel="key", ylabel="query")
        if title is not None:
            ax.set_title(_short(title, 40), parse_math=False)
        artists = MatrixArtists(ax, image, [])
        fits = max(len(rows), len(columns)) <= MAX_NUMBERED and cell >= _NUMBER_WIDTH
        if fits if numbers is None else numbers:
            size = min(9.0, cell * 72 / 2.9)  # four letters in a cell, with a margin
            artists.cells = [
                [ax.text(x, y, "", ha="center", va="center", fontsize=size) for x in range(len(columns))]
                for y in range(len(rows))
            ]
        _update_matrix(who, artists, matrix)
    if own_figure:
        freeze_layout(ax.figure)
    return artists


def _update_matrix(who: str, artists: MatrixArtists, matrix: Tensor) -> None:
    shape = artists.image.get_array().shape
    if tuple(matrix.shape) != shape:
        raise ValueError(f"{who}: the picture shows a {shape} matrix, got shape {tuple(matrix.shape)}")
    artists.image.set_data(_maskable(matrix))
    if not artists.cells:
        return
    colours = artists.image.cmap(artists.image.norm(_maskable(matrix)))  # (Tq, Tk, 4)
    light = colours[..., :3] @ np.array([0.299, 0.587, 0.114]) > 0.5  # how bright the eye finds the cell
    largest = float(matrix[matrix.isfinite()].abs().max()) if matrix.isfinite().any() else 0.0
    digits = 2 if largest < 10 else 1 if largest < 100 else 0  # a number keeps to about four letters
    for cells, row, row_is_light in zip(artists.cells, matrix.tolist(), light, strict=True):
        for cell, value, is_light in zip(cells, row, row_is_light, strict=True):
            cell.set_text(number(value, digits))
            cell.set_color("black" if is_light else "white")


def _panels(who: str, given: Values | Mapping[str, Values]) -> dict[str, Tensor]:
    if isinstance(given, Mapping):
        if not given:
            raise ValueError(f"{who}: an empty dict holds nothing to show")
        panels = {str(name): _tensor(f"{who}: {name!r}", matrix, 2) for name, matrix in given.items()}
        shapes = {tuple(matrix.shape) for matrix in panels.values()}
        if len(shapes) > 1:
            raise ValueError(f"{who}: the matrices must have one shape, got {sorted(shapes)}")
        return panels
    tensor = _tensor(f"{who}: the matrix", given, 2, 3)
    if tensor.dim() == 2:
        return {"": tensor}
    return {f"head {head}": matrix for head, matrix in enumerate(tensor)}


def _matrix_size(rows: Sequence[str], columns: Sequence[str], n_columns: int) -> tuple[float, float, float]:
    """Return, in inches, the figure's width, the height of a panel's cells, and that of the labels below."""
    labels = 0.075 * max(len(_short(token)) for token in rows) + 0.35
    cell = min(0.5, (6.3 - labels - 0.08 * n_columns) / n_columns / len(columns), 6.0 / len(rows))
    # Tokens that do not fit beside each other are turned by 45°, and then need room below.
    below = 0.3 + 0.055 * max(len(_short(token)) for token in columns)
    return (
        max(3.0, labels + 0.7 + n_columns * (cell * len(columns) + 0.08)),
        cell * len(rows) + 0.1,
        below + 0.15,
    )


def _cell_size(ax: Axes, n_rows: int, n_columns: int) -> float:
    """Estimate how large the square cells will come out, in inches; the layout is computed only later."""
    room = ax.get_window_extent()
    return 0.9 * min(room.width / n_columns, room.height / n_rows) / DPI


# ----------------------------------------------------------------------------------------------------
# Bars: one number a label


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
    heights = _finite("plot_bars: values", values, 1)
    words = _labels("plot_bars", labels, len(heights))
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
        _label_axis(ax, "x", words, width)
        ax.tick_params(axis="x", length=0)
        if low < 0:
            ax.axhline(0.0, color="black", linewidth=0.8)
        if y_label is not None:
            ax.set_ylabel(y_label)
        if title is not None:
            ax.set_title(_short(title, 40), parse_math=False)
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
    heights = _finite("update_bars: values", values, 1)
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
    heights = _finite("describe_bars: values", values, 1)
    words = _labels("describe_bars", labels, len(heights))
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
    heights = {name: _finite(f"show_bars: {name or 'values'}", given, 1) for name, given in panels.items()}
    lengths = sorted({len(each) for each in heights.values()})
    if len(lengths) > 1:
        raise ValueError(f"show_bars: the panels must have one length, got lengths {lengths}")
    words = _labels("show_bars", labels, lengths[0])
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
    return _picture(figure, title, {name: describe_bars(each, words) for name, each in heights.items()})


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
    p = _tensor("entropy: weights", weights, 1)
    return float(torch.special.entr(p).sum())  # entr(0) = 0, as the limit of p ln p is


# ----------------------------------------------------------------------------------------------------
# Spread: several samples as violins


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
            note = f"σ = {_digits(deviation)}"
            numbers.append(ax.annotate(note, top, (0, 5), textcoords="offset points", ha="center"))
        _label_axis(ax, "x", list(drawn), 0.7 * ax.get_window_extent().width / DPI / len(drawn))
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
    parts = [f"{name}: {measured(_digits(float(each.std())))}" for name, each in drawn.items()]
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
    return _picture(artists.ax.figure, title, {"": describe_spread(samples)})


def _samples(who: str, samples: Mapping[Any, Values]) -> dict[str, Tensor]:
    if not isinstance(samples, Mapping) or not samples:
        raise ValueError(f"{who}: samples must be a dict of at least one label, got {samples!r}")
    drawn = {str(name): _finite(f"{who}: sample {name!r}", each, 1) for name, each in samples.items()}
    for name, each in drawn.items():
        if len(each) < 2 or float(each.std()) == 0:
            raise ValueError(
                f"{who}: sample {name!r} has no spread: all of {len(each)} are {float(each[0]):g}"
            )
    return drawn


# ----------------------------------------------------------------------------------------------------
# Curves


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
    dots = None if points is None else [_finite("plot_curves: points", each, 1) for each in points]
    if dots is not None and len(dots[0]) != len(dots[1]):
        raise ValueError(f"plot_curves: points need as many x as y, got {len(dots[0])} and {len(dots[1])}")
    checks = [("x", places, log_x), *((repr(name), each, log_y) for name, each in drawn.items())]
    for name, each, is_log in checks:
        if is_log and float(each.min()) <= 0:
            raise ValueError(
                f"plot_curves: a logarithmic axis needs more than 0, {name} has {float(each.min()):g}"
            )
    own_figure = ax is None
    if ax is None:
        ax = new_figure(5.5, 3.2)[1][0]
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
        if len(lines) > 1:
            ax.legend(frameon=False, handlelength=3)
    if own_figure:
        freeze_layout(ax.figure)
    return CurveArtists(ax, lines)


def describe_curves(x: Values, curves: Mapping[Any, Values]) -> str:
    """Say in words where each curve starts and ends. Arguments as in `plot_curves`."""
    points, drawn = _curves("describe_curves", x, curves)
    ends = [
        f"{name} from {measured(_digits(float(each[0])))} to {measured(_digits(float(each[-1])))}"
        for name, each in drawn.items()
    ]
    return f"From {_digits(float(points[0]))} to {_digits(float(points[-1]))}: {'; '.join(ends)}."


def show_curves(x: Values, curves: Mapping[Any, Values], **options: Any) -> Picture:
    """Show up to six lines. Arguments as in `plot_curves`, without `ax`."""
    artists = plot_curves(x, curves, **options)
    return _picture(artists.ax.figure, options.get("title"), {"": describe_curves(x, curves)})


def _curves(who: str, x: Values, curves: Mapping[Any, Values]) -> tuple[Tensor, dict[str, Tensor]]:
    points = _finite(f"{who}: x", x, 1)
    if not isinstance(curves, Mapping) or not 1 <= len(curves) <= len(LINES):
        raise ValueError(f"{who}: curves must be a dict of 1 to {len(LINES)} labels, got {curves!r}")
    drawn = {str(name): _finite(f"{who}: curve {name!r}", each, 1) for name, each in curves.items()}
    for name, each in drawn.items():
        if len(each) != len(points):
            raise ValueError(f"{who}: x has {len(points)} points, but curve {name!r} has {len(each)}")
    return points, drawn


# ----------------------------------------------------------------------------------------------------
# Map: words on a plane


@dataclass
class MapArtists:
    """What `plot_map` has drawn. Every word has its artists, also one that is not shown at the moment."""

    ax: Axes
    words: list[str]
    groups: list[tuple[list[int], PathCollection]]  # which words carry which marker
    labels: list[Text]  # one a word
    grid: LineCollection
    spacing: list[float]  # where the unwarped grid has its lines
    ghosts: PathCollection
    arrows: list[FancyArrowPatch]  # one a word, from its ghost to where it went
    leaders: LineCollection  # from a word to its label, where that had to stand further off
    shown: dict[str, tuple[float, float]] = field(default_factory=dict)  # where each word stands now
    moved: list[str] = field(default_factory=list)  # the words that have a ghost


def plot_map(
    points: Values,
    words: Sequence[str],
    *,
    groups: Mapping[str, Iterable[str]] | None = None,
    moved: Mapping[str, Values] | None = None,
    warp: Values | None = None,
    shown: Iterable[str] | None = None,
    limits: tuple[float, float, float, float] | None = None,
    axis_names: tuple[str, str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> MapArtists:
    """Draw words where their two numbers put them, over the grid of the plane.

    Args:
        points: (N, 2), the table rows.
        words: N different words.
        groups: names → words; each group has its own marker and colour, words without a group another.
        moved: words → (2,): where attention moved them. The table row stays behind as a hollow ghost, an
            arrow leads from it to the word.
        warp: (2, 2) matrix W: the whole plane, grid and words, is drawn as x W. None = as it is.
        shown: the words to draw; None = all.
        limits: left, right, bottom, top; None = room for everything drawn.
        axis_names: what the two numbers say.
        title: above the map.
        ax: where to draw; None = on a new figure.

    Raises:
        ValueError: a wrong shape, a word not on the map or there twice, a position that is not finite.
    """
    table = _points("plot_map", points, words)
    taken: dict[str, str] = {}
    for name, members in (groups or {}).items():
        for member in members:
            if member not in words:
                raise ValueError(f"plot_map: group {name!r} holds {member!r}, which is not on the map")
            if taken.setdefault(member, name) != name:
                raise ValueError(f"plot_map: {member!r} is in the groups {taken[member]!r} and {name!r}")
    if len(groups or {}) > len(MARKERS) - 1:
        raise ValueError(f"plot_map: at most {len(MARKERS) - 1} groups fit, got {len(groups or {})}")
    own_figure = ax is None
    if ax is None:
        ax = new_figure(4.6, 4.4)[1][0]
    with style():
        reach = [*table.flatten().tolist(), 0.0]
        spacing = [float(line) for line in range(math.floor(min(reach)) - 1, math.ceil(max(reach)) + 2)]
        grid = LineCollection([], linewidths=0.7, colors="#c8c8c8", zorder=0)
        ax.add_collection(grid, autolim=False)
        leaders = LineCollection([], linewidths=0.6, colors=GREY, zorder=2, transform=IdentityTransform())
        leaders.set_in_layout(False)
        ax.add_collection(leaders, autolim=False)
        drawn_groups = []
        names: list[str | None] = [*(groups or {}), None]
        for number_of_group, group in enumerate(names):
            members_of_it = [at for at, word in enumerate(words) if taken.get(word) == group]
            look = {"color": GREY, "marker": "P"}
            if group is not None:
                look = {"color": COLOURS[number_of_group], "marker": MARKERS[number_of_group]}
            elif not groups:
                look = {"color": BLUE, "marker": "o"}
            if members_of_it:
                markers = ax.scatter([], [], s=34, zorder=3, label=group or "other", **look)
                drawn_groups.append((members_of_it, markers))
        ghosts = ax.scatter([], [], s=44, facecolors="none", edgecolors="black", linewidths=1.2, zorder=4)
        arrows = [
            FancyArrowPatch(
                (0, 0),
                (1, 1),
                arrowstyle="-|>",
                mutation_scale=11,
                color="black",
                linewidth=1.3,
                shrinkA=4,
                shrinkB=3,
            )
            for _ in words
        ]
        labels = [ax.text(0, 0, "", zorder=5, fontsize=9, parse_math=False) for _ in words]
        for arrow in arrows:
            arrow.set(zorder=4, in_layout=False)
            ax.add_patch(arrow)
        for label in labels:
            label.set(transform=IdentityTransform(), ha="center", va="center")
            label.set_in_layout(False)  # their place is chosen after the layout, in pixels
        ax.set_aspect("equal")
        artists = MapArtists(ax, list(words), drawn_groups, labels, grid, spacing, ghosts, arrows, leaders)
        if limits is None:
            ends = [
                _warped("plot_map", _point(f"plot_map: {word!r}", place), warp)
                for word, place in (moved or {}).items()
            ]
            limits = _room(torch.stack([*_warped("plot_map", table, warp), *ends]))
        ax.set(xlim=limits[:2], ylim=limits[2:])
        if axis_names is None:
            ax.set(xticks=[], yticks=[])  # ticks without labels would cost a third of every redraw
        else:
            ax.set(xlabel=axis_names[0], ylabel=axis_names[1])
        if title is not None:
            ax.set_title(title, parse_math=False)
        if groups:
            ax.legend(loc="upper right", frameon=False, handletextpad=0.2, borderpad=0.1)
        update_map(artists, table, moved=moved, warp=warp, shown=shown)
    if own_figure:
        freeze_layout(ax.figure)
        place_labels(artists)
    return artists


def update_map(
    artists: MapArtists,
    points: Values,
    *,
    moved: Mapping[str, Values] | None = None,
    warp: Values | None = None,
    shown: Iterable[str] | None = None,
) -> None:
    """Show the same words (N, 2) elsewhere, others moved, another warp, or fewer words; the limits stay.

    Arguments and errors as in `plot_map`.
    """
    table = _points("update_map", points, artists.words)
    visible = set(artists.words if shown is None else shown)
    moved = dict(moved or {})
    for word in [*sorted(visible), *moved]:
        if word not in artists.words:
            raise ValueError(f"update_map: {word!r} is not on the map")
    stands = _warped("update_map", table, warp)  # (N, 2)
    ghosts, artists.moved = [], []
    for place, (word, arrow) in enumerate(zip(artists.words, artists.arrows, strict=True)):
        arrow.set_visible(word in visible and word in moved)
        if arrow.get_visible():
            goes_to = _warped("update_map", _point(f"update_map: {word!r}", moved[word]), warp)  # (2,)
            ghosts.append(stands[place].tolist())
            artists.moved.append(word)
            arrow.set_positions(stands[place].tolist(), goes_to.tolist())
            stands[place] = goes_to
    artists.ghosts.set_offsets(np.array(ghosts).reshape(-1, 2))
    for members, markers in artists.groups:
        offsets = [stands[member].tolist() for member in members if artists.words[member] in visible]
        markers.set_offsets(np.array(offsets).reshape(-1, 2))
    artists.shown = {
        word: tuple(stands[i].tolist()) for i, word in enumerate(artists.words) if word in visible
    }
    low, high = artists.spacing[0], artists.spacing[-1]
    lines = [[(at, low), (at, high)] for at in artists.spacing]
    lines += [[(low, at), (high, at)] for at in artists.spacing]
    ends = _warped("update_map", torch.tensor(lines, dtype=torch.float64).view(-1, 2), warp)
    artists.grid.set_segments(ends.view(-1, 2, 2).numpy())
    place_labels(artists)


def place_labels(artists: MapArtists) -> None:
    """Put each label beside its word, where it covers nothing and is nearer to no other word."""
    to_pixels = artists.ax.transData.transform
    frame = artists.ax.get_window_extent()
    stands = {word: tuple(to_pixels(place)) for word, place in artists.shown.items()}
    markers = list(stands.values())
    for ghost, word in zip(artists.ghosts.get_offsets(), artists.moved, strict=True):
        start, end = to_pixels(ghost), np.array(stands[word])
        markers += [
            tuple(start + share * (end - start)) for share in np.linspace(0, 1, 9)
        ]  # nor on the arrow
    taken = [_Box(x - 5, y - 5, x + 5, y + 5) for x, y in markers]
    height, leaders = 14.0, []
    for word, label in zip(artists.words, artists.labels, strict=True):
        label.set_visible(word in stands)
        if word not in stands:
            continue
        text = _short(word)
        width = 6.6 * len(text) + 3  # pixels of 9 pt DejaVu Sans, a little generously
        x, y = stands[word]
        others = [place for place in stands.values() if place != (x, y)]
        side, up = width / 2 + 8, height / 2 + 6
        beside = [(side, 0.0), (-side, 0.0), (0.0, up), (0.0, -up)]
        further = [
            (a * side, b * height * step) for step in (1, 2, 3, 4, 5) for b in (1, -1) for a in (1, -1)
        ]
        best, least = beside[0], math.inf
        for dx, dy in [*beside, *further]:
            box = _Box(x + dx - width / 2, y + dy - height / 2, x + dx + width / 2, y + dy + height / 2)
            cost = sum(box.shared(other) for other in taken)
            cost += 4 * (width * height - box.shared(_Box(frame.x0, frame.y0, frame.x1, frame.y1)))
            own = box.distance(x, y)
            cost += 60 * any(box.distance(*other) < own + 2 for other in others)
            cost = round(cost, 3)  # noise in the last digit must not choose between two equal places
            if cost < least:
                best, least = (dx, dy), cost
            if cost == 0:
                break
        label.set_text(text)
        label.set_position((x + best[0], y + best[1]))
        left, bottom = x + best[0] - width / 2, y + best[1] - height / 2
        taken.append(_Box(left, bottom, left + width, bottom + height))
        if best in further:
            turn = math.copysign(height / 2 - 2, best[1])
            leaders.append([(x, y), (x + best[0] * 0.5, y + best[1] - turn)])
    artists.leaders.set_segments(leaders)


class _Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float

    def shared(self, other: _Box) -> float:
        """Return how many square pixels two rectangles share."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return width * height if width > 0 and height > 0 else 0.0

    def distance(self, x: float, y: float) -> float:
        """Return how far a point lies from the rectangle, 0 inside."""
        return math.hypot(max(self.left - x, 0, x - self.right), max(self.bottom - y, 0, y - self.top))


def describe_map(points: Values, words: Sequence[str], *, moved: Mapping[str, Values] | None = None) -> str:
    """Say in words what moved, how far and towards which other word. Arguments as in `plot_map`."""
    table = _points("describe_map", points, words)
    text = f"{len(words)} words on the map."
    for word, place in (moved or {}).items():
        if word not in words:
            raise ValueError(f"describe_map: {word!r} is not on the map")
        start = table[list(words).index(word)]
        step = _point(f"describe_map: {word!r}", place) - start
        length = float(step.norm())
        toward = {
            other: float(torch.cosine_similarity(step, row - start, dim=0))
            for other, row in zip(words, table, strict=True)
            if other != word and float((row - start).norm()) > 0
        }
        if length < 0.005 or not toward:
            text += f" '{word}' stays " + measured(f"({number(length)})") + "."
        else:
            nearest = max(toward, key=lambda other: toward[other])
            text += f" '{word}' moves " + measured(f"{number(length)}, in the direction of '{nearest}'") + "."
    return text


def show_map(
    points: Values,
    words: Sequence[str],
    *,
    groups: Mapping[str, Iterable[str]] | None = None,
    moved: Mapping[str, Values] | None = None,
    warp: Values | Mapping[str, Values] | None = None,
    axis_names: tuple[str, str] | None = None,
    title: str | None = None,
) -> Picture:
    """Show words on the plane, or several views of it side by side.

    Args:
        warp: (2, 2) as in `plot_map`, or a dict of names → (2, 2): a panel each, on one scale.

    The other arguments are those of `plot_map`.

    Raises:
        ValueError: as in `plot_map`, or not 1 to 4 views.
    """
    views = dict(warp) if isinstance(warp, Mapping) else {"": warp}
    if not 1 <= len(views) <= 4:
        raise ValueError(f"show_map: a dict of 1 to 4 views, got {len(views)}")
    table = _points("show_map", points, words)
    ends = [_point(f"show_map: {word!r}", place) for word, place in (moved or {}).items()]
    everything = torch.stack([*table, *ends])
    # One scale for all views: a plane that is squeezed must look squeezed.
    seen = torch.cat([_warped("show_map", everything, matrix) for matrix in views.values()])
    limits = _room(seen)
    n_columns = len(views) if len(views) < 4 else 2
    n_rows = math.ceil(len(views) / n_columns)
    side = {1: 4.6, 2: 3.4, 3: 2.3}[n_columns]
    tall = (limits[3] - limits[2]) / (limits[1] - limits[0])
    height = (
        min(max(side * tall, 1.2) + 0.3, 5.0) * n_rows + 0.3 * bool(groups) + 0.2 * (axis_names is not None)
    )
    figure, axes = new_figure(side * n_columns, height, n_columns, n_rows)
    drawn = []
    for place, ((name, matrix), ax) in enumerate(zip(views.items(), axes)):
        artists = plot_map(
            table,
            words,
            groups=groups,
            moved=moved,
            warp=matrix,
            limits=limits,
            axis_names=axis_names,
            title=str(name) or title,
            ax=ax,
        )
        drawn.append(artists)
        if groups:
            handles, names = ax.get_legend_handles_labels()
            ax.get_legend().remove()
            if place == 0:
                with style():
                    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    for ax in axes[len(views) :]:
        ax.set_axis_off()
    if title is not None and "" not in views:
        with style():
            figure.suptitle(title, fontsize=11)
    freeze_layout(figure)
    for artists in drawn:
        place_labels(artists)
    text = describe_map(points, words, moved=moved)
    if "" not in views:
        text += f" Seen through: {', '.join(map(str, views))}."
    return _picture(figure, title, {"": text})


def _room(points: Tensor) -> tuple[float, float, float, float]:
    """Return limits around points (N, 2) and the origin, with a margin for the labels."""
    with_origin = torch.cat([points, points.new_zeros(1, 2)])
    low, high = with_origin.amin(0), with_origin.amax(0)
    margin = 0.14 * max(float((high - low).max()), 0.1)
    return (float(low[0]) - margin, float(high[0]) + margin, float(low[1]) - margin, float(high[1]) + margin)


def _warped(who: str, points: Tensor, warp: Values | None) -> Tensor:
    if warp is None:
        return points.clone()
    matrix = _finite(f"{who}: warp", warp, 2)
    if tuple(matrix.shape) != (2, 2):
        raise ValueError(f"{who}: warp must be a (2, 2) matrix, got shape {tuple(matrix.shape)}")
    return points @ matrix


def _points(who: str, points: Values, words: Sequence[str]) -> Tensor:
    table = _finite(f"{who}: points", points, 2)
    if table.size(1) != 2 or len(table) != len(words):
        raise ValueError(f"{who}: points must be ({len(words)}, 2), got shape {tuple(table.shape)}")
    twice = [word for word in words if list(words).count(word) > 1]
    if twice:
        raise ValueError(f"{who}: the words must differ, {twice[0]!r} is there twice")
    return table


def _point(name: str, value: Values) -> Tensor:
    point = _finite(name, value, 1)
    if len(point) != 2:
        raise ValueError(f"{name} must be a point (2,), got shape {tuple(point.shape)}")
    return point


# ----------------------------------------------------------------------------------------------------
# What all of them need


def _picture(figure: Figure, title: str | None, parts: Mapping[str, str]) -> Picture:
    """Join the title and a sentence a panel to the text alternative."""
    lines = [f"{name}: {text}" if name else text for name, text in parts.items()]
    return Picture(figure, "\n".join([title, *lines] if title else lines))


def _tensor(name: str, value: Values, *dims: int) -> Tensor:
    """Take numbers in any form, in double precision and apart from any graph."""
    try:
        tensor = torch.as_tensor(value).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers, got {value!r}") from error
    if tensor.dim() not in dims or tensor.numel() == 0:
        wanted = " or ".join(
            {1: "(N,)", 2: "(rows, columns)", 3: "(panels, rows, columns)"}[dim] for dim in dims
        )
        raise ValueError(f"{name} must have shape {wanted} and not be empty, got shape {tuple(tensor.shape)}")
    return tensor


def _finite(name: str, value: Values, *dims: int) -> Tensor:
    tensor = _tensor(name, value, *dims)
    if not tensor.isfinite().all():
        raise ValueError(f"{name} must be finite, got {float(tensor[~tensor.isfinite()][0])}")
    return tensor


def _weights(who: str, value: Values, *dims: int) -> Tensor:
    weights = _tensor(f"{who}: weights", value, *dims)
    outside = weights[(weights < -1e-6) | (weights > 1 + 1e-4)]
    if len(outside):
        raise ValueError(f"{who}: weights lie between 0 and 1, got {float(outside[0]):g}; are these scores?")
    return weights


def _largest(values: Tensor) -> float:
    """Return the largest size of a finite number, and 1 where there is none above 0."""
    finite = values[values.isfinite()].abs()
    return float(finite.max()) if len(finite) and float(finite.max()) > 0 else 1.0


def _maskable(matrix: Tensor) -> np.ma.MaskedArray:
    return np.ma.masked_invalid(matrix.numpy())


def _axis_tokens(
    who: str, matrix: Tensor, query_tokens: Sequence[str] | None, key_tokens: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    n_queries, n_keys = matrix.shape[-2:]
    if key_tokens is None and n_queries == n_keys:
        key_tokens = query_tokens
    return (
        _labels(f"{who}: query_tokens", query_tokens, n_queries),
        _labels(f"{who}: key_tokens", key_tokens, n_keys),
    )


def _labels(name: str, labels: Sequence[str] | None, n: int) -> list[str]:
    if labels is None:
        return [str(place) for place in range(n)]
    words = [str(label) for label in labels]
    if len(words) != n:
        raise ValueError(f"{name}: {n} labels are needed, got {len(words)}: {words}")
    return words


def _short(text: str, longest: int = 12) -> str:
    """Cut a label to `longest` letters and make spaces and line ends visible where they are all there is."""
    text = text if text.strip() else repr(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _digits(value: float) -> str:
    """Write a number with three significant digits."""
    return f"{value:.3g}".replace("-", "−")


def _label_axis(ax: Axes, axis: str, labels: Sequence[str], cell: float) -> None:
    """Write the labels at 0, 1, …: turned where they would touch, every n-th where there are too many."""
    step = max(1, math.ceil(_LABEL_HEIGHT / cell))
    places = list(range(0, len(labels), step))
    words = [_short(labels[place]) for place in places]
    if axis == "y":
        texts = ax.set_yticks(places, words) and ax.get_yticklabels()
    else:
        turned = 0.085 * max(len(word) for word in words) > cell * step
        turn = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if turned else {}
        ax.set_xticks(places, words, **turn)
        texts = ax.get_xticklabels()
    for text in texts:
        text.set_parse_math(False)  # a token may hold dollar signs
    ax.tick_params(axis=axis, length=2)
