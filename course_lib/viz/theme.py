"""The look of every picture: sizes, fonts, colours that need no colour vision, and the way to a PNG.

A figure here is a plain `matplotlib.figure.Figure`: pyplot keeps hidden state, and a notebook that imports it
shows figures twice or not at all, depending on the order of its cells.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DPI = 100  # a picture 7 inches wide is 700 pixels: it fits a notebook, and is stored in some 20 KB
MAX_WIDTH = 10.0  # inches; nothing wider fits beside JupyterLab's side bar

SEQUENTIAL = "cividis"  # made for colour-blind readers; it grows lighter evenly, so it also prints in grey
DIVERGING = "PuOr_r"  # orange against purple, white at zero: safe for all common colour blindness
HIDDEN = "#d0d0d0"  # a cell without a finite value

# The three named colours (Okabe and Ito). None is ever alone: each also has its marker, hatch and line.
BLUE, VERMILLION, GREY = "#0072b2", "#d55e00", "#6b6b6b"
COLOURS = (BLUE, VERMILLION, "#007a5a", "#a8457f", "#8a6d00", GREY)
MARKERS = ("o", "s", "^", "D", "v", "P")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
HATCH = "////"

_STYLE = {
    "font.family": "DejaVu Sans",  # matplotlib brings it along, so every machine draws the same letters
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "hatch.linewidth": 0.8,
    "axes.unicode_minus": True,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the course's style inside the `with`, whatever style the notebook has set."""
    with matplotlib.style.context(["default", _STYLE]):
        yield


def new_figure(
    width: float,
    height: float,
    n_columns: int = 1,
    n_rows: int = 1,
    *,
    width_ratios: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """Make a figure and its axes, row by row, without touching pyplot.

    Args:
        width, height: in inches; 1 inch is `DPI` pixels.
        n_columns, n_rows: the grid of axes.
        width_ratios: one number a column; None = columns of equal width.

    Returns:
        The figure and a list of n_rows · n_columns axes.

    Raises:
        ValueError: a size that is not positive or wider than a notebook, or a grid without axes.
    """
    if not (0 < width <= MAX_WIDTH and height > 0):
        raise ValueError(
            f"new_figure: width must lie in (0, {MAX_WIDTH:g}] inches, height above 0, got {width} × {height}"
        )
    if n_columns < 1 or n_rows < 1:
        raise ValueError(f"new_figure: the grid needs at least 1 × 1 axes, got {n_rows} × {n_columns}")
    if width_ratios is not None and len(width_ratios) != n_columns:
        raise ValueError(f"new_figure: {n_columns} columns need as many width_ratios, got {width_ratios}")
    with style():
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(n_rows, n_columns, squeeze=False, width_ratios=width_ratios)
    return figure, list(grid.flat)


def freeze_layout(figure: Figure) -> None:
    """Compute the layout once and keep it: it costs more than the drawing, and nothing jumps afterwards."""
    with style():  # matplotlib makes ticks while it draws
        figure.draw_without_rendering()
    figure.set_layout_engine("none")


def to_png(figure: Figure) -> bytes:
    """Draw a figure as a PNG at its own size. Equal figures give equal bytes: no date, no version."""
    canvas = figure.canvas if isinstance(figure.canvas, FigureCanvasAgg) else FigureCanvasAgg(figure)
    with style():
        canvas.draw()
    return _encode(canvas, compress_level=6)


class Stage:
    """A figure whose frame is painted once and whose contents are painted again and again.

    Axes, ticks, titles and legends are two thirds of the work of a redraw, and in an explorer they stay: they
    are painted once and kept as pixels, and each new PNG paints the other artists over them.

    Args:
        figure: with all of its artists; its layout is frozen here.
        still: artists that never change: they are painted with the frame, and lie below all that moves.
    """

    def __init__(self, figure: Figure, still: Iterable[Artist] = ()):
        freeze_layout(figure)
        self._canvas = figure.canvas
        self._moving: list[Artist] = []
        kept = set(still)
        for ax in figure.axes:
            frame = {ax.patch, ax.title, ax.get_legend(), *ax.spines.values(), ax.xaxis, ax.yaxis, *kept}
            moving = [artist for artist in ax.get_children() if artist not in frame]
            self._moving += sorted(moving, key=lambda artist: artist.get_zorder())
        for artist in self._moving:
            artist.set_animated(True)  # matplotlib's word for: left out when the figure is drawn
        with style():
            self._canvas.draw()
        self._frame = self._canvas.copy_from_bbox(figure.bbox)

    def to_png(self) -> bytes:
        """Paint the artists as they are now over the frame, as a PNG that is quick rather than small."""
        self._canvas.restore_region(self._frame)
        renderer = self._canvas.get_renderer()
        with style():
            for artist in self._moving:
                artist.draw(renderer)
        return _encode(self._canvas, compress_level=1)


def _encode(canvas: FigureCanvasAgg, *, compress_level: int) -> bytes:
    png = io.BytesIO()
    picture = Image.frombuffer("RGBA", canvas.get_width_height(), canvas.buffer_rgba(), "raw", "RGBA", 0, 1)
    picture.convert("RGB").save(png, format="png", compress_level=compress_level)
    return png.getvalue()


class Picture:
    """A finished picture with its text alternative: the value of a cell, or an argument of `display`.

    A notebook shows a bare `Figure` only after pyplot was imported, a `Picture` always. Its text form is the
    description, in which every measured figure stands inside ⟦…⟧.

    Args:
        figure: what to show.
        description: what a reader who cannot see it should know, in a sentence or two.

    Raises:
        ValueError: the description is empty.
    """

    def __init__(self, figure: Figure, description: str):
        if not description.strip():
            raise ValueError(f"a Picture needs a description, got {description!r}")
        self.figure = figure
        self.description = description

    @property
    def png(self) -> bytes:
        """The picture as PNG bytes."""
        return to_png(self.figure)

    def __repr__(self) -> str:
        return self.description

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        # The second part goes into the output's metadata, where nbconvert finds the alt text of the picture.
        return self.png, {"alt": without_marks(self.description)}


def measured(text: str) -> str:
    """Mark text that may differ on another processor, so that the notebooks' tests skip it."""
    return f"⟦{text}⟧"


def without_marks(text: str) -> str:
    """Take the marks of `measured` away again, for text on the screen."""
    return text.replace("⟦", "").replace("⟧", "")


def number(value: float, digits: int = 2) -> str:
    """Write a number with a true minus sign, and without a minus before a zero."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def scientific(value: float) -> str:
    """Write a number of any size: 0.02 → "0.02", 0.000031 → "3.1 · 10⁻⁵", 250000 → "2.5 · 10⁵"."""
    if math.isnan(value) or math.isinf(value) or value == 0:
        return number(value, 0)
    if 1e-4 <= abs(value) < 999.5:
        return f"{value:.3g}".replace("-", "−")
    size, exponent = f"{value:.1e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{size} · 10{raised}".replace("-", "−")


def percent(value: float) -> str:
    """Write a share as a whole percentage, 0.314 → "31 %"; a share that would round to nothing as "< 1 %"."""
    if 0 < value < 0.005:
        return "< 1 %"
    return f"{100 * value:.0f} %"
