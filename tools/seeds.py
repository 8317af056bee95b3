"""Run lessons with other seeds and say which of their claims hold every time.

    python tools/seeds.py [NAME …] [--shifts 0,1000,2000]

Every seed of a lesson (torch's, a generator's, Python's) is shifted by the same number. A claim about one drawn
example may fail for another draw; a claim about a method should not. Too slow for `make test`: for those who
write lessons.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def shift_seeds(shift: int) -> None:
    """Add `shift` to every seed that is set from now on."""
    import torch

    class Shifted(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            return super().manual_seed(seed + shift)

    set_seed = torch.manual_seed

    class ShiftedRandom(random.Random):
        def __init__(self, seed: Any = None):
            super().__init__(seed + shift if isinstance(seed, int) else seed)

    torch.Generator = Shifted  # type: ignore[misc]
    torch.manual_seed = lambda seed: set_seed(seed + shift)
    random.Random = ShiftedRandom  # type: ignore[assignment,misc]


def measure(notebook: Path, shift: int) -> dict[str, str]:
    """Run a lesson's code with shifted seeds; return each claim's verdict, and what stopped the lesson."""
    import IPython
    from IPython.core.interactiveshell import InteractiveShell

    from course_lib import claims

    shift_seeds(shift)
    verdicts: dict[str, str] = {}
    stated = claims.claim

    def noted(text: str, measured: Any, **bounds: Any) -> None:
        try:
            stated(text, measured, **bounds)
            verdicts[text] = "✓"
        except claims.ClaimFailed as failed:
            verdicts[text] = f"✗ {failed}"

    claims.claim = noted
    IPython.get_ipython = lambda: None  # cells may ask where they run
    shell = InteractiveShell.instance()
    os.chdir(notebook.parent)
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                result = shell.run_cell("".join(cell["source"]))
            problem = result.error_before_exec or result.error_in_exec
            if problem is not None:
                verdicts["(stopped)"] = f"✗ {type(problem).__name__}: {problem}"
                break
    return verdicts


def main() -> int:
    """Run each lesson once per shift, each in a process of its own, and print the claims that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="how a lesson's name begins: 04")
    parser.add_argument("--shifts", default="0,1000,2000")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(Path(arguments.one[0]), int(arguments.one[1]))))
        return 0
    failed = 0
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if arguments.names and not notebook.name.startswith(tuple(arguments.names)):
            continue
        for shift in arguments.shifts.split(","):
            started = time.time()
            with tempfile.TemporaryDirectory() as home:
                answer = subprocess.run(
                    [sys.executable, __file__, "--one", str(notebook), shift],
                    env=os.environ | {"COURSE_HOME": home},
                    stdout=subprocess.PIPE,
                    check=True,
                    text=True,
                ).stdout
            verdicts = json.loads(answer.splitlines()[-1])
            wrong = {text: verdict for text, verdict in verdicts.items() if verdict != "✓"}
            failed += len(wrong)
            held = f"{len(verdicts) - len(wrong)} of {len(verdicts)} claims hold"
            print(f"{notebook.stem}, seeds + {shift}: {held} ({time.time() - started:.0f} s)", flush=True)
            for verdict in wrong.values():
                print(f"    {verdict}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
