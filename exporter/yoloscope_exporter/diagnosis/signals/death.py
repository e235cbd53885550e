"""What was the matter with the node when a rank died: its GPU, and what makes a kubelet evict pods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.arithmetic import ratio
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.measures.series import Window
from yoloscope_exporter.measures.thresholds import MORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View

METRICS = (
    catalog.GPU_UP,
    catalog.GPU_XID_ERRORS_TOTAL,
    catalog.FILESYSTEM_AVAILABLE_BYTES,
    catalog.FILESYSTEM_SIZE_BYTES,
)

#: Seconds after a death in which the driver may still tell why: a lost GPU is looked for every ten intervals.
AFTERWARDS = 30.0
#: File systems that a kubelet watches, where they are mounted on their own: its own, and those of the runtimes.
_NODEFS = (
    "/",
    "/var",
    "/var/lib",
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
)


class DeathSignals:
    """Of a rank that failed or was killed, between its last batch and half a minute after its death."""

    gpu_gone = Signal("1 if the rank's GPU did not answer any more when the rank died or just after, else 0")
    node_memory_left_bytes = Signal("least available memory of the node when the rank died")
    nodefs_left = Signal(
        "least share of a file system that a kubelet watches that was free when the rank died, of those with more than "
        "what it evicts at before"
    )


def death(v: View) -> Numbers:
    """What was the matter."""
    windows, gpu = _around(v), _gpu(v)
    answered = [value for one in windows for _, value in (one.points(catalog.GPU_UP, gpu) if gpu else ())]
    memory = (one.minimum(catalog.MEMORY_AVAILABLE_BYTES) for one in windows)
    return {
        DeathSignals.gpu_gone: float(0.0 in answered) if answered else None,
        DeathSignals.node_memory_left_bytes: min((least for least in memory if least is not None), default=None),
        DeathSignals.nodefs_left: min(
            (share for seen, one in zip((v.short, v.long), windows, strict=False) for share in _left(seen, one)),
            default=None,
        ),
    }


def names(v: View) -> Mapping[str, str]:
    """The rank's GPU, and its Xid errors: `48, 79`."""
    windows, gpu = _around(v), _gpu(v)
    if not windows or not gpu:
        return {}
    xids = {
        labels[1]
        for one in windows
        for labels in one.labels(catalog.GPU_XID_ERRORS_TOTAL, gpu)
        if one.events(catalog.GPU_XID_ERRORS_TOTAL, *labels)
    }
    known = sorted((xid for xid in xids if xid.isdigit()), key=int)
    return {"death_gpu": gpu} | ({"xid": ", ".join(known)} if known else {})


def _around(v: View) -> list[Window]:
    """Both windows from the last batch, if that is known, to a moment after the death; none of one nobody saw die."""
    if v.state not in catalog.DEAD:
        return []
    ups = sorted(point for one in (v.short, v.long) for point in one.points(catalog.TRAIN_UP, v.run, v.rank))
    lived = [time for time, up in ups if up]
    if not lived:
        return []
    died = next((time for time, _ in ups if time > lived[-1]), v.long.end)
    batch = v.now.last(catalog.TRAIN_LAST_BATCH_TIMESTAMP_SECONDS, v.run, v.rank)
    start = next((time for time in reversed(lived) if batch is not None and time <= batch), lived[0])
    return [_cut(one, start, died + AFTERWARDS) for one in (v.short, v.long)]


def _cut(window: Window, start: float, end: float) -> Window:
    start = max(start, window.start)
    return Window(window.store, start, max(start, min(end, window.end)), window.period)


def _gpu(v: View) -> str:
    """The rank's GPU, also where its series are gone with it."""
    return v.gpu or next((labels[2] for labels in v.long.labels(catalog.TRAIN_DEVICE_INFO, v.run, v.rank)), "")


def _left(seen: Window, around: Window) -> Iterator[float]:
    """Least free shares around the death, of the file systems that had more before.

    One that has been full for weeks evicts nobody now; a read-only image is such a one, and a container's `/` is none
    of the node's.
    """
    for labels in around.labels(catalog.FILESYSTEM_AVAILABLE_BYTES):
        size = seen.maximum(catalog.FILESYSTEM_SIZE_BYTES, *labels)
        least = around.minimum(catalog.FILESYSTEM_AVAILABLE_BYTES, *labels)
        share = ratio(least, size)
        if labels[0] not in _NODEFS or labels[1] == "overlay" or least is None or not size or share is None:
            continue
        points = seen.points(catalog.FILESYSTEM_AVAILABLE_BYTES, *labels)
        reached = next(time for time, value in points if time >= around.start and value == least)
        before = max((value for time, value in points if time < reached), default=0.0)
        if before >= MORE["eviction_disk_left"].value * size:
            yield share
