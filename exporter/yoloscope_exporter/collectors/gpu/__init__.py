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
from yoloscope_exporter.collectors import FAST, Collector, NoData
from yoloscope_exporter.collectors.gpu import fast
from yoloscope_exporter.collectors.gpu.session import DeviceLost, DriverGone, Session
from yoloscope_exporter.collectors.gpu.values import Gate, Totals
from yoloscope_exporter.collectors.gpu.visit import Visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from yoloscope_exporter.collectors import Context

NAME, DETAILS = "gpu", "gpu_details"
#: Seconds the fast half waits for the slow one, which lets go after every device: more, and the driver hangs.
TURN = 0.3


def collectors(context: Context) -> Sequence[Collector]:
    """The fast and the slow half."""
    gpus = Gpus(context)
    return (Collector(NAME, gpus.fast, gpus.close, FAST),)


class Gpus:
    """All GPUs of the node."""

    def __init__(self, context: Context) -> None:
        """Open nothing yet."""
        self._context = context
        self._session = Session(context.clock)
        self._totals: dict[tuple[str, str], Totals] = {}
        self._turn = threading.Lock()
        self._gate = Gate(lambda reason: context.reject(NAME, reason))

    def fast(self) -> Iterable[Sample]:
        """One cycle of what changes from second to second.

        Raises:
            NoData: no driver, or it shows no GPU.
            TimeoutError: a call into the driver hangs.
        """
        with self._session_open() as session:
            samples = self._visit_all(fast.collect)
            samples += [Sample(catalog.GPU_UP, (one.gpu,), 1.0) for one in session.devices if one.parent is None]
            samples += [Sample(catalog.GPU_UP, (gpu,), 0.0) for gpu in session.lost]
            return samples

    @contextmanager
    def _session_open(self) -> Iterator[Session]:
        if not self._turn.acquire(timeout=TURN):
            raise TimeoutError("the NVIDIA driver hangs: another call has not come back")
        try:
            self._session.ensure()
            yield self._session
        except DriverGone as error:
            self._lose_driver(str(error))
            raise NoData(str(error)) from None
        finally:
            self._turn.release()

    def _lose_driver(self, why: str) -> None:
        if self._session.is_open:
            self._session.drop(why)
        for totals in self._totals.values():
            totals.pause()

    def _visit_all(self, collect: Callable[[Visit], Iterable[Sample]]) -> list[Sample]:
        """Samples of all devices; of one that is lost meanwhile, none."""
        samples: list[Sample] = []
        clock, wall = self._context.clock(), self._context.wall()
        for device in list(self._session.devices):
            if device not in self._session.devices:
                continue  # a MIG instance whose GPU was lost a moment ago
            totals = self._totals.setdefault(device.key, Totals())
            try:
                samples += list(collect(Visit(device, totals, self._gate, clock, wall)))
            except DeviceLost as error:
                self._session.lose(device, str(error))
                totals.pause()
        return samples

    def close(self) -> None:
        """Give back the session; may be called more than once. A driver that hangs keeps it."""
        if self._turn.acquire(timeout=TURN):
            try:
                self._session.close()
            finally:
                self._turn.release()
