"""What a rank that died without a last word left in its stack file: the signal it died of, and where it was then."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from yoloscope_record import stack_file
from yoloscope_record.file_format import RecordError
from yoloscope_record.system import os

from yoloscope_exporter.collectors.stacks import dump
from yoloscope_exporter.collectors.stacks.finding import PEERS, own_call, place, waits_for
from yoloscope_exporter.collectors.stacks.inquiry import MAX_READ_BYTES, Refused, open_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from yoloscope_exporter.collectors.stacks.dump import Dump

#: What faulthandler writes first when a process crashes, and of SIGTERM and SIGHUP, for which it shows one thread only.
_FATAL = {
    b"Segmentation fault": "SIGSEGV",
    b"Bus error": "SIGBUS",
    b"Aborted": "SIGABRT",
    b"Floating point exception": "SIGFPE",
    b"Floating-point exception": "SIGFPE",  # from Python 3.13 on
    b"Illegal instruction": "SIGILL",
}
_END = re.compile(rb"(?m)^(?:Fatal Python error: (.*)|Stack \(most recent call first\):)$")


class Ending(NamedTuple):
    """What is known of the death of a rank.

    Attributes:
        facts: `signal`, `exception_at`, `exception_own`, `waited`, as far as known.
        time: when the signal came, in Unix seconds; 0 if none is known.
    """

    facts: Mapping[str, str] = MappingProxyType({})
    time: float = 0.0


def ending(directory: Path, rank: str) -> Ending:
    """What the stack files of a rank tell of its death."""
    hangup = _told(directory, stack_file.hangup_filename(rank), "SIGHUP")
    return hangup if hangup.facts else _told(directory, stack_file.filename(rank), "SIGTERM")


def _told(directory: Path, name: str, plain: str) -> Ending:
    """The same by one file; `plain` is the signal that leaves a stack of one thread there."""
    try:
        data, main, time = _content(directory, name)
    except (Refused, RecordError, OSError):
        return Ending()
    found = list(_END.finditer(data))
    if not found:
        return Ending()
    fatal = found[-1][1]
    signal = plain if fatal is None else _FATAL.get(fatal, "SIGABRT")
    told = dump.parse(_as_threads(data[found[-1].start() :]), main)
    return Ending({"signal": signal, **(_places(told) if told and told.main else {})}, time)


def _content(directory: Path, name: str) -> tuple[bytes, str, float]:
    """The end of a file, the main thread of its process, and when it was written last."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        owner = os.fstat(descriptor).st_uid
        file = open_file(name, descriptor, directory.name, owner)
    finally:
        os.close(descriptor)
    try:
        data = os.pread(file.descriptor, MAX_READ_BYTES, max(file.begin, file.size - MAX_READ_BYTES))
        return data, file.header.main, file.changed
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
