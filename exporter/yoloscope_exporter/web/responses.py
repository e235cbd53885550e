"""Answers of the kinds that are given here, and what a scraper's headers ask for."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

from yoloscope_exporter.exposition import Form

if TYPE_CHECKING:
    from starlette.types import Scope


def text(status: HTTPStatus, line: str, *headers: tuple[str, str]) -> Response:
    """One line."""
    return Response(f"{line}\n", status, dict(headers), "text/plain")


def as_json(status: HTTPStatus, document: object) -> Response:
    """A document."""
    return Response(json.dumps(document), status, media_type="application/json")


def exposed(form: Form, body: bytes) -> Response:
    """An exposition in the form that was negotiated."""
    headers = {"Content-Type": form.content_type, "Vary": "Accept, Accept-Encoding"}
    if form.gzipped:
        headers["Content-Encoding"] = "gzip"
    return Response(body, HTTPStatus.OK, headers)


def header(scope: Scope, name: bytes) -> str:
    """The value of a request's header; what is sent repeatedly is joined by commas."""
    return ", ".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)


@lru_cache(maxsize=8)  # a scraper asks for the same again and again; a client may send anything
def negotiate(accept: str, accept_encoding: str) -> Form:
    """What the scraper's headers Accept and Accept-Encoding ask for."""
    types = dict(map(_weighted, accept.split(",")))
    encodings = dict(map(_weighted, accept_encoding.split(",")))
    plain = max(types.get("text/plain", 0.0), types.get("*/*", 0.0) / 2)  # a wildcard is satisfied with either
    openmetrics = types.get("application/openmetrics-text", 0.0)
    return Form(openmetrics=openmetrics > 0 and openmetrics >= plain, gzipped=encodings.get("gzip", 0.0) > 0)


def _weighted(item: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in item.lower().split(";"))
    weight = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            with suppress(ValueError):
                weight = float(parameter[2:])
    return name, weight
