"""What the images of a training would take in a cache, and how much room its disk has, read once when training begins.

Ultralytics decodes thirty images to find out. Their sizes stand in the labels it has read already, and where they do
not (classification, rect) in the heads of the files.
"""

from __future__ import annotations

import math
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_record import catalog
from yoloscope_record.system import os

from yoloscope_hooks.users_signals import Quietly

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from yoloscope_record.writer import Writer

    Trainer = Any  # duck-typed

    Size = tuple[int, int]  # height, width

SAMPLE = 1000  # images whose size is known already
FILES = 30  # files that are opened, as many as Ultralytics decodes
SECONDS = 0.2  # after which no further file is opened: storage may be very slow
#: Data sets that keep images of a RAM cache at imgsz; classification keeps them as they are.
_RESIZED = frozenset({"detect", "segment", "pose", "obb"})


class Needs(NamedTuple):
    """Bytes that all images take, by the kind of cache."""

    ram: float
    disk: float


def store(trainer: Trainer, writer: Writer, who: tuple[str, str]) -> None:
    """Store what the images would take, and the room for a cache on disk; nothing of data sets of another shape."""
    with Quietly():
        _store_needs(trainer, writer, who)
    with Quietly():
        _store_room(trainer, writer, who)


def _store_needs(trainer: Trainer, writer: Writer, who: tuple[str, str]) -> None:
    found = [needs(dataset, str(trainer.args.task)) for dataset in _datasets(trainer)]
    known = [one for one in found if one is not None]
    if known and len(known) == len(found):
        for kind, size in (("ram", sum(one.ram for one in known)), ("disk", sum(one.disk for one in known))):
            writer.values[writer.slot(catalog.TRAIN_CACHE_NEEDED_BYTES, *who, kind)] = size


def _store_room(trainer: Trainer, writer: Writer, who: tuple[str, str]) -> None:
    folder = os.path.dirname(_files(trainer.train_loader.dataset)[0])
    status = os.statvfs(folder)
    room = status.f_bavail * status.f_frsize if os.access(folder, os.W_OK) else 0
    writer.values[writer.slot(catalog.TRAIN_CACHE_DISK_AVAILABLE_BYTES, *who)] = room


def _datasets(trainer: Trainer) -> Iterator[Any]:
    """Training's and, on the rank that has one, validation's; each of those that one is made of."""
    for name in ("train_loader", "test_loader"):
        dataset = getattr(getattr(trainer, name, None), "dataset", None)
        if dataset is not None:
            yield from getattr(dataset, "datasets", (dataset,))


def needs(dataset: Any, task: str) -> Needs | None:
    """None for a task whose data sets are not known, or where no size can be read."""
    if task not in _RESIZED and task != "classify":
        return None
    files = _files(dataset)
    sizes = _of_labels(dataset) or _of_files(files)
    if not sizes:
        return None
    channels = getattr(dataset, "channels", 3)
    imgsz = dataset.imgsz if task in _RESIZED else None
    factor = len(files) * channels / len(sizes)
    resized = [_resized(size, imgsz) for size in sizes] if imgsz else sizes
    return Needs(factor * sum(h * w for h, w in resized), factor * sum(h * w for h, w in sizes))


def _files(dataset: Any) -> Sequence[str]:
    """Paths of the images; classification has them first in its samples."""
    dataset = getattr(dataset, "datasets", (dataset,))[0]
    return getattr(dataset, "im_files", None) or [sample[0] for sample in dataset.samples]


def _of_labels(dataset: Any) -> list[Size]:
    """A sample of the sizes that labels hold; rect takes them out."""
    labels = _some(getattr(dataset, "labels", ()), SAMPLE)
    return [tuple(label["shape"][:2]) for label in labels if "shape" in label]


def _some(items: Sequence[Any], most: int) -> Sequence[Any]:
    """At most so many, evenly spaced: names are often sorted by where images come from."""
    return [items[index * len(items) // most] for index in range(most)] if len(items) > most else items


def _of_files(files: Sequence[str]) -> list[Size]:
    """Sizes of a sample of the files, from their heads, by Pillow, which Ultralytics has imported."""
    pillow = sys.modules.get("PIL.Image")
    sizes: list[Size] = []
    end = perf_counter() + SECONDS
    for path in _some(files, FILES):
        if pillow is None or perf_counter() > end:
            break
        with pillow.open(path) as image:
            width, height = image.size
        sizes.append((height, width))
    return sizes


def _resized(size: Size, imgsz: int) -> Size:
    """The long side becomes imgsz, as `load_image` does it."""
    height, width = size
    ratio = imgsz / max(height, width)
    if ratio == 1:
        return size
    return min(math.ceil(height * ratio), imgsz), min(math.ceil(width * ratio), imgsz)
