"""Damages records and stack files as often as it is told, and counts what the readers make of them.

Either something is read or it is refused with one of the known words; anything else ends the run with the seed and the
bytes. The mutator is a plain one: flipped bits, pieces over pieces, numbers at the edges, other JSON, a cut.
"""

from __future__ import annotations

import json
import os
import random
import struct
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_record import catalog, stack_file
from yoloscope_record.file_format import RING_COLUMNS, Identity, RecordError
from yoloscope_record.reader import Reader, read_ring
from yoloscope_record.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable

    Target = Callable[[Path], object]

REASONS = {"size", "magic", "version", "layout", "header", "identity"}
_EDGES = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 256, 4096, 65536, 65537)
_DOUBLES = (float("nan"), float("inf"), -float("inf"), -0.0, 1e308, 5e-324, -1.0, 2.0**53)
_VALUES = (None, True, -1, 1e400, "x" * 300, "\x00", "\u202e", [], {}, [[[[]]]], "train", "0")
_BIG = 200_000


def record(folder: Path) -> bytes:
    """A record with something of everything in it."""
    who = Identity("run", "0")
    writer = Writer(folder / "rank-0.rec", who, {"model": "m", "data": "d"}, slots=64, header=1 << 13, ring=24)
    for metric in (catalog.TRAIN_BATCHES_TOTAL, catalog.TRAIN_BATCH_SIZE):
        writer.slot(metric, who.run, who.rank)
    writer.slot(catalog.TRAIN_LOSS, who.run, who.rank, "box")
    writer.histogram(catalog.TRAIN_STEP_SECONDS, who.run, who.rank)
    for number in range(30):
        writer.append([float(number + 1)] * len(RING_COLUMNS))
    writer.count()
    writer.end(1e9)
    writer.close()
    return (folder / "rank-0.rec").read_bytes()


def stacks() -> bytes:
    """A stack file with a note and an answer."""
    header = {"signal": 45, "pid": 7, "main": "0x00007f3b1c9d4740", "run": "run", "rank": "0"}
    answer = 'Current thread 0x00007f3b1c9d4740 (most recent call first):\n  File "a.py", line 3 in f\n'
    return f"yoloscope-stacks 1 {json.dumps(header)}\n# worker 1 training\n{answer}".encode()


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Some damage."""
    content = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        kind, at = dice.randrange(6), dice.randrange(max(len(content), 1))
        if dice.random() < 0.5:
            at = dice.randrange(min(len(content), 300) or 1)
        if kind == 0 and content:
            content[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            piece = content[dice.randrange(len(content) or 1) :][: dice.randrange(64)]
            content[at : at + len(piece)] = piece
        elif kind == 2:
            content[at : at + 4] = struct.pack("=I", dice.choice(_EDGES))
        elif kind == 3:
            content[at : at + 8] = struct.pack("=d", dice.choice(_DOUBLES))
        elif kind == 4:
            _other_json(content, dice)
        else:
            content = content[: dice.randrange(len(content) + 1)] or bytearray(b"\0")
    return bytes(content)


def _other_json(content: bytearray, dice: random.Random) -> None:
    """Another value somewhere in the JSON, the length that is told with it."""
    start = content.find(b'{"kind"')
    end = content.find(b"\0", start) if start >= 0 else -1
    if end < 0 or len(content) < 256:
        return
    try:
        value = json.loads(content[start:end])
    except ValueError:
        return
    place = value if isinstance(value, dict) else {}
    key = dice.choice([*place, "slots", "facts"])
    if key == "slots" and place.get("slots") and isinstance(place["slots"], list) and dice.random() < 0.8:
        entry = dice.choice(place["slots"])
        if isinstance(entry, list) and entry:
            entry[dice.randrange(len(entry))] = dice.choice(_VALUES)
    else:
        place[key] = dice.choice(_VALUES)
    text = json.dumps(value).encode()[:4096]
    content[start : start + len(text)] = text
    content[48:52] = struct.pack("=I", len(text))


def read_record(path: Path) -> object:
    """Slots, header, ring."""
    found = Reader(path).read()
    read_ring(path)
    return found


def read_stacks(path: Path) -> object:
    """Header and notes."""
    data = path.read_bytes()
    header = stack_file.header_of(data)
    stack_file.check_place(header, "rank-0.stacks", "run")
    return stack_file.notes_of(data[header.length :])


def fuzz(target: Target, data: bytes, times: int, seed: int, path: Path) -> Counter[str]:
    """What came of so many damaged copies, by reason."""
    counts: Counter[str] = Counter()
    for number in range(times):
        damaged = mutated(data, random.Random(seed * _BIG * _BIG + number))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, damaged)
        os.close(descriptor)
        try:
            target(path)
        except RecordError as error:
            if error.reason not in REASONS:
                raise AssertionError(f"seed {seed}, number {number}: {error}") from error
            counts[error.reason] += 1
        except Exception as error:
            raise AssertionError(f"seed {seed}, number {number}: {error!r} of {damaged!r:.2000}") from error
        else:
            counts["read"] += 1
    return counts


def main() -> None:
    """Fuzz, and say what came of it."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else _BIG
    seed = int(time.time())
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        for title, target, data in (
            ("records", read_record, record(folder)),
            ("stack files", read_stacks, stacks()),
        ):
            begun = time.monotonic()
            counts = fuzz(target, data, times, seed, folder / "fuzzed")
            told = ", ".join(f"{reason} {count:,}" for reason, count in counts.most_common())
            sys.stdout.write(f"{title}: {times:,} inputs in {time.monotonic() - begun:.0f} s (seed {seed}): {told}\n")


if __name__ == "__main__":
    main()
