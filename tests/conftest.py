"""What all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import settings

from pfa_flux.settings import file as settings_file
from tests.cli import NO_SYSTEM_FILE

pytest_plugins = ["tests.engines.plugin"]

# Fixed seeds and no deadline: the machines are shared, and a run must be the same as the last.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_configure() -> None:
    """Let SIGHUP end what tests start, even under nohup, which has it ignored here and in every child."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


NEW = ("influxdb-2.9", "influxdb-1.12")
OTHERS = (*NEW, "influxdb-1.8", "kapacitor")
_APART = {"test_flux_on_servers.py", "test_detect.py", "test_original_query.py"}
"""Tests of what tells servers apart."""
_CONTRACT = {
    *("test_blocked_ratio.py", "test_install_task.py", "test_task_life.py", "test_upgrade_server.py"),
    *("test_backfill.py", "test_floats_in_the_target.py", "test_ledger.py", "test_ledger_at_random.py"),
    *("test_engines.py", "test_late_month.py", "test_first_look.py", "test_rights.py", "test_copy.py"),
    *("test_dashboards.py", "test_dashboards_installed.py"),
}
"""Tests of what every server has to do."""
_WORDS = {
    *("test_init.py", "test_init_files.py", "test_init_terminal.py", "test_task_cli.py", "test_task_cli_sides.py"),
    *("test_cli.py", "test_doctor.py"),
}
"""Tests of what commands print. On 1.8 and Kapacitor, documents run them, and the contract has what they do."""
_COMMANDS = {
    *_WORDS,
    *("test_demo.py", "test_upgrade_server.py", "test_store_check.py", "test_names_in_answers.py"),
    *("test_analysis.py", "test_quarantine.py"),
}
"""Tests of what is hardly the servers' business: there 2.7 and what needs no server stand for all, ordinarily."""

_QUESTIONS = {
    *("test_names_in_answers.py", "test_analysis.py", "test_answer.py", "test_answer_in_commands.py", "test_cli.py"),
    *("test_quarantine.py", "test_demo.py", "test_blocked_ratio.py", "test_sources.py", "test_one_read.py"),
}
"""Tests of questions, which with Kapacitor go to an InfluxDB 1.8."""

_LATER = {
    *("test_live_in_chromium.py", "test_ledger_at_random.py", "test_flood.py", "test_task_faults.py"),
    *("test_original_query.py", "test_purge_and_clocks.py"),
}
"""Tests with a browser, at random, of attacks and of clocks: they take long, and README's command has ten minutes."""

_LONG = 120
"""Seconds of a run that is long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has a twin on another server: on 2.9 what runs on 2.7, on 1.12 what runs on 1.8, too.

    The continuous integration runs those of what every server has to do (`slow`); others are for a release (`twin`).
    """
    for item in items:
        given, name = getattr(item, "callspec", None), item.path.name
        if name in _LATER:
            item.add_marker(pytest.mark.slow)
        if given is None or name in _APART:
            continue
        twins = OTHERS if name in _COMMANDS else NEW
        values = [str(value) for value in given.params.values()]
        if any(value.startswith(twins) for value in values):
            item.add_marker(pytest.mark.slow)
        other = (
            *(NEW if name not in _CONTRACT else ()),
            *(("kapacitor",) if name in _QUESTIONS else ()),
            *(OTHERS if name in _WORDS else ()),
        )
        if any(value.startswith(other) for value in values):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.twin)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After a long run, the seconds of the files that took longest."""
    seconds: dict[str, float] = {}
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            seconds[report.location[0]] = seconds.get(report.location[0], 0.0) + report.duration
    if sum(seconds.values()) > _LONG:
        terminalreporter.section(f"seconds by file, {sum(seconds.values()):.0f} in all")
        for file in sorted(seconds, key=lambda name: -seconds[name])[:25]:
            terminalreporter.write_line(f"{seconds[file]:6.0f} {file}")


@pytest.fixture(scope="session", autouse=True)
def one_date() -> Iterator[None]:
    """The date that answers made in this process carry, so that two of them can be compared byte by byte."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pfa_flux.pixel.http.formatdate", lambda **_: DATE)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_this_machine() -> Iterator[None]:
    """Whatever is in /etc, no test reads it: neither in this process nor in those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings_file, "SYSTEM_FILE", Path(NO_SYSTEM_FILE))
        patch.setenv(settings_file.SYSTEM_VARIABLE, NO_SYSTEM_FILE)
        yield


DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
