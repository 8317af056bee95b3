"""ContextGravity: the words of a sentence pull one of them over the map.

T words of a sentence · V words of a table
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import ipywidgets as widgets
import torch
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from course_lib.attention import scaled_dot_product_attention
from course_lib.viz.explorers.base import LABELLED, Explorer, buttons, captioned, floats
from course_lib.viz.plots.maps import describe_map, place_labels, plot_map, update_map
from course_lib.viz.plots.shared import Values
from course_lib.viz.theme import (
    BLUE,
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
        self.sentence = buttons(list(self._contexts))
        self.head = buttons(list(self._matrices))
        self.strength = widgets.FloatSlider(
            value=1.0,
            min=0.0,
            max=1.5,
            step=0.1,
            description="strength",
            readout_format=".1f",
            style=LABELLED,
            layout={"width": "260px"},
        )
        self._boxes = {name: self._checkboxes(sentence) for name, sentence in self._contexts.items()}
        self._box_row = widgets.HBox(layout={"flex_flow": "row wrap"})
        self._prepare_figure(longest)
        every_box = [box for boxes in self._boxes.values() for box in boxes]
        super().__init__(
            self._new_figure,
            [
                captioned("sentence", self.sentence),
                captioned("head's matrix W", self.head),
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


def _word_table(
    words: Sequence[str] | None, table: Values | Mapping[str, Sequence[float]]
) -> tuple[list[str], Tensor]:
    if isinstance(table, Mapping):
        chosen = list(table) if words is None else list(words)
        missing = [word for word in chosen if word not in table]
        if missing:
            raise ValueError(f"ContextGravity: the table has no row for {missing[0]!r}")
        rows = floats("ContextGravity: table", [list(table[word]) for word in chosen], 2)
    else:
        if words is None:
            raise ValueError("ContextGravity: words may be None only where table is a dict")
        chosen, rows = list(words), floats("ContextGravity: table", table, 2)
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
    matrix = floats(f"ContextGravity: matrix {name!r}", given, 2).float()
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
