"""Photographs the exporter's live page: `python -m docs.pictures.live_page`, or with `--prometheus` that of a fleet.

Simulated nodes stand behind it. Wants Chromium, for a fleet prometheus and promtool as well. A test cannot make the
pictures again: times and noise are others each time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from yoloscope_exporter.simulation import SCENARIOS, simulate
from yoloscope_exporter.simulation.openmetrics import lines

from tests.chromium import chromium
from tests.dashboards.world import prometheus, promtool
from tests.exporter.simulated import node, simulated
from tests.exporter.web.fleets import showing

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1366, 1750
#: As many as one byte holds: each phase has its own.
COLOURS = 255
READY = """document.body.dataset.state === "live" && document.querySelectorAll("figure:not([hidden])").length > 9"""
#: Of the fleet: nodes, seconds of an hour between two scrapes.
NODES, STEP = 12, 30


@contextmanager
def of_a_node(scenario: str, gpus: int) -> Iterator[str]:
    """The page of one node."""
    samples = node(scenario, gpus, before=4200, onset=2400, workers=8, speed=2)
    with simulated(samples, past=3600) as made:
        yield f"{made.url}/?"


@contextmanager
def of_a_fleet(gpus: int) -> Iterator[str]:
    """The page of a Prometheus with an hour of several nodes."""
    end = int(time.time()) // 60 * 60
    scrapes = simulate(
        list(SCENARIOS), NODES, gpus, start=end - 3600, end=end, step=STEP, workers=4, onset=600, speed=2
    )
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "samples.txt"
        with text.open("w", encoding="utf-8") as file:
            file.writelines(lines(scrapes))
        promtool("openmetrics", str(text), f"{folder}/data")
        with prometheus(Path(folder)) as url, showing(url) as page:
            yield f"{page.url}/?seconds=3600&end={end}&"


def main() -> None:
    """Write the picture, or one of another window, language or scheme."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prometheus", action="store_true", help="the page of a fleet")
    parser.add_argument("--file", type=Path, help="(live-page.png or fleet-page.png)")
    parser.add_argument("--size", type=int, nargs=2, default=(WIDTH, HEIGHT), help="of the window in pixels")
    parser.add_argument("--whole", action="store_true", help="all of the page, not what is in the window")
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--scenario", default="starved", help="of a node, as of `yoloscope simulate` (%(default)s)")
    parser.add_argument("--gpus", type=int, default=2, help="of each node")
    given = parser.parse_args()
    file = given.file or HERE / ("fleet-page.png" if given.prometheus else "live-page.png")
    shown = of_a_fleet(given.gpus) if given.prometheus else of_a_node(given.scenario, given.gpus)
    with shown as address, tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as tab:
        tab.size(*given.size, phone=given.size[0] < 600)  # noqa: PLR2004 - narrower windows are phones
        tab.scheme(given.scheme)
        tab.go(f"{address}lang={given.language}")
        tab.wait(READY, 60)
        tab.pause(1)
        tab.picture(file, whole=given.whole)
    shrink(file)


def shrink(file: Path) -> None:
    """Let a picture have as few bytes as its colours allow."""
    from PIL import Image as pillow  # noqa: N813, PLC0415 - Ultralytics brings it, and only this function wants it

    with pillow.open(file) as shot:
        small = shot.convert("RGB").quantize(COLOURS, dither=pillow.Dither.NONE)
    small.save(file, optimize=True)


if __name__ == "__main__":
    main()
