"""After each run: how many cases each door was tried with, and how much was found there."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    told = [dict(report.user_properties) for report in reports if report.when == "call"]
    doors = [one for one in told if "door" in one]
    if not doors:
        return
    terminalreporter.section("doors tried")
    for one in doors:
        found = f"{one['found']} found" if one["found"] else "nothing found"
        terminalreporter.write_line(f"{one['tried']:>8,}  {one['door']}: {found}")
    tried, found = sum(one["tried"] for one in doors), sum(one["found"] for one in doors)
    terminalreporter.write_line(f"{tried:>8,}  cases in all, {found or 'nothing'} found")
