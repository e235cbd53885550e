"""Fixtures for every test."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


TABLE = "table"
settings.register_profile("busy", deadline=None)  # what an example takes on a shared machine says nothing
settings.load_profile("busy")


def pytest_configure() -> None:
    """English in any locale; and SIGINT and SIGHUP, which a shell or nohup around this lets everybody ignore."""
    os.environ["YOLOSCOPE_LANGUAGE"] = "en"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def require_binary(name: str) -> str:
    """Path of a program from the system's packages; without it the test is skipped, or fails where CI is set."""
    path = shutil.which(name)
    if path is None:
        reason = f"needs the program {name}: see what .ci/run installs"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture
def table(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Shows the reader a text when all tests have ended, whichever process this one ran in."""
    return lambda text: request.node.add_report_section("call", TABLE, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the fixture `table` was given."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    for report in reports:
        texts = [text for name, text in getattr(report, "sections", ()) if name == f"Captured {TABLE} call"]
        if texts and report.when == "call":
            terminalreporter.section(report.nodeid, sep="-")
            terminalreporter.write_line("\n".join(texts))


@pytest.fixture(autouse=True)
def _records(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test's records, and what exporters keep over a restart, away from those of this machine."""
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path_factory.mktemp("records")))
    monkeypatch.setenv("YOLOSCOPE_PATH_STATE", str(tmp_path_factory.mktemp("state")))


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """Hand the environment and the signal mask to the next test as they were: what is imported here may set them."""
    environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(environment)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "a signal is left blocked"
