"""A rank beside the other ranks of its run."""

from __future__ import annotations

from statistics import fmean, median
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis.signals.signal import Signal
from yoloscope_exporter.measures import ranks
from yoloscope_exporter.measures.thresholds import DEFAULTS
from yoloscope_exporter.measures.training import PAUSES, STEP_PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.diagnosis.faults import Faults
    from yoloscope_exporter.diagnosis.signals import Signals
    from yoloscope_exporter.diagnosis.signals.signal import Numbers
    from yoloscope_exporter.diagnosis.signals.view import View


#: States of a rank in which the others may wait for it: up to Ultralytics 8.3.217 only rank 0 validates.
PAUSED = ("setup", *PAUSES)


class PeerSignals:
    """How much longer a rank takes than its peers, and what they wait for."""

    local_seconds = Signal("a batch's time on this rank in seconds, the wait for peers left out")
    peer_local_seconds = Signal("mean of the same over the other ranks")
    lag = Signal("how much longer this rank's own time for a batch is than the mean of the other ranks")
    peer_prep_seconds = Signal("median preparation time of a batch by the other ranks' workers, in seconds")
    peers_paused = Signal(
        "other ranks of the run that validate, write a checkpoint, set up or are at their epoch's end, where callbacks "
        "run, and that one may wait for"
    )
    peers_failed = Signal("other ranks of the run that ended with an exception")
    peers_killed = Signal("other ranks of the run that died otherwise than by SIGTERM, the end of a job or a reboot")
    peers_moving = Signal(
        "other living ranks of the run whose processes compute or read, or of which that is not known"
    )
    waited_share = Signal("share of the window in which another rank did not train, and this one was told to")
    peer_slow_batch_seconds = Signal("time that one batch of another rank in the window took beyond the usual")
    peer_memory_used_share = Signal("median share of device memory in use on the GPUs of the other ranks")
    waited_for_seconds = Signal(
        "how much longer the other ranks wait for peers in a batch than this one (mean), in seconds, less what it "
        "validates or saves longer than they do"
    )
    peer_exposed_share = Signal("share of step time the other ranks wait for gradients (median)")
    least_exposed_share = Signal(
        "the same of the rank of the run that waits least, itself included, of those that are seen: what the exchange "
        "takes when nobody is late"
    )
    unseen_ranks = Signal("ranks of the run that are not seen here: an exporter sees those of its own node")
    most_data_wait_share = Signal("share of step time that the rank of the run with the slowest loader waits for data")


def with_peers(signals: Sequence[Signals], faults: Faults) -> list[Signals]:
    """The same signals, with what a rank looks like beside the other ranks of its run."""
    compared = list(signals)
    for index, one in enumerate(signals):
        with faults.passed_over("the comparison with peers", one.run, one.rank):
            compared[index] = _beside(one, [other for other in signals if other.run == one.run and other is not one])
    return compared


def _beside(one: Signals, others: Sequence[Signals]) -> Signals:
    numbers = _together([one, *others])
    if others:
        paused = sum(_pauses(other, one) for other in others)
        used = [s.gpu_memory_used_share for s in others if s.has(type(s).gpu_memory_used_share)]
        slow = [s.slow_batch_seconds for s in others if s.has(type(s).slow_batch_seconds)]
        trained = [s.train_share for s in others if s.has(type(s).train_share)]
        numbers |= {
            PeerSignals.peers_paused: float(paused),
            PeerSignals.peers_failed: float(sum(other.state == "failed" for other in others)),
            PeerSignals.peers_killed: float(sum(map(_died_alone, others))),
            PeerSignals.peers_moving: float(sum(other.up and _moves(other) for other in others)),
            PeerSignals.waited_share: max(one.train_share - min(trained), 0.0)
            if trained and one.has(type(one).train_share)
            else None,
            PeerSignals.peer_slow_batch_seconds: max(slow, default=None),
            PeerSignals.peer_memory_used_share: _median(used),
        }
    own = one.numbers.get(PeerSignals.local_seconds.name)
    peers = [time for other in others if (time := other.numbers.get(PeerSignals.local_seconds.name)) is not None]
    if own is None or not peers or len(peers) < len(others):
        return one.with_numbers(numbers)
    theirs = fmean(peers)
    numbers |= {
        PeerSignals.peer_local_seconds: theirs,
        PeerSignals.lag: own / theirs - 1 if theirs else None,
        PeerSignals.waited_for_seconds: -_longer(one, others, "backward_exposed")
        - max(_longer(one, others, *PAUSES), 0.0),
        PeerSignals.peer_exposed_share: _median([s.exposed_share for s in others if s.has(type(s).exposed_share)]),
        PeerSignals.peer_prep_seconds: _median([s.prep_seconds for s in others if s.has(type(s).prep_seconds)]),
    }
    own_phases = [phase for phase in STEP_PHASES if phase in one.local and phase != "backward_exposed"]
    return one.with_numbers(numbers, {"lag_phase": max(own_phases, key=lambda phase: _longer(one, others, phase))})


def _longer(one: Signals, others: Sequence[Signals], *phases: str) -> float:
    """Seconds of a batch that a rank is longer in these phases than the mean of the others."""
    own, *theirs = (sum(s.local.get(phase, 0.0) for phase in phases) for s in (one, *others))
    return own - fmean(theirs)


def _together(everybody: Sequence[Signals]) -> Numbers:
    """What the ranks that are seen have in common; the first is the one that is asked for."""
    one, signal = everybody[0], type(everybody[0])
    exposed = [s.exposed_share for s in everybody if s.has(signal.exposed_share)]
    waits = [s.data_wait_share for s in everybody if s.has(signal.data_wait_share)]
    world = one.get(signal.world_size)
    return {
        PeerSignals.least_exposed_share: min(exposed) if world > 1 and len(exposed) == len(everybody) else None,
        PeerSignals.unseen_ranks: max(world - len(everybody), 0.0) if world else None,
        PeerSignals.most_data_wait_share: max(waits) if waits and len(everybody) > 1 else None,
    }


def _died_alone(one: Signals) -> bool:
    """Whether what killed it was meant for it: a crash's signal, or no word at all where its job or node lived on."""
    signal = one.names.get("end_signal", "")
    ended = signal == "" and one.names.get("end_event", "") in (catalog.JOB_OVER, catalog.JOB_REQUEUED, catalog.REBOOT)
    return one.state == "killed" and signal != "SIGTERM" and not ended


def _pauses(other: Signals, one: Signals) -> bool:
    """Whether a rank does something in which one may wait for it: loggers often belong to rank 0 alone."""
    ends = other.get(type(other).epoch_done) > one.get(type(one).epoch_done)
    return other.up and (other.state in PAUSED or ends)


def _moves(one: Signals) -> bool:
    still = type(one).still_seconds
    return not one.has(still) or one.still_seconds < min(DEFAULTS.still_seconds, DEFAULTS.stall_seconds)


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def own(v: View) -> Numbers:
    """What a batch takes on this rank; unknown where the wait for peers cannot be told apart."""
    return {PeerSignals.local_seconds: v.measure(ranks.OWN)}
