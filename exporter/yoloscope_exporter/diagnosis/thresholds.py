"""Thresholds of the diagnosis, from a YAML file; their values and sources stand in `measures.thresholds`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import yaml

from yoloscope_exporter.measures.thresholds import DEFAULTS, THRESHOLDS, Thresholds

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DEFAULTS", "SOURCES", "Thresholds", "load"]

#: Where each default comes from.
SOURCES: dict[str, str] = {one.name: THRESHOLDS[one.name].source for one in fields(Thresholds)}


def load(path: Path) -> Thresholds:
    """All thresholds, those of a YAML file (`input_share: 0.15`, one name and number a line) in place of the defaults.

    Raises:
        ValueError: the file cannot be read, names an unknown threshold, or gives no number of 0 or more.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: must be a mapping such as 'input_share: 0.15'")  # noqa: TRY004 - the file's content
    for name, value in content.items():
        if name not in SOURCES:
            raise ValueError(f"{path}: unknown threshold {name!r}; allowed are {', '.join(sorted(SOURCES))}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            raise ValueError(f"{path}: {name} must be a number of 0 or more, not {value!r}")
    return replace(DEFAULTS, **{name: float(value) for name, value in content.items()})
