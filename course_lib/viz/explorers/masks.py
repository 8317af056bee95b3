"""MaskPainter: paint who may attend to whom, and see what a careful and a careless softmax make of it.

Tq queries · Tk keys
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from torch import Tensor

from course_lib.attention import masked_softmax
from course_lib.masks import causal_mask
from course_lib.viz.explorers.base import LABELLED, Explorer, buttons, captioned, floats
from course_lib.viz.plots.matrices import (
    MatrixArtists,
    plot_scores,
    plot_weights,
    update_scores,
    update_weights,
)
from course_lib.viz.plots.shared import Values, short
from course_lib.viz.theme import (
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

_MOST = 8  # rows and columns: a cell is a control of its own
_MOST_NUMBERED = 6  # beyond that the numbers would cost half of the time of a redraw
_PADS = ("[PAD]", "<pad>")

CAREFUL, NAIVE, ZERO, AFTER = "careful (−∞)", "naive (−∞)", "0, not −∞", "mask after softmax"


class MaskPainter(Explorer):
    """Paint a mask cell by cell and look at scores, masked scores and weights. True = may attend.

    Four ways to the weights: the careful softmax of the library, in which a row that may attend to nothing is
    zeros; the naive one, in which such a row is NaN; 0 in place of −∞, which lets weight through; and a mask
    multiplied in after the softmax, which leaves rows that sum to less than 1.

    Args:
        scores: (Tq, Tk), at most 8 × 8.
        tokens: Tq words, one a query.
        key_tokens: Tk words; None = the queries' words, where Tq = Tk.
        presets: names → (Tq, Tk) boolean masks, a button each; None = all, causal, padding (the keys called
            [PAD], else the last), both, an empty row, and the causal mask with True and False flipped.
        target: (Tq, Tk) boolean: the mask to predict. None = there is no button to score with.

    Controls: `cells` (Tq rows of Tk checkboxes), `presets` (buttons), `softmax`, and for the arrow keys a cursor:
    `query`, `key`, `allowed` (the cell it stands on). `paint` takes a whole mask, `mask` returns it, `score` says
    how near it is to a target.

    State: `mask` (Tq, Tk), `softmax`, `query`, `key`, `allowed`, `masked_scores` and `weights` (Tq, Tk),
    `row_sums` (Tq), `short_rows` and `nan_rows` (places), `on_hidden` (the share of the weight that lies on
    hidden keys), `scored` (what the last press of the button said, or None).

    Raises:
        ValueError: scores of another shape or not finite, a wrong number of tokens, a mask that is not boolean
            or not (Tq, Tk).
    """

    def __init__(
        self,
        scores: Values,
        tokens: Sequence[str],
        key_tokens: Sequence[str] | None = None,
        *,
        presets: Mapping[str, Values] | None = None,
        target: Values | None = None,
    ):
        self._scores = floats("MaskPainter: scores", scores, 2)
        n_queries, n_keys = self._scores.shape
        if max(n_queries, n_keys) > _MOST:
            raise ValueError(
                f"MaskPainter: scores may be at most {_MOST} × {_MOST}, got shape {(n_queries, n_keys)}"
            )
        if key_tokens is None:
            if n_queries != n_keys:
                raise ValueError(
                    f"MaskPainter: {n_queries} queries and {n_keys} keys need key_tokens of their own"
                )
            key_tokens = tokens
        self._queries = _tokens("tokens", tokens, n_queries)
        self._keys = _tokens("key_tokens", key_tokens, n_keys)
        given = _default_presets(n_queries, self._keys) if presets is None else dict(presets)
        self._presets = {str(name): self._checked(f"preset {name!r}", mask) for name, mask in given.items()}
        self._target = None if target is None else self._checked("target", target)
        self._scored: str | None = None
        self._is_quiet = False  # while one control sets others

        self.cells = tuple(
            tuple(self._box(query, key) for key in range(n_keys)) for query in range(n_queries)
        )
        self.presets = tuple(
            widgets.Button(description=name, layout={"width": "auto"}) for name in self._presets
        )
        for button in self.presets:
            button.on_click(lambda pressed: self.paint(pressed.description))
        self.softmax = buttons([CAREFUL, NAIVE, ZERO, AFTER])
        slider: dict[str, Any] = {"min": 0, "value": 0, "style": LABELLED, "layout": {"width": "230px"}}
        self.query = widgets.IntSlider(max=n_queries - 1, description="query (row)", **slider)
        self.key = widgets.IntSlider(max=n_keys - 1, description="key (column)", **slider)
        self.allowed = widgets.Checkbox(
            value=True, description="may attend", indent=False, layout={"width": "auto"}
        )
        self.check = widgets.Button(description="score my prediction", layout={"width": "auto"})
        self.check.on_click(self._on_check)
        if self._target is None:
            self.check.layout.display = "none"
        figure, axes = new_figure(8.0, _height(8.0, self._queries, self._keys), 3)
        figure.set_layout_engine("compressed")  # made for panels of square cells
        self._panels = _prepare(axes, self._scores, self._queries, self._keys)
        every_cell = [box for row in self.cells for box in row]
        self._place_of = {
            box: (query, key) for query, row in enumerate(self.cells) for key, box in enumerate(row)
        }
        start = widgets.HBox([widgets.Label("start from"), *self.presets], layout={"flex_flow": "row wrap"})
        cursor = widgets.VBox([self.query, self.key, self.allowed, self.check])
        super().__init__(
            figure,
            [
                start,
                captioned("softmax", self.softmax),
                widgets.HBox(
                    [self._grid(), cursor], layout={"flex_flow": "row wrap", "align_items": "center"}
                ),
            ],
            [*every_cell, self.softmax, self.query, self.key, self.allowed],
            still=self._panels.still,
        )

    def __repr__(self) -> str:
        mask = self.mask
        return (
            f"MaskPainter: {mask.size(0)} × {mask.size(1)}, {int(mask.sum())} of {mask.numel()} cells may attend, "
            f"{self.softmax.value}, query {self.query.value}, key {self.key.value}"
        )

    @property
    def mask(self) -> Tensor:
        """The painted mask (Tq, Tk), boolean; True = may attend."""
        return torch.tensor([[box.value for box in row] for row in self.cells])

    def paint(self, mask: str | Values) -> None:
        """Paint a whole mask: the name of a preset, or (Tq, Tk) boolean.

        Raises:
            ValueError: an unknown name, or a mask that is not boolean or not (Tq, Tk).
        """
        if isinstance(mask, str):
            if mask not in self._presets:
                raise ValueError(f"MaskPainter: no preset {mask!r}; there are {', '.join(self._presets)}")
            wanted = self._presets[mask]
        else:
            wanted = self._checked("mask", mask)
        self._is_quiet = True
        try:
            for boxes, row in zip(self.cells, wanted.tolist(), strict=True):
                for box, value in zip(boxes, row, strict=True):
                    box.value = value
            self.allowed.value = self.cells[self.query.value][self.key.value].value
        finally:
            self._is_quiet = False
        self._scored = None
        self._render()

    def cells_right(self, target: Values | None = None) -> int:
        """Count the cells that are as in the target (Tq, Tk); None = the one given at the beginning.

        Raises:
            ValueError: no target, or one that is not boolean or not (Tq, Tk).
        """
        return int((self.mask == self._wanted(target)).sum())

    def score(self, target: Values | None = None) -> str:
        """Say how near the painted mask is to the target, and what its errors have in common.

        Arguments and errors as in `cells_right`.
        """
        wanted, mask = self._wanted(target), self.mask
        right, total = int((mask == wanted).sum()), mask.numel()
        if right == total:
            return f"All {total} cells are right."
        text = f"{right} of {total} cells are right."
        if right == 0:
            return text + " Every cell is the opposite: here True, a tick, means may attend."
        if mask.size(0) == mask.size(1) and torch.equal(mask, wanted.T):
            return text + " Rows and columns are swapped: a row is a query, a column is a key."
        wrong = mask != wanted
        if mask.size(0) == mask.size(1) and torch.equal(wrong, torch.eye(len(mask), dtype=torch.bool)):
            return text + " Only the diagonal differs: look at what a token may see of itself."
        too_many, too_few = int((mask & ~wanted).sum()), int((wanted & ~mask).sum())
        query, key = wrong.nonzero()[0].tolist()
        if too_many:
            text += f" {too_many} may attend and should not."
        if too_few:
            text += f" {too_few} should attend and may not."
        return (
            text + f" Look at query {self._named(self._queries, query)}, key {self._named(self._keys, key)}."
        )

    def static(self) -> Picture:
        """Show scores, masked scores and weights of the mask as it is."""
        figure, axes = new_figure(7.0, _height(7.0, self._queries, self._keys), 3)
        figure.set_layout_engine("compressed")
        panels = _prepare(axes, self._scores, self._queries, self._keys)
        freeze_layout(figure)
        state = self._see()
        _show(panels, state)
        for outline in panels.outlines:
            outline.set_visible(False)
        return Picture(figure, self._told(state))

    def _wanted(self, target: Values | None) -> Tensor:
        if target is not None:
            return self._checked("target", target)
        if self._target is None:
            raise ValueError("MaskPainter: score needs a target, (Tq, Tk) boolean")
        return self._target

    def _checked(self, name: str, mask: Values) -> Tensor:
        try:
            given = torch.as_tensor(mask)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"MaskPainter: {name} must be a boolean mask, got {mask!r}") from error
        if given.dtype != torch.bool:
            raise ValueError(
                f"MaskPainter: {name} must be boolean, True = may attend, got dtype {given.dtype}"
            )
        if given.shape != self._scores.shape:
            raise ValueError(
                f"MaskPainter: {name} must be {tuple(self._scores.shape)}, got shape {tuple(given.shape)}"
            )
        return given.clone()

    def _box(self, query: int, key: int) -> widgets.Checkbox:
        tip = f"query {query} '{self._queries[query]}', key {key} '{self._keys[key]}'"
        return widgets.Checkbox(
            value=True,
            indent=False,
            tooltip=tip,
            layout={"width": "28px", "height": "24px", "margin": "0 auto"},
        )

    def _grid(self) -> widgets.GridBox:
        """Lay out the checkboxes under the keys' words and beside the queries' words."""
        low = {"height": "24px", "margin": "0 2px"}
        parts: list[widgets.Widget] = [widgets.Label("query ↓ · key →", layout=low)]
        parts += [widgets.Label(short(key, 9), layout={**low, "margin": "0 auto"}) for key in self._keys]
        for query, row in zip(self._queries, self.cells, strict=True):
            parts += [widgets.Label(short(query), layout=low), *row]
        columns = f"auto repeat({len(self._keys)}, minmax(34px, auto))"
        return widgets.GridBox(
            parts,
            layout={
                "grid_template_columns": columns,
                "grid_gap": "0px 6px",
                "margin": "0 30px 0 2px",
                "width": "auto",
            },
        )

    def _on_change(self, change: Any) -> None:
        if self._is_quiet:
            return
        owner = change["owner"]
        self._is_quiet = True  # the controls below follow; they ask for no pictures of their own
        try:
            if owner in self._place_of:
                self._scored = None
                self.query.value, self.key.value = self._place_of[owner]
            elif owner is self.allowed:
                self._scored = None
                self.cells[self.query.value][self.key.value].value = self.allowed.value
            self.allowed.value = self.cells[self.query.value][self.key.value].value
        finally:
            self._is_quiet = False
        self._render()

    def _on_check(self, _button: widgets.Button) -> None:
        self._scored = self.score()
        self._render()

    def _see(self) -> dict[str, Any]:
        mask, way = self.mask, self.softmax.value
        masked_scores, weights = _weigh(self._scores, mask, way)
        sums = weights.sum(-1)  # (Tq,)
        finite = sums.isfinite()
        whole = float(weights[finite].sum())
        return {
            "mask": mask,
            "softmax": way,
            "query": self.query.value,
            "key": self.key.value,
            "allowed": self.allowed.value,
            "masked_scores": masked_scores,
            "weights": weights,
            "row_sums": sums,
            "short_rows": tuple((sums < 1 - 1e-6).nonzero().flatten().tolist()),
            "nan_rows": tuple((~finite).nonzero().flatten().tolist()),
            "on_hidden": float((weights * ~mask)[finite].sum()) / whole if whole > 0 else 0.0,
            "scored": self._scored,
        }

    def _draw(self, state: dict[str, Any]) -> None:
        _show(self._panels, state)

    def _say(self, state: dict[str, Any]) -> str:
        told = self._told(state)
        query, key = state["query"], state["key"]
        score, weight = float(self._scores[query, key]), float(state["weights"][query, key])
        told += (
            f" Query {self._named(self._queries, query)}, key {self._named(self._keys, key)}: score "
            f"{measured(number(score))}, weight {measured(number(weight))}."
        )
        return f"{state['scored']} {told}" if state["scored"] else told

    def _told(self, state: dict[str, Any]) -> str:
        mask = state["mask"]
        parts = [f"{int(mask.sum())} of {mask.numel()} cells may attend; softmax: {state['softmax']}."]
        if state["nan_rows"]:
            rows = ", ".join(self._named(self._queries, place) for place in state["nan_rows"])
            parts.append(f"NaN in {_rows(state['nan_rows'])} {rows}: a softmax over nothing but −∞.")
        if state["short_rows"]:
            sums = [
                f"{self._named(self._queries, place)} {number(float(state['row_sums'][place]))}"
                for place in state["short_rows"]
            ]
            parts.append(f"Less than 1 in sum: {_rows(state['short_rows'])} {measured(', '.join(sums))}.")
        if not state["nan_rows"] and not state["short_rows"]:
            parts.append("Every row sums to 1.")
        parts.append(f"On hidden keys lies {measured(percent(state['on_hidden']))} of the weight.")
        return " ".join(parts)

    def _named(self, tokens: Sequence[str], place: int) -> str:
        """Name a token, with its place where the sentence holds it twice."""
        token = tokens[place]
        return f"'{token}'" if list(tokens).count(token) == 1 else f"{place}: '{token}'"


@dataclass
class _Panels:
    """The artists of the three heatmaps."""

    masked: MatrixArtists
    weights: MatrixArtists
    hidden: PolyCollection  # hatched: −∞
    leaks: PolyCollection  # outlined: weight on a hidden key
    sums: list[Text]
    outlines: list[Rectangle]  # the cursor, once a panel
    still: list[Artist]


def _prepare(axes: Sequence[Axes], scores: Tensor, queries: Sequence[str], keys: Sequence[str]) -> _Panels:
    numbers = max(scores.shape) <= _MOST_NUMBERED
    raw = plot_scores(scores, queries, keys, numbers=numbers, title="scores", ax=axes[0])
    limit = raw.image.get_clim()[1]
    masked = plot_scores(
        scores, queries, keys, limit=limit, numbers=numbers, title="masked scores", ax=axes[1]
    )
    weights = plot_weights(
        scores.softmax(-1), queries, keys, limit=1.0, numbers=numbers, title="weights", ax=axes[2]
    )
    with style():
        for ax in axes[1:]:
            ax.set_ylabel("")
            ax.tick_params(left=False, labelleft=False)
        hidden = PolyCollection([], facecolors="none", edgecolors="#8a8a8a", hatch=HATCH, linewidths=0.0)
        leaks = PolyCollection([], facecolors="none", edgecolors=VERMILLION, linewidths=1.6)
        axes[1].add_collection(hidden, autolim=False)
        axes[2].add_collection(leaks, autolim=False)
        right = scores.size(1) - 0.4
        sums = [axes[2].text(right, row, "Σ 0.00", va="center", fontsize=8) for row in range(len(queries))]
        outlines = []
        for ax in axes:
            box = Rectangle((0, 0), 1, 1, fill=False, edgecolor=VERMILLION, linewidth=2.2, clip_on=False)
            outlines.append(ax.add_patch(box))
    still: list[Artist] = [raw.image, *(cell for row in raw.cells for cell in row)]
    return _Panels(masked, weights, hidden, leaks, sums, outlines, still)


def _height(width: float, queries: Sequence[str], keys: Sequence[str]) -> float:
    """Return the height in inches at which three panels of square cells just fit into a width."""
    beside = 0.075 * max(len(short(token)) for token in queries) + 1.0  # their words, "query", the sums
    below = 0.055 * max(len(short(token)) for token in keys) + 0.45  # their words, turned, and "key"
    cell = min((width - beside - 0.3) / 3 / len(keys), 0.5)
    return cell * len(queries) + below + 0.4


def _show(panels: _Panels, state: dict[str, Any]) -> None:
    masked_scores, weights, mask = state["masked_scores"], state["weights"], state["mask"]
    update_scores(panels.masked, masked_scores)
    update_weights(panels.weights, weights)
    panels.hidden.set_verts([_square(*cell) for cell in masked_scores.isneginf().nonzero().tolist()])
    leaking = ~mask & (weights > 0)
    panels.leaks.set_verts([_square(*cell) for cell in leaking.nonzero().tolist()])
    for text, total in zip(panels.sums, state["row_sums"].tolist(), strict=True):
        text.set_text(f"Σ {number(total)}")
    for outline in panels.outlines:
        outline.set_xy((state["key"] - 0.5, state["query"] - 0.5))


def _square(row: int, column: int) -> list[tuple[float, float]]:
    """Return the corners of a cell."""
    left, top = column - 0.5, row - 0.5
    return [(left, top), (left + 1, top), (left + 1, top + 1), (left, top + 1)]


def _weigh(scores: Tensor, mask: Tensor, way: str) -> tuple[Tensor, Tensor]:
    """Return what enters the softmax and the weights that come of it, both (Tq, Tk)."""
    if way == AFTER:
        return scores.clone(), scores.softmax(-1) * mask
    hidden = 0.0 if way == ZERO else -math.inf
    masked_scores = scores.masked_fill(~mask, hidden)
    return masked_scores, masked_softmax(scores, mask) if way == CAREFUL else masked_scores.softmax(-1)


def _default_presets(n_queries: int, keys: Sequence[str]) -> dict[str, Tensor]:
    everything = torch.ones(n_queries, len(keys), dtype=torch.bool)
    pads = [place for place, key in enumerate(keys) if key in _PADS] or [len(keys) - 1]
    padding = everything.clone()
    padding[:, pads] = False
    empty = everything.clone()
    empty[n_queries // 2] = False
    presets = {"all": everything, "padding": padding, "empty row": empty}
    if n_queries <= len(keys):
        causal = causal_mask(n_queries, len(keys))
        presets = {
            "all": everything,
            "causal": causal,
            "padding": padding,
            "both": causal & padding,
            "empty row": empty,
            "flipped": ~causal,
        }
    return presets


def _tokens(name: str, tokens: Sequence[str], n: int) -> list[str]:
    words = [str(token) for token in tokens]
    if len(words) != n:
        raise ValueError(f"MaskPainter: {n} {name} are needed, got {len(words)}: {words}")
    return words


def _rows(places: Sequence[int]) -> str:
    return "row" if len(places) == 1 else "rows"
