"""What `yoloscope top` shows: one frame from the last minutes' series and the diagnosis. Pure; fits 80 columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from yoloscope_exporter import catalog, colours
from yoloscope_exporter.diagnosis import causes, rules, signals
from yoloscope_exporter.diagnosis.advice import effect_in_words
from yoloscope_exporter.diagnosis.signals import prediction
from yoloscope_exporter.diagnosis.signals.view import Machine, state
from yoloscope_exporter.language import in_figures, joined, say, text
from yoloscope_exporter.language.units import about, clock, duration, in_order, local_time
from yoloscope_exporter.measures import host, training
from yoloscope_exporter.measures import prediction as measures
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.measures.series import Store, Window, period
from yoloscope_exporter.measures.training import STEP_PHASES
from yoloscope_exporter.terminal import courses
from yoloscope_exporter.terminal.cells import padded
from yoloscope_exporter.terminal.courses import Courses
from yoloscope_exporter.terminal.diagnosis import why_unknown
from yoloscope_exporter.terminal.gpus import gpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import tzinfo

    from rich.console import RenderableType

    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict

    Draw = Callable[[Window, Courses, str, str], Iterator[RenderableType]]

STYLES = {**colours.SEVERITIES, rules.CRITICAL: f"bold {colours.SEVERITIES[rules.CRITICAL]}"}
GIB = 2**30
BAR = 24
MOST_WORKERS = 16
MOST_EVENTS = 6
#: What figures are calculated over, and what sparklines show, in seconds; longer where samples are far apart.
SHOWN_SECONDS, PAST_SECONDS = 60.0, 300.0
#: Samples that a window has at least, and a part of a sparkline: two for a rate, and one may be late.
LEAST_SAMPLES, LEAST_PER_PART = 6, 3


@dataclass(frozen=True)
class Event:
    """Something that happened: when (Unix seconds), and what, with the severity that colours it."""

    time: float
    text: str
    severity: str = rules.INFO


@dataclass(frozen=True)
class Moment:
    """What is known at a moment.

    Attributes:
        window: the last minute, over which everything is calculated.
        past: the last minutes, for sparklines.
        diagnoses: those that hold.
        events: the oldest first.
        source: where it comes from.
        zone: in which times are told; that of this machine if None.
    """

    window: Window
    past: Window
    diagnoses: Sequence[Diagnosis] = ()
    events: Sequence[Event] = ()
    source: str = ""
    zone: tzinfo | None = None
    courses: Courses = field(init=False)

    def __post_init__(self) -> None:
        """Share what is calculated for sparklines."""
        object.__setattr__(self, "courses", Courses(self.past))

    def ranks(self) -> list[tuple[str, str]]:
        """Runs and ranks: those of trainings first."""
        return [
            *sorted(signals.ranks(self.window), key=_by_number),
            *sorted(signals.predictions(self.window), key=_by_number),
        ]


def _by_number(key: tuple[str, str]) -> tuple[str, tuple[int, str]]:
    return key[0], in_order(key[1])


def windows(store: Store, end: float, usual: float | None = None) -> tuple[Window, Window]:
    """The last minute and the last minutes before `end`; longer ones where samples are far apart.

    Args:
        store: what is shown.
        end: Unix seconds.
        usual: distance of the store's samples in seconds; looked for if not given.
    """
    usual = period(store.times()) if usual is None else usual
    seconds = max(SHOWN_SECONDS, LEAST_SAMPLES * usual)
    past = max(PAST_SECONDS, LEAST_PER_PART * courses.PARTS * usual)
    return Window(store, end - seconds, end, usual), Window(store, end - past, end, usual)


def frame(moment: Moment) -> Group:
    """The whole screen: every run and rank in full."""
    return Group(head(moment), *body(moment, moment.ranks()))


def body(moment: Moment, shown: Sequence[tuple[str, str]]) -> Iterator[RenderableType]:
    """What is below the head: these runs and ranks, what is told of the node, GPUs, events."""
    window, known = moment.window, moment.ranks()
    told = {(diagnosis.run, diagnosis.rank): diagnosis for diagnosis in moment.diagnoses}
    predicting = set(signals.predictions(window))
    if not known:
        yield Text(say("no runs here; start one with: yoloscope run -- yolo train ..."), style="dim")
    for key in shown:
        yield from _shown(moment, *key, told.get(key), _prediction if key in predicting else _rank)
    yield from (_verdict(verdict) for key, one in told.items() if key not in known for verdict in one.verdicts)
    if rows := list(gpus(window, moment.courses)):
        yield _title(say("GPUs"))
        yield from rows
    if moment.events:
        yield _title(say("Recent events"))
        yield from (_event(event, moment.zone) for event in moment.events[-MOST_EVENTS:])


def _title(text: str) -> Rule:
    return Rule(Text(text), align="left", style="dim", characters="─")


def head(moment: Moment) -> Text:
    """The first line: when, where, and how busy the node is."""
    window = moment.window
    machine = Machine(window)
    parts = [local_time(window.end, moment.zone), moment.source]
    busy = machine.reading.one(host.CPU_BUSY)
    if busy is not None:
        parts.append(say("CPU {busy:.0%} of {cpus:.0f}", busy=busy, cpus=sum(machine.cpu.values())))
    installed, available = window.last(catalog.MEMORY_TOTAL_BYTES), window.last(catalog.MEMORY_AVAILABLE_BYTES)
    if installed and available is not None:
        parts.append(
            say(
                "memory {used:.1f} of {installed:.1f} GiB",
                used=(installed - available) / GIB,
                installed=installed / GIB,
            )
        )
    return Text("  ".join(filter(None, parts)), style="bold", no_wrap=True, overflow="ellipsis")


# --- one rank -------------------------------------------------------------------------------------------------------


def _shown(moment: Moment, run: str, rank: str, diagnosis: Diagnosis | None, draw: Draw) -> Sequence[RenderableType]:
    """A rank's part of the screen; one that cannot be drawn leaves the others theirs."""
    try:
        return (*_told(run, rank, diagnosis), *draw(moment.window, moment.courses, run, rank))
    except Exception as error:  # noqa: BLE001 - the isolation boundary
        return _title(f"{run} · rank {rank}"), Text(say("cannot be shown: {error!r}", error=error), style="dim")


