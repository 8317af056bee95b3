"""HeadBrowser: where each query of each head looks.

L layers · H heads · Tq queries · Tk keys
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
from matplotlib.patches import Rectangle

from course_lib.viz.explorers.base import LABELLED, MAX_NUMBERED_CELLS, Explorer, buttons, captioned, floats
from course_lib.viz.plots.bars import entropy, plot_bars, update_bars
from course_lib.viz.plots.matrices import plot_weights, show_weights, update_weights
from course_lib.viz.plots.shared import Values
from course_lib.viz.theme import VERMILLION, Picture, measured, new_figure, number, percent, style


class HeadBrowser(Explorer):
    """Walk through the heads of a model, yours or ours, and see where each query looks.

    Args:
        weights: (L, H, Tq, Tk) or (H, Tq, Tk), between 0 and 1.
        query_tokens: Tq words.
        key_tokens: Tk words; None = the query tokens, where Tq = Tk.

    Controls: `layer` (hidden where there is one), `head`, `query`.

    State: `layer`, `head`, `query` (its place), `token`, `weights` (Tq, Tk), `row` (Tk), `top` (the key
    with the largest weight), `entropy` and `max_entropy` of the row in nats.

    Raises:
        ValueError: a wrong shape or number of tokens, or a number outside [0, 1].
    """

    def __init__(self, weights: Values, query_tokens: Sequence[str], key_tokens: Sequence[str] | None = None):
        given = floats("HeadBrowser: weights", weights, 3, 4)
        outside = given[(given < -1e-6) | (given > 1 + 1e-4)]
        if len(outside):
            raise ValueError(
                f"HeadBrowser: weights lie between 0 and 1, got {float(outside[0]):g}; are these scores?"
            )
        self._weights = given if given.dim() == 4 else given.unsqueeze(0)  # (L, H, Tq, Tk)
        n_layers, n_heads, n_queries, n_keys = self._weights.shape
        if key_tokens is None:
            if n_queries != n_keys:
                raise ValueError(
                    f"HeadBrowser: {n_queries} queries and {n_keys} keys need key_tokens of their own"
                )
            key_tokens = query_tokens
        self._queries, self._keys = (
            [str(token) for token in query_tokens],
            [str(token) for token in key_tokens],
        )
        for name, tokens, n in (
            ("query_tokens", self._queries, n_queries),
            ("key_tokens", self._keys, n_keys),
        ):
            if len(tokens) != n:
                raise ValueError(f"HeadBrowser: {n} {name} are needed, got {len(tokens)}: {tokens}")
        slider = {"min": 0, "style": LABELLED, "layout": {"width": "230px"}}
        self.layer = widgets.IntSlider(max=n_layers - 1, description="layer", **slider)
        self.head = widgets.IntSlider(max=n_heads - 1, description="head", **slider)
        if n_layers == 1:
            self.layer.layout.display = "none"
        # The place stands before the token: a sentence may hold a word twice.
        self.query = buttons([(f"{place}: {token}", place) for place, token in enumerate(self._queries)])
        figure, (left, right) = new_figure(8.4, 3.7, 2, width_ratios=(1.15, 1.0))
        limit = float(self._weights.max()) or 1.0
        numbers = max(n_queries, n_keys) <= MAX_NUMBERED_CELLS
        self._heatmap = plot_weights(
            self._weights[0, 0],
            self._queries,
            self._keys,
            limit=limit,
            numbers=numbers,
            ax=left,
            title="weights of the head",
        )
        self._row_bars = plot_bars(
            self._weights[0, 0, 0], self._keys, limits=(0.0, 1.12 * limit), ax=right, title="the outlined row"
        )
        with style():
            self._outline = left.add_patch(
                Rectangle(
                    (-0.5, -0.5), n_keys, 1, fill=False, edgecolor=VERMILLION, linewidth=2.5, clip_on=False
                )
            )
            figure.colorbar(self._heatmap.image, ax=left, shrink=0.8, aspect=25, pad=0.02)
        super().__init__(
            figure,
            [
                widgets.HBox([self.layer, self.head], layout={"flex_flow": "row wrap"}),
                captioned("query token", self.query),
            ],
            [self.layer, self.head, self.query],
        )

    def __repr__(self) -> str:
        n_layers, n_heads, n_queries, n_keys = self._weights.shape
        return (
            f"HeadBrowser: layer {self.layer.value} of {n_layers}, head {self.head.value} of {n_heads}, "
            f"query {self.query.value}, {n_queries} × {n_keys}"
        )

    def static(self) -> Picture:
        """Show all heads of the chosen layer on one scale, the first twelve where there are more."""
        n_layers, n_heads = self._weights.shape[:2]
        heads = {f"head {head}": self._weights[self.layer.value, head] for head in range(min(n_heads, 12))}
        title = f"Layer {self.layer.value}" if n_layers > 1 else None
        return show_weights(heads, self._queries, self._keys, title=title)

    def _see(self) -> dict[str, Any]:
        layer, head, query = self.layer.value, self.head.value, self.query.value
        weights = self._weights[layer, head]  # (Tq, Tk)
        row = weights[query]  # (Tk,)
        return {
            "layer": layer,
            "head": head,
            "query": query,
            "token": self._queries[query],
            "weights": weights.clone(),
            "row": row.clone(),
            "top": int(row.argmax()),
            "entropy": entropy(row),
            "max_entropy": math.log(len(row)),
        }

    def _draw(self, state: dict[str, Any]) -> None:
        update_weights(self._heatmap, state["weights"])
        update_bars(self._row_bars, state["row"])
        self._outline.set_y(state["query"] - 0.5)

    def _say(self, state: dict[str, Any]) -> str:
        layer = f"Layer {state['layer']}, head" if len(self._weights) > 1 else "Head"
        text = f"{layer} {state['head']}: '{state['token']}' looks "
        key, share = self._keys[state["top"]], float(state["row"][state["top"]])
        if share == 0:
            return text + "at nothing: its whole row is hidden."
        return (
            f"{text}mostly at {measured(f'{key!r} ({percent(share)})')}; "
            f"entropy {measured(number(state['entropy']))} of at most {number(state['max_entropy'])} nats."
        )
