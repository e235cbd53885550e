"""`/api/v1` of a page that shows a Prometheus: the documents of `web.api`, of all nodes and any time.

Prometheus is asked in a thread, once for all who look at the same, and at most every EVERY_SECONDS while somebody does.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import CHINESE, translated
from yoloscope_exporter.web import documents, texts
from yoloscope_exporter.web.answers import (
    EVENT_STREAM,
    MOST_RUNS,
    PREFIX,
    Addresses,
    CrowdedError,
    ParameterError,
    answered,
    as_event,
    first,
    language_of,
    no_run,
    number,
)
from yoloscope_exporter.web.fleet import LONGEST, SHORTEST, Fleet, Listing, Span, span
from yoloscope_exporter.web.responses import header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response


#: Between two questions about the same; Prometheus knows nothing newer sooner.
EVERY_SECONDS: Final = 15.0
#: What is shown unless another time range is asked for, in seconds.
SHOWN_SECONDS: Final = 3600.0
#: Answers that are kept for others who look at the same; of them may be waited for, and asked for at once.
MOST_KEPT, MOST_WAITED, MOST_ASKED = 32, 16, 2


class Topic(NamedTuple):
    """What a page shows: a run, or the first of the list; so many seconds, up to now or to an end."""

    run: str
    language: str
    seconds: float
    end: float | None

    def span(self) -> Span:
        """Its time range now: the same for all within EVERY_SECONDS."""
        return span(self.seconds, time.time() // EVERY_SECONDS * EVERY_SECONDS if self.end is None else self.end)


@dataclass
class _Kept:
    made: float
    task: asyncio.Task[Any]


class FleetApi(Addresses):
    """The documents of a Prometheus."""

    def __init__(self, fleet: Fleet) -> None:
        """Ask nothing yet."""
        super().__init__(fleet.name)
        self._fleet = fleet
        self._kept: dict[tuple[object, ...], _Kept] = {}
        self._asking: asyncio.Semaphore | None = None

    # --- documents -------------------------------------------------------------------------------------------------

    async def _runs(self, request: Request) -> Response:
        topic, over = _asked(request)
        most = int(number(request, "limit", documents.MOST_RUNS, least=1, most=MOST_RUNS))
        listed = (await self._listing(over, topic.language)).document
        return answered(self._head(over) | {**listed, "runs": listed["runs"][:most]})

    async def _run(self, request: Request) -> Response:
        if not request.query_params.get("run"):
            raise ParameterError(f"run: name one of {PREFIX}/runs")
        return await self._part(request, lambda whole: {"run": whole["run"]})

    async def _gpus(self, request: Request) -> Response:
        return await self._part(request, lambda whole: whole["node"])

    async def _points(self, request: Request) -> Response:
        of = "run" if request.query_params.get("run") else "gpus"
        return await self._part(request, lambda whole: whole["history"][of])

    async def _events(self, request: Request) -> Response:
        if EVENT_STREAM in header(request.scope, b"accept"):
            return self._stream(request)
        return await self._part(request, lambda whole: {"events": whole["events"]}, Vary="Accept")

    async def _part(
        self, request: Request, part: Callable[[dict[str, Any]], dict[str, Any]], **headers: str
    ) -> Response:
        topic, over = _asked(request)
        whole = await self._whole(topic, over)
        if topic.run and whole["run"] is None:
            return no_run(topic.run)
        return answered(self._head(over) | part(whole), **headers)

    def _head(self, over: Span) -> dict[str, Any]:
        source = {"prometheus": self._fleet.name, "start": over.start, "end": over.end, "step": over.step}
        return {"time": over.end, "fresh": True, "source": source}

    async def _listing(self, over: Span, language: str) -> Listing:
        listing: Listing = await self._once(
            ("runs", over.end, language), lambda: self._fleet.listing(over.end, language)
        )
        return listing

    async def _whole(self, topic: Topic, over: Span) -> dict[str, Any]:
        """All documents of a run, of the first in the list where none is named; empty ones where there is none."""
        listing = await self._listing(over, topic.language)
        named = topic.run or next((run["run"] for run in listing.document["runs"]), "")
        only = listing.whose.get(named)
        if only is None:
            nothing: dict[str, Any] = {"times": [], "series": []}
            return {
                "asked": named,
                "run": None,
                "node": {"gpus": [], "verdicts": []},
                "history": {"run": None, "gpus": nothing},
                "events": [],
            }

        def ask() -> dict[str, Any]:
            run, node, those = self._fleet.run(named, only, over.end, topic.language)
            history = {"run": self._fleet.history(those, over), "gpus": self._fleet.gpu_history(those, over)}
            events = self._fleet.events(named, those, over, topic.language)
            return {"asked": named, "run": run, "node": node, "history": history, "events": events}

        whole: dict[str, Any] = await self._once(("run", named, topic.language, *over), ask)
        return whole

    async def _once(self, key: tuple[object, ...], ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
        """What Prometheus says, asked once for all who want to know the same; a refusal is forgotten at once."""
        now = time.monotonic()
        kept = {
            other: one for other, one in self._kept.items() if now - one.made < EVERY_SECONDS or not one.task.done()
        }
        self._kept = dict(list(kept.items())[1 - MOST_KEPT :])
        if key not in self._kept:
            if sum(not one.task.done() for one in self._kept.values()) >= MOST_WAITED:
                raise CrowdedError("Prometheus is asked for too much at once; ask again later")
            self._kept[key] = _Kept(now, asyncio.ensure_future(self._in_a_thread(ask)))
        task = self._kept[key].task
        try:
            return await asyncio.shield(task)  # who goes away takes nothing from the others
        except SourceError:
            if self._kept.get(key) and self._kept[key].task is task:
                del self._kept[key]
            raise

    async def _in_a_thread(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401
        self._asking = self._asking or asyncio.Semaphore(MOST_ASKED)
        async with self._asking:
            return await asyncio.to_thread(ask)

    # --- the stream ------------------------------------------------------------------------------------------------

    def _stream(self, request: Request) -> Response:
        topic, _ = _asked(request)
        self._check_streams()
        return self._streamed(request, lambda allowed: self._messages(topic, allowed))

    async def _messages(self, topic: Topic, allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        closing = self._ending()
        while not closing.is_set() and allowed():
            yield as_event(await self._message(topic))
            await first(closing, EVERY_SECONDS - time.time() % EVERY_SECONDS)

    async def _message(self, topic: Topic) -> dict[str, Any]:
        """Everything a page shows; or why it is not known."""
        over = topic.span()
        head = self._head(over)
        try:
            listing = await self._listing(over, topic.language)
            whole = await self._whole(topic, over)
        except (SourceError, CrowdedError) as error:
            told = translated(error.args[0], CHINESE) if topic.language == texts.CHINESE else str(error)
            return {**head, "fresh": False, "problem": told}
        shown = listing.document["runs"][: documents.MOST_RUNS]
        return {
            **head, **listing.document, "runs": shown, **whole,
            "full": True, "diagnosis": True, "left_out": 0, "collectors": [],
        }  # fmt: skip


def _asked(request: Request) -> tuple[Topic, Span]:
    """What is asked for, and its time range now; raises ParameterError."""
    seconds = number(request, "seconds", SHOWN_SECONDS, least=SHORTEST, most=LONGEST)
    end = number(request, "end", 0.0, least=0.0, most=catalog.LAST_MOMENT)
    topic = Topic(request.query_params.get("run", ""), language_of(request), seconds, end or None)
    return topic, topic.span()