def _told(run: str, rank: str, diagnosis: Diagnosis | None) -> Iterator[RenderableType]:
    yield _title(f"{run} · rank {rank}")
    if diagnosis is not None:
        yield from (_verdict(verdict) for verdict in diagnosis.verdicts)
        if not diagnosis.verdicts:
            yield Text(say("no verdict: {why}", why=why_unknown(diagnosis)), style="dim")


def _rank(window: Window, past: Courses, run: str, rank: str) -> Iterator[RenderableType]:
    yield Text(progress(window, run, rank), no_wrap=True, overflow="ellipsis")
    images, waiting = (past.measure(measure, run=run, rank=rank) for measure in (training.IMAGES, training.DATA_WAIT))
    yield from _courses(past.window, (say("images/s"), images, None), (say("waiting"), waiting, 1.0))
    yield from _anatomy(window, run, rank)
    yield from _loader(window, run, rank)


def _verdict(verdict: Verdict) -> Text:
    title = joined((verdict.title, verdict.evidence), ": ")
    shown = Text.from_markup(f"[{STYLES[verdict.severity]}]{verdict.name}[/] {escape(say(title))}")
    if verdict.name in rules.EXPLAINED:
        shown.append(f"\n  {say('cause')} {say(verdict.cause)}")
    if verdict.severity != rules.OK and verdict.fix:
        shown.append(f"\n  {padded(say('fix'), 4)} {say(verdict.fix)}", style="bold")
        if verdict.advice.effect:
            shown.append(f"\n  {say('changes')} {say(effect_in_words(verdict.advice))}")
    if verdict.gain:
        shown.append(f"\n  {say('gain')} {say(verdict.gain)}")
    return shown


