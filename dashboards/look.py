"""How things look: colours, units and value texts, the same on every dashboard.

Colours are those of `yoloscope_exporter.colours`, where pages, reports and the terminal have theirs from. Those of
states have a contrast of at least 3:1 against Grafana's light (#FFFFFF) and dark (#181B1F) panel.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from yoloscope_exporter import colours
from yoloscope_exporter.diagnosis.rules import CRITICAL as SEVERE
from yoloscope_exporter.diagnosis.rules import OK as HEALTHY
from yoloscope_exporter.diagnosis.rules import WARNING as NOTABLE
from yoloscope_exporter.measures.thresholds import THRESHOLDS

from dashboards import sdk

if TYPE_CHECKING:
    from collections.abc import Mapping

OK: Final = colours.SEVERITIES[HEALTHY]
WARNING: Final = colours.SEVERITIES[NOTABLE]
CRITICAL: Final = colours.SEVERITIES[SEVERE]
NEUTRAL: Final = colours.GREY
PALETTE: Final = colours.PALETTE
PHASES: Final = colours.PHASES
PREDICT_PHASES: Final = colours.PREDICT_PHASES
HEAT: Final = colours.HEAT


def _in_order(*values: str) -> Mapping[str, str]:
    return dict(zip(values, PALETTE, strict=False))


#: Label -> the colour of each of its values, for labels whose values are a fixed set.
OF_LABEL: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "phase": PHASES,
        "cause": colours.CAUSES,
        "role": _in_order("main", "worker", "val_worker"),
        "kind": _in_order(
            "allocated",
            "reserved",
            "peak_allocated",
            "peak_reserved",
            "active",
            "inactive_split",
            "epoch_peak_allocated",
            "epoch_peak_reserved",
        ),
        "component": _in_order("box_loss", "cls_loss", "dfl_loss", "pose_loss", "kobj_loss", "seg_loss"),
        "name": _in_order(
            "metrics/mAP50-95(B)", "metrics/mAP50(B)", "metrics/precision(B)", "metrics/recall(B)", "fitness"
        ),
        "resource": _in_order("cpu", "io", "memory"),
        "mode": _in_order("user", "iowait", "system", "softirq", "nice", "steal", "irq", "guest"),
    }
)
_ALONE: Final = re.compile(r"\{\{(\w+)\}\}")


def by_label(legend: str) -> Mapping[str, str]:
    """The colours of a query's lines by name, if they are named after a label that has such colours."""
    label = _ALONE.fullmatch(legend)
    return OF_LABEL.get(label[1], {}) if label else {}


#: The catalogue's units in Grafana's words. Ratios are 0..1, which Grafana calls `percentunit`.
UNITS: Final = {
    "": "short",
    "/s": "cps",
    "images/s": "suffix: img/s",
    "batches/s": "suffix: batch/s",
    "seconds": "s",
    "seconds/s": "percentunit",
    "bytes": "bytes",
    "bytes/s": "binBps",
    "ratio": "percentunit",
    "watts": "watt",
    "joules": "joule",
    "celsius": "celsius",
    "hertz": "hertz",
    "cores": "suffix: cores",
    "hours": "suffix: h",
    "kilowatt-hours": "kwatth",
    "kilograms": "masskg",
    "processes": "none",
    "gpus": "suffix: GPU",
    "times": "suffix: x",
    "score": "none",
    "timestamp": "dateTimeAsIso",
}

#: A value no measurement has; it stands for 'this hardware or run does not have it'.
ABSENT: Final = -1.0

#: (from value, colour), ascending; the first value is None: from minus infinity.
Steps = tuple[tuple[float | None, str], ...]
PLAIN: Final[Steps] = ((None, NEUTRAL),)


def above(warning: str | float, critical: str | float | None = None) -> Steps:
    """High is bad; a threshold by its name, or a number of things."""
    steps: Steps = ((None, OK), (_value(warning), WARNING))
    return steps if critical is None else (*steps, (_value(critical), CRITICAL))


def below(warning: str | float, critical: str | float | None = None) -> Steps:
    """Low is bad: OK from `warning` up, critical under `critical`; as `above` takes them."""
    if critical is None:
        return ((None, WARNING), (_value(warning), OK))
    return ((None, CRITICAL), (_value(critical), WARNING), (_value(warning), OK))


def _value(threshold: str | float) -> float:
    return THRESHOLDS[threshold].value if isinstance(threshold, str) else threshold


def thresholds(steps: Steps) -> sdk.ThresholdsBuilder:
    """The steps as Grafana wants them; always set, because its default paints everything above 80 red."""
    return (
        sdk.ThresholdsBuilder()
        .mode(sdk.models.ThresholdsMode.ABSOLUTE)
        .steps([sdk.models.Threshold(value=value, color=colour) for value, colour in steps])
    )


def mapping(by_value: dict[str, tuple[str, str]]) -> sdk.models.ValueMap:
    """Show words (text, colour) for exact values."""
    results = {
        value: sdk.models.ValueMappingResult(text=text, color=colour, index=index)
        for index, (value, (text, colour)) in enumerate(by_value.items())
    }
    return sdk.models.ValueMap(options=results)


NOT_AVAILABLE: Final = mapping({f"{ABSENT:g}": ("n/a", NEUTRAL)})
