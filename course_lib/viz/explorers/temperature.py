"""SoftmaxTemperature: scores into weights, at any width and temperature.

n scores · d width
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.patches import Rectangle
from torch import Tensor

from course_lib.viz.explorers.base import LABELLED, Explorer, floats
from course_lib.viz.plots.bars import entropy, plot_bars, show_bars, update_bars
from course_lib.viz.plots.shared import Values
from course_lib.viz.theme import Picture, measured, new_figure, number, style


class SoftmaxTemperature(Explorer):
    """Turn scores into weights at any width and temperature, with and without the division by √d.

    What enters the softmax is q·k / (√d · temperature), where only the first d numbers of q and k take part.

    Args:
        q: (d,), one query.
        k: (n, d), n keys.
        labels: n words for the keys; None = 0, 1, ….

    Controls: `temperature`, `scaled` (divide by √d), `d`.

    State: `d`, `scaled`, `temperature`, `scores` (n), `logits` (n; what enters the softmax), `weights` (n),
    `entropy` and `max_entropy` in nats, `gradient` (the Frobenius norm of diag(p) − p pᵀ, the derivative of
    the softmax with respect to what enters it).

    Raises:
        ValueError: shapes that do not fit, fewer than two keys, numbers that are not finite, wrong labels.
    """

    def __init__(self, q: Values, k: Values, *, labels: Sequence[str] | None = None):
        self._q = floats("SoftmaxTemperature: q", q, 1)
        self._k = floats("SoftmaxTemperature: k", k, 2)
        n, width = self._k.shape
        if len(self._q) != width or n < 2:
            raise ValueError(
                f"SoftmaxTemperature: q must be (d,) and k (n, d) with n at least 2, got q of shape "
                f"{tuple(self._q.shape)} and k of shape {tuple(self._k.shape)}"
            )
        self._labels = (
            [str(place) for place in range(n)] if labels is None else [str(label) for label in labels]
        )
        if len(self._labels) != n:
            raise ValueError(
                f"SoftmaxTemperature: {n} keys need {n} labels, got {len(self._labels)}: {self._labels}"
            )
        # Each width four times the one before: the spread of the scores doubles from one to the next.
        widths = sorted({size for size in (4, 16, 64, 256, 1024) if size < width} | {width})
        self.temperature = widgets.FloatLogSlider(
            value=1.0,
            base=2,
            min=-3.25,  # about 0.1; steps of a quarter reach 1, 2, 4, 8 and 16 exactly
            max=5,
            step=0.25,
            description="temperature",
            readout_format=".3g",
            style=LABELLED,
            layout={"width": "330px"},
        )
        self.scaled = widgets.Checkbox(
            value=False,
            description="divide by √d",
            indent=False,
            layout={"width": "auto", "margin": "2px 14px 2px 2px"},
        )
        self.d = widgets.ToggleButtons(
            options=[(f"d = {size}", size) for size in widths],  # a label would stand above the buttons
            value=width,
            style={"button_width": "88px"},
            layout={"width": "auto"},
        )
        top = max(float(self._scores(size).abs().max()) for size in widths) or 1.0
        figure, (left, right) = new_figure(8.0, 3.2, 2)
        limits = (-1.5 * top, 1.3 * top)  # the legend stands below
        self._score_bars = plot_bars(
            self._scores(width), self._labels, limits=limits, title="what enters the softmax", ax=left
        )
        with style():
            # The raw scores stay as outlines around what the temperature and √d leave of them.
            self._outlines = [
                left.add_patch(
                    Rectangle((place - 0.375, 0), 0.75, 0.0, fill=False, linestyle=":", linewidth=1.0)
                )
                for place in range(n)
            ]
            self._weight_bars = plot_bars(
                torch.full((n,), 1 / n), self._labels, limits=(0.0, 1.3), title="weights", ax=right
            )
            right.axhline(1 / n, color="black", linewidth=0.9, linestyle="--")
            right.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
            left.plot([], [], color="black", linestyle=":", linewidth=1.0, label="raw score q·k")
            left.legend(loc="lower left", frameon=False)
            right.plot([], [], color="black", linestyle="--", linewidth=0.9, label=f"all equal: 1/{n}")
            right.legend(loc="upper right", frameon=False)
        super().__init__(
            figure,
            [widgets.HBox([self.temperature, self.scaled, self.d], layout={"flex_flow": "row wrap"})],
            [self.temperature, self.scaled, self.d],
        )

    def __repr__(self) -> str:
        divided = "divided" if self.scaled.value else "not divided"
        return (
            f"SoftmaxTemperature: {len(self._labels)} scores, d = {self.d.value}, {divided} by √d, "
            f"temperature {self.temperature.value:.3g}"
        )

    def static(self) -> Picture:
        """Show the weights at the temperatures 1, √(d/4) and √d, and beside them those of d = 4."""
        width = self._k.size(1)
        panels = {
            f"{name}{temperature:.3g}": (self._scores(width) / temperature).softmax(-1)
            for name, temperature in (
                ("", 1.0),
                ("√(d/4) = ", math.sqrt(width / 4)),
                ("√d = ", math.sqrt(width)),
            )
        }
        title = f"d = {width} at three temperatures"
        if width > 4:
            panels["d = 4"] = self._scores(4).softmax(-1)
            title += ", and d = 4 at temperature 1"
        return show_bars(panels, self._labels, y_label="weight", title=title)

    def _scores(self, width: int) -> Tensor:
        return self._k[:, :width] @ self._q[:width]  # (n,)

    def _see(self) -> dict[str, Any]:
        width, scaled, temperature = self.d.value, self.scaled.value, self.temperature.value
        scores = self._scores(width)
        logits = scores / ((math.sqrt(width) if scaled else 1.0) * temperature)
        weights = logits.softmax(-1)
        slope = weights.diag() - weights.outer(weights)  # (n, n): ∂ weight i / ∂ logit j
        return {
            "d": width,
            "scaled": scaled,
            "temperature": temperature,
            "scores": scores,
            "logits": logits,
            "weights": weights,
            "entropy": entropy(weights),
            "max_entropy": math.log(len(weights)),
            "gradient": float(slope.norm()),
        }

    def _draw(self, state: dict[str, Any]) -> None:
        update_bars(self._score_bars, state["logits"])
        update_bars(self._weight_bars, state["weights"])
        for outline, score in zip(self._outlines, state["scores"].tolist(), strict=True):
            outline.set_height(score)

    def _say(self, state: dict[str, Any]) -> str:
        top = int(state["weights"].argmax())
        largest = f"{number(float(state['weights'][top]))}, on {self._labels[top]}"
        gradient = measured(_small(state["gradient"]))
        return (
            f"The largest weight is {measured(largest)}; entropy {measured(number(state['entropy']))} "
            f"of at most {number(state['max_entropy'])} nats. Size of the softmax's gradient: {gradient}."
        )


def _small(value: float) -> str:
    """Write a number that may be tiny: 0.31, 0.0042, below 0.0001."""
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"
