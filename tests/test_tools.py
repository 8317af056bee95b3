"""tools/notebooks.py stores the same bytes for the same outputs, and makes exercises from solutions."""

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat import v4

import course


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, working on an empty house."""
    spec = importlib.util.spec_from_file_location("notebooks_tool", course.ROOT / "tools/notebooks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setenv("COURSE_HOME", "")  # the tool sets it; put it back afterwards
    return module


def write(tool: ModuleType, name: str, *cells: nbformat.NotebookNode) -> Path:
    file = Path(tool.ROOT) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(v4.new_notebook(cells=list(cells)), file)
    return file


def test_neighbouring_prints_are_one_and_other_outputs_stay_between(tool: ModuleType) -> None:
    def stream(name: str, text: str) -> nbformat.NotebookNode:
        return v4.new_output("stream", name=name, text=text)

    picture = v4.new_output("display_data", data={"text/plain": "picture"})
    outputs = [
        stream("stdout", "a"),
        stream("stdout", "b"),
        picture,
        stream("stdout", "c"),
        stream("stderr", "d"),
    ]
    texts = [output.get("text", "picture") for output in tool.merge_streams(outputs)]
    assert texts == ["ab", "picture", "c", "d"]


def test_a_stored_notebook_has_no_widget_no_clock_and_no_machine(tool: ModuleType) -> None:
    view = v4.new_output("display_data", data={tool.WIDGET: {"model_id": "1f"}, "text/plain": "a slider"})
    bare = v4.new_output("display_data", data={tool.WIDGET: {"model_id": "2f"}})
    cell = v4.new_code_cell("1", outputs=[view, bare], metadata={"execution": {"t": "1"}, "tags": ["x"]})
    notebook = v4.new_notebook(
        cells=[cell], metadata={"widgets": {}, "language_info": {"name": "python", "version": "3.11.7"}}
    )
    stored = json.loads(tool.as_bytes(tool.normalise(notebook)))
    assert stored["metadata"] == tool.NOTEBOOK_METADATA
    assert stored["nbformat_minor"] == 5
    (kept,) = stored["cells"]
    assert kept["metadata"] == {"tags": ["x"]}
    assert [output["data"] for output in kept["outputs"]] == [{"text/plain": ["a slider"]}]


def test_cell_ids_stay_and_new_ones_depend_on_the_text_alone(tool: ModuleType) -> None:
    def ids() -> list[str]:
        file = write(tool, "a.ipynb", *(v4.new_code_cell(source, id=source) for source in ("x", "y", "z")))
        stored = json.loads(file.read_text())
        stored["cells"][1]["id"] = "x"
        del stored["cells"][2]["id"]
        file.write_text(json.dumps(stored))
        return [cell.id for cell in tool.normalise(tool.read(file)).cells]

    assert ids() == ids()
    assert ids()[0] == "x" and len(set(ids())) == 3


def test_normalising_twice_changes_nothing(tool: ModuleType) -> None:
    notebook = v4.new_notebook(cells=[v4.new_code_cell("x = 1 \n\n"), v4.new_markdown_cell("text\n")])
    once = tool.as_bytes(tool.normalise(notebook))
    assert tool.as_bytes(tool.normalise(nbformat.reads(once.decode(), as_version=4))) == once


def test_a_notebook_run_twice_has_the_same_bytes_and_an_empty_home(tool: ModuleType) -> None:
    code = "import os\nprint(len(os.listdir(os.environ['COURSE_HOME'])))\nprint(os.getcwd()[-9:])\nx = [0]"
    file = write(tool, "notebooks/00_a.ipynb", v4.new_code_cell(code))
    assert tool.update_all(["00"]) == 0
    first = file.read_bytes()
    assert tool.update_all([]) == 0
    assert file.read_bytes() == first
    (cell,) = nbformat.read(file, as_version=4).cells
    assert cell.execution_count == 1
    assert [output.text for output in cell.outputs] == ["0\nnotebooks\n"]


def test_another_measured_figure_alone_does_not_change_the_stored_notebook(tool: ModuleType) -> None:
    file = write(tool, "notebooks/00_a.ipynb", v4.new_code_cell("import time\nprint(f'⟦{time.time_ns()}⟧')"))
    tool.update_all([])
    first = file.read_bytes()
    tool.update_all([])
    assert file.read_bytes() == first


def test_a_notebook_that_fails_is_left_as_it_was(
    tool: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tool, "notebooks/00_a.ipynb", v4.new_code_cell("1 / 0"))
    before = file.read_bytes()
    assert tool.update_all([]) == 1
    assert file.read_bytes() == before
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_a_newer_text_copy_goes_into_the_notebook_and_ids_and_marks_stay(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = {"nbgrader": {"schema_version": 3, "grade_id": "f", "solution": True}}
    cells = [v4.new_markdown_cell("# Title", id="head"), v4.new_code_cell("f = 1", id="code", metadata=marks)]
    file = write(tool, "notebooks/00_a.ipynb", *cells)
    monkeypatch.setattr(tool, "run", lambda notebook, folder: None)
    tool.write_text_copy(file)
    text = tool.text_copy(file)
    assert text.stat().st_mtime_ns == file.stat().st_mtime_ns
    text.write_text(text.read_text().replace("f = 1", "f = 2") + "\n# %%\nnew = 3\n")
    os.utime(text, ns=(2**61, 2**61))
    tool.update(file)
    title, code, new = nbformat.read(file, as_version=4).cells
    assert (title.id, code.id) == ("head", "code")
    assert code.source == "f = 2" and code.metadata == marks
    assert new.source == "new = 3"
    assert text.stat().st_mtime_ns == file.stat().st_mtime_ns


def test_an_older_text_copy_is_written_again(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tool, "notebooks/00_a.ipynb", v4.new_code_cell("new = 1"))
    monkeypatch.setattr(tool, "run", lambda notebook, folder: None)
    text = tool.text_copy(file)
    text.parent.mkdir(parents=True)
    text.write_text("# %%\nold = 1\n")
    os.utime(text, ns=(1, 1))
    tool.update(file)
    assert "new = 1" in text.read_text() and "old" not in text.read_text()


def test_a_lesson_may_begin_as_text(tool: ModuleType) -> None:
    text = Path(tool.ROOT) / ".text/notebooks/00_a.py"
    text.parent.mkdir(parents=True)
    text.write_text("# %% [markdown]\n# # Title\n\n# %%\nprint(1)\n")
    assert tool.update_all(["00_a"]) == 0
    cells = nbformat.read(Path(tool.ROOT) / "notebooks/00_a.ipynb", as_version=4).cells
    assert [cell.source for cell in cells] == ["# Title", "print(1)"]


def test_an_unknown_name_is_refused_with_the_names_there_are(tool: ModuleType) -> None:
    write(tool, "notebooks/00_a.ipynb")
    with pytest.raises(SystemExit, match="00_a"):
        tool.chosen(["99"])


def test_an_exercise_is_its_solution_without_the_solution(tool: ModuleType, tmp_path: Path) -> None:
    marks = {
        "schema_version": 3,
        "grade_id": "f",
        "grade": False,
        "solution": True,
        "locked": False,
        "task": False,
    }
    check = {**marks, "grade_id": "check", "grade": True, "solution": False, "locked": True, "points": 1}
    secret = "def f(x):\n    ### BEGIN SOLUTION\n    return x + 1\n    ### END SOLUTION"
    write(
        tool,
        "solutions/04_a/04_a.ipynb",
        v4.new_code_cell(secret, metadata={"nbgrader": marks}, execution_count=1),
        v4.new_code_cell("print(f(1))", metadata={"nbgrader": check}, execution_count=2),
    )
    (tmp_path / "nbgrader_config.py").write_bytes((course.ROOT / "nbgrader_config.py").read_bytes())
    for target in ("one", "two"):
        tool.make_exercises(tmp_path / target)
    made = tmp_path / "one/04_a/04_a.ipynb"
    answer, test = nbformat.read(made, as_version=4).cells
    assert (
        answer.source == 'def f(x):\n    # your code here\n    raise NotImplementedError("not written yet")'
    )
    assert test.source == "print(f(1))"
    assert [cell.execution_count for cell in (answer, test)] == [None, None]
    assert made.read_bytes() == (tmp_path / "two/04_a/04_a.ipynb").read_bytes()


def test_the_exercises_are_those_that_the_solutions_give(tmp_path: Path) -> None:
    names = sorted(file.parent.name for file in course.ROOT.glob("solutions/*/*.ipynb"))
    assert names == sorted(file.parent.name for file in course.ROOT.glob("exercises/*/*.ipynb")) != []
    spec = importlib.util.spec_from_file_location("notebooks_tool", course.ROOT / "tools/notebooks.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.make_exercises(tmp_path)
    for file in (file for file in tmp_path.rglob("*") if file.is_file()):
        kept = course.ROOT / "exercises" / file.relative_to(tmp_path)
        assert kept.read_bytes() == file.read_bytes(), f"{kept} is not what `make exercises` makes"
