"""A map: words on a plane, where they move, and how a matrix warps the plane.

N words
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.patches import FancyArrowPatch
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform
from torch import Tensor

from course_lib.viz.plots.shared import Values, finite, picture_of, short
from course_lib.viz.theme import (
    BLUE,
    COLOURS,
    GREY,
    MARKERS,
    Picture,
    freeze_layout,
    measured,
    new_figure,
    number,
    style,
)


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
        text = short(word)
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
    titled = title is not None or "" not in views
    around = 0.6 * (axis_names is not None)  # inches of words and ticks beside a map and below it
    plane = max((side - around) * tall, 1.2)
    # A row of the legend has room for some twelve letters an inch; a name's marker and margins take seven more.
    in_row = max(1, int(12 * side * n_columns / (7 + max(map(len, [*(groups or {}), "other"])))))
    legend_rows = math.ceil((len(groups or {}) + 1) / in_row) * bool(groups)
    height = (min(plane, 5.0) + around + 0.25 * titled + 0.1) * n_rows + 0.1 + 0.22 * legend_rows
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
                    columns = min(len(names), in_row)
                    figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False)
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
    return picture_of(figure, title, {"": text})


def _room(points: Tensor) -> tuple[float, float, float, float]:
    """Return limits around points (N, 2) and the origin, with a margin for the labels."""
    with_origin = torch.cat([points, points.new_zeros(1, 2)])
    low, high = with_origin.amin(0), with_origin.amax(0)
    margin = 0.14 * max(float((high - low).max()), 0.1)
    return (float(low[0]) - margin, float(high[0]) + margin, float(low[1]) - margin, float(high[1]) + margin)


def _warped(who: str, points: Tensor, warp: Values | None) -> Tensor:
    if warp is None:
        return points.clone()
    matrix = finite(f"{who}: warp", warp, 2)
    if tuple(matrix.shape) != (2, 2):
        raise ValueError(f"{who}: warp must be a (2, 2) matrix, got shape {tuple(matrix.shape)}")
    return points @ matrix


def _points(who: str, points: Values, words: Sequence[str]) -> Tensor:
    table = finite(f"{who}: points", points, 2)
    if table.size(1) != 2 or len(table) != len(words):
        raise ValueError(f"{who}: points must be ({len(words)}, 2), got shape {tuple(table.shape)}")
    twice = [word for word in words if list(words).count(word) > 1]
    if twice:
        raise ValueError(f"{who}: the words must differ, {twice[0]!r} is there twice")
    return table


def _point(name: str, value: Values) -> Tensor:
    point = finite(name, value, 1)
    if len(point) != 2:
        raise ValueError(f"{name} must be a point (2,), got shape {tuple(point.shape)}")
    return point
