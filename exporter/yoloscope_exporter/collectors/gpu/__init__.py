"""NVIDIA GPUs through NVML: the driver's own library, by the bindings NVIDIA publishes.

Two collectors share one session: `gpu` every sample interval, `gpu_details` every ten. Without a driver they are down,
and look for one again every few seconds.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import FAST, SLOW, Collector, NoData
from yoloscope_exporter.collectors.gpu import details, fast, processes
from yoloscope_exporter.collectors.gpu.device_cycle import DeviceCycle
from yoloscope_exporter.collectors.gpu.probe import DeviceLost, DriverGone
from yoloscope_exporter.collectors.gpu.processes import Known
from yoloscope_exporter.collectors.gpu.session import Session
from yoloscope_exporter.collectors.gpu.values import Totals, Validator
from yoloscope_exporter.language import text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from yoloscope_exporter.collectors import Context
    from yoloscope_exporter.collectors.gpu.session import Device

NAME, DETAILS = "gpu", "gpu_details"
#: Seconds the fast half waits for the slow one, which lets go after every device: more, and the driver hangs.
TURN = 0.3
#: Seconds the slow half waits for a fast cycle.
SLOW_TURN = 3.0


def collectors(context: Context) -> Sequence[Collector]:
    """The fast collector `gpu` and the slow one `gpu_details`."""
    gpus = Gpus(context)
    return (
        Collector(NAME, gpus.fast, gpus.close, FAST),
        Collector(DETAILS, gpus.slow, gpus.close, SLOW, gpus.still_there),
    )


class Gpus:
    """All GPUs of the node."""

    def __init__(self, context: Context) -> None:
        """Open nothing yet."""
        self._context = context
        self._session = Session(context.clock)
        self._totals: dict[tuple[str, str], Totals] = {}
        self._turn = threading.Lock()
        self._validator = Validator(lambda reason: context.reject(NAME, reason))

    def fast(self) -> Iterable[Sample]:
        """One cycle of what changes from second to second.

        Raises:
            NoData: no driver, or it shows no GPU.
            TimeoutError: a call into the driver hangs.
        """
        with self._exclusive_session(TURN) as session:
            session.watch_xids()
            samples = tuple(sample for device in list(session.devices) for sample in self._whole(device))
            return [*self.still_there(samples), *_health(session)]

    def _whole(self, device: Device) -> list[Sample]:
        """All fast samples of a device, which is then not lost any more."""
        samples = self._collect_device(device, fast.collect)
        if samples:
            self._session.welcome(device)
        return samples

    def slow(self) -> Iterable[Sample]:
        """One cycle of the rest, and a check for devices that were added or removed.

        Raises:
            NoData: no driver, or it shows no GPU.
            TimeoutError: a call into the driver hangs.
        """
        with self._exclusive_session(SLOW_TURN) as session:
            session.refresh()
            self._forget_others(session)
            devices = session.answering
        known = Known(self._context.procfs, self._context.trainers())
        samples: list[Sample] = []
        for device in devices:  # the fast half may have a turn in between
            with self._exclusive_session(SLOW_TURN):
                samples += self._collect_device(device, details.collect, lambda cycle: processes.collect(cycle, known))
        return samples

    def still_there(self, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Those of devices that answer: between two slow cycles a GPU may be lost."""
        there = {device.gpu for device in self._session.answering}
        gone = {sample.labels[0] for sample in samples} - there
        return tuple(sample for sample in samples if sample.labels[0] not in gone) if gone else samples

    @contextmanager
    def _exclusive_session(self, patience: float) -> Iterator[Session]:
        """The session, open, to one thread at a time."""
        if not self._turn.acquire(timeout=patience):
            raise TimeoutError(text("the NVIDIA driver hangs: another call has not come back"))
        try:
            self._session.ensure()
            yield self._session
        except DriverGone as error:
            raise NoData(self._lose_driver(str(error))) from None
        finally:
            self._turn.release()

    def _lose_driver(self, why: str) -> str:
        """Close the session of a driver that disappeared; returns the reason."""
        for totals in self._totals.values():
            totals.pause()
        return self._session.drop(why) if self._session.is_open else why

    def _collect_device(self, device: Device, *parts: Callable[[DeviceCycle], None]) -> list[Sample]:
        """Samples of a device; none if it is lost meanwhile."""
        if device not in self._session.devices:
            return []
        totals = self._totals.setdefault(device.key, Totals())
        cycle = DeviceCycle(device, totals, self._validator, self._context.clock(), self._context.wall())
        try:
            for collect in parts:
                collect(cycle)
        except DeviceLost as error:
            self._session.lose(device, str(error))
            totals.pause()
            return []
        return cycle.samples

    def _forget_others(self, session: Session) -> None:
        """Drop the totals of devices that are neither there nor lost: MIG instances come and go."""
        there = {device.key for device in session.devices}
        lost = {key: value for key, value in self._totals.items() if key[0].partition("/")[0] in session.lost}
        for totals in lost.values():
            totals.pause()
        self._totals = {key: value for key, value in self._totals.items() if key in there} | lost

    def close(self) -> None:
        """Give back the session; may be called more than once. A driver that hangs keeps it."""
        if self._turn.acquire(timeout=TURN):
            try:
                self._session.close()
            finally:
                self._turn.release()


def _health(session: Session) -> list[Sample]:
    """Which GPUs answer, and the Xid errors of all; a lost GPU keeps those that tell why, and what it is."""
    whole = {device.gpu: 1.0 for device in session.devices if device.parent is None} | dict.fromkeys(session.lost, 0.0)
    states = [Sample(catalog.GPU_UP, (gpu,), up) for gpu, up in whole.items()]
    xids = [
        Sample(catalog.GPU_XID_ERRORS_TOTAL, key, float(count))
        for key, count in session.xids.counts.items()
        if key[0] in whole
    ]
    facts = [Sample(catalog.GPU_INFO, (gpu, *known), 1.0) for gpu, known in session.lost.items() if known]
    return states + xids + facts
