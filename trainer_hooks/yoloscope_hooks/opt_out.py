"""The environment variables that disable the hooks, or a part of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_OFF = frozenset({"off", "0", "false", "no"})


def disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `YOLOSCOPE` is off, 0, false or no."""
    return environ.get("YOLOSCOPE", "").lower() in _OFF


def stacks_disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """The same of `YOLOSCOPE_STACKS`: no process of a training answers when it is asked what it does."""
    return environ.get("YOLOSCOPE_STACKS", "").lower() in _OFF
