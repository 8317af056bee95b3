"""What every test shares: one thread, no deadline, and what was measured is said at the end of the run."""

import hypothesis
import pytest
import torch

torch.set_num_threads(1)  # our tensors are tiny: more threads would only wait for each other
# The first call of a torch function can take long, and a busy machine is no fault.
hypothesis.settings.register_profile("course", deadline=None)
hypothesis.settings.load_profile("course")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", []):
        for name, said in report.user_properties:
            if name == "measured":
                terminalreporter.write_line(said)
