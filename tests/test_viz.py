"""Pictures and explorers: what they draw, what they say, and that the two agree with the mathematics."""

from __future__ import annotations

import ast
import html
import io
import math
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from torch import Tensor

from course_lib import embeddings, viz
from course_lib.attention import scaled_dot_product_attention
from course_lib.data.apple import FRUIT, TABLE, embed
from course_lib.viz import theme

WORDS = list(TABLE)
CONTEXTS = {
    "fruit": ["an", "apple", "and", "an", "orange"],
    "computers": ["my", "apple", "beside", "the", "old", "phone"],
}
FOUR = ["the", "apple", "an", "orange"]


def gravity(**options: Any) -> viz.ContextGravity:
    return viz.ContextGravity(WORDS, embed(WORDS), CONTEXTS, **options)


def temperature() -> viz.SoftmaxTemperature:
    draw = torch.Generator().manual_seed(3)
    q, k = torch.randn(256, generator=draw), torch.randn(5, 256, generator=draw)
    return viz.SoftmaxTemperature(q, k, labels=list("ABCDE"))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(6))


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5)).mul(2).softmax(-1)


def browser() -> viz.HeadBrowser:
    return viz.HeadBrowser(weights(2, 3, 4, 5), FOUR, ["I", "love", "you", "very", "much"])


def film() -> dict[str, Any]:
    before, after = weights(4, 3) - 0.5, weights(4, 3) - 0.5
    after[2] += 2
    return {"embed": before, "attend": after, "MLP": weights(4, 5), "unembed": {"fruit": 0.25, "phone": 0.75}}


def linear_rnn(length: int, radius: float, gate: float) -> Tensor:
    return radius ** torch.arange(length, dtype=torch.float64)


def leaky_cell(length: int, radius: float, gate: float) -> Tensor:
    return 0.5 * torch.sigmoid(torch.tensor(gate, dtype=torch.float64)) ** torch.arange(length)


def through(**options: Any) -> viz.GradientThroughTime:
    return viz.GradientThroughTime({"RNN": linear_rnn, "gated": leaky_cell}, **options)


ROYAL = {
    "man": [1.0, 0.1, 0.0],
    "king": [1.0, 0.2, 1.0],
    "woman": [0.1, 1.0, 0.0],
    "queen": [0.1, 1.1, 1.1],
    "apple": [-1.0, 0.4, 0.1],
    "the": [3.0, 3.0, 0.5],
}


def neighbours(**options: Any) -> viz.EmbeddingNeighbours:
    table = torch.tensor(list(ROYAL.values()))
    groups = {"people": ["man", "king", "woman", "queen"], "fruit": ["apple"]}
    asked: Any = {"analogies": [("man", "king", "woman")], "groups": groups, **options}
    return viz.EmbeddingNeighbours(list(ROYAL), table, **asked)


def sinusoids(length: int, width: int) -> Tensor:
    """Row t: sin and cos of t / 10000^(2i / width), beside each other."""
    angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def scrubber() -> viz.PositionScrubber:
    return viz.PositionScrubber(sinusoids(20, 8))


PADDED = ["I", "love", "you", "[PAD]"]
SCORES = torch.randn(4, 4, generator=torch.Generator().manual_seed(7)).double()


def painter(**options: Any) -> viz.MaskPainter:
    return viz.MaskPainter(SCORES, PADDED, **options)


def half_painted() -> viz.MaskPainter:
    explorer = painter()
    explorer.paint("causal")  # where all may attend, every way to the weights gives the same
    return explorer


EXPLORERS: dict[str, Any] = {
    "gravity": gravity,
    "temperature": temperature,
    "browser": browser,
    "through": through,
    "neighbours": neighbours,
    "scrubber": scrubber,
    "painter": half_painted,
}
PICTURES = {
    "weights": lambda: viz.show_weights(weights(4, 4), FOUR),
    "heads": lambda: viz.show_weights(weights(3, 4, 5), FOUR),
    "scores": lambda: viz.show_scores({"a": torch.eye(4) - 0.5, "b": torch.eye(4)}, FOUR, title="two"),
    "spread": lambda: viz.show_spread({4: weights(50), 16: 4 * weights(50)}, title="wider"),
    "bars": lambda: viz.show_bars({"T = 1": weights(4), "T = 2": weights(4)}, FOUR, title="flatter"),
    "map": lambda: viz.show_map(embed(WORDS), WORDS, groups={"fruit": FRUIT}, moved={"apple": [1.0, 2.0]}),
    "views": lambda: viz.show_map(embed(FOUR), FOUR, warp={"a": torch.eye(2), "b": [[0.0, 1.0], [1.0, 0.0]]}),
    "curves": lambda: viz.show_curves([1, 2, 4], {"raw": [1, 2, 4], "scaled": [1, 1, 1]}, log_x=True),
    "groups": lambda: viz.show_map(
        embed(WORDS), WORDS, groups={f"group {w}": [w] for w in WORDS[:5]}, title="five"
    ),
    "decay": lambda: viz.show_curves([0, 1, 2], {"norm": [1.0, 1e-3, 1e-6]}, log_y=True),
    "filmstrip": lambda: viz.show_filmstrip(film(), FOUR, focus=1, title="one reading"),
    "gravity": lambda: gravity().static(),
    "temperature": lambda: temperature().static(),
    "browser": lambda: browser().static(),
    "through": lambda: through().static(),
    "neighbours": lambda: neighbours().static(),
    "scrubber": lambda: scrubber().static(),
    "painter": lambda: half_painted().static(),
}
# Explorer, control, and a value that it does not start with.
MOVES = [
    ("gravity", "sentence", "computers"),
    ("gravity", "head", "fruit view"),
    ("gravity", "strength", 0.4),
    ("temperature", "temperature", 8.0),
    ("temperature", "scaled", True),
    ("temperature", "d", 16),
    ("browser", "layer", 1),
    ("browser", "head", 2),
    ("browser", "query", 3),
    ("through", "length", 128),
    ("through", "radius", 1.2),
    ("through", "gate", -1.0),
    ("neighbours", "word", "queen"),
    ("neighbours", "similarity", "dot product"),
    ("neighbours", "k", 2),
    ("neighbours", "analogy", "man → king, woman → ?"),
    ("scrubber", "position", 2),
    ("scrubber", "pair", 3),
    ("scrubber", "offset", -4),
    ("painter", "softmax", "0, not −∞"),
    ("painter", "query", 2),
    ("painter", "key", 3),
    ("painter", "allowed", False),
]


# ------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_a_png_no_wider_than_a_notebook_with_its_description_as_alt_text(name: str) -> None:
    picture = PICTURES[name]()
    png, metadata = picture._repr_png_()
    width, _ = Image.open(io.BytesIO(png)).size
    assert 0 < width <= 710
    assert len(png) < 80_000
    assert metadata["alt"] == theme.without_marks(repr(picture))
    assert len(metadata["alt"]) > 20 and "⟦" not in metadata["alt"]


def cut_off(figure: Figure) -> list[str]:
    """The words of a figure that reach over its edge."""
    viz.to_png(figure)
    unseen = set()  # ticks that matplotlib keeps beyond the ends of an axis
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        unseen |= {tick.label1 for tick in axis.get_major_ticks() if not low <= tick.get_loc() <= high}
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    shown = [text for text in shown if text not in unseen]
    room = figure.bbox.padded(1.5)
    within = [room.contains(*corner) for text in shown for corner in text.get_window_extent().corners()]
    assert shown
    return [text.get_text() for place, text in enumerate(shown) if not all(within[4 * place : 4 * place + 4])]


@pytest.mark.parametrize("name", PICTURES)
def test_no_words_of_a_picture_are_cut_off(name: str) -> None:
    assert cut_off(PICTURES[name]().figure) == []


@pytest.mark.parametrize("name", EXPLORERS)
def test_no_words_of_an_explorer_are_cut_off(name: str) -> None:
    explorer = EXPLORERS[name]()
    for who, control, value in MOVES:
        if who == name:
            getattr(explorer, control).value = value
    assert cut_off(explorer.figure) == []


@pytest.mark.parametrize(
    "build",
    [
        lambda: viz.MaskPainter(noise(8, 8), [f"internationally{n}" for n in range(8)]),
        lambda: viz.MaskPainter(noise(2, 8), ["internationally", "b"], list("abcdefgh")),
        lambda: viz.MaskPainter(noise(6, 1), list("abcdef"), ["key"]),
        lambda: viz.PositionScrubber(noise(2, 2)),
        lambda: viz.PositionScrubber(sinusoids(512, 256)),
        lambda: viz.EmbeddingNeighbours(["a", "internationally"], noise(2, 2)),
        lambda: viz.EmbeddingNeighbours([f"word{n}" for n in range(300)], noise(300, 50)),
        lambda: viz.GradientThroughTime({name: linear_rnn for name in "abcdef"}, lengths=[2, 1000]),
    ],
)
def test_no_words_are_cut_off_at_the_smallest_and_the_largest_sizes(build: Any) -> None:
    explorer = build()
    assert cut_off(explorer.figure) == []
    assert cut_off(explorer.static().figure) == []


