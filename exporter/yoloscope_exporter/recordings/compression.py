"""The bytes of recordings: gzip members, one per append, the last of which a crash may have cut off, or plain text.

Everything comes in pieces, so that a small file of much content takes no memory.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

PIECE = 1 << 16
GZIP = b"\x1f\x8b"
LONGEST_LINE = 1 << 20
"""Bytes. Ours: the longest line of an exposition has a few labels; what is cut off here is no sample any more."""


def plain(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(end of the last complete line so far, content) for each piece of a text."""
    end = position = 0
    while piece := file.read(PIECE):
        if newline := piece.rfind(b"\n") + 1:
            end = position + newline
        position += len(piece)
        yield end, piece


def unpacked(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """(end of the last complete member so far, content) for each piece; of a member that was cut off, what is there.

    Raises:
        ValueError: what follows is no gzip member.
    """
    end = position = 0
    unpacker = zlib.decompressobj(wbits=31)
    while packed := file.read(PIECE):
        position += len(packed)
        while packed:
            try:
                content = unpacker.decompress(packed, PIECE)
            except zlib.error as error:
                raise ValueError(text("not gzip after byte {end}: {error}", end=end, error=error)) from error
            packed = unpacker.unconsumed_tail
            if unpacker.eof:
                packed = unpacker.unused_data
                end = position - len(packed)
                unpacker = zlib.decompressobj(wbits=31)
            yield end, content


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Complete lines; the last one without its end is left out, for a crash may have cut off a digit of its number."""
    rest = b""
    for piece in pieces:
        *complete, rest = (rest + piece).split(b"\n")
        yield from complete
        rest = rest[:LONGEST_LINE]
