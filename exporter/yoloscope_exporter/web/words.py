"""What names of values are called on the page, in English; what has no entry is shown as it is."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from yoloscope_exporter.language import text, translated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yoloscope_exporter.language import Text

#: States of a run.
STATES: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "setup": text("set-up"),
        "train": text("training"),
        "validate": text("validating"),
        "checkpoint": text("writing a checkpoint"),
        "predict": text("predicting"),
        "export": text("exporting"),
        "finished": text("finished"),
        "stopped": text("stopped"),
        "failed": text("failed"),
        "killed": text("killed"),
    }
)
SEVERITIES: Final[Mapping[str, Text]] = MappingProxyType(
    {"ok": text("healthy"), "info": text("note"), "warning": text("warning"), "critical": text("critical")}
)
#: What happened: `name` is a verdict or a GPU, `value` a state, an epoch, a number or a place.
EVENTS: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "state": text("{value}"),
        "epoch": text("epoch {value}"),
        "began": text("{name} began"),
        "ended": text("{name} ended"),
        "worker_died": text("loader workers died: {value}"),
        "hang": text("hangs: {value}"),
        "gpu_lost": text("GPU {name} does not answer"),
        "gpu_back": text("GPU {name} answers again"),
        "xid": text("GPU {name}: Xid {value}"),
    }
)
#: What holds a GPU's clocks down.
THROTTLE_REASONS: Final[Mapping[str, Text]] = MappingProxyType(
    {
        "sw_power_cap": text("power limit"),
        "sw_thermal_slowdown": text("temperature (driver)"),
        "hw_slowdown": text("hardware slowdown"),
        "hw_thermal_slowdown": text("temperature (hardware)"),
        "hw_power_brake_slowdown": text("power brake"),
    }
)
#: What a fix changes where it changes nothing that is named (`advice.Advice.effect`).
NO_EFFECT: Final = text("nothing of the result")


def told(words: Mapping[str, Text], name: str, language: str) -> str:
    """What `name` is called in a language."""
    return translated(words[name], language) if name in words else name
