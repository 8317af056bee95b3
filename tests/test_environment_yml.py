"""The conda route gives what `course.py lab` gives."""

from pathlib import Path

import yaml

import course

ENVIRONMENT = yaml.safe_load((Path(course.ROOT) / "environment.yml").read_text(encoding="utf-8"))


def test_the_pip_section_is_what_course_py_installs() -> None:
    (pip_section,) = [entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict)]
    assert " ".join(pip_section).split() == course.requirements(course.LAB_EXTRAS)


def test_python_and_the_name_are_those_that_course_py_looks_for() -> None:
    plain = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    assert plain == ["python={}.{}".format(*course.NEEDED), "pip"]
    assert ENVIRONMENT["name"] == course.CONDA_NAME


def test_lesson_00_looks_for_the_same_conda_name() -> None:
    from course_lib import environment

    assert environment.CONDA_NAME == course.CONDA_NAME
