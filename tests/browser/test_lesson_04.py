"""Lesson 04 in a real browser: run from the menu, its explorers moved by keyboard.

What an explorer says is compared with numbers worked out here, in plain Python, from the definition. What it
draws is compared with the same explorer built here and set to the same values.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch

from course_lib.data import apple
from course_lib.viz import ContextGravity, HeadBrowser, SoftmaxTemperature
from tests.browser.real_lab import OTHER, SAME, Notebook, far_apart


@pytest.fixture(scope="module")
def lesson(open_notebook: Callable[[str], Notebook]) -> Notebook:
    notebook = open_notebook("notebooks/04_attention.ipynb")
    notebook.run_all()
    return notebook


def shares(scores: Sequence[float]) -> list[float]:
    """Softmax, written out."""
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def entropy(weights: Sequence[float]) -> float:
    return -sum(weight * math.log(weight) for weight in weights if weight > 0)


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


# ---------------------------------------------------------------- the whole lesson


def test_the_lesson_runs_from_the_menu_to_its_table_of_claims(lesson: Notebook) -> None:
    assert lesson.error_texts() == []
    table = lesson.cell(lambda source: "print(claims_table())" in source).locator(".jp-OutputArea-output")
    rows = table.inner_text().strip().splitlines()[1:]
    made = [line for text in lesson.printed for line in text.splitlines() if line.startswith("✓ ")]
    assert len(rows) == len(made) > 20
    for row, line in zip(rows, made, strict=True):
        assert row.split("  ")[0] == line.removeprefix("✓ ").rpartition(": ")[0]


def test_every_explorer_stands_below_its_still_picture(lesson: Notebook) -> None:
    for kind in ("ContextGravity", "SoftmaxTemperature", "HeadBrowser"):
        above = lesson.explorer(kind).cell.locator("xpath=preceding-sibling::div[1]").locator("img")
        assert above.count() == 1
        assert above.evaluate("image => image.naturalWidth") > 300


# ---------------------------------------------------------------- ContextGravity

IN_FRUIT, IN_PHONE = "the apple beside an old orange".split(), "the apple beside an old phone".split()


def pull(giver: str, taker: str, sentence: Sequence[str], strength: float = 1.0) -> float:
    """How much of its attention one word gives to another, through the head `strength` · identity."""
    x, y = apple.TABLE[giver]
    rows = [apple.TABLE[word] for word in sentence]
    weights = shares([strength**2 * (x * a + y * b) / math.sqrt(2) for a, b in rows])
    return weights[list(sentence).index(taker)]


def gives(giver: str, taker: str, sentence: Sequence[str], strength: float = 1.0) -> str:
    return f"{giver} gives {taker} {percent(pull(giver, taker, sentence, strength))}"


def the_same_gravity() -> ContextGravity:
    contexts = {
        "with an orange": IN_FRUIT,
        "with a phone": IN_PHONE,
        "with both": "apple orange phone laptop".split(),
        "with a keyboard": "my apple keyboard".split(),
    }
    return ContextGravity(list(apple.TABLE), apple.embed(list(apple.TABLE)), contexts)


def test_the_pull_between_two_words_is_not_mutual(lesson: Notebook) -> None:
    gravity = lesson.explorer("ContextGravity")
    assert pull("apple", "orange", IN_FRUIT) - pull("orange", "apple", IN_FRUIT) > 0.03
    assert gives("apple", "orange", IN_FRUIT) in gravity.words
    assert gives("orange", "apple", IN_FRUIT) in gravity.words
    assert f"keeps {percent(pull('apple', 'apple', IN_FRUIT))} for itself" in gravity.words
    gravity.assert_shows(the_same_gravity())
    gravity.screenshot("context-gravity")


def test_another_sentence_pulls_apple_to_another_word(lesson: Notebook) -> None:
    gravity, twin = lesson.explorer("ContextGravity"), the_same_gravity()
    before = gravity.pixels
    gravity.choose("with a phone")
    assert gives("apple", "phone", IN_PHONE) in gravity.words
    assert gives("phone", "apple", IN_PHONE) in gravity.words
    twin.sentence.value = "with a phone"
    gravity.assert_shows(twin)
    assert far_apart(gravity.pixels, before) > OTHER


def test_a_head_that_sees_computers_only_is_hardly_pulled_by_an_orange(lesson: Notebook) -> None:
    gravity, twin = lesson.explorer("ContextGravity"), the_same_gravity()
    before = gravity.pixels
    gravity.choose("computer view")  # (1.2, 0.2) on the two axes, for queries and for keys
    x, y = apple.TABLE["apple"]
    seen = [(1.44 * x * a + 0.04 * y * b) / math.sqrt(2) for a, b in (apple.TABLE[word] for word in IN_FRUIT)]
    orange = shares(seen)[IN_FRUIT.index("orange")]
    assert orange < pull("apple", "orange", IN_FRUIT) / 2
    assert f"apple gives orange {percent(orange)}" in gravity.words
    twin.head.value = "computer view"
    gravity.assert_shows(twin)
    assert far_apart(gravity.pixels, before) > OTHER


def test_without_strength_every_word_pulls_alike_and_with_more_the_strongest_wins(lesson: Notebook) -> None:
    gravity, twin = lesson.explorer("ContextGravity"), the_same_gravity()
    gravity.focus("strength")

    gravity.press("ArrowRight")
    assert f"keeps {percent(pull('apple', 'apple', IN_FRUIT, 1.1))} for itself" in gravity.words
    assert gives("apple", "orange", IN_FRUIT, 1.1) in gravity.words
    twin.strength.value = 1.1
    gravity.assert_shows(twin)

    gravity.press("Home")
    assert f"keeps {percent(1 / 6)} for itself" in gravity.words
    assert re.search(rf"apple gives \w+ {percent(1 / 6)}, \w+ gives apple {percent(1 / 6)}", gravity.words)
    twin.strength.value = 0.0
    gravity.assert_shows(twin)

    gravity.press("End")
    assert f"keeps {percent(pull('apple', 'apple', IN_FRUIT, 1.5))} for itself" in gravity.words


def test_a_word_taken_out_of_the_sentence_leaves_its_share_to_the_others(lesson: Notebook) -> None:
    gravity, twin = lesson.explorer("ContextGravity"), the_same_gravity()
    gravity.focus("strength")
    gravity.tab_to("orange")

    gravity.press("Space")
    left = IN_FRUIT[:-1]
    kept = pull("apple", "apple", left)
    assert kept > pull("apple", "apple", IN_FRUIT) + 0.2
    assert f"keeps {percent(kept)} for itself" in gravity.words and "orange" not in gravity.words
    twin.taking_part[-1].value = False
    gravity.assert_shows(twin)

    gravity.press("Space")
    gravity.assert_shows(the_same_gravity())


# ---------------------------------------------------------------- SoftmaxTemperature


@dataclass
class Softmax:
    """The query and the keys that the lesson drew, and what must become of them."""

    q: list[float]
    keys: list[list[float]]

    def weights(self, width: int, divisor: float) -> list[float]:
        return shares([sum(a * b for a, b in zip(self.q[:width], key)) / divisor for key in self.keys])

    def twin(self) -> SoftmaxTemperature:
        return SoftmaxTemperature(torch.tensor(self.q), torch.tensor(self.keys))


@pytest.fixture(scope="module")
def drawn(lesson: Notebook) -> Softmax:
    """Ask the kernel for what went into the explorer; what comes out of it is worked out here."""
    given = lesson.ask_kernel(f"[given.tolist() for given in ({lesson.arguments('SoftmaxTemperature')})]")
    return Softmax(*ast.literal_eval(given))


def told(weights: Sequence[float]) -> str:
    """What the explorer says of weights."""
    top = max(range(len(weights)), key=lambda place: weights[place])
    text = f"The largest weight is {weights[top]:.2f}, on {top}; entropy {entropy(weights):.2f} of at most "
    return text + f"{math.log(len(weights)):.2f} nats."


def test_a_higher_temperature_makes_the_shares_more_equal(lesson: Notebook, drawn: Softmax) -> None:
    explorer, twin = lesson.explorer("SoftmaxTemperature"), drawn.twin()
    assert told(drawn.weights(256, 1.0)) in explorer.words
    explorer.assert_shows(twin)
    explorer.screenshot("softmax-temperature")
    before, entropies = explorer.pixels, []
    explorer.focus("temperature")

    for press in range(1, 13):  # a quarter of a doubling each: up to temperature 8
        explorer.press("ArrowRight")
        assert told(drawn.weights(256, 2 ** (press / 4))) in explorer.words
        entropies.append(float(re.findall(r"entropy ([\d.]+)", explorer.words)[0]))
    assert entropies == sorted(entropies) and entropies[-1] > entropies[0] + 0.5
    twin.temperature.value = 8.0
    explorer.assert_shows(twin)
    assert far_apart(explorer.pixels, before) > OTHER

    explorer.press("End")
    assert told(drawn.weights(256, 32.0)) in explorer.words
    explorer.press("Home")
    assert told(drawn.weights(256, 2**-3.25)) in explorer.words


def test_dividing_by_the_root_of_256_is_a_temperature_of_16(lesson: Notebook, drawn: Softmax) -> None:
    explorer, twin = lesson.explorer("SoftmaxTemperature"), drawn.twin()
    raw = explorer.words
    explorer.focus("temperature")
    for _ in range(16):
        explorer.press("ArrowRight")
    hot, hot_picture = explorer.words, explorer.pixels
    for _ in range(16):
        explorer.press("ArrowLeft")
    assert explorer.words == raw

    explorer.tab_to("divide by √d")
    explorer.press("Space")
    assert explorer.words == hot != raw
    assert far_apart(explorer.pixels, hot_picture) < SAME
    assert told(drawn.weights(256, 16.0)) in explorer.words
    twin.scaled.value = True
    explorer.assert_shows(twin)
    explorer.press("Space")
    assert explorer.words == raw


def test_at_a_small_width_the_softmax_is_soft_without_the_division(lesson: Notebook, drawn: Softmax) -> None:
    explorer, twin = lesson.explorer("SoftmaxTemperature"), drawn.twin()
    assert entropy(drawn.weights(4, 1.0)) > entropy(drawn.weights(256, 1.0)) + 0.1
    explorer.focus("divide by √d")
    for width in (4, 16, 64):
        explorer.tab_to(f"d = {width}")
        explorer.press("Space")
        assert told(drawn.weights(width, 1.0)) in explorer.words
        twin.d.value = width
        explorer.assert_shows(twin)
    explorer.tab_to("d = 256")
    explorer.press("Space")
    explorer.assert_shows(drawn.twin())


# ---------------------------------------------------------------- HeadBrowser


@pytest.fixture(scope="module")
def trained(lesson: Notebook) -> Iterator[tuple[list[list[list[float]]], list[str]]]:
    """Work the weights out, H × T × T, from the parameters that the lesson has just trained in its kernel.

    The kernel is asked for the tokens' vectors and for the matrices, not for the weights.
    """
    attention = "trained[2][0].attention"
    vectors = "trained[2][0].embed(some_words[:1], some_colours[:1])[0].tolist()"
    asked = [vectors, *(f"{attention}.{w}.{p}.tolist()" for w in ("w_q", "w_k") for p in ("weight", "bias"))]
    x, *maps = (torch.tensor(ast.literal_eval(lesson.ask_kernel(one)), dtype=torch.float64) for one in asked)
    n_heads = int(lesson.ask_kernel(f"{attention}.n_heads"))
    queries, keys = x @ maps[0].T + maps[1], x @ maps[2].T + maps[3]  # (T, D) each
    heads = []
    for q, k in zip(queries.chunk(n_heads, -1), keys.chunk(n_heads, -1), strict=True):
        heads.append([shares((k @ row / math.sqrt(q.size(-1))).tolist()) for row in q])
    yield heads, [str(label) for label in ast.literal_eval(lesson.ask_kernel("labels_1"))]


def looks(heads: list[list[list[float]]], labels: list[str], head: int, query: int) -> str:
    """What the explorer says of a row of weights."""
    row = heads[head][query]
    top = max(range(len(row)), key=lambda place: row[place])
    return (
        f"Head {head}: '{labels[query]}' looks mostly at '{labels[top]}' ({percent(row[top])}); "
        f"entropy {entropy(row):.2f} of at most {math.log(len(row)):.2f} nats."
    )


def test_the_heads_of_the_trained_model_look_where_their_weights_say(
    lesson: Notebook, trained: tuple[list[list[list[float]]], list[str]]
) -> None:
    explorer, (heads, labels) = lesson.explorer("HeadBrowser"), trained
    twin = HeadBrowser(torch.tensor(heads), labels)
    assert explorer.words == looks(heads, labels, 0, 0)
    explorer.assert_shows(twin)
    explorer.screenshot("head-browser")
    first = explorer.pixels
    explorer.focus("head")

    explorer.press("ArrowRight")
    assert explorer.words == looks(heads, labels, 1, 0)
    twin.head.value = 1
    explorer.assert_shows(twin)
    assert far_apart(explorer.pixels, first) > OTHER
    # What the lesson says of them: 'ask' finds red with one head and blue with the other.
    found = {looks(heads, labels, head, 0).split("mostly at ")[1].split("'")[1] for head in (0, 1)}
    assert {label.split()[1] for label in found} == {"red", "blue"}


def test_the_query_is_chosen_by_keyboard(
    lesson: Notebook, trained: tuple[list[list[list[float]]], list[str]]
) -> None:
    explorer, (heads, labels) = lesson.explorer("HeadBrowser"), trained
    twin = HeadBrowser(torch.tensor(heads), labels)
    for place in (1, 2):
        explorer.choose(f"{place}: {labels[place]}")
        assert explorer.words == looks(heads, labels, 0, place)
    twin.query.value = 2
    explorer.assert_shows(twin)
    last = len(labels) - 1
    explorer.choose(f"{last}: {labels[last]}")
    assert explorer.words == looks(heads, labels, 0, last)


# ---------------------------------------------------------------- what all of them must keep to


@pytest.mark.parametrize("kind", ["ContextGravity", "SoftmaxTemperature", "HeadBrowser"])
def test_nothing_of_an_explorer_is_cut_off_or_overlaps(lesson: Notebook, kind: str) -> None:
    lesson.explorer(kind).assert_nothing_is_cut_off_or_overlaps()


def test_the_lesson_asks_nothing_of_the_network(lesson: Notebook) -> None:
    assert lesson.guard.strangers == []


def test_the_browser_reports_no_error(lesson: Notebook) -> None:
    assert lesson.guard.errors == []
