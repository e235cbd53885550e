"""A small part of `python -m tests.faults.values`."""

from __future__ import annotations

import pytest

from tests.faults import values


@pytest.mark.parametrize("seed", range(2))
def test_whatever_a_record_says_hurts_nobody_else(seed: int) -> None:
    """No exception, no number that JSON has not, and no rule that fails for the honest run."""
    values.life(seed)
