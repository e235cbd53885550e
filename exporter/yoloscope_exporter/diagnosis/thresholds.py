"""Thresholds of the diagnosis, from a YAML file; their values and sources stand in `measures.thresholds`."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from yoloscope_exporter import yaml_files
from yoloscope_exporter.language import text
from yoloscope_exporter.measures.thresholds import DEFAULTS, THRESHOLDS, Thresholds
from yoloscope_exporter.yaml_files import SettingsFileError

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
    content = yaml_files.load(path) or {}
    if not isinstance(content, dict):
        raise SettingsFileError(path, text("must be a mapping such as 'input_share: 0.15'"))
    for name in content:
        if name not in SOURCES:
            raise SettingsFileError(
                path,
                text(
                    "unknown threshold {name!r}; allowed are {sources}", name=name, sources=", ".join(sorted(SOURCES))
                ),
            )
    return replace(DEFAULTS, **{name: _number(path, name, value) for name, value in content.items()})


def _number(path: Path, name: str, value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise SettingsFileError(
            path, text("{name} must be a number of 0 or more, not {value!r}", name=name, value=value)
        )
    return number
