"""Facts in records that are more than one value: the loaders' processes, and the slowest files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record.file_format import MAX_LABEL_LENGTH

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

#: Facts of a rank: pids of the processes of its training and its validation loader, in its own PID namespace.
LOADER_PIDS, VAL_LOADER_PIDS = "loader_pids", "val_loader_pids"
#: That a loader has no processes is known; an empty fact says that it is not known.
NONE = "none"
PIDS_IN_FACT = 32  # of seven digits (the kernel's most) with commas in between; the rest in a fact `..._2` and so on
SLOW_FILES = 5
_SLOW_FILE = "slow_file_"


def pid_facts(name: str, pids: Collection[int] | None) -> dict[str, str]:
    """Facts that tell `pids`; None means that they are not known."""
    if not pids:
        return {name: "" if pids is None else NONE}
    words = [str(pid) for pid in pids]
    parts = [",".join(words[first : first + PIDS_IN_FACT]) for first in range(0, len(words), PIDS_IN_FACT)]
    return {_numbered(name, number): part for number, part in enumerate(parts, 1)}


def pids(facts: Mapping[str, str], name: str) -> frozenset[int] | None:
    """What `pid_facts` told; None if nothing is known."""
    if not facts.get(name):
        return None
    words: list[str] = []
    number = 1
    while text := facts.get(_numbered(name, number)):
        words += text.split(",")
        number += 1
    return frozenset(int(word) for word in words if re.fullmatch("[1-9][0-9]{0,9}", word))


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}_{number}"


class SlowFile(NamedTuple):
    """A file that took long to read and decode."""

    seconds: float
    size: int | None  # bytes; None where the file could not be asked
    path: str


def slow_file_facts(files: Iterable[SlowFile]) -> dict[str, str]:
    """One fact for each file."""
    return {f"{_SLOW_FILE}{number}": _fact(file) for number, file in enumerate(files, 1)}


def _fact(file: SlowFile) -> str:
    """A path too long for a fact loses its beginning: files are told apart by their ends."""
    begin = f"{file.seconds:.6g} {'?' if file.size is None else file.size} "
    room = MAX_LABEL_LENGTH - len(begin)
    return begin + (file.path if len(file.path) <= room else "…" + file.path[1 - room :])


def slow_files(facts: Mapping[str, str]) -> list[SlowFile]:
    """What `slow_file_facts` told; what it cannot have told is left out."""
    texts = (facts.get(f"{_SLOW_FILE}{number}", "") for number in range(1, SLOW_FILES + 1))
    found = (re.fullmatch(r"([0-9.e+-]{1,20}) (\?|[0-9]{1,20}) (.+)", text) for text in texts)
    return [file for match in found if match and (file := _slow_file(*match.groups()))]


def _slow_file(seconds: str, size: str, path: str) -> SlowFile | None:
    try:
        return SlowFile(float(seconds), None if size == "?" else int(size), path)
    except ValueError:
        return None
