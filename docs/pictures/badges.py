"""The badges of the README, drawn here: none comes from a server, and none says what no file of the repository says."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
#: Of a character at 11 pixels in Verdana, its fallbacks included, and around a text.
_LETTER, _MARGIN = 6.8, 6
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="20" role="img" aria-label="{name}: {value}">
<title>{name}: {value}</title>
<clipPath id="r"><rect width="{width:.0f}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="{left:.0f}" height="20" fill="#555"/>
<rect x="{left:.0f}" width="{right:.0f}" height="20" fill="#0969a2"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{middle:.1f}" y="14" textLength="{inner:.0f}">{name}</text>
<text x="{place:.1f}" y="14" textLength="{outer:.0f}">{value}</text></g>
</svg>
"""


def values() -> dict[str, tuple[str, str]]:
    """File -> name and value: what pyproject.toml says, and the versions of Ultralytics that the README has as seen."""
    project = dict(re.findall(r'(?m)^([\w-]+) = "(.*)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    seen = re.search(r"(?m)^\| Ultralytics \| ([\d., ]+\d)[,;]", (ROOT / "README.md").read_text(encoding="utf-8"))
    versions = seen[1].split(", ") if seen else []
    return {
        "license.svg": ("license", project["license"]),
        "python.svg": ("Python", f"{project['requires-python'].removeprefix('>=')} or newer"),
        "hooks.svg": ("hooks", "Python 3.8 or newer"),
        "ultralytics.svg": ("Ultralytics", f"{versions[0]} to {versions[-1]}"),
    }


def drawn(name: str, value: str) -> str:
    """A badge as SVG."""
    inner, outer = len(name) * _LETTER, len(value) * _LETTER
    left, right = inner + 2 * _MARGIN, outer + 2 * _MARGIN
    return _SVG.format(
        name=escape(name),
        value=escape(value),
        inner=inner,
        outer=outer,
        left=left,
        right=right,
        width=left + right,
        middle=left / 2,
        place=left + right / 2,
    )


def write() -> None:
    """All of them."""
    (HERE / "badges").mkdir(exist_ok=True)
    for name, badge in values().items():
        (HERE / "badges" / name).write_text(drawn(*badge), encoding="utf-8")
