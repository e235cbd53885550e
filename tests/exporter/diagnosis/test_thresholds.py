"""Thresholds: defaults with their source, others from a file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.diagnosis.thresholds import DEFAULTS, SOURCES, load

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_replaces_defaults(tmp_path: Path) -> None:
    """Those it names, and no other; an empty one none."""
    file = tmp_path / "t.yaml"
    file.write_text("input_share: 0.15\nplateau_epochs: 20\n")
    assert load(file) == replace(DEFAULTS, input_share=0.15, plateau_epochs=20.0)
    file.write_text("")
    assert load(file) == DEFAULTS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("input_shar: 1", "unknown threshold 'input_shar'; allowed are available_fall_share, "),
        ("input_share: yes", "input_share must be a number of 0 or more, not 'yes'"),
        ("input_share: .nan", "input_share must be a number of 0 or more"),
        ("input_share: -1", "not '-1'"),
        ("- 1", "must be a mapping such as"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_bad_files_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    """It names the file, the threshold and what is allowed."""
    file = tmp_path / "t.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"^[^\n]*$") as raised:
        load(file)
    assert str(raised.value).startswith(f"{file}: ")
    assert said in str(raised.value)


def test_every_threshold_has_a_source() -> None:
    """A number nobody can trace is a guess."""
    assert all(len(source) > 10 for source in SOURCES.values())
