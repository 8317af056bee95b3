"""course.py sets up the course from nothing, survives interruption, and never touches the learner's work."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import course

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="a Windows venv is not made of links")


# ---------------------------------------------------------------- a wrong Python


def test_course_py_parses_under_python_3_6() -> None:
    source = (course.ROOT / "course.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 6))
    assert "from __future__ import annotations" not in source, "that one needs 3.7"


def test_course_py_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse((course.ROOT / "course.py").read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in names} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("version", [(3, 6, 9), (3, 10, 0), (3, 12, 4)])
def test_a_wrong_python_without_a_right_one_gets_one_clear_message(
    version: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    monkeypatch.setattr(course.platform, "python_version", lambda: ".".join(map(str, version)))
    monkeypatch.setattr(course.shutil, "which", lambda name: None)
    assert course.main(["lab"]) == 1
    told = capsys.readouterr().err
    assert "This course needs Python 3.11; this is Python " + ".".join(map(str, version)) in told
    assert "uv python install 3.11" in told and "apt install python3.11" in told and "python.org" in told
    assert "Traceback" not in told


def test_a_wrong_python_hands_over_to_a_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(course, "find_python", lambda: "/somewhere/python3.11")
    monkeypatch.setattr(course.subprocess, "call", lambda command: started.append(command) or 7)
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    assert course.main(["test", "-k", "masks"]) == 7
    assert started == [["/somewhere/python3.11", str(course.ROOT / "course.py"), "test", "-k", "masks"]]


@posix_only
def test_a_python_3_11_that_does_not_start_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python3.11"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "version_info", (3, 12, 0))
    with pytest.raises(course.Stop, match=r"needs Python 3\.11"):
        course.find_python()


def test_no_command_and_an_unknown_command_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert course.main([]) == 2
    assert course.main(["lba"]) == 2
    assert course.main(["lab", "--help"]) == 0  # and lab copies nothing
    assert course.main(["--help"]) == 0
    assert capsys.readouterr().out.count("Set up and run The Transformer Family.") == 4


def test_ctrl_c_says_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(course.COMMANDS, "lab", interrupted)
    assert course.main(["lab"]) == 130
    assert (
        capsys.readouterr().err.strip() == "Stopped. Nothing is broken: the same command goes on from here."
    )


# ---------------------------------------------------------------- the environment


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course in a path with spaces, outside conda."""
    root = tmp_path / "a path with spaces"
    root.mkdir()
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "constraints.txt").write_text("torch==2.13.0\n")
    monkeypatch.delenv("CONDA_DEFAULT_ENV", raising=False)
    return root


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let venvs be made without pip, which takes seconds, and write down what pip would have done."""
    calls: list[list[str]] = []

    def run(command: list[str], root: Path, lock: int | None = None, more: object = None) -> int:
        calls.append(list(command))
        if "venv" in command:
            return subprocess.call([*command, "--without-pip"], cwd=root)
        return 0

    monkeypatch.setattr(course, "run", run)
    return calls


def installed(calls: list[list[str]]) -> list[str]:
    return [call[-1] for call in calls if "pip" in call]


def venvs_made(calls: list[list[str]]) -> int:
    return sum("venv" in call for call in calls)


def test_a_fresh_start_tells_size_and_minutes_first_and_installs_the_constraints(
    house: Path, pip: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    python = course.prepare_environment(["lab"], house)
    assert Path(python).is_relative_to(house / ".venv")
    assert pip[-1][1:] == ["-m", "pip", "install", "--disable-pip-version-check"] + [
        "-c", "constraints.txt", "-e", ".[lab]",
    ]  # fmt: skip
    first = capsys.readouterr().out.splitlines()[0]
    assert "2 GB" in first and "minutes" in first


def test_a_finished_environment_is_not_touched_again(house: Path, pip: list[list[str]]) -> None:
    course.prepare_environment(["lab"], house)
    before = len(pip)
    started = time.perf_counter()
    course.prepare_environment(["lab"], house)
    assert time.perf_counter() - started < 2
    assert len(pip) == before


def test_lab_after_test_installs_nothing_and_test_after_lab_adds_what_is_missing(
    house: Path, pip: list[list[str]]
) -> None:
    course.prepare_environment(["lab"], house)
    course.prepare_environment(["lab", "classroom", "dev"], house)
    course.prepare_environment(["lab"], house)
    assert installed(pip) == [".[lab]", ".[classroom,dev,lab]"]
    assert venvs_made(pip) == 1


def test_a_change_of_the_pins_is_installed_with_the_extras_that_were_there(
    house: Path, pip: list[list[str]]
) -> None:
    course.prepare_environment(["lab", "dev"], house)
    (house / "constraints.txt").write_text("torch==2.14.0\n")
    course.prepare_environment(["lab"], house)
    assert installed(pip) == [".[dev,lab]", ".[dev,lab]"]
    assert venvs_made(pip) == 1


def test_other_line_ends_are_not_another_environment(house: Path, pip: list[list[str]]) -> None:
    course.prepare_environment(["lab"], house)
    (house / "constraints.txt").write_bytes(b"torch==2.13.0\r\n")
    course.prepare_environment(["lab"], house)
    assert len(installed(pip)) == 1


def test_an_interrupted_installation_is_made_again(
    house: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(course, "run_pip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            course.prepare_environment(["lab"], house)
    (house / ".venv" / "half-copied").write_text("")
    course.prepare_environment(["lab"], house)
    assert venvs_made(pip) == 2
    assert not (house / ".venv" / "half-copied").exists()


def test_an_update_cut_off_in_the_middle_is_made_again(
    house: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    course.prepare_environment(["lab"], house)

    def interrupted(*given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(course, "run_pip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            course.prepare_environment(["lab", "dev"], house)
    course.prepare_environment(["lab"], house)
    assert venvs_made(pip) == 2


@pytest.mark.parametrize("stamp", ["", "{", "[]", '{"place": "elsewhere"}'])
def test_a_venv_with_a_damaged_stamp_is_made_again(stamp: str, house: Path, pip: list[list[str]]) -> None:
    (house / ".venv").mkdir()
    (house / ".venv" / "course-stamp.json").write_text(stamp)
    course.prepare_environment(["lab"], house)
    assert venvs_made(pip) == 1


def test_a_moved_venv_is_made_again(house: Path, pip: list[list[str]]) -> None:
    course.prepare_environment(["lab"], house)
    moved = house.with_name("moved")
    shutil.move(house, moved)
    course.prepare_environment(["lab"], moved)
    assert venvs_made(pip) == 2


@posix_only
def test_a_venv_whose_interpreter_is_gone_is_made_again(house: Path, pip: list[list[str]]) -> None:
    python = Path(course.prepare_environment(["lab"], house))
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    course.prepare_environment(["lab"], house)
    assert venvs_made(pip) == 2


def test_a_failed_pip_leaves_no_stamp_and_says_what_to_do(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "run", lambda command, *rest: 1 if "pip" in command else 0)
    with pytest.raises(course.Stop, match="Start again"):
        course.prepare_environment(["lab"], house)
    assert course.read_stamp(house / ".venv") == {}


def test_an_update_that_finds_no_network_does_not_cost_the_environment(
    house: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    course.prepare_environment(["lab"], house)
    (house / "constraints.txt").write_text("torch==2.14.0\n")
    with monkeypatch.context() as patch:
        patch.setattr(course, "run", lambda command, *rest: 1)
        with pytest.raises(course.Stop, match="no network"):
            course.prepare_environment(["lab"], house)
    course.prepare_environment(["lab"], house)
    assert venvs_made(pip) == 1 and installed(pip) == [".[lab]", ".[lab]"]


def test_too_little_disk_is_said_before_anything_is_made(
    house: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(house)._replace(free=10**9)
    monkeypatch.setattr(course.shutil, "disk_usage", lambda where: usage)
    with pytest.raises(course.Stop, match=r"needs 4 GB of free disk; 1\.0 GB are free"):
        course.prepare_environment(["lab"], house)
    assert pip == []


def test_a_python_without_venv_is_told_the_package_to_install(
    house: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "output_of", lambda command: "")
    with pytest.raises(course.Stop, match="sudo apt install"):
        course.prepare_environment(["lab"], house)
    assert pip == []


@posix_only
def test_two_starts_at_once_install_once(house: Path) -> None:
    """Two processes; what would be pip takes a second and writes down that it ran."""
    program = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import course\n"
        "root = Path(sys.argv[2])\n"
        "def make_venv(venv, root, lock):\n"
        "    import venv as maker; maker.create(str(venv))\n"
        "def run_pip(python, extras, root, lock, options):\n"
        "    open(str(root / 'ran'), 'a').write('x'); time.sleep(1)\n"
        "course.make_venv, course.run_pip = make_venv, run_pip\n"
        "course.prepare_environment(['lab'], root)\n"
    )
    command = [sys.executable, "-c", program, str(course.ROOT), str(house)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [start.communicate(timeout=60)[0] for start in both]
    assert [start.returncode for start in both] == [0, 0]
    assert (house / "ran").read_text() == "x"
    assert sum("Another start is installing" in text for text in told) == 1


@posix_only
def test_the_lock_of_a_killed_start_is_free_again(house: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import course\n"
        "with course.only_one_installs(Path(sys.argv[2])):\n"
        "    print('locked', flush=True); time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(course.ROOT), str(house)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "locked\n"
        with open(house / ".venv.lock", "a") as file:
            assert not course.try_lock(file.fileno())
            holder.kill()
            holder.wait()
            assert course.try_lock(file.fileno())


@posix_only
def test_pip_holds_the_lock_when_course_py_is_killed(house: Path) -> None:
    with course.only_one_installs(house) as lock:
        sleeper = subprocess.Popen(["sleep", "600"], pass_fds=(lock,))
    try:
        with open(house / ".venv.lock", "a") as file:
            assert not course.try_lock(file.fileno())
    finally:
        sleeper.kill()
        sleeper.wait()


def test_another_pythons_settings_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/ros/python")
    monkeypatch.setenv("PIP_USER", "1")
    environ = course.child_environment(COURSE_HOME="x")
    assert "PYTHONPATH" not in environ and "PIP_USER" not in environ
    assert environ["COURSE_HOME"] == "x" and environ["PATH"] == os.environ["PATH"]


def test_the_active_conda_environment_of_the_course_gets_no_venv(
    house: Path, pip: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDA_DEFAULT_ENV", course.CONDA_NAME)
    monkeypatch.setenv("CONDA_PREFIX", sys.prefix)
    monkeypatch.setattr(course, "output_of", lambda command: "ok")
    assert course.prepare_environment(["lab"], house) == sys.executable
    assert pip == [] and not (house / ".venv").exists()


# ---------------------------------------------------------------- my/


@pytest.fixture
def lessons(house: Path) -> Path:
    (house / "notebooks").mkdir()
    (house / "notebooks/04_attention.ipynb").write_text("lesson, first edition")
    (house / "exercises/04_attention").mkdir(parents=True)
    (house / "exercises/04_attention/04_attention.ipynb").write_text("exercise")
    return house


def test_missing_lessons_and_exercises_are_copied(lessons: Path) -> None:
    assert course.copy_lessons(lessons) == ["Copied 2 new files into my/, which is yours."]
    assert (lessons / "my/notebooks/04_attention.ipynb").read_text() == "lesson, first edition"
    assert (lessons / "my/exercises/04_attention/04_attention.ipynb").read_text() == "exercise"
    assert course.copy_lessons(lessons) == []


def test_the_learners_copy_is_never_overwritten(lessons: Path) -> None:
    course.copy_lessons(lessons)
    mine = lessons / "my/notebooks/04_attention.ipynb"
    mine.write_text("my work")
    assert course.copy_lessons(lessons) == []
    (lessons / "notebooks/04_attention.ipynb").write_text("lesson, second edition")
    course.copy_lessons(lessons)
    assert mine.read_text() == "my work"


def test_a_new_edition_is_told_in_one_line_until_it_is_taken(lessons: Path) -> None:
    course.copy_lessons(lessons)
    (lessons / "notebooks/04_attention.ipynb").write_text("lesson, second edition")
    for _ in range(2):
        (told,) = course.copy_lessons(lessons)
        assert told.startswith("my/notebooks/04_attention.ipynb is a copy of an older version.")
        assert "rename yours" in told
    mine = lessons / "my/notebooks/04_attention.ipynb"
    mine.rename(mine.with_name("04_attention_mine.ipynb"))
    assert course.copy_lessons(lessons) == ["Copied 1 new file into my/, which is yours."]
    assert mine.read_text() == "lesson, second edition"
    assert course.copy_lessons(lessons) == []


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("{")])
def test_a_lost_record_of_copies_costs_no_work(lessons: Path, damage: Callable[[Path], object]) -> None:
    course.copy_lessons(lessons)
    (lessons / "my/notebooks/04_attention.ipynb").write_text("my work")
    damage(lessons / "my/.copied.json")
    assert course.copy_lessons(lessons) == []
    assert (lessons / "my/notebooks/04_attention.ipynb").read_text() == "my work"
    assert len(json.loads((lessons / "my/.copied.json").read_text())) == 2


def test_a_copy_that_fails_half_way_leaves_no_file_behind(
    lessons: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(course.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        course.copy_lessons(lessons)
    assert [file for file in (lessons / "my").rglob("*") if file.is_file()] == []


def test_checkpoints_and_caches_are_not_lessons(lessons: Path) -> None:
    for folder in (".ipynb_checkpoints", "__pycache__"):
        (lessons / "exercises/04_attention" / folder).mkdir()
        (lessons / "exercises/04_attention" / folder / "x.ipynb").write_text("")
    assert len(course.originals(lessons)) == 2


# ---------------------------------------------------------------- what the learner sees


SERVER = {"url": "http://localhost:8890/", "port": 8890, "token": "abc"}


def test_without_a_screen_the_true_address_and_the_port_forward_are_printed() -> None:
    told = course.where_to_look(SERVER, screen=False)
    assert "http://localhost:8890/lab/tree/notebooks/00_start_here.ipynb?token=abc" in told
    assert "ssh -N -L 8890:localhost:8890 you@this-machine" in told


def test_with_a_screen_only_the_address_is_printed() -> None:
    told = course.where_to_look(SERVER, screen=True)
    assert "http://localhost:8890/lab/tree/" in told and "ssh" not in told


def test_the_address_comes_from_the_server_that_was_started(tmp_path: Path) -> None:
    class Running:
        def poll(self) -> None:
            return None

    my = tmp_path / "my"
    for number, folder in enumerate(["elsewhere", "my", "my"]):
        told = {**SERVER, "root_dir": str(tmp_path / folder), "port": number}
        (tmp_path / f"jpserver-{number}.json").write_text(json.dumps(told))
    earlier = {tmp_path / "jpserver-1.json"}
    assert course.wait_for_address(Running(), tmp_path, earlier, my)["port"] == 2


def test_an_ssh_session_has_no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "is_root", lambda: False)
    monkeypatch.setattr(course.sys, "platform", "darwin")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert course.has_screen()
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 22")
    assert not course.has_screen()


def test_the_lab_shows_learners_no_teachers_tools_and_asks_the_network_for_nothing() -> None:
    folder = course.ROOT / "tools" / "jupyter"
    server = json.loads((folder / "jupyter_server_config.json").read_text())
    page = json.loads((folder / "labconfig/page_config.json").read_text())
    settings = json.loads((folder / "labconfig/default_setting_overrides.json").read_text())
    assert page["disabledExtensions"]["@jupyter/nbgrader"] is True
    extensions = server["ServerApp"]["jpserver_extensions"]
    assert not any(on for name, on in extensions.items() if name.startswith("nbgrader"))
    assert server["LabApp"]["news_url"] is None
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


def test_the_lock_holds_what_holds_on_every_system() -> None:
    frozen = [
        "torch==2.13.0+cpu",
        "nvidia-cublas-cu12==12.1",
        "Pillow==11.0",
        "course_lib==0.1.0",
        "pip==25.0",
    ]
    frozen += ["course_lib @ file:///here", "attrs==25.1", "triton==3.1"]
    assert course.locked_versions(frozen) == ["attrs==25.1", "Pillow==11.0", "torch==2.13.0"]


def test_the_lock_is_complete_and_names_no_local_build() -> None:
    lines = (course.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert {"torch", "d2l", "jupyterlab", "ipywidgets", "nbgrader", "pytest"} <= set(pins)
    assert not any("+" in version for version in pins.values())


@posix_only
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_works_from_another_directory_and_in_a_path_with_spaces(house: Path, tmp_path: Path) -> None:
    shutil.copy(course.ROOT / "Makefile", house)
    (house / "course.py").write_text("import os, sys; print(os.getcwd(), sys.argv[1:])")
    for target in course.COMMANDS:
        done = subprocess.run(
            ["make", "--no-print-directory", "-C", str(house), target],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == f"{house} ['{target}']", done.stderr
