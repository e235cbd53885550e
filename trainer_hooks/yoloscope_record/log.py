"""What the hooks say: the logger `yoloscope`, of which nothing is raised.

A handler of the user's may raise, and Python's own does once somebody has closed `sys.stderr`.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

_logger = logging.getLogger("yoloscope")


def warning(message: str, *values: Any) -> None:
    """Something is not recorded, or not all of it."""
    _say(logging.WARNING, message, values)


def info(message: str, *values: Any) -> None:
    """Something was removed, or is not kept."""
    _say(logging.INFO, message, values)


def debug(message: str, *values: Any) -> None:
    """Something is not known."""
    _say(logging.DEBUG, message, values)


def _say(level: int, message: str, values: tuple[Any, ...]) -> None:
    with suppress(Exception):
        _logger.log(level, message, *values)
