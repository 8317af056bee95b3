"""Lesson 00's report names what is wrong and how to mend it, and says the same on every good machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib import environment

GIB = 2**30


def refuse(*names: str):
    def import_module(name: str) -> object:
        if name in names:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return object()

    return import_module


def test_the_courses_own_interpreter_is_a_good_kernel(tmp_path: Path) -> None:
    venv = tmp_path / ".venv"
    venv.mkdir()
    assert environment.check_kernel(str(venv), str(venv / "bin/python"), tmp_path, {}).ok


@pytest.mark.skipif(sys.platform == "win32", reason="links need special rights on Windows")
def test_a_course_reached_through_a_link_is_a_good_kernel(tmp_path: Path) -> None:
    (tmp_path / "real/.venv").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    prefix = str(tmp_path / "link/.venv")
    assert environment.check_kernel(prefix, prefix + "/bin/python", tmp_path / "real", {}).ok


def test_the_conda_environment_of_the_course_is_a_good_kernel(tmp_path: Path) -> None:
    active = {"CONDA_DEFAULT_ENV": "transformer-family", "CONDA_PREFIX": "/opt/conda/envs/x"}
    assert environment.check_kernel("/opt/conda/envs/x", "python", tmp_path, active).ok
    named = tmp_path / "envs/transformer-family"
    (named / "conda-meta").mkdir(parents=True)
    assert environment.check_kernel(str(named), "python", tmp_path, {}).ok


def test_another_conda_environment_is_a_wrong_kernel(tmp_path: Path) -> None:
    other = {"CONDA_DEFAULT_ENV": "base", "CONDA_PREFIX": "/opt/conda"}
    assert not environment.check_kernel("/opt/conda", "python", tmp_path, other).ok


def test_a_wrong_kernel_is_named_with_both_paths_and_the_way_out(tmp_path: Path) -> None:
    finding = environment.check_kernel("/usr", "/usr/bin/python3", tmp_path, {})
    assert not finding.ok
    assert "/usr/bin/python3" in finding.message
    assert str(tmp_path / ".venv") in finding.message
    assert "make lab" in finding.message and "Select Kernel" in finding.message


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 12, 0), (2, 7, 18)])
def test_another_python_version_is_named(version: tuple[int, int, int]) -> None:
    finding = environment.check_python(version)
    assert not finding.ok
    assert ".".join(map(str, version)) in finding.message and "uv python install 3.11" in finding.message


def test_every_patch_of_python_3_11_is_good_and_reads_the_same_outside_the_brackets() -> None:
    findings = [environment.check_python((3, 11, patch)) for patch in (0, 14)]
    assert all(finding.ok for finding in findings)
    assert len({outside_brackets(finding.message) for finding in findings}) == 1


def test_a_missing_package_is_named_and_the_others_are_not() -> None:
    finding = environment.check_packages(("numpy", "tqdm"), refuse("tqdm"))
    assert not finding.ok
    assert "tqdm" in finding.message and "numpy" not in finding.message and ".venv" in finding.message


def test_packages_that_are_all_there_are_counted() -> None:
    assert environment.check_packages(("numpy", "tqdm"), refuse()).message == "all 2 found"


def test_the_packages_looked_for_are_those_that_the_package_declares() -> None:
    import tomllib

    declared = tomllib.loads((environment.COURSE / "pyproject.toml").read_text(encoding="utf-8"))
    project = declared["project"]
    lines = [
        *project["dependencies"],
        *(line for line in project["optional-dependencies"]["lab"] if "d2l" in line),
    ]
    names = {re.split("[<>=]", line)[0] for line in lines}
    assert names == {"torch", *environment.PACKAGES}


def test_a_torch_that_does_not_import_is_reported_with_its_reason() -> None:
    finding = environment.check_torch(refuse("torch"))
    assert not finding.ok and "No module named 'torch'" in finding.message


def test_the_torch_of_this_environment_works() -> None:
    import importlib

    assert environment.check_torch(importlib.import_module).ok


def test_little_memory_is_reported_with_the_menu_that_frees_some() -> None:
    finding = environment.check_memory(int(1.5 * GIB))
    assert not finding.ok
    assert "1.5 GiB" in finding.message and "Shut Down All Kernels" in finding.message


@pytest.mark.parametrize("free", [2 * GIB, 64 * GIB, None])
def test_enough_memory_or_unknown_memory_is_good(free: int | None) -> None:
    finding = environment.check_memory(free)
    assert finding.ok
    assert outside_brackets(finding.message) == "enough for a lesson ⟦⟧"


def test_free_memory_is_measured_here() -> None:
    free = environment.free_memory()
    assert free is not None and 10 * 2**20 < free < 2**50


def test_the_report_prints_one_line_for_each_good_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [environment.Finding("kernel", True, "fine"), environment.Finding("memory", True, "⟦9⟧")]
    monkeypatch.setattr(environment, "check_environment", lambda: good)
    environment.report_environment()
    assert (
        capsys.readouterr().out == "✓ kernel: fine\n✓ memory: ⟦9⟧\n\nEverything the course needs is here.\n"
    )


def test_the_report_names_what_is_to_mend(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = [environment.Finding("kernel", False, "wrong"), environment.Finding("Python", True, "3.11")]
    monkeypatch.setattr(environment, "check_environment", lambda: bad)
    environment.report_environment()
    printed = capsys.readouterr().out
    assert "✗ kernel: wrong" in printed and "To mend: kernel." in printed
    assert "Everything" not in printed


def test_the_report_works_in_a_python_that_has_no_packages_at_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", RUN_BARE, str(environment.COURSE)],
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "✗ packages" in done.stdout and "✗ PyTorch" in done.stdout


RUN_BARE = (
    "import sys; sys.path.insert(0, sys.argv[1]); import course_lib.environment as e; e.report_environment()"
)


def test_torchvision_and_d2l_import_beside_a_torch_it_was_not_built_for() -> None:
    pytest.importorskip("d2l", reason="d2l has no wheels for this Python")
    program = (
        "from course_lib.torchvision_ops import define_missing_torchvision_ops as define\n"
        "define(); define()\n"
        "from d2l import torch as d2l\n"
        "define()\n"
        "assert callable(d2l.show_heatmaps)\n"
    )
    environ = {**os.environ, "MPLBACKEND": "agg"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr


def outside_brackets(text: str) -> str:
    return re.sub("⟦[^⟧]*⟧", "⟦⟧", text)
