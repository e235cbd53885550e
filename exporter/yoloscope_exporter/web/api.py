"""`/api/v1`: what the live page shows, as JSON, and as server-sent events for those who look.

Nothing runs on its own: each answer is made when it is asked for, and a stream wakes up by a timer of its own. Streams
of the same run wake up together and share what the first of them has made.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import wraps
from http import HTTPStatus
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from yoloscope_exporter.history.courses import OF_GPUS, OF_RUN
from yoloscope_exporter.history.curves import Curves
from yoloscope_exporter.sampling.snapshot import Snapshot
from yoloscope_exporter.web import documents, texts
from yoloscope_exporter.web.responses import as_json, header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from yoloscope_exporter.diagnosis.engine import Diagnosis
    from yoloscope_exporter.history.store import History
    from yoloscope_exporter.sampling.sampler import Sampler

    Answer = Callable[[Request], Awaitable[Response]]

PREFIX = "/api/v1"
#: Pages that are kept up to date; each holds a connection. One more is refused.
MOST_STREAMS = 64
#: Between two updates of a page.
EVERY_SECONDS = 2.0
#: Runs whose points are remembered, each a few MB at most, and for how long after the last look.
MOST_CURVES, FORGET_SECONDS = 8, 60.0
MOST_RUNS = 10_000
EVENT_STREAM = "text/event-stream"
_UNSTORED = {"Cache-Control": "no-store"}
_LATER = {"Retry-After": "5"}


class ParameterError(ValueError):
    """A parameter of the query that cannot be used; says which, and what is allowed."""


class Topic(NamedTuple):
    """What a stream is about; a run without a name is the first in the list."""

    run: str
    language: str


class Place(NamedTuple):
    """Up to where a stream has told: Unix seconds of the last point, number of the last event."""

    time: float = -inf
    event: int = 0


@dataclass
class _Looked:
    """Points that somebody looks at, and the timer that forgets them."""

    curves: Curves
    timer: asyncio.TimerHandle
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Api:
    """The documents of one exporter. Used by the server's event loop; `close` by any thread."""

    def __init__(
        self, sampler: Sampler, history: History, diagnoses: Callable[[], Sequence[Diagnosis] | None] = tuple
    ) -> None:
        """Calculate nothing yet; `diagnoses` gives the newest ones, or None where the diagnosis is switched off."""
        self._sampler, self._history, self._diagnoses = sampler, history, diagnoses
        self._seen: documents.View | None = None
        self._lists: dict[tuple[str, int], dict[str, Any]] = {}
        self._looked: OrderedDict[str, _Looked] = OrderedDict()
        self._made: dict[tuple[object, ...], asyncio.Task[tuple[bytes, Place]]] = {}
        self.streams = 0
        """How many are open."""
        self._closing: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def routes(self) -> list[Route]:
        """Its addresses."""
        answers: dict[str, Answer] = {
            "runs": self._runs,
            "run": self._run,
            "gpus": self._gpus,
            "history": self._points,
            "events": self._events,
        }
        return [Route(f"{PREFIX}/{name}", _checked(answer)) for name, answer in answers.items()]

    def close(self) -> None:
        """End the streams, so that the server need not wait for them."""
        if self._loop and self._closing and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._closing.set)

    # --- documents -------------------------------------------------------------------------------------------------

    async def _runs(self, request: Request) -> Response:
        most = int(_number(request, "limit", documents.MOST_RUNS, least=1, most=MOST_RUNS))
        return _answer(self._head() | self._list(_language(request), most) | self._own())

    async def _run(self, request: Request) -> Response:
        name = request.query_params.get("run", "")
        if not name:
            raise ParameterError(f"run: name one of {PREFIX}/runs")
        found = documents.run(self._view(), self._history, name, _language(request))
        return _no_run(name) if found is None else _answer(self._head() | {"run": found})

    async def _gpus(self, request: Request) -> Response:
        return _answer(self._head() | self._node(_language(request)))

    async def _points(self, request: Request) -> Response:
        name = request.query_params.get("run", "")
        since = _number(request, "since", -inf)
        if name and name not in self._view().ranks:
            return _no_run(name)
        return _answer(self._head() | (await self._curves(name, self._history.last)).since(since))

    async def _events(self, request: Request) -> Response:
        if EVENT_STREAM in header(request.scope, b"accept"):
            return await self._stream(request)
        since = int(_number(request, "since", 0))
        found = documents.events(self._history.events(since), _language(request))
        return _answer(self._head() | {"events": found}, Vary="Accept")

    def _head(self) -> dict[str, Any]:
        """When the newest snapshot was taken, and whether it is fresh: if it is not, nothing else is told."""
        return {"time": self._sampler.snapshot.time, "fresh": self._sampler.fresh}

    def _view(self) -> documents.View:
        """The newest snapshot with the newest diagnoses; an empty one where it is stale."""
        snapshot = self._sampler.snapshot
        if not self._sampler.fresh:
            return documents.View(Snapshot(snapshot.time, {}), ())
        if self._seen is None or self._seen.time != snapshot.time:
            self._seen = documents.View(snapshot, self._diagnoses() or ())
            self._lists.clear()
        return self._seen

    def _list(self, language: str, most: int = documents.MOST_RUNS) -> dict[str, Any]:
        view = self._view()
        if view is not self._seen:
            return documents.runs(view, self._history, language, most)
        if (language, most) not in self._lists:
            self._lists[language, most] = documents.runs(view, self._history, language, most)
        return self._lists[language, most]

    def _own(self) -> dict[str, Any]:
        """What the exporter says of itself."""
        return {
            "diagnosis": self._diagnoses() is not None,
            "left_out": self._history.left_out,
            "collectors": self._view().collectors,
        }

    def _node(self, language: str) -> dict[str, Any]:
        view = self._view()
        return {
            "gpus": documents.gpus(view, self._history, language),
            "verdicts": documents.verdicts(view.diagnoses.get("", ()), language),
        }

    async def _curves(self, run: str, now: float) -> Curves:
        """The points of a run, or of the GPUs, up to `now`; calculated one by one, so that a scrape comes between."""
        timer = asyncio.get_running_loop().call_later(FORGET_SECONDS, self._looked.pop, run, None)
        looked = self._looked.get(run)
        if looked is None:
            looked = self._looked[run] = _Looked(Curves(self._history, OF_RUN if run else OF_GPUS, run), timer)
            while len(self._looked) > MOST_CURVES:
                self._looked.popitem(last=False)[1].timer.cancel()
        else:
            looked.timer.cancel()
            looked.timer = timer
        self._looked.move_to_end(run)
        async with looked.lock:
            for _ in looked.curves.update(now):
                await asyncio.sleep(0)
        return looked.curves

    # --- streams ---------------------------------------------------------------------------------------------------

    async def _stream(self, request: Request) -> Response:
        topic = Topic(request.query_params.get("run", ""), _language(request))
        headers = {**_UNSTORED, "Vary": "Accept", "X-Accel-Buffering": "no"}
        if self.streams >= MOST_STREAMS:
            line = {"error": f"{MOST_STREAMS} pages are open; close one of them"}
            return as_json(HTTPStatus.SERVICE_UNAVAILABLE, line, **_LATER)
        if request.method == "HEAD":
            return Response(headers=headers, media_type=EVENT_STREAM)
        return _Stream(self, self._messages(topic), headers=headers, media_type=EVENT_STREAM)

    async def _messages(self, topic: Topic) -> AsyncIterator[bytes]:
        self._loop = asyncio.get_running_loop()
        self._closing = closing = self._closing or asyncio.Event()
        place = Place()
        while not closing.is_set():
            if not topic.run and (listed := self._list(topic.language)["runs"]):
                topic, place = topic._replace(run=listed[0]["run"]), Place()
            message, place = await self._message(topic, place)
            yield message
            await _first(closing, EVERY_SECONDS - self._loop.time() % EVERY_SECONDS)

    async def _message(self, topic: Topic, place: Place) -> tuple[bytes, Place]:
        """What is new since `place`, made once for all streams that have come as far, and where that leads."""
        now = (self._sampler.fresh, self._sampler.snapshot.time)
        key = (*now, topic, place)
        if key not in self._made:
            self._made = {other: made for other, made in self._made.items() if other[:2] == now}
            self._made[key] = asyncio.ensure_future(self._make(topic, place))
        making = self._made[key]
        return await asyncio.shield(making)  # who goes away takes nothing from the others

    async def _make(self, topic: Topic, place: Place) -> tuple[bytes, Place]:
        now, language = self._history.last, topic.language
        if now < place.time:  # the clock was set back
            place = Place()
        of_run = await self._curves(topic.run, now) if topic.run in self._view().ranks else None
        of_gpus = await self._curves("", now)
        happened = self._history.events(place.event)
        message = {
            **self._head(),
            **self._list(language),
            **self._own(),
            "full": place == Place(),
            "run": documents.run(self._view(), self._history, topic.run, language) if topic.run else None,
            "asked": topic.run,
            "node": self._node(language),
            "history": {"run": of_run.since(place.time) if of_run else None, "gpus": of_gpus.since(place.time)},
            "events": documents.events(happened, language),
        }
        line = json.dumps(message, allow_nan=False, separators=(",", ":"))
        reached = Place(max(now, place.time), happened[-1].number if happened else place.event)
        return f"data: {line}\n\n".encode(), reached


