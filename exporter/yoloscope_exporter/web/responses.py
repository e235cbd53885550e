"""Responses: plain text, JSON and expositions."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Scope

    from yoloscope_exporter.sampling.exposition import Form


def text(status: HTTPStatus, line: str, *headers: tuple[str, str]) -> Response:
    """A response with one line of plain text."""
    return Response(f"{line}\n", status, dict(headers), "text/plain")


def encoded(document: object) -> bytes:
    """`document` as JSON without blanks; ValueError for NaN and infinity."""
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode()


def as_json(status: HTTPStatus, document: object, **headers: str) -> Response:
    """A response with `document` as JSON; ValueError for NaN and infinity."""
    return Response(json.dumps(document, allow_nan=False), status, headers, "application/json")


def exposed(form: Form, body: bytes) -> Response:
    """A response with an exposition that is encoded in `form`."""
    headers = {"Content-Type": form.content_type, "Vary": "Accept, Accept-Encoding"}
    if form.gzipped:
        headers["Content-Encoding"] = "gzip"
    return Response(body, HTTPStatus.OK, headers)


def header(scope: Scope, name: bytes) -> str:
    """The value of a request's header; what is sent repeatedly is joined by commas."""
    return ", ".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)
