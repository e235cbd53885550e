"""Reads YAML files of settings, with a limit on their size and one error for everything that can be wrong.

The content comes as text, mappings and lists alone: each setting has a type of its own, which reads its text. YAML's
types would only get in the way: a date that does not exist, a number of ten thousand digits, a tag that does not fit.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

from yoloscope_exporter.language import finished, joined, reason, text
from yoloscope_exporter.system import os

if TYPE_CHECKING:
    from pathlib import Path

#: Of settings, or of passwords: hundreds of lines. PyYAML reads some 100 kB a second, and the exporter waits for it.
MAX_BYTES = 1 << 16
MAX_PROBLEM_LENGTH = 1000


class SettingsFileError(ValueError):
    """What is wrong with a file, in one line that names it."""

    def __init__(self, path: Path, problem: object) -> None:
        """Of whatever length and on however many lines the problem is told."""
        self.problem = problem
        told = joined((str(path), finished(str(problem))), ": ")
        line = " ".join(told.split())
        short = told if line == told else line
        super().__init__(short if len(line) <= MAX_PROBLEM_LENGTH else f"{line[:MAX_PROBLEM_LENGTH]}...")


def load(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """The file's content: text, mappings, lists and None.

    Raises:
        SettingsFileError: the file cannot be read, or is not YAML.
    """
    from yoloscope_exporter.yaml_files.parser import parsed  # noqa: PLC0415 - 0.8 MB of PyYAML, for who has a file

    data = read(path)
    try:
        return parsed(data)
    except RecursionError as error:
        raise SettingsFileError(path, text("not readable as YAML: nested too deeply")) from error
    except Exception as error:  # PyYAML has no one error for what it cannot read, and a file may hold anything
        raise SettingsFileError(path, text("not readable as YAML: {error}", error=error)) from error


def read(path: Path) -> bytes:
    """The bytes of a regular file of bearable size.

    Raises:
        SettingsFileError: it is something else, too long, or cannot be read.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:  # a FIFO would block
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise SettingsFileError(path, text("no regular file"))
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise SettingsFileError(path, text("cannot be read: {reason}", reason=reason(error))) from error
    if len(data) > MAX_BYTES:
        raise SettingsFileError(path, text("longer than {max_bytes} bytes", max_bytes=MAX_BYTES))
    return data
