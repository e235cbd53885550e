"""The live page at `/`: a frame in English or Chinese, which its script fills from `/api/v1/events`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from yoloscope_exporter import __version__, charts
from yoloscope_exporter.history.courses import OF_GPUS, OF_RANKS, OF_RUN
from yoloscope_exporter.language import ENGLISH, NAMES, say, speaking, text
from yoloscope_exporter.measures.training import STEP_PHASES
from yoloscope_exporter.web import assets
from yoloscope_exporter.web.answers import PREFIX
from yoloscope_exporter.web.api import EVERY_SECONDS

if TYPE_CHECKING:
    from jinja2 import Template

    from yoloscope_exporter.language import Text

#: Nothing but what the exporter serves itself: no script and no style within the page, and nothing from elsewhere.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


#: Time ranges of a Prometheus to choose from, in seconds.
RANGES: Final = (
    (900, text("15 min")),
    (3600, text("1 h")),
    (21600, text("6 h")),
    (86400, text("1 day")),
    (604800, text("7 days")),
)
_SAID_BY_THE_SCRIPT: Final = re.compile(r"\bsay\('([^']+)'")


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        names: of the courses that it draws.
        of: `run` or `gpus`.
        kind: `lines`, `heat` (a row for each worker) or `growth` (a bar for each epoch).
        title: a text of its own, where it is not that of its course.
        most: highest value of its axis, where that is known.
    """

    names: tuple[str, ...]
    of: str
    kind: str = "lines"
    title: Text | None = None
    most: float | None = None


CHARTS: Final = (
    Chart(("images",), "run"),
    Chart(("predict_images",), "run"),
    Chart(("predict_batch_seconds",), "run"),
    Chart(("data_wait",), "run", most=1),
    Chart(("preparation",), "run", "heat"),
    Chart(("own",), "run"),
    Chart(("gpu_busy",), "gpus", most=1),
    Chart(("gpu_memory_used",), "gpus", most=1),
    Chart(("power",), "gpus"),
    Chart(("temperature",), "gpus"),
    Chart(("slowed", "power_cap"), "gpus", title=text("Clocks held down"), most=1),
    Chart(("cuda_allocated",), "run"),
    Chart(("resident",), "run"),
    Chart(("cuda_growth", "resident"), "run", "growth", title=text("Memory growth per epoch")),
    Chart(("loss",), "run"),
    Chart(("metric",), "run"),
)


@cache
def render(language: str, telemetry_path: str, prometheus: str = "") -> str:
    """The page as HTML; what it shows comes later, so it is the same for everybody."""
    other = next(one for one in NAMES if one != language)
    with speaking(language):
        return _template().render(
            language=language,
            other=other,
            other_name=NAMES[other],
            version=__version__,
            links=(
                (telemetry_path, text("metrics")),
                (f"{PREFIX}/runs", text("JSON")),
                ("/-/ready", text("readiness")),
                ("/-/healthy", text("health")),
            ),
            scripts=charts.SCRIPTS,
            styles=("colours.css", *charts.STYLES, "page.css"),
            url=assets.url,
            prometheus=prometheus,
            ranges=RANGES,
            config=config(language) | (_of_a_prometheus() if prometheus else {}),
        )


def _of_a_prometheus() -> dict[str, Any]:
    """What differs in the script's configuration."""
    from yoloscope_exporter.web import fleet, fleet_api  # noqa: PLC0415 - a megabyte, for who shows a Prometheus

    return {"fleet": True, "seconds": fleet_api.EVERY_SECONDS, "range": (fleet.SHORTEST, fleet.LONGEST)}


@cache
def _template() -> Template:
    from yoloscope_exporter.charts.pages import environment  # noqa: PLC0415 - 2 MB, for who opens the page

    return environment("yoloscope_exporter.web").get_template("page.html")


def config(language: str) -> dict[str, Any]:
    """What the script has to know: its texts in another language, charts and columns with their titles and units."""
    with speaking(language):
        return _config(language)


def _config(language: str) -> dict[str, Any]:
    courses = {course.name: course for course in (*OF_RUN, *OF_GPUS, *OF_RANKS)}
    return {
        "language": language,
        "fleet": False,
        "seconds": EVERY_SECONDS,
        "texts": {} if language == ENGLISH else {told: say(told) for told in said_by_the_script()},
        "phases": STEP_PHASES,
        "charts": [
            {
                "names": chart.names,
                "of": chart.of,
                "kind": chart.kind,
                "title": say(chart.title or courses[chart.names[0]].title),
                "help": say(courses[chart.names[0]].help),
                "unit": courses[chart.names[0]].unit,
                "most": chart.most,
                "names_told": {name: say(courses[name].title) for name in chart.names},
            }
            for chart in CHARTS
        ],
        "columns": [{"name": course.name, "title": say(course.title), "unit": course.unit} for course in OF_RANKS],
    }


def said_by_the_script() -> tuple[str, ...]:
    """The English texts in page.js: what it says with `say('...')`, as everything else does."""
    return tuple(dict.fromkeys(_SAID_BY_THE_SCRIPT.findall(assets.assets()["page.js"].body.decode())))
