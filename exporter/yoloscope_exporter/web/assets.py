"""The page's script and styles: read once from the package, named by their content, and kept by browsers for a year."""

from __future__ import annotations

import gzip
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import Response

from yoloscope_exporter import charts, colours
from yoloscope_exporter.web.responses import header, text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request

PATH = "/static/"
_TYPES = {"js": "text/javascript", "css": "text/css"}
_NAMES = ("page.js", "page.css", "colours.css", *charts.SCRIPTS, *charts.STYLES)
_LASTING = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}


class Asset(NamedTuple):
    """One file."""

    type: str
    body: bytes
    gzipped: bytes
    version: str


@cache
def assets() -> Mapping[str, Asset]:
    """All of them by their names."""
    return {name: _asset(name) for name in _NAMES}


def _asset(name: str) -> Asset:
    body = "".join(_colours()).encode() if name == "colours.css" else _read(name)
    return Asset(_TYPES[name.rpartition(".")[2]], body, gzip.compress(body, mtime=0), sha256(body).hexdigest()[:12])


def _read(name: str) -> bytes:
    if name in (*charts.SCRIPTS, *charts.STYLES):
        return charts.read(name)
    return files("yoloscope_exporter.web").joinpath("static", name).read_bytes()


def url(name: str) -> str:
    """Where a file is, relative to the page; another one for other content."""
    return f"{PATH[1:]}{name}?{assets()[name].version}"


async def answer(request: Request) -> Response:
    """A file, compressed for who takes that."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return text(HTTPStatus.NOT_FOUND, f"no such file; there are {', '.join(_NAMES)}")
    if "gzip" not in header(request.scope, b"accept-encoding"):
        return Response(asset.body, headers=_LASTING, media_type=asset.type)
    return Response(asset.gzipped, headers={**_LASTING, "Content-Encoding": "gzip"}, media_type=asset.type)


def _colours() -> Iterator[str]:
    """The colours of everywhere as variables of CSS, and a class for each state, phase and severity."""
    kinds = {"state": colours.STATES, "phase": colours.PHASES, "severity": colours.SEVERITIES}
    lines = {f"line-{place}": colour for place, colour in enumerate(colours.PALETTE)}
    named = {f"{kind}-{name}": colour for kind, table in kinds.items() for name, colour in table.items()}
    yield ":root{color-scheme:light dark;"
    yield from (f"--{name}:{colour};" for name, colour in {**lines, **named, "grey": colours.GREY}.items())
    yield from (f"--{name}:{colour};" for name, colour in colours.LIGHT.items())
    yield "}\n@media(prefers-color-scheme:dark){:root{"
    yield from (f"--{name}:{colour};" for name, colour in colours.DARK.items())
    yield "}}\n"
    yield from (f".{name}{{--mark:var(--{name})}}\n" for name in named)
