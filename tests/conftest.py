"""Fixtures for every test."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


def require_binary(name: str) -> str:
    """Path of a program from the system's packages; without it the test is skipped, or fails where CI is set."""
    path = shutil.which(name)
    if path is None:
        reason = f"needs the program {name}: apt-get install prometheus prometheus-alertmanager gcc"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(autouse=True)
def _records(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test's records away from those of this machine."""
    monkeypatch.setenv("YOLOSCOPE_DIR", str(tmp_path_factory.mktemp("records")))


@pytest.fixture(autouse=True)
def _process() -> Iterator[None]:
    """Hand the environment and the signal mask to the next test as they were: what is imported here may set them."""
    environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(environment)
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "a signal is left blocked"
