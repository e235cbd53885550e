"""`/api/v1`: what the live page shows, as JSON, and as server-sent events for those who look.

Nothing runs on its own: each answer is made when it is asked for, and a stream wakes up by a timer of its own. Streams
of the same run wake up together and share what the first of them has made.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from yoloscope_exporter.history.courses import OF_GPUS, OF_RUN
from yoloscope_exporter.history.curves import Curves
from yoloscope_exporter.language import LANGUAGES
from yoloscope_exporter.sampling.snapshot import Snapshot
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
    language_of,
    no_run,
    number,
    sought,
)
from yoloscope_exporter.web.responses import encoded, header

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from yoloscope_exporter.diagnosis.engine import Diagnosis
    from yoloscope_exporter.history.store import History
    from yoloscope_exporter.sampling.sampler import Sampler

#: Between two updates of a page, and by how much they come after a cycle of the sampler has begun: it is over then, so
#: what is told is new, and the two threads do not fight for the interpreter.
EVERY_SECONDS, BEHIND_SECONDS = 2.0, 0.3
#: Runs whose points are remembered, each some 100 kB, and for how long after the last look. Points that pages
#: follow are never forgotten: they would be calculated anew each time. A page of one more run is refused.
MOST_CURVES, FORGET_SECONDS = 8, 60.0
#: Between the messages of two runs: a scrape that comes then is answered, and waits for no more than one of them.
PAUSE_SECONDS = 0.002
#: Messages that are kept for the other pages: one for each run and language.
MOST_MADE = MOST_CURVES * len(LANGUAGES)


class Topic(NamedTuple):
    """What a stream is about; a run without a name is the first in the list."""

    run: str
    language: str
    find: str = ""


class Place(NamedTuple):
    """Up to where a stream has told: Unix seconds of the last point, number of the last event, and if of its run."""

    time: float = -inf
    event: int = 0
    of_run: bool = False


@dataclass
class _Looked:
    """Points that somebody looks at, and the timer that forgets them."""

    curves: Curves
    timer: asyncio.TimerHandle
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Api(Addresses):
    """The documents of one exporter."""

    def __init__(
        self, sampler: Sampler, history: History, diagnoses: Callable[[], Sequence[Diagnosis] | None] = tuple
    ) -> None:
        """Calculate nothing yet; `diagnoses` gives the newest ones, or None where the diagnosis is switched off."""
        super().__init__(Clock(EVERY_SECONDS, BEHIND_SECONDS, time.monotonic))
        self._sampler, self._history, self._diagnoses = sampler, history, diagnoses
        self._seen: documents.View | None = None
        self._lists: dict[str, dict[str, Any]] = {}
        self._looked: OrderedDict[str, _Looked] = OrderedDict()
        self._followed: dict[object, str] = {}
        self._made: dict[tuple[object, ...], asyncio.Task[tuple[bytes, Place]]] = {}
        self._turns = asyncio.Lock()

    # --- documents -------------------------------------------------------------------------------------------------

    async def _runs(self, request: Request) -> Response:
        most = int(number(request, "limit", documents.MOST_RUNS, least=1, most=MOST_RUNS))
        listed = excerpt(self._list(language_of(request)), sought(request), most)
        return answered(self._head() | listed | self._own())

    async def _run(self, request: Request) -> Response:
        name = request.query_params.get("run", "")
        if not name:
            raise ParameterError(f"run: name one of {PREFIX}/runs")
        found = documents.run(self._view(), self._history, name, language_of(request))
        return no_run(name) if found is None and self._sampler.fresh else answered(self._head() | {"run": found})

    async def _gpus(self, request: Request) -> Response:
        return answered(self._head() | self._node(language_of(request)))

    async def _points(self, request: Request) -> Response:
        name = request.query_params.get("run", "")
        since = number(request, "since", -inf)
        if not self._sampler.fresh:
            return answered(self._head() | {"times": [], "series": []})
        if name != self._known(name):
            return no_run(name)
        self._check_room(name)
        return answered(self._head() | (await self._curves(name, self._history.last)).since(since))

    async def _events(self, request: Request) -> Response:
        if EVENT_STREAM in header(request.scope, b"accept"):
            return await self._stream(request)
        since = int(number(request, "since", 0))
        found = documents.events(self._history.events(since), language_of(request))
        return answered(self._head() | {"events": found}, Vary="Accept")

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

    def _list(self, language: str) -> dict[str, Any]:
        """Every run there is, up to MOST_RUNS."""
        view = self._view()
        if view is not self._seen:
            return documents.runs(view, self._history, language, MOST_RUNS)
        if language not in self._lists:
            self._lists[language] = documents.runs(view, self._history, language, MOST_RUNS)
        return self._lists[language]

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
            self._forget()
        else:
            looked.timer.cancel()
            looked.timer = timer
        self._looked.move_to_end(run)
        async with looked.lock:
            for _ in looked.curves.update(now):
                await asyncio.sleep(0)
        return looked.curves

    def _check_room(self, run: str) -> None:
        """Raise CrowdedError where pages follow as many other runs as are remembered."""
        if run and len({*self._followed.values(), run}) > MOST_CURVES:
            raise CrowdedError(f"pages of {MOST_CURVES} runs are open; close one of them")

    def _forget(self) -> None:
        """The points of runs that nobody follows, those first that were looked at longest ago."""
        runs = [run for run in self._looked if run]  # the GPUs' are everybody's
        followed = {*self._followed.values(), *runs[-1:]}
        for run in [run for run in runs if run not in followed][: max(len(runs) - MOST_CURVES, 0)]:
            self._looked.pop(run).timer.cancel()

    # --- streams ---------------------------------------------------------------------------------------------------

    async def _stream(self, request: Request) -> Response:
        topic = Topic(request.query_params.get("run", ""), language_of(request), sought(request))
        self._check_streams()
        self._check_room(self._known(self._chosen(topic).run))
        who = object()
        return self._streamed(request, lambda allowed: self._messages(topic, who, allowed), lambda: self._left(who))

    def _left(self, who: object) -> None:
        """A stream follows no run any more."""
        self._followed.pop(who, None)

    def _chosen(self, topic: Topic) -> Topic:
        """The topic, of the first run in the list where it has none."""
        if not topic.run and (listed := self._list(topic.language)["runs"]):
            return topic._replace(run=listed[0]["run"])
        return topic

    def _known(self, run: str) -> str:
        """The run, or none where there is none of that name."""
        return run if run in self._view().ranks else ""

    async def _messages(self, topic: Topic, who: object, allowed: Callable[[], bool]) -> AsyncIterator[bytes]:
        place, going = Place(), True
        while going and allowed():
            topic = self._chosen(topic)
            if run := self._known(topic.run):
                try:
                    self._check_room(run)
                except CrowdedError:  # a run that was not there yet when the page was opened; asked again, it is told
                    return
                self._followed[who] = run
            else:
                self._left(who)
            message, place = await self._message(topic, place)
            yield message
            going = await self.clock.ticks()

    async def _message(self, topic: Topic, place: Place) -> tuple[bytes, Place]:
        """What is new since `place`, made once for all streams that have come as far, and where that leads."""
        if topic.run != self._known(topic.run):  # any name that a client thinks of
            return await self._make(topic, place)
        now = (self._sampler.fresh, self._sampler.snapshot.time)
        key = (*now, topic, place)
        if key not in self._made:
            known = [other for other in self._made if other[:2] == now][1 - MOST_MADE :]
            self._made = {other: self._made[other] for other in known}
            self._made[key] = asyncio.ensure_future(self._make(topic, place))
            asyncio.get_running_loop().call_later(EVERY_SECONDS, lambda: self._made.pop(key, None))
        making = self._made[key]
        return await asyncio.shield(making)  # who goes away takes nothing from the others

    async def _make(self, topic: Topic, place: Place) -> tuple[bytes, Place]:
        now, language, run, fresh = self._history.last, topic.language, self._known(topic.run), self._sampler.fresh
        of_run = await self._curves(run, now) if run else None
        of_gpus = await self._curves("", now)
        async with self._turns:
            await asyncio.sleep(PAUSE_SECONDS)
        if not (fresh and self._sampler.fresh):  # nothing is told now, and all of it once there is something
            return as_event(encoded({**self._head(), "fresh": False})), place
        if now < place.time or (run and not place.of_run):  # the clock was set back, or the run has come
            place = Place()
        happened = self._history.events(place.event)
        message = {
            **self._head(),
            **excerpt(self._list(language), topic.find, documents.MOST_RUNS),
            **self._own(),
            "full": place == Place(),
            "run": documents.run(self._view(), self._history, topic.run, language) if topic.run else None,
            "asked": topic.run,
            "node": self._node(language),
            "history": {"run": of_run.since(place.time) if of_run else None, "gpus": of_gpus.since(place.time)},
            "events": documents.events(happened, language),
        }
        reached = Place(max(now, place.time), happened[-1].number if happened else place.event, bool(run))
        return as_event(encoded(message)), reached
