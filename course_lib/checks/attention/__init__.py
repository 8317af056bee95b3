"""Lesson 04: what an answer about attention is tried on, and the wrong answers we know. One file an exercise."""

from __future__ import annotations

from course_lib.checks.attention.additive_scores import ADDITIVE
from course_lib.checks.attention.contextual_words import CONTEXTUAL
from course_lib.checks.attention.cross_attention import CROSS
from course_lib.checks.attention.effect_of_each_key import EFFECT
from course_lib.checks.attention.find_the_bug import BUG
from course_lib.checks.attention.kernel_regression import KERNEL
from course_lib.checks.attention.merge_heads import MERGE
from course_lib.checks.attention.multi_head_attention import MULTI_HEAD
from course_lib.checks.attention.scaled_dot_product_attention import ATTENTION
from course_lib.checks.attention.softmax import SOFTMAX
from course_lib.checks.attention.split_heads import SPLIT

# In the order of the lesson and of its exercises.
EXERCISES = (CONTEXTUAL, SOFTMAX, ATTENTION, ADDITIVE, SPLIT, MERGE, MULTI_HEAD, BUG, CROSS, KERNEL, EFFECT)
