"""What happened between two snapshots: states, epochs, verdicts, deaths of workers, hangs, errors of GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from yoloscope_exporter import catalog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from yoloscope_exporter.catalog import Sample

STATE, EPOCH, BEGAN, ENDED, WORKER_DIED, HANG = "state", "epoch", "began", "ended", "worker_died", "hang"
GPU_LOST, GPU_BACK, XID = "gpu_lost", "gpu_back", "xid"
#: Kinds of events. A page has a text for each.
KINDS: Final = (STATE, EPOCH, BEGAN, ENDED, WORKER_DIED, HANG, GPU_LOST, GPU_BACK, XID)


class Fact(NamedTuple):
    """What a snapshot says: of which kind, of whom, and what it is of whose value only the change is an event."""

    kind: str
    run: str
    rank: str
    name: str = ""
    """A verdict, a GPU, or a GPU and an Xid."""


#: Facts with their values.
Facts = dict[Fact, str]


class Event(NamedTuple):
    """Something that happened.

    Attributes:
        number: grows by one from event to event.
        time: Unix seconds of the snapshot that showed it.
        kind: one of KINDS.
        run, rank: whose; empty for the node's.
        name: the verdict or the GPU.
        value: the state, the epoch, how many workers, the Xid, or where it hangs.
    """

    number: int
    time: float
    kind: str
    run: str
    rank: str
    name: str
    value: str


def facts(samples: Iterable[Sample], before: Facts | None = None) -> Facts:
    """What samples say of which a change is an event.

    Where they say nothing of any run, or of any GPU, a collector has failed: then it is as it was `before`.
    """
    found: Facts = {}
    for sample in samples:
        read = _READERS.get(sample.metric.name)
        for fact, value in read(sample) if read else ():
            if fact.kind != EPOCH or float(value) > float(found.get(fact, 0)):  # of a run, that of its first rank
                found[fact] = value
    told = {"", *(fact.kind for fact in found)}
    silent = {fact: value for fact, value in (before or {}).items() if _vouched_by(fact) not in told}
    return {**silent, **found} if silent else found


def _vouched_by(fact: Fact) -> str:
    """The kind of fact that is there whenever the collector of this one has answered; none for a node's verdict."""
    return STATE if fact.run else "" if fact.kind == BEGAN else GPU_LOST


def _state(sample: Sample) -> Iterator[tuple[Fact, str]]:
    if sample.value:
        run, rank, state = sample.labels
        yield Fact(STATE, run, rank), state


def _epoch(sample: Sample) -> Iterator[tuple[Fact, str]]:
    yield Fact(EPOCH, sample.labels[0], ""), f"{sample.value:.0f}"


def _verdict(sample: Sample) -> Iterator[tuple[Fact, str]]:
    if sample.value:
        yield Fact(BEGAN, *sample.labels), ""


def _deaths(sample: Sample) -> Iterator[tuple[Fact, str]]:
    yield Fact(WORKER_DIED, *sample.labels), f"{sample.value:.0f}"


def _hang(sample: Sample) -> Iterator[tuple[Fact, str]]:
    run, rank, *rest = sample.labels
    yield Fact(HANG, run, rank), catalog.hang_in_words(dict(zip(catalog.HANG_FACTS, rest, strict=True)))


def _gpu(sample: Sample) -> Iterator[tuple[Fact, str]]:
    yield Fact(GPU_LOST, "", "", sample.labels[0]), "" if sample.value else "lost"


def _xid(sample: Sample) -> Iterator[tuple[Fact, str]]:
    gpu, xid = sample.labels
    yield Fact(XID, "", "", f"{gpu} {xid}"), f"{sample.value:.0f}"


#: Gauges that are 1 for the state a run is in, of trainings and of whatever else has one.
STATES: Final = tuple(metric for metric in catalog.METRICS if metric.labels == ("run", "rank", "state"))
_READERS: Final[Mapping[str, Callable[[Sample], Iterator[tuple[Fact, str]]]]] = {
    **{metric.name: _state for metric in STATES},
    catalog.TRAIN_EPOCH.name: _epoch,
    **{metric.name: _verdict for metric in catalog.METRICS if metric.labels == ("run", "rank", "verdict")},
    catalog.TRAIN_WORKER_DEATHS_TOTAL.name: _deaths,
    catalog.TRAIN_HANG_INFO.name: _hang,
    catalog.GPU_UP.name: _gpu,
    catalog.GPU_XID_ERRORS_TOTAL.name: _xid,
}


def changes(before: Facts, after: Facts) -> Iterator[tuple[str, str, str, str, str]]:
    """Kind, run, rank, name and value of each event between two snapshots."""
    for fact, value in after.items():
        earlier = before.get(fact)
        if value != earlier and (told := _change(fact, earlier, value)):
            yield told
    there = {(fact.run, fact.rank) for fact in after if fact.kind == STATE}
    for fact in before:
        if fact.kind == BEGAN and fact not in after and (not fact.run or (fact.run, fact.rank) in there):
            yield ENDED, fact.run, fact.rank, fact.name, ""


def _change(fact: Fact, earlier: str | None, value: str) -> tuple[str, str, str, str, str] | None:
    kind, run, rank, name = fact
    if kind == WORKER_DIED:
        died = int(value) - int(earlier or 0)
        return (kind, run, rank, name, str(died)) if died > 0 else None
    if kind == GPU_LOST:
        return (GPU_LOST if value else GPU_BACK, run, rank, name, "") if value or earlier else None
    if kind == XID:
        gpu, _, xid = name.partition(" ")
        return kind, run, rank, gpu, xid
    return kind, run, rank, name, value
