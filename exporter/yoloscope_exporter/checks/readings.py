"""Every collector, run once: what each has given, and what that says of it."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pynvml as nvml

from yoloscope_exporter import catalog
from yoloscope_exporter.checks.finding import FAIL, NOTE, OK, Finding
from yoloscope_exporter.collectors import NoData
from yoloscope_exporter.collectors.deadlines import IsolatedThread
from yoloscope_exporter.collectors.gpu.session import initialise
from yoloscope_exporter.language import finished, joined, reason, text
from yoloscope_exporter.sampling.sampler import Rejections
from yoloscope_exporter.sampling.sources import Source, SourceFactory

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from yoloscope_exporter.config import Config

PATIENCE_SECONDS = 10.0


class Reading(NamedTuple):
    """What one collector has given.

    Attributes:
        name: the collector's.
        given: how many samples.
        seconds: how long it took.
        samples: those of our own collectors.
        error: why it gave none; TimeoutError where it did not end.
    """

    name: str
    given: int = 0
    seconds: float = 0.0
    samples: tuple[catalog.Sample, ...] = ()
    error: BaseException | None = None

    @property
    def hangs(self) -> bool:
        """Whether it did not end."""
        return isinstance(self.error, TimeoutError) and not str(self.error)


def read(config: Config) -> tuple[list[Reading], list[catalog.Sample]]:
    """Run each collector that is switched on once, with a deadline; and what was rejected of them.

    They are closed when all have been read: those of GPUs share a session, in which a lost GPU is looked for once.
    """
    rejections = Rejections()
    sources = [source for source in SourceFactory(config, rejections)(config) if source.derived is None]
    found = [_read(source) for source in sources]
    for source, reading in zip(sources, found, strict=True):
        if not reading.hangs:
            source.collector.close()
    return found, list(rejections.samples())


def _read(source: Source) -> Reading:
    name = source.collector.name
    thread = IsolatedThread(name)
    begun = time.perf_counter()
    call = thread.call(lambda: _collected(source), PATIENCE_SECONDS)
    seconds = time.perf_counter() - begun
    if not call.done():
        return Reading(name, seconds=seconds, error=TimeoutError())
    thread.close()
    if error := call.exception():
        return Reading(name, seconds=seconds, error=error)
    count, samples = call.result()
    return Reading(name, count, seconds, samples)


def _collected(source: Source) -> tuple[int, tuple[catalog.Sample, ...]]:
    if source.third_party:
        return sum(len(family.samples) for family in source.third_party.collect()), ()
    samples = tuple(source.collector.collect())
    return len(samples), samples


def capabilities() -> dict[str, str]:
    """The compute capability (`9.0`) of each GPU by its index; none where the driver does not tell."""
    thread = IsolatedThread("capabilities")
    call = thread.call(_capabilities, PATIENCE_SECONDS)
    thread.close()
    return call.result() if call.done() and not call.exception() else {}


def _capabilities() -> dict[str, str]:
    """NVML is asked itself: a session of the collectors would say once more which GPU is lost."""
    initialise()
    try:
        return dict(_told(nvml.nvmlDeviceGetCount()))
    finally:
        nvml.nvmlShutdown()


def _told(count: int) -> Iterator[tuple[str, str]]:
    for index in range(count):
        with suppress(nvml.NVMLError):
            version = nvml.nvmlDeviceGetCudaComputeCapability(nvml.nvmlDeviceGetHandleByIndex(index))
            yield str(index), "{}.{}".format(*version)


# --- what that says ---------------------------------------------------------------------------------------------------


def findings(readings: Iterable[Reading], rejected: Sequence[catalog.Sample]) -> Iterator[Finding]:
    """A line for each collector, and for each reason for which samples were rejected."""
    for reading in readings:
        yield from _of(reading)
    for sample in rejected:
        told = text(
            "{value:.0f} by {collector}, reason {why}",
            value=sample.value,
            collector=sample.labels[0],
            why=sample.labels[1],
        )
        yield Finding(NOTE, text("rejected"), told)


def _of(reading: Reading) -> Iterator[Finding]:
    subject = text("collector {name}", name=reading.name)
    if reading.hangs:
        told = text("did not finish within {patience_seconds:g} s", patience_seconds=PATIENCE_SECONDS)
        yield Finding(FAIL, subject, told, text("end what hangs there, a file system or a driver; or leave it out"))
    elif isinstance(reading.error, NoData):
        yield Finding(NOTE, subject, text("has no data here: {error}", error=finished(str(reading.error))))
    elif reading.error is not None:
        yield Finding(FAIL, subject, joined((type(reading.error).__name__, reason(reading.error)), ": "))
    elif lost := ", ".join(_lost(reading.samples)):
        yield Finding(
            FAIL,
            subject,
            text("GPU {lost} does not answer: fallen off the bus", lost=lost),
            text("dmesg | grep -i xid, then restart the node"),
        )
    else:
        seconds = text("{samples} samples in {seconds:.1f} ms", samples=reading.given, seconds=reading.seconds * 1000.0)
        yield Finding(OK, subject, seconds)


def _lost(samples: Iterable[catalog.Sample]) -> list[str]:
    return [one.labels[0] for one in samples if one.metric is catalog.GPU_UP and not one.value]


def values(samples: Iterable[catalog.Sample], metric: catalog.Metric) -> Mapping[tuple[str, ...], float]:
    """Labels -> value of a gauge or counter."""
    found = ((one.labels, one.value) for one in samples if one.metric is metric)
    return {labels: value for labels, value in found if not isinstance(value, catalog.HistogramValue)}
