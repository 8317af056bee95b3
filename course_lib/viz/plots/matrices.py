"""Heatmaps: weights, which start at 0, and signed scores.

H heads · Tq queries · Tk keys
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.text import Text
from torch import Tensor

from course_lib.viz.plots.shared import (
    Values,
    label_axis,
    labels_for,
    largest_size,
    maskable,
    picture_of,
    short,
    tensor_of,
)
from course_lib.viz.theme import (
    DIVERGING,
    DPI,
    HIDDEN,
    SEQUENTIAL,
    Picture,
    freeze_layout,
    measured,
    new_figure,
    number,
    percent,
    style,
)

MAX_NUMBERED = 12  # a matrix up to 12 × 12 has its numbers written into the cells
_NUMBER_WIDTH = 0.3  # inches that a number in a cell needs


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
    limit = largest_size(matrix) if limit is None else limit
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
    matrix = tensor_of("plot_scores: scores", scores, 2)
    limit = largest_size(matrix) if limit is None else limit
    return _plot_matrix(
        "plot_scores", matrix, query_tokens, key_tokens, DIVERGING, -limit, limit, title, numbers, ax
    )


def update_weights(artists: MatrixArtists, weights: Values) -> None:
    """Show other weights (Tq, Tk) in the same heatmap; the scale stays."""
    _update_matrix("update_weights", artists, _weights("update_weights", weights, 2))


def update_scores(artists: MatrixArtists, scores: Values) -> None:
    """Show other scores (Tq, Tk) in the same heatmap; the scale stays."""
    _update_matrix("update_scores", artists, tensor_of("update_scores: scores", scores, 2))


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
    scores: Values,
    query_tokens: Sequence[str] | None = None,
    key_tokens: Sequence[str] | None = None,
    *,
    of_attention: bool = True,
) -> str:
    """Say in words how far the scores reach and which pair has the largest. Arguments as in `show_scores`."""
    matrix = tensor_of("describe_scores: scores", scores, 2)
    rows, columns = _axis_tokens("describe_scores", matrix, query_tokens, key_tokens)
    if of_attention:
        text = f"Scores of {len(rows)} queries against {len(columns)} keys"
    else:
        text = f"Numbers in {len(rows)} rows and {len(columns)} columns"
    finite = matrix[matrix.isfinite()]
    if len(finite) == 0:
        return f"{text}, none of them finite."
    top = int(matrix.masked_fill(~matrix.isfinite(), -math.inf).argmax())
    row, column = divmod(top, len(columns))
    hidden = matrix.numel() - len(finite)
    reach = measured(f"{number(float(finite.min()))} to {number(float(finite.max()))}")
    place = ("'{}' with '{}'" if of_attention else "in row {}, column {}").format(rows[row], columns[column])
    pair = measured(place)
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
    of_attention: bool = True,
) -> Picture:
    """Show one heatmap of signed scores, or several on one scale. Arguments as in `show_weights`.

    Args:
        of_attention: False = any other numbers: the axes are called row and column, not query and key.
    """
    panels = _panels("show_scores", scores)
    plot = plot_scores if of_attention else _plot_numbers
    describe = partial(describe_scores, of_attention=of_attention)
    return _show_matrices("show_scores", panels, query_tokens, key_tokens, title, plot, describe)


def _plot_numbers(
    matrix: Values, rows: Sequence[str], columns: Sequence[str], *, limit: float, title: str | None, ax: Axes
) -> MatrixArtists:
    artists = plot_scores(matrix, rows, columns, limit=limit, title=title, ax=ax)
    artists.ax.set(xlabel="column", ylabel="row")
    return artists


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
    limit = largest_size(torch.stack(list(panels.values())))
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
    return picture_of(
        figure, title, {name: describe(matrix, rows, columns) for name, matrix in panels.items()}
    )


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
        image = ax.imshow(maskable(matrix), cmap=colour_map, vmin=low, vmax=high, interpolation="nearest")
        ax.spines[:].set_visible(False)
        cell = _cell_size(ax, len(rows), len(columns))
        label_axis(ax, "x", columns, cell)
        label_axis(ax, "y", rows, cell)
        ax.set(xlabel="key", ylabel="query")
        if title is not None:
            ax.set_title(short(title, 40), parse_math=False)
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
    artists.image.set_data(maskable(matrix))
    if not artists.cells:
        return
    colours = artists.image.cmap(artists.image.norm(maskable(matrix)))  # (Tq, Tk, 4)
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
        panels = {str(name): tensor_of(f"{who}: {name!r}", matrix, 2) for name, matrix in given.items()}
        shapes = {tuple(matrix.shape) for matrix in panels.values()}
        if len(shapes) > 1:
            raise ValueError(f"{who}: the matrices must have one shape, got {sorted(shapes)}")
        return panels
    tensor = tensor_of(f"{who}: the matrix", given, 2, 3)
    if tensor.dim() == 2:
        return {"": tensor}
    return {f"head {head}": matrix for head, matrix in enumerate(tensor)}


def _matrix_size(rows: Sequence[str], columns: Sequence[str], n_columns: int) -> tuple[float, float, float]:
    """Return, in inches, the figure's width, the height of a panel's cells, and that of the labels below."""
    labels = 0.075 * max(len(short(token)) for token in rows) + 0.35
    cell = min(0.5, (6.3 - labels - 0.08 * n_columns) / n_columns / len(columns), 6.0 / len(rows))
    # Tokens that do not fit beside each other are turned by 45°, and then need room below.
    below = 0.3 + 0.055 * max(len(short(token)) for token in columns)
    return (
        max(3.0, labels + 0.7 + n_columns * (cell * len(columns) + 0.08)),
        cell * len(rows) + 0.1,
        below + 0.15,
    )


def _cell_size(ax: Axes, n_rows: int, n_columns: int) -> float:
    """Estimate how large the square cells will come out, in inches; the layout is computed only later."""
    room = ax.get_window_extent()
    return 0.9 * min(room.width / n_columns, room.height / n_rows) / DPI


def _weights(who: str, value: Values, *dims: int) -> Tensor:
    weights = tensor_of(f"{who}: weights", value, *dims)
    outside = weights[(weights < -1e-6) | (weights > 1 + 1e-4)]
    if len(outside):
        raise ValueError(f"{who}: weights lie between 0 and 1, got {float(outside[0]):g}; are these scores?")
    return weights


def _axis_tokens(
    who: str, matrix: Tensor, query_tokens: Sequence[str] | None, key_tokens: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    n_queries, n_keys = matrix.shape[-2:]
    if key_tokens is None and n_queries == n_keys:
        key_tokens = query_tokens
    return (
        labels_for(f"{who}: query_tokens", query_tokens, n_queries),
        labels_for(f"{who}: key_tokens", key_tokens, n_keys),
    )
