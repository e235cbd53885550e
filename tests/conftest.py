"""Fixtures for every test."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


TABLE = "table"
#: Pictures are of dashboards, which are generated on Python 3.11 or newer.
collect_ignore = ["test_pictures.py"] if sys.version_info < (3, 11) else []
settings.register_profile("busy", deadline=None)  # what an example takes on a shared machine says nothing
settings.load_profile("busy")


def pytest_configure() -> None:
    """English in any locale; and SIGINT and SIGHUP, which a shell or nohup around this lets everybody ignore."""
    os.environ["YOLOSCOPE_LANGUAGE"] = "en"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)  # behind -m, which leaves tests out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first: no process shall begin one when the others have nothing left to do."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


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


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets and for TMPDIR: a socket's path has 107 bytes, and pytest's own folders may have more."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def _new_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One for each test, in a folder of their own: pytest reads the whole of its own before it makes another in it."""
    base = tmp_path_factory.mktemp("records")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _records(_new_folders: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test's records, and what exporters keep over a restart, away from those of this machine."""
    folder = next(_new_folders)
    folder.mkdir()
    monkeypatch.setenv("YOLOSCOPE_DIR", str(folder))
    monkeypatch.setenv("YOLOSCOPE_PATH_STATE", f"{folder}-state")


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """Hand the environment and the signal mask to the next test as they were: what is imported here may set them."""
    environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(environment)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "a signal is left blocked"
