"""What the web side says: metrics, health, the diagnosis and a page, from the newest snapshot."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import lru_cache, partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from yoloscope_exporter import landing
from yoloscope_exporter.sampling.exposition import Form
from yoloscope_exporter.server import Response, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from yoloscope_exporter.sampling.sampler import Sampler
    from yoloscope_exporter.server import Request


class App:
    """Answers requests from the newest snapshot; touches no source."""

    def __init__(
        self,
        sampler: Sampler,
        telemetry_path: str = "/metrics",
        documents: Mapping[str, Callable[[], object]] | None = None,
    ) -> None:
        """Serve the metrics of `sampler` at `telemetry_path`, and `documents` as JSON at their paths."""
        self._sampler = sampler
        self._telemetry_path = telemetry_path
        self._routes: Mapping[str, Callable[[Request], Response]] = {
            telemetry_path: self._metrics,
            "/-/healthy": self._healthy,
            "/-/ready": self._ready,
            "/": self._landing,
            **{path: partial(self._document, document) for path, document in (documents or {}).items()},
        }

    def __call__(self, request: Request) -> Response:
        """The answer."""
        route = self._routes.get(request.path)
        if route is None:
            return text(HTTPStatus.NOT_FOUND, f"nothing here; the metrics are at {self._telemetry_path}")
        return route(request)

    def _metrics(self, request: Request) -> Response:
        query = parse_qs(request.query)
        include, exclude = set(query.get("collect[]", ())), set(query.get("exclude[]", ()))
        wanted = None
        if include or exclude:
            known = self._sampler.names()
            if unknown := sorted((include | exclude) - known):
                there = ", ".join(sorted(known))
                return text(HTTPStatus.BAD_REQUEST, f"no collector {unknown[0]!r}; there are {there}")
            if include and exclude:
                return text(HTTPStatus.BAD_REQUEST, "collect[] and exclude[] cannot be used together")
            wanted = include.__contains__ if include else lambda name: name not in exclude
        form = negotiate(request.headers)
        body = self._sampler.exposition(form, wanted)
        return exposed(form, body)

    def _healthy(self, _request: Request) -> Response:
        if self._sampler.alive:
            return text(HTTPStatus.OK, "healthy")
        return text(HTTPStatus.SERVICE_UNAVAILABLE, "the sampler has stopped")

    def _ready(self, _request: Request) -> Response:
        if self._sampler.fresh:
            return text(HTTPStatus.OK, "ready")
        return text(HTTPStatus.SERVICE_UNAVAILABLE, "no fresh snapshot yet")

    def _document(self, document: Callable[[], object], _request: Request) -> Response:
        if self._sampler.alive:
            return as_json(HTTPStatus.OK, document())
        return as_json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the sampler has stopped"})

    def _landing(self, request: Request) -> Response:
        language = landing.language(request.headers.get("accept-language", ""))
        snapshot = self._sampler.snapshot if self._sampler.fresh else None
        page = landing.page(snapshot, self._telemetry_path, language)
        policy = ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
        return Response(HTTPStatus.OK, page.encode(), "text/html; charset=utf-8", (policy, ("Vary", "Accept-Language")))


def negotiate(headers: Mapping[str, str]) -> Form:
    """What the scraper's headers Accept and Accept-Encoding ask for."""
    return _form(headers.get("accept", ""), headers.get("accept-encoding", ""))


@lru_cache(maxsize=8)  # a scraper asks for the same again and again; a client may send anything
def _form(accept: str, accept_encoding: str) -> Form:
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


def exposed(form: Form, body: bytes) -> Response:
    """An exposition in the form that was negotiated."""
    encoding = (("Content-Encoding", "gzip"),) if form.gzipped else ()
    return Response(HTTPStatus.OK, body, form.content_type, (("Vary", "Accept, Accept-Encoding"), *encoding))


def as_json(status: HTTPStatus, document: object) -> Response:
    """A document."""
    return Response(status, json.dumps(document, allow_nan=False).encode(), "application/json")
