"""`/api/v1` of a page that shows a Prometheus: the documents of `web.api`, of all nodes and any time.

Prometheus is asked in a thread, once for all who look at the same, and at most every EVERY_SECONDS while somebody does:
one set of questions for the list of all runs, one for each run that is looked at, one for each time range of it.
Answers are kept encoded, for pages of any language; a message is put together from them.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yoloscope_exporter import catalog
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import text, translated
from yoloscope_exporter.web import documents
from yoloscope_exporter.web.answers import (
    EVENT_STREAM,
    MOST_RUNS,
    PREFIX,
    Addresses,
    Clock,
    CrowdedError,
    ParameterError,
    answered,
    as_event,
    excerpt,
    field,
    language_of,
    merged,
    no_run,
    number,
    sought,
)
from yoloscope_exporter.web.fleet import LONGEST, SHORTEST, Fleet, Listing, Past, Span, Told, span
from yoloscope_exporter.web.responses import encoded, header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from starlette.responses import Response


#: Between two questions about the same; Prometheus knows nothing newer sooner.
EVERY_SECONDS: Final = 15.0
#: What was so many seconds ago changes no more: it is asked for again only after KEPT_SECONDS.
SETTLED_SECONDS, KEPT_SECONDS = 300.0, 600.0
#: What is shown unless another time range is asked for, in seconds.
SHOWN_SECONDS: Final = 3600.0
#: Runs, each with a time range, that pages may follow. One more is refused: each costs Prometheus its own questions.
MOST_FOLLOWED: Final = 24
#: Answers that are kept for others who look at the same, and their bytes.
MOST_KEPT, MOST_BYTES = 128, 16_000_000
#: Answers that may be waited for, and asked for at once.
MOST_WAITED, MOST_ASKED = 32, 2

NULL: Final = b"null"
_NOTHING: Final = encoded({"times": [], "series": []})
_NO_NODE: Final = encoded({"gpus": [], "verdicts": []})


class Topic(NamedTuple):
    """What a page shows: a run, or the first of the list; so many seconds, up to now or to an end."""

    run: str
    language: str
    seconds: float
    end: float | None
    find: str = ""

    def at(self) -> float:
        """The moment that is shown: the same for all within EVERY_SECONDS."""
        return (time.time() if self.end is None else self.end) // EVERY_SECONDS * EVERY_SECONDS

    def followed(self) -> tuple[str, float, float | None]:
        """What costs Prometheus questions of its own."""
        return self.run, self.seconds, self.end


@dataclass
class _Kept:
    until: float
    task: asyncio.Task[Listing | Told | Past]

    @property
    def size(self) -> int:
        """Bytes of the answer, once there is one."""
        there = self.task.done() and not self.task.cancelled() and not self.task.exception()
        return self.task.result().size if there else 0


class FleetApi(Addresses):
    """The documents of a Prometheus."""

    def __init__(self, fleet: Fleet) -> None:
        """Ask nothing yet."""
        super().__init__(Clock(EVERY_SECONDS), fleet.name)
        self._fleet = fleet
        self._kept: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()
        self._followed: dict[object, tuple[object, ...]] = {}
        self._asking: asyncio.Semaphore | None = None

    # --- documents -------------------------------------------------------------------------------------------------

    async def _runs(self, request: Request) -> Response:
        topic, at, over = _asked(request)
        most = int(number(request, "limit", documents.MOST_RUNS, least=1, most=MOST_RUNS))
        listed = (await self._listing(at)).documents[topic.language]
        return answered(self._head(at, over) | excerpt(listed, topic.find, most))

    async def _run(self, request: Request) -> Response:
        if not request.query_params.get("run"):
            raise ParameterError(f"run: name one of {PREFIX}/runs")
        topic, at, over = _asked(request)
        told = await self._told(topic.run, at)
        if told is None or told.run[topic.language] == NULL:
            return no_run(topic.run)
        return answered(self._head(at, over), field("run", told.run[topic.language]))

    async def _gpus(self, request: Request) -> Response:
        topic, at, over = _asked(request)
        told = await self._told(await self._name(topic, at), at)
        if told is None and topic.run:
            return no_run(topic.run)
        return answered(self._head(at, over), told.node[topic.language] if told else _NO_NODE)

    async def _points(self, request: Request) -> Response:
        topic, at, over = _asked(request)
        past = await self._past(await self._name(topic, at), at, over)
        if past is None and topic.run:
            return no_run(topic.run)
        points = (past.run if topic.run else past.gpus) if past else _NOTHING
        return answered(self._head(at, over), points)

    async def _events(self, request: Request) -> Response:
        if EVENT_STREAM in header(request.scope, b"accept"):
            return self._stream(request)
        topic, at, over = _asked(request)
        past = await self._past(await self._name(topic, at), at, over)
        if past is None and topic.run:
            return no_run(topic.run)
        happened = past.events[topic.language] if past else b"[]"
        return answered(self._head(at, over), field("events", happened), Vary="Accept")

    def _head(self, at: float, over: Span) -> dict[str, Any]:
        source = {"prometheus": self._fleet.name, "start": over.start, "end": over.end, "step": over.step}
        return {"time": at, "fresh": True, "source": source}

    # --- what Prometheus says --------------------------------------------------------------------------------------

    async def _listing(self, at: float) -> Listing:
        listing: Listing = await self._once(("runs", at), lambda: self._fleet.listing(at), _lasting(at))
        return listing

    async def _name(self, topic: Topic, at: float) -> str:
        """The run that is meant: the first of the list where none is named, empty where there is none."""
        if topic.run:
            return topic.run
        listed = (await self._listing(at)).documents[topic.language]["runs"]
        return listed[0]["run"] if listed else ""

    async def _told(self, name: str, at: float) -> Told | None:
        """A run as it is; None where there is none of that name."""
        only = (await self._listing(at)).whose.get(name)
        if only is None:
            return None
        told: Told = await self._once(("run", name, at), lambda: self._fleet.run(name, only, at), _lasting(at))
        return told

    async def _past(self, name: str, at: float, over: Span) -> Past | None:
        """A time range of a run; asked for again when another point has come."""
        told = await self._told(name, at)
        if told is None:
            return None
        only, seconds = told.only, max(_lasting(over.end), over.step)
        past: Past = await self._once(("past", name, only, *over), lambda: self._fleet.past(name, only, over), seconds)
        return past

    async def _once(self, key: tuple[object, ...], ask: Callable[[], Any], seconds: float) -> Any:  # noqa: ANN401
        """What Prometheus says, asked once for all who want to know the same; a refusal is forgotten at once."""
        self._forget()
        if key not in self._kept:
            if sum(not one.task.done() for one in self._kept.values()) >= MOST_WAITED:
                raise CrowdedError(text("Prometheus is asked for too much at once; ask again later"))
            task = asyncio.ensure_future(self._in_a_thread(ask))
            self._kept[key] = _Kept(time.monotonic() + seconds, task)
        self._kept.move_to_end(key)
        task = self._kept[key].task
        try:
            return await asyncio.shield(task)  # who goes away takes nothing from the others
        except SourceError:
            if (kept := self._kept.get(key)) and kept.task is task:
                del self._kept[key]
            raise

    def _forget(self) -> None:
        """What is old, and, where there is too much, what nobody has wanted for the longest time and is not of now."""
        now = time.monotonic()
        for key in [key for key, one in self._kept.items() if one.task.done() and one.until <= now]:
            del self._kept[key]
        held = sum(one.size for one in self._kept.values())
        for key in [key for key, one in self._kept.items() if one.task.done() and not _is_current(key)]:
            if len(self._kept) < MOST_KEPT and held <= MOST_BYTES:
                break
            held -= self._kept.pop(key).size

    async def _in_a_thread(self, ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever it gives
        self._asking = self._asking or asyncio.Semaphore(MOST_ASKED)
        async with self._asking:
            return await asyncio.to_thread(ask)

    # --- the stream ------------------------------------------------------------------------------------------------

    def _stream(self, request: Request) -> Response:
        topic, _, _ = _asked(request)
        self._check_streams()
        if topic.run and len({*self._followed.values(), topic.followed()}) > MOST_FOLLOWED:
            raise CrowdedError(f"pages of {MOST_FOLLOWED} runs and time ranges are open; close one of them")
        who = object()
        return self._streamed(
            request, lambda allowed: self._messages(topic, who, allowed), lambda: self._followed.pop(who, None)
        )

    async def _messages(self, topic: Topic, who: object, allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        self._followed[who], going = topic.followed(), True
        while going and allowed():
            yield as_event(await self._message(topic))
            going = await self.clock.ticks()

    async def _message(self, topic: Topic) -> bytes:
        """Everything a page shows, as JSON; or why it is not known."""
        at, over = _moment(topic)
        head = self._head(at, over)
        try:
            listed = (await self._listing(at)).documents[topic.language]
            name = await self._name(topic, at)
            told, past = await self._told(name, at), await self._past(name, at, over)
        except (SourceError, CrowdedError) as error:
            return encoded({**head, "fresh": False, "problem": translated(error.args[0], topic.language)})
        shown = excerpt(listed, topic.find, documents.MOST_RUNS)
        rest = {"asked": name, "full": True, "diagnosis": True, "left_out": 0, "collectors": []}
        points = (field("run", past.run if past else NULL), field("gpus", past.gpus if past else _NOTHING))
        return merged(
            encoded({**head, **shown, **rest}),
            field("run", told.run[topic.language] if told else NULL),
            field("node", told.node[topic.language] if told else _NO_NODE),
            field("history", merged(*points)),
            field("events", past.events[topic.language] if past else b"[]"),
        )


def _asked(request: Request) -> tuple[Topic, float, Span]:
    """What is asked for, the moment and the time range; raises ParameterError."""
    seconds = number(request, "seconds", SHOWN_SECONDS, least=SHORTEST, most=LONGEST)
    end = number(request, "end", 0.0, least=0.0, most=catalog.LAST_MOMENT)
    topic = Topic(request.query_params.get("run", ""), language_of(request), seconds, end or None, sought(request))
    return topic, *_moment(topic)


def _moment(topic: Topic) -> tuple[float, Span]:
    at = topic.at()
    return at, span(topic.seconds, at)


def _is_current(key: tuple[object, ...]) -> bool:
    """Whether it is what all pages of now are put together from."""
    kind, *_, moment = key
    return kind != "past" and isinstance(moment, float) and time.time() - moment < 2 * EVERY_SECONDS


def _lasting(moment: float) -> float:
    """For how many seconds it stays true what is said of a moment."""
    return KEPT_SECONDS if time.time() - moment > SETTLED_SECONDS else EVERY_SECONDS
