"""Caches of the decoded data set, in memory and on disk, where they fit."""

from __future__ import annotations

from typing import NamedTuple

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.gains import predicted
from yoloscope_exporter.diagnosis.advice.settings import image_size, may_cache_in_memory, ranks_here
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.ultralytics_arguments import CACHE_SHARE, DISK_MARGIN
from yoloscope_exporter.language import joined, text, units


def dataset_bytes(s: Signals) -> float | None:
    """Memory of the data set decoded, as `cache=ram` keeps it; every rank of the node keeps its own copy.

    Hooks that do not tell the images' sizes: at most imgsz x imgsz for each, except where they are not resized.
    """
    if s.has(Signals.cache_ram_bytes):
        return s.cache_ram_bytes * ranks_here(s)
    if not s.has(Signals.epoch_images) or s.facts.get("task") == "classify":
        return None
    return s.epoch_images * image_bytes(s) * ranks_here(s)


def image_bytes(s: Signals) -> float:
    """An image as the network sees it, and as a RAM cache keeps it: at most imgsz x imgsz x 3 bytes."""
    return 3 * image_size(s) ** 2


def kept_image_bytes(s: Signals) -> float:
    """An image as a data set of one's own may keep it: as it is decoded where that is known, or as the network sees it.

    What caches need is told of training and validation together, so that this is rather too much.
    """
    known = max(s.get(Signals.cache_ram_bytes), s.get(Signals.cache_disk_bytes))
    images = s.get(Signals.epoch_images)
    return max(known / images if images else 0.0, image_bytes(s))


def _cached(s: Signals, *places: str) -> bool:
    return s.facts.get("cache", "").lower() in places


def is_cached_in_memory(s: Signals) -> bool:
    """Whether Ultralytics keeps the decoded images in memory; a cache that it refused is none."""
    return _cached(s, "ram", "true")


class _CacheSizes(NamedTuple):
    """Bytes of the decoded data set, and how many a RAM cache may take."""

    needed: float
    room: float


def _cache_sizes(s: Signals) -> _CacheSizes | None:
    """None where either is unknown, the images are in memory already, or the version refuses it for this task."""
    needed = dataset_bytes(s)
    if (
        is_cached_in_memory(s)
        or not may_cache_in_memory(s)
        or needed is None
        or not s.has(Signals.memory_available_bytes)
    ):
        return None
    return _CacheSizes(needed, s.memory_available_bytes * CACHE_SHARE)


def cache_in_memory(s: Signals) -> Advice | None:
    """`cache=ram` if the decoded data set fits into what memory is left."""
    sizes = _cache_sizes(s)
    if sizes is None or sizes.needed > sizes.room:
        return None
    note = text(
        "the data set takes {needed} decoded, {room} may be used",
        needed=units.size(sizes.needed),
        room=units.size(sizes.room),
    )
    checks = ("cache of this task and version", "memory")
    return Advice({"cache": "ram"}, note=note, forecast=predicted(s, cache="ram"), checks=checks)


def cache_on_disk(s: Signals) -> Advice | None:
    """`cache=disk`, which spares the decoding and reads more bytes: of use only where storage keeps up.

    None where it does not fit beside the images, or that is not known.
    """
    if _cached(s, "disk", "ram", "true") or not s.has(Signals.cache_disk_bytes, Signals.cache_disk_room_bytes):
        return None
    needed, room = s.cache_disk_bytes * DISK_MARGIN, s.cache_disk_room_bytes
    if needed > room:
        return None
    note = text(
        "it writes {cache_disk_bytes} beside the images, where {room} are free",
        cache_disk_bytes=units.size(s.cache_disk_bytes),
        room=units.size(room),
    )
    note = joined((too_large_for_memory(s), note))
    return Advice({"cache": "disk"}, note=note, forecast=predicted(s, cache="disk"), checks=("free disk",))


def too_large_for_memory(s: Signals) -> str:
    """Why there is no `cache=ram`; empty where that is not the reason."""
    sizes = _cache_sizes(s)
    if sizes is None or sizes.needed <= sizes.room:
        return ""
    needed, room = units.size(sizes.needed), units.size(sizes.room)
    return text(
        "decoded, the data set takes {needed}: too much for cache=ram ({room} may be used)", needed=needed, room=room
    )
