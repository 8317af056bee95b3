#!/usr/bin/env python3
"""Set up and run The Transformer Family. Needs nothing but Python itself.

    python course.py lab             open the lessons in JupyterLab
    python course.py test            run every test: library, checks, notebooks, solutions
    python course.py test-browser    run the lessons in a real browser

For those who write lessons:

    python course.py notebooks       run the notebooks and store their outputs (--text: lay text copies into .text/)
    python course.py exercises       make exercises/ from solutions/
    python course.py bench           run the benchmarks
    python course.py lock            write the versions of this environment into constraints.txt

What follows a command goes on to the program it starts:

    python course.py lab --port 9000
    python course.py test -k masks
"""

# This file must parse under every Python 3 from 3.6 on, so that a wrong Python gets one clear sentence
# and not a syntax error. Everything after `find_python` runs under Python 3.11.

import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence

ROOT = Path(__file__).resolve().parent
NEEDED = (3, 11)
CONDA_NAME = "transformer-family"  # the name in environment.yml
FREE_GB_NEEDED = 4
LAB_EXTRAS = ("lab",)
ALL_EXTRAS = ("lab", "classroom", "dev")
FIRST_LESSON = "notebooks/00_start_here.ipynb"

NO_PYTHON = """\
This course needs Python 3.11; this is Python {found}, and no other was found on this machine.
Get it with one of these, then start again:
  uv python install 3.11                              (any system; uv: https://docs.astral.sh/uv)
  sudo apt install python3.11 python3.11-venv         (Debian 12, Ubuntu 22.04)
  https://www.python.org/downloads/release/python-3119/   (macOS, Windows)"""

NO_VENV = """\
{python} cannot make environments: its parts `venv` and `ensurepip` are missing.
On Debian and Ubuntu:  sudo apt install python3.11-venv
Anywhere:              uv python install 3.11"""


class Stop(Exception):
    """Something the reader can mend; its text is all they see."""


def say(text: str) -> None:
    print(text, flush=True)


# ---------------------------------------------------------------- Python 3.11


def find_python() -> str:
    """Return a Python 3.11 that is not inside an environment, or raise Stop."""
    if sys.version_info[:2] == NEEDED:
        # A venv must not be made by the interpreter of the venv that it replaces.
        return getattr(sys, "_base_executable", None) or sys.executable
    for command in (["python3.11"], ["py", "-3.11"]):
        python = executable_if_needed_version(command)
        if python:
            return python
    if shutil.which("uv"):
        answer = output_of(["uv", "python", "find", "--system", "3.11"])
        python = executable_if_needed_version([answer]) if answer else ""
        if python:
            return python
    raise Stop(NO_PYTHON.format(found=platform.python_version()))


def executable_if_needed_version(command: List[str]) -> str:
    if not shutil.which(command[0]):
        return ""
    question = "import sys; print(sys.executable if sys.version_info[:2] == {} else '')".format(NEEDED)
    return output_of(command + ["-c", question])


