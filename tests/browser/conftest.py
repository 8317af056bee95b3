"""A real JupyterLab, started as the learner starts it, and a real browser that sees nothing but it.

The tests work on a copy of the lessons in a temporary folder: neither `my/` nor the learner's progress is
touched. `python course.py test-browser` says where Chromium is, in COURSE_CHROMIUM.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.real_lab import Guard, Lab, Notebook, Told, until

ROOT = Path(__file__).resolve().parents[2]

# `course.py lab` of the copy, whole but for the environment: the tests run in it already.
START_LAB = """
import sys
sys.path.insert(0, sys.argv[1])
import course
course.prepare_environment = lambda extras: sys.executable
sys.exit(course.main(["lab", "--no-browser", "--port", sys.argv[2]]))
"""

# ---------------------------------------------------------------- what is told at the end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if Told.screenshots:
        terminalreporter.write_line(f"screenshots: {Told.screenshots}")
    for name, measured in Told.milliseconds.items():
        median = statistics.median(measured)
        terminalreporter.write_line(
            f"{name}: key press to new picture {median:.0f} ms (median of {len(measured)})"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add to a failure what the server said, what the pages complained of, and what they looked like."""
    report = yield
    if report.failed and Told.log:
        report.sections.append(("JupyterLab's log, its end", Told.log.read_text("utf-8", "replace")[-4000:]))
        for notebook in Told.open_notebooks:
            complaints = "\n".join(notebook.guard.errors + notebook.guard.strangers) or "(none)"
            report.sections.append((f"complaints of {notebook.path}", complaints))
            notebook.screenshot(f"failed-{item.name}-{Path(notebook.path).stem}")
    return report


# ---------------------------------------------------------------- the server


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("course")
    shutil.copy(ROOT / "course.py", folder)
    for name in ("notebooks", "exercises", "tools/jupyter"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    own = {
        name: str(tmp_path_factory.mktemp(name.lower()))
        for name in (
            "COURSE_HOME",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
        )
    }
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    Told.log = folder / "jupyterlab.log"
    with Told.log.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-c", START_LAB, str(folder), str(port)],
            # One thread: on a machine of two cores PyTorch's threads and the browser would wait for each other.
            env={**kept, **own, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
    try:
        address = until("the address that course.py prints", lambda: printed_address(server))
        yield Lab(address, folder / "my", Path(own["JUPYTER_RUNTIME_DIR"]))
    finally:
        server.terminate()  # course.py then stops JupyterLab, which stops its kernels
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def printed_address(server: subprocess.Popen[bytes]) -> str | None:
    assert Told.log is not None
    said = Told.log.read_text("utf-8", "replace")
    assert server.poll() is None, f"course.py lab has stopped:\n{said}"
    found = re.search(r"The course is open at\s+(\S+)", said)
    return found[1] if found else None


# ---------------------------------------------------------------- the browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = os.environ.get("COURSE_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.exit("These tests need Chromium; start them with: python course.py test-browser", returncode=1)
    # What the pages ask for is blocked and noted (`Guard`); this is for what the browser itself might ask for.
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    alone = ["--disable-quic", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=program, args=[*quiet, *alone, "--disable-gpu", "--no-sandbox"]
        )
        yield started
        started.close()


# ---------------------------------------------------------------- opening


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    Told.screenshots = tmp_path_factory.mktemp("screenshots")
    return Told.screenshots


@pytest.fixture(scope="module")
def open_notebook(lab: Lab, browser: Browser, screenshots: Path) -> Iterator[Callable[[str], Notebook]]:
    """Open notebooks, each in a browser window of its own; all are closed after the module's tests."""
    opened: list[Notebook] = []

    def open_one(path: str) -> Notebook:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        page, guard = context.new_page(), Guard(lab.origin)
        guard.watch(page)
        opened.append(Notebook(lab, page, guard, path))
        Told.open_notebooks.append(opened[-1])
        opened[-1].open()
        return opened[-1]

    yield open_one
    for notebook in opened:
        Told.open_notebooks.remove(notebook)
        notebook.page.context.close()
