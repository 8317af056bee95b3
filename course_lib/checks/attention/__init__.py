"""Lesson 04: what an answer about attention is tried on, and the wrong answers we know. One file an exercise."""

from __future__ import annotations

from course_lib.checks.attention.additive import ADDITIVE
from course_lib.checks.attention.contextual import CONTEXTUAL
from course_lib.checks.attention.cross import CROSS
from course_lib.checks.attention.effect import EFFECT
from course_lib.checks.attention.find_the_bug import BUG
from course_lib.checks.attention.heads import MERGE, SPLIT
from course_lib.checks.attention.kernel import KERNEL
from course_lib.checks.attention.multi_head import MULTI_HEAD
from course_lib.checks.attention.scaled_dot_product import ATTENTION
from course_lib.checks.attention.softmax import SOFTMAX

# In the order of the lesson and of its exercises.
EXERCISES = (CONTEXTUAL, SOFTMAX, ATTENTION, ADDITIVE, SPLIT, MERGE, MULTI_HEAD, BUG, CROSS, KERNEL, EFFECT)