@pytest.mark.parametrize("name", PICTURES)
def test_equal_data_give_equal_bytes_and_equal_words(name: str) -> None:
    first, second = PICTURES[name](), PICTURES[name]()
    assert first.png == second.png == first.png
    assert repr(first) == repr(second)
    assert " object at 0x" not in repr(first)


def test_other_data_give_another_picture() -> None:
    assert viz.show_weights(weights(4, 4)).png != viz.show_weights(weights(4, 4).flip(0)).png


def test_the_notebooks_own_style_does_not_reach_the_pictures() -> None:
    usual = PICTURES["bars"]().png
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "text.color": "white"}):
        assert PICTURES["bars"]().png == usual


def test_viz_never_imports_pyplot_nor_a_module_with_a_model() -> None:
    allowed = {"course_lib.attention", "course_lib.masks", "course_lib.viz"}
    for path in Path(viz.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            for name in names:
                assert "pyplot" not in name, path
                assert not name.startswith("course_lib") or any(name.startswith(a) for a in allowed), (
                    path,
                    name,
                )


def test_weights_are_written_into_the_cells_up_to_12_by_12_and_can_be_read_on_them() -> None:
    artists = viz.plot_weights([[0.05, 0.95], [0.5, 0.5]], ["a", "b"])
    assert [[cell.get_text() for cell in row] for row in artists.cells] == [
        ["0.05", "0.95"],
        ["0.50", "0.50"],
    ]
    assert artists.cells[0][0].get_color() == "white"  # on dark blue
    assert artists.cells[0][1].get_color() == "black"  # on yellow
    assert len(viz.plot_weights(weights(12, 12)).cells) == 12
    assert viz.plot_weights(weights(13, 13)).cells == []


def test_rows_are_queries_and_columns_are_keys() -> None:
    ax = viz.plot_weights(weights(2, 3), ["q0", "q1"], ["k0", "k1", "k2"]).ax
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("query", "key")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["q0", "q1"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["k0", "k1", "k2"]


def test_zero_is_the_middle_of_the_scale_of_signed_scores() -> None:
    image = viz.plot_scores([[-1.0, 4.0]], ["a"], ["b", "c"]).image
    assert image.get_clim() == (-4.0, 4.0)


def test_heads_side_by_side_share_one_scale() -> None:
    figure = viz.show_weights(torch.stack([weights(3, 3) * 0.5, weights(3, 3)])).figure
    scales = {ax.images[0].get_clim() for ax in figure.axes if ax.images}
    assert scales == {(0.0, float(weights(3, 3).double().max()))}


def test_a_hidden_score_is_written_as_minus_infinity_and_drawn_grey() -> None:
    artists = viz.plot_scores([[1.0, -math.inf], [2.0, math.nan]], ["a", "b"])
    assert artists.cells[0][1].get_text() == "−∞" and artists.cells[1][1].get_text() == "NaN"
    assert artists.image.get_array().mask.tolist() == [[False, True], [False, True]]
    assert "2 are not finite" in viz.describe_scores([[1.0, -math.inf], [2.0, math.nan]])


def test_updating_a_heatmap_moves_its_artists_and_draws_no_new_ones() -> None:
    artists = viz.plot_weights(weights(3, 3), ["a", "b", "c"])
    before = [id(child) for child in artists.ax.get_children()]
    viz.update_weights(artists, torch.eye(3))
    assert [id(child) for child in artists.ax.get_children()] == before
    assert artists.cells[0][0].get_text() == "1.00"
    assert artists.image.get_array().tolist() == torch.eye(3).tolist()


def test_a_token_with_dollar_signs_is_no_formula_and_a_long_one_is_cut() -> None:
    ax = viz.plot_weights(weights(2, 2), ["$x^2$", "internationalisation"]).ax
    assert [label.get_text() for label in ax.get_yticklabels()] == ["$x^2$", "internation…"]
    assert not ax.get_yticklabels()[0].get_parse_math()


def test_the_largest_bar_differs_by_more_than_its_colour() -> None:
    artists = viz.plot_bars([0.2, 0.5, 0.3], list("abc"))
    assert [bar.get_hatch() or "" for bar in artists.bars] == ["", theme.HATCH, ""]
    viz.update_bars(artists, [0.6, 0.3, 0.1])
    assert [bar.get_hatch() or "" for bar in artists.bars] == [theme.HATCH, "", ""]
    assert [bar.get_height() for bar in artists.bars] == pytest.approx([0.6, 0.3, 0.1])
    assert [text.get_text() for text in artists.numbers] == ["0.60", "0.30", "0.10"]


def test_the_spread_marks_the_standard_deviation_of_each_sample() -> None:
    sample = torch.tensor([0.0, 2.0, 4.0, 6.0])
    artists = viz.plot_spread({"one": sample, "ten": 10 * sample})
    low, high = artists.deviations[1].get_ydata()
    assert (low, high) == pytest.approx((30 - 10 * float(sample.std()), 30 + 10 * float(sample.std())))
    assert artists.numbers[0].get_text() == "σ = 2.58"


def test_no_two_curves_share_dash_or_marker() -> None:
    lines = viz.plot_curves([1, 2], {str(i): [i, i + 1] for i in range(6)}).lines.values()
    assert len({str(line._unscaled_dash_pattern) for line in lines}) == 6
    assert len({line.get_marker() for line in lines}) == 6


def test_the_names_of_many_curves_stand_beside_them() -> None:
    for count, beside in ((4, False), (6, True)):
        figure = viz.show_curves([1, 2], {f"a long name {n}": [n, 1] for n in range(count)}).figure
        viz.to_png(figure)
        (ax,) = figure.axes
        assert (ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1) == beside
        assert cut_off(figure) == []


def test_a_logarithmic_axis_puts_equal_factors_at_equal_distances() -> None:
    ax = viz.plot_curves([0, 1, 2], {"norm": [1.0, 1e-3, 1e-6]}, log_y=True).ax
    heights = [float(ax.transData.transform((0, value))[1]) for value in (1.0, 1e-3, 1e-6)]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2])


def test_a_filmstrip_shows_every_stage_on_one_scale_or_each_on_its_own() -> None:
    one, own = viz.plot_filmstrip(film(), FOUR), viz.plot_filmstrip(film(), FOUR, one_scale=False)
    largest = [float(film()[name].abs().max()) for name in ("embed", "attend", "MLP")]
    assert [drawn.image.get_clim()[1] for drawn in one.matrices] == pytest.approx([max(largest)] * 3)
    assert [drawn.image.get_clim()[1] for drawn in own.matrices] == pytest.approx(largest)
    assert {drawn.image.get_clim()[0] for drawn in one.matrices} == {-one.matrices[0].image.get_clim()[1]}
    assert [bar.get_width() for bar in one.bars] == [0.25, 0.75]
    assert [bar.get_hatch() or "" for bar in one.bars] == ["", theme.HATCH]
    assert [ax.get_title(loc="center") or ax.get_title(loc="right") for ax in one.axes] == list(film())


def test_a_filmstrip_writes_its_numbers_where_they_have_room() -> None:
    narrow = viz.plot_filmstrip({"embed": weights(4, 40)}, FOUR)
    wide = viz.plot_filmstrip({"embed": [[1.0, -2.0]] * 4}, FOUR)
    assert narrow.matrices[0].cells == []
    assert [cell.get_text() for cell in wide.matrices[0].cells[3]] == ["1.00", "−2.00"]


def test_a_filmstrip_outlines_the_row_of_its_focus_in_every_stage_of_numbers() -> None:
    artists = viz.plot_filmstrip(film(), FOUR, focus=2)
    for ax in artists.axes[:3]:
        (outline,) = [patch for patch in ax.patches if patch.get_height() == 1]
        assert outline.get_y() == 1.5
    (plain,) = [len(ax.patches) for ax in viz.plot_filmstrip(film(), FOUR).axes[:1]]
    assert plain == 0


