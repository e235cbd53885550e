"""Thresholds of the diagnosis from a YAML file: `input_share: 0.15`, one name and number a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from yoloscope_exporter.diagnosis import rules

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path) -> dict[str, float]:
    """All thresholds, those of the file in place of the defaults.

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
        if name not in rules.DEFAULTS:
            raise ValueError(f"{path}: unknown threshold {name!r}; allowed are {', '.join(sorted(rules.DEFAULTS))}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            raise ValueError(f"{path}: {name} must be a number of 0 or more, not {value!r}")
    return {**rules.DEFAULTS, **{name: float(value) for name, value in content.items()}}
