"""Files that are written as a whole: at once, or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def replace(
    path: Path, texts: Iterable[str], settle: Callable[[Path], object] | None = None, newline: str | None = None
) -> None:
    """Put a file with `texts`, one after the other, in the place of `path`; what was there stays whole until then.

    It is written beside it, by a name that nobody can have taken before, and may be read by its owner alone; `settle`
    gives it another mode or owner before it takes the place.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".yoloscope-")
    new = Path(name)
    try:
        with open(descriptor, "w", encoding="utf-8", newline=newline) as file:  # noqa: PTH123 - a descriptor
            file.writelines(texts)
        if settle:
            settle(new)
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