def output_of(command: Sequence[str]) -> str:
    """Return what a command prints, or nothing where it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


# ---------------------------------------------------------------- the environment


def prepare_environment(extras: Sequence[str], root: Path = ROOT) -> str:
    """Return the Python of an environment that holds these extras; make or mend it where needed."""
    if in_conda():
        if output_of([sys.executable, "-c", "import course_lib, jupyterlab; print('ok')"]) != "ok":
            raise Stop("The conda environment is unfinished. Run: conda env update -f environment.yml")
        if set(extras) - set(LAB_EXTRAS):
            run_pip(sys.executable, extras, root, options=["--quiet"])
        return sys.executable
    venv = root / ".venv"
    if not is_complete(venv, extras, root):
        with only_one_installs(root) as lock:
            # Whoever had the lock before may have finished the work meanwhile.
            if not is_complete(venv, extras, root):
                install(venv, extras, root, lock)
    return str(python_in(venv))


def in_conda() -> bool:
    """Tell whether this is the environment made from environment.yml, which needs no second one."""
    prefix = os.environ.get("CONDA_PREFIX", "")
    active = os.environ.get("CONDA_DEFAULT_ENV") == CONDA_NAME
    return active and os.path.realpath(prefix) == os.path.realpath(sys.prefix)


def python_in(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if sys.platform == "win32" else venv / "bin" / "python"


def read_stamp(venv: Path) -> Dict[str, Any]:
    """Return what the last finished installation wrote; nothing where none finished."""
    try:
        stamp = json.loads((venv / "course-stamp.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(venv: Path, extras: Sequence[str], root: Path) -> None:
    stamp = {"place": str(venv), "wanted": fingerprint(root), "extras": sorted(extras)}
    write_atomically(venv / "course-stamp.json", json.dumps(stamp, indent=1).encode())


def fingerprint(root: Path) -> str:
    digest = hashlib.sha256()
    for name in ("pyproject.toml", "constraints.txt"):
        # Git may have given a Windows user other line ends; they are not another environment.
        digest.update((root / name).read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def is_usable(venv: Path) -> bool:
    """Tell whether an installation once finished here: not moved since, its interpreter still alive."""
    if read_stamp(venv).get("place") != str(venv):
        return False
    question = "import sys; print(sys.version_info[:2] == {})".format(NEEDED)
    return output_of([str(python_in(venv)), "-I", "-S", "-c", question]) == "True"


def is_complete(venv: Path, extras: Sequence[str], root: Path) -> bool:
    stamp = read_stamp(venv)
    return (
        stamp.get("wanted") == fingerprint(root)
        and set(extras) <= set(stamp.get("extras", []))
        and is_usable(venv)
    )


def install(venv: Path, extras: Sequence[str], root: Path, lock: int) -> None:
    """Install into the venv; make it anew unless the last installation into it finished.

    An installation that was cut off leaves packages that look installed and are not, so nothing of it is
    trusted. pip keeps its finished downloads, so most of the second time is copying.
    """
    stamp_file = venv / "course-stamp.json"
    stamp = stamp_file.read_bytes() if is_usable(venv) else b""
    earlier = read_stamp(venv).get("extras", []) if stamp else []
    wanted = sorted(set(extras) | set(earlier))
    with contextlib.suppress(FileNotFoundError):
        stamp_file.unlink()
    if earlier:
        say("Bringing the environment in .venv up to date; a minute or two.")
    else:
        make_venv(venv, root, lock)
    # Of an update pip would tell 150 lines "already satisfied".
    try:
        run_pip(str(python_in(venv)), wanted, root, lock, ["--quiet"] if earlier else [])
    except Stop:
        # pip gives up before it changes anything: without a network the old environment must not be lost.
        if earlier:
            write_atomically(stamp_file, stamp)
        raise
    write_stamp(venv, wanted, root)
    say("The environment is ready.")


def make_venv(venv: Path, root: Path, lock: int) -> None:
    python = find_python()
    if output_of([python, "-c", "import venv, ensurepip; print('ok')"]) != "ok":
        raise Stop(NO_VENV.format(python=python))
    if venv.exists():
        say("The environment in .venv is unfinished or was moved; making it again.")
        shutil.rmtree(str(venv), ignore_errors=True)
    check_disk(root)
    say("Making the course's environment in .venv: about 2 GB on disk, about 2 to 5 minutes, once.")
    if sys.platform == "linux":
        say("(Linux may take PyTorch's GPU build, some gigabytes more: README.md, 'A smaller PyTorch'.)")
    if run([python, "-m", "venv", "--clear", str(venv)], root, lock) != 0:
        raise Stop("Could not make the environment in .venv; the lines above say why.")


def run_pip(
    python: str, extras: Sequence[str], root: Path, lock: Optional[int] = None, options: Sequence[str] = ()
) -> None:
    command = [python, "-m", "pip", "install", "--disable-pip-version-check", *options]
    if run(command + requirements(extras), root, lock) != 0:
        raise Stop(
            "pip could not install the environment; its last lines say why (often: no network). "
            "Start again when that is mended; finished downloads are kept."
        )


def requirements(extras: Sequence[str]) -> List[str]:
    """Return what pip installs; environment.yml holds the same for `lab`, and a test compares them."""
    return ["-c", "constraints.txt", "-e", ".[{}]".format(",".join(extras))]


def check_disk(root: Path) -> None:
    free = shutil.disk_usage(str(root)).free / 1e9
    if free < FREE_GB_NEEDED:
        raise Stop(
            "The course needs {} GB of free disk; {:.1f} GB are free at {}. "
            "Make room, then start again.".format(FREE_GB_NEEDED, free, root)
        )


@contextlib.contextmanager
def only_one_installs(root: Path) -> Iterator[int]:
    """Hold the installation lock; the system drops it when its holders end, however they end."""
    with open(str(root / ".venv.lock"), "a") as file:
        told = False
        while not try_lock(file.fileno()):
            if not told:
                say("Another start is installing into .venv; waiting until it is done.")
                told = True
            time.sleep(0.3)
        yield file.fileno()


def try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # A disk that knows no locks: better to go on than to wait for ever.
    return True


def run(
    command: Sequence[str], root: Path, lock: Optional[int] = None, more: Optional[Dict[str, str]] = None
) -> int:
    """Run a command in the course's folder and return its exit status."""
    # pip holds the lock too: where this program is killed, pip goes on, and nobody may join it in .venv.
    inherited = () if lock is None or sys.platform == "win32" else (lock,)
    return subprocess.call(
        list(command), cwd=str(root), env=child_environment(**(more or {})), pass_fds=inherited
    )


