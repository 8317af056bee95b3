"""PositionScrubber: the rows that tell a model where a token stands, and how they turn.

T positions · D numbers a position · P = D // 2 pairs of numbers, (0, 1), (2, 3), …
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Rectangle
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from course_lib.viz.explorers.base import LABELLED, Explorer, floats
from course_lib.viz.plots.shared import Values, largest_size
from course_lib.viz.theme import (
    BLUE,
    DIVERGING,
    GREY,
    VERMILLION,
    Picture,
    freeze_layout,
    measured,
    new_figure,
    number,
    scientific,
    style,
)

_CLOCKS = 4  # beside the one of the chosen pair
_STEP = 2.6  # from the middle of one clock to the next, in radii


class PositionScrubber(Explorer):
    """Walk through a table of positions: its rows, its pairs of numbers as clock hands, its dot products.

    Where each row turns a pair by one and the same angle, as the sinusoids do, the pair is a clock: its hand
    is drawn with the first number (sin) to the right and the second (cos) upwards, so it starts at twelve and
    turns clockwise. Any other table, a learned one for instance, has pairs that are just two numbers.

    Args:
        table: (T, D), one row a position; T and D at least 2.

    Controls: `position`, `pair`, `offset` (the other position is position + offset).

    State: `position`, `pair`, `offset`, `row` (D), `hand` (2; the pair's two numbers), `is_clock`, `turn` (the
    angle a step, or None), `dots` (T; the row's dot products with all rows), `other` (position + offset, or
    None outside the table), `dot` (with the other row, or None), `spread` (the smallest and the largest dot
    product that any two rows with this offset have).

    Raises:
        ValueError: a table of another shape, or with a number that is not finite.
    """

    def __init__(self, table: Values):
        self._table = floats("PositionScrubber: table", table, 2)
        n_positions, width = self._table.shape
        if n_positions < 2 or width < 2:
            raise ValueError(
                f"PositionScrubber: table must be (T, D) with at least 2 rows and 2 columns, got shape "
                f"{tuple(self._table.shape)}"
            )
        self._dots = self._table @ self._table.T  # (T, T)
        n_pairs = width // 2
        self._pairs = self._table[:, : 2 * n_pairs].view(n_positions, n_pairs, 2)  # (T, P, 2)
        self._turns = [_turn(self._pairs[:, pair]) for pair in range(n_pairs)]

        slider: dict[str, Any] = {"style": LABELLED, "layout": {"width": "270px"}}
        last = n_positions - 1
        self.position = widgets.IntSlider(value=last // 3, min=0, max=last, description="position", **slider)
        self.pair = widgets.IntSlider(
            value=min(1, n_pairs - 1), min=0, max=n_pairs - 1, description="pair", **slider
        )
        self.offset = widgets.IntSlider(
            value=min(5, last - last // 3), min=-last, max=last, description="offset", **slider
        )
        figure, axes = new_figure(8.4, 4.7, 2, 2)
        self._panels = _prepare(axes, self._table, self._dots, self._clocks())
        super().__init__(
            figure,
            [widgets.HBox([self.position, self.pair, self.offset], layout={"flex_flow": "row wrap"})],
            [self.position, self.pair, self.offset],
            still=self._panels.still,
        )

    def __repr__(self) -> str:
        n_positions, width = self._table.shape
        return (
            f"PositionScrubber: {n_positions} positions of {width} numbers, position {self.position.value}, "
            f"pair {self.pair.value}, offset {self.offset.value}"
        )

    def static(self) -> Picture:
        """Show the whole table, and the dot products of three of its rows with the rows around them."""
        n_positions, width = self._table.shape
        figure, (left, right) = new_figure(7.0, 3.1, 2)
        _heatmap(left, self._table)
        places = sorted({n_positions // 4, n_positions // 2, 3 * n_positions // 4})
        text = [f"A table of {n_positions} positions, {width} numbers each."]
        with style():
            figure.colorbar(left.images[0], ax=left, shrink=0.8, aspect=25, pad=0.02)
            for place, dash, colour in zip(places, ("-", "--", ":"), (BLUE, VERMILLION, "black")):
                offsets = torch.arange(n_positions) - place
                right.plot(
                    offsets, self._dots[place], linestyle=dash, color=colour, label=f"position {place}"
                )
            right.set(xlabel="offset", title="dot product by offset")
            right.legend(frameon=False)
            right.grid(color="#e5e5e5", linewidth=0.6)
        digits = _digits(self._dots)
        own = ", ".join(number(float(self._dots[place, place]), digits) for place in places)
        text.append(f"Dot product of a row with itself, at {', '.join(map(str, places))}: {measured(own)}.")
        spreads = [_spread(self._dots, offset) for offset in range(1, n_positions)]
        widest = max(high - low for low, high in spreads)
        text.append(
            "Dot products of two rows with one offset differ by at most "
            + measured(number(widest, digits))
            + "."
        )
        freeze_layout(figure)
        return Picture(figure, " ".join(text))

    def _clocks(self) -> list[int]:
        """Choose the pairs that always have a clock: the first, the last and some between."""
        last = self._pairs.size(1) - 1
        return sorted({round(last * step / (_CLOCKS - 1)) for step in range(_CLOCKS)})

    def _see(self) -> dict[str, Any]:
        position, pair, offset = self.position.value, self.pair.value, self.offset.value
        other = position + offset
        inside = 0 <= other < len(self._table)
        return {
            "position": position,
            "pair": pair,
            "offset": offset,
            "row": self._table[position].clone(),
            "hand": self._pairs[position, pair].clone(),
            "is_clock": self._turns[pair] is not None,
            "turn": self._turns[pair],
            "dots": self._dots[position].clone(),
            "other": other if inside else None,
            "dot": float(self._dots[position, other]) if inside else None,
            "spread": _spread(self._dots, offset),
        }

    def _draw(self, state: dict[str, Any]) -> None:
        panels, position, pair, other = self._panels, state["position"], state["pair"], state["other"]
        panels.row.set_ydata(state["row"])
        panels.row_pair.set_data([2 * pair, 2 * pair + 1], state["hand"])
        panels.here.set_y(position - 0.5)
        panels.there.set_visible(other is not None)
        panels.there.set_y((other or 0) - 0.5)
        panels.columns.set_x(2 * pair - 0.5)
        offsets = torch.arange(len(self._table)) - position
        panels.dots.set_data(offsets, state["dots"])
        inside = other is not None
        panels.dot.set_data([state["offset"]] if inside else [], [state["dot"]] if inside else [])
        shown = [pair, *self._clocks()]
        ends: dict[str, list[Any]] = {"here": [], "there": []}
        for slot, each in enumerate(shown):
            # A pair that is no clock has hands of any length: the longest reaches the rim.
            scale = float(self._pairs[:, each].norm(dim=-1).max()) or 1.0
            for name, place in (("here", position), ("there", other)):
                if place is not None:
                    x, y = (self._pairs[place, each] / scale).tolist()
                    ends[name].append([(slot * _STEP, 0.0), (slot * _STEP + x, y)])
        panels.hands.set_segments(ends["here"])
        panels.other_hands.set_segments(ends["there"])
        panels.rim.set_linestyle(_rim(self._turns[pair]))
        panels.chosen.set_text(f"pair {pair}\n{_period(self._turns[pair])}")

    def _say(self, state: dict[str, Any]) -> str:
        position, offset = state["position"], state["offset"]
        first, second = (number(value, _digits(self._table)) for value in state["hand"].tolist())
        hand = measured(f"({first}, {second})")
        text = f"Position {position}, pair {state['pair']}: "
        if state["turn"] is None:
            text += f"{hand}, just two numbers: this pair does not turn like a clock."
        elif abs(state["turn"]) < 1e-9:
            text += f"its two numbers are {hand}, and its hand stands still."
        else:
            turn = abs(state["turn"])
            # Position 0 at twelve o'clock: these are a sine and a cosine, in this order.
            at_twelve = float(self._pairs[0, state["pair"], 0].abs()) < 1e-6
            text += f"{'(sin, cos) is' if at_twelve else 'its two numbers are'} {hand}, its hand turns "
            text += f"{measured(scientific(turn))} rad a step, once round in {measured(_steps(turn))} steps."
        digits = _digits(self._dots)
        own = measured(number(float(state["dots"][position]), digits))
        if state["other"] is None:
            return f"{text} Position {position} {_signed(offset)} is not in the table."
        text += (
            f" Dot product with position {state['other']} (offset {_signed(offset, spaced=False)}): "
            f"{measured(number(state['dot'], digits))}, with itself {own}."
        )
        low, high = state["spread"]
        if len(self._table) - abs(offset) == 1:
            return text + " No other rows have this offset."
        if high - low < 1e-3 * largest_size(self._dots):
            return text + " Any two rows with this offset have the same."
        between = measured(f"{number(low, digits)} to {number(high, digits)}")
        return text + f" The rows with this offset have {between}."


@dataclass
class _Panels:
    """The artists that move, and those that stay."""

    row: Line2D
    row_pair: Line2D
    here: Rectangle
    there: Rectangle
    columns: Rectangle
    rim: Circle  # of the chosen pair
    hands: LineCollection
    other_hands: LineCollection
    chosen: Text
    dots: Line2D
    dot: Line2D
    still: list[Artist]


def _prepare(axes: Sequence[Axes], table: Tensor, dots: Tensor, clocks: Sequence[int]) -> _Panels:
    heat, row, hands, products = axes
    n_positions, width = table.shape
    still: list[Artist] = [_heatmap(heat, table)]
    with style():
        box: dict[str, Any] = {"fill": False, "clip_on": False}
        here = heat.add_patch(Rectangle((-0.5, 0), width, 1, edgecolor="black", linewidth=1.8, **box))
        there = heat.add_patch(
            Rectangle((-0.5, 0), width, 1, edgecolor="black", linewidth=1.4, linestyle=(0, (3, 2)), **box)
        )
        columns = heat.add_patch(
            Rectangle((0, -0.5), 2, n_positions, edgecolor=VERMILLION, linewidth=1.8, **box)
        )
        reach = 1.08 * largest_size(table)
        (row_line,) = row.plot(range(width), [0.0] * width, color=BLUE, linewidth=1.2, drawstyle="steps-mid")
        still.append(row.axhline(0.0, color=GREY, linewidth=0.7, zorder=0))
        (row_pair,) = row.plot([], [], color=VERMILLION, marker="o", linestyle="", markersize=6)
        row.set(xlim=(-0.8, width - 0.2), ylim=(-reach, reach), xlabel="place in the row")
        row.set_title("the row at the position; dots: the pair")

        turns = [_turn(table[:, 2 * pair : 2 * pair + 2]) for pair in clocks]
        n_clocks = 1 + len(clocks)
        for slot in range(n_clocks):
            rim = Circle((slot * _STEP, 0.0), 1.0, fill=False, edgecolor=GREY, linewidth=1.0)
            hands.add_patch(rim)
            if slot == 0:
                first_rim = rim
                continue
            rim.set_linestyle(_rim(turns[slot - 1]))
            still.append(rim)
        middles = [slot * _STEP for slot in range(n_clocks)]
        still += hands.plot(middles, [0.0] * n_clocks, marker=".", color="black", markersize=3, linestyle="")
        note: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 8, "linespacing": 1.2}
        chosen = hands.text(0.0, -1.2, "", color=VERMILLION, **note)
        for slot, (pair, turn) in enumerate(zip(clocks, turns, strict=True), start=1):
            still.append(hands.text(slot * _STEP, -1.2, f"pair {pair}\n{_period(turn)}", **note))
        now = LineCollection([], colors="black", linewidths=2.0)
        then = LineCollection([], colors="black", linewidths=1.4, linestyles=[(0, (2, 1.5))])
        hands.add_collection(then, autolim=False)
        hands.add_collection(now, autolim=False)
        hands.set(xlim=(-1.35, (n_clocks - 1) * _STEP + 1.35), ylim=(-2.6, 1.15), xticks=[], yticks=[])
        hands.set_aspect("equal", adjustable="box", anchor="C")
        hands.spines[:].set_visible(False)
        hands.set_title("pairs as hands (dashed: + offset); steps once round")

        (line,) = products.plot([], [], color=BLUE, linewidth=1.4)
        (dot,) = products.plot([], [], color=VERMILLION, marker="o", markersize=7, linestyle="")
        low, high = min(float(dots.min()), 0.0), max(float(dots.max()), 0.0)
        margin = 0.08 * ((high - low) or 1.0)
        products.set(xlim=(1 - n_positions, n_positions - 1), ylim=(low - margin, high + margin))
        products.set_xlabel("offset from the position")
        products.set_title("dot product with the row at that offset")
        products.xaxis.set_major_locator(MaxNLocator(integer=True))
        products.grid(color="#e5e5e5", linewidth=0.6)
        still.append(products.axvline(0.0, color=GREY, linewidth=0.7, zorder=0))
    return _Panels(row_line, row_pair, here, there, columns, first_rim, now, then, chosen, line, dot, still)


def _heatmap(ax: Axes, table: Tensor) -> Artist:
    limit = largest_size(table)
    with style():
        image = ax.imshow(
            table.numpy(), cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
        )
        ax.set(xlabel="place in the row", ylabel="position")
        ax.set_title(f"the table; white 0, full colour ±{number(limit)}")
    return image


def _turn(pair: Tensor) -> float | None:
    """Return by which angle each row turns a pair (T, 2), or None where it is no clock.

    A clock's hand keeps one length, and every step turns it by the same angle.
    """
    lengths = pair.norm(dim=-1)
    if float(lengths.min()) == 0 or float(lengths.max() - lengths.min()) > 1e-3 * float(lengths.max()):
        return None
    first, second = pair.T
    # The angle between neighbours, measured from twelve o'clock: first = sin, second = cos.
    across = first[1:] * second[:-1] - second[1:] * first[:-1]
    along = (pair[1:] * pair[:-1]).sum(-1)
    steps = torch.atan2(across, along)  # (T − 1,), in (−π, π]
    apart = torch.remainder(steps - steps[0] + math.pi, 2 * math.pi) - math.pi
    return float(steps.mean()) if float(apart.abs().max()) < 1e-3 else None


def _digits(values: Tensor) -> int:
    """Return how many digits behind the point show three of the largest number: a learned table may be small."""
    return max(2, 2 - math.floor(math.log10(largest_size(values))))


def _spread(dots: Tensor, offset: int) -> tuple[float, float]:
    """Return the smallest and the largest dot product of two rows with an offset."""
    along = dots.diagonal(offset)
    return float(along.min()), float(along.max())


def _rim(turn: float | None) -> str:
    return "-" if turn is not None else ":"  # dotted: no clock face


def _period(turn: float | None) -> str:
    if turn is None:
        return "no clock"
    return "stands still" if abs(turn) < 1e-9 else f"{_steps(abs(turn))} steps"


def _steps(turn: float) -> str:
    steps = 2 * math.pi / turn
    return f"{steps:.1f}" if steps < 100 else f"{steps:.0f}"


def _signed(offset: int, *, spaced: bool = True) -> str:
    sign, size = ("−" if offset < 0 else "+"), abs(offset)
    return f"{sign} {size}" if spaced else f"{sign}{size}"
