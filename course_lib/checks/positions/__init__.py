"""Lesson 03: what an answer about positions is tried on, and the wrong answers we know. One file an exercise."""

from __future__ import annotations

from course_lib.checks.positions.equivariant import EQUIVARIANT
from course_lib.checks.positions.find_the_bug import BUG
from course_lib.checks.positions.learned import LEARNED
from course_lib.checks.positions.offsets import OFFSET
from course_lib.checks.positions.relative import RELATIVE
from course_lib.checks.positions.rotary import ROTARY
from course_lib.checks.positions.sinusoidal import SINUSOIDAL

# In the order of the lesson and of its exercises.
EXERCISES = (EQUIVARIANT, SINUSOIDAL, OFFSET, LEARNED, BUG, RELATIVE, ROTARY)
