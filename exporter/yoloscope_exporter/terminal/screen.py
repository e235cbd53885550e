"""What `yoloscope top` shows: one frame from the last minute's series and the diagnosis. Pure; fits 80 columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.markup import escape
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from yoloscope_exporter import catalog
from yoloscope_exporter.diagnosis import causes, colours, rules, signals
from yoloscope_exporter.diagnosis.advice import effect_in_words
from yoloscope_exporter.diagnosis.signals import prediction
from yoloscope_exporter.diagnosis.signals.death import DEAD
from yoloscope_exporter.diagnosis.signals.gpu import gpu_busy
from yoloscope_exporter.diagnosis.signals.view import Machine, state
from yoloscope_exporter.diagnosis.units import clock, counted, duration, in_order
from yoloscope_exporter.language import joined, say, text
from yoloscope_exporter.measures import host, training
from yoloscope_exporter.measures import prediction as measures
from yoloscope_exporter.measures.reading import Reading
from yoloscope_exporter.measures.training import STEP_PHASES
from yoloscope_exporter.terminal.cells import padded
from yoloscope_exporter.terminal.diagnosis import why_unknown
from yoloscope_exporter.terminal.sparkline import line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from yoloscope_exporter.diagnosis.engine import Diagnosis, Verdict
    from yoloscope_exporter.measures.series import Window

    Draw = Callable[[Window, str, str], Iterator[RenderableType]]

STYLES = {**colours.SEVERITIES, rules.CRITICAL: f"bold {colours.SEVERITIES[rules.CRITICAL]}"}
GIB = 2**30
BAR = 24
MOST_WORKERS = 16
MOST_EVENTS = 6


@dataclass(frozen=True)
class Event:
    """Something that happened: when (Unix seconds), and what, with the severity that colours it."""

    time: float
    text: str
    severity: str = rules.INFO


def frame(window: Window, diagnoses: Sequence[Diagnosis], events: Sequence[Event] = (), source: str = "") -> Group:
    """The whole screen."""
    parts: list[RenderableType] = [_head(window, source)]
    ranks, predictions = signals.ranks(window), signals.predictions(window)
    if not ranks and not predictions:
        parts.append(Text(say("no runs here; start one with: yoloscope run -- yolo train ..."), style="dim"))
    told = {(diagnosis.run, diagnosis.rank): diagnosis for diagnosis in diagnoses}
    parts += [part for key in ranks for part in _shown(window, *key, told.get(key))]
    parts += [part for key in predictions for part in _shown(window, *key, told.get(key), _prediction)]
    known = {*ranks, *predictions}
    parts += [part for key, one in told.items() if key not in known for part in map(_verdict, one.verdicts)]
    parts += _gpus(window)
    if events:
        parts.append(_title(say("Recent events")))
        parts += [_event(event) for event in list(events)[-MOST_EVENTS:]]
    return Group(*parts)


def _title(text: str) -> Rule:
    return Rule(Text(text), align="left", style="dim", characters="─")


def _head(window: Window, source: str) -> Text:
    machine = Machine(window)
    parts = [clock(window.end), source]
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


def _shown(
    window: Window, run: str, rank: str, diagnosis: Diagnosis | None, draw: Draw | None = None
) -> Sequence[RenderableType]:
    """A rank's part of the screen; one that cannot be drawn leaves the others theirs."""
    try:
        return (*_told(run, rank, diagnosis), *(draw or _rank)(window, run, rank))
    except Exception as error:  # noqa: BLE001 - the isolation boundary
        return _title(f"{run} · rank {rank}"), Text(say("cannot be shown: {error!r}", error=error), style="dim")


def _told(run: str, rank: str, diagnosis: Diagnosis | None) -> Iterator[RenderableType]:
    yield _title(f"{run} · rank {rank}")
    if diagnosis is not None:
        yield from (_verdict(verdict) for verdict in diagnosis.verdicts)
        if not diagnosis.verdicts:
            yield Text(say("no verdict: {why}", why=why_unknown(diagnosis)), style="dim")


def _rank(window: Window, run: str, rank: str) -> Iterator[RenderableType]:
    yield Text(progress(window, run, rank), no_wrap=True, overflow="ellipsis")
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
    losses = [f"{labels[2]} {value:.4g}" for labels, value in window.current(catalog.TRAIN_LOSS, *key).items()]
    return "  ".join([*parts, *losses])


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


def _prediction(window: Window, run: str, rank: str) -> Iterator[RenderableType]:
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


# --- GPUs -----------------------------------------------------------------------------------------------------------


