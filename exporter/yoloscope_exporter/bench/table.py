"""What was found: the cells of one table for the terminal, Markdown and HTML, what follows from it, and JSON. Pure."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.cells import cell_len
from rich.table import Table

from yoloscope_exporter.bench.figures import ratios, speed
from yoloscope_exporter.bench.formats import REFERENCE
from yoloscope_exporter.bench.gpu_memory import PEAK, RESIDENT
from yoloscope_exporter.bench.plan import Key
from yoloscope_exporter.language import in_figures, joined, say, text, units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoloscope_exporter.bench.agreement import Agreement
    from yoloscope_exporter.bench.figures import Ratio, Speed
    from yoloscope_exporter.bench.plan import Found, Line, Plan

_GPU = text("GPU memory")
#: Columns; that of the GPU is left out where nothing is known of it.
HEADS = (
    "batch",
    text("format"),
    "images/s",
    text("speed"),
    "p50",
    "p99",
    text("memory"),
    _GPU,
    text("file"),
    text("agreement"),
)


class Row(NamedTuple):
    """One line of the table: its cells, or why there are none."""

    key: Key
    cells: tuple[str, ...]
    failure: str


def heads(found: Found) -> tuple[str, ...]:
    """The columns that have something to show."""
    return tuple(head for head in HEADS if head != _GPU or _has_gpu(found))


def _has_gpu(found: Found) -> bool:
    return any(RESIDENT in line.memory for line in found.lines.values())


def baseline(found: Found, batch: int) -> str | None:
    """The format that the others of a batch are compared with: `pt`, else the first that was measured."""
    measured = [key.format for key, line in found.lines.items() if key.batch == batch and line.rounds]
    return REFERENCE if REFERENCE in measured else next(iter(measured), None)


def compared(found: Found, batch: int, reference: str | None) -> dict[str, Ratio]:
    """How many times as fast as `reference` the other formats are with a batch."""
    if reference is None:
        return {}
    others = {
        key.format: line.rounds
        for key, line in found.lines.items()
        if key.batch == batch and line.rounds and key.format != reference
    }
    return ratios(found.lines[Key(batch, reference)].rounds, others)


def rows(found: Found) -> list[Row]:
    """All lines in the order of the plan."""
    shown = heads(found)
    told = []
    for batch in _batches(found):
        reference = baseline(found, batch)
        against = compared(found, batch, reference)
        for key, line in found.lines.items():
            if key.batch != batch:
                continue
            known = speed(line.rounds, batch)
            cells = _cells(key, line, known, reference, against.get(key.format)) if known else {}
            told.append(Row(key, tuple(cells.get(head, "-") for head in shown) if cells else (), line.failure))
    return told


def _batches(found: Found) -> list[int]:
    return list(dict.fromkeys(key.batch for key in found.lines))


def _cells(key: Key, line: Line, known: Speed, reference: str | None, ratio: Ratio | None) -> dict[str, str]:
    margin = "" if known.margin is None else f" \u00b1{known.margin:.1%}"
    against = {} if key.format != reference else {"speed": "1"}
    if ratio and ratio.says_something:
        against = {"speed": str(ratio) if ratio.sure else text("{ratio} (may be chance)", ratio=ratio)}
    return {
        "batch": str(key.batch),
        "format": key.format,
        "images/s": f"{in_figures(known.images_per_second, 4)}{margin}",
        **against,
        "p50": units.milliseconds(known.p50),
        "p99": units.milliseconds(known.p99)
        if known.p99 is not None
        else text("max {longest}", longest=units.milliseconds(known.longest)),
        **_sizes(line),
        **({"agreement": agreement_words(line.agreement)} if line.agreement else {}),
    }


def _sizes(line: Line) -> dict[str, str]:
    told = {}
    for head, (now, most) in {"memory": ("resident", "peak"), _GPU: (RESIDENT, PEAK)}.items():
        if now in line.memory:
            peak = text(" (peak {memory})", memory=units.size(line.memory[most])) if most in line.memory else ""
            told[head] = joined((units.size(line.memory[now]), peak), "")
    return told | ({} if line.size is None else {"file": units.size(line.size)})


def agreement_words(found: Agreement) -> str:
    """`100.0% of 132, shift <= 0.02 px, score <= 1e-06`."""
    if found.share is None:
        return text("nothing detected")
    told = [text("{share:.1%} of {counted}", share=found.share, counted=found.counted)]
    if found.shift is not None:
        told.append(text("shift ≤ {shift:.2g} px", shift=found.shift))
    if found.score is not None:
        told.append(text("score ≤ {score:.1g}", score=found.score))
    if found.points is not None:
        told.append(text("key points ≤ {points:.2g} px", points=found.points))
    if found.mask is not None:
        told.append(text("masks ≥ {mask:.1%}", mask=found.mask))
    return joined(told, ", ")


# --- what follows -----------------------------------------------------------------------------------------------------


def conclusions(found: Found) -> list[str]:
    """What can be said beyond chance, and what has to be known of it."""
    told = [said for batch in _batches(found) if (said := _fastest(found, batch))]
    for key, line in found.lines.items():
        if line.rounds and line.agreement and not _may_be_used(found, key):
            missing = line.agreement.counted - line.agreement.matched
            told.append(
                text(
                    "batch {batch}: {format} finds something else than the .pt model: {missing} of {counted} "
                    "have no counterpart",
                    batch=key.batch,
                    format=key.format,
                    missing=missing,
                    counted=line.agreement.counted,
                )
            )
    return told + _notes(found)


def _fastest(found: Found, batch: int) -> str | None:
    reference = baseline(found, batch)
    against = compared(found, batch, reference)
    if not against:
        return None
    wrong = [name for name in against if not _may_be_used(found, Key(batch, name))]
    faster = {name: ratio for name, ratio in against.items() if ratio.sure and ratio.low > 1 and name not in wrong}
    if not faster:
        return text(
            "batch {batch}: no format is faster than {reference} by more than chance", batch=batch, reference=reference
        )
    best = max(faster, key=lambda name: faster[name].low * faster[name].high)
    beaten = compared(found, batch, best)
    alike = [name for name in faster if name == best or not beaten[name].sure]
    beside = (
        text("; between {alike} there is no difference beyond chance", alike=" and ".join(alike))
        if len(alike) > 1
        else ""
    )
    return text(
        "batch {batch}: {best} is fastest, {faster} as fast as {reference}{beside}",
        batch=batch,
        best=best,
        faster=faster[best],
        reference=reference,
        beside=beside,
    )


def _may_be_used(found: Found, key: Key) -> bool:
    """Whether it finds the same, as far as anything was found."""
    known = found.lines[key].agreement
    return known is None or known.share is None or known.agrees(random=_is_random(found))


def _is_random(found: Found) -> bool:
    return bool(found.model.get("random"))


def _notes(found: Found) -> list[str]:
    notes: list[str] = []
    if _is_random(found):
        notes.append(
            text(
                "the weights are random: speed, memory and size are those of the architecture; the "
                "agreement is that of the {objects} with the highest scores",
                objects=_objects(found),
            )
        )
    if any(line.agreement and line.agreement.share is None for line in found.lines.values()):
        notes.append(
            text("nothing was detected in the images: give images of your own, --source DIR, for the agreement")
        )
    return notes


def _objects(found: Found) -> str:
    return text("classes") if found.model.get("task") == "classify" else text("boxes")


# --- for people and programs ------------------------------------------------------------------------------------------


def terminal_table(found: Found, width: int) -> Table:
    """For a terminal so wide: where that is little cells wrap between words, and from 80 columns on no word is cut."""
    table = Table(title=say("formats"), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    lines = [[say(head) for head in heads(found)], *([say(cell) for cell in row.cells] for row in rows(found))]
    columns = list(zip(*filter(None, lines), strict=True))
    for head, cells, room in zip(heads(found), columns, _widths(columns, width), strict=True):
        left = head in {"format", "speed", "agreement"}
        table.add_column(cells[0], justify="left" if left else "right", width=room)
    for line in filter(None, lines[1:]):
        table.add_row(*line)
    return table


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Of each column: its longest word, and what is left of the terminal to those further left first."""
    words = [max(cell_len(word) for cell in cells for word in cell.split()) for cells in columns]
    left, widths = width - sum(words) - len(words) + 1, []
    for least, cells in zip(words, columns, strict=True):
        more = min(max(map(cell_len, cells)) - least, max(left, 0))
        widths.append(least + more)
        left -= more
    return widths


