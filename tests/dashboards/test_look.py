"""Colours: readable on light and dark, told apart by colour-blind readers, one for each thing."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import pytest
from yoloscope_exporter import catalog, colours
from yoloscope_exporter.diagnosis.rules import BY_NAME, RULES
from yoloscope_exporter.measures.training import STEP_PHASES

from dashboards import look
from tests.dashboards.queries import DASHBOARDS, panels

LIGHT, DARK = "#FFFFFF", "#181B1F"  # Grafana's panels
#: Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB.
SIGHT = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}
#: CIE76; 2.3 is just noticeable, 20 is told apart at a glance in fields of a timeline. Okabe and Ito's own come to 16.
TOLD_APART, LINES_APART = 20, 16
STATES = (look.OK, look.WARNING, look.CRITICAL, look.NEUTRAL)
Triple = tuple[float, float, float]


def linear(colour: str) -> Triple:
    """Linear RGB of `#RRGGBB`."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return red, green, blue


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 has it."""
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio as WCAG 2 has it; 3 is its least for graphics and large text."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def lab(rgb: Triple) -> Triple:
    """CIE L*a*b* (D65) of linear RGB."""
    red, green, blue = (min(1.0, max(0.0, channel)) for channel in rgb)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def distance(one: str, other: str, sight: str) -> float:
    """Difference of two colours as someone with that sight sees them."""
    seen = []
    for colour in (one, other):
        red, green, blue = linear(colour)
        rows = [a * red + b * green + c * blue for a, b, c in SIGHT[sight]]
        seen.append(lab((rows[0], rows[1], rows[2])))
    return sum((a - b) ** 2 for a, b in zip(*seen, strict=True)) ** 0.5


@pytest.mark.parametrize("background", [LIGHT, DARK])
def test_colours_stand_out_from_both_themes(background: str) -> None:
    """States at least 3:1, which WCAG 2 asks of graphics; lines and areas, which a legend names as well, 2.2:1."""
    assert [colour for colour in STATES if contrast(colour, background) < 3] == []
    drawn = (*look.PALETTE, *look.PHASES.values(), *look.PREDICT_PHASES.values())
    assert [colour for colour in drawn if contrast(colour, background) < 2.2] == []


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("colours", "least"), [(STATES, TOLD_APART), (look.PALETTE, LINES_APART)])
def test_colours_are_told_apart_by_everybody(colours: tuple[str, ...], least: float, sight: str) -> None:
    """Any two states, and any two of the eight colours of lines, differ for each kind of sight."""
    for one, other in combinations(colours, 2):
        assert distance(one, other, sight) >= least, (one, other)


def test_every_phase_and_every_verdict_has_its_colour() -> None:
    """Phases that one step has beside each other differ; `backward` is one phase or two."""
    assert set(colours.PHASES) == set(catalog.PHASES)
    assert set(colours.PREDICT_PHASES) == set(catalog.PREDICT_PHASES)
    both = colours.PHASES.keys() & colours.PREDICT_PHASES.keys()
    assert {name: colours.PHASES[name] for name in both} == {name: colours.PREDICT_PHASES[name] for name in both}
    assert set(colours.STATES) == set(catalog.STATES)
    assert set(colours.VERDICTS) == set(BY_NAME)
    assert {rule.name for rule in RULES if rule.waste} < set(colours.CAUSES)
    step = [colours.PHASES[phase] for phase in STEP_PHASES if phase != "backward_local"]
    assert len(set(step)) == len(step)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_no_other_colours_are_used(name: str) -> None:
    """Thresholds and mappings use the state colours; lines use the palette, a phase's or a state's."""
    allowed = {*STATES, *look.PALETTE, *look.PHASES.values(), *look.PREDICT_PHASES.values()}
    for panel in panels(DASHBOARDS[name]):
        assert set(_colours(panel["fieldConfig"])) <= allowed, panel["title"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_fill_hides_no_line(name: str) -> None:
    """Areas are for what adds up alone."""
    for panel in panels(DASHBOARDS[name]):
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        if panel["type"] == "timeseries" and custom.get("stacking", {}).get("mode") != "normal":
            assert custom["fillOpacity"] == 0, panel["title"]


def test_numbered_lines_have_one_colour_everywhere() -> None:
    """Rank 3, its GPU and worker 3 are drawn alike; the last number counts, and eight beside each other differ."""
    (panel,) = (panel for panel in panels(DASHBOARDS["en/ranks"]) if panel["title"] == "Step time, by rank")
    rules = [
        (re.compile(override["matcher"]["options"].strip("/")), override["properties"][0]["value"]["fixedColor"])
        for override in panel["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byRegexp"
    ]

    def colour(name: str) -> str:
        (found,) = (colour for pattern, colour in rules if pattern.search(name))
        return str(found)

    assert [colour(f"rank {number}") for number in range(8)] == list(look.PALETTE)
    assert colour("rank 11") == colour("GPU 3 of node17:9911") == colour("rank 5, worker 3") == look.PALETTE[3]
    assert colour("node17:9911 的 GPU 3") == look.PALETTE[3]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_curves_over_epochs_limit_the_curves_alone(name: str) -> None:
    """A limit of all fields is one of the axis of epochs too: two panels that ended at epoch 1 looked empty."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] == "trend":
            assert not {"min", "max"} & panel["fieldConfig"]["defaults"].keys(), panel["title"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_timelines_are_coloured_by_their_mappings(name: str) -> None:
    """Not by thresholds, by which Grafana merges different states into one, and not by its own scale."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] == "state-timeline":
            defaults = panel["fieldConfig"]["defaults"]
            assert defaults["color"]["mode"] == "fixed", panel["title"]
            assert all("color" in each for mapping in defaults["mappings"] for each in mapping["options"].values())


def _colours(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node[key] for key in ("color", "fixedColor") if isinstance(node.get(key), str)]
        return own + [colour for value in node.values() for colour in _colours(value)]
    if isinstance(node, list):
        return [colour for value in node for colour in _colours(value)]
    return []


#: Pixels of a table's columns on a phone that is 390 wide.
PHONE = 340


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_phone_shows_what_a_row_is_and_the_next_column(name: str) -> None:
    """Without scrolling; the first column then stays, and goes on below where its text is too long."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] != "table":
            continue
        key, following, *_ = _columns(panel)
        assert _least(key) + _least(following) <= PHONE, panel["title"]
        assert key["custom.cellOptions"]["wrapText"], panel["title"]
        assert panel["options"]["frozenColumns"] == {"left": 1}


def _columns(table: dict[str, Any]) -> list[dict[str, Any]]:
    """The properties of a table's columns, from left to right."""
    looks = {
        override["matcher"]["options"]: {one["id"]: one["value"] for one in override["properties"]}
        for override in table["fieldConfig"]["overrides"]
    }
    (organize,) = (step["options"] for step in table["transformations"] if step["id"] == "organize")
    return [
        looks[organize["renameByName"][field]]
        for field in sorted(organize["indexByName"], key=organize["indexByName"].get)
    ]


def _least(column: dict[str, Any]) -> int:
    return int(column.get("custom.width") or column["custom.minWidth"])