def _gpus(window: Window) -> Iterator[RenderableType]:
    names = {labels[0] for labels in window.current(catalog.GPU_INFO)}
    lost = {labels[0] for labels, up in window.current(catalog.GPU_UP).items() if not up}
    if not names | lost:
        return
    yield _title(say("GPUs"))
    table = Table.grid(padding=(0, 1))
    ranks = {labels[2]: labels[1] for labels in window.current(catalog.TRAIN_DEVICE_INFO)}
    ordered = sorted(names | lost, key=in_order)
    for gpu in ordered:
        table.add_row(
            *((gpu, Text(say("lost"), style=STYLES[rules.CRITICAL])) if gpu in lost else _gpu(window, gpu, ranks))
        )
    yield table
    for gpu in ordered:
        if troubles := list(_troubles(window, gpu)):
            yield Text(f"GPU {gpu}: {'; '.join(troubles)}", style=STYLES[rules.WARNING])


def _troubles(window: Window, gpu: str) -> Iterator[str]:
    """What holds a GPU's clocks down now, the errors in its life, and what the driver asks for."""
    throttled = [labels[1] for labels, on in window.current(catalog.GPU_THROTTLED, gpu).items() if on]
    if throttled:
        yield say("throttled by {reasons}", reasons=", ".join(throttled))
    ecc = window.last(catalog.GPU_ECC_ERRORS_TOTAL, gpu, "uncorrected")
    if ecc:
        yield say(counted(ecc, "uncorrected ECC error"))
    if window.last(catalog.GPU_SRAM_ECC_THRESHOLD_EXCEEDED, gpu):
        yield say("more SRAM errors than NVIDIA allows")
    if action := int(window.last(catalog.GPU_RECOVERY_ACTION, gpu) or 0):
        yield say(
            "the driver asks for {action}",
            action=dict(enumerate(catalog.RECOVERY_ACTIONS)).get(action, f"action {action}"),
        )
    faults = [labels[1] for labels, on in window.current(catalog.GPU_FABRIC_FAULT, gpu).items() if on]
    if faults:
        yield say("NVLink fabric: {faults}", faults=", ".join(faults))
    for labels, count in window.current(catalog.GPU_XID_ERRORS_TOTAL, gpu).items():
        yield f"Xid {labels[1]}" + (say(" ({count:.0f} times)", count=count) if count > 1 else "")


def _gpu(window: Window, gpu: str, ranks: Mapping[str, str]) -> Iterator[RenderableType]:
    busy = gpu_busy(window, gpu)
    history = [value for _, value in window.points(catalog.GPU_UTILIZATION_RATIO, gpu)]
    used, total = window.last(catalog.GPU_MEMORY_USED_BYTES, gpu), window.last(catalog.GPU_MEMORY_TOTAL_BYTES, gpu)
    power, limit = window.last(catalog.GPU_POWER_WATTS, gpu), window.last(catalog.GPU_POWER_LIMIT_WATTS, gpu)
    heat = window.last(catalog.GPU_TEMPERATURE_CELSIUS, gpu, "core")
    yield gpu
    yield "" if busy is None else f"{busy:4.0%}"
    yield Text(line(history, width=20, high=1.0), style="blue")
    yield _device_memory(used, total)
    yield "" if power is None else f"{power:.0f}/{limit:.0f} W" if limit is not None else f"{power:.0f} W"
    yield "" if heat is None else f"{heat:.0f} C"
    yield f"rank {ranks[gpu]}" if gpu in ranks else ""


def _device_memory(used: float | None, total: float | None) -> str:
    """Used and installed; without the latter the GPU shares the node's memory, which the head shows."""
    if total is None:
        return say("shares the node's")
    return "" if used is None else f"{used / GIB:.1f}/{total / GIB:.1f} GiB"


def _event(event: Event) -> Text:
    return Text.assemble((clock(event.time), "dim"), " ", (event.text, STYLES[event.severity]))


# --- events ---------------------------------------------------------------------------------------------------------


def changes(now: float, before: Sequence[Diagnosis], after: Sequence[Diagnosis]) -> Iterator[Event]:
    """What happened between two diagnoses: states entered, verdicts that began or ended."""
    old = {(diagnosis.run, diagnosis.rank): diagnosis for diagnosis in before}
    for diagnosis in after:
        who = f"{diagnosis.run} rank {diagnosis.rank}" if diagnosis.run else say("this node")
        earlier = old.get((diagnosis.run, diagnosis.rank))
        held = {verdict.name: verdict for verdict in earlier.verdicts} if earlier else {}
        if diagnosis.state and (earlier is None or earlier.state != diagnosis.state):
            yield Event(now, say("{who}: {state}", who=who, state=text(diagnosis.state)))
        for verdict in diagnosis.verdicts:
            if verdict.name not in held:
                cause = verdict.cause.partition(":")[0] if verdict.name in DEAD else ""
                why = f", {cause}" if cause in causes.BY_NAME else ""
                yield Event(now, say("{who}: {name} began{why}", who=who, name=verdict.name, why=why), verdict.severity)
        for name in held.keys() - {verdict.name for verdict in diagnosis.verdicts}:
            yield Event(now, say("{who}: {name} ended", who=who, name=name))
