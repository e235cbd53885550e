"""What a rank that died without a last word left in its stack file: the signal it died of, and where it was then."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from yoloscope_record import stack_file
from yoloscope_record.file_format import RecordError

from yoloscope_exporter.collectors.stacks import dump
from yoloscope_exporter.collectors.stacks.finding import PEERS, own_call, place, waits_for
from yoloscope_exporter.collectors.stacks.inquiry import MAX_READ_BYTES, Refused, open_file

if TYPE_CHECKING:
    from pathlib import Path

    from yoloscope_exporter.collectors.stacks.dump import Dump

#: What faulthandler writes first when a process crashes, and of SIGTERM, for which it shows one thread only.
_FATAL = {
    b"Segmentation fault": "SIGSEGV",
    b"Bus error": "SIGBUS",
    b"Aborted": "SIGABRT",
    b"Floating point exception": "SIGFPE",
    b"Illegal instruction": "SIGILL",
}
_END = re.compile(rb"(?m)^(?:Fatal Python error: (.*)|Stack \(most recent call first\):)$")


def ending(directory: Path, rank: str) -> dict[str, str]:
    """Facts about the death of a rank, as far as known: `signal`, `exception_at`, `exception_own`, `waited`."""
    try:
        data, main = _content(directory, rank)
    except (Refused, RecordError, OSError):
        return {}
    found = list(_END.finditer(data))
    if not found:
        return {}
    name = found[-1][1]
    signal = "SIGTERM" if name is None else _FATAL.get(name, "SIGABRT")
    told = dump.parse(_as_threads(data[found[-1].start() :]), main)
    return {"signal": signal, **(_places(told) if told and told.main else {})}


def _content(directory: Path, rank: str) -> tuple[bytes, str]:
    """The end of the rank's file, and its main thread."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        owner = os.fstat(descriptor).st_uid
        file = open_file(stack_file.filename(rank), descriptor, directory.name, owner)
    finally:
        os.close(descriptor)
    try:
        return os.pread(file.descriptor, MAX_READ_BYTES, max(file.begin, file.size - MAX_READ_BYTES)), file.header.main
    finally:
        os.close(file.descriptor)


def _as_threads(data: bytes) -> bytes:
    """A stack of one thread, or of a crash, begins otherwise than the answer to a question."""
    head, _, rest = data.partition(b"\n")
    if head.startswith(b"Stack"):
        return b"Thread 0x0 (most recent call first):\n" + rest
    return rest.lstrip(b"\n")


def _places(told: Dump) -> dict[str, str]:
    frames = told.main.frames if told.main else ()
    places = {"exception_at": place(frames[0]), "exception_own": place(own_call(frames))}
    waited = {"waited": "peers"} if waits_for(frames) == PEERS else {}
    return {name: text for name, text in places.items() if text} | waited
