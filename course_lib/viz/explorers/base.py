"""What the explorers share: controls on top, a picture, a sentence below it; and their small parts."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.viz.plots.shared import Values
from course_lib.viz.theme import Picture, Stage, without_marks

LABELLED = {"description_width": "initial"}  # ipywidgets cuts long labels otherwise
MAX_NUMBERED_CELLS = 8  # an explorer numbers cells up to 8 × 8: more would cost half of the time of a redraw


class Explorer(widgets.VBox):
    """What the explorers share: controls on top, the picture, a sentence below it.

    Args:
        figure: the persistent figure, with its artists drawn.
        controls: the rows above the picture.
        inputs: the widgets whose value changes the picture.
        still: artists that never change, and are painted once.
    """

    def __init__(
        self,
        figure: Figure,
        controls: Sequence[widgets.Widget],
        inputs: Sequence[widgets.Widget],
        still: Iterable[Artist] = (),
    ):
        self.figure = figure
        self._stage = Stage(figure, still)
        width, height = figure.canvas.get_width_height()
        # Width and height are fixed, so that nothing below the picture jumps while it changes.
        self.image = widgets.Image(
            format="png", width=width, height=height, layout={"max_width": "100%", "object_fit": "contain"}
        )
        self.summary = widgets.HTML()
        super().__init__([*controls, self.image, self.summary])
        self._state: dict[str, Any] = {}
        for control in inputs:
            control.observe(self._on_change, names="value")
        self._render()

    @property
    def state(self) -> dict[str, Any]:
        """What the picture shows, in plain values and tensors; changing the copy changes nothing."""
        return dict(self._state)

    def static(self) -> Picture:
        """Return a still picture of the same, for the cell above."""
        raise NotImplementedError

    def _see(self) -> dict[str, Any]:
        """Compute the state from the controls."""
        raise NotImplementedError

    def _draw(self, state: dict[str, Any]) -> None:
        """Move the artists to show a state."""
        raise NotImplementedError

    def _say(self, state: dict[str, Any]) -> str:
        """Describe a state in one or two sentences."""
        raise NotImplementedError

    def _on_change(self, _change: Any) -> None:
        self._render()

    def _render(self) -> None:
        state = self._see()  # first of all: where this raises, the last picture stays as it was
        self._draw(state)
        self._state = state
        png = self._stage.to_png()
        # The words first: who waits for the new picture, as a test does, then finds the new words under it.
        self.summary.value = f"<div role='status'>{html.escape(without_marks(self._say(state)))}</div>"
        self.image.value = png


def buttons(options: Sequence[Any]) -> widgets.ToggleButtons:
    """Return one button an option; JupyterLab takes the arrow keys away from a dropdown, not Space from these."""
    return widgets.ToggleButtons(options=options, style={"button_width": "auto"}, layout={"width": "auto"})


def captioned(caption: str, control: widgets.Widget) -> widgets.HBox:
    """Put a caption before a control whose own label would stand above it."""
    return widgets.HBox([widgets.Label(caption), control], layout={"margin": "2px 0 4px 2px"})


def floats(name: str, value: Values, *dims: int) -> Tensor:
    try:
        # A copy: what the caller does to its tensor later does not reach the explorer. Of an array it is made
        # first, for PyTorch warns of arrays that may not be written to.
        given = value.copy() if isinstance(value, np.ndarray) else value
        tensor = torch.as_tensor(given).detach().cpu().double().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers, got {value!r}") from error
    if tensor.dim() not in dims or tensor.numel() == 0:
        wanted = " or ".join(map(str, dims))
        raise ValueError(
            f"{name} must have {wanted} dimensions and not be empty, got shape {tuple(tensor.shape)}"
        )
    if not tensor.isfinite().all():
        raise ValueError(f"{name} must be finite, got {float(tensor[~tensor.isfinite()][0])}")
    return tensor
