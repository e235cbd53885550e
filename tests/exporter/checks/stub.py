"""A Python that says what a test wants it to have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def python(folder: Path, content: Any = None, *, script: str = "") -> str:
    """The path of a program that answers `content`, by default a Python without torch; or that is `script`."""
    path = folder / "stub-python"
    told = json.dumps({"python": "3.9.1", "versions": {}} if content is None else content)
    path.write_text(f"#!/bin/sh\n{script}\ncat <<'END'\n{told}\nEND\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)
