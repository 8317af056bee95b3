"""The learner's progress: which exercises are done, and which mistakes were met, kept in one JSON file."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from course_lib.checks.engine import Verdict
from course_lib.environment import course_home


def progress_file() -> Path:
    """Return where the progress is kept."""
    return course_home() / "progress.json"


def read_progress() -> dict[str, dict[str, Any]]:
    """Return exercise id → {"passed": bool, "tries": int, "mistakes": {name: times}}.

    A file that cannot be read is put aside, not lost: its name gets the ending `.broken`.
    """
    path = progress_file()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        kept = None
    if isinstance(kept, dict) and all(_is_entry(entry) for entry in kept.values()):
        return kept
    os.replace(path, path.with_suffix(".broken"))
    return {}


def record(exercise_id: str, verdict: Verdict) -> int:
    """Write a check's result down and return how often this learner has met this mistake by now.

    The file is replaced in one step, so that it is whole whenever the kernel dies.
    """
    progress = read_progress()
    entry = progress.setdefault(exercise_id, {"passed": False, "tries": 0, "mistakes": {}})
    entry["tries"] += 1
    entry["passed"] = entry["passed"] or verdict.passed
    met = 0
    if not verdict.passed and verdict.mistake != "not written yet":
        name = verdict.mistake or verdict.message
        met = entry["mistakes"][name] = entry["mistakes"].get(name, 0) + 1
    path = progress_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        json.dump(progress, file, ensure_ascii=False, indent=1)
    os.replace(file.name, path)
    return met


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("passed"), bool)
        and isinstance(entry.get("tries"), int)
        and isinstance(entry.get("mistakes"), dict)
    )
