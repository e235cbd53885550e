"""Facts in records that are more than one value: the loaders' processes, and the slowest files."""

from __future__ import annotations

import re
from contextlib import suppress
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
_SLOW_FILE, _ABOUT = "slow_file_", "_about"


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
    """A file that took long to read and decode, and what it is as far as the loader knows; None or empty if not."""

    seconds: float
    size: int | None  # bytes
    path: str
    computing: float | None = None  # of the seconds, those on a CPU: decoding and resizing; the rest is waiting
    width: int | None = None  # pixels
    height: int | None = None
    form: str = ""  # as Pillow names it: JPEG, PNG, ...
    filesystem: str = ""  # type of the file system it lies on: ext4, nfs4, ...
    repaired: bool = False  # it looks like a JPEG that Ultralytics has written anew because it was corrupt


def slow_file_facts(files: Iterable[SlowFile]) -> dict[str, str]:
    """Two facts for each file: which it is with what it took, and what it is."""
    facts = {}
    for number, file in enumerate(files, 1):
        facts[f"{_SLOW_FILE}{number}"] = _fact(file)
        facts[f"{_SLOW_FILE}{number}{_ABOUT}"] = _about(file)
    return facts


def _fact(file: SlowFile) -> str:
    """A path too long for a fact loses its beginning: files are told apart by their ends."""
    begin = f"{file.seconds:.6g} {'?' if file.size is None else file.size} "
    room = MAX_LABEL_LENGTH - len(begin)
    return begin + (file.path if len(file.path) <= room else "…" + file.path[1 - room :])


def _about(file: SlowFile) -> str:
    computing = "?" if file.computing is None else f"{file.computing:.6g}"
    pixels = "?" if file.width is None or file.height is None else f"{file.width}x{file.height}"
    words = (re.sub(r"[^\w.-]", "", word)[:16] or "?" for word in (file.form, file.filesystem))
    return " ".join([computing, pixels, *words, "repaired" if file.repaired else "?"])


def slow_files(facts: Mapping[str, str]) -> list[SlowFile]:
    """What `slow_file_facts` told; what it cannot have told is left out. Older hooks have told less."""
    numbers = range(1, SLOW_FILES + 1)
    texts = [(facts.get(f"{_SLOW_FILE}{n}", ""), facts.get(f"{_SLOW_FILE}{n}{_ABOUT}", "")) for n in numbers]
    found = ((re.fullmatch(r"([0-9.e+-]{1,20}) (\?|[0-9]{1,20}) (.+)", text), about) for text, about in texts)
    return [file for match, about in found if match and (file := _slow_file(match[1], match[2], match[3], about))]


def _slow_file(seconds: str, size: str, path: str, about: str) -> SlowFile | None:
    try:
        file = SlowFile(float(seconds), None if size == "?" else int(size), path)
    except ValueError:
        return None
    told = re.fullmatch(
        r"(\?|[0-9.e+-]{1,20}) (?:\?|([0-9]{1,9})x([0-9]{1,9})) ([\w.?-]+) ([\w.?-]+) (\?|repaired)", about
    )
    if not told:
        return file
    computing, width, height, form, filesystem, repaired = told.groups()
    with suppress(ValueError):
        file = file._replace(computing=None if computing == "?" else float(computing))
    return file._replace(
        width=None if width is None else int(width),
        height=None if height is None else int(height),
        form="" if form == "?" else form,
        filesystem="" if filesystem == "?" else filesystem,
        repaired=repaired == "repaired",
    )
