"""Colours, once: of lines, of phases, of severities and of verdicts, for dashboards, pages, reports and terminals.

Lines have Okabe and Ito's palette (Color Universal Design, 2008: https://jfly.uni-koeln.de/color), its black and
yellow replaced by a violet and a brown, which show on light and on dark. Any two of them, and any two severities, are
told apart with protanopia, deuteranopia and tritanopia; tests/dashboards/test_look.py computes that and the contrasts.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from yoloscope_exporter.diagnosis.rules import BY_NAME, CRITICAL, INFO, OK, RULES, WARNING

if TYPE_CHECKING:
    from collections.abc import Mapping

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILLION, BROWN, VIOLET = "#56B4E9", "#D55E00", "#884422", "#AA44FF"
PALETTE: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILLION, BROWN, VIOLET)

#: Of pages: text, text of less weight, background, lines between, and what is set off.
LIGHT: Final[Mapping[str, str]] = MappingProxyType(
    {"ink": "#1b1f24", "soft": "#667", "paper": "#fff", "line": "#d8dde3", "band": "#0001"}
)
DARK: Final[Mapping[str, str]] = MappingProxyType(
    {"ink": "#e6e9ed", "soft": "#9aa3ad", "paper": "#14171b", "line": "#333a42", "band": "#fff1"}
)

#: Of what says nothing about health.
GREY: Final = "#8A8F98"
SEVERITIES: Final[Mapping[str, str]] = MappingProxyType(
    {OK: "#3274D9", INFO: GREY, WARNING: "#C77700", CRITICAL: "#CC2163"}
)
#: A verdict has the colour of its severity.
VERDICTS: Final[Mapping[str, str]] = MappingProxyType(
    {name: SEVERITIES[rule.severity] for name, rule in BY_NAME.items()}
)
#: Where verdicts stand beside each other as causes, each has one of its own; eight are told apart.
CAUSES: Final[Mapping[str, str]] = MappingProxyType(
    {rule.name: PALETTE[place % len(PALETTE)] for place, rule in enumerate(rule for rule in RULES if rule.waste)}
    | {"stalled": SEVERITIES[CRITICAL], "held_idle": GREY}
)

#: Blue and green compute, orange and vermillion wait, grey is no training; `backward` is one phase or two.
PHASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "setup": "#948F84",
        "loader_start": BROWN,
        "data_wait": ORANGE,
        "callbacks": VIOLET,
        "h2d": PURPLE,
        "preprocess": "#8F8A00",
        "forward": BLUE,
        "backward": SKY,
        "backward_local": SKY,
        "backward_exposed": VERMILLION,
        "optimizer": GREEN,
        "other": GREY,
        "validate": "#6F7A86",
        "checkpoint": "#A3A9B1",
    }
)
#: The same of predictions: orange and vermillion wait for something else than the model.
PREDICT_PHASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "setup": PHASES["setup"],
        "load": BROWN,
        "source": ORANGE,
        "preprocess": PHASES["preprocess"],
        "inference": BLUE,
        "postprocess": SKY,
        "callbacks": VIOLET,
        "save": PURPLE,
        "metrics": GREEN,
        "user": VERMILLION,
        "idle": PHASES["checkpoint"],
        "other": GREY,
    }
)
#: A run is in a state as it spends time in a phase of that name; while it trains, it computes.
STATES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "setup": PHASES["setup"],
        "train": BLUE,
        "validate": PHASES["validate"],
        "checkpoint": PHASES["checkpoint"],
        "finished": GREEN,
        "failed": SEVERITIES[CRITICAL],
        "killed": SEVERITIES[CRITICAL],
    }
)

#: Of heatmaps, by the name that Grafana and plotly know: the brighter the more, for colour-blind readers as for others
#: (Nunez, Anderton and Renslow 2018).
HEAT: Final = "Cividis"
