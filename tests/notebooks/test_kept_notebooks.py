"""How notebooks are kept: executed, clean, small, in the anatomy of a lesson. What they *say* nbval compares."""

import json
import re
from pathlib import Path

import pytest

from course_lib.checks import EXERCISES

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "solutions").glob("*/*.ipynb"))
RELEASED = sorted((ROOT / "exercises").glob("*/*.ipynb"))
TAUGHT = [path for path in LESSONS if not path.name.startswith("00")]


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    return "".join(cell["source"])


def code_cells(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def prose(notebook: dict) -> str:
    return "\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def test_there_are_lessons_solutions_and_exercises():
    assert LESSONS and SOLUTIONS and len(SOLUTIONS) == len(RELEASED)


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=by_name)
def test_every_code_cell_was_executed_in_order_for_nbval_compares_no_other(path):
    counts = [cell["execution_count"] for cell in code_cells(read(path))]
    assert counts == list(range(1, len(counts) + 1))


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=by_name)
def test_no_warning_path_or_widget_state_is_stored(path):
    notebook = read(path)
    assert "widgets" not in notebook["metadata"]
    outputs = [output for cell in code_cells(notebook) for output in cell["outputs"]]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not [output for output in outputs if output["output_type"] == "error"]
    said = json.dumps([output for output in outputs if "image/png" not in output.get("data", {})])
    assert not re.search(r"/home/|/tmp/|/Users/|0x[0-9a-f]{6,}", said)
    assert str(ROOT) not in said


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS + RELEASED, ids=by_name)
def test_a_notebook_is_smaller_than_1500_kilobytes(path):
    assert path.stat().st_size < 1_500_000


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=by_name)
def test_code_cells_are_short_enough_to_read(path):
    lengths = {
        source(cell).splitlines()[0]: len(source(cell).splitlines()) for cell in code_cells(read(path))
    }
    longest = 31 if path in LESSONS else 36  # an exercise says in its docstring all that it asks for
    assert {line: length for line, length in lengths.items() if length > longest} == {}


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=by_name)
def test_code_lines_fit_into_a_cell_at_1280_pixels(path):
    lines = [line for cell in code_cells(read(path)) for line in source(cell).splitlines()]
    assert [line for line in lines if len(line) > 104] == []


@pytest.mark.parametrize("path", LESSONS, ids=by_name)
def test_an_explorer_stands_under_a_static_picture_of_itself(path):
    cells = code_cells(read(path))
    shown = [
        number
        for number, cell in enumerate(cells)
        if any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in cell["outputs"])
        or re.fullmatch(r"[a-z_]+", source(cell).strip())
    ]
    assert shown
    for number in shown:
        name = source(cells[number]).strip()
        above = cells[number - 1]
        assert f"{name}.static()" in source(above), f"no {name}.static() above the explorer"
        assert any("image/png" in output.get("data", {}) for output in above["outputs"])


@pytest.mark.parametrize("path", TAUGHT, ids=by_name)
def test_a_lesson_has_the_anatomy(path):
    notebook = read(path)
    opening, text = source(notebook["cells"][0]), prose(notebook)
    for part in ("True, half true, or false?", "You will be able to", "You need", "Reading:", "Running:"):
        assert part in opening, f"the opening lacks “{part}”"
    for part in (
        "## Recall",
        "<details>",
        "## When it goes wrong",
        "## Glossary",
        "| English | 中文 |",
        "## Papers",
    ):
        assert part in text, f"the lesson lacks “{part}”"
    statements = re.findall(r"^(\d)\. ", opening, flags=re.M)
    for number in statements:
        assert re.search(rf"[Ss]tatement {number}", text.replace(opening, "")), (
            f"statement {number} is not settled"
        )
        assert re.search(rf"^\| {number} \|", text, flags=re.M), (
            f"statement {number} has no row in the verdicts"
        )
    assert "print(claims_table())" in source(code_cells(notebook)[-1])


@pytest.mark.parametrize("path", TAUGHT, ids=by_name)
def test_every_section_shows_a_number_or_a_picture_and_makes_a_prediction_or_a_claim(path):
    sections: dict[str, list[dict]] = {}
    title = ""
    for cell in read(path)["cells"]:
        heading = re.match(r"## (\d+) · ", source(cell))
        if cell["cell_type"] == "markdown" and source(cell).startswith("## "):
            title = source(cell).splitlines()[0] if heading else ""
        if title:
            sections.setdefault(title, []).append(cell)
    assert len(sections) >= 3
    for title, cells in sections.items():
        outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
        assert outputs, f"{title}: nothing is shown"
        code = "\n".join(source(cell) for cell in cells if cell["cell_type"] == "code")
        assert "claim(" in code, f"{title}: nothing is claimed"


@pytest.mark.parametrize("path", TAUGHT, ids=by_name)
def test_the_controls_of_a_lesson_are_claims_too(path):
    printed = "".join(
        "".join(output["text"])
        for cell in code_cells(read(path))
        for output in cell["outputs"]
        if output["output_type"] == "stream"
    )
    assert len(re.findall(r"^✓ .*\(control\)", printed, flags=re.M)) >= 3


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=by_name)
def test_the_prose_keeps_the_courses_voice(path):
    text = re.sub(r"`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|https?://\S+", "", prose(read(path)), flags=re.S)
    assert "!" not in text.replace("!=", "")
    for word in ("simply", "obviously", "of course", "trivially", "needless to say"):
        assert not re.search(rf"\b{word}\b", text, flags=re.I), f"“{word}”"


@pytest.mark.parametrize("path", LESSONS + SOLUTIONS, ids=by_name)
def test_links_between_notebooks_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+\.ipynb)\)", prose(read(path))):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", RELEASED, ids=by_name)
def test_a_released_exercise_holds_stubs_and_no_solution_output_or_count(path):
    notebook = read(path)
    text = json.dumps(notebook)
    assert "BEGIN SOLUTION" not in text and "not written yet" in text
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in code_cells(notebook))


@pytest.mark.parametrize("path", SOLUTIONS, ids=by_name)
def test_every_exercise_of_a_lesson_stands_in_its_notebook_word_for_word_and_is_checked(path):
    code = [source(cell) for cell in code_cells(read(path))]
    own = {key: exercise for key, exercise in EXERCISES.items() if key[:2] == path.stem[:2]}
    checked = [match for text in code for match in re.findall(r'^check\("([^"]+)"', text, flags=re.M)]
    assert checked == list(own)
    for exercise in own.values():
        without_solutions = [
            re.sub(r"\n *### BEGIN SOLUTION.*?### END SOLUTION", "", text, flags=re.S).strip()
            for text in code
        ]
        assert exercise.stub.strip() in without_solutions, exercise.id
        said = f"Difficulty {exercise.difficulty} · importance {exercise.importance} · {exercise.minutes} minutes"
        assert said in prose(read(path)), exercise.id
