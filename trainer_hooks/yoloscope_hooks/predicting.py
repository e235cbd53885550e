"""The calls of one predictor: what each batch took, by Ultralytics' own profilers and by who had the turn in between.

A session hangs on its predictor. `stream_inference` is a generator: after a batch it hands out the results one by one,
and goes on when the next one is asked for. So the list of results is replaced by one that notes when its last result
was taken: up to there the time is the user's, from there on the source's. What another predictor, which is called
meanwhile, has accounted for in the same thread is left out.
"""

from __future__ import annotations

import inspect
import weakref
from threading import get_ident
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

from yoloscope_hooks import accounts, binding, inference
from yoloscope_hooks.binding import SESSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Predictor = Any  # duck-typed
    Callback = Callable[[Predictor], None]

_SPEEDS = ("preprocess", "inference", "postprocess")
#: Predictors that a process may well have; who makes more makes one for each image.
_FEW = 4
#: Events at which we are called before others, whose work would be the source's else, or hide Ultralytics' results.
_FIRST = ("on_predict_batch_start", "on_predict_batch_end", "on_predict_end")


class Session:
    """One predictor. Between a call's start and its last batch Ultralytics lets no other thread use it.

    Attributes:
        answered: when the results of the batch under way were there.
        dropped: its generator was closed while it handed out results; a callback that looks at some of them only looks
            the same, so this is believed when the next call begins.
    """

    def __init__(self, recording: inference.Recording) -> None:
        """No call has begun."""
        self._recording = recording
        recording.predictors += 1
        self._is_one_of_many = recording.predictors > _FEW
        self.answered = 0.0
        self.dropped = False
        self._thread = 0
        self._call: object = None
        self._under_way = self._counted = False  # whether a call is, and whether the record says so
        self._watched = False  # whether its end will be seen: else the record says nothing
        self._entered: dict[int, tuple[object, float, float]] = {}  # by thread: a call, its moment, the CPU time
        self._share = accounts.Share()
        self._opening = 0.0  # seconds that it took to open the source of the call that begins
        self._taken = 0.0  # when the last result of the batch was taken
        self._opened, self._size = False, 0  # whether a batch is under way, and its images
        self._warm, self._first, self._described = False, False, False
        self._seconds: dict[str, float] = {}

    @property
    def active(self) -> bool:
        """Whether what happens is to be recorded: the record is this process' own, and on."""
        return self._recording is inference.current("predict")

    @property
    def recording(self) -> inference.Recording:
        """Where it is stored."""
        return self._recording

    # --- a call -----------------------------------------------------------------------------------------------------

    def entered(self) -> object:
        """A call begins in this thread, which may have to wait for others; returns what `left` takes."""
        token = object()
        self._entered[get_ident()] = token, perf_counter(), thread_time()
        return token

    def left(self, token: object) -> None:
        """That call is over, however it ended: by an exception, or because its generator was dropped."""
        if self._call is token and self._under_way and self.active:
            self._finish(perf_counter())

    def opened(self, seconds: float) -> None:
        """The source of the call that begins is open: a file was downloaded, images were decoded, a video looked at."""
        self._opening = seconds

    def start(self, predictor: Predictor, now: float) -> None:
        """Source and model are there."""
        thread = get_ident()
        token, entered, cpu = self._entered.pop(thread, (None, 0.0, 0.0))
        # A first call has the making of its model before it: of a few they are set-up.
        phase = "user" if self._share.last else "load" if self._is_one_of_many else "setup"
        computed, waited = self._share.begin(entered or now, cpu or thread_time())
        self._spend(phase, computed)
        self._spend("idle", waited)
        if entered:
            setup = self._share.take(now)
            source = min(self._opening, setup)
            self._spend("source", source)
            self._spend("setup", setup - source)
        token = token or self._watch_frame()  # a predictor's first call has begun before there was a session
        self._watched = token is not None
        dropped, self.dropped = int(self.dropped), False
        self._thread, self._call, self._under_way = thread, token, True
        self._opened, self._first, self._taken, self._opening = False, True, 0.0, 0.0
        spent, more = self._pop(), self._count(1)  # stored at once: the first batch may block
        self._recording.store(spent, calls=1, under_way=more, abandoned=dropped, doubtful=-dropped)
        self._describe(predictor, now)
        self._share.last = perf_counter()

    def started(self, now: float) -> None:
        """What others do when a call begins is done; the first batch is fetched next."""
        self._spend("callbacks" if self._warm else "setup", self._share.take(now))

    def _watch_frame(self) -> object:
        """Have `left` called with what this returns when the loop under way is gone; None where that is not seen.

        A shell keeps the frames of its last error: there it would not be seen.
        """
        witness = None if inference.interactive() else _witness()
        if witness is None:
            return None
        token = object()
        weakref.finalize(witness, _quietly, self.left, token).atexit = False
        return token

    def _describe(self, predictor: Predictor, now: float) -> None:
        self._described = self._recording.describe(predictor, "predict", now)

    def _count(self, calls: int) -> int:
        """By how much the calls under way change if this predictor has `calls` of them, 0 or 1."""
        before, self._counted = self._counted, bool(calls) and self._watched
        return self._counted - before

    def end(self, now: float) -> None:
        """The source has ended. Another thread may have begun the next call by now."""
        if get_ident() == self._thread and self._under_way:
            self._turn(now)
            self._finish(now)

    def _finish(self, now: float) -> None:
        dropped = int(self.dropped)
        self._under_way, self.dropped, self._opened, self._taken = False, False, False, 0.0
        self._recording.store(self._pop(), under_way=self._count(0), abandoned=dropped, doubtful=-dropped, began=now)
        self._share.over(perf_counter())

    # --- a batch ----------------------------------------------------------------------------------------------------

    def batch_start(self, predictor: Predictor, now: float) -> None:
        """A batch has come from the source."""
        self._goes_on()
        self._turn(now)
        self._opened, self._first = True, False
        self.answered = 0.0
        self._size = len(predictor.batch[0])

    def _goes_on(self) -> None:
        """What looked like a dropped generator was somebody who has looked at some of the results only."""
        if self.dropped:
            self.dropped = False
            self._share.goes_on()
            self._recording.store({}, under_way=self._count(1), doubtful=-1)

    def _turn(self, now: float) -> None:
        """Who had the turn since the last batch: the user up to the last result, then the source."""
        taken, spent = self._taken, self._share.take(now)
        if self._opened:  # embeddings are handed out in the middle of a batch, which has no end then
            self._spend("other", spent)
            self._recording.store(self._pop(), batches=1, images=self._size, soon=False)
            self._opened = False
        elif taken:
            source = min(now - taken, spent)
            self._spend(self._consumer(), spent - source)
            self._spend("source", source)
        else:
            self._spend("source" if self._first else "other", spent)
        self._taken = 0.0

    def _consumer(self) -> str:
        """Whose the time was in which results were taken: nobody's while a record of its own was written of it."""
        return "idle" if self._share.away else "user"

    def batch_end(self, predictor: Predictor, now: float) -> None:
        """All of a batch is done: its times, and from here on its results are taken."""
        results, answered, began = predictor.results, self.answered or now, self._share.last
        known = type(results) is list  # not what another callback has made of it
        spent = dict(zip(_SPEEDS, _speeds(results, self._size))) if known else {}
        rest = max(self._share.take(now) - sum(spent.values()), 0.0)
        saving = min(now - answered, rest)
        for phase, seconds in spent.items():
            self._spend(phase, seconds)
        self._spend("callbacks" if self._warm else "setup", rest - saving)  # the first batch warms the model up
        self._spend("save", saving)
        latency = answered - began if self._warm else None
        self._warm, self._opened, self._taken = True, False, 0.0
        if not self._described:
            self._describe(predictor, now)
        self._recording.look_at_memory(getattr(predictor, "device", None), now)
        found = _detections(results) if known else None
        size = self._size
        self._recording.store(
            self._pop(), batches=1, images=size, detections=found, latency=latency, began=now, soon=False
        )
        if known:
            predictor.results = Results(results, self)
        self._share.last = perf_counter()

    def taken(self) -> None:
        """The next result is asked for, and there is none left in this batch."""
        self._taken = perf_counter()
        if self.active:
            self._goes_on()

    def drop(self) -> None:
        """Whoever took the results has stopped before the last one."""
        if self._under_way and not self.dropped and not self._opened and self.active:
            self.dropped = True
            spent = self._share.take(perf_counter())
            self._spend(self._consumer(), spent)
            self._recording.store(self._pop(), under_way=self._count(0), doubtful=1)
            self._share.over(perf_counter())

    def _spend(self, phase: str, seconds: float) -> None:
        if seconds > 0.0:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + seconds

    def _pop(self) -> dict[str, float]:
        seconds, self._seconds = self._seconds, {}
        return seconds


