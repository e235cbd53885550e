"""All samples of one simulated node at one time: hardware, host and training, from the same course of events.

Every function here takes a `Moment` and yields samples of one area of the catalogue. Counters are closed forms of the
timeline, so they never go backwards and agree with one another; gauges carry a little noise that depends on nothing
but seed, series and time.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

import yoloscope_exporter
from yoloscope_exporter import catalog, collectors
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.simulation import gpu, host, prediction, training

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yoloscope_exporter.simulation.moment import Moment


def samples(moment: Moment) -> Iterator[Sample]:
    """Everything the node's exporter would show."""
    yield from _exporter(moment)
    yield from gpu.samples(moment)
    yield from host.samples(moment)
    if moment.node.index == 0:
        yield from prediction.samples(moment.node.start, moment.time, gpu.uuid(moment.node, 0))
    if moment.published:
        yield from training.samples(moment)


def _exporter(moment: Moment) -> Iterator[Sample]:
    version = (yoloscope_exporter.__version__, platform.python_version())
    yield Sample(catalog.BUILD_INFO, version, 1.0)
    yield Sample(catalog.SNAPSHOT_TIMESTAMP_SECONDS, (), moment.time)
    yield Sample(catalog.SAMPLES_REJECTED_TOTAL, ("gpu", "sentinel"), 0.0)
    yield Sample(catalog.RECORDS_REFUSED_TOTAL, ("identity", "simulated"), 0.0)
    for name in collectors.names():
        yield Sample(catalog.COLLECTOR_UP, (name,), 1.0)
        yield Sample(catalog.COLLECTOR_DURATION_SECONDS, (name,), 0.002 * (1.5 + moment.noise("collector", name)))
        yield Sample(catalog.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, (name,), moment.time)