def progress(window: Window, run: str, rank: str) -> str:
    """A line about a rank: state, epoch, throughput, what is left, losses."""
    key = (run, rank)
    epoch, epochs = window.last(catalog.TRAIN_EPOCH, *key), window.last(catalog.TRAIN_EPOCHS, *key)
    images = Reading(window).one(training.IMAGES, run=run, rank=rank)
    remaining = window.last(catalog.TRAIN_REMAINING_SECONDS, *key)
    parts = [say(state(window, run, rank))]
    if epoch is not None and epochs is not None:
        parts.append(say("epoch {epoch:.0f}/{epochs:.0f}", epoch=epoch, epochs=epochs))
    if images:
        parts.append(say("{images:.1f} images/s", images=images))
    if remaining is not None:
        parts.append(say("ETA {left}", left=duration(remaining)))
    losses = [
        f"{labels[2]} {in_figures(value, 4)}" for labels, value in window.current(catalog.TRAIN_LOSS, *key).items()
    ]
    return "  ".join([*parts, *losses])


def _courses(past: Window, *shown: tuple[str, Sequence[float], float | None]) -> Iterator[RenderableType]:
    """A line of sparklines: each with its name, its values and the value of the highest block, if that is fixed."""
    known = [(name, values, high) for name, values, high in shown if any(map(isfinite, values))]
    if known:
        drawn = (Text.assemble((name, "dim"), " ", courses.drawn(values, high)) for name, values, high in known)
        yield Text("  ").join([Text(last(past), style="dim"), *drawn])


def last(past: Window) -> str:
    """How long a window is: `the last 5 min`."""
    return say("the last {long}", long=about(past.seconds))


def _anatomy(window: Window, run: str, rank: str) -> Iterator[RenderableType]:
    """Where a step's time goes."""
    grown = {p: window.increase(catalog.TRAIN_PHASE_SECONDS_TOTAL, run, rank, p) or 0.0 for p in STEP_PHASES}
    yield from _table(grown, window.increase(catalog.TRAIN_BATCHES_TOTAL, run, rank) or 0.0)


def _table(grown: Mapping[str, float], batches: float) -> Iterator[RenderableType]:
    """Seconds by phase as milliseconds per batch, with their shares."""
    total = sum(grown.values())
    if not total or not batches:
        return
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=17)
    table.add_column(justify="right", min_width=9)
    table.add_column()
    for phase, seconds in grown.items():
        if seconds / total >= 0.005:  # noqa: PLR2004 - less than a character of the bar
            colour = colours.PHASES.get(phase) or colours.PREDICT_PHASES[phase]
            table.add_row(phase, f"{1000 * seconds / batches:.1f} ms", _bar(seconds / total, colour))
    yield table


def _prediction(window: Window, past: Courses, run: str, rank: str) -> Iterator[RenderableType]:
    """What a process predicts, validates or exports: a line, and where the time of a batch goes."""
    facts, key = prediction.facts(window, run, rank), (run, rank)
    images = Reading(window).one(measures.PREDICT_IMAGES, run=run, rank=rank)
    latency = Reading(window).one(measures.PREDICT_LATENCY, run=run, rank=rank)
    seen = window.last(catalog.PREDICT_IMAGES_TOTAL, *key)
    parts = [
        prediction.state(window, *key),
        *(facts[name] for name in ("format", "precision", "source") if name in facts),
    ]
    parts += [say("{seen:.0f} images", seen=seen)] if seen else []
    parts += [say("{images:.1f} images/s", images=images)] if images else []
    parts += [say("99 % below {latency:.1f} ms", latency=1000 * latency)] if latency is not None else []
    for labels, seconds in window.current(catalog.EXPORT_SECONDS, *key).items():
        size = window.last(catalog.EXPORT_ARTEFACT_BYTES, *labels)
        took = say("{format} in {duration}", format=labels[2], duration=duration(seconds))
        parts.append(took + (f", {size / 2**20:.1f} MiB" if size else ""))
    yield Text("  ".join(parts), no_wrap=True, overflow="ellipsis")
    yield from _courses(past.window, (say("images/s"), past.measure(measures.PREDICT_IMAGES, run=run, rank=rank), None))
    increase = window.increases(catalog.PREDICT_PHASE_SECONDS_TOTAL, *key)
    yield from _table({labels[2]: seconds for labels, seconds in increase.items()}, _batches(window, *key))


def _batches(window: Window, run: str, rank: str) -> float:
    return window.increase(catalog.PREDICT_BATCHES_TOTAL, run, rank) or 0.0


