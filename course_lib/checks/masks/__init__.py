"""Lesson 05: what an answer about masks is tried on, and the wrong answers we know. One file an exercise."""

from __future__ import annotations

from course_lib.checks.masks.causal_mask import CAUSAL
from course_lib.checks.masks.combine import COMBINE
from course_lib.checks.masks.debug_this_run import RUN
from course_lib.checks.masks.find_the_bug import BUG
from course_lib.checks.masks.masked_mean import MEAN
from course_lib.checks.masks.masked_mean_loss import LOSS
from course_lib.checks.masks.masked_softmax import SOFTMAX
from course_lib.checks.masks.padding_mask import PADDING

# In the order of the lesson and of its exercises.
EXERCISES = (PADDING, CAUSAL, COMBINE, SOFTMAX, BUG, MEAN, LOSS, RUN)