def failures(found: Found) -> list[str]:
    """What was not measured to its end, and why; once for all batches where it is the same."""
    told: dict[tuple[str, str], list[int]] = {}
    for row in rows(found):
        if row.failure:
            told.setdefault((row.key.format, row.failure), []).append(row.key.batch)
    every = _batches(found)
    return [
        joined((name, why), ": ")
        if batches == every
        else text("{name}, batch {batches}: {why}", name=name, batches=", ".join(map(str, batches)), why=why)
        for (name, why), batches in told.items()
    ]


def title(plan: Plan) -> str:
    """Of a report."""
    return text("{name}: formats", name=Path(plan.model).name)


def about(plan: Plan, found: Found, machine: Mapping[str, Any]) -> list[str]:
    """What was measured, on what."""
    versions = ", ".join(f"{name} {version}" for name, version in found.facts.get("versions", {}).items())
    precision = "FP16" if plan.half else "FP32"
    images = text("{count} images ({origin})", count=found.model.get("count", 0), origin=found.model.get("origin", ""))
    task = found.model.get("task", "unknown")
    return [
        text(
            "{name} ({task}), imgsz={imgsz}, {precision}, {device}; {date}",
            name=Path(plan.model).name,
            task=task,
            imgsz=plan.imgsz,
            precision=precision,
            device=machine["device"],
            date=units.local(units.from_utc(machine["date"])),
        ),
        text(
            "{seconds:g} s for each line in {rounds} rounds; {images}; load before {load}",
            seconds=plan.seconds,
            rounds=plan.rounds,
            images=images,
            load=machine["load"],
        ),
        versions,
    ]


