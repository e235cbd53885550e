"""Signals that ask a command to end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from yoloscope_exporter.service.signals import INTERRUPTS, deferred, interruptible


@pytest.mark.parametrize("number", INTERRUPTS)
def test_every_interrupt_unwinds_the_stack(number: signal.Signals) -> None:
    """And the handlers are what they were."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", INTERRUPTS)
def test_what_is_started_is_not_interrupted_halfway(number: signal.Signals) -> None:
    """The interrupt comes when the block is left; what was started has the usual handlers, and nothing blocked."""
    reached = []

    def start() -> None:
        with interruptible(), deferred():
            signal.raise_signal(number)
            code = "from signal import *; print(pthread_sigmask(SIG_BLOCK, ()), int(getsignal(SIGTERM)))"
            reached.append(
                subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
            )

    with pytest.raises(KeyboardInterrupt):
        start()
    assert reached == ["set() 0\n"]


def test_nohup_holds() -> None:
    """Who has had SIGHUP ignored goes on when the terminal is closed."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
            with deferred():
                signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
