"""The live page at `/`: a frame in English or Chinese, which its script fills from `/api/v1/events`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from yoloscope_exporter import __version__, charts
from yoloscope_exporter.history.courses import OF_GPUS, OF_RANKS, OF_RUN
from yoloscope_exporter.measures.catalog import BY_NAME
from yoloscope_exporter.measures.training import STEP_PHASES
from yoloscope_exporter.web import assets, texts
from yoloscope_exporter.web.answers import PREFIX
from yoloscope_exporter.web.api import EVERY_SECONDS
from yoloscope_exporter.web.fleet import LONGEST, SHORTEST
from yoloscope_exporter.web.fleet_api import EVERY_SECONDS as FLEET_SECONDS

if TYPE_CHECKING:
    from jinja2 import Template

#: Nothing but what the exporter serves itself: no script and no style within the page, and nothing from elsewhere.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


#: Time ranges of a Prometheus to choose from, in seconds, with their texts.
RANGES: Final = ((900, "minutes_15"), (3600, "hour"), (21600, "hours_6"), (86400, "day"), (604800, "days_7"))


@dataclass(frozen=True)
class Chart:
    """A chart of the page.

    Attributes:
        names: of the courses that it draws.
        of: `run` or `gpus`.
        kind: `lines`, `heat` (a row for each worker) or `growth` (a bar for each epoch).
        title: a text of its own, where it is not the measure's.
        most: highest value of its axis, where that is known.
    """

    names: tuple[str, ...]
    of: str
    kind: str = "lines"
    title: str = ""
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
    Chart(("slowed", "power_cap"), "gpus", title="throttling", most=1),
    Chart(("cuda_allocated",), "run"),
    Chart(("resident",), "run"),
    Chart(("cuda_growth", "resident"), "run", "growth", title="growth"),
    Chart(("loss",), "run"),
    Chart(("metric",), "run"),
)


@cache
def render(language: str, telemetry_path: str, prometheus: str = "") -> str:
    """The page as HTML; what it shows comes later, so it is the same for everybody."""
    return _template().render(
        language=language,
        other=next(one for one in texts.LANGUAGES if one != language),
        words=texts.all_told(texts.PAGE, language),
        version=__version__,
        links=(
            (telemetry_path, "metrics"),
            (f"{PREFIX}/runs", "api"),
            ("/-/ready", "ready"),
            ("/-/healthy", "healthy"),
        ),
        scripts=charts.SCRIPTS,
        styles=("colours.css", *charts.STYLES, "page.css"),
        url=assets.url,
        prometheus=prometheus,
        ranges=RANGES,
        config=config(language) | ({"fleet": True, "seconds": FLEET_SECONDS} if prometheus else {}),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - 2 MB, for who opens the page

    environment = Environment(
        loader=PackageLoader("yoloscope_exporter.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def config(language: str) -> dict[str, Any]:
    """What the script has to know: texts, charts and columns with their titles and units."""
    courses = {course.name: course for course in (*OF_RUN, *OF_GPUS, *OF_RANKS)}
    return {
        "language": language,
        "fleet": False,
        "range": (SHORTEST, LONGEST),
        "seconds": EVERY_SECONDS,
        "words": texts.all_told(texts.PAGE, language),
        "severities": texts.all_told(texts.SEVERITIES, language),
        "phases": STEP_PHASES,
        "charts": [
            {
                "names": chart.names,
                "of": chart.of,
                "kind": chart.kind,
                "title": texts.CHARTS[chart.title].told(language) if chart.title else title(chart.names[0], language),
                "help": help_of(chart.names[0], language),
                "unit": courses[chart.names[0]].unit,
                "most": chart.most,
                "names_told": {name: title(name, language) for name in chart.names},
            }
            for chart in CHARTS
        ],
        "columns": [
            {"name": course.name, "title": title(course.name, language), "unit": course.unit} for course in OF_RANKS
        ],
    }


def title(name: str, language: str) -> str:
    """Of a course: the measure's, or one of the page."""
    measure = BY_NAME.get(name)
    if measure is None:
        return texts.CHARTS[name].told(language)
    return measure.title_zh if language == texts.CHINESE else measure.title


def help_of(name: str, language: str) -> str:
    """What a measure says; empty for a metric as it is."""
    measure = BY_NAME.get(name)
    return "" if measure is None else measure.help_zh if language == texts.CHINESE else measure.help
