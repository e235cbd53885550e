"""Recordings as gzip members, one per append, the last of which a crash may have cut off."""

from __future__ import annotations

import zlib

_CHUNK = 1 << 16


def members(data: bytes) -> list[tuple[int, bytes]]:
    """(end, content) of each complete gzip member."""
    found, content, consumed = [], b"", 0
    unpacker = zlib.decompressobj(wbits=31)
    while consumed < len(data):
        chunk = data[consumed : consumed + _CHUNK]
        try:
            content += unpacker.decompress(chunk)
        except zlib.error:
            break
        consumed += len(chunk) - len(unpacker.unused_data)
        if unpacker.eof:
            found.append((consumed, content))
            unpacker, content = zlib.decompressobj(wbits=31), b""
    return found


def first_part(data: bytes) -> bytes:
    """What can be had of a single gzip member that was cut off."""
    try:
        return zlib.decompressobj(wbits=31).decompress(data)
    except zlib.error as error:
        raise ValueError(f"not a gzip file: {error}") from error
