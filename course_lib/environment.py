"""Lesson 00: is this notebook running where the course was installed, and can it work there?

`report_environment()` prints one line a finding. What differs between good machines stands inside ⟦…⟧, so
the stored output of the lesson is the same everywhere; a bad machine gets a ✗ and the way out.
"""

import importlib
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

COURSE = Path(__file__).resolve().parents[1]
CONDA_NAME = "transformer-family"  # as in environment.yml
PACKAGES = ("numpy", "matplotlib", "ipywidgets", "d2l", "filelock", "platformdirs", "safetensors", "tqdm")
NEEDED_PYTHON = (3, 11)
NEEDED_GIB = 2.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at: its name, whether it is as it should be, and what to tell the learner."""

    name: str
    ok: bool
    message: str


def course_home() -> Path:
    """Return the folder of what the course keeps for a learner: progress and trained models.

    It is `COURSE_HOME` where that variable is set, else the user's data directory.
    """
    import platformdirs  # here, for this module must also load where packages are missing

    return Path(
        os.environ.get("COURSE_HOME") or platformdirs.user_data_dir("transformer-family", appauthor=False)
    )


def check_environment() -> list[Finding]:
    """Look at this kernel: interpreter, version, packages, memory."""
    return [
        check_kernel(sys.prefix, sys.executable, COURSE, os.environ),
        check_python(sys.version_info[:3]),
        check_packages(PACKAGES, importlib.import_module),
        check_torch(importlib.import_module),
        check_memory(free_memory()),
    ]


def report_environment() -> None:
    """Print what `check_environment` found; never raises, for it must also work where nothing else does."""
    findings = check_environment()
    for finding in findings:
        print(f"{'✓' if finding.ok else '✗'} {finding.name}: {finding.message}")
    wrong = [finding.name for finding in findings if not finding.ok]
    if wrong:
        print(f"\nTo mend: {', '.join(wrong)}. Begin with the first; the others may come from it.")
    else:
        print("\nEverything the course needs is here.")


def check_kernel(prefix: str, executable: str, course: Path, environ: Mapping[str, str]) -> Finding:
    """Compare the interpreter of this kernel with the one the course was installed into.

    Args:
        prefix: `sys.prefix`, the folder of the environment that runs.
        executable: `sys.executable`, for the message.
        course: the folder of the course, which holds `.venv`.
        environ: environment variables; conda names its active environment there.
    """
    wanted = course / ".venv"
    here = Path(prefix)
    # A Jupyter that was started without `conda activate` tells nothing, so the folder's name decides too.
    named = here.name == CONDA_NAME and (here / "conda-meta").is_dir()
    active = environ.get("CONDA_DEFAULT_ENV") == CONDA_NAME and environ.get("CONDA_PREFIX") == prefix
    if named or active or here.resolve() == wanted.resolve():
        # No path here: it would go into the stored notebook, with the name of whoever ran it last.
        return Finding("kernel", True, f"the course's own Python ⟦{here.name}⟧")
    python = wanted / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    return Finding(
        "kernel",
        False,
        f"this notebook runs with another Python.\n"
        f"    running: ⟦{executable}⟧\n"
        f"    wanted:  ⟦{python}⟧\n"
        "  Close it and start the course with `make lab` (Windows: py course.py lab).\n"
        "  In VS Code choose the wanted one: Select Kernel → Python Environments.",
    )


def check_python(version: Sequence[int]) -> Finding:
    """Require Python 3.11, which d2l's pins need.

    Args:
        version: major, minor and patch number.
    """
    found = ".".join(map(str, version))
    if tuple(version[:2]) == NEEDED_PYTHON:
        return Finding("Python", True, f"3.11 ⟦{found}⟧")
    return Finding("Python", False, f"3.11 is needed, this is ⟦{found}⟧. Get it: uv python install 3.11")


def check_packages(names: Sequence[str], import_module: Callable[[str], object]) -> Finding:
    """Import each package and name those that fail.

    Args:
        names: the packages, as one imports them.
        import_module: what imports; a test passes one that fails.
    """
    broken = []
    for name in names:
        try:
            import_module(name)
        except Exception as error:  # a half-installed package can raise anything
            broken.append(f"{name} (⟦{error}⟧)")
    if not broken:
        return Finding("packages", True, f"all {len(names)} found")
    return Finding(
        "packages",
        False,
        f"missing or broken: {', '.join(broken)}.\n"
        "  Close JupyterLab, delete the folder .venv, and start again with `make lab`.",
    )


def check_torch(import_module: Callable[[str], object]) -> Finding:
    """Multiply two matrices: a torch built for another processor imports well and dies here."""
    try:
        torch = import_module("torch")
        total = (torch.ones(2, 3) @ torch.ones(3, 5)).sum().item()  # type: ignore[attr-defined]
    except Exception as error:
        hint = "  PyTorch has no current build for Intel Macs.\n" if is_intel_mac() else ""
        return Finding(
            "PyTorch",
            False,
            f"does not work here: ⟦{type(error).__name__}: {error}⟧.\n{hint}"
            "  Close JupyterLab, delete the folder .venv, and start again with `make lab`.",
        )
    if total != 30.0:
        return Finding("PyTorch", False, f"computes wrongly: 30 expected, ⟦{total}⟧ found.")
    return Finding("PyTorch", True, f"imports and multiplies ⟦{torch.__version__}⟧")  # type: ignore[attr-defined]


def is_intel_mac() -> bool:
    return sys.platform == "darwin" and platform.machine() == "x86_64"


def check_memory(free_bytes: int | None) -> Finding:
    """Tell whether another notebook fits into memory.

    Args:
        free_bytes: memory that can still be taken, or None where nobody can tell.
    """
    if free_bytes is None:
        return Finding("memory", True, "enough for a lesson ⟦not measured⟧")
    free = free_bytes / 2**30
    if free >= NEEDED_GIB:
        return Finding("memory", True, f"enough for a lesson ⟦{free:.1f} GiB free⟧")
    return Finding(
        "memory",
        False,
        f"⟦{free:.1f} GiB⟧ free, a lesson wants {NEEDED_GIB:.0f} GiB. Each open notebook holds some:\n"
        "  shut the others down (menu Kernel → Shut Down All Kernels…), and close large programs.",
    )


def free_memory() -> int | None:
    """Return the bytes that can still be taken, or None where psutil is not there to ask."""
    try:
        import psutil
    except ImportError:
        return None
    free = int(psutil.virtual_memory().available)
    try:
        # In a container the machine's memory is not all ours.
        return min(free, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit, which says "max"
        return free
