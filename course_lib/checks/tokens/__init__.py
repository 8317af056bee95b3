"""Lesson 02, tokens and embeddings: what its answers are tried on, and the wrong answers we know."""

from __future__ import annotations

from course_lib.checks.engine import Exercise
from course_lib.checks.tokens.analogy import ANALOGY
from course_lib.checks.tokens.bpe_encode import BPE_ENCODE
from course_lib.checks.tokens.count_pairs import COUNT_PAIRS
from course_lib.checks.tokens.embed import EMBED
from course_lib.checks.tokens.nearest import NEAREST
from course_lib.checks.tokens.negative_sampling_loss import NEGATIVE_SAMPLING
from course_lib.checks.tokens.negative_shares import NEGATIVE_SHARES
from course_lib.checks.tokens.patches import PATCHES
from course_lib.checks.tokens.skip_gram_pairs import SKIP_GRAM_PAIRS
from course_lib.checks.tokens.tied_table import TIED_TABLE
from course_lib.checks.tokens.wordpiece_encode import WORDPIECE_ENCODE

# In the order of the lesson and of its exercises.
EXERCISES: tuple[Exercise, ...] = (
    COUNT_PAIRS,
    BPE_ENCODE,
    WORDPIECE_ENCODE,
    EMBED,
    NEAREST,
    SKIP_GRAM_PAIRS,
    NEGATIVE_SHARES,
    NEGATIVE_SAMPLING,
    ANALOGY,
    TIED_TABLE,
    PATCHES,
)
