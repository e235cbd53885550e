"""What both kinds of `/api/v1` have in common: parameters, answers, errors, events of a stream."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from functools import wraps
from http import HTTPStatus
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import LANGUAGES, preferred
from yoloscope_exporter.web.authentication import ALLOWED
from yoloscope_exporter.web.responses import as_json, encoded, header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    Answer = Callable[[Request], Awaitable[Response]]

PREFIX: Final = "/api/v1"
EVENT_STREAM: Final = "text/event-stream"
UNSTORED: Final = {"Cache-Control": "no-store"}
LATER: Final = {"Retry-After": "5"}
#: A timer may be so much early, and is not set for the same moment again.
EARLY_SECONDS = 0.05
#: Pages that are kept up to date; each holds a connection. One more is refused.
MOST_STREAMS = 64
#: Runs that a list may be asked for, and letters of what they are searched for.
MOST_RUNS, MOST_SOUGHT = 10_000, 300
#: What of a run in a list is searched.
_SEARCHED: Final = ("run", "state", "state_text", "verdict", "title")
#: What `lang` may be.
_LANGUAGES: Final = (*LANGUAGES, "zh")


class ParameterError(ValueError):
    """A parameter of the query that cannot be used; says which, and what is allowed."""


class CrowdedError(Exception):
    """There is no room for one more; says of what, and what helps."""


class Clock:
    """Wakes all who wait at the same moments: one timer for all of them, and none where nobody waits."""

    def __init__(self, seconds: float, behind: float = 0.0, now: Callable[[], float] = time.time) -> None:
        """So many seconds `behind` each multiple of `seconds`, as the clock `now` says."""
        self.seconds = seconds
        self._behind, self._now = behind, now
        self._over = False
        self._struck: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ticks(self) -> bool:
        """Wait for the next moment; False, at once, when it is over."""
        if self._over:
            return False
        if self._struck is None:
            self._loop, self._struck = asyncio.get_running_loop(), asyncio.Event()
            self._loop.call_later(left(self._now() - self._behind, self.seconds), self._strike)
        await self._struck.wait()
        return not self._over

    def _strike(self) -> None:
        struck, self._struck = self._struck, None
        if struck:
            struck.set()

    def end(self) -> None:
        """Wake everybody for the last time. May be called by any thread."""
        self._over = True
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._strike)


def left(now: float, seconds: float) -> float:
    """Until the next multiple of `seconds`, or the one behind it where a timer for the next may have been early."""
    rest = seconds - now % seconds
    return rest if rest > EARLY_SECONDS else rest + seconds


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

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes; Starlette's own way needs a megabyte of anyio."""
        self._opened()
        sent = asyncio.ensure_future(self.stream_response(send))
        gone = asyncio.ensure_future(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait((sent, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sent.cancel()
            gone.cancel()
            self._closed()
        if sent.done():
            sent.result()


class Addresses(ABC):
    """The addresses of `/api/v1`, and the streams that pages follow. Used by the server's event loop.

    Attributes:
        source: the Prometheus that is shown; empty where it is this node.
        streams: how many are open.
        clock: when they tell what is new.
    """

    def __init__(self, clock: Clock, source: str = "") -> None:
        """No stream is open yet."""
        self.clock, self.source, self.streams = clock, source, 0

    @abstractmethod
    async def _runs(self, request: Request) -> Response: ...

    @abstractmethod
    async def _run(self, request: Request) -> Response: ...

    @abstractmethod
    async def _gpus(self, request: Request) -> Response: ...

    @abstractmethod
    async def _points(self, request: Request) -> Response: ...

    @abstractmethod
    async def _events(self, request: Request) -> Response: ...

    def routes(self) -> list[Route]:
        """Each address with its document."""
        answers: dict[str, Answer] = {
            "runs": self._runs,
            "run": self._run,
            "gpus": self._gpus,
            "history": self._points,
            "events": self._events,
        }
        return [Route(f"{PREFIX}/{name}", checked(answer)) for name, answer in answers.items()]

    def close(self) -> None:
        """End the streams, so that the server need not wait for them. May be called by any thread."""
        self.clock.end()

    def _streamed(
        self,
        request: Request,
        messages: Callable[[Callable[[], bool]], AsyncIterator[bytes]],
        over: Callable[[], object] = bool,
    ) -> Response:
        """A stream of messages, made while whoever asked is `allowed`; `over` is called at its end."""
        headers = {**UNSTORED, "Vary": "Accept", "X-Accel-Buffering": "no"}
        if request.method == "HEAD":
            return Response(headers=headers, media_type=EVENT_STREAM)

        def opened() -> None:
            self.streams += 1

        def closed() -> None:
            self.streams -= 1
            over()

        allowed: Callable[[], bool] = request.scope.get(ALLOWED, lambda: True)
        return Stream(messages(allowed), opened, closed, headers=headers, media_type=EVENT_STREAM)

    def _check_streams(self) -> None:
        """Raise CrowdedError where no more pages may be open."""
        if self.streams >= MOST_STREAMS:
            raise CrowdedError(f"{MOST_STREAMS} pages are open; close one of them")


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


def as_event(message: bytes) -> bytes:
    """A message of a stream; it is JSON."""
    return b"data: %s\n\n" % message


def merged(*objects: bytes) -> bytes:
    """One object with the fields of several, all as JSON; each has a field at least."""
    return b"{%s}" % b",".join(one[1:-1] for one in objects)


def field(name: str, value: bytes) -> bytes:
    """An object with one field, whose value is JSON."""
    return b'{"%s":%s}' % (name.encode(), value)


def answered(document: object, *objects: bytes, **headers: str) -> Response:
    """A document, and the fields of objects that are JSON already."""
    body = merged(encoded(document), *objects)
    return Response(body, HTTPStatus.OK, {**UNSTORED, **headers}, "application/json")


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


def sought(request: Request) -> str:
    """What runs are searched for; raises as `number`."""
    find = request.query_params.get("find", "").strip()
    if len(find) > MOST_SOUGHT:
        raise ParameterError(f"find: {len(find)} characters are more than {MOST_SOUGHT}")
    return find


def excerpt(listed: Mapping[str, Any], find: str, most: int) -> dict[str, Any]:
    """What is shown of a list: runs that have every word of `find` somewhere, so many; `matching` says of how many."""
    words = find.casefold().split()
    found = [run for run in listed["runs"] if _has(run, words)] if words else listed["runs"]
    return {**listed, "matching": len(found), "runs": found[:most]}


def _has(run: Mapping[str, Any], words: list[str]) -> bool:
    told = "\n".join(run.get(name) or "" for name in _SEARCHED).casefold()
    return all(word in told for word in words)


def language_of(request: Request) -> str:
    """The language that is asked for; raises as `number`."""
    asked = request.query_params.get("lang", "")
    if asked and asked not in _LANGUAGES:
        raise ParameterError(f"lang: {asked[:40]!r} is not one of {', '.join(_LANGUAGES)}")
    return preferred(asked or header(request.scope, b"accept-language"))
