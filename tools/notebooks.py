"""Run and store the course's notebooks. `course.py notebooks` and `course.py exercises` call this file.

    notebooks.py [NAME …]             run lessons and solutions, store their outputs
    notebooks.py --text [NAME …]      write text copies into .text/, to edit them in any editor
    notebooks.py --exercises [--to DIR]   make the exercises from the solutions

A NAME is a path, or how a notebook's name begins: 04, 04_attention, notebooks/04_attention.ipynb.

A text copy and its notebook are in step when their times of change are equal. The newer of the two wins:
before a notebook runs, a newer text copy goes into it; after that the text copy is written again.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course import write_atomically  # noqa: E402

CELL_TIMEOUT = 600
LARGEST = 1_500_000
PERCENT = {"extension": ".py", "format_name": "percent"}
KEPT_CELL_METADATA = ("deletable", "editable", "jupyter", "nbgrader", "slideshow", "tags")
WIDGET = "application/vnd.jupyter.widget-view+json"
NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


# ---------------------------------------------------------------- one notebook


def run(notebook: NotebookNode, folder: Path) -> None:
    """Execute a notebook as a new learner would: in its folder, with no progress and no trained models."""
    with tempfile.TemporaryDirectory(prefix="course-home-") as home:
        os.environ["COURSE_HOME"] = home
        resources = {"metadata": {"path": str(folder)}}
        NotebookClient(notebook, timeout=CELL_TIMEOUT, kernel_name="python3", resources=resources).execute()


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Remove what differs from run to run or from machine to machine and says nothing to a reader."""
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = nbformat.from_dict(NOTEBOOK_METADATA)
    seen: set[str] = set()
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        cell.source = cell.source.rstrip()
        cell.id = stable_id(cell, seen)
        seen.add(cell.id)
        if cell.cell_type == "code":
            cell.outputs = merge_streams(
                [kept for output in cell.outputs if (kept := without_widget(output))]
            )
    return notebook


def stable_id(cell: NotebookNode, seen: set[str]) -> str:
    """Keep a cell's id; where it is missing or taken, derive one from the text, the same on every machine."""
    own = cell.get("id")
    if own and own not in seen:
        return str(own)
    for number in range(len(seen) + 1):
        made = hashlib.sha256(f"{cell.cell_type}\n{cell.source}\n{number}".encode()).hexdigest()[:8]
        if made not in seen:
            break
    return made


def without_widget(output: NotebookNode) -> NotebookNode | None:
    """Drop the live view of a widget: stored without its state it shows "model not found" to every reader.

    What stays is the widget's text. An output that has nothing else goes.
    """
    if "data" in output:
        output.data.pop(WIDGET, None)
        if not output.data:
            return None
    return output


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring prints: where one print ends and the next begins depends on the kernel's clock."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def read(file: Path) -> NotebookNode:
    # nbformat.read gives missing or double ids a new one by chance; `normalise` does it by the text.
    return nbformat.v4.reads(file.read_text(encoding="utf-8"))


def as_bytes(notebook: NotebookNode) -> bytes:
    nbformat.validate(notebook)
    return (nbformat.writes(notebook).rstrip() + "\n").encode()


def store(notebook: NotebookNode, file: Path) -> None:
    """Write a notebook when more has changed than what stands between ⟦ and ⟧."""
    content = as_bytes(notebook)
    if len(content) > LARGEST:
        print(f"  {file.name} is {len(content) / 1e6:.1f} MB; keep it under {LARGEST / 1e6} MB")
    if not file.exists() or without_measured(file.read_bytes()) != without_measured(content):
        write_atomically(file, content)


def without_measured(content: bytes) -> str:
    return re.sub("⟦[^⟧]*⟧", "", content.decode())


# ---------------------------------------------------------------- text copies


def text_copy(file: Path) -> Path:
    return ROOT / ".text" / file.relative_to(ROOT).with_suffix(".py")


def write_text_copy(file: Path) -> None:
    """Write the text copy of a notebook and give both the same time."""
    notebook = read(file)
    # The notebook's own metadata is the same everywhere: in the text it would only be in the way.
    notebook.metadata = nbformat.from_dict({"jupytext": {"notebook_metadata_filter": "-all"}})
    text = text_copy(file)
    write_atomically(text, jupytext.writes(notebook, fmt=PERCENT).encode())
    same_time(text, file)


def same_time(file: Path, as_of: Path) -> None:
    time = as_of.stat().st_mtime_ns
    os.utime(file, ns=(time, time))


