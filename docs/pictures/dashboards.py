"""Photographs the dashboards in a Grafana's own front end: `python -m docs.pictures.dashboards http://localhost:3000`.

Wants Chromium, and the dashboards in that Grafana with data behind them, for example of `yoloscope simulate`. A test
cannot make these pictures again: Grafana is no part of the repository.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from PIL.Image import Image

HERE = Path(__file__).parent
#: Dashboard -> how much of it is shown, in pixels.
SHOWN = {
    "fleet": 1000,
    "run": 1000,
    "data": 1150,
    "memory": 1050,
    "ranks": 1150,
    "node": 1100,
    "inference": 1150,
    "compare": 1150,
}
#: Language -> what stands behind the uid of a dashboard, and before the `.png` of its picture.
LANGUAGES = {"en": ("", ""), "zh-CN": ("-zh", ".zh-CN")}
#: Dashboard -> the variables by which the runs and nodes of the arguments are chosen; without them its own defaults.
CHOSEN = {
    **{name: {"var-run": "run"} for name in ("run", "data", "memory", "ranks")},
    "node": {"var-instance": "node"},
    "inference": {"var-prediction": "prediction"},
    "compare": {"var-run_a": "other", "var-run": "run"},
}
WIDTH = 1366
#: A dark theme with few hues: more colours cost bytes and show nothing.
COLOURS = 128
#: Time for the front end to load and to ask its queries.
MILLISECONDS = 30_000


def photograph(address: str, uid: str, height: int, settings: dict[str, str]) -> Image:
    """A dashboard without Grafana's menus.

    Raises:
        subprocess.CalledProcessError: if Chromium fails.
    """
    from PIL import Image as pillow  # noqa: N813, PLC0415 - Ultralytics brings it, and only this function wants it

    page = f"{address.rstrip('/')}/d/yoloscope-{uid}?{urlencode(settings)}&kiosk"
    with tempfile.TemporaryDirectory() as folder:
        command = [
            shutil.which("chromium") or "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
            f"--window-size={WIDTH},{height}",
            f"--virtual-time-budget={MILLISECONDS}",
            f"--screenshot={folder}/shot.png",
            page,
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=180)  # noqa: S603 - our own words
        with pillow.open(f"{folder}/shot.png") as shot:
            return shot.convert("RGB").quantize(COLOURS, dither=pillow.Dither.NONE)


def main() -> None:
    """Write one picture for each dashboard in SHOWN, or for those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("address", help="of Grafana, where no login is asked for")
    parser.add_argument("--from", dest="start", default="now-1h", help="as Grafana's addresses have it (%(default)s)")
    parser.add_argument("--to", dest="end", default="now", help="(%(default)s)")
    parser.add_argument("--run", help="name of the run to show, and run B to compare; without it the dashboards' own")
    parser.add_argument("--other", help="run A to compare")
    parser.add_argument("--node", help="address of the node to show, as `instance` has it")
    parser.add_argument("--prediction", help="name of the process that predicts")
    parser.add_argument("--language", choices=LANGUAGES, default="en", help="of the dashboards (%(default)s)")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the pictures are written to (%(default)s)")
    parser.add_argument("names", nargs="*", default=list(SHOWN), help=f"of {', '.join(SHOWN)}; without them all")
    arguments = parser.parse_intermixed_args()
    settings = {"from": arguments.start, "to": arguments.end, "theme": "dark"}
    behind_uid, behind_name = LANGUAGES[arguments.language]
    for name in arguments.names:
        given = {variable: getattr(arguments, argument) for variable, argument in CHOSEN.get(name, {}).items()}
        chosen = {variable: value for variable, value in given.items() if value}
        picture = photograph(arguments.address, f"{name}{behind_uid}", SHOWN[name], settings | chosen)
        picture.save(arguments.folder / f"{name}{behind_name}.png", optimize=True)


if __name__ == "__main__":
    main()
