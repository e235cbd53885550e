"""Runs that have not begun to train."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from yoloscope_exporter.diagnosis.advice import Advice
from yoloscope_exporter.diagnosis.rules.lifecycle import hanging
from yoloscope_exporter.diagnosis.rules.rule import WARNING, Rule
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import text, units

if TYPE_CHECKING:
    from yoloscope_exporter.diagnosis.thresholds import Thresholds


class _Stage(NamedTuple):
    """What a stage does, and what makes it short."""

    does: str
    remedy: str


STAGES = {
    "scan": _Stage(
        "every image and label file is opened once",
        "copy the data set to a local disk, and make its labels folder writable: labels.cache spares the next scan",
    ),
    "cache": _Stage(
        "all images are read and decoded before training",
        "cache=False starts at once; the data set on a local disk is cached faster",
    ),
    "amp_check": _Stage(
        "AMP is checked with a small model that Ultralytics downloads first",
        "put that model (the log names it) into the working directory, or amp=False, which skips the check and AMP",
    ),
    "autobatch": _Stage("batch sizes are tried out", "a number for batch= spares it"),
    "model": _Stage(
        "the model is built, its weights are read or downloaded", "model= with the path of a file on a local disk"
    ),
    "loader": _Stage(
        "loader workers are started", "fewer workers; a data set that is small to pickle, where workers are spawned"
    ),
    "ddp": _Stage(
        "ranks wait until all of them are there",
        "look whether every rank was started; MASTER_ADDR, MASTER_PORT and firewalls; NCCL_DEBUG=INFO says more",
    ),
    "other": _Stage("it is none of the stages that are known", "yoloscope stacks RUN says what it does"),
}


def _stage(s: Signals) -> _Stage:
    return STAGES.get(s.names.get("setup_stage", "other"), STAGES["other"])


def _cause(s: Signals, _: Thresholds) -> str:
    """What the stage under way does: reading labels, caching, downloads, building the model, waiting for ranks."""
    return _stage(s).does


def _evidence(s: Signals, _: Thresholds) -> str:
    stage = s.text("; now in the stage {setup_stage}") if "setup_stage" in s.names else ""
    done = s.text(", {setup_progress:.0%} done") if s.has(Signals.setup_progress) else ""
    still = s.get(Signals.setup_progress_age)
    stuck = text(", without progress for {still}", still=units.duration(still)) if still >= 60 else ""  # noqa: PLR2004 - shorter is no news
    return text(
        "in set-up for {setup_seconds:.1f} min{stage}{done}{stuck}; no batch so far{hanging}",
        setup_seconds=s.setup_seconds / 60,
        stage=stage,
        done=done,
        stuck=stuck,
        hanging=hanging(s),
    )


RULES = (
    Rule(
        name="setup_slow",
        title="Set-up takes long",
        severity=WARNING,
        requires="the run's start, and that it is in its set-up or has no batch yet",
        confused_with={"stalled": "that needs batches; before the first one the stage of the set-up says what goes on"},
        needs=(Signals.setup_seconds,),
        when=lambda s, t: s.up and s.setup_seconds >= t.setup_seconds,
        thresholds=("setup_seconds",),
        evidence=_evidence,
        cause=_cause,
        verify="the end of the log; yoloscope stacks RUN; py-spy dump --native --pid <pid> for frames outside Python",
        fix=lambda s: Advice(note=_stage(s).remedy),
        states=("setup", "train"),
        event=True,
        remedy="by the stage: a local disk and a writable labels folder (scan), `cache=False` (cache), the model at "
        "hand (amp_check, model), a number for `batch` (autobatch), fewer `workers` (loader), reachable ranks (ddp)",
    ),
)
