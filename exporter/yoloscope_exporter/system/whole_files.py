"""Files that are written as a whole: at once, or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Settle = Callable[[Path], object]

PREFIX = ".yoloscope-"
_DESCRIPTORS = Path("/proc/self/fd")


def replace(path: Path, texts: Iterable[str], settle: Settle | None = None, newline: str | None = None) -> None:
    """Put a file with `texts`, one after the other, in the place of `path`; what was there stays whole until then.

    It is written in the same folder, and may be read by its owner alone; `settle` gives it another mode or owner before
    it takes the place. Where Linux and the file system can, it has no name until it is whole: whatever ends this
    process, nothing is left of it.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    descriptor = _without_name(path.parent)
    if descriptor is None:
        _replace_by_name(path, texts, settle, newline)
        return
    new = _DESCRIPTORS / str(descriptor)
    with open(descriptor, "w", encoding="utf-8", newline=newline) as file:  # noqa: PTH123 - a descriptor
        file.writelines(texts)
        file.flush()
        if settle:
            settle(new)
        named = path.with_name(f"{PREFIX}{secrets.token_hex(8)}")
        try:
            os.link(new, named, src_dir_fd=descriptor)  # with a descriptor Python has the link to the file followed
        except OSError:  # a file system that gives no names afterwards
            with new.open(encoding="utf-8", newline="") as whole:
                _replace_by_name(path, whole, settle, "")
            return
        _move(named, path)


def _without_name(folder: Path) -> int | None:
    """The descriptor of a new file in `folder`; None where that is not to be had, whyever."""
    if not hasattr(os, "O_TMPFILE") or not _DESCRIPTORS.is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return None


def _replace_by_name(path: Path, texts: Iterable[str], settle: Settle | None, newline: str | None) -> None:
    """The same by a name that nobody can have taken before."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=PREFIX)
    new = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8", newline=newline) as file:  # noqa: PTH123 - a descriptor
            file.writelines(texts)
        if settle:
            settle(new)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    _move(new, path)


def _move(new: Path, path: Path) -> None:
    try:
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
