"""Files of settings: what they give, and the one error for all that can be wrong with them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter import yaml_files
from yoloscope_exporter.yaml_files import SettingsFileError

if TYPE_CHECKING:
    from pathlib import Path


def test_text_mappings_lists_and_nothing(tmp_path: Path) -> None:
    """YAML's types are left to the settings; an alias may repeat text."""
    file = tmp_path / "settings.yml"
    file.write_text("a: 2001-99-99\nb: !!int x\nc: [1.50, off]\nd:\ne: ''\nf: &f 0x1F\ng: *f\n? ~\n: {h: null}\n")
    assert yaml_files.load(file) == {
        "a": "2001-99-99",
        "b": "x",
        "c": ["1.50", "off"],
        "d": None,
        "e": "",
        "f": "0x1F",
        "g": "0x1F",
        None: {"h": None},
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: [", "not readable as YAML: while parsing"),
        (b"a: \xff", "not readable as YAML: "),
        (b"a: b\0", "not readable as YAML: unacceptable character"),
        (b"[" * 20_000, "not readable as YAML: nested too deeply"),
        (b"a: &a [*a]", "an alias may repeat text only"),
        (b"&a {b: *a}", "an alias may repeat text only"),
        (b"? [a]\n: b\n", "found unhashable key"),
        (b"a: 1\n---\nb: 2\n", "expected a single document"),
        (b"#" * ((1 << 16) + 1), "longer than 65536 bytes"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, content: bytes, problem: str) -> None:
    """It names the file and the problem."""
    file = tmp_path / "settings.yml"
    file.write_bytes(content)
    with pytest.raises(SettingsFileError) as raised:
        yaml_files.load(file)
    said = str(raised.value)
    assert said.startswith(f"{file}: ")
    assert problem in said
    assert "\n" not in said


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    """A FIFO would be waited for, for ever."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SettingsFileError, match="no regular file"):
        yaml_files.load(tmp_path / "fifo")
    with pytest.raises(SettingsFileError, match="cannot be read: Is a directory"):
        yaml_files.load(tmp_path)
    with pytest.raises(SettingsFileError, match="cannot be read: No such file"):
        yaml_files.load(tmp_path / "nothing")


def test_the_longest_file_is_read_in_seconds(tmp_path: Path) -> None:
    """A scrape waits for it."""
    file = tmp_path / "settings.yml"
    file.write_text("".join(f"{number:x}: \n" for number in range(9000)))
    start = time.thread_time()
    assert len(yaml_files.load(file)) == 9000
    assert time.thread_time() - start < 10


def test_a_long_problem_is_cut(tmp_path: Path) -> None:
    """The log keeps its lines bearable."""
    assert len(str(SettingsFileError(tmp_path, "x" * 50_000))) < 1100