class _Stream(StreamingResponse):
    """A stream that is counted for as long as it is open."""

    def __init__(self, api: Api, content: AsyncIterator[bytes], **given: Any) -> None:  # noqa: ANN401 - Starlette's
        """Of `api`; the rest is Starlette's."""
        super().__init__(content, **given)
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes."""
        self._api.streams += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._api.streams -= 1


def _checked(answer: Answer) -> Answer:
    """The answer; where a parameter is wrong, a line that says so."""

    @wraps(answer)
    async def call(request: Request) -> Response:
        try:
            return await answer(request)
        except ParameterError as error:
            return as_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})

    return call


async def _first(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, for so many seconds at most."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except asyncio.TimeoutError:
        return


def _answer(document: object, **headers: str) -> Response:
    return as_json(HTTPStatus.OK, document, **_UNSTORED, **headers)


def _no_run(name: str) -> Response:
    return as_json(HTTPStatus.NOT_FOUND, {"error": f"run: no run {name!r}; {PREFIX}/runs lists them"})


def _number(request: Request, name: str, default: float, least: float = -inf, most: float = inf) -> float:
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


def _language(request: Request) -> str:
    asked = request.query_params.get("lang", "")
    if asked and asked not in texts.LANGUAGES:
        raise ParameterError(f"lang: {asked[:40]!r} is not one of {', '.join(texts.LANGUAGES)}")
    return texts.language(asked, header(request.scope, b"accept-language"))
