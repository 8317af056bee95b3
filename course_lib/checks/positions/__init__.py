"""Lesson 03: what an answer about positions is tried on, and the wrong answers we know. One file an exercise."""

from __future__ import annotations

from course_lib.checks.positions.add_positions import LEARNED
from course_lib.checks.positions.dot_by_offset import OFFSET
from course_lib.checks.positions.find_the_bug import BUG
from course_lib.checks.positions.is_equivariant import EQUIVARIANT
from course_lib.checks.positions.relative_distances import RELATIVE
from course_lib.checks.positions.rotary import ROTARY
from course_lib.checks.positions.sinusoidal_positions import SINUSOIDAL

# In the order of the lesson and of its exercises.
EXERCISES = (EQUIVARIANT, SINUSOIDAL, OFFSET, LEARNED, BUG, RELATIVE, ROTARY)
