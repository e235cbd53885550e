"""What a Python's command line says."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_IGNORES_ENVIRONMENT = re.compile(r"-[^-WXcm]*[IES]")  # what follows -W or -X is no flag


def blind_option(command: Sequence[str]) -> str | None:
    """The option that makes Python ignore PYTHONPATH or its start-up module, if there is one."""
    if not Path(command[0]).name.startswith(("python", "pypy")):
        return None
    options = takewhile(lambda argument: argument.startswith("-") and argument not in {"-c", "-m", "-"}, command[1:])
    return next((one for one in options if _IGNORES_ENVIRONMENT.match(one)), None)
