"""The environment in which Python looks like that of another system."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.other_systems import names

ROOT = Path(__file__).resolve().parents[2]
LOOKALIKE = Path(__file__).parent / "lookalike"
SYSTEMS = ("windows", "macos")


def environment(system: str, home: Path) -> dict[str, str]:
    """Of a process that looks like one of `windows` or `macos`, of a user whose folder is `home`."""
    home.mkdir(exist_ok=True)
    told = home / "lookalike.json"
    content = {
        "platform": names.NAMES[system],
        "modules": sorted(names.missing_modules(system) - {"_posixsubprocess"}),
        "missing": {module: sorted(names.missing(module, system)) for module in (*names.DIFFERENT, "fcntl")},
        "guarded": str(records(system, home)),
    }
    told.write_text(json.dumps(content), encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("YOLOSCOPE_", "COV_", "PYTEST"))}
    paths = (LOOKALIKE, ROOT / "exporter", ROOT / "trainer_hooks", ROOT / "tests")
    return environ | {
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "LOOKALIKE": str(told),
        "HOME": str(home),
        "LOCALAPPDATA": str(home / "AppData" / "Local"),
        "NO_PROXY": "*",
    }


def records(system: str, home: Path) -> Path:
    """The record directory of that user."""
    return home / ("AppData/Local" if system == "windows" else "Library/Caches") / "yoloscope"
