"""Writes recordings."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

from yoloscope_exporter.recordings.compression import members
from yoloscope_exporter.recordings.timestamps import stamped
from yoloscope_exporter.sampling.exposition import Form, Renderer

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import BinaryIO

    from yoloscope_exporter.catalog import Sample

EOF = b"# EOF\n"


class Writer:
    """Appends to a recording. A file that is there is continued, what a crash left half written is cut off.

    Raises:
        OSError: the file cannot be opened or written.
        ValueError: the file is no recording.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`; compressed if it ends in `.gz`."""
        self._compressed = path.suffix == ".gz"
        self._declared: set[str] = set()
        self._renderer = Renderer()
        existing = path.read_bytes() if path.exists() else b""
        whole = self._whole(existing)
        self._file: BinaryIO = path.open("r+b" if existing else "wb", buffering=0)
        self._end = len(whole)
        self._file.truncate(self._end)
        self._finish()

    def _whole(self, existing: bytes) -> bytes:
        """The part of the file to append to: complete lines without the end mark, or complete gzip members."""
        if self._compressed:
            parts = members(existing)
            for _, text in parts:
                self._remember(text)
            return existing[: parts[-1][0]] if parts else b""
        text = existing.removesuffix(EOF)
        text = text[: text.rfind(b"\n") + 1]
        if text and not text.startswith((b"#", b"yoloscope_")):
            raise ValueError("it does not begin like a recording")
        self._remember(text)
        return text

    def _remember(self, text: bytes) -> None:
        self._declared.update(
            line.split(b" ", 3)[2].decode() for line in text.splitlines() if line.startswith(b"# TYPE ")
        )

    def samples(self, time: float, samples: Iterable[Sample]) -> None:
        """Append the samples of one moment (Unix seconds)."""
        self.exposition(time, self._renderer.render(list(samples)).get(Form(openmetrics=True)).decode())

    def exposition(self, time: float, text: str) -> None:
        """Append an exposition in OpenMetrics."""
        block = stamped(text, time, self._declared).encode()
        if self._compressed:
            block = gzip.compress(block, mtime=0)
        self._end += self._write(block if self._compressed else block + EOF) - (0 if self._compressed else len(EOF))

    def _finish(self) -> None:
        if not self._compressed:
            self._write(EOF)

    def _write(self, block: bytes) -> int:
        """One write at the end of what is valid, so that a crash tears at most this block."""
        self._file.seek(self._end)
        self._file.write(block)
        return len(block)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
