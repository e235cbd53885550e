"""GPU time, and the energy of it, that a verdict in force explains."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import rules
from yoloscope_exporter.diagnosis.hysteresis import holding
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.diagnosis.signals.gpu import part_of_gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.diagnosis.engine import Key
    from yoloscope_exporter.measures.series import Window

EXPOSED = ("backward_exposed",)
#: Verdicts by which the whole run waits for one rank's data.
_STARVING = tuple(rule.name for rule in rules.RULES if rule.waste == ("data_wait",))


def wasted(window: Window, s: Signals, held: Mapping[Key, Mapping[str, bool]]) -> Mapping[str, float]:
    """Seconds of one rank's GPU in the window that a verdict in force explains, by verdict.

    Each phase is charged once: waiting for data to what starves the loader, the exposed gradient exchange to the run's
    straggler or starved loader, copies and checkpoints to their own verdicts. A stall takes all of it. Waits too short
    for a verdict are not counted. Empty for a rank without a GPU.
    """
    if "gpu" not in s.names:
        return {}
    own = set(holding(held.get((s.run, s.rank), {})))
    if "stalled" in own:
        return {"stalled": window.seconds}
    run = {name for key, verdicts in held.items() if key[0] == s.run for name in holding(verdicts)}
    charged: defaultdict[str, float] = defaultdict(float)
    for rule in rules.RULES:
        if rule.waste and rule.waste != EXPOSED and rule.name in own:
            charged[rule.name] += _phases(window, s, rule.waste)
    blamed = next((name for name in ("straggler", *_STARVING, "communication_bound") if name in run), None)
    if blamed and not (blamed == "communication_bound" and s.get(Signals.unseen_ranks)):  # a rank elsewhere may be late
        charged[blamed] += _phases(window, s, EXPOSED)
    return charged


def wasted_gpu_seconds(window: Window, s: Signals, seconds: Mapping[str, float]) -> Mapping[str, float]:
    """The same in seconds of a whole GPU, of which a MIG instance is a part."""
    part = part_of_gpu(window, s.names["gpu"]) if seconds else 1.0
    return {cause: lost * part for cause, lost in seconds.items()}


def wasted_joules(window: Window, s: Signals, seconds: Mapping[str, float]) -> Mapping[str, float]:
    """What the rank's GPU drew in these seconds of the window, by verdict; empty where its energy is not counted.

    In proportion to time, which is the most it can have been: a GPU that waits draws less than one that computes.
    """
    drawn = window.growth(catalog.TRAIN_ENERGY_JOULES_TOTAL, s.run, s.rank, "gpu") if seconds else None
    return {} if drawn is None else {cause: drawn * lost / window.seconds for cause, lost in seconds.items()}


def _phases(window: Window, s: Signals, phases: tuple[str, ...]) -> float:
    """Seconds of the rank in these phases."""
    spent = [window.growth(catalog.TRAIN_PHASE_SECONDS_TOTAL, s.run, s.rank, phase) for phase in phases]
    return sum(value for value in spent if value is not None)