class Results(list):  # type: ignore[type-arg] # generic only since Python 3.9
    """The results of a batch, which tell when the last one has been taken. Copied or pickled it is a list."""

    def __init__(self, results: list[Any], session: Session) -> None:
        """`results` are Ultralytics' own."""
        super().__init__(results)
        self._session = session

    def __iter__(self) -> Iterator[Any]:
        """The results, in order."""
        try:
            yield from super().__iter__()
        except GeneratorExit:
            _quietly(self._session.drop)
            raise
        _quietly(self._session.taken)

    def __reduce__(self) -> Any:
        """A list."""
        return list, (list(super().__iter__()),)


def _quietly(function: Any, *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception as error:  # a hook never raises
        inference.give_up("predict", error)


def start(predictor: Predictor, now: float, ours: Mapping[str, Callback], started: Callback) -> None:
    """A call begins: the predictor's session, made if this is its first one, or the first in this process.

    `ours` are our callbacks by event, `started` is to be called when those of others at this one are over.
    """
    recording = inference.recording_for(predictor, "predict")
    session: Session | None = getattr(predictor, SESSION, None)
    if recording is None:
        return
    if session is None or session.recording is not recording:
        session = Session(recording)
        setattr(predictor, SESSION, session)
        _watch(predictor)
    _order(predictor.callbacks, ours, started)
    session.start(predictor, now)


def _watch(predictor: Predictor) -> None:
    """From its next call on, see when a call begins, how long its source takes to open, and that it ends if it fails.

    The predictor must not be held: it goes with its model, and the GPU's memory with it.
    """
    if "stream_inference" in vars(predictor):
        return
    method, reference = binding.weakly(predictor, "stream_inference"), weakref.ref(predictor)

    def stream_inference(*args: Any, **kwargs: Any) -> Iterator[Any]:
        return _watched(getattr(reference(), SESSION), method()(*args, **kwargs))  # holds it while it runs

    predictor.stream_inference = stream_inference
    if "setup_source" not in vars(predictor) and hasattr(type(predictor), "setup_source"):
        _time_opening(predictor, reference)


def _time_opening(predictor: Predictor, reference: Callable[[], Any]) -> None:
    method = binding.weakly(predictor, "setup_source")

    def setup_source(*args: Any, **kwargs: Any) -> Any:
        began = perf_counter()
        try:
            return method()(*args, **kwargs)
        finally:
            session = getattr(reference(), SESSION, None)
            if session is not None:
                session.opened(perf_counter() - began)

    predictor.setup_source = setup_source


def _watched(session: Session, generator: Iterator[Any]) -> Iterator[Any]:
    token = session.entered()
    try:
        yield from generator
    finally:
        _quietly(session.left, token)


def _witness() -> object:
    """What lives as long as the innermost loop over batches, and no longer: its profilers; None if there are none."""
    frame: Any = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "stream_inference":
        frame = frame.f_back
    profilers = frame.f_locals.get("profilers") if frame is not None else None
    return profilers[0] if profilers else None


def _order(listed: dict[str, list[Callback]], ours: Mapping[str, Callback], started: Callback) -> None:
    """Have ours called before those of others, or after them: trackers put theirs into the lists behind it."""
    for event in _FIRST:
        binding.put(listed.get(event), ours[event], first=True)
    binding.put(listed.get("on_predict_postprocess_end"), ours["on_predict_postprocess_end"], first=False)
    binding.follow(listed.get("on_predict_start"), ours["on_predict_start"], started)


def _speeds(results: Any, images: int) -> tuple[float, ...]:
    """Seconds of a batch in the three parts that Ultralytics times; none where a predictor does not tell them."""
    try:
        speed = results[0].speed
        return tuple(max(float(speed[part] or 0.0), 0.0) * images / 1e3 for part in _SPEEDS)
    except (TypeError, IndexError, KeyError, AttributeError):
        return ()


def _detections(results: Any) -> int | None:
    """Boxes in the results: the length of a tensor, which waits for nothing."""
    try:
        boxes = [one.boxes if one.boxes is not None else one.obb for one in results]
        return sum(map(len, boxes)) if None not in boxes else None
    except (TypeError, AttributeError):
        return None
