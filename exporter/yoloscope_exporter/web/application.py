"""The exporter's routes: metrics, health, the diagnosis, the live page and its documents, from the newest snapshot."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from yoloscope_exporter.language import preferred
from yoloscope_exporter.sampling.exposition import negotiate
from yoloscope_exporter.web import assets, page
from yoloscope_exporter.web.responses import as_json, exposed, header, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from yoloscope_exporter.sampling.sampler import Sampler
    from yoloscope_exporter.web.answers import Addresses


def application(
    sampler: Sampler,
    telemetry_path: str = "/metrics",
    documents: Mapping[str, Callable[[], object]] | None = None,
    api: Addresses | None = None,
) -> Starlette:
    """The metrics of `sampler` at `telemetry_path`, `documents` as JSON at their paths, the live page with its `api`.

    Touches no source.
    """
    routes = [
        Route(telemetry_path, partial(_metrics, sampler)),
        Route("/-/healthy", partial(_healthy, sampler)),
        Route("/-/ready", partial(_ready, sampler)),
        Route("/", partial(_page, telemetry_path, api.source if api else "")),
        Route(f"{assets.PATH}{{name:path}}", assets.answer),
        *(api.routes() if api else ()),
        *(Route(path, partial(_document, sampler, document)) for path, document in (documents or {}).items()),
    ]
    return routed(routes, f"not found; the metrics are at {telemetry_path}")


def routed(routes: Sequence[Route], elsewhere: str) -> Starlette:
    """An application of `routes` for GET and HEAD; any other path is answered with the line `elsewhere`."""

    async def not_found(_request: Request, _error: Exception) -> Response:
        return text(HTTPStatus.NOT_FOUND, elsewhere)

    app = Starlette(
        routes=routes,
        exception_handlers={
            HTTPStatus.NOT_FOUND: not_found,
            HTTPStatus.METHOD_NOT_ALLOWED: _not_allowed,
            Exception: _failed,
        },
    )
    app.router.redirect_slashes = False
    return app


async def _not_allowed(_request: Request, _error: Exception) -> Response:
    return text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", ("Allow", "GET, HEAD"))


async def _failed(_request: Request, _error: Exception) -> Response:
    return text(HTTPStatus.INTERNAL_SERVER_ERROR, "yoloscope failed to answer; its log says why")


async def _metrics(sampler: Sampler, request: Request) -> Response:
    query = parse_qs(request.scope["query_string"].decode("latin-1"))
    include, exclude = set(query.get("collect[]", ())), set(query.get("exclude[]", ()))
    wanted = None
    if include or exclude:
        known = sampler.names()
        if unknown := sorted((include | exclude) - known):
            there = ", ".join(sorted(known))
            return text(HTTPStatus.BAD_REQUEST, f"no collector {unknown[0]!r}; allowed are {there}")
        if include and exclude:
            return text(HTTPStatus.BAD_REQUEST, "collect[] and exclude[] cannot be used together")
        wanted = include.__contains__ if include else lambda name: name not in exclude
    form = negotiate(header(request.scope, b"accept"), header(request.scope, b"accept-encoding"))
    return exposed(form, sampler.exposition(form, wanted, query.get("name[]", ())))


async def _healthy(sampler: Sampler, _request: Request) -> Response:
    if sampler.alive:
        return text(HTTPStatus.OK, "healthy")
    return text(HTTPStatus.SERVICE_UNAVAILABLE, "the sampler has stopped")


async def _ready(sampler: Sampler, _request: Request) -> Response:
    if sampler.fresh:
        return text(HTTPStatus.OK, "ready")
    return text(HTTPStatus.SERVICE_UNAVAILABLE, "no fresh snapshot yet")


async def _document(sampler: Sampler, document: Callable[[], object], _request: Request) -> Response:
    if sampler.alive:
        return as_json(HTTPStatus.OK, document())
    return as_json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the sampler has stopped"})


async def _page(telemetry_path: str, source: str, request: Request) -> Response:
    language = preferred(f"{request.query_params.get('lang', '')},{header(request.scope, b'accept-language')}")
    headers = {"Content-Security-Policy": page.POLICY, "Vary": "Accept-Language", "Referrer-Policy": "no-referrer"}
    return HTMLResponse(page.render(language, telemetry_path, source), headers=headers)
