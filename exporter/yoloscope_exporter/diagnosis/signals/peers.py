"""A rank beside the other ranks of its run."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.signals.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.diagnosis.faults import Faults
    from yoloscope_exporter.diagnosis.signals import Signals
    from yoloscope_exporter.diagnosis.signals.signal import Numbers


class PeerSignals:
    """How much longer a rank takes than its peers, and what they wait for."""

    local_seconds = Signal("a batch's time on this rank in seconds, the wait for peers left out")
    peer_local_seconds = Signal("median of the same over the other ranks")
    lag = Signal("how much longer this rank's own work takes than its peers', over the step")
    peer_prep_seconds = Signal("median preparation time of a batch by the other ranks' workers, in seconds")
    peer_exposed_share = Signal("share of step time the other ranks wait for gradients (median)")


def with_peers(signals: Sequence[Signals], faults: Faults) -> list[Signals]:
    """The same signals, with what a rank looks like beside the other ranks of its run."""
    compared = list(signals)
    for index, one in enumerate(signals):
        with faults.passed_over("the comparison with peers", one.run, one.rank):
            compared[index] = _beside(one, [other for other in signals if other.run == one.run and other is not one])
    return compared


def _beside(one: Signals, others: Sequence[Signals]) -> Signals:
    own = _local_seconds(one)
    peers = [time for other in others if (time := _local_seconds(other)) is not None]
    if own is None or not peers or len(peers) < len(others):
        return one
    middle = median(peers)
    numbers: Numbers = {
        PeerSignals.local_seconds: own,
        PeerSignals.peer_local_seconds: middle,
        PeerSignals.lag: (own - middle) / sum(one.local.values()),
        PeerSignals.peer_exposed_share: _median([s.exposed_share for s in others if s.has(type(s).exposed_share)]),
        PeerSignals.peer_prep_seconds: _median([s.prep_seconds for s in others if s.has(type(s).prep_seconds)]),
    }
    excess = {
        phase: value - median(other.local.get(phase, 0.0) for other in others)
        for phase, value in one.local.items()
        if phase != "backward_exposed"
    }
    return one.with_numbers(numbers, {"lag_phase": max(excess, key=lambda phase: excess[phase])})


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _local_seconds(one: Signals) -> float | None:
    """Seconds of a batch that are this rank's own doing; None where the wait for peers cannot be told apart."""
    if not one.local.get("backward_local"):
        return None
    return sum(value for phase, value in one.local.items() if phase != "backward_exposed")
