"""What all pictures need: input looked at, labels that fit, the text alternative."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from course_lib.viz.theme import Picture

Values = Tensor | np.ndarray | Sequence  # whatever torch.as_tensor understands

_LABEL_HEIGHT = 0.13  # inches between two labels on an axis


def picture_of(figure: Figure, title: str | None, parts: Mapping[str, str]) -> Picture:
    """Join the title and a sentence a panel to the text alternative."""
    lines = [f"{name}: {text}" if name else text for name, text in parts.items()]
    return Picture(figure, "\n".join([title, *lines] if title else lines))


def tensor_of(name: str, value: Values, *dims: int) -> Tensor:
    """Take numbers in any form, in double precision and apart from any graph."""
    try:
        # PyTorch warns of arrays that may not be written to, as those of a file or of a `broadcast_to` may not.
        given = value.copy() if isinstance(value, np.ndarray) else value
        tensor = torch.as_tensor(given).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers, got {value!r}") from error
    if tensor.dim() not in dims or tensor.numel() == 0:
        wanted = " or ".join(
            {1: "(N,)", 2: "(rows, columns)", 3: "(panels, rows, columns)"}[dim] for dim in dims
        )
        raise ValueError(f"{name} must have shape {wanted} and not be empty, got shape {tuple(tensor.shape)}")
    return tensor


def finite(name: str, value: Values, *dims: int) -> Tensor:
    tensor = tensor_of(name, value, *dims)
    if not tensor.isfinite().all():
        raise ValueError(f"{name} must be finite, got {float(tensor[~tensor.isfinite()][0])}")
    return tensor


def largest_size(values: Tensor) -> float:
    """Return the largest size of a finite number, and 1 where there is none above 0."""
    finite = values[values.isfinite()].abs()
    return float(finite.max()) if len(finite) and float(finite.max()) > 0 else 1.0


def maskable(matrix: Tensor) -> np.ma.MaskedArray:
    return np.ma.masked_invalid(matrix.numpy())


def labels_for(name: str, labels: Sequence[str] | None, n: int) -> list[str]:
    if labels is None:
        return [str(place) for place in range(n)]
    words = [str(label) for label in labels]
    if len(words) != n:
        raise ValueError(f"{name}: {n} labels are needed, got {len(words)}: {words}")
    return words


def short(text: str, longest: int = 12) -> str:
    """Cut a label to `longest` letters and make spaces and line ends visible where they are all there is."""
    text = text if text.strip() else repr(text)
    return text if len(text) <= longest else text[: longest - 1] + "…"


def digits_of(value: float) -> str:
    """Write a number with three significant digits; from 1,000 to a million, whole."""
    text = f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")


def label_axis(ax: Axes, axis: str, labels: Sequence[str], cell: float) -> None:
    """Write the labels at 0, 1, …: turned where they would touch, every n-th where there are too many."""
    step = max(1, math.ceil(_LABEL_HEIGHT / cell))
    places = list(range(0, len(labels), step))
    words = [short(labels[place]) for place in places]
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
