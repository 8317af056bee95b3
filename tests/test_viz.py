"""Pictures and explorers: what they draw, what they say, and that the two agree with the mathematics."""

from __future__ import annotations

import ast
import io
import math
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from course_lib import viz
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


def weights(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5)).mul(2).softmax(-1)


def browser() -> viz.HeadBrowser:
    return viz.HeadBrowser(weights(2, 3, 4, 5), FOUR, ["I", "love", "you", "very", "much"])


EXPLORERS = {"gravity": gravity, "temperature": temperature, "browser": browser}
PICTURES = {
    "weights": lambda: viz.show_weights(weights(4, 4), FOUR),
    "heads": lambda: viz.show_weights(weights(3, 4, 5), FOUR),
    "scores": lambda: viz.show_scores({"a": torch.eye(4) - 0.5, "b": torch.eye(4)}, FOUR, title="two"),
    "spread": lambda: viz.show_spread({4: weights(50), 16: 4 * weights(50)}, title="wider"),
    "bars": lambda: viz.show_bars({"T = 1": weights(4), "T = 2": weights(4)}, FOUR, title="flatter"),
    "map": lambda: viz.show_map(embed(WORDS), WORDS, groups={"fruit": FRUIT}, moved={"apple": [1.0, 2.0]}),
    "views": lambda: viz.show_map(embed(FOUR), FOUR, warp={"a": torch.eye(2), "b": [[0.0, 1.0], [1.0, 0.0]]}),
    "curves": lambda: viz.show_curves([1, 2, 4], {"raw": [1, 2, 4], "scaled": [1, 1, 1]}, log_x=True),
    "gravity": lambda: gravity().static(),
    "temperature": lambda: temperature().static(),
    "browser": lambda: browser().static(),
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
    allowed = {"course_lib.attention", "course_lib.viz"}
    for path in Path(viz.__file__).parent.glob("*.py"):
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


@pytest.mark.parametrize("name", EXPLORERS)
def test_every_control_shows_its_label_in_full(name: str) -> None:
    explorer = EXPLORERS[name]()
    for control in {control for who, control, _ in MOVES if who == name}:
        widget = getattr(explorer, control)
        if isinstance(
            widget, widgets.ToggleButtons
        ):  # each button carries words; its caption stands before it
            captions = [
                row.children[0].value
                for row in explorer.children
                if isinstance(row, widgets.HBox) and widget in row.children[1:]
            ]
            words = [option if isinstance(option, str) else option[0] for option in widget.options]
            assert all(words) and len(set(words)) == len(words)
            assert control == "d" or captions == [
                {"sentence": "sentence", "head": "head's matrix W", "query": "query token"}[control]
            ]
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
