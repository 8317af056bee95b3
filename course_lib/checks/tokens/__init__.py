"""Lesson 02, tokens and embeddings: its exercises."""

from __future__ import annotations

from course_lib.checks.engine import Exercise

EXERCISES: tuple[Exercise, ...] = ()
