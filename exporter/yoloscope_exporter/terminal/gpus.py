"""The GPUs on the screen of `yoloscope top`: a row each, who uses them, and what is wrong with them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table
from rich.text import Text

from yoloscope_exporter import catalog, colours
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy
from yoloscope_exporter.language import say
from yoloscope_exporter.language.units import counted, in_order
from yoloscope_exporter.terminal.cells import padded
from yoloscope_exporter.terminal.courses import Courses, drawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

    from yoloscope_exporter.measures.series import Window

GIB = 2**30
#: Of each GPU, those that hold the most memory.
MOST_PROCESSES = 4


class Process(NamedTuple):
    """A process on a GPU; what is not known is empty or None.

    Attributes:
        memory: bytes of the device's.
        share: of the SM time.
    """

    pid: str
    command: str
    run: str
    rank: str
    user: str
    memory: float | None
    share: float | None


def gpus(window: Window, courses: Courses) -> Iterator[RenderableType]:
    """A row for each GPU, then its processes, then its troubles; nothing where there is no GPU."""
    names = {labels[0] for labels in window.current(catalog.GPU_INFO)}
    lost = {labels[0] for labels, up in window.current(catalog.GPU_UP).items() if not up}
    table = Table.grid(padding=(0, 1))
    ranks = {labels[2]: labels[1] for labels in window.current(catalog.TRAIN_DEVICE_INFO)}
    ordered = sorted(names | lost, key=in_order)
    for gpu in ordered:
        told = Text(say("lost"), style=f"bold {colours.SEVERITIES[rules.CRITICAL]}")
        table.add_row(gpu, *((told,) if gpu in lost else _row(window, courses, gpu, ranks)))
    if ordered:
        yield table
    for gpu in ordered:
        yield from _users(gpu, processes(window, gpu))
    for gpu in ordered:
        if troubles := list(_troubles(window, gpu)):
            yield Text(f"GPU {gpu}: {'; '.join(troubles)}", style=colours.SEVERITIES[rules.WARNING])


def _row(window: Window, courses: Courses, gpu: str, ranks: Mapping[str, str]) -> Iterator[RenderableType]:
    busy = gpu_busy(window, gpu)
    used, total = window.last(catalog.GPU_MEMORY_USED_BYTES, gpu), window.last(catalog.GPU_MEMORY_TOTAL_BYTES, gpu)
    power, limit = window.last(catalog.GPU_POWER_WATTS, gpu), window.last(catalog.GPU_POWER_LIMIT_WATTS, gpu)
    heat = window.last(catalog.GPU_TEMPERATURE_CELSIUS, gpu, "core")
    yield "" if busy is None else f"{busy:4.0%}"
    yield drawn(courses.gauge(catalog.GPU_UTILIZATION_RATIO, gpu), high=1.0)
    yield _device_memory(used, total)
    yield "" if power is None else f"{power:.0f}/{limit:.0f} W" if limit is not None else f"{power:.0f} W"
    yield "" if heat is None else f"{heat:.0f} C"
    yield f"rank {ranks[gpu]}" if gpu in ranks else ""


def _device_memory(used: float | None, total: float | None) -> str:
    """Used and installed; without the latter the GPU shares the node's memory, which the head shows."""
    if total is None:
        return say("shares the node's")
    return "" if used is None else f"{used / GIB:.1f}/{total / GIB:.1f} GiB"


# --- processes ------------------------------------------------------------------------------------------------------


def processes(window: Window, gpu: str) -> list[Process]:
    """Who is on a GPU now, those that hold the most memory first."""
    memory = window.current(catalog.GPU_PROCESS_MEMORY_BYTES, gpu)
    shares = window.current(catalog.GPU_PROCESS_SM_RATIO, gpu)
    found = [
        Process(pid, command, run, rank, user, memory.get(labels), shares.get(labels))
        for labels in memory.keys() | shares.keys()
        for _, pid, command, run, rank, user in (labels,)
    ]
    return sorted(found, key=lambda one: (-(one.memory or 0.0), in_order(one.pid)))


def _users(gpu: str, found: list[Process]) -> Iterator[Text]:
    for one in found[:MOST_PROCESSES]:
        memory = "" if one.memory is None else f"{one.memory / GIB:.1f} GiB"
        share = "" if one.share is None else f"{one.share:.0%}"
        whose = f"{one.run} · rank {one.rank}" if one.run else ""
        cells = (padded(f"GPU {gpu}", 6), padded(memory, -9), padded(share, -4), padded(one.user or "-", 10))
        told = "  ".join(filter(None, (f"PID {one.pid}", one.command, whose)))
        yield Text(f"{' '.join(cells)} {told}", style="dim", no_wrap=True, overflow="ellipsis")
    if len(found) > MOST_PROCESSES:
        more = say("and {number} more processes", number=len(found) - MOST_PROCESSES)
        yield Text(f"{padded('', 6)} {more}", style="dim")


# --- troubles -------------------------------------------------------------------------------------------------------


def _troubles(window: Window, gpu: str) -> Iterator[str]:
    """What holds a GPU's clocks down now, the errors in its life, and what the driver asks for."""
    throttled = [labels[1] for labels, on in window.current(catalog.GPU_THROTTLED, gpu).items() if on]
    if throttled:
        yield say("throttled by {reasons}", reasons=", ".join(throttled))
    ecc = window.last(catalog.GPU_ECC_ERRORS_TOTAL, gpu, "uncorrected")
    if ecc:
        yield say(counted(ecc, "uncorrected ECC error"))
    if window.last(catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, gpu):
        yield say("more SRAM errors than NVIDIA allows")
    if action := int(window.last(catalog.GPU_RECOVERY_ACTION, gpu) or 0):
        yield say(
            "the driver asks for {action}",
            action=dict(enumerate(catalog.RECOVERY_ACTIONS)).get(action, f"action {action}"),
        )
    faults = [labels[1] for labels, on in window.current(catalog.GPU_FABRIC_FAULT, gpu).items() if on]
    if faults:
        yield say("NVLink fabric: {faults}", faults=", ".join(faults))
    for labels, count in window.current(catalog.GPU_XID_ERRORS_TOTAL, gpu).items():
        yield f"Xid {labels[1]}" + (say(" ({count:.0f} times)", count=count) if count > 1 else "")
