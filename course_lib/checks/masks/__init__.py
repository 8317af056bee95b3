"""Lesson 05: what an answer about masks is tried on, and the wrong answers we know. One file an exercise."""

from __future__ import annotations

from course_lib.checks.masks.causal import CAUSAL
from course_lib.checks.masks.combine import COMBINE
from course_lib.checks.masks.debug_this_run import RUN
from course_lib.checks.masks.find_the_bug import BUG
from course_lib.checks.masks.padding import PADDING
from course_lib.checks.masks.pooling import LOSS, MEAN
from course_lib.checks.masks.softmax import SOFTMAX

# In the order of the lesson and of its exercises.
EXERCISES = (PADDING, CAUSAL, COMBINE, SOFTMAX, BUG, MEAN, LOSS, RUN)
