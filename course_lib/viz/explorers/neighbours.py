"""EmbeddingNeighbours: which rows of a table lie near each other, and what their differences say.

V words · D numbers a word · k neighbours
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text
from matplotlib.transforms import IdentityTransform
from torch import Tensor

from course_lib.viz.explorers.base import LABELLED, Explorer, buttons, captioned, floats
from course_lib.viz.plots.maps import MapArtists, place_labels
from course_lib.viz.plots.shared import Values, short
from course_lib.viz.theme import (
    BLUE,
    COLOURS,
    GREY,
    HATCH,
    MARKERS,
    VERMILLION,
    Picture,
    freeze_layout,
    measured,
    new_figure,
    number,
    percent,
    style,
)

_MOST = 10  # neighbours that fit into the picture
_ALL_LABELLED = 26  # a map of that few words carries all of their names
_SUGGESTED = 8  # words that have a button
_NEIGHBOURS = "neighbours of the word"


class EmbeddingNeighbours(Explorer):
    """Ask a table of word vectors for the nearest words, or for the missing word of an analogy.

    Args:
        words: V different words.
        table: (V, D), the row of each word, D at least 2.
        analogies: triples (a, b, c) for the question "a is to b as c is to …".
        groups: names → words; each group has its own marker on the map.
        word: the word to begin with; None = the first that has a button.

    Controls: `word` (typed, then Enter), `suggestions` (buttons that type a word), `similarity` (cosine or dot
    product), `k`, `analogy` (hidden where there is none).

    The analogy is answered by the row nearest to b − a + c, for the cosine of rows of length 1, the three words
    left out (Mikolov et al. 2013). A word without a row changes nothing; the sentence says so.

    State: `word` (the one shown), `unknown` (what was typed without being a word, or None), `similarity`, `k`,
    `analogy` (its name), `asked` (the triple, or None), `neighbours` ((word, score), nearest first),
    `nearest_of_all` (of an analogy: the first without leaving the three out), `points` (V, 2; the map).

    Raises:
        ValueError: fewer than two words, a word twice, a table of another shape or not finite, an analogy or a
            group with a word that has no row, or a word in two groups.
    """

    def __init__(
        self,
        words: Sequence[str],
        table: Values,
        *,
        analogies: Iterable[tuple[str, str, str]] = (),
        groups: Mapping[str, Iterable[str]] | None = None,
        word: str | None = None,
    ):
        self._words, self._table = _named_rows(words, table)
        self._places = {each: place for place, each in enumerate(self._words)}
        self._groups = _members(groups or {}, self._places)
        self._asked = {_NEIGHBOURS: None, **_triples(analogies, self._places)}
        self._points, self._axis_names = _plane(self._table)
        self._spots = {each: (x, y) for each, (x, y) in zip(self._words, self._points.tolist(), strict=True)}
        lengths = self._table.norm(dim=-1, keepdim=True)  # (V, 1)
        self._lengths = lengths.flatten()
        self._directions = self._table / lengths.masked_fill(lengths == 0, 1.0)  # zeros have no direction

        chosen = _suggested(self._words, self._groups, list(self._asked.values()))
        start = chosen[0] if word is None else word
        if start not in self._places:
            raise ValueError(f"EmbeddingNeighbours: word must be one of the words, got {word!r}")
        self._shown = start
        self.word = widgets.Text(
            value=start,
            description="word",
            placeholder="type a word, then Enter",
            continuous_update=False,
            style=LABELLED,
            layout={"width": "230px"},
        )
        self.suggestions = tuple(
            widgets.Button(description=each, layout={"width": "auto"}, tooltip=f"show {each}")
            for each in chosen
        )
        for button in self.suggestions:
            button.on_click(self._type)
        most = min(_MOST, len(self._words) - 1)
        self.similarity = buttons(["cosine", "dot product"])
        self.k = widgets.IntSlider(
            value=min(5, most),
            min=1,
            max=most,
            description="neighbours",
            style=LABELLED,
            layout={"width": "300px"},
        )
        self.analogy = buttons(list(self._asked))
        questions = captioned("question", self.analogy)
        if len(self._asked) == 1:
            questions.layout.display = "none"
        figure, (left, right) = new_figure(8.4, 4.0, 2, width_ratios=(1.0, 1.5))
        self._panels = self._prepare(left, right)
        super().__init__(
            figure,
            [
                widgets.HBox([self.word, *self.suggestions], layout={"flex_flow": "row wrap"}),
                widgets.HBox(
                    [captioned("nearness", self.similarity), self.k], layout={"flex_flow": "row wrap"}
                ),
                questions,
            ],
            [self.word, self.similarity, self.k, self.analogy],
            still=self._panels.still,
        )

    def __repr__(self) -> str:
        asked = (
            f"'{short(self._shown)}'" if self.analogy.value == _NEIGHBOURS else short(self.analogy.value, 40)
        )
        return (
            f"EmbeddingNeighbours: {measured(f'{len(self._words)} words')}, {asked}, {self.k.value} nearest by "
            f"{self.similarity.value}"
        )

    def static(self) -> Picture:
        """Show the neighbours of the chosen word and, on the map, the first analogy where there is one."""
        figure, (left, right) = new_figure(7.0, 3.5, 2, width_ratios=(1.0, 1.55))
        panels = self._prepare(left, right)
        near = self._seen(_NEIGHBOURS)
        asked = list(self._asked)[1:2]
        answered = self._seen(asked[0]) if asked else near
        with style():
            left.set_title(_heading(near), parse_math=False, fontsize=9)
        freeze_layout(figure)
        _show_bars(panels, near)
        self._show_map(panels, near, answered)
        text = self._told(near)
        return Picture(figure, f"{text} {self._told(answered)}" if asked else text)

    def _type(self, button: widgets.Button) -> None:
        self.word.value = button.description
        self.analogy.value = _NEIGHBOURS  # also where the word was there already

    def _on_change(self, change: Any) -> None:
        if change["owner"] is self.word and self.analogy.value != _NEIGHBOURS:
            self.analogy.value = _NEIGHBOURS  # who types a word asks for its neighbours; this renders
        else:
            self._render()

    def _prepare(self, left: Axes, right: Axes) -> _Panels:
        """Draw every artist once: as many bars and labels as are ever needed."""
        n_bars = self.k.max
        n_labels = len(self._words) if len(self._words) <= _ALL_LABELLED else n_bars + 4
        with style():
            bars = list(left.barh(range(n_bars), [0.0] * n_bars, height=0.66, color=BLUE, linewidth=0.8))
            numbers = [left.text(0, place, "", va="center", fontsize=8) for place in range(n_bars)]
            beside = left.get_yaxis_transform()
            names = [
                left.text(
                    -0.03,
                    place,
                    "",
                    ha="right",
                    va="center",
                    transform=beside,
                    parse_math=False,
                    in_layout=False,
                )
                for place in range(n_bars)
            ]
            left.axvline(0.0, color="black", linewidth=0.8)
            left.set(xlim=(-0.02, 1.3), ylim=(n_bars - 0.4, -0.6), xticks=[], yticks=[])
            left.spines[:].set_visible(False)
            widest = max(len(short(word)) for word in self._words)
            left.set_ylabel(" \n" * max(1, round(widest * 0.55)), fontsize=9)  # the room that the names need
            heading = left.text(
                0.5, 1.03, "", transform=left.transAxes, ha="center", parse_math=False, in_layout=False
            )
            left.set_title(" ")
            still = self._scatter(right)
            query = right.scatter([], [], s=150, marker="*", color=VERMILLION, edgecolor="black", zorder=5)
            rings = right.scatter(
                [], [], s=70, facecolors="none", edgecolors="black", linewidths=1.2, zorder=4
            )
            rays = LineCollection([], colors=GREY, linewidths=0.9, linestyles=[(0, (3, 3))], zorder=1)
            right.add_collection(rays, autolim=False)
            arrows = [
                FancyArrowPatch(
                    (0, 0),
                    (1, 1),
                    arrowstyle="-|>",
                    mutation_scale=13,
                    color=colour,
                    linestyle=dash,
                    linewidth=2.0,
                    shrinkA=4,
                    shrinkB=5,
                    zorder=3,
                )
                for colour, dash in ((BLUE, "solid"), (VERMILLION, (0, (4, 2))))
            ]
            for arrow in arrows:
                arrow.set_in_layout(False)
                right.add_patch(arrow)
            # Of the artists of a map only those are needed that labels are placed by.
            leaders = LineCollection([], linewidths=0.6, colors=GREY, zorder=2, transform=IdentityTransform())
            leaders.set_in_layout(False)
            right.add_collection(leaders, autolim=False)
            labels = [right.text(0, 0, "", zorder=6, parse_math=False) for _ in range(n_labels)]
            for label in labels:
                label.set(transform=IdentityTransform(), ha="center", va="center", in_layout=False)
                if n_labels < len(self._words):  # names lie on other words' markers, and stay readable
                    label.set_bbox({"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6})
            ghosts = right.scatter([], [], visible=False)  # where arrows start: no label is put on an arrow
            placed = MapArtists(right, [], [], labels, rays, [], ghosts, [], leaders)
        return _Panels(heading, bars, numbers, names, right, query, rings, rays, arrows, placed, still)

    def _scatter(self, ax: Axes) -> list[Artist]:
        """Draw all words as small markers, a group its own, and settle the frame of the map."""
        still: list[Artist] = []
        few = len(self._words) <= 60
        grouped = {member for members in self._groups.values() for member in members}
        rest = [place for each, place in self._places.items() if each not in grouped]
        for n, (name, members) in enumerate(self._groups.items()):
            x, y = self._points[[self._places[member] for member in members]].T.numpy()
            look = {"color": COLOURS[n], "marker": MARKERS[n], "label": short(name, 14)}
            still.append(ax.scatter(x, y, s=30, zorder=2.2, **look))
        if rest:
            x, y = self._points[rest].T.numpy()
            look = {"color": GREY if grouped else BLUE, "marker": "P" if grouped and few else "o"}
            size, alpha = (30, 0.8) if few else (9, 0.4)
            still.append(ax.scatter(x, y, s=size, alpha=alpha, label="other", zorder=2, **look))
        reach = self._points
        if self._table.size(1) == 2:  # cosines are angles at the origin, which only this map holds
            still += ax.plot([0.0], [0.0], marker="+", markersize=10, color="black", linestyle="", zorder=1)
            reach = torch.cat([reach, torch.zeros(1, 2)])
        low, high = reach.amin(0), reach.amax(0)
        margin = 0.1 * max(float((high - low).max()), 1e-6)
        (left, bottom), (right, top) = (low - margin).tolist(), (high + margin).tolist()
        ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
        ax.set_aspect("equal", adjustable="datalim")
        ax.set(xlabel=self._axis_names[0], ylabel=self._axis_names[1])
        if self._groups:
            ax.legend(
                loc="lower center",
                bbox_to_anchor=(0.5, 1.0),
                ncols=min(len(still), 4),
                frameon=False,
                handletextpad=0.2,
            )
        return still

    def _find(self, typed: str) -> str | None:
        """Return the word that was meant: as it stands, or in small letters."""
        for meant in (typed, typed.strip(), typed.strip().lower()):
            if meant in self._places:
                return meant
        return None

    def _scores(self, similarity: str, asked: tuple[str, str, str] | None) -> tuple[Tensor, list[int]]:
        """Return the score of every word (V,) and the places that are left out of the answer."""
        rows = self._directions if similarity == "cosine" else self._table
        if asked is None:
            place = self._places[self._shown]
            return rows @ rows[place], [place]
        a, b, c = (self._places[each] for each in asked)
        query = rows[b] - rows[a] + rows[c]
        if similarity == "cosine" and float(query.norm()) > 0:
            query = query / query.norm()
        return rows @ query, [a, b, c]

    def _seen(self, question: str) -> dict[str, Any]:
        similarity, k, asked = self.similarity.value, self.k.value, self._asked[question]
        scores, left_out = self._scores(similarity, asked)
        # Equal scores keep the order of the table, on every processor: noise in the last digits must not choose.
        ranked = scores.mul(1e9).round().argsort(descending=True, stable=True).tolist()
        nearest = [place for place in ranked if place not in left_out][:k]
        return {
            "word": self._shown,
            "similarity": similarity,
            "k": k,
            "analogy": question,
            "asked": asked,
            "neighbours": tuple((self._words[place], float(scores[place])) for place in nearest),
            "nearest_of_all": None if asked is None else self._words[ranked[0]],
        }

    def _see(self) -> dict[str, Any]:
        typed = self.word.value
        found = self._find(typed)
        if found is not None:
            self._shown = found
        return {
            **self._seen(self.analogy.value),
            "unknown": typed if found is None else None,
            "points": self._points.clone(),
        }

    def _draw(self, state: dict[str, Any]) -> None:
        self._panels.heading.set_text(_heading(state))
        _show_bars(self._panels, state)
        self._show_map(self._panels, state, state)

    def _show_map(self, panels: _Panels, near: dict[str, Any], answered: dict[str, Any]) -> None:
        """Mark a word and its neighbours, and lead from a to b and from c to the answer of an analogy."""
        place_of = self._spots
        marked = [word for word, _ in near["neighbours"]]
        asked = answered["asked"]
        starred = [] if near["asked"] else [near["word"]]
        pairs = []
        if asked and answered["neighbours"]:
            a, b, c = asked
            pairs = [(a, b), (c, answered["neighbours"][0][0])]
        panels.query.set_offsets(np.array([place_of[word] for word in starred]).reshape(-1, 2))
        panels.rings.set_offsets(np.array([place_of[word] for word in marked]).reshape(-1, 2))
        is_plane = self._table.size(1) == 2 and near["similarity"] == "cosine" and not near["asked"]
        panels.rays.set_segments([[(0.0, 0.0), place_of[w]] for w in [*starred, *marked]] if is_plane else [])
        for slot, arrow in enumerate(panels.arrows):
            arrow.set_visible(slot < len(pairs) and place_of[pairs[slot][0]] != place_of[pairs[slot][1]])
            if arrow.get_visible():
                arrow.set_positions(*(place_of[word] for word in pairs[slot]))
        named = list(dict.fromkeys([*starred, *(word for pair in pairs for word in pair), *marked]))
        if len(self._words) <= _ALL_LABELLED:
            named += [word for word in self._words if word not in named]
        named = named[: len(panels.placed.labels)]
        for label in panels.placed.labels[len(named) :]:
            label.set_visible(False)
        labels = panels.placed.labels[: len(named)]
        spots = {word: place_of[word] for word in named}
        panels.placed.ghosts.set_offsets(np.array([place_of[start] for start, _ in pairs]).reshape(-1, 2))
        ends = [end for _, end in pairs]
        place_labels(replace(panels.placed, words=named, labels=labels, shown=spots, moved=ends))

    def _say(self, state: dict[str, Any]) -> str:
        told = self._told(state)
        if state["unknown"] is None:
            return told
        typed = state["unknown"].strip()
        if not typed:
            return f"Type one of the {len(self._words)} words, then press Enter. Still shown: {told}"
        close = difflib.get_close_matches(typed.lower(), self._words, n=1, cutoff=0.6)
        meant = f"; did you mean '{close[0]}'?" if close else "."
        return (
            f"'{short(typed, 30)}' has no row among the {len(self._words)} words{meant} Still shown: {told}"
        )

    def _told(self, state: dict[str, Any]) -> str:
        listed = [f"'{word}' {number(score)}" for word, score in state["neighbours"]]
        if state["asked"] is None:
            told = f"Nearest to '{state['word']}' by {state['similarity']}: {measured(', '.join(listed))}."
            if state["similarity"] == "dot product":
                other = state["neighbours"][0][0]
                lengths = [number(float(self._lengths[self._places[w]])) for w in (other, state["word"])]
                told += (
                    " "
                    + measured(f"The row of '{other}' has length {lengths[0]}, its own {lengths[1]}")
                    + "."
                )
            return told
        a, b, c = state["asked"]
        told = f"'{a}' is to '{b}' as '{c}' is to {measured(listed[0] if listed else 'no other word')}"
        if len(listed) > 1:
            told += f", then {measured(', '.join(listed[1:]))}"
        told += f", by {state['similarity']}; the three themselves are left out"
        if state["nearest_of_all"] in state["asked"]:
            first = state["nearest_of_all"]
            return told + ", or else " + measured(f"'{first}' would come first") + "."
        return told + "."


@dataclass
class _Panels:
    """The artists of both panels."""

    heading: Text
    bars: list[Rectangle]
    numbers: list[Text]
    names: list[Text]
    map: Axes
    query: PathCollection
    rings: PathCollection
    rays: LineCollection
    arrows: list[FancyArrowPatch]
    placed: MapArtists
    still: list[Artist]


def _heading(state: dict[str, Any]) -> str:
    if state["asked"] is None:
        return f"nearest to '{short(state['word'])}'"
    a, b, c = (short(word, 9) for word in state["asked"])
    return f"{a} → {b}, {c} → ?"


def _show_bars(panels: _Panels, state: dict[str, Any]) -> None:
    """Give each neighbour a bar: cosines as they are, dot products against the largest shown."""
    scores = [score for _, score in state["neighbours"]]
    largest = max((abs(score) for score in scores), default=1.0) or 1.0
    scale = 1.0 if state["similarity"] == "cosine" else largest
    for slot, (bar, text, name) in enumerate(zip(panels.bars, panels.numbers, panels.names, strict=True)):
        is_used = slot < len(scores)
        bar.set_visible(is_used)
        text.set_visible(is_used)
        name.set_visible(is_used)
        if not is_used:
            continue
        share = max(scores[slot] / scale, 0.0)  # what is below 0 has its number and no bar
        bar.set_width(share)
        bar.set(facecolor="white" if slot == 0 else BLUE, edgecolor=VERMILLION if slot == 0 else BLUE)
        bar.set_hatch(HATCH if slot == 0 else "")
        text.set(text=number(scores[slot]), x=share + 0.03)
        name.set_text(short(state["neighbours"][slot][0]))


def _named_rows(words: Sequence[str], table: Values) -> tuple[list[str], Tensor]:
    rows = floats("EmbeddingNeighbours: table", table, 2)
    named = [str(word) for word in words]
    if len(named) != len(rows) or len(named) < 2 or rows.size(1) < 2:
        raise ValueError(
            f"EmbeddingNeighbours: {len(named)} words need a table ({len(named)}, D) of at least two rows and "
            f"two columns, got shape {tuple(rows.shape)}"
        )
    twice = next((word for place, word in enumerate(named) if word in set(named[:place])), None)
    if twice is not None:
        raise ValueError(f"EmbeddingNeighbours: the words must differ, {twice!r} is there twice")
    return named, rows


def _members(groups: Mapping[str, Iterable[str]], places: Mapping[str, int]) -> dict[str, list[str]]:
    if len(groups) > len(MARKERS) - 1:
        raise ValueError(f"EmbeddingNeighbours: at most {len(MARKERS) - 1} groups fit, got {len(groups)}")
    members = {str(name): list(group) for name, group in groups.items()}
    taken: dict[str, str] = {}
    for name, group in members.items():
        for word in group:
            if word not in places:
                raise ValueError(f"EmbeddingNeighbours: group {name!r} holds {word!r}, which has no row")
            if taken.setdefault(word, name) != name:
                raise ValueError(
                    f"EmbeddingNeighbours: {word!r} is in the groups {taken[word]!r} and {name!r}"
                )
    return {name: group for name, group in members.items() if group}


def _triples(
    analogies: Iterable[tuple[str, str, str]], places: Mapping[str, int]
) -> dict[str, tuple[str, str, str]]:
    triples = {}
    for given in analogies:
        triple = (given,) if isinstance(given, str) else tuple(given)
        if len(triple) != 3:
            raise ValueError(f"EmbeddingNeighbours: an analogy is three words (a, b, c), got {given!r}")
        for word in triple:
            if word not in places:
                raise ValueError(
                    f"EmbeddingNeighbours: the analogy {triple} holds {word!r}, which has no row"
                )
        a, b, c = triple
        triples[f"{a} → {b}, {c} → ?"] = (a, b, c)
    return triples


def _suggested(
    words: Sequence[str], groups: Mapping[str, Sequence[str]], asked: Sequence[tuple[str, str, str] | None]
) -> list[str]:
    """Choose the words that get a button: of each group in turn, of the analogies, else the first of all."""
    turns = max((len(group) for group in groups.values()), default=0)
    found = [group[turn] for turn in range(turns) for group in groups.values() if turn < len(group)]
    found += [word for triple in asked if triple is not None for word in triple]
    return list(dict.fromkeys(found or words))[:_SUGGESTED]


def _plane(table: Tensor) -> tuple[Tensor, tuple[str, str]]:
    """Put rows (V, D) on a plane: as they are, or along the two directions in which they spread most."""
    if table.size(1) == 2:
        return table.clone(), ("first number", "second number")
    centred = table - table.mean(0)
    _, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
    if len(sizes) < 2:
        directions = torch.cat([directions, torch.zeros_like(directions)])
        sizes = torch.cat([sizes, torch.zeros_like(sizes)])
    points = []
    for direction in directions[:2]:
        # A direction and its opposite are as good: the largest entry is made positive.
        sign = 1.0 if float(direction[direction.abs().argmax()]) >= 0 else -1.0
        points.append(centred @ (sign * direction))
    shares = (sizes**2 / (sizes**2).sum().clamp(min=1e-30))[:2].tolist()
    names = [
        f"{name} direction ({percent(share)} of the spread)" for name, share in zip(("1st", "2nd"), shares)
    ]
    return torch.stack(points, dim=1), (names[0], names[1])
