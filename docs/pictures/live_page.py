"""Photographs the exporter's live page over a simulated node: `python -m docs.pictures.live_page`.

Wants Chromium. A test cannot make the picture again: times and noise are others each time.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tests.chromium import chromium
from tests.exporter.simulated import node, simulated

HERE = Path(__file__).parent
WIDTH, HEIGHT = 1366, 1750
#: As many as one byte holds: each phase has its own.
COLOURS = 255
READY = """document.body.dataset.state === "live" && document.querySelectorAll("figure:not([hidden])").length > 9"""


def main() -> None:
    """Write the picture, or one of another window, language or scheme."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--file", type=Path, default=HERE / "live-page.png", help="(%(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(WIDTH, HEIGHT), help="of the window in pixels")
    parser.add_argument("--whole", action="store_true", help="all of the page, not what is in the window")
    parser.add_argument("--language", choices=("en", "zh"), default="en")
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--scenario", default="starved", help="as of `yoloscope simulate` (%(default)s)")
    parser.add_argument("--gpus", type=int, default=2)
    given = parser.parse_args()
    samples = node(given.scenario, given.gpus, before=4200, onset=2400, workers=8, speed=2)
    with (
        simulated(samples, past=3600) as made,
        tempfile.TemporaryDirectory() as profile,
        chromium(Path(profile)) as tab,
    ):
        tab.size(*given.size, phone=given.size[0] < 600)  # noqa: PLR2004 - narrower windows are phones
        tab.scheme(given.scheme)
        tab.go(f"{made.url}/?lang={given.language}")
        tab.wait(READY, 60)
        tab.pause(1)
        tab.picture(given.file, whole=given.whole)
    shrink(given.file)


def shrink(file: Path) -> None:
    """Let a picture have as few bytes as its colours allow."""
    from PIL import Image as pillow  # noqa: N813, PLC0415 - Ultralytics brings it, and only this function wants it

    with pillow.open(file) as shot:
        small = shot.convert("RGB").quantize(COLOURS, dither=pillow.Dither.NONE)
    small.save(file, optimize=True)


if __name__ == "__main__":
    main()