def markdown(plan: Plan, found: Found, machine: Mapping[str, Any]) -> str:
    """A report."""
    lines = [f"# {say(title(plan))}", "", *(f"- {say(line)}" for line in about(plan, found, machine)), ""]
    lines += markdown_table(found)
    told = [*failures(found), *conclusions(found)]
    return "\n".join([*lines, *(["", *(f"- {say(line)}" for line in told)] if told else [])]) + "\n"


def markdown_table(found: Found) -> list[str]:
    """The table alone."""
    shown = heads(found)
    return [_line(shown), "|---" * len(shown) + "|", *(_line(row.cells) for row in rows(found) if row.cells)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(say, cells))} |"


def document(plan: Plan, found: Found, machine: Mapping[str, Any], *, interrupted: bool) -> dict[str, Any]:
    """All of it, as JSON has it; what is not known is left out, NaN and infinity included."""
    content: dict[str, Any] = {
        "model": plan.model,
        **{name: found.model[name] for name in ("task", "random") if name in found.model},
        "images": {name: found.model[name] for name in ("count", "origin") if name in found.model},
        "imgsz": plan.imgsz,
        "half": plan.half,
        "machine": dict(machine),
        "versions": found.facts.get("versions", {}),
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "scores": found.scores,
        "interrupted": interrupted,
        "lines": [_entry(found, key, line) for key, line in found.lines.items()],
        "conclusions": conclusions(found),
    }
    return {name: _known(value) for name, value in content.items() if _is_known(value)}


def _known(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return {name: _known(one) for name, one in value.items() if _is_known(one)}
    return [_known(one) for one in value] if isinstance(value, list) else value


def _is_known(value: Any) -> bool:  # noqa: ANN401 - JSON
    """A list is that with all that is in it."""
    if isinstance(value, list):
        return all(map(_is_known, value))
    return not isinstance(value, float) or isfinite(value)


def _entry(found: Found, key: Key, line: Line) -> dict[str, Any]:
    known = speed(line.rounds, key.batch)
    reference = baseline(found, key.batch)
    ratio = compared(found, key.batch, reference).get(key.format)
    return {
        "format": key.format,
        "batch": key.batch,
        **({"failure": line.failure} if line.failure else {}),
        **({} if line.size is None else {"bytes": line.size}),
        **({} if line.export_seconds is None else {"export_seconds": line.export_seconds}),
        **(_speed_entry(known, line) if known else {}),
        **({"times_as_fast": {"as": reference, **ratio._asdict()}} if ratio else {}),
        **({"memory_bytes": line.memory} if line.memory else {}),
        **({"agreement": _agreement_entry(line.agreement, random=_is_random(found))} if line.agreement else {}),
    }


def _speed_entry(known: Speed, line: Line) -> dict[str, Any]:
    images = known.images_per_second * sum(sum(calls) for calls in line.rounds.values())
    return {
        **{name: value for name, value in known._asdict().items() if value is not None},
        "stages": {name: seconds / images for name, seconds in line.stages.items()},
        "rounds": list(line.rounds.values()),
    }


def _agreement_entry(found: Agreement, *, random: bool) -> dict[str, Any]:
    known = {name: value for name, value in found._asdict().items() if value is not None}
    return known | ({} if found.share is None else {"share": found.share, "agrees": found.agrees(random=random)})