def take_text(file: Path) -> NotebookNode:
    """Return the notebook with the text copy's cells; ids, outputs and nbgrader's marks stay."""
    cells = jupytext.reads(text_copy(file).read_text(encoding="utf-8"), fmt=PERCENT)
    for cell in cells.cells:
        cell.pop("id", None)  # a new cell gets an id from its text, not one by chance
    return combine_inputs_with_outputs(cells, read(file), fmt=PERCENT) if file.exists() else cells


def update(file: Path) -> None:
    """Bring one notebook up to date: take a newer text copy, run, normalise, store, write the text copy."""
    text = text_copy(file)
    taken = text.stat().st_mtime_ns if text.exists() else 0
    newer = taken > (file.stat().st_mtime_ns if file.exists() else 0)
    notebook = take_text(file) if newer else read(file)
    normalise(notebook)
    file.parent.mkdir(parents=True, exist_ok=True)
    run(notebook, file.parent)
    store(normalise(notebook), file)
    if text.exists():
        if newer and text.stat().st_mtime_ns != taken:
            # It was edited while the notebook ran: leave it, and leave it the newer one.
            os.utime(file, ns=(taken, taken))
        else:
            write_text_copy(file)


# ---------------------------------------------------------------- many


def chosen(names: list[str]) -> list[Path]:
    """Return the notebooks that the names mean, and with no names all: lessons first, then solutions."""
    texts = [ROOT / t.relative_to(ROOT / ".text").with_suffix(".ipynb") for t in ROOT.glob(".text/*/**/*.py")]
    present = {*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("solutions/*/*.ipynb"), *texts}
    every = sorted(present, key=lambda file: file.relative_to(ROOT).as_posix())
    if not names:
        return every
    found: list[Path] = []
    for name in names:
        meant = [f for f in every if f == Path(name).resolve() or f == ROOT / name or f.name.startswith(name)]
        if not meant:
            sys.exit(f"No notebook is called {name!r}. There are: {', '.join(f.stem for f in every)}")
        found += meant
    return list(dict.fromkeys(found))


def update_all(names: list[str]) -> int:
    failed = []
    for file in chosen(names):
        print(f"running {file.relative_to(ROOT)}", flush=True)
        try:
            update(file)
        except CellExecutionError as error:
            print(f"{error}\n  {file.name} is left as it was.", flush=True)
            failed.append(file.name)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def make_exercises(target: Path) -> None:
    """Generate every exercise from its solution with nbgrader, and write what differs into `target`."""
    names = sorted(folder.name for folder in (ROOT / "solutions").iterdir() if any(folder.glob("*.ipynb")))
    with tempfile.TemporaryDirectory(prefix="exercises-") as made:
        for name in names:
            command = [sys.executable, "-m", "nbgrader", "generate_assignment", name, "--force", "--no-db"]
            command += [f"--CourseDirectory.release_directory={made}", "--log-level=WARN"]
            subprocess.run(command, cwd=ROOT, check=True)
        fresh: dict[Path, bytes] = {}
        for file in Path(made).rglob("*"):
            if file.is_file() and ".ipynb_checkpoints" not in file.parts:
                is_notebook = file.suffix == ".ipynb"
                content = as_bytes(normalise(read(file))) if is_notebook else file.read_bytes()
                fresh[target / file.relative_to(made)] = content
    for file in [old for name in names for old in (target / name).rglob("*") if old.is_file()]:
        if file not in fresh:
            file.unlink()
    for file, content in fresh.items():
        if not file.exists() or file.read_bytes() != content:
            write_atomically(file, content)
            print(f"wrote {file}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Run and store the course's notebooks.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="04, 04_attention, or a path; all if none")
    parser.add_argument("--text", action="store_true", help="write text copies into .text/")
    parser.add_argument("--exercises", action="store_true", help="make the exercises from the solutions")
    parser.add_argument("--to", type=Path, default=ROOT / "exercises", help="where the exercises go")
    wanted: Any = parser.parse_args()
    if wanted.exercises:
        make_exercises(wanted.to.resolve())
        return 0
    if wanted.text:
        for file in chosen(wanted.names):
            if text_copy(file).exists() and text_copy(file).stat().st_mtime_ns > file.stat().st_mtime_ns:
                print(f"{text_copy(file)} is newer than its notebook; left as it is.")
            else:
                write_text_copy(file)
                print(text_copy(file))
        return 0
    return update_all(wanted.names)


if __name__ == "__main__":
    sys.exit(main())