def test_a_filmstrip_says_which_token_a_stage_changes_most_and_what_is_likeliest() -> None:
    said = viz.describe_filmstrip(film(), FOUR, focus=0)
    assert "4 stages of 4 tokens" in said
    assert "attend: 3 numbers a token" in said and "changes most ⟦'an' (3.46)⟧, 'the' by ⟦0.00⟧" in said
    assert (
        "MLP: 5 numbers a token, from" in said and said.count("changes most") == 1
    )  # 3 and 5 do not compare
    assert "unembed: likeliest ⟦'phone' 75 %⟧" in said


def test_the_ghost_stays_at_the_table_row_and_the_word_stands_where_it_moved() -> None:
    artists = viz.plot_map(embed(FOUR), FOUR, moved={"apple": [1.0, 2.0]})
    assert artists.ghosts.get_offsets().tolist() == [pytest.approx([1.8, 1.8])]
    assert artists.shown["apple"] == pytest.approx((1.0, 2.0))
    assert artists.shown["orange"] == pytest.approx(TABLE["orange"])


def test_a_warp_moves_the_grid_and_the_words_by_the_same_matrix() -> None:
    matrix = torch.tensor([[0.0, 2.0], [1.0, 0.5]])
    flat, warped = viz.plot_map(embed(FOUR), FOUR), viz.plot_map(embed(FOUR), FOUR, warp=matrix)
    assert warped.shown["apple"] == pytest.approx((embed(["apple"]) @ matrix)[0].tolist())
    for before, after in zip(flat.grid.get_segments(), warped.grid.get_segments(), strict=True):
        assert after == pytest.approx(before @ matrix.numpy())


def test_groups_of_words_differ_by_their_marker() -> None:
    artists = viz.plot_map(embed(WORDS), WORDS, groups={"fruit": FRUIT, "devices": ["phone", "laptop"]})
    shapes = {markers.get_paths()[0].vertices.tobytes() for _, markers in artists.groups}
    assert len(shapes) == len(artists.groups) == 3


def test_no_label_of_the_apple_map_covers_another() -> None:
    artists = viz.plot_map(embed(WORDS), WORDS)
    boxes = [label.get_window_extent() for label in artists.labels]
    for place, box in enumerate(boxes):
        for other in boxes[:place]:
            width = min(box.x1, other.x1) - max(box.x0, other.x0)
            height = min(box.y1, other.y1) - max(box.y0, other.y0)
            assert width <= 0 or height <= 2, artists.words[place]  # letters leave a pixel of their box free


def test_descriptions_name_the_right_words() -> None:
    table = [[0.1, 0.9, 0.0], [0.0, 0.0, 0.0]]
    text = theme.without_marks(viz.describe_weights(table, ["the", "apple"], ["I", "love", "you"]))
    assert "'the' most at 'love' 90 %" in text and "'apple' at nothing" in text
    assert "'apple' with 'I'" in viz.describe_scores(
        [[1.0, 2.0], [3.0, -9.0]], ["the", "apple"], ["I", "love"]
    )
    assert "largest ⟦'b' 0.75⟧; entropy ⟦0.56⟧ of at most 0.69 nats" in viz.describe_bars(
        [0.25, 0.75], ["a", "b"]
    )
    moved = viz.describe_map(embed(FOUR), FOUR, moved={"apple": [1.05, 2.2]})
    assert "'apple' moves ⟦0.85, in the direction of 'orange'⟧" in moved
    assert "raw from ⟦1⟧ to ⟦4⟧" in viz.describe_curves([1, 2, 4], {"raw": [1, 2, 4]})
    assert "one: ⟦1.41⟧" in viz.describe_spread({"one": [1.0, 3.0]})


def test_entropy_is_zero_for_one_label_and_the_logarithm_of_n_for_equal_ones() -> None:
    assert viz.entropy([0.0, 1.0, 0.0]) == 0
    assert viz.entropy([0.25] * 4) == pytest.approx(math.log(4))


def test_numbers_and_shares_are_written_as_a_reader_expects() -> None:
    assert [theme.number(x) for x in (-1.234, -0.001, math.inf)] == ["−1.23", "0.00", "∞"]
    assert [theme.percent(x) for x in (0.314, 0.001, 0.0)] == ["31 %", "< 1 %", "0 %"]
    small = [
        theme.scientific(x) for x in (0.0, 0.0234, 0.0001, 3.14e-5, -2e-12, 250.0, 999.6, math.inf, math.nan)
    ]
    assert small == ["0", "0.0234", "0.0001", "3.1 · 10⁻⁵", "−2.0 · 10⁻¹²", "250", "1.0 · 10³", "∞", "NaN"]