def _bar(share: float, style: str, width: int = BAR) -> Text:
    filled = round(min(max(share, 0.0), 1.0) * width)
    return Text.assemble(("█" * filled, style), ("░" * (width - filled), "dim"), f" {share:4.0%}")


def _loader(window: Window, run: str, rank: str) -> Iterator[RenderableType]:
    """The workers' times side by side, the slowest first."""
    capacity, depth = (
        window.last(catalog.TRAIN_QUEUE_CAPACITY, run, rank),
        window.last(catalog.TRAIN_QUEUE_DEPTH, run, rank),
    )
    workers = sorted(_worker_times(window, run, rank), key=lambda worker: -worker[1])
    if not workers:
        return
    queue = (
        text(", {depth:.0f} of {capacity:.0f} batches ready", depth=depth, capacity=capacity)
        if capacity and depth is not None
        else ""
    )
    yield Text(say("{number} loader workers{queue}", number=len(workers), queue=queue), style="dim")
    table = Table.grid(padding=(0, 1))
    longest = workers[0][1]
    for name, seconds, computing in workers[:MOST_WORKERS]:
        share = "" if computing is None else say("{computing:4.0%} computing", computing=computing)
        table.add_row(say("worker {name}", name=name), f"{1000 * seconds:.0f} ms", _length(seconds / longest), share)
    yield table
    if len(workers) > MOST_WORKERS:
        yield Text(say("and {number} faster ones", number=len(workers) - MOST_WORKERS), style="dim")


def _length(share: float) -> Text:
    return Text("█" * max(round(share * BAR), 1), style="blue")


def _worker_times(window: Window, run: str, rank: str) -> Iterator[tuple[str, float, float | None]]:
    batches = window.increases(catalog.TRAIN_WORKER_BATCHES_TOTAL, run, rank)
    computing = window.increases(catalog.TRAIN_WORKER_CPU_SECONDS_TOTAL, run, rank)
    for labels, seconds in window.increases(catalog.TRAIN_WORKER_BATCH_SECONDS_TOTAL, run, rank).items():
        if seconds and (made := batches.get(labels)):
            yield labels[2], seconds / made, computing[labels] / seconds if labels in computing else None


# --- events ---------------------------------------------------------------------------------------------------------


def _event(event: Event, zone: tzinfo | None) -> Text:
    return Text.assemble((clock(event.time, zone), "dim"), " ", (event.text, STYLES[event.severity]))


def changes(now: float, before: Sequence[Diagnosis], after: Sequence[Diagnosis]) -> Iterator[Event]:
    """What happened between two diagnoses: states entered, verdicts that began or ended."""
    old = {(diagnosis.run, diagnosis.rank): diagnosis for diagnosis in before}
    for diagnosis in after:
        earlier = old.get((diagnosis.run, diagnosis.rank))
        held = {verdict.name: verdict for verdict in earlier.verdicts} if earlier else {}
        if diagnosis.state and (earlier is None or earlier.state != diagnosis.state):
            yield Event(now, say("{who}: {state}", who=_who(diagnosis), state=text(diagnosis.state)))
        yield from (began(now, diagnosis, verdict) for verdict in diagnosis.verdicts if verdict.name not in held)
        for name in held.keys() - {verdict.name for verdict in diagnosis.verdicts}:
            yield ended(now, diagnosis, name)


def began(time: float, diagnosis: Diagnosis, verdict: Verdict) -> Event:
    """A verdict that began to hold; of a death with its cause."""
    cause = verdict.cause.partition(":")[0] if verdict.name in catalog.DEAD else ""
    why = f", {cause}" if cause in causes.BY_NAME else ""
    told = say("{who}: {name} began{why}", who=_who(diagnosis), name=verdict.name, why=why)
    return Event(time, told, verdict.severity)


def ended(time: float, diagnosis: Diagnosis, name: str) -> Event:
    """A verdict that holds no longer."""
    return Event(time, say("{who}: {name} ended", who=_who(diagnosis), name=name))


def _who(diagnosis: Diagnosis) -> str:
    return f"{diagnosis.run} rank {diagnosis.rank}" if diagnosis.run else say("this node")
