"""Pictures and explorers: tensors, tokens and plain functions in, no model classes.

`theme` settles the look, `plots` draws the static pictures (`show_x`, `plot_x`, `update_x`, `describe_x`),
and `explorers` lets the learner move something.
"""

from course_lib.viz.explorers.gradients import GradientThroughTime
from course_lib.viz.explorers.gravity import HEADS, ContextGravity, Pull
from course_lib.viz.explorers.heads import HeadBrowser
from course_lib.viz.explorers.masks import MaskPainter
from course_lib.viz.explorers.neighbours import EmbeddingNeighbours
from course_lib.viz.explorers.positions import PositionScrubber
from course_lib.viz.explorers.temperature import SoftmaxTemperature
from course_lib.viz.plots.bars import describe_bars, entropy, plot_bars, show_bars, update_bars
from course_lib.viz.plots.curves import describe_curves, plot_curves, show_curves
from course_lib.viz.plots.filmstrip import describe_filmstrip, plot_filmstrip, show_filmstrip
from course_lib.viz.plots.maps import describe_map, plot_map, show_map, update_map
from course_lib.viz.plots.matrices import (
    describe_scores,
    describe_weights,
    plot_scores,
    plot_weights,
    show_scores,
    show_weights,
    update_scores,
    update_weights,
)
from course_lib.viz.plots.spread import describe_spread, plot_spread, show_spread
from course_lib.viz.theme import Picture, new_figure, to_png

__all__ = [
    "HEADS",
    "ContextGravity",
    "EmbeddingNeighbours",
    "GradientThroughTime",
    "HeadBrowser",
    "MaskPainter",
    "Picture",
    "PositionScrubber",
    "Pull",
    "SoftmaxTemperature",
    "describe_bars",
    "describe_curves",
    "describe_filmstrip",
    "describe_map",
    "describe_scores",
    "describe_spread",
    "describe_weights",
    "entropy",
    "new_figure",
    "plot_bars",
    "plot_curves",
    "plot_filmstrip",
    "plot_map",
    "plot_scores",
    "plot_spread",
    "plot_weights",
    "show_bars",
    "show_curves",
    "show_filmstrip",
    "show_map",
    "show_scores",
    "show_spread",
    "show_weights",
    "to_png",
    "update_bars",
    "update_map",
    "update_scores",
    "update_weights",
]