@pytest.mark.parametrize(
    ("draw", "names"),
    [
        (lambda: viz.show_weights(torch.ones(3)), r"shape \(3,\)"),
        (lambda: viz.show_weights(torch.ones(0, 3)), r"shape \(0, 3\)"),
        (lambda: viz.show_weights([[2.5, 0.0]], ["a"]), "got 2.5"),
        (lambda: viz.show_weights([[-0.5, 0.0]], ["a"]), "got -0.5"),
        (lambda: viz.show_weights("abc"), "'abc'"),
        (lambda: viz.show_weights(weights(2, 3), ["a", "b", "c"]), "2 labels are needed, got 3"),
        (lambda: viz.show_weights({"a": torch.eye(2), "b": torch.eye(3)}), r"\(2, 2\), \(3, 3\)"),
        (lambda: viz.show_scores({}), "empty dict"),
        (lambda: viz.plot_scores(torch.eye(2), limit=-1.0), "got -1.0"),
        (lambda: viz.update_weights(viz.plot_weights(torch.eye(2)), torch.eye(3)), r"got shape \(3, 3\)"),
        (lambda: viz.show_bars([1.0, math.nan]), "got nan"),
        (lambda: viz.plot_bars([1.0], limits=(2.0, 1.0)), r"\(2.0, 1.0\)"),
        (lambda: viz.show_bars({"a": [1.0], "b": [1.0, 2.0]}), r"\[1, 2\]"),
        (lambda: viz.show_bars({}), "got 0"),
        (lambda: viz.update_bars(viz.plot_bars([1.0, 2.0]), [1.0]), "got 1 values"),
        (lambda: viz.show_spread({"one": [2.0, 2.0, 2.0]}), "'one' has no spread"),
        (lambda: viz.show_spread({}), "got {}"),
        (lambda: viz.show_curves([1, 2], {"a": [1, 2, 3]}), "2 points, but curve 'a' has 3"),
        (lambda: viz.show_curves([0, 2], {"a": [1, 2]}, log_x=True), "x has 0"),
        (lambda: viz.show_curves([1, 2], {}), "got {}"),
        (lambda: viz.show_curves([1, 2], {"a": [1, 0]}, log_y=True), "'a' has 0"),
        (lambda: viz.show_filmstrip({}, FOUR), "got {}"),
        (lambda: viz.show_filmstrip(film(), []), "tokens must not be empty"),
        (lambda: viz.show_filmstrip(film(), FOUR[:3]), "'embed': 4 labels are needed, got 3"),
        (lambda: viz.show_filmstrip({"embed": torch.ones(4)}, FOUR), r"shape \(4,\)"),
        (lambda: viz.show_filmstrip({"words": {"a": 1.0}, "embed": torch.eye(4)}, FOUR), "'words'"),
        (lambda: viz.show_filmstrip({"embed": torch.eye(4), "words": {}}, FOUR), "got 0"),
        (lambda: viz.show_filmstrip({"embed": torch.eye(4), "words": {"a": 3.0}}, FOUR), "'a': 3.0"),
        (lambda: viz.show_filmstrip({"words": {"a": 1.0}}, FOUR), "words alone"),
        (lambda: viz.show_filmstrip(film(), FOUR, focus=4), "got 4"),
        (lambda: viz.plot_filmstrip(film(), FOUR, axes=[]), "got 0"),
        (lambda: viz.show_map(torch.ones(4, 3), FOUR), r"\(4, 3\)"),
        (lambda: viz.show_map(torch.ones(2, 2), ["a", "a"]), "'a' is there twice"),
        (lambda: viz.show_map(embed(FOUR), FOUR, groups={"x": ["pear"]}), "'pear'"),
        (lambda: viz.show_map(embed(FOUR), FOUR, groups={"x": ["the"], "y": ["the"]}), "'x' and 'y'"),
        (lambda: viz.show_map(embed(FOUR), FOUR, moved={"pear": [1.0, 1.0]}), "'pear'"),
        (lambda: viz.show_map(embed(FOUR), FOUR, moved={"apple": [1.0]}), r"\(1,\)"),
        (lambda: viz.show_map(embed(FOUR), FOUR, warp=torch.eye(3)), r"\(3, 3\)"),
        (lambda: viz.new_figure(20, 3), "got 20"),
        (lambda: viz.new_figure(5, 3, 0), "1 × 0"),
        (lambda: viz.new_figure(5, 3, 2, width_ratios=[1]), r"\[1\]"),
        (lambda: viz.Picture(viz.new_figure(2, 2)[0], " "), "' '"),
        (lambda: viz.HeadBrowser(torch.ones(3, 3), ["a"] * 3), r"shape \(3, 3\)"),
        (lambda: viz.HeadBrowser(torch.randn(2, 3, 3) - 9, ["a"] * 3), "got -"),
        (lambda: viz.HeadBrowser(torch.full((2, 3, 3), math.nan), ["a"] * 3), "got nan"),
        (lambda: viz.HeadBrowser(weights(2, 3, 4), ["a"] * 3), "3 queries and 4 keys"),
        (lambda: viz.HeadBrowser(weights(2, 3, 3), ["a"] * 4), "3 query_tokens are needed, got 4"),
        (lambda: viz.SoftmaxTemperature(torch.ones(4), torch.ones(3, 5)), r"\(3, 5\)"),
        (lambda: viz.SoftmaxTemperature(torch.ones(4), torch.ones(1, 4)), r"\(1, 4\)"),
        (lambda: viz.SoftmaxTemperature(torch.ones(4), torch.ones(3, 4), labels=["a"]), "got 1"),
        (lambda: viz.ContextGravity(["apple"], torch.ones(1, 3), {"s": ["apple"]}), r"\(1, 3\)"),
        (lambda: viz.ContextGravity(["pear"], TABLE, {"s": ["pear"]}), "'s' has no 'apple'"),
        (lambda: viz.ContextGravity(["apple"], TABLE, {"s": ["apple", "pear"]}), "'pear'"),
        (lambda: viz.ContextGravity(["kiwi"], TABLE, {"s": ["kiwi"]}), "'kiwi'"),
        (
            lambda: viz.ContextGravity(None, torch.ones(1, 2), {"s": ["apple"]}),
            "None only where table is a dict",
        ),
        (lambda: viz.ContextGravity(None, TABLE, {}), "empty dict"),
        (lambda: gravity(matrices={"big": torch.eye(3)}), r"'big' must be \(2, 2\), got shape \(3, 3\)"),
        (lambda: gravity(attention=lambda q, k, v: v), "got Tensor"),
        (lambda: gravity(attention=lambda q, k, v: (v, v)), r"\(5, 2\) and \(5, 2\)"),
        (lambda: gravity(attention=lambda q, k, v: (v * math.nan, v @ v.T)), "NaN"),
        (lambda: viz.GradientThroughTime({}), "got {}"),
        (lambda: viz.GradientThroughTime({"RNN": 3}), "'RNN' must be a function, got 3"),
        (lambda: through(lengths=()), r"got \(\)"),
        (lambda: through(lengths=(1, 8)), r"got \(1, 8\)"),
        (lambda: through(lengths=(8, 8)), r"got \(8, 8\)"),
        (lambda: through(threshold=0.0), "got 0.0"),
        (lambda: viz.GradientThroughTime({"x": lambda *dials: torch.ones(3)}), r"'x' must return \(32,\)"),
        (lambda: viz.GradientThroughTime({"x": lambda n, *dials: -torch.ones(n)}), "got -1"),
        (lambda: viz.EmbeddingNeighbours(["a", "b"], torch.ones(3, 2)), r"\(2, D\).*shape \(3, 2\)"),
        (lambda: viz.EmbeddingNeighbours(["a"], torch.ones(1, 2)), r"shape \(1, 2\)"),
        (lambda: viz.EmbeddingNeighbours(["a", "b"], torch.ones(2, 1)), r"shape \(2, 1\)"),
        (lambda: viz.EmbeddingNeighbours(["a", "a"], torch.ones(2, 2)), "'a' is there twice"),
        (lambda: viz.EmbeddingNeighbours(["a", "b"], [[1.0, math.nan], [0.0, 0.0]]), "got nan"),
        (lambda: neighbours(word="dog"), "'dog'"),
        (lambda: neighbours(analogies=[("man", "king", "dog")]), "'dog'"),
        (lambda: neighbours(analogies=["man"]), "three words"),
        (lambda: neighbours(groups={"pets": ["dog"]}), "'dog'"),
        (lambda: neighbours(groups={"x": ["man"], "y": ["man"]}), "'x' and 'y'"),
        (lambda: neighbours(groups={name: [] for name in "abcdef"}), "got 6"),
        (lambda: viz.PositionScrubber(torch.ones(1, 4)), r"shape \(1, 4\)"),
        (lambda: viz.PositionScrubber(torch.ones(4, 1)), r"shape \(4, 1\)"),
        (lambda: viz.PositionScrubber(torch.ones(4)), r"shape \(4,\)"),
        (lambda: viz.PositionScrubber(torch.full((3, 2), math.inf)), "got inf"),
        (lambda: viz.MaskPainter(torch.ones(9, 2), ["a"] * 9, ["b"] * 2), r"\(9, 2\)"),
        (lambda: viz.MaskPainter(torch.ones(2, 3), ["a"] * 2), "2 queries and 3 keys"),
        (lambda: viz.MaskPainter(torch.ones(2, 2), ["a"]), "2 tokens are needed, got 1"),
        (lambda: viz.MaskPainter(torch.full((2, 2), -math.inf), ["a", "b"]), "got -inf"),
        (lambda: painter(target=torch.ones(4, 4)), "target must be boolean.*float32"),
        (
            lambda: painter(presets={"x": torch.ones(3, 3).bool()}),
            r"'x' must be \(4, 4\), got shape \(3, 3\)",
        ),
        (lambda: painter().paint("nothing"), "'nothing'; there are all"),
        (lambda: painter().paint([[1, 2]]), "int64"),
        (lambda: painter().score(), "needs a target"),
    ],
)
def test_bad_input_raises_an_error_that_names_it(draw: Any, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        draw()


# ----------------------------------------------------------------------------------------- explorers


@pytest.mark.parametrize(("name", "control", "value"), MOVES)
def test_moving_a_control_changes_picture_summary_and_repr(name: str, control: str, value: Any) -> None:
    explorer = EXPLORERS[name]()
    png, text, words = explorer.image.value, explorer.summary.value, repr(explorer)
    getattr(explorer, control).value = value
    assert explorer.image.value != png
    assert explorer.summary.value != text
    assert repr(explorer) != words
    assert explorer.state[control] == value


@pytest.mark.parametrize(("name", "control", "value"), MOVES)
def test_moving_a_control_back_brings_the_same_picture_back(name: str, control: str, value: Any) -> None:
    explorer = EXPLORERS[name]()
    png, start = explorer.image.value, getattr(explorer, control).value
    getattr(explorer, control).value = value
    getattr(explorer, control).value = start
    assert explorer.image.value == png


@pytest.mark.parametrize(("name", "control", "value"), MOVES)
def test_a_redraw_keeps_the_figure_and_every_artist(name: str, control: str, value: Any) -> None:
    explorer = EXPLORERS[name]()
    figure = explorer.figure
    artists = [id(child) for ax in figure.axes for child in ax.get_children()]
    size = Image.open(io.BytesIO(explorer.image.value)).size
    getattr(explorer, control).value = value
    assert explorer.figure is figure
    assert [id(child) for ax in figure.axes for child in ax.get_children()] == artists
    assert Image.open(io.BytesIO(explorer.image.value)).size == size
    assert (explorer.image.width, explorer.image.height) == tuple(map(str, size))


@pytest.mark.parametrize(("name", "control", "value"), MOVES)
def test_a_redraw_shows_what_drawing_the_whole_figure_would(name: str, control: str, value: Any) -> None:
    explorer = EXPLORERS[name]()
    getattr(explorer, control).value = value
    quick = np.asarray(Image.open(io.BytesIO(explorer.image.value)), dtype=float)
    for ax in explorer.figure.axes:
        for child in ax.get_children():
            child.set_animated(False)
    whole = np.asarray(Image.open(io.BytesIO(viz.to_png(explorer.figure))), dtype=float)
    # Only where contents cross the frame may a pixel differ: there the one covers the other.
    assert (np.abs(quick - whole).max(-1) > 64).mean() < 0.002


@pytest.mark.parametrize("name", EXPLORERS)
def test_two_equal_explorers_have_one_short_repr_and_one_picture(name: str) -> None:
    first, second = EXPLORERS[name](), EXPLORERS[name]()
    assert repr(first) == repr(second)
    assert first.image.value == second.image.value
    assert len(repr(first)) <= 110  # ipywidgets cuts the text/plain of a widget there
    assert "\n" not in repr(first)


CAPTIONS = {
    "sentence": "sentence",
    "head": "head's matrix W",
    "query": "query token",
    "length": "length",
    "similarity": "nearness",
    "analogy": "question",
    "softmax": "softmax",
}


def rows(box: widgets.Box) -> list[widgets.HBox]:
    """All rows of controls in a box, those within others too."""
    inner = [child for child in box.children if isinstance(child, widgets.Box)]
    return [row for one in inner for row in [one, *rows(one)] if isinstance(row, widgets.HBox)]


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_shows_its_label_in_full(name: str) -> None:
    explorer = EXPLORERS[name]()
    for control in {control for who, control, _ in MOVES if who == name}:
        widget = getattr(explorer, control)
        if isinstance(
            widget, widgets.ToggleButtons
        ):  # each button carries words; its caption stands before it
            captions = [row.children[0].value for row in rows(explorer) if widget in row.children[1:]]
            words = [option if isinstance(option, str) else option[0] for option in widget.options]
            assert all(words) and len(set(words)) == len(words)
            assert control == "d" or captions == [CAPTIONS[control]]
            continue
        assert widget.description
        if not isinstance(widget, widgets.Checkbox):
            assert widget.style.description_width == "initial"


@pytest.mark.parametrize("name", EXPLORERS)
def test_state_cannot_be_set_and_a_changed_copy_changes_nothing(name: str) -> None:
    explorer = EXPLORERS[name]()
    with pytest.raises(AttributeError):
        explorer.state = {}  # type: ignore[misc]
    explorer.state.clear()
    assert explorer.state


def test_the_summary_shows_tokens_as_text_and_never_as_html() -> None:
    explorer = viz.HeadBrowser(torch.eye(2).unsqueeze(0), ["<b>x</b>", "y"])
    assert "<b>" not in explorer.summary.value and "&lt;b&gt;x" in explorer.summary.value
    assert "⟦" not in explorer.summary.value


def test_gravity_computes_weights_and_outputs_from_the_head_the_strength_and_the_words() -> None:
    explorer = gravity()
    explorer.head.value, explorer.strength.value = "fruit view", 0.5
    x = embed(CONTEXTS["fruit"])
    seen = 0.5 * x @ torch.tensor(viz.HEADS["fruit view"])
    scores = seen @ seen.T / math.sqrt(2)
    expected = scores.exp() / scores.exp().sum(-1, keepdim=True)
    assert torch.allclose(explorer.state["weights"], expected, atol=1e-6)
    assert torch.allclose(explorer.state["outputs"], expected @ x, atol=1e-6)


def test_gravity_shows_both_unequal_pulls_of_a_pair() -> None:
    explorer = gravity()
    (pull,) = [pull for pull in explorer.state["pulls"] if pull.word == "orange"]
    x = embed(CONTEXTS["fruit"])
    _, expected = scaled_dot_product_attention(x, x, x)
    assert (pull.from_focus, pull.to_focus) == pytest.approx((float(expected[1, 4]), float(expected[4, 1])))
    assert pull.from_focus != pytest.approx(pull.to_focus, abs=0.02)
    given, returned = theme.percent(pull.from_focus), theme.percent(pull.to_focus)
    assert f"apple gives orange {given}, orange gives apple {returned}" in explorer.summary.value
    slot = explorer.state["pulls"].index(pull)
    assert [bars[slot].get_width() for bars in explorer._bars] == pytest.approx(
        [pull.from_focus, pull.to_focus]
    )
    thick = [arrows[slot].get_linewidth() for arrows in explorer._arrows]
    assert (thick[0] > thick[1]) == (pull.from_focus > pull.to_focus)


def test_gravity_never_moves_the_ghost_from_the_table_row() -> None:
    explorer = gravity()
    places = []
    for sentence in CONTEXTS:
        explorer.sentence.value = sentence
        assert explorer._plane.ghosts.get_offsets().tolist() == [pytest.approx(list(TABLE["apple"]))]
        state = explorer.state
        assert explorer._plane.shown["apple"] == pytest.approx(state["outputs"][state["focus"]].tolist())
        places.append(explorer._plane.shown["apple"])
    assert places[0][1] > places[1][1] and places[0][0] < places[1][0]  # towards the fruit; towards the phone


def test_gravity_draws_the_heads_view_through_the_matrix() -> None:
    explorer = gravity()
    explorer.head.value, explorer.strength.value = "one axis only", 0.5
    assert explorer._view.shown["apple"] == pytest.approx((0.9, 0.0))


def test_a_rotation_changes_no_weight_and_strength_zero_makes_all_equal() -> None:
    explorer = gravity()
    plain = explorer.state["weights"]
    explorer.head.value = "rotation"
    assert torch.allclose(explorer.state["weights"], plain, atol=1e-6)
    explorer.strength.value = 0
    assert torch.allclose(explorer.state["weights"], torch.full((5, 5), 0.2))


def test_unticking_a_word_takes_it_out_and_apple_alone_stays_where_it_is() -> None:
    explorer = gravity()
    assert [box.description for box in explorer.taking_part] == ["an", "and", "an", "orange"]
    png = explorer.image.value
    explorer.taking_part[3].value = False
    assert explorer.state["words"] == ("an", "apple", "and", "an")
    assert explorer.image.value != png and "orange" not in explorer._plane.shown
    for box in explorer.taking_part:
        box.value = False
    assert explorer.state["words"] == ("apple",)
    assert explorer.state["outputs"].tolist() == [pytest.approx(list(TABLE["apple"]))]
    assert "apple is alone" in explorer.summary.value


def test_gravity_uses_the_learners_own_attention() -> None:
    called = []

    def look_at_the_last(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        called.append((tuple(q.shape), tuple(k.shape), tuple(v.shape)))
        mine = torch.zeros(len(q), len(k))
        mine[:, -1] = 1.0
        return mine @ v, mine

    explorer = gravity(attention=look_at_the_last)
    assert called == [((5, 2), (5, 2), (5, 2))]
    assert explorer._plane.shown["apple"] == pytest.approx(TABLE["orange"])
    assert "apple gives orange 100 %, orange gives apple 0 %" in explorer.summary.value


def test_an_error_in_the_learners_function_reaches_the_caller_and_leaves_the_picture() -> None:
    breaks = False

    def sometimes(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        if breaks:
            raise RuntimeError("my mistake")
        return scaled_dot_product_attention(q, k, v)

    explorer = gravity(attention=sometimes)
    png, state = explorer.image.value, explorer.state
    breaks = True
    with pytest.raises(RuntimeError, match="my mistake"):
        explorer.strength.value = 0.3
    assert explorer.image.value == png and explorer.state["strength"] == state["strength"]


def test_gravity_takes_a_dict_as_its_table() -> None:
    by_dict = viz.ContextGravity(None, TABLE, CONTEXTS)
    assert by_dict.image.value == gravity().image.value


def test_temperature_computes_weights_entropy_and_gradient_from_its_controls() -> None:
    explorer = temperature()
    explorer.d.value, explorer.scaled.value, explorer.temperature.value = 64, True, 2.0
    scores = explorer._k[:, :64] @ explorer._q[:64]
    logits = (scores / 8 / 2).requires_grad_()
    p = logits.softmax(-1)
    jacobian = torch.stack([torch.autograd.grad(one, logits, retain_graph=True)[0] for one in p])
    p = p.detach()
    assert torch.allclose(explorer.state["weights"], p)
    assert explorer.state["entropy"] == pytest.approx(float(-(p * p.log()).sum()))
    assert explorer.state["gradient"] == pytest.approx(float(jacobian.norm()))
    assert f"entropy {theme.number(float(-(p * p.log()).sum()))} of at most 1.61" in explorer.summary.value
    assert f"on {'ABCDE'[int(p.argmax())]};" in explorer.summary.value


def test_temperature_starts_unscaled_at_the_largest_width_with_a_gradient_near_nothing() -> None:
    explorer = temperature()
    start = explorer.state
    assert (start["d"], start["scaled"], start["temperature"]) == (256, False, 1.0)
    explorer.scaled.value = True
    assert start["gradient"] < 0.1 * explorer.state["gradient"]


def test_the_slider_reaches_eight_and_sixteen_exactly_and_sixteen_is_the_division_by_root_d() -> None:
    explorer = temperature()
    slider = explorer.temperature
    for wanted in (1, 8, 16):
        steps = (math.log(wanted, slider.base) - slider.min) / slider.step
        assert steps == pytest.approx(round(steps))
    slider.value = 16
    by_temperature = explorer.state["weights"]
    slider.value, explorer.scaled.value = 1, True
    assert torch.allclose(explorer.state["weights"], by_temperature)


def test_the_head_browser_shows_the_chosen_head_and_row() -> None:
    explorer, given = browser(), weights(2, 3, 4, 5).double()
    explorer.layer.value, explorer.head.value, explorer.query.value = 1, 2, 3
    state, row = explorer.state, given[1, 2, 3]
    assert torch.equal(state["weights"], given[1, 2]) and torch.equal(state["row"], row)
    assert explorer._heatmap.image.get_array().tolist() == given[1, 2].tolist()
    assert [bar.get_height() for bar in explorer._row_bars.bars] == row.tolist()
    assert explorer._outline.get_y() == 2.5
    assert state["entropy"] == pytest.approx(float(-(row * row.log()).sum()))
    key = ["I", "love", "you", "very", "much"][int(row.argmax())]
    words = explorer.summary.value.replace("&#x27;", "'")
    assert f"Layer 1, head 2: 'orange' looks mostly at '{key}' ({theme.percent(float(row.max()))})" in words


def test_the_head_browser_hides_the_layer_where_there_is_one() -> None:
    one, two = viz.HeadBrowser(weights(3, 4, 4), FOUR), browser()
    assert one.layer.layout.display == "none" and two.layer.layout.display != "none"
    assert one.summary.value.startswith("<div role='status'>Head 0")


def test_the_head_browser_keeps_apart_two_places_with_one_token() -> None:
    explorer = viz.HeadBrowser(weights(1, 3, 3), ["the", "cat", "the"])
    assert [name for name, _ in explorer.query.options] == ["0: the", "1: cat", "2: the"]
    first = explorer.state["row"]
    explorer.query.value = 2
    assert not torch.equal(explorer.state["row"], first)


def test_a_row_that_may_attend_to_nothing_is_said_so() -> None:
    explorer = viz.HeadBrowser(torch.zeros(1, 2, 2), ["a", "b"])
    assert "at nothing" in explorer.summary.value


def test_changing_the_callers_tensor_afterwards_does_not_change_the_browser() -> None:
    given = weights(1, 2, 2).double()
    explorer = viz.HeadBrowser(given, ["a", "b"])
    before = explorer.state["row"]
    given.zero_()
    explorer.head.value = 0
    explorer.query.value = 1
    explorer.query.value = 0
    assert torch.equal(explorer.state["row"], before)


# ------------------------------------------------------------------------------- GradientThroughTime


def said(explorer: Any) -> str:
    """The words under the picture, as they are read."""
    return html.unescape(explorer.summary.value.removeprefix("<div role='status'>").removesuffix("</div>"))


def test_the_gradient_explorer_shows_what_its_functions_return_for_its_dials() -> None:
    explorer = through()
    explorer.length.value, explorer.radius.value, explorer.gate.value = 64, 0.55, 2.0
    kept = 1 / (1 + math.exp(-2.0))
    state = explorer.state
    assert state["norms"]["RNN"].tolist() == pytest.approx([0.55**d for d in range(64)])
    assert state["norms"]["gated"].tolist() == pytest.approx([0.5 * kept**d for d in range(64)])
    assert state["last"] == pytest.approx({"RNN": 0.55**63, "gated": 0.5 * kept**63})
    vanishes = math.ceil(math.log(0.001) / math.log(0.55))
    fades = math.ceil(math.log(0.002) / math.log(kept))
    assert state["below"] == {"RNN": vanishes, "gated": fades}
    assert said(explorer) == (
        f"At distance 63: RNN {theme.scientific(0.55**63)}, below 0.001 from distance {vanishes} on; "
        f"gated {theme.scientific(0.5 * kept**63)}, below 0.001 from distance {fades} on."
    )


def test_the_gradient_curve_is_drawn_by_distance_and_what_lies_beyond_the_axis_stands_at_its_end() -> None:
    explorer = through()
    explorer.length.value, explorer.radius.value = 128, 1.5
    line = explorer._lines["RNN"]
    low, high = explorer._ax.get_ylim()
    assert list(line.get_xdata()) == list(range(128))
    assert list(line.get_ydata()) == pytest.approx([min(1.5**d, high) for d in range(128)])
    assert "RNN 1.5 · 10²²" not in said(explorer) and theme.scientific(1.5**127) in said(explorer)
    labels = [label.get_text() for label in explorer._ax.get_yticklabels()]
    assert labels[0].startswith("≤") and labels[-1].startswith("≥") and low < 1e-9
    assert [tick.get_text() for tick in explorer._ticks] == ["0", "32", "64", "95", "127"]
    explorer.length.value = 8
    assert [tick.get_text() for tick in explorer._ticks if tick.get_visible()] == ["0", "2", "4", "5", "7"]


def test_a_gradient_that_is_infinite_or_not_a_number_is_shown_and_said_so() -> None:
    measures = {
        "exploded": lambda length, radius, gate: torch.tensor([1.0] * (length - 1) + [math.inf]),
        "broken": lambda length, radius, gate: torch.tensor([1.0] * (length - 1) + [math.nan]),
        "gone": lambda length, radius, gate: torch.zeros(length),
    }
    words = said(viz.GradientThroughTime(measures, lengths=[4]))
    assert words == (
        "At distance 3: exploded ∞, never below 0.001; broken NaN, never below 0.001; "
        "gone 0, below 0.001 from distance 0 on."
    )


def test_a_gradient_that_comes_back_above_the_threshold_is_not_called_gone() -> None:
    dips = {"dips": lambda length, radius, gate: torch.tensor([1.0, 1e-5, 1.0, 1e-5])}
    words = said(viz.GradientThroughTime(dips, lengths=[4]))
    assert "dips 1.0 · 10⁻⁵, first below 0.001 at distance 1." in words


def test_a_measure_is_asked_once_a_setting() -> None:
    asked = []

    def measure(length: int, radius: float, gate: float) -> Tensor:
        asked.append((length, radius, gate))
        return torch.ones(length)

    explorer = viz.GradientThroughTime({"one": measure}, lengths=[4, 8])
    for radius in (0.6, 0.7, 0.6, 0.7):
        explorer.radius.value = radius
    assert asked == [(8, 0.9, 1.0), (8, 0.6, 1.0), (8, 0.7, 1.0)]
    explorer.static()
    assert {radius for _, radius, _ in asked[3:]} == {0.8, 1.0, 1.2}


def test_an_error_in_a_measure_reaches_the_caller_and_leaves_the_picture() -> None:
    def sometimes(length: int, radius: float, gate: float) -> Tensor:
        return torch.ones(length if radius < 1 else 3)

    explorer = viz.GradientThroughTime({"mine": sometimes})
    png, state = explorer.image.value, explorer.state
    with pytest.raises(ValueError, match=r"'mine' must return \(32,\) norms, got shape \(3,\)"):
        explorer.radius.value = 1.2
    assert explorer.image.value == png and explorer.state["radius"] == state["radius"]


# ------------------------------------------------------------------------------- EmbeddingNeighbours


def test_neighbours_are_ranked_by_cosine_or_by_dot_product_without_the_word_itself() -> None:
    explorer = neighbours(word="king")
    explorer.k.value = 5
    table = torch.tensor(list(ROYAL.values())).double()
    others = [word for word in ROYAL if word != "king"]
    for similarity, score in (
        ("cosine", lambda row: torch.cosine_similarity(row, table[1], dim=0)),
        ("dot product", lambda row: row @ table[1]),
    ):
        explorer.similarity.value = similarity
        expected = {word: float(score(table[list(ROYAL).index(word)])) for word in others}
        ranked = sorted(expected, key=lambda word: -expected[word])
        assert [word for word, _ in explorer.state["neighbours"]] == ranked
        assert dict(explorer.state["neighbours"]) == pytest.approx(expected)
        listed = ", ".join(f"'{word}' {theme.number(expected[word])}" for word in ranked)
        assert f"Nearest to 'king' by {similarity}: {listed}." in said(explorer)
    assert explorer.state["neighbours"][0][0] == "the"  # a long row wins by dot product
    assert f"The row of 'the' has length {table[5].norm():.2f}, its own {table[1].norm():.2f}." in said(
        explorer
    )


def test_neighbours_and_analogies_are_those_of_the_library() -> None:
    draw = torch.Generator().manual_seed(11)
    table, words = torch.randn(40, 7, generator=draw), [f"w{n}" for n in range(40)]
    explorer = viz.EmbeddingNeighbours(words, table, analogies=[("w1", "w2", "w3")], word="w9")
    explorer.k.value = 10
    expected = embeddings.nearest(table, words, "w9", 10)
    assert [word for word, _ in explorer.state["neighbours"]] == [word for word, _ in expected]
    explorer.analogy.value = "w1 → w2, w3 → ?"
    answers = embeddings.analogy(table, words, "w1", "w2", "w3", 10)
    assert [word for word, _ in explorer.state["neighbours"]] == [word for word, _ in answers]
    assert [score for _, score in explorer.state["neighbours"]] == pytest.approx(
        [score for _, score in answers], abs=1e-6
    )
    top, score = answers[0]
    assert f"'w1' is to 'w2' as 'w3' is to '{top}' {theme.number(score)}, then" in said(explorer)


def test_an_analogy_leads_from_a_to_b_and_from_c_to_its_answer() -> None:
    explorer = neighbours()
    assert [arrow.get_visible() for arrow in explorer._panels.arrows] == [False, False]
    explorer.analogy.value = "man → king, woman → ?"
    place = {word: tuple(point) for word, point in zip(ROYAL, explorer.state["points"].tolist())}
    ends = [arrow._posA_posB for arrow in explorer._panels.arrows]
    assert ends == [[place["man"], place["king"]], [place["woman"], place["queen"]]]
    assert all(arrow.get_visible() for arrow in explorer._panels.arrows)
    assert len(explorer._panels.query.get_offsets()) == 0


def test_who_would_win_an_analogy_without_leaving_the_three_words_out_is_said() -> None:
    table = {"a": [1.0, 0.0], "b": [1.0, 0.1], "c": [0.0, 1.0], "d": [-1.0, 0.2]}
    explorer = viz.EmbeddingNeighbours(list(table), list(table.values()), analogies=[("a", "b", "c")])
    explorer.analogy.value = "a → b, c → ?"
    assert explorer.state["nearest_of_all"] == "c" and explorer.state["neighbours"][0][0] == "d"
    assert "the three themselves are left out, or else 'c' would come first." in said(explorer)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (
            "quean",
            "'quean' has no row among the 6 words; did you mean 'queen'? Still shown: Nearest to 'king'",
        ),
        ("zzz", "'zzz' has no row among the 6 words. Still shown: Nearest to 'king'"),
        ("  ", "Type one of the 6 words, then press Enter. Still shown: Nearest to 'king'"),
    ],
)
def test_an_unknown_word_is_said_kindly_and_loses_nothing(typed: str, words: str) -> None:
    explorer = neighbours(word="king")
    png, before = explorer.image.value, explorer.state
    explorer.word.value = typed
    assert said(explorer).startswith(words)
    assert explorer.image.value == png
    assert explorer.state["word"] == "king" and explorer.state["unknown"] == typed
    assert explorer.state["neighbours"] == before["neighbours"]
    assert explorer.word.value == typed  # to be corrected, not typed anew
    explorer.word.value = "queen"
    assert said(explorer).startswith("Nearest to 'queen'") and explorer.state["unknown"] is None


def test_a_word_is_found_in_capitals_and_between_spaces() -> None:
    explorer = neighbours()
    for typed in ("QUEEN", " queen ", "Queen"):
        explorer.word.value = typed
        assert explorer.state["word"] == "queen" and explorer.state["unknown"] is None


def test_buttons_type_a_word_of_every_group_and_typing_leaves_the_analogy() -> None:
    explorer = neighbours()
    assert [button.description for button in explorer.suggestions] == [
        "man",
        "apple",
        "king",
        "woman",
        "queen",
    ]
    explorer.analogy.value = "man → king, woman → ?"
    explorer.suggestions[1].click()
    assert explorer.state["asked"] is None and explorer.state["word"] == explorer.word.value == "apple"
    explorer.analogy.value = "man → king, woman → ?"
    explorer.suggestions[1].click()  # the same word again
    assert explorer.state["asked"] is None
    explorer.analogy.value = "man → king, woman → ?"
    explorer.word.value = "queen"
    assert explorer.state["asked"] is None and said(explorer).startswith("Nearest to 'queen'")


def test_equal_scores_keep_the_order_of_the_table() -> None:
    words = ["a", "b", "c", "d"]
    table = torch.tensor([[1.0, 1.0], [1.0, 2.0], [2.0, 1.0], [1.0, 2.0]])
    explorer = viz.EmbeddingNeighbours(words, table)
    assert [word for word, _ in explorer.state["neighbours"]] == ["b", "c", "d"]


def test_the_map_of_many_numbers_keeps_the_two_directions_of_most_spread() -> None:
    draw = torch.Generator().manual_seed(2)
    plane = torch.randn(30, 2, generator=draw).double() * torch.tensor([3.0, 1.0])
    directions = torch.linalg.qr(torch.randn(5, 2, generator=draw).double()).Q
    explorer = viz.EmbeddingNeighbours([f"w{n}" for n in range(30)], plane @ directions.T + 4.0)
    points = explorer.state["points"]
    assert torch.allclose(torch.pdist(points), torch.pdist(plane))
    assert points[:, 0].var() > points[:, 1].var()
    flat = viz.EmbeddingNeighbours([f"w{n}" for n in range(30)], plane)
    assert torch.equal(flat.state["points"], plane)  # two numbers need no other plane


def test_the_labels_of_a_map_stand_beside_the_words_they_name() -> None:
    explorer = viz.EmbeddingNeighbours(WORDS, embed(WORDS), word="apple")
    shown = [label for label in explorer._panels.placed.labels if label.get_visible()]
    assert {label.get_text() for label in shown} == set(WORDS)
    pixels = explorer._panels.map.transData.transform(explorer.state["points"].numpy())
    by_text = {label.get_text(): label.get_position() for label in shown}
    for word, place in zip(WORDS, pixels, strict=True):
        assert math.dist(by_text[word], place) < 90, word


def test_a_row_of_zeros_has_no_direction() -> None:
    explorer = viz.EmbeddingNeighbours(
        ["a", "b", "[PAD]"], [[1.0, 0.0], [0.5, 1.0], [0.0, 0.0]], word="[PAD]"
    )
    assert [score for _, score in explorer.state["neighbours"]] == [0.0, 0.0]


# ---------------------------------------------------------------------------------- PositionScrubber


def test_the_scrubber_says_hand_turn_and_dot_products_of_the_sinusoids() -> None:
    explorer, table = scrubber(), sinusoids(20, 8)
    explorer.position.value, explorer.pair.value, explorer.offset.value = 7, 2, 6
    angle = 1 / 10000 ** (4 / 8)
    state = explorer.state
    assert state["hand"].tolist() == pytest.approx([math.sin(7 * angle), math.cos(7 * angle)], abs=1e-6)
    assert state["is_clock"] and state["turn"] == pytest.approx(angle, rel=1e-4)
    assert state["row"].tolist() == pytest.approx(table[7].tolist())
    assert state["dots"].tolist() == pytest.approx((table @ table[7]).tolist(), abs=1e-5)
    assert state["other"] == 13 and state["dot"] == pytest.approx(float(table[7] @ table[13]), abs=1e-5)
    assert said(explorer) == (
        "Position 7, pair 2: (sin, cos) is (0.07, 1.00), its hand turns 0.01 rad a step, once round in 628 steps. "
        f"Dot product with position 13 (offset +6): {float(table[7] @ table[13]):.2f}, with itself 4.00. "
        "Any two rows with this offset have the same."
    )


def test_the_hands_of_the_clocks_point_where_the_pairs_say() -> None:
    explorer, table = scrubber(), sinusoids(20, 8)
    explorer.position.value, explorer.pair.value, explorer.offset.value = 3, 1, 2
    pairs = [1, 0, 1, 2, 3]  # the chosen one, then all four
    for hands, place in ((explorer._panels.hands, 3), (explorer._panels.other_hands, 5)):
        for pair, ((x0, y0), (x1, y1)) in zip(pairs, hands.get_segments(), strict=True):
            assert (x1 - x0, y1 - y0) == pytest.approx(
                table[place, 2 * pair : 2 * pair + 2].tolist(), abs=1e-3
            )
    assert explorer._panels.chosen.get_text() == "pair 1\n62.8 steps"


def test_the_dot_products_of_sinusoids_depend_on_the_offset_alone_and_a_learned_tables_do_not() -> None:
    learned = viz.PositionScrubber(0.02 * torch.randn(20, 8, generator=torch.Generator().manual_seed(1)))
    low, high = learned.state["spread"]
    along = (learned._table @ learned._table.T).diagonal(5)
    assert (low, high) == pytest.approx((float(along.min()), float(along.max())))
    assert "just two numbers: this pair does not turn like a clock" in said(learned)
    assert f"The rows with this offset have {theme.number(low, 5)} to {theme.number(high, 5)}." in said(
        learned
    )
    assert not learned.state["is_clock"] and learned.state["turn"] is None
    fixed = scrubber()
    for offset in (-9, 1, 12):
        fixed.offset.value = offset
        assert fixed.state["spread"][0] == pytest.approx(fixed.state["spread"][1], abs=1e-5)


def test_an_offset_that_leaves_the_table_is_said_and_has_no_mark() -> None:
    explorer = scrubber()
    explorer.position.value, explorer.offset.value = 4, -5
    assert explorer.state["other"] is None and explorer.state["dot"] is None
    assert said(explorer).endswith("Position 4 − 5 is not in the table.")
    assert not explorer._panels.there.get_visible() and len(explorer._panels.dot.get_xdata()) == 0
    explorer.offset.value = -4
    assert explorer._panels.there.get_visible() and explorer._panels.dot.get_xdata() == [-4]
    explorer.position.value, explorer.offset.value = 0, 19
    assert said(explorer).endswith("No other rows have this offset.")


def test_only_a_sine_and_a_cosine_in_this_order_are_called_so() -> None:
    swapped = sinusoids(20, 8).view(20, 4, 2).flip(-1).flatten(1)
    explorer = viz.PositionScrubber(swapped)
    assert "its two numbers are" in said(explorer) and "(sin, cos)" not in said(explorer)
    assert explorer.state["turn"] == pytest.approx(-1 / 10000 ** (2 / 8), rel=1e-4)
    still = viz.PositionScrubber(torch.ones(5, 3))
    assert "its hand stands still" in said(still) and still.pair.max == 0


# --------------------------------------------------------------------------------------- MaskPainter


def test_the_painter_weighs_in_four_ways() -> None:
    explorer = painter()
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=torch.bool)
    explorer.paint(mask)
    powers = SCORES.exp()
    kept = powers * mask
    careful = kept / kept.sum(-1, keepdim=True).clamp(min=1e-30)
    zeroed = torch.where(mask, powers, torch.ones(())).double()
    expected = {
        "careful (−∞)": careful,
        "0, not −∞": zeroed / zeroed.sum(-1, keepdim=True),
        "mask after softmax": powers / powers.sum(-1, keepdim=True) * mask,
    }
    for way, weights in expected.items():
        explorer.softmax.value = way
        assert torch.allclose(explorer.state["weights"], weights), way
        assert explorer.state["nan_rows"] == ()
        leaks = float((weights * ~mask).sum() / weights.sum())
        assert explorer.state["on_hidden"] == pytest.approx(leaks)
        assert f"On hidden keys lies {theme.percent(leaks)} of the weight." in said(explorer)
    explorer.softmax.value = "naive (−∞)"
    naive = explorer.state["weights"]
    assert naive[2].isnan().all() and torch.allclose(naive[[0, 1, 3]], careful[[0, 1, 3]])
    assert explorer.state["nan_rows"] == (2,) and explorer.state["short_rows"] == ()
    assert "NaN in row 'you': a softmax over nothing but −∞." in said(explorer)


