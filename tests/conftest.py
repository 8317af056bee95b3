"""What a test has measured is said at the end of the run, also when tests run in several processes."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("passed", []):
        for name, said in report.user_properties:
            if name == "measured":
                terminalreporter.write_line(said)
