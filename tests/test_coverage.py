"""Coverage: what the course must teach, and where it does.

A row is a concept: its section, a claim that section makes, the library's piece, and an exercise with a mistake
that is caught there. The tests fail when one of them is missing or points nowhere.
"""

import importlib
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from course_lib.checks import EXERCISES

ROOT = Path(__file__).resolve().parents[1]


class Row(NamedTuple):
    """Where one concept is taught, measured, kept and exercised."""

    concept: str
    notebook: str
    section: str
    claim: str
    library: str
    exercise: str
    mistake: str


LESSON = "04_attention"
TABLE = {
    "B5": Row(
        "static embeddings cannot resolve ambiguity; the table row stays, the output is contextual",
        LESSON,
        "1 · One row for two meanings",
        "'apple' differs between the two sentences by",
        "course_lib.data.apple.embed",
        "04.contextual_words",
        "the table's rows",
    ),
    "D1": Row(
        "attention as gravity and as clustering, and where both pictures end",
        LESSON,
        "2 · Attention without parameters",
        "share the orange gets from 'apple': after ÷ before",
        "course_lib.viz.ContextGravity",
        "04.contextual_words",
        "the plain average",
    ),
    "D2": Row(
        "attention without parameters: softmax(X Xᵀ/√d) X mixes meaning, position and the other words",
        LESSON,
        "2 · Attention without parameters",
        "distance of first and last 'apple' with positions",
        "course_lib.attention.scaled_dot_product_attention",
        "04.contextual_words",
        "no scaling",
    ),
    "D3": Row(
        "query, key and value as a soft dictionary look-up",
        LESSON,
        "3 · Query, key, value: a soft look-up",
        "share of the romantic film for 'love'",
        "course_lib.data.films.film_query",
        "04.scaled_dot_product_attention",
        "keys and values exchanged",
    ),
    "D4": Row(
        "scores, scaling by √d, softmax, temperature, weighted sum of values",
        LESSON,
        "4 · Why divide by √d?",
        "median slope at d = 256, not scaled (control)",
        "course_lib.attention.scaled_dot_product_scores",
        "04.scaled_dot_product_attention",
        "no scaling",
    ),
    "D5": Row(
        "the score matrix: rows are queries; the diagonal; what W_Q and W_K change",
        LESSON,
        "6 · The diagonal",
        "largest on the diagonal: with random W_Q and W_K",
        "course_lib.attention.dot_product_scores",
        "04.multi_head_attention",
        "w_q and w_k are one layer",
    ),
    "D6": Row(
        "multi-head: linear views, good and bad; concatenated and mixed by W_O",
        LESSON,
        "7 · Heads: several views of one vector",
        "right answers with two heads, mean of 3 runs",
        "course_lib.attention.MultiHeadAttention",
        "04.multi_head_attention",
        "tokens mixed by the merge",
    ),
    "D7": Row(
        "self-attention against cross-attention; the three attentions of the Transformer",
        LESSON,
        "8 · Self-attention and cross-attention",
        "cross-attention, the library's and PyTorch's: largest difference",
        "course_lib.attention.MultiHeadAttention",
        "04.cross_attention",
        "the encoder asks",
    ),
    "D8": Row(
        "additive, dot-product and scaled scores compared",
        LESSON,
        "5 · Three ways to score",
        "additive scores: spread at d = 256 over spread at d = 4",
        "course_lib.attention.AdditiveAttention",
        "04.additive_scores",
        "no tanh",
    ),
    "D9": Row(
        "attention as kernel regression",
        LESSON,
        "9 · An old acquaintance: kernel regression",
        "kernel regression and attention: largest difference",
        "course_lib.attention.scaled_dot_product_attention",
        "04.kernel_regression",
        "distance in place of its square",
    ),
    "D10": Row(
        "reading attention: evidence, not explanation; softmax is not calibrated",
        LESSON,
        "10 · Reading attention weights",
        "change of the mean confidence",
        "course_lib.viz.HeadBrowser",
        "04.effect_of_each_key",
        "the weights",
    ),
}
every_row = pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)


def section_of(row: Row) -> list[dict]:
    cells = json.loads((ROOT / "notebooks" / f"{row.notebook}.ipynb").read_text(encoding="utf-8"))["cells"]
    found: list[dict] = []
    inside = False
    for cell in cells:
        heading = re.match(r"## (.*)", "".join(cell["source"]))
        if cell["cell_type"] == "markdown" and heading:
            inside = heading[1].strip() == row.section
        if inside:
            found.append(cell)
    assert found, f"no section “{row.section}” in {row.notebook}"
    return found


def test_the_rows_of_lesson_04_are_all_there():
    assert list(TABLE) == ["B5", *(f"D{number}" for number in range(1, 11))]


@every_row
def test_the_claim_of_a_concept_was_executed_in_its_section(row):
    printed = "".join(
        "".join(output.get("text", ""))
        for cell in section_of(row)
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    )
    assert f"✓ {row.claim}: " in printed


@every_row
def test_the_library_holds_the_piece_and_its_tests_name_it(row):
    module, name = row.library.rsplit(".", 1)
    assert hasattr(importlib.import_module(module), name)
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    tests = tests.replace((Path(__file__)).read_text(encoding="utf-8"), "")
    assert re.search(rf"\b{name}\(", tests)


@every_row
def test_the_exercise_catches_the_mistake(row):
    exercise = EXERCISES[row.exercise]
    assert row.mistake in [mistake.name for mistake in exercise.mistakes]
    assert row.exercise[:2] == row.notebook[:2]
