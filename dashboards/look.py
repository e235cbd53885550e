"""How things look: colours, units and value texts, the same on every dashboard.

Colours carry state and nothing else. Each has a contrast of at least 3:1 against Grafana's light (#FFFFFF) and dark
(#181B1F) panel, and any two are told apart with protanopia, deuteranopia and tritanopia; a test computes both.
Lines that stand for no state are shades of the muted hues below.
"""

from __future__ import annotations

from typing import Final

from yoloscope_exporter.measures.thresholds import THRESHOLDS

from dashboards import sdk

OK: Final = "#3274D9"
WARNING: Final = "#C77700"
CRITICAL: Final = "#CC2163"
NEUTRAL: Final = "#8A8F98"
STATE_COLOURS: Final = (OK, WARNING, CRITICAL, NEUTRAL)
#: Lines without a state are shades of these, one hue for each query of a panel.
HUES: Final = ("#5B8DB8", "#8C6BB1", "#4E9A8E", "#9A8060", "#7B83A6", "#A86B8E")

#: Computing is blue, waiting orange, what is no training grey. The shade tells the phases apart.
PHASES: Final = {
    "loader_start": "#B8894D",
    "data_wait": WARNING,
    "callbacks": "#9A6E8F",
    "h2d": "#A07A4A",
    "preprocess": "#7C8F5A",
    "forward": "#3274D9",
    "backward": "#5F7FC4",
    "backward_local": "#5F7FC4",
    "backward_exposed": "#A86B8E",
    "optimizer": "#4E8FA8",
    "other": "#7F7F8F",
    "validate": "#8A8F98",
    "checkpoint": "#6F7A86",
    "setup": "#948F84",
}

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
    "hours": "h",
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