def child_environment(**more: str) -> Dict[str, str]:
    # Packages and settings of another Python have no business in this one.
    strange = ("PYTHONHOME", "PYTHONPATH", "PIP_USER", "PIP_TARGET", "PIP_PREFIX")
    # A Windows console of another age cannot print the marks of the course unless Python insists.
    kept = {name: value for name, value in os.environ.items() if name not in strange}
    return {**kept, "PYTHONUTF8": "1", **more}


# ---------------------------------------------------------------- lessons and exercises in my/


def copy_lessons(root: Path = ROOT) -> List[str]:
    """Copy lessons and exercises that are missing in my/, never over a file; return what to tell."""
    my = root / "my"
    record_file = my / ".copied.json"
    try:
        record = json.loads(record_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = {}
    before, told, new = dict(record), [], 0
    for original in originals(root):
        name = original.relative_to(root).as_posix()
        content = original.read_bytes()
        now = hashlib.sha256(content).hexdigest()
        copy = my / name
        if not copy.exists():
            write_atomically(copy, content)
            record[name] = now
            new += 1
        elif name not in record:
            record[name] = now
        elif record[name] != now:
            told.append(
                "my/{} is a copy of an older version. To take the new one: rename yours, "
                "then start again.".format(name)
            )
    if record != before:
        write_atomically(record_file, json.dumps(record, indent=1, sort_keys=True).encode())
    if new:
        told.insert(0, "Copied {} new file{} into my/, which is yours.".format(new, "" if new == 1 else "s"))
    return told


def originals(root: Path) -> List[Path]:
    found = list((root / "notebooks").glob("*.ipynb")) + list((root / "exercises").glob("*/**/*"))
    private = (".ipynb_checkpoints", "__pycache__")
    return sorted(f for f in found if f.is_file() and not set(private) & set(f.parts))


def write_atomically(target: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=str(target.parent), prefix=".", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # mkstemp makes files for the owner's eyes only; a notebook is an ordinary file.
        os.chmod(temporary, 0o644)
        os.replace(temporary, str(target))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


# ---------------------------------------------------------------- the commands


def lab(arguments: List[str]) -> int:
    python = prepare_environment(LAB_EXTRAS)
    for line in copy_lessons():
        say(line)
    my = ROOT / "my"
    question = "from jupyter_core.paths import jupyter_runtime_dir; print(jupyter_runtime_dir())"
    runtime = Path(output_of([python, "-c", question]))
    earlier = set(runtime.glob("jpserver-*.json"))
    # Settings of the course (tools/jupyter) and the kernel of its own environment come before the learner's.
    environment = child_environment(
        JUPYTER_CONFIG_PATH=str(ROOT / "tools" / "jupyter"), JUPYTER_PREFER_ENV_PATH="1"
    )
    screen = has_screen()
    command = [python, "-m", "jupyterlab", "--ServerApp.root_dir=" + str(my)]
    command += ["--LabApp.default_url=/lab/tree/" + FIRST_LESSON]
    command += [] if screen else ["--no-browser"]
    command += ["--allow-root"] if is_root() else []
    say("Starting JupyterLab; a few seconds.")
    server = subprocess.Popen(command + arguments, cwd=str(my), env=environment)
    try:
        signal.signal(signal.SIGTERM, stop_politely)
        address = wait_for_address(server, runtime, earlier, my)
        if address:
            say(where_to_look(address, screen and "--no-browser" not in arguments))
        return server.wait()
    except KeyboardInterrupt:
        say("\nStopping JupyterLab. Your work is in my/; start again with the same command.")
        return 0
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait()


def stop_politely(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def wait_for_address(
    server: "subprocess.Popen[bytes]", runtime: Path, earlier: "set[Path]", my: Path
) -> Dict[str, Any]:
    """Return what the server tells of itself: the port is the one it really got."""
    while server.poll() is None:
        for file in set(runtime.glob("jpserver-*.json")) - earlier:
            with contextlib.suppress(OSError, ValueError):
                told = json.loads(file.read_text(encoding="utf-8"))
                if os.path.realpath(told["root_dir"]) == os.path.realpath(str(my)):
                    return dict(told)
        time.sleep(0.1)
    return {}


def where_to_look(server: Dict[str, Any], screen: bool) -> str:
    token = "?token=" + server["token"] if server["token"] else ""
    address = "{}lab/tree/{}{}".format(server["url"], FIRST_LESSON, token)
    lines = ["", "The course is open at", "", "    " + address, ""]
    if not screen:
        port = server["port"]
        lines += ["Open this address in a browser on this machine (in WSL: in Windows)."]
        lines += ["If the browser is on another machine, type there first, then open the same address:", ""]
        lines += ["    ssh -N -L {0}:localhost:{0} you@this-machine".format(port), ""]
    return "\n".join(lines + ["Stop with Ctrl-C. Your work is kept in my/.", ""])


def is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def has_screen() -> bool:
    """Guess whether a browser started here would be seen by the learner."""
    if "SSH_CONNECTION" in os.environ or is_root():
        return False
    if sys.platform != "linux":
        return True
    container = os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")
    wsl = "microsoft" in platform.release().lower()
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(shown) and not container and not wsl


def test(arguments: List[str]) -> int:
    """One pytest run over everything but the browser: style and types are tests too (tests/test_style.py)."""
    python = prepare_environment(ALL_EXTRAS)
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile"]
    # Strict: every stored output is compared, but for what stands between ⟦ and ⟧.
    command += ["--nbval", "--nbval-current-env", "--nbval-cell-timeout", "600"]
    command += ["--nbval-sanitize-with", "tests/notebooks/sanitize.cfg", "--ignore", "tests/browser"]
    if not any((ROOT / argument.split("::")[0]).exists() for argument in arguments):
        command += [name for name in ("tests", "notebooks", "solutions") if (ROOT / name).exists()]
    return run_at_home(command + arguments)


def test_browser(arguments: List[str]) -> int:
    python = prepare_environment(ALL_EXTRAS)
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", *(arguments or ["tests/browser"])]
    return run_at_home(command, COURSE_CHROMIUM=find_chromium())


def run_at_home(command: Sequence[str], **more: str) -> int:
    """Run with an empty COURSE_HOME: the learner's progress must not change what a test sees."""
    home = tempfile.mkdtemp(prefix="course-home-")
    try:
        return run(command, ROOT, more={"COURSE_HOME": home, **more})
    finally:
        shutil.rmtree(home, ignore_errors=True)


def find_chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    programs = ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"]
    programs += ["/Applications/Chromium.app/Contents/MacOS/Chromium"]
    programs += ["C:/Program Files/Google/Chrome/Application/chrome.exe"]
    found = [path for path in map(shutil.which, names) if path] + [p for p in programs if os.path.exists(p)]
    if found:
        return found[0]
    if is_root() and shutil.which("apt-get"):
        say("Installing Chromium with apt-get.")
        run(["apt-get", "update", "-qq"], ROOT)
        wanted = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        if run(wanted, ROOT, more={"DEBIAN_FRONTEND": "noninteractive"}) == 0 and shutil.which("chromium"):
            return str(shutil.which("chromium"))
    raise Stop("The browser tests need Chromium or Chrome. On Debian:  sudo apt install chromium")


def notebooks(arguments: List[str]) -> int:
    python = prepare_environment(ALL_EXTRAS)
    return run_at_home([python, "tools/notebooks.py", *arguments])


def exercises(arguments: List[str]) -> int:
    python = prepare_environment(ALL_EXTRAS)
    return run_at_home([python, "tools/notebooks.py", "--exercises", *arguments])


def bench(arguments: List[str]) -> int:
    return run_at_home([prepare_environment(ALL_EXTRAS), "benchmarks/run.py", *arguments])


def lock(arguments: List[str]) -> int:
    python = prepare_environment(ALL_EXTRAS)
    frozen = output_of([python, "-m", "pip", "freeze", "--exclude-editable"])
    if not frozen:
        raise Stop("pip could not list the environment.")
    versions = locked_versions(frozen.splitlines())
    head = "# Every exact version of the course's environment. Made by `python course.py lock`.\n"
    write_atomically(ROOT / "constraints.txt", (head + "\n".join(versions) + "\n").encode())
    # The environment is by definition what was just written down.
    if python == str(python_in(ROOT / ".venv")):
        write_stamp(ROOT / ".venv", ALL_EXTRAS, ROOT)
    say("constraints.txt: {} versions.".format(len(versions)))
    return 0


def locked_versions(frozen: Sequence[str]) -> List[str]:
    """Keep what holds on every system: no build marks such as +cpu, no GPU libraries, no pip itself."""
    versions = []
    for line in frozen:
        name, equal, version = line.partition("==")
        own = name.lower().replace("_", "-") in ("course-lib", "pip", "setuptools", "wheel", "triton")
        if equal and not own and not name.lower().startswith(("nvidia", "cuda")):
            versions.append(name + "==" + version.split("+")[0])
    return sorted(versions, key=str.lower)


COMMANDS = {
    "lab": lab,
    "test": test,
    "test-browser": test_browser,
    "notebooks": notebooks,
    "exercises": exercises,
    "bench": bench,
    "lock": lock,
}


def main(arguments: List[str]) -> int:
    asked = any(argument in ("-h", "--help", "help") for argument in arguments[:2])
    if asked or not arguments or arguments[0] not in COMMANDS:
        say(str(__doc__).strip())
        return 0 if asked else 2
    try:
        if sys.version_info[:2] != NEEDED:
            return subprocess.call([find_python(), str(ROOT / "course.py"), *arguments])
        return COMMANDS[arguments[0]](arguments[1:])
    except Stop as reason:
        print(reason, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. Nothing is broken: the same command goes on from here.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
