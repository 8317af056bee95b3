"""Explorers: something to move, a picture that answers, and a sentence that says what it shows.

Each is a thin `VBox`: its controls are attributes (`explorer.temperature.value = 8`), `state` holds what is
shown in numbers, and `static()` gives a still picture for the cell above, which also stands without a kernel.
The figure is built once; a change of a control moves its artists and paints a new PNG.

L layers · H heads · Tq queries · Tk keys · T words of a sentence · V words of a table · n scores · d width
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from course_lib.attention import scaled_dot_product_attention
from course_lib.viz.plots import (
    Values,
    describe_map,
    entropy,
    place_labels,
    plot_bars,
    plot_map,
    plot_weights,
    show_bars,
    show_weights,
    update_bars,
    update_map,
    update_weights,
)
from course_lib.viz.theme import (
    BLUE,
    HATCH,
    VERMILLION,
    Picture,
    Stage,
    freeze_layout,
    measured,
    new_figure,
    number,
    percent,
    style,
    without_marks,
)

_LABELLED = {"description_width": "initial"}  # ipywidgets cuts long labels otherwise
_MAX_NUMBERED = 8  # an explorer numbers cells up to 8 × 8: more would cost half of the time of a redraw


class Explorer(widgets.VBox):
    """What the explorers share: controls on top, the picture, a sentence below it.

    Args:
        figure: the persistent figure, with its artists drawn.
        controls: the rows above the picture.
        inputs: the widgets whose value changes the picture.
    """

    def __init__(self, figure: Figure, controls: Sequence[widgets.Widget], inputs: Sequence[widgets.Widget]):
        self.figure = figure
        self._stage = Stage(figure)
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


# ----------------------------------------------------------------------------------------------------
# ContextGravity


class Pull(NamedTuple):
    """How much two words of a sentence draw each other."""

    word: str
    from_focus: float  # the weight that the focus word gives to the other: how strongly it is drawn there
    to_focus: float  # the weight that the other gives to the focus word


HEADS: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "identity": ((1.0, 0.0), (0.0, 1.0)),
    "computer view": ((1.2, 0.0), (0.0, 0.2)),
    "fruit view": ((0.2, 0.0), (0.0, 1.2)),
    "one axis only": ((1.0, 0.0), (0.0, 0.0)),
    "mixed axes": ((0.7, 0.7), (0.7, 0.7)),
    "rotation": ((0.8, 0.6), (-0.6, 0.8)),
}


class ContextGravity(Explorer):
    """Let the words of a sentence pull one of them over the map, as a head with a matrix W sees them.

    Queries and keys are both strength · x W, values are x. The picture shows left the words where the table
    has them and where attention takes the focus word; in the middle what the head sees; right what each word
    gives to the focus word and gets from it: two different numbers for each pair.

    Args:
        words: V different words; None = those of `table`, where that is a dict.
        table: (V, 2), the row of each word, or a dict of words → two numbers.
        contexts: sentences by name; each holds the focus word and only words of the table.
        focus: the word to watch; where a sentence holds it twice, its first place.
        attention: (q, k, v), each (T, 2) → output (T, 2) and weights (T, T): yours or the library's.
        matrices: heads by name → (2, 2); None = `HEADS`.

    Controls: `sentence`, `head`, `strength`, and `taking_part`, one checkbox a word of the sentence.

    State: `sentence`, `head`, `strength`, `words` (T), `focus` (its place), `table` (T, 2), `matrix` (2, 2;
    with the strength), `weights` (T, T), `outputs` (T, 2), `pulls` (a `Pull` for every other word).

    Raises:
        ValueError: a word without a row, a sentence without the focus word, a wrong shape, or an attention
            function that returns something else than (T, 2) and (T, T).
    """

    def __init__(
        self,
        words: Sequence[str] | None,
        table: Values | Mapping[str, Sequence[float]],
        contexts: Mapping[str, Sequence[str]],
        *,
        focus: str = "apple",
        attention: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]] = scaled_dot_product_attention,
        matrices: Mapping[str, Values] | None = None,
    ):
        self._words, self._table = _word_table(words, table)
        self._contexts = _sentences(contexts, self._words, focus)
        self._focus = focus
        self._attention = attention
        self._matrices = {name: _matrix(name, given) for name, given in (matrices or HEADS).items()}

        longest = max(len(sentence) for sentence in self._contexts.values())
        self.sentence = _buttons(list(self._contexts))
        self.head = _buttons(list(self._matrices))
        self.strength = widgets.FloatSlider(
            value=1.0,
            min=0.0,
            max=1.5,
            step=0.1,
            description="strength",
            readout_format=".1f",
            style=_LABELLED,
            layout={"width": "260px"},
        )
        self._boxes = {name: self._checkboxes(sentence) for name, sentence in self._contexts.items()}
        self._box_row = widgets.HBox(layout={"flex_flow": "row wrap"})
        self._prepare_figure(longest)
        every_box = [box for boxes in self._boxes.values() for box in boxes]
        super().__init__(
            self._new_figure,
            [
                _captioned("sentence", self.sentence),
                _captioned("head's matrix W", self.head),
                widgets.HBox([self.strength, self._box_row], layout={"flex_flow": "row wrap"}),
            ],
            [self.sentence, self.head, self.strength, *every_box],
        )

    @property
    def taking_part(self) -> tuple[widgets.Checkbox, ...]:
        """The checkboxes of the sentence that is shown, in its order; the focus word has none."""
        return tuple(self._boxes[self.sentence.value])

    def __repr__(self) -> str:
        kept = sum(box.value for box in self.taking_part)
        return (
            f"ContextGravity: '{self._focus}' among {kept} of {len(self.taking_part)} words, "
            f"head '{self.head.value}', strength {self.strength.value:.1f}"
        )

    def static(self) -> Picture:
        """Show up to three of the sentences side by side, with all of their words and the head as it is."""
        names = list(self._contexts)[:3]
        figure, axes = new_figure(2.35 * len(names), 2.75, len(names))
        text = [f"Where attention takes '{self._focus}' in {len(names)} sentences, head '{self.head.value}'."]
        maps = []
        for name, ax in zip(names, axes):
            sentence = self._contexts[name]
            seen = self._attend(sentence)
            shown = list(dict.fromkeys(sentence))
            moved = {self._focus: seen["outputs"][seen["focus"]]}
            rows = torch.stack([self._table[self._words.index(word)] for word in shown])
            maps.append(plot_map(rows, shown, moved=moved, limits=self._limits, title=name, ax=ax))
            text.append(f"{name}: {describe_map(rows, shown, moved=moved)}")
        freeze_layout(figure)
        for drawn in maps:
            place_labels(drawn)
        return Picture(figure, "\n".join(text))

    def _checkboxes(self, sentence: Sequence[str]) -> list[widgets.Checkbox]:
        others = list(sentence)
        others.remove(self._focus)
        return [
            widgets.Checkbox(
                value=True,
                description=word,
                indent=False,
                layout={"width": "auto", "margin": "2px 14px 2px 2px"},
            )
            for word in others
        ]

    def _prepare_figure(self, longest: int) -> None:
        """Draw every artist once, as many as the longest sentence needs."""
        figure, (plane, view, pairs) = new_figure(8.4, 3.6, 3, width_ratios=(1.25, 1.1, 0.95))
        self._new_figure = figure
        rows = self._table
        self._limits = _square(rows)
        reach = torch.cat([1.5 * rows @ matrix for matrix in self._matrices.values()])
        title = f"the map; hollow: {_cut(self._focus)}'s table row"
        self._plane = plot_map(rows, self._words, limits=self._limits, title=title, ax=plane)
        self._view = plot_map(
            rows, self._words, limits=_square(reach), title="what the head sees: x W", ax=view
        )
        with style():
            looks = ((BLUE, "solid"), (VERMILLION, (0, (4, 2))))
            self._arrows = [
                [
                    FancyArrowPatch(
                        (0, 0),
                        (1, 1),
                        connectionstyle="arc3,rad=0.13",
                        arrowstyle="-|>",
                        color=colour,
                        linestyle=dash,
                        shrinkA=6,
                        shrinkB=6,
                    )
                    for _ in range(longest - 1)
                ]
                for colour, dash in looks
            ]
            for arrow in [*self._arrows[0], *self._arrows[1]]:
                arrow.set(zorder=1.5, alpha=0.75, in_layout=False)
                plane.add_patch(arrow)
            places = range(longest - 1)
            self._bars = [
                list(
                    pairs.barh(
                        places, [0.0] * len(places), height=0.36, color=BLUE, label=f"{self._focus} gives"
                    )
                ),
                list(
                    pairs.barh(
                        places,
                        [0.0] * len(places),
                        height=0.36,
                        facecolor="white",
                        edgecolor=VERMILLION,
                        hatch=HATCH,
                        label=f"gives to {self._focus}",
                    )
                ),
            ]
            size = 8 if longest <= 9 else 7
            self._numbers = [
                [pairs.text(0, 0, "", va="center", fontsize=size) for _ in places] for _ in range(2)
            ]
            self._names = [
                pairs.text(0, 0, "", ha="right", va="center", parse_math=False, in_layout=False)
                for _ in places
            ]
            pairs.set(xlim=(0.0, 1.18), xticks=(0.0, 0.5, 1.0), xticklabels=("0", "50 %", "100 %"), yticks=[])
            # The longest word keeps the room free that the names need, which are no tick labels.
            widest = max((len(word) for sentence in self._contexts.values() for word in sentence), default=1)
            pairs.set_ylabel(" \n" * max(1, round(min(widest, 12) * 0.55)), fontsize=9)
            pairs.set_xlabel("weight")
            pairs.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), frameon=False, handlelength=1.4)
        self._pairs = pairs

    def _attend(self, words: Sequence[str]) -> dict[str, Any]:
        rows = torch.stack([self._table[self._words.index(word)] for word in words])  # (T, 2)
        matrix = self.strength.value * self._matrices[self.head.value]  # (2, 2)
        seen = rows @ matrix  # (T, 2): queries and keys
        outputs, weights = _call(self._attention, seen, rows)
        return {
            "table": rows,
            "matrix": matrix,
            "weights": weights,
            "outputs": outputs,
            "focus": words.index(self._focus),
        }

    def _see(self) -> dict[str, Any]:
        sentence = list(self._contexts[self.sentence.value])
        place = sentence.index(self._focus)
        kept = [box.value for box in self.taking_part]
        kept.insert(place, True)
        words = [word for word, takes_part in zip(sentence, kept, strict=True) if takes_part]
        seen = self._attend(words)
        focus, weights = seen["focus"], seen["weights"]
        pulls = tuple(
            Pull(word, float(weights[focus, other]), float(weights[other, focus]))
            for other, word in enumerate(words)
            if other != focus
        )
        return {
            "sentence": self.sentence.value,
            "head": self.head.value,
            "strength": self.strength.value,
            "words": tuple(words),
            **seen,
            "pulls": pulls,
        }

    def _draw(self, state: dict[str, Any]) -> None:
        if self._box_row.children != self.taking_part:
            self._box_row.children = self.taking_part
        focus, rows = state["focus"], state["table"]
        moved = {self._focus: state["outputs"][focus]}
        update_map(self._plane, self._table, moved=moved, shown=state["words"])
        update_map(self._view, self._table, warp=state["matrix"], shown=state["words"])
        others = [place for place in range(len(state["words"])) if place != focus]
        here = rows[focus].tolist()
        self._pairs.set_ylim(len(others) - 0.4 if others else 0.6, -0.6)  # the first word on top
        for slot in range(len(self._names)):
            is_used = slot < len(others)
            there = rows[others[slot]].tolist() if is_used else here
            given = (
                (state["pulls"][slot].from_focus, state["pulls"][slot].to_focus) if is_used else (0.0, 0.0)
            )
            self._names[slot].set(
                text=_cut(state["pulls"][slot].word) if is_used else "", position=(-0.04, slot)
            )
            for side, share in enumerate(given):
                arrow = self._arrows[side][slot]
                # Two words at one place, or a weight that rounds to nothing, have no arrow to draw.
                arrow.set_visible(is_used and share >= 0.005 and here != there)
                arrow.set_positions(*((here, there) if side == 0 else (there, here)))
                arrow.set_linewidth(0.6 + 6 * share)
                arrow.set_mutation_scale(8 + 12 * share)
                middle = slot + (-0.2, 0.2)[side]
                bar, text = self._bars[side][slot], self._numbers[side][slot]
                bar.set(width=share, y=middle - 0.18, visible=is_used)
                text.set(text=percent(share) if is_used else "", position=(share + 0.02, middle))

    def _say(self, state: dict[str, Any]) -> str:
        me, pulls = self._focus, state["pulls"]
        if not pulls:
            return f"{me} is alone: nothing pulls, and it stays where its table row is."
        focus = state["focus"]
        distance = number(float((state["outputs"][focus] - state["table"][focus]).norm()))
        kept = percent(float(state["weights"][focus, focus]))
        other, given, returned = max(pulls, key=lambda pull: pull.from_focus)
        pair = f"{me} gives {other} {percent(given)}, {other} gives {me} {percent(returned)}"
        return (
            f"{me} moves {measured(distance)} and keeps {measured(kept)} for itself; its table row stays. "
            f"Its strongest pull: {measured(pair)}."
        )


# ----------------------------------------------------------------------------------------------------
# SoftmaxTemperature


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
        self._q = _floats("SoftmaxTemperature: q", q, 1)
        self._k = _floats("SoftmaxTemperature: k", k, 2)
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
            style=_LABELLED,
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


# ----------------------------------------------------------------------------------------------------
# HeadBrowser


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
        given = _floats("HeadBrowser: weights", weights, 3, 4)
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
        slider = {"min": 0, "style": _LABELLED, "layout": {"width": "230px"}}
        self.layer = widgets.IntSlider(max=n_layers - 1, description="layer", **slider)
        self.head = widgets.IntSlider(max=n_heads - 1, description="head", **slider)
        if n_layers == 1:
            self.layer.layout.display = "none"
        # The place stands before the token: a sentence may hold a word twice.
        self.query = _buttons([(f"{place}: {token}", place) for place, token in enumerate(self._queries)])
        figure, (left, right) = new_figure(8.4, 3.7, 2, width_ratios=(1.15, 1.0))
        limit = float(self._weights.max()) or 1.0
        numbers = max(n_queries, n_keys) <= _MAX_NUMBERED
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
                _captioned("query token", self.query),
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


# ----------------------------------------------------------------------------------------------------
# What they check


def _buttons(options: Sequence[Any]) -> widgets.ToggleButtons:
    """Return one button an option; JupyterLab takes the arrow keys away from a dropdown, not Space from these."""
    return widgets.ToggleButtons(options=options, style={"button_width": "auto"}, layout={"width": "auto"})


def _captioned(caption: str, control: widgets.Widget) -> widgets.HBox:
    """Put a caption before a control whose own label would stand above it."""
    return widgets.HBox([widgets.Label(caption), control], layout={"margin": "2px 0 4px 2px"})


def _floats(name: str, value: Values, *dims: int) -> Tensor:
    try:
        # A copy: what the caller does to its tensor later does not reach the explorer.
        tensor = torch.as_tensor(value).detach().cpu().double().clone()
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


def _word_table(
    words: Sequence[str] | None, table: Values | Mapping[str, Sequence[float]]
) -> tuple[list[str], Tensor]:
    if isinstance(table, Mapping):
        chosen = list(table) if words is None else list(words)
        missing = [word for word in chosen if word not in table]
        if missing:
            raise ValueError(f"ContextGravity: the table has no row for {missing[0]!r}")
        rows = _floats("ContextGravity: table", [list(table[word]) for word in chosen], 2)
    else:
        if words is None:
            raise ValueError("ContextGravity: words may be None only where table is a dict")
        chosen, rows = list(words), _floats("ContextGravity: table", table, 2)
    if tuple(rows.shape) != (len(chosen), 2):
        raise ValueError(f"ContextGravity: table must be ({len(chosen)}, 2), got shape {tuple(rows.shape)}")
    # Single precision, as an embedding is: the learner's own function gets what it gets in the lesson.
    return chosen, rows.float()


def _sentences(
    contexts: Mapping[str, Sequence[str]], words: Sequence[str], focus: str
) -> dict[str, list[str]]:
    if not contexts:
        raise ValueError("ContextGravity: contexts must hold at least one sentence, got an empty dict")
    sentences = {str(name): list(sentence) for name, sentence in contexts.items()}
    for name, sentence in sentences.items():
        if focus not in sentence:
            raise ValueError(f"ContextGravity: sentence {name!r} has no {focus!r}: {sentence}")
        unknown = [word for word in sentence if word not in words]
        if unknown:
            raise ValueError(
                f"ContextGravity: sentence {name!r} holds {unknown[0]!r}, which has no row in the table"
            )
    return sentences


def _matrix(name: str, given: Values) -> Tensor:
    matrix = _floats(f"ContextGravity: matrix {name!r}", given, 2).float()
    if tuple(matrix.shape) != (2, 2):
        raise ValueError(f"ContextGravity: matrix {name!r} must be (2, 2), got shape {tuple(matrix.shape)}")
    return matrix


def _call(
    attention: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]], seen: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Ask the learner's function, and look at what came back before anything is drawn."""
    returned = attention(seen, seen, rows.clone())
    n = len(rows)
    if not (
        isinstance(returned, tuple)
        and len(returned) == 2
        and all(isinstance(part, Tensor) for part in returned)
    ):
        raise ValueError(
            f"ContextGravity: attention must return (output, weights), got {type(returned).__name__}"
        )
    outputs, weights = (part.detach() for part in returned)
    if tuple(outputs.shape) != (n, 2) or tuple(weights.shape) != (n, n):
        raise ValueError(
            f"ContextGravity: attention must return output ({n}, 2) and weights ({n}, {n}), got shapes "
            f"{tuple(outputs.shape)} and {tuple(weights.shape)}"
        )
    if not (outputs.isfinite().all() and weights.isfinite().all()):
        raise ValueError("ContextGravity: attention returned NaN or ∞")
    return outputs, weights


def _square(points: Tensor) -> tuple[float, float, float, float]:
    """Return limits of a square around points (N, 2) and the origin, with room for labels."""
    with_origin = torch.cat([points, points.new_zeros(1, 2)])
    low, high = with_origin.amin(0), with_origin.amax(0)
    half = 0.62 * max(float((high - low).max()), 0.1)
    x, y = ((low + high) / 2).tolist()
    return (x - half, x + half, y - half, y + half)


def _cut(word: str) -> str:
    return word if len(word) <= 12 else word[:11] + "…"


def _small(value: float) -> str:
    """Write a number that may be tiny: 0.31, 0.0042, below 0.0001."""
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"
