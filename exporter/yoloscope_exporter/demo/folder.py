"""The demo's folder: made by it, marked by it, and only then emptied by it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MARKER = ".yoloscope-demo"
"""A folder without this file is somebody else's."""
_TOLD = "This folder was made by `yoloscope demo`, which replaces what it wrote here each time it is started.\n"


class OccupiedError(Exception):
    """There are files in the folder, and no demo has put them there."""


def prepare(output: Path) -> Path:
    """Make the folder, or clear what an earlier demo recorded in it; return its real path.

    Raises:
        OccupiedError: it holds other files; nothing was changed.
        OSError: it cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    root = output.resolve()
    _claim(root)
    for name in ("records", "demo.om"):
        remove(root / name)
    (root / "records").mkdir()
    return root


def _claim(root: Path) -> None:
    marker = root / MARKER
    if marker.is_file() and not marker.is_symlink():
        return
    if any(root.iterdir()):
        raise OccupiedError
    marker.write_text(_TOLD, encoding="utf-8")


def remove(path: Path) -> None:
    """Delete a file, a link (never what it leads to) or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
