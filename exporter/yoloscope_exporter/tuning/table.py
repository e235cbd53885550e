"""What probes measured, for people and for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.language import in_figures, joined, plural, say, text, units
from yoloscope_exporter.reports.interval import says_of_mean
from yoloscope_exporter.tuning.search import Setting, Trial, words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.diagnosis.forecast import Forecast
    from yoloscope_exporter.tuning.speed import Speed


def machine(s: Signals) -> str:
    """What there is: CPUs, memory, room on the disk, GPU."""
    told = []
    if s.has(Signals.rank_cores, Signals.node_cores):
        told.append(
            text(
                "{rank_cores:g} of {counted} for a rank",
                rank_cores=s.rank_cores,
                counted=units.counted(s.node_cores, "CPU"),
            )
        )
    if s.has(Signals.quota_cores):
        told.append(plural(s.quota_cores, "a quota of {number:g} CPU", "a quota of {number:g} CPUs"))
    if s.has(Signals.memory_available_bytes):
        told.append(
            text("{memory_available_bytes} of memory", memory_available_bytes=units.size(s.memory_available_bytes))
        )
    if s.has(Signals.cache_disk_room_bytes):
        told.append(
            text(
                "{cache_disk_room_bytes} of disk beside the images",
                cache_disk_room_bytes=units.size(s.cache_disk_room_bytes),
            )
        )
    has_gpu = s.has(Signals.gpu_memory_total_bytes)
    told.append(
        text("a GPU with {gpu_memory_total_bytes}", gpu_memory_total_bytes=units.size(s.gpu_memory_total_bytes))
        if has_gpu
        else text("no GPU that can be seen")
    )
    return joined(told, ", ")


def outcome(trial: Trial) -> str:
    """`34.1 images/s ±2.6%, 62% waiting for data`."""
    if trial.speed is None:
        return trial.failure
    speed = trial.speed
    return text(
        "{images_per_second:.4g} images/s{margin}, {wait_share:.0%} waiting for data",
        images_per_second=speed.images_per_second,
        margin=_margin(speed),
        wait_share=speed.wait_share,
    )


def _margin(speed: Speed) -> str:
    """` ±2.6%`; empty where that says nothing."""
    return f" ±{speed.margin:.1%}" if says_of_mean(speed.margin, 1.0, relative=True) else ""


def trials_table(trials: Sequence[Trial], best: Setting) -> Table:
    """Every probe in its order, those of the best setting marked."""
    table = Table(title=say("what was tried"), title_justify="left")
    table.add_column(say("setting"))
    for name in ("images/s", "waiting", "probe"):
        table.add_column(say(name), justify="right", no_wrap=True)
    table.add_column(say("why"), overflow="fold")
    for trial in trials:
        style = "bold" if trial.setting == best else None
        table.add_row(
            *map(say, (words(trials, trial.setting), *_figures(trial), trial.failure or trial.why)), style=style
        )
    return table


def _figures(trial: Trial) -> tuple[str, str, str]:
    speed = trial.speed
    if speed is None:
        return "-", "-", "-"
    return (
        f"{in_figures(speed.images_per_second, 4)}{_margin(speed)}",
        f"{speed.wait_share:.0%}",
        joined((units.counted(speed.batches, "batch"), f"{speed.seconds:.1f} s"), ", "),
    )


def trial_json(trial: Trial) -> dict[str, Any]:
    """One probe."""
    speed = trial.speed
    figures = (
        {"failure": trial.failure}
        if speed is None
        else {
            "images_per_second": speed.images_per_second,
            "relative_standard_error": speed.spread,
            "wait_share": speed.wait_share,
            "batches": speed.batches,
            "seconds": speed.seconds,
        }
    )
    workers = {} if trial.workers is None else {"workers": trial.workers}
    return {**setting_json(trial.setting), "why": trial.why, **workers, **figures}


def setting_json(setting: Setting) -> dict[str, Any]:
    """What is typed for it."""
    return {"arguments": setting.arguments, "environment": setting.environment}


def forecast_json(forecast: Forecast | None) -> dict[str, Any] | None:
    """An interval that holds four outcomes in five."""
    if forecast is None:
        return None
    return {"unit": forecast.unit, "low": forecast.low, "high": forecast.high, "today": forecast.today}
