"""The house: floors, what may be imported where, and what is kept in the notebooks."""

import ast
from pathlib import Path

import pytest

import course_lib
from course_lib.checks import EXERCISES

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "course_lib"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Names of everything a file imports, in full: `from a import b` gives a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively; the course writes names in full"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def floor_of(name: str) -> int | None:
    """The floor on which `course_lib.…` stands; None where it is the package itself or something else."""
    parts = name.split(".")
    if parts[0] != "course_lib" or len(parts) < 2 or parts[1] not in course_lib.FLOORS:
        return None
    return course_lib.FLOORS.index(parts[1])


def own_floor(path: Path) -> int | None:
    return floor_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


def test_every_module_stands_on_a_floor_and_every_floor_has_a_module():
    standing = {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in MODULES} - {"__init__"}
    assert standing == set(course_lib.FLOORS)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_only_downwards(path):
    here = own_floor(path)
    limit = -1 if here is None else here  # course_lib/__init__.py stands below all floors
    above = {name for name in imported(path) if (there := floor_of(name)) is not None and there > limit}
    assert not above, f"{path.name} imports from above: {sorted(above)}"


REFERENCES = ("Transformer", "MultiheadAttention", "RNN", "LSTM", "GRU")


@pytest.mark.parametrize(
    "path", [p for p in MODULES if own_floor(p) is not None], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_module_uses_the_layers_it_is_compared_with(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr.startswith(REFERENCES)
    }
    if path.stem != "hugging_face":  # which must know their names to take their weights
        assert not used
    outside = {name.split(".")[0] for name in imported(path)} & {"d2l", "transformers", "tokenizers"}
    if path.parent.name == "data":
        outside -= {"d2l"}  # the road to real data sets
    if path.stem == "hugging_face":
        outside -= {"d2l", "transformers"}  # the road to real weights
    assert not outside, f"{path.name} imports {outside}"


def test_a_lesson_of_checks_holds_no_engine():
    """Lesson files define experiments and tables; how an answer is judged stands in engine.py alone."""
    lessons = [path for path in (PACKAGE / "checks").glob("*/*.py") if path.stem != "__init__"]
    assert lessons
    for path in lessons:
        names = imported(path)
        assert "course_lib.checks.engine.diagnose" not in names
        assert "course_lib.checks.engine.observe" not in names
        assert not names & {"course_lib.checks.show", "course_lib.checks.progress", "traceback"}


def test_an_exercise_stands_in_a_file_of_its_own_that_is_called_like_it():
    for exercise_id in EXERCISES:
        name = exercise_id.split(".")[1]
        holding = [
            path.stem
            for path in (PACKAGE / "checks").glob("*/*.py")
            if f'id="{exercise_id}"' in path.read_text(encoding="utf-8")
        ]
        assert holding == [name]
