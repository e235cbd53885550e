"""Writes recordings."""

from __future__ import annotations

import gzip
import stat
from contextlib import suppress
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.language import text
from yoloscope_exporter.recordings.compression import lines, plain, unpacked
from yoloscope_exporter.recordings.timestamps import stamped
from yoloscope_exporter.sampling.exposition import Form, Renderer
from yoloscope_exporter.system import claim, os

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from yoloscope_exporter.catalog import Sample

EOF = b"# EOF\n"
#: Of a recording's first line: many other files begin with a `#`.
_BEGINNINGS = (EOF.rstrip(), *(f"{word}{catalog.PREFIX}".encode() for word in ("# HELP ", "# TYPE ", "# UNIT ", "")))


class Writer:
    """Appends to a recording, which is locked meanwhile.

    A file that is there is continued; what a crash left half written is cut off.

    Raises:
        OSError: the file cannot be opened or written.
        ValueError: the file is no recording, not a regular file, or has a writer already.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`; compressed if it ends in `.gz`."""
        self._compressed = path.suffix == ".gz"
        self._declared: set[str] = set()
        self._renderer = Renderer()
        self._file = _opened(path)
        try:
            self._end = self._resume()
            self._file.truncate(self._end)
            self._finish()
        except BaseException:
            self._file.close()
            raise

    def _resume(self) -> int:
        """Where to go on: after the last complete line or member, before the end mark."""
        size = os.fstat(self._file.fileno()).st_size
        whole = 0

        def pieces() -> Iterator[bytes]:
            nonlocal whole
            for whole, piece in unpacked(self._file) if self._compressed else plain(self._file):  # noqa: B007
                yield piece

        found = lines(pieces())
        first = next(found, b"")
        if size and not first.startswith(_BEGINNINGS):
            raise ValueError(text("it does not begin like a recording"))
        for line in chain((first,), found):
            if line.startswith(b"# TYPE "):
                self._declared.add(line.split(b" ", 3)[2].decode())
        if self._compressed and whole < size and not self._is_one_append(whole):
            raise ValueError(
                text("its last part, from byte {end} on, is cut off and holds several snapshots", end=whole)
            )
        return whole - len(EOF) if self._ends_with_mark(whole) else whole

    def _is_one_append(self, start: int) -> bool:
        """Whether what was cut off is an append of ours, of one moment: others may compress everything as one."""
        self._file.seek(start)
        values = (line for line in lines(piece for _, piece in unpacked(self._file)) if line and line[:1] != b"#")
        moments = (line.rpartition(b" ")[2] for line in values)
        return all(one == other for one, other in pairwise(moments))

    def _ends_with_mark(self, whole: int) -> bool:
        if self._compressed or whole < len(EOF):
            return False
        self._file.seek(whole - len(EOF))
        return self._file.read(len(EOF)) == EOF

    def samples(self, time: float, samples: Iterable[Sample]) -> None:
        """Append the samples of one moment (Unix seconds)."""
        self.exposition(time, self._renderer.render(list(samples)).get(Form(openmetrics=True)).decode())

    def exposition(self, time: float, text: str) -> None:
        """Append an exposition in OpenMetrics; what fails leaves the file as it was.

        Raises:
            OSError: it cannot be written.
        """
        declared = set(self._declared)
        block = stamped(text, time, self._declared).encode()
        if self._compressed:
            block = gzip.compress(block, mtime=0)
        try:
            self._write(block if self._compressed else block + EOF)
        except OSError:
            self._declared = declared
            with suppress(OSError):
                self._file.truncate(self._end)
                self._finish()
            raise
        self._end += len(block)

    def _finish(self) -> None:
        if not self._compressed:
            self._write(EOF)

    def _write(self, block: bytes) -> None:
        """Write at the end of what is valid, in one go where the disk has room, so that a crash tears this block only.

        A write may take a part of it and say nothing: the next one says why.
        """
        self._file.seek(self._end)
        left = memoryview(block)
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _opened(path: Path) -> BinaryIO:
    """The file for reading and writing, made where it is not there, for this process alone."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NONBLOCK
    file = open(os.open(path, flags, 0o666), "r+b", buffering=0)  # noqa: PTH123, SIM115 - closed by the writer
    try:
        _claim(file)
    except BaseException:
        file.close()
        raise
    return file


def _claim(file: BinaryIO) -> None:
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        raise ValueError(text("it is not a regular file"))
    try:
        claim(file.fileno())
    except BlockingIOError as error:
        raise ValueError(text("another process is recording to it")) from error
    except OSError:  # a file system without locks
        return
