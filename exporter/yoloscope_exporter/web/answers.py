"""What both kinds of `/api/v1` have in common: parameters, answers, errors, events of a stream."""

from __future__ import annotations

import asyncio
import json
from functools import wraps
from http import HTTPStatus
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import StreamingResponse

from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.web import texts
from yoloscope_exporter.web.responses import as_json, header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import Receive, Scope, Send

    Answer = Callable[[Request], Awaitable[Response]]

PREFIX: Final = "/api/v1"
EVENT_STREAM: Final = "text/event-stream"
UNSTORED: Final = {"Cache-Control": "no-store"}
LATER: Final = {"Retry-After": "5"}


class ParameterError(ValueError):
    """A parameter of the query that cannot be used; says which, and what is allowed."""


class CrowdedError(Exception):
    """There is no room for one more; says of what, and what helps."""


class Stream(StreamingResponse):
    """A stream that says when it is opened and closed, however it ends."""

    def __init__(
        self,
        content: AsyncIterator[bytes],
        opened: Callable[[], None],
        closed: Callable[[], None],
        **given: Any,  # noqa: ANN401 - Starlette's
    ) -> None:
        """Of messages; the rest is Starlette's."""
        super().__init__(content, **given)
        self._opened, self._closed = opened, closed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes."""
        self._opened()
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._closed()


def checked(answer: Answer) -> Answer:
    """The answer; where a parameter is wrong, a source silent or no room left, a line that says so."""

    @wraps(answer)
    async def call(request: Request) -> Response:
        try:
            return await answer(request)
        except ParameterError as error:
            return as_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        except SourceError as error:
            return as_json(HTTPStatus.BAD_GATEWAY, {"error": str(error)}, **LATER)
        except CrowdedError as error:
            return as_json(HTTPStatus.SERVICE_UNAVAILABLE, {"error": str(error)}, **LATER)

    return call


async def first(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, for so many seconds at most."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return


def as_event(message: object) -> bytes:
    """A message of a stream."""
    line = json.dumps(message, allow_nan=False, separators=(",", ":"))
    return f"data: {line}\n\n".encode()


def answered(document: object, **headers: str) -> Response:
    """A document."""
    return as_json(HTTPStatus.OK, document, **UNSTORED, **headers)


def no_run(name: str) -> Response:
    """That there is none of this name."""
    return as_json(HTTPStatus.NOT_FOUND, {"error": f"run: no run {name!r}; {PREFIX}/runs lists them"})


def number(request: Request, name: str, default: float, least: float = -inf, most: float = inf) -> float:
    """A parameter from `least` to `most`.

    Raises:
        ParameterError: it is none.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = inf
    if not isfinite(value) or not least <= value <= most:
        allowed = "a number" if least == -inf else f"a number from {least:g} to {most:g}"
        raise ParameterError(f"{name}: {text[:40]!r} is not {allowed}")
    return value


def language_of(request: Request) -> str:
    """The language that is asked for; raises as `number`."""
    asked = request.query_params.get("lang", "")
    if asked and asked not in texts.LANGUAGES:
        raise ParameterError(f"lang: {asked[:40]!r} is not one of {', '.join(texts.LANGUAGES)}")
    return texts.language(asked, header(request.scope, b"accept-language"))
