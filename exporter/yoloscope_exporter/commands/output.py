"""Files that commands write."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def write(path: Path, texts: Iterable[str]) -> None:
    """Write `texts`, one after the other, to `path`; a file that was there stays whole until the new one is.

    Raises:
        OSError: it cannot be written, or is there and not a regular file.
    """
    there = path.resolve()
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(there.stat().st_mode):
            raise OSError(None, "not a regular file; leave the option out to print")
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=there.parent, prefix=f".{there.name}.", delete=False
    ) as new:
        try:
            new.writelines(texts)
            new.close()
            Path(new.name).chmod(_mode(there))
            Path(new.name).replace(there)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise


def _mode(path: Path) -> int:
    """Of the file that is there, else what any new file has."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        mask = os.umask(0o022)
        os.umask(mask)
        return 0o666 & ~mask
