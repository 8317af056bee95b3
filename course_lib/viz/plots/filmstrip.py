"""A filmstrip: what a model holds for each token, stage after stage, and what it says in the end.

T tokens · n numbers a token, which may differ from stage to stage
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from course_lib.viz.plots.matrices import MatrixArtists, plot_scores
from course_lib.viz.plots.shared import (
    Values,
    label_axis,
    labels_for,
    largest_size,
    picture_of,
    short,
    tensor_of,
)
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
    percent,
    style,
)

_WIDTH = 7.0  # inches, as wide as the other pictures
_MAX_BARS = 12


@dataclass
class FilmstripArtists:
    """What `plot_filmstrip` has drawn."""

    axes: list[Axes]  # one a stage
    matrices: list[MatrixArtists]  # one a stage of numbers
    bars: list[Rectangle]  # of the words at the end, where there are any


def plot_filmstrip(
    stages: Mapping[str, Values | Mapping[str, float]],
    tokens: Sequence[str],
    *,
    focus: int | None = None,
    one_scale: bool = True,
    title: str | None = None,
    axes: Sequence[Axes] | None = None,
) -> FilmstripArtists:
    """Draw the stages from left to right, each a heatmap of tokens × numbers whose white is zero.

    Args:
        stages: names → (T, n), n of its own for every stage; NaN and ∞ are drawn grey. The last may be a dict
            of words → probabilities, largest on top as you give them, and is drawn as bars.
        tokens: T labels of the rows.
        focus: the place of one token, whose row is outlined in every heatmap; None = no outline.
        one_scale: one colour means one number in all stages; False = each stage has a scale of its own.
        title: above the strip.
        axes: where to draw, one a stage; None = on a new figure.

    Raises:
        ValueError: no stage or more than six, a stage whose rows are not the tokens, a dict of words that is
            not the last stage or holds no probabilities, a focus outside the tokens, too few axes.
    """
    numbers, words = _stages("plot_filmstrip", stages, tokens)
    rows = [str(token) for token in tokens]
    if focus is not None and not 0 <= focus < len(rows):
        raise ValueError(f"plot_filmstrip: focus must lie between 0 and {len(rows) - 1}, got {focus}")
    if axes is not None and len(axes) != len(stages):
        raise ValueError(f"plot_filmstrip: {len(stages)} stages need as many axes, got {len(axes)}")
    own_figure = axes is None
    if axes is None:
        # A stage with few numbers is narrower, down to a third; bars need room for their words.
        most = max((matrix.size(1) for matrix in numbers.values()), default=1)
        ratios = [max(matrix.size(1) / most, 0.34) for matrix in numbers.values()]
        ratios += [1.0] * (len(stages) - len(numbers))
        height = 0.9 + min(max(0.28 * len(rows), 0.21 * len(words), 1.0), 5.0) + 0.3 * (title is not None)
        figure, axes = new_figure(_WIDTH, height, len(stages), width_ratios=ratios)
        if title is not None:
            with style():
                figure.suptitle(title, fontsize=11)
    everything = [matrix.flatten() for matrix in numbers.values()]
    limit = largest_size(torch.cat(everything)) if everything else 1.0
    matrices = []
    for place, ((name, matrix), ax) in enumerate(zip(numbers.items(), axes)):
        of_stage = limit if one_scale else largest_size(matrix)
        room = ax.get_window_extent()
        cell = 0.8 * room.width / DPI / matrix.size(1), 0.8 * room.height / DPI / len(rows)
        has_room = cell[0] >= 0.32 and cell[1] >= 0.16  # inches that a number of four letters needs
        drawn = plot_scores(
            matrix, rows, [""] * matrix.size(1), limit=of_stage, title=name, numbers=has_room, ax=ax
        )
        matrices.append(drawn)
        with style():
            for text in chain.from_iterable(drawn.cells):
                text.set_fontsize(8)
            ax.set_aspect("auto")
            ax.set(xticks=[], ylabel="", xlabel=f"{matrix.size(1)} numbers,\n±{number(of_stage)}")
            if place == 0:
                label_axis(ax, "y", rows, cell[1])
            else:
                ax.set(yticks=[])
            ax.tick_params(length=0)
            if focus is not None:
                ax.add_patch(
                    Rectangle(
                        (-0.5, focus - 0.5),
                        matrix.size(1),
                        1,
                        fill=False,
                        edgecolor=VERMILLION,
                        linewidth=2.0,
                        clip_on=False,
                    )
                )
    bars = _plot_words(axes[-1], list(stages)[-1], words) if words else []
    for ax in axes[1 : len(numbers)]:
        _lead_to(ax)
    if own_figure:
        freeze_layout(axes[0].figure)
    return FilmstripArtists(list(axes), matrices, bars)


def describe_filmstrip(
    stages: Mapping[str, Values | Mapping[str, float]], tokens: Sequence[str], *, focus: int | None = None
) -> str:
    """Say in words how far the numbers reach, which token a stage changes most, and what is likeliest in the end.

    Arguments and errors as in `plot_filmstrip`.
    """
    numbers, words = _stages("describe_filmstrip", stages, tokens)
    parts, before = [], None
    for name, matrix in numbers.items():
        finite = matrix[matrix.isfinite()]
        text = f"{name}: {matrix.size(1)} numbers a token"
        if len(finite):
            text += ", from " + measured(f"{number(float(finite.min()))} to {number(float(finite.max()))}")
        if before is not None and before.shape == matrix.shape:
            change = (matrix - before).norm(dim=-1)  # (T,)
            if change.isfinite().all() and float(change.max()) > 0:
                place = int(change.argmax())
                text += ", changes most " + measured(f"'{tokens[place]}' ({number(float(change[place]))})")
            if focus is not None and bool(change[focus].isfinite()):
                text += f", '{tokens[focus]}' by " + measured(number(float(change[focus])))
        parts.append(text)
        before = matrix
    if words:
        best = max(words, key=lambda word: words[word])
        parts.append(f"{list(stages)[-1]}: likeliest " + measured(f"'{best}' {percent(words[best])}"))
    return f"{len(stages)} stages of {len(tokens)} tokens. {'; '.join(parts)}."


def show_filmstrip(
    stages: Mapping[str, Values | Mapping[str, float]],
    tokens: Sequence[str],
    *,
    focus: int | None = None,
    one_scale: bool = True,
    title: str | None = None,
) -> Picture:
    """Show the stages of a model from left to right. Arguments and errors as in `plot_filmstrip`."""
    artists = plot_filmstrip(stages, tokens, focus=focus, one_scale=one_scale, title=title)
    return picture_of(artists.axes[0].figure, title, {"": describe_filmstrip(stages, tokens, focus=focus)})


def _plot_words(ax: Axes, name: str, words: Mapping[str, float]) -> list[Rectangle]:
    """Draw words → probabilities as bars that lie, the first on top, the largest hatched."""
    with style():
        shares = list(words.values())
        largest = max(range(len(shares)), key=lambda place: shares[place])
        bars = list(ax.barh(range(len(shares)), shares, height=0.7, color=BLUE, linewidth=0.8))
        bars[largest].set(facecolor="white", edgecolor=VERMILLION, hatch=HATCH)
        for place, share in enumerate(shares):
            ax.text(share + 0.03, place, percent(share), va="center", fontsize=8)
        ax.set_ylim(len(shares) - 0.4, -0.6)
        ax.set(xlim=(0.0, 1.6), xticks=[])  # every bar carries its number
        ax.spines["bottom"].set_visible(False)
        ax.set_yticks(range(len(shares)), [short(word) for word in words])
        for label in ax.get_yticklabels():
            label.set_parse_math(False)
        ax.tick_params(length=2)
        ax.set_title(short(name, 22), parse_math=False, loc="right")  # it may reach over the words
    return bars


def _lead_to(ax: Axes) -> None:
    """Draw an arrow from the stage before to this one."""
    look = {"arrowstyle": "-|>", "color": "black", "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    with style():
        ax.annotate("", (0.0, 0.5), (-14, 0), "axes fraction", "offset points", arrowprops=look)


def _stages(
    who: str, stages: Mapping[str, Values | Mapping[str, float]], tokens: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Look at what was given; return the stages of numbers, and the words at the end."""
    if not isinstance(stages, Mapping) or not 1 <= len(stages) <= 6:
        raise ValueError(f"{who}: stages must be a dict of 1 to 6 names, got {stages!r}")
    if len(tokens) == 0:
        raise ValueError(f"{who}: tokens must not be empty")
    numbers: dict[str, Tensor] = {}
    words: dict[str, float] = {}
    for place, (name, given) in enumerate(stages.items()):
        if not isinstance(given, Mapping):
            matrix = tensor_of(f"{who}: stage {name!r}", given, 2)
            labels_for(f"{who}: stage {name!r}", tokens, len(matrix))
            numbers[str(name)] = matrix
            continue
        if place + 1 < len(stages):
            raise ValueError(f"{who}: only the last stage may be a dict of words, got one for {name!r}")
        if not 1 <= len(given) <= _MAX_BARS:
            raise ValueError(f"{who}: stage {name!r} must hold 1 to {_MAX_BARS} words, got {len(given)}")
        words = {str(word): float(share) for word, share in given.items()}
        wrong = {word: share for word, share in words.items() if not 0 <= share <= 1 + 1e-4}
        if wrong:
            raise ValueError(f"{who}: stage {name!r} must hold probabilities, got {wrong}")
    if not numbers:
        raise ValueError(f"{who}: the first stage must be numbers (T, n), got words alone: {words}")
    return numbers, words
