"""Where Ultralytics writes: by its own settings, which it keeps from its first start on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SETTINGS = "Ultralytics/settings.json"
#: Of results, and of data sets that it downloads.
KEYS = ("runs_dir", "datasets_dir")


def written(environ: Mapping[str, str], home: Path, here: Path) -> list[Path]:
    """The folders of results and data sets, one of each disk, or what is there of them; `here` before a first start.

    Args:
        environ: variables that name the folder of the settings.
        home: of the user.
        here: where the training is started.
    """
    settings = next((found for path in _places(environ, home) if (found := _read(path))), {})
    named = [Path(value) for key in KEYS if isinstance(value := settings.get(key), str)] or [here]
    disks: dict[int, Path] = {}
    for folder in map(_there, named):
        disks.setdefault(folder.stat().st_dev, folder)
    return list(disks.values())


def _places(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    """Where the settings may be, on any system."""
    if named := environ.get("YOLO_CONFIG_DIR"):
        yield Path(named).expanduser() / SETTINGS
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / SETTINGS
    yield from (home / folder / SETTINGS for folder in ("AppData/Roaming", "Library/Application Support"))


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
