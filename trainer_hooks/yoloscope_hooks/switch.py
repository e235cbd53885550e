"""Whether the user wants the hooks at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def disabled(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the user said `YOLOSCOPE=off`."""
    return environ.get("YOLOSCOPE", "").lower() in {"off", "0", "false", "no"}