def test_rows_that_sum_to_less_than_one_are_named_with_their_sums() -> None:
    explorer = painter()
    explorer.paint("padding")
    explorer.softmax.value = "mask after softmax"
    sums = SCORES.softmax(-1)[:, :3].sum(-1).tolist()
    named = ", ".join(f"'{token}' {theme.number(total)}" for token, total in zip(PADDED, sums))
    assert f"Less than 1 in sum: rows {named}." in said(explorer)
    assert [text.get_text() for text in explorer._panels.sums] == [
        f"Σ {theme.number(total)}" for total in sums
    ]
    explorer.softmax.value = "careful (−∞)"
    assert "Every row sums to 1." in said(explorer)


def test_minus_infinity_is_hatched_and_weight_on_a_hidden_key_outlined() -> None:
    explorer = painter()
    explorer.paint("causal")
    assert len(explorer._panels.hidden.get_paths()) == 6 and len(explorer._panels.leaks.get_paths()) == 0
    assert explorer._panels.masked.cells[0][3].get_text() == "−∞"
    assert explorer.state["masked_scores"].isneginf().tolist() == (~explorer.mask).tolist()
    explorer.softmax.value = "0, not −∞"
    assert len(explorer._panels.hidden.get_paths()) == 0 and len(explorer._panels.leaks.get_paths()) == 6
    assert explorer._panels.masked.cells[0][3].get_text() == "0.00"


