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


LESSON_01, LESSON_02 = "01_language_models_and_rnns", "02_tokens_and_embeddings"
LESSON_03, LESSON_04, LESSON_05 = "03_positions", "04_attention", "05_masks"
TABLE = {
    "A1": Row(
        "a language model assigns a probability to the next word",
        LESSON_01,
        "1 · What comes next?",
        "P(China | Shanghai is a city in) by counting pairs",
        "course_lib.data.cities.prompt",
        "01.sentence_probability",
        "no shift",
    ),
    "A2": Row(
        "training: shifted labels, <sos> and <eos>, teacher forcing, pads ignored; generating from the whole prefix",
        LESSON_01,
        "3 · Training: every word is a question",
        "loss, ours and PyTorch's: difference",
        "course_lib.objectives.next_token_labels",
        "01.language_model_loss",
        "no shift",
    ),
    "A3": Row(
        "RNN, LSTM and GRU from scratch; a language model as the baseline",
        LESSON_01,
        "2 · A network with a memory",
        "RNN, ours and PyTorch's",
        "course_lib.rnn.LSTM",
        "01.lstm_step",
        "taken in the order i, f, o, g",
    ),
    "A4": Row(
        "first drawback: steps that must wait for each other",
        LESSON_01,
        "7 · First drawback: steps that must wait",
        "products that must wait, more at 64 steps than at 16: RNN",
        "course_lib.rnn.RNN",
        "01.rnn",
        "zeros at every step",
    ),
    "A5": Row(
        "second drawback: vanishing and exploding gradients; clipping",
        LESSON_01,
        "8 · Second drawback: the gradient on its way back",
        "kept over 254 steps, RNN with radius 0.9",
        "course_lib.training.fit",
        "01.clip_gradients",
        "each by itself",
    ),
    "A6": Row(
        "third drawback: hard to reach what was long ago",
        LESSON_01,
        "9 · Third drawback: far back in time",
        "LSTM, recall at distance 128",
        "course_lib.data.recall.sample_recall",
        "01.gradient_by_distance",
        "by place",
    ),
    "A7 both directions": Row(
        "the bidirectional RNN",
        LESSON_01,
        "10 · From both ends",
        "clue on the right, both sides read",
        "course_lib.rnn.BidirectionalRNN",
        "01.bidirectional",
        "whole rows turned",
    ),
    "A7 the bridge": Row(
        "encoder and decoder RNN; additive attention lifts the bottleneck",
        LESSON_04,
        "1 · A whole sentence in one vector",
        "rows of 10 without a fault, with attention",
        "course_lib.rnn.Seq2Seq",
        "04.additive_scores",
        "no tanh",
    ),
    "B1": Row(
        "text → tokens → ids: whitespace, characters, BPE, WordPiece; ids are fixed, vectors are learned",
        LESSON_02,
        "2 · Byte-pair encoding, merge by merge",
        "by rank: share of words cut as the library cuts them",
        "course_lib.tokenization.BPETokenizer",
        "02.bpe_encode",
        "left to right",
    ),
    "B2": Row(
        "the embedding table: id → vector; sizes; values change in training",
        LESSON_02,
        "5 · A row for each id",
        "gradient of the rows that were not used",
        "course_lib.embeddings.TokenEmbedding",
        "02.embed",
        "one too low",
    ),
    "B3": Row(
        "similar words get nearby vectors: cosine and dot product; the map; where a new word goes",
        LESSON_02,
        "6 · A map of words",
        "cosine of orange and lemon",
        "course_lib.embeddings.nearest",
        "02.nearest",
        "dot products",
    ),
    "B4": Row(
        "word2vec: skip-gram with negative sampling; more than two dimensions",
        LESSON_02,
        "7 · Learn the map: skip-gram",
        "fruit gap of 'apple', farthest from 0 of three seeds",
        "course_lib.embeddings.SkipGram",
        "02.negative_sampling_loss",
        "the negatives are not negated",
    ),
    "B5": Row(
        "static embeddings cannot resolve ambiguity; the table row stays, the output is contextual",
        LESSON_04,
        "2 · One row for two meanings",
        "'apple' differs between the two sentences by",
        "course_lib.data.apple.embed",
        "04.contextual_words",
        "the table's rows",
    ),
    "B6": Row(
        "one table for embedding and output; scaling by √d_model",
        LESSON_02,
        "11 · One table at both ends",
        "first loss with rows of variance 1, above ln V, in nats",
        "course_lib.embeddings.TokenEmbedding",
        "02.tied_table",
        "a table of its own",
    ),
    "B7": Row(
        "images, sound and film become tokens too",
        LESSON_02,
        "12 · Not only text",
        "picture put together again: largest difference",
        "course_lib.patches.image_patches",
        "02.patches",
        "a plain reshape",
    ),
    "C1": Row(
        "self-attention alone is permutation-equivariant",
        LESSON_03,
        "1 · Attention sees a bag of words",
        "outputs swap: the row of each letter differs by",
        "course_lib.attention.scaled_dot_product_attention",
        "03.is_equivariant",
        "invariance",
    ),
    "C2": Row(
        "sinusoidal encoding: computed once, added, the same in training and testing; near and far",
        LESSON_03,
        "3 · Clocks: the sinusoidal table",
        "training and testing differ by",
        "course_lib.positions.sinusoidal_positions",
        "03.sinusoidal_positions",
        "sines first, cosines after",
    ),
    "C3": Row(
        "learned position embeddings: a table of max_len × d_model; BERT's limit of 512",
        LESSON_03,
        "7 · A table that is learned",
        "parameters of BERT's position table",
        "course_lib.positions.LearnedPositions",
        "03.add_positions",
        "start is not used",
    ),
    "C4": Row(
        "relative positions, why recurrence needs them; rotary",
        LESSON_03,
        "8 · Counting from me: relative positions",
        "scores change when all move 100 places on, rotary, by",
        "course_lib.positions.rotate",
        "03.rotary",
        "the other way round",
    ),
    "D1": Row(
        "attention as gravity and as clustering, and where both pictures end",
        LESSON_04,
        "3 · Attention without parameters",
        "share the orange gets from 'apple': after ÷ before",
        "course_lib.viz.ContextGravity",
        "04.contextual_words",
        "the plain average",
    ),
    "D2": Row(
        "attention without parameters: softmax(X Xᵀ/√d) X mixes meaning, position and the other words",
        LESSON_04,
        "3 · Attention without parameters",
        "distance of first and last 'apple' with positions",
        "course_lib.attention.scaled_dot_product_attention",
        "04.contextual_words",
        "no scaling",
    ),
    "D3": Row(
        "query, key and value as a soft dictionary look-up",
        LESSON_04,
        "4 · Query, key, value: a soft look-up",
        "share of the romantic film for 'love'",
        "course_lib.data.films.film_query",
        "04.scaled_dot_product_attention",
        "keys and values exchanged",
    ),
    "D4": Row(
        "scores, scaling by √d, softmax, temperature, weighted sum of values",
        LESSON_04,
        "5 · Why divide by √d?",
        "median slope at d = 256, not scaled (control)",
        "course_lib.attention.scaled_dot_product_scores",
        "04.scaled_dot_product_attention",
        "no scaling",
    ),
    "D5": Row(
        "the score matrix: rows are queries; the diagonal; what W_Q and W_K change",
        LESSON_04,
        "7 · The diagonal",
        "largest on the diagonal: with random W_Q and W_K",
        "course_lib.attention.dot_product_scores",
        "04.multi_head_attention",
        "w_q and w_k are one layer",
    ),
    "D6": Row(
        "multi-head: linear views, good and bad; concatenated and mixed by W_O",
        LESSON_04,
        "8 · Heads: several views of one vector",
        "right answers with two heads, mean of 3 runs",
        "course_lib.attention.MultiHeadAttention",
        "04.multi_head_attention",
        "tokens mixed by the merge",
    ),
    "D7": Row(
        "self-attention against cross-attention; the three attentions of the Transformer",
        LESSON_04,
        "9 · Self-attention and cross-attention",
        "cross-attention, the library's and PyTorch's: largest difference",
        "course_lib.attention.MultiHeadAttention",
        "04.cross_attention",
        "the encoder asks",
    ),
    "D8": Row(
        "additive, dot-product and scaled scores compared",
        LESSON_04,
        "6 · Three ways to score",
        "additive scores: spread at d = 256 over spread at d = 4",
        "course_lib.attention.AdditiveAttention",
        "04.additive_scores",
        "no tanh",
    ),
    "D9": Row(
        "attention as kernel regression",
        LESSON_04,
        "10 · An old acquaintance: kernel regression",
        "kernel regression and attention: largest difference",
        "course_lib.attention.scaled_dot_product_attention",
        "04.kernel_regression",
        "distance in place of its square",
    ),
    "D10": Row(
        "reading attention: evidence, not explanation; softmax is not calibrated",
        LESSON_04,
        "11 · Reading attention weights",
        "change of the mean confidence",
        "course_lib.viz.HeadBrowser",
        "04.effect_of_each_key",
        "the weights",
    ),
    "E1": Row(
        "padding mask: sentences of unlike length in one batch",
        LESSON_05,
        "1 · Sentences of unlike length",
        "share of the words' weight on pads, columns hidden",
        "course_lib.masks.padding_mask",
        "05.padding_mask",
        "flipped",
    ),
    "E2": Row(
        "causal mask: position t sees only positions ≤ t",
        LESSON_05,
        "3 · Not the future",
        "share of the future in the first row, score 0",
        "course_lib.masks.causal_mask",
        "05.causal_mask",
        "itself hidden",
    ),
    "E3": Row(
        "combining: padding ∧ causal; cross-attention has the source's padding; broadcast over batch and heads",
        LESSON_05,
        "6 · Two masks, three places",
        "cross-attention: a pad of the source is changed",
        "course_lib.attention.MultiHeadAttention",
        "05.combine",
        "or in the decoder",
    ),
    "E4": Row(
        "what goes wrong: mask after softmax, a row with nothing to attend to, flipped polarity",
        LESSON_05,
        "8 · Ways to get it wrong",
        "NaN in the gradient of W_V, our masked softmax",
        "course_lib.attention.masked_softmax",
        "05.masked_softmax",
        "an empty row is not a number",
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


def test_the_rows_of_lessons_01_to_05_are_all_there():
    sizes = {"A": 7, "B": 7, "C": 4, "D": 10, "E": 4}
    expected = [f"{letter}{number}" for letter, size in sizes.items() for number in range(1, size + 1)]
    assert list(dict.fromkeys(key.split()[0] for key in TABLE)) == expected


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
