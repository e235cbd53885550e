"""The environment variable that disables the hooks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether `YOLOSCOPE` is off, 0, false or no."""
    return environ.get("YOLOSCOPE", "").lower() in {"off", "0", "false", "no"}
