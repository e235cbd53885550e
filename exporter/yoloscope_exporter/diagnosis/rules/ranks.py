"""Ranks that wait for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.advice.batch import fewer_exchanges
from yoloscope_exporter.diagnosis.advice.gains import without_share
from yoloscope_exporter.diagnosis.advice.settings import in_use
from yoloscope_exporter.diagnosis.rules.rule import INFO, WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text, units

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


def _is_straggler(s: Signals, t: Thresholds) -> bool:
    if s.names.get("lag_phase") == "other":
        return False  # a residual, as of what rank 0 alone does at the beginning, has no cause that could be told
    slower = s.lag >= t.lag and s.peer_exposed_share >= t.peer_exposed_share
    last = slower and s.get(Signals.exposed_share) <= s.peer_exposed_share
    return last and _is_waited_for(s, t) and not _all_wait_for_data(s, t) and not _one_slow_batch(s, t)


def _is_waited_for(s: Signals, t: Thresholds) -> bool:
    """What it takes longer, the others are seen to wait for, in its steps.

    Up to Ultralytics 8.3.217 rank 0 validates alone: who waits for that, or comes late from it, is no straggler.
    """
    return s.get(Signals.waited_for_seconds) >= t.lag_covered * (s.local_seconds - s.peer_local_seconds)


def _one_slow_batch(s: Signals, t: Thresholds) -> bool:
    """A single batch makes it late on the mean, and has a verdict of its own."""
    lost = s.get(Signals.slow_batch_seconds)
    return lost >= t.stall_seconds and lost >= (s.local_seconds - s.peer_local_seconds) * s.batches / 2


def _all_wait_for_data(s: Signals, t: Thresholds) -> bool:
    """All ranks' loaders are too slow, and the one that is behind by chance does the waiting for all."""
    if s.names.get("lag_phase") != "data_wait" or not s.has(Signals.prep_seconds, Signals.peer_prep_seconds):
        return False
    return s.prep_seconds < (1 + t.lag) * s.peer_prep_seconds


def _straggler_evidence(s: Signals, _: Thresholds) -> str:
    return s.text(
        "rank {rank} takes {local_seconds} per batch for itself, its peers {peer_local_seconds}; "
        "most of the difference is in {lag_phase}; the peers wait {peer_exposed_share:.0%} of "
        "their time",
        local_seconds=units.milliseconds(s.local_seconds),
        peer_local_seconds=units.milliseconds(s.peer_local_seconds),
    )


def _straggler_advice(s: Signals) -> Advice:
    by_phase = {
        "data_wait": text("give its loader what its peers have: same storage, same CPUs (numactl, affinity)"),
        "h2d": text("look at its PCIe link"),
        "callbacks": text(
            "let the callback do less in this rank (callback_bound names it), or hand its work to a thread"
        ),
        "preprocess": text("look at what its preprocess_batch does besides copies (preprocess_bound)"),
    }
    note = by_phase.get(
        s.names.get("lag_phase", ""), text("look at its GPU: clocks, throttling, another process on it")
    )
    return Advice(note=note, forecast=without_share(s, s.lag / (1 + s.lag)))


def _all_wait(s: Signals, t: Thresholds) -> bool:
    """Whoever comes last waits for the exchange alone; no rank is late because it waits for data, nor for a CPU."""
    if s.get(Signals.trainer_queue_share) >= t.runqueue_share:
        return False
    starved = max(s.get(Signals.most_data_wait_share), s.get(Signals.data_wait_share)) >= t.input_share
    return s.least_exposed_share >= t.exposed_share and not starved


def _exchange_evidence(s: Signals, _: Thresholds) -> str:
    unseen = s.get(Signals.unseen_ranks)
    of_all = (
        s.text("; {counted} of the run's {world_size:.0f} cannot be seen here", counted=units.counted(unseen, "rank"))
        if unseen
        else ""
    )
    return s.text(
        "{exposed_share:.0%} of training time waits for gradients; on the rank that waits least "
        "{least_exposed_share:.0%}{of_all}",
        of_all=of_all,
    )


def _exchange_cause(s: Signals, _: Thresholds) -> str:
    """The links between the GPUs; not known while ranks are not seen, or scale their images each by itself."""
    if s.get(Signals.unseen_ranks):
        return text("not known here: slow links between the GPUs, or a rank on another node that is late")
    if in_use("multi_scale", s):
        return text(
            "not known: with multi_scale each rank draws sizes of its own and they come last in turn; or slow links"
        )
    return text("the links between the GPUs are too slow for gradients of this size at this batch")


def _exchange_advice(s: Signals) -> Advice:
    if s.get(Signals.unseen_ranks):
        return Advice(
            note=text("`yoloscope diagnose --prometheus URL` sees the ranks of all nodes, and says which it is")
        )
    if in_use("multi_scale", s):
        return Advice(note=text("an epoch with multi_scale=0 shows whether the links are slow"))
    return fewer_exchanges(s)


RULES = (
    Rule(
        name="straggler",
        title="This rank holds the others up",
        severity=WARNING,
        requires="own time per batch beside that of all other ranks, and their wait for it",
        confused_with={
            "communication_bound": "all ranks wait alike",
            "loader_workers": "all loaders are slow, and one is behind by chance",
            "validation_bound": "rank 0 validates alone: the others wait between epochs, and not in its steps",
        },
        needs=(Signals.lag, Signals.peer_exposed_share),
        when=_is_straggler,
        thresholds=("lag", "lag_covered", "peer_exposed_share", "stall_seconds"),
        evidence=_straggler_evidence,
        cause="every rank waits for the slowest one when gradients are reduced",
        verify="nvidia-smi dmon on its node: a waiting GPU shows 100 % at little power, the slow one does not",
        fix=_straggler_advice,
        waste=("backward_exposed",),
        remedy="by the phase in which it is slow: its loader, its PCIe link, its GPU",
    ),
    Rule(
        name="communication_bound",
        title="All ranks wait for the exchange of gradients",
        severity=INFO,
        requires="wait for gradients on every rank that is seen, also on the one that comes last",
        confused_with={
            "straggler": "one rank is behind and hardly waits, the others wait for it; an exporter sees the ranks of "
            "its own node only, and says so: all nodes are seen by `yoloscope diagnose --prometheus`",
            "loader_workers": "ranks that wait for data come last in turn, and the others wait for them",
            "cpu_contended": "ranks that wait for a CPU come last in turn as well",
        },
        needs=(Signals.exposed_share, Signals.least_exposed_share),
        when=_all_wait,
        thresholds=("exposed_share", "input_share", "runqueue_share"),
        evidence=_exchange_evidence,
        cause=_exchange_cause,
        verify="nvidia-smi topo -m; NCCL_DEBUG=INFO: which transport was chosen",
        fix=_exchange_advice,
        waste=("backward_exposed",),
        slows=True,
        remedy="a larger `batch`, if it fits: fewer exchanges per image; where ranks of other nodes are not seen, ask "
        "Prometheus",
    ),
)