def test_presets_paint_the_whole_mask_with_one_redraw(monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = painter()
    renders: list[None] = []
    monkeypatch.setattr(explorer, "_draw", lambda state: renders.append(None))
    causal = torch.ones(4, 4).tril().bool()
    columns = torch.tensor([True, True, True, False])
    empty = torch.ones(4, 4).bool()
    empty[2] = False
    expected = {
        "all": torch.ones(4, 4).bool(),
        "causal": causal,
        "padding": columns.expand(4, 4),
        "both": causal & columns,
        "empty row": empty,
        "flipped": ~causal,
    }
    assert [button.description for button in explorer.presets] == list(expected)
    for button in explorer.presets:
        renders.clear()
        button.click()
        assert torch.equal(explorer.mask, expected[button.description])
        assert len(renders) == 1


def test_a_painted_cell_takes_the_cursor_with_it_and_the_cursor_paints_its_cell() -> None:
    explorer = painter()
    explorer.cells[1][3].value = False
    assert (explorer.query.value, explorer.key.value, explorer.allowed.value) == (1, 3, False)
    assert not explorer.mask[1, 3] and int(explorer.mask.sum()) == 15
    explorer.query.value = 2
    assert explorer.allowed.value is True
    explorer.allowed.value = False
    assert not explorer.cells[2][3].value and int(explorer.mask.sum()) == 14
    weight = float(explorer.state["weights"][2, 3])
    assert said(explorer).endswith(
        f"Query 'you', key '[PAD]': score {theme.number(float(SCORES[2, 3]))}, weight {theme.number(weight)}."
    )
    assert explorer._panels.outlines[2].get_xy() == (2.5, 1.5)


def test_a_prediction_is_scored_and_its_errors_are_named() -> None:
    causal = torch.ones(4, 4).tril().bool()
    explorer = painter(target=causal)
    for mask, words in (
        (causal, "All 16 cells are right."),
        (~causal, "0 of 16 cells are right. Every cell is the opposite"),
        (causal.T, "4 of 16 cells are right. Rows and columns are swapped"),
        (torch.ones(4, 4).tril(-1).bool(), "12 of 16 cells are right. Only the diagonal differs"),
        (
            torch.ones(4, 4).bool(),
            "10 of 16 cells are right. 6 may attend and should not. Look at query 'I', key",
        ),
        (
            torch.zeros(4, 4).bool(),
            "6 of 16 cells are right. 10 should attend and may not. Look at query 'I',",
        ),
    ):
        explorer.paint(mask)
        assert explorer.score().startswith(words)
        assert explorer.cells_right() == int((mask == causal).sum())
        assert "are right" not in said(explorer)  # only when asked
        explorer.check.click()
        assert said(explorer).startswith(words)
    explorer.cells[0][0].value = True
    assert "are right" not in said(explorer)  # painted on: the score was of another mask
    assert explorer.score(torch.ones(4, 4).bool()).startswith("1 of 16")
    assert explorer.check.layout.display != "none" and painter().check.layout.display == "none"


def test_the_painter_takes_more_keys_than_queries_and_names_a_token_twice_there_by_its_place() -> None:
    explorer = viz.MaskPainter(SCORES[:2], ["you", "you"], PADDED)
    explorer.paint("causal")
    assert explorer.mask.tolist() == [[True, True, True, False], [True] * 4]
    assert "Query 0: 'you', key 'I'" in said(explorer)
    tall = viz.MaskPainter(SCORES[:, :2], PADDED, ["a", "b"])
    assert [button.description for button in tall.presets] == ["all", "padding", "empty row"]


def test_an_own_preset_is_a_button() -> None:
    explorer = painter(presets={"window": torch.eye(4).bool()})
    (button,) = explorer.presets
    button.click()
    assert torch.equal(explorer.mask, torch.eye(4).bool()) and "4 of 16 cells may attend;" in said(explorer)


@pytest.mark.filterwarnings("error")
def test_an_array_that_may_not_be_written_to_brings_no_warning() -> None:
    fixed = np.broadcast_to(np.arange(3.0), (4, 3))
    viz.show_scores(fixed, FOUR, ["a", "b", "c"])
    viz.PositionScrubber(fixed)
