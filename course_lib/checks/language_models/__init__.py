"""Lesson 01, language models and RNNs: its exercises."""

from __future__ import annotations

from course_lib.checks.engine import Exercise

EXERCISES: tuple[Exercise, ...] = ()
