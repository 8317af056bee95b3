"""A released exercise, run from top to bottom, fails at its unsolved checks, kindly, and nowhere else."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
RELEASED = sorted((ROOT / "exercises").glob("*/*.ipynb"))


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_exactly_the_checks_fail_and_each_says_that_it_is_not_written_yet(path, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook, allow_errors=True, timeout=300, kernel_name="python3", resources=resources
    ).execute()
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        errors = [output for output in cell.outputs if output.output_type == "error"]
        if cell.source.startswith("check("):
            assert [error.ename for error in errors] == ["CheckFailed"], cell.source
            assert errors[0].traceback[0] == "✗ Not written yet: this exercise is waiting for you."
        else:
            assert not errors, cell.source
