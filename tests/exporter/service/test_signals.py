"""Signals that ask a command to end."""

from __future__ import annotations

import signal

import pytest
from yoloscope_exporter.service.signals import INTERRUPTS, interruptible


@pytest.mark.parametrize("number", INTERRUPTS)
def test_every_interrupt_unwinds_the_stack(number: signal.Signals) -> None:
    """And the handlers are what they were."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
