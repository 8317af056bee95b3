"""GradientThroughTime: how much of a loss's gradient arrives at the steps long before it.

T steps of a sequence · distance d = 0 … T − 1, counted back from the step that has the loss
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from torch import Tensor

from course_lib.viz.explorers.base import LABELLED, Explorer, buttons, captioned
from course_lib.viz.theme import (
    COLOURS,
    GREY,
    LINES,
    MARKERS,
    Picture,
    freeze_layout,
    measured,
    new_figure,
    number,
    scientific,
    style,
)

Measure = Callable[[int, float, float], Tensor]

_LOW, _HIGH = 1e-10, 1e4  # the ends of the axis; what lies beyond is drawn there, and its number is said
_TICKS = 4  # beside the one at distance 0


class GradientThroughTime(Explorer):
    """Turn the dials of a recurrent network, and see the gradient vanish, survive or explode.

    A curve a network: the norm of the gradient of a loss at the last step with respect to the step that lies
    d steps before it. Each curve is asked for once a setting, and kept.

    Args:
        measures: names → function(length, radius, gate) that returns (length,) norms, by distance: entry 0
            belongs to the last step itself. `radius` is meant for the spectral radius of an RNN's recurrent
            matrix, `gate` for the bias of an LSTM's forget gate; a function may leave either unused.
        lengths: the lengths to choose from, rising, at least 2.
        threshold: the words say from which distance on a norm is below it.

    Controls: `length`, `radius`, `gate`.

    State: `length`, `radius`, `gate`, `norms` (names → (length,)), `last` (names → the norm at the largest
    distance), `below` (names → the first distance with less than the threshold, or None).

    Raises:
        ValueError: no measure or more than six, lengths that are not rising from 2 on, a threshold that is not
            above 0, or a measure that returns another shape or a negative norm.
    """

    def __init__(
        self,
        measures: Mapping[str, Measure],
        *,
        lengths: Sequence[int] = (8, 16, 32, 64, 128),
        threshold: float = 1e-3,
    ):
        if not isinstance(measures, Mapping) or not 1 <= len(measures) <= len(LINES):
            raise ValueError(
                f"GradientThroughTime: measures must be a dict of 1 to {len(LINES)} functions, got {measures!r}"
            )
        for name, measure in measures.items():
            if not callable(measure):
                raise ValueError(f"GradientThroughTime: measure {name!r} must be a function, got {measure!r}")
        self._measures = {str(name): measure for name, measure in measures.items()}
        self._lengths = [int(length) for length in lengths]
        rising = all(one < other for one, other in zip(self._lengths, self._lengths[1:]))
        if not self._lengths or self._lengths[0] < 2 or not rising:
            raise ValueError(f"GradientThroughTime: lengths must rise and start at 2 or more, got {lengths}")
        if not (math.isfinite(threshold) and threshold > 0):
            raise ValueError(f"GradientThroughTime: threshold must be a number above 0, got {threshold}")
        self._threshold = float(threshold)
        self._known: dict[tuple[str, int, float, float], Tensor] = {}

        middle = self._lengths[len(self._lengths) // 2]
        self.length = buttons([(f"{length} steps", length) for length in self._lengths])
        self.length.value = middle
        slider: dict[str, Any] = {"style": LABELLED, "layout": {"width": "330px"}}
        self.radius = widgets.FloatSlider(
            value=0.9,
            min=0.5,
            max=1.5,
            step=0.05,
            description="spectral radius",
            readout_format=".2f",
            **slider,
        )
        self.gate = widgets.FloatSlider(
            value=1.0,
            min=-2.0,
            max=6.0,
            step=0.5,
            description="forget-gate bias",
            readout_format=".1f",
            **slider,
        )
        figure, (ax,) = new_figure(8.0, 3.6)
        self._lines = _prepare(ax, list(self._measures), self._threshold)
        with style():
            ax.set_xlabel("distance: steps back from the loss", labelpad=18)
            ax.legend(loc="upper right", bbox_to_anchor=(1.0, 1.12), ncols=len(self._lines), frameon=False)
            # The numbers below the axis move with the length, which ticks painted once could not.
            below = ax.get_xaxis_transform()
            self._ticks = [
                ax.text(0, -0.035, "", transform=below, ha="center", va="top", in_layout=False)
                for _ in range(_TICKS + 1)
            ]
        self._ax = ax
        super().__init__(
            figure,
            [
                captioned("length", self.length),
                widgets.HBox([self.radius, self.gate], layout={"flex_flow": "row wrap"}),
            ],
            [self.length, self.radius, self.gate],
        )

    def __repr__(self) -> str:
        return (
            f"GradientThroughTime: {len(self._measures)} curves over {self.length.value} steps, "
            f"spectral radius {self.radius.value:.2f}, forget-gate bias {self.gate.value:.1f}"
        )

    def static(self) -> Picture:
        """Show the curves at the spectral radii 0.8, 1 and 1.2, at the chosen length and gate."""
        radii = (0.8, 1.0, 1.2)
        length, gate = self.length.value, self.gate.value
        figure, axes = new_figure(7.0, 2.9, len(radii))
        text = [f"Gradient norms over {length} steps at three spectral radii."]
        for place, (radius, ax) in enumerate(zip(radii, axes, strict=True)):
            state = self._measured(length, radius, gate)
            lines = _prepare(ax, list(self._measures), self._threshold)
            _show(lines, state["norms"])
            with style():
                ax.set_xlim(0, 1.03 * (length - 1))
                ax.set_xticks([0, (length - 1) // 2, length - 1])
                ax.set_title(f"spectral radius {number(radius, 1)}")
                ax.tick_params(labelleft=place == 0)
                if place:
                    ax.set_ylabel("")
                if place == 1:
                    ax.set_xlabel("distance: steps back from the loss")
            text.append(f"Radius {number(radius, 1)}: {self._told(state)}")
        with style():
            handles, names = axes[0].get_legend_handles_labels()
            figure.legend(handles, names, loc="outside upper center", ncols=len(names), frameon=False)
        freeze_layout(figure)
        return Picture(figure, "\n".join(text))

    def _norms(self, name: str, length: int, radius: float, gate: float) -> Tensor:
        """Ask a measure, once a setting, and look at what came back before anything is drawn."""
        asked = (name, length, radius, gate)
        if asked not in self._known:
            returned = self._measures[name](length, radius, gate)
            norms = torch.as_tensor(returned).detach().cpu().double()
            if tuple(norms.shape) != (length,):
                raise ValueError(
                    f"GradientThroughTime: measure {name!r} must return ({length},) norms, got shape "
                    f"{tuple(norms.shape)}"
                )
            if (norms < 0).any():
                lowest = float(norms[norms < 0][0])
                raise ValueError(
                    f"GradientThroughTime: measure {name!r} must return norms, which are never below 0, "
                    f"got {lowest:g}"
                )
            self._known[asked] = norms.clone()
        return self._known[asked]

    def _measured(self, length: int, radius: float, gate: float) -> dict[str, Any]:
        norms = {name: self._norms(name, length, radius, gate) for name in self._measures}
        below = {}
        for name, each in norms.items():
            places = (each < self._threshold).nonzero().flatten().tolist()
            below[name] = places[0] if places else None
        return {
            "norms": norms,
            "last": {name: float(each[-1]) for name, each in norms.items()},
            "below": below,
        }

    def _see(self) -> dict[str, Any]:
        # The browser may send 0.6000000000000001 for a step of the slider.
        length, radius, gate = self.length.value, round(self.radius.value, 6), round(self.gate.value, 6)
        seen = self._measured(length, radius, gate)
        seen["norms"] = {name: each.clone() for name, each in seen["norms"].items()}
        return {"length": length, "radius": radius, "gate": gate, **seen}

    def _draw(self, state: dict[str, Any]) -> None:
        furthest = state["length"] - 1
        self._ax.set_xlim(0, 1.03 * furthest)
        _show(self._lines, state["norms"])
        places = sorted({round(furthest * step / _TICKS) for step in range(_TICKS + 1)})
        for slot, tick in enumerate(self._ticks):
            tick.set_visible(slot < len(places))
            if slot < len(places):
                tick.set(x=places[slot], text=str(places[slot]))

    def _say(self, state: dict[str, Any]) -> str:
        return f"At distance {state['length'] - 1}: {self._told(state)}"

    def _told(self, state: dict[str, Any]) -> str:
        limit = scientific(self._threshold)
        parts = []
        for name in self._measures:
            first = state["below"][name]
            fate = f"never below {limit}" if first is None else f"below {limit} from distance {first} on"
            if first is not None and bool((state["norms"][name][first:] >= self._threshold).any()):
                fate = f"first below {limit} at distance {first}"  # and above it again further off
            parts.append(f"{name} " + measured(f"{scientific(state['last'][name])}, {fate}"))
        return "; ".join(parts) + "."


def _prepare(ax: Axes, names: Sequence[str], threshold: float) -> dict[str, Line2D]:
    """Draw the frame and one empty line a name; the axis says that its ends gather what lies beyond."""
    with style():
        lines = {
            name: ax.plot(
                [],
                [],
                color=COLOURS[place],
                linestyle=LINES[place],
                marker=MARKERS[place],
                markersize=4.5,
                label=name,
                clip_on=False,  # a marker at the end of the axis is whole
            )[0]
            for place, name in enumerate(names)
        }
        exponents = range(round(math.log10(_LOW)), round(math.log10(_HIGH)) + 1, 2)
        words = [scientific(10.0**e) if -3 <= e <= 2 else f"$10^{{{e}}}$" for e in exponents]
        words[0], words[-1] = f"≤ {words[0]}", f"≥ {words[-1]}"
        ax.set(yscale="log", ylim=(_LOW, _HIGH))
        ax.set_yticks([10.0**e for e in exponents], words, minor=False)
        ax.set_yticks([], minor=True)
        ax.set(xticks=[], ylabel="norm of the gradient")
        ax.grid(axis="y", color="#e5e5e5", linewidth=0.6)
        ax.axhline(threshold, color=GREY, linewidth=0.9, linestyle=(0, (4, 3)), zorder=0)
        look = {"textcoords": "offset points", "va": "top", "fontsize": 8, "color": GREY}
        ax.annotate(scientific(threshold), (0, threshold), (5, -3), xycoords=ax.get_yaxis_transform(), **look)
    return lines


def _show(lines: Mapping[str, Line2D], norms: Mapping[str, Tensor]) -> None:
    """Draw norms by distance; NaN leaves a gap."""
    for name, line in lines.items():
        each = norms[name]
        line.set_data(range(len(each)), each.clamp(_LOW, _HIGH))
        line.set_markevery(max(1, len(each) // 8))
