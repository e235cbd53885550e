"""`yoloscope diagnose`: diagnose training bottlenecks, with evidence, the fix and the gain."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from yoloscope_record import paths

from yoloscope_exporter.catalog import BY_NAME
from yoloscope_exporter.client.exporter import URL, diagnoses, named, scrape
from yoloscope_exporter.client.prometheus import read_prometheus
from yoloscope_exporter.commands import options
from yoloscope_exporter.commands.output import write
from yoloscope_exporter.config import types
from yoloscope_exporter.diagnosis.cfg import to_cfg
from yoloscope_exporter.diagnosis.serialize import range_json
from yoloscope_exporter.diagnosis.time_range import RangeDiagnosis, diagnose_range
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import joined, reason, say, text
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.recordings.timestamps import snapshot_time, stamped
from yoloscope_exporter.reports import names
from yoloscope_exporter.terminal import progress
from yoloscope_exporter.terminal.diagnosis import exit_code, to_markdown, to_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: An exporter without the diagnosis (an older one, or switched off) is watched for so long, in seconds.
WATCH_SECONDS = 15.0


@click.command(short_help="Diagnose training bottlenecks, with evidence, the fix and the gain.")
@click.option("--exporter", metavar="URL", help=f"Diagnose the last window of a running exporter.  [default: {URL}]")
@click.option(
    "--recording",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Diagnose a file of `yoloscope record`, or any OpenMetrics file with timestamps (.gz too).",
)
@click.option("--prometheus", metavar="URL", help="Diagnose the time range --since of a Prometheus.")
@click.option(
    "--since",
    type=types.duration(10.0),
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How far back to read with --prometheus.",
)
@click.option(
    "--black-box",
    metavar="RUN",
    help="Diagnose what is left of a run, by its name or the folder of its results: its record, or the copy that is "
    "kept of one that died.",
)
@options.records
@options.kept
@click.option("--run", default="", metavar="NAME", help="Only this run; the beginning of its name is enough.")
@options.cluster
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json", "markdown")),
    default="text",
    show_default=True,
    help="Output format.",
)
@click.option(
    "--write-cfg",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Also write the advice for one run as YAML for `yolo train cfg=FILE ...`; put `cfg=` first. Only what leaves "
    "the result of the training unchanged.",
)
@click.option(
    "--allow-changes",
    is_flag=True,
    help="With --write-cfg: also what changes the result (accuracy, early stopping, best.pt, optimisation), each with "
    "a comment that says what it changes.",
)
@click.option(
    "--thresholds",
    type=types.thresholds,
    default="",
    metavar="FILE",
    help="YAML file that overrides default thresholds; with --recording and --prometheus.",
)
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Also list the slowest files, verdicts that could not be evaluated with the missing signals, and each of many "
    "runs.",
)
@click.pass_context
def diagnose(  # noqa: PLR0913, PLR0917 - a command's options
    ctx: click.Context,
    exporter: str | None,
    recording: Path | None,
    prometheus: str | None,
    since: float,
    black_box: str | None,
    records: Path | None,
    kept: Path | None,
    run: str,
    cluster: str,
    form: str,
    write_cfg: Path | None,
    allow_changes: bool,  # noqa: FBT001 - click's
    thresholds: Thresholds | None,
    verbose: bool,  # noqa: FBT001 - click's
) -> None:
    """Diagnose training bottlenecks: evidence, cause, a command that verifies it, fix and gain.

    Evaluates the last window of a running exporter, or the whole time range of a recording, a Prometheus or what is
    left of a run: every verdict that held for a tenth of the training time, and every event.

    Exit code: 0 every rank is healthy (compute_bound), 1 findings, 2 no run or an error, 3 too early or too little is
    known to say either; the text says which.

    \b
      yoloscope diagnose
      yoloscope diagnose --recording night.om.gz --format markdown
      yoloscope diagnose --prometheus http://prometheus:9090 --since 6h --run train/yolo11m
      yoloscope diagnose --black-box runs/detect/train7
      yoloscope diagnose --write-cfg better.yaml; yolo train cfg=better.yaml model=yolo11m.pt data=coco.yaml
    """  # noqa: D301 - click reads the backslash
    if sum(source is not None for source in (exporter, recording, prometheus, black_box)) > 1:
        raise click.UsageError(say("choose one of --exporter, --recording, --prometheus, --black-box"))
    try:
        if recording:
            with progress.shown(say("diagnosing {what}", what=recording)):
                course = of_recording(recording, thresholds)
        elif black_box:
            with progress.shown(say("diagnosing {what}", what=black_box)):
                course = of_record(records or paths.directory(), black_box, kept, thresholds)
        elif prometheus:
            with progress.shown(say("diagnosing {what}", what=prometheus)):
                course = diagnose_range(read_prometheus(prometheus, since, run, cluster), thresholds)
        else:
            course = of_exporter(exporter or URL, thresholds)
    except SourceError as error:
        hint = (
            ""
            if exporter or prometheus
            else text("; start one with `yoloscope serve`, or name another with --exporter")
        )
        raise click.ClickException(joined((reason(error), hint), "")) from error
    course = _only(course, run, cluster)
    click.echo(_formed(course, form, verbose=verbose), nl=False)
    if write_cfg:
        _write(write_cfg, course, changes=allow_changes)
    ctx.exit(exit_code(course.diagnoses))


def of_recording(path: Path, limits: Thresholds | None = None) -> RangeDiagnosis:
    """The diagnosis of a recording.

    Raises:
        click.ClickException: it cannot be read, or holds nothing of yoloscope.
    """
    try:
        return diagnose_range(reader.read(path), limits)
    except (OSError, ValueError) as error:
        raise click.ClickException(joined((str(path), reason(error)), ": ")) from error


def of_record(records: Path, run: str, kept: Path | None, limits: Thresholds | None = None) -> RangeDiagnosis:
    """The diagnosis of what is left of a run.

    Raises:
        click.ClickException: there is nothing.
    """
    from yoloscope_exporter.commands.run_sources import postmortem_of  # noqa: PLC0415 - reports come with it

    return diagnose_range([postmortem_of(records, run, kept).store], limits)


def of_exporter(url: str, limits: Thresholds | None = None) -> RangeDiagnosis:
    """The diagnosis of a running exporter: its own, or if it makes none, from watching it for a while.

    Raises:
        SourceError: it does not answer.
    """
    try:
        return RangeDiagnosis(diagnoses(url), 0.0, 0.0, (text("told by the exporter at {named}", named=named(url)),))
    except SourceError as error:
        if error.status != 404:  # noqa: PLR2004 - HTTP: no such page
            raise
    click.echo(
        say(
            "{named} has no diagnosis; reading its metrics for {watch_seconds:.0f} s",
            named=named(url),
            watch_seconds=WATCH_SECONDS,
        ),
        err=True,
    )
    gathered: list[str] = []
    end = time.monotonic() + WATCH_SECONDS
    while time.monotonic() < end:
        exposition = scrape(url)
        gathered += stamped(exposition, snapshot_time(exposition) or time.time(), set(BY_NAME)).splitlines()
        time.sleep(1.0)
    return diagnose_range(reader.parse(gathered), limits)


def _only(course: RangeDiagnosis, run: str, cluster: str) -> RangeDiagnosis:
    chosen = course.diagnoses
    if not chosen:
        return course
    for option, wanted in (("cluster", cluster), ("run", run)):
        name = _meant(option, wanted, sorted({getattr(diagnosis, option) for diagnosis in chosen} - {""}))
        chosen = tuple(diagnosis for diagnosis in chosen if name in {"", getattr(diagnosis, option)})
    return RangeDiagnosis(chosen, course.start, course.end, course.notes)


def _meant(option: str, wanted: str, known: Sequence[str]) -> str:
    """The cluster or run of this name; of a run its beginning is enough where only one begins so.

    Raises:
        click.ClickException: there is none, or more than one.
    """
    found = names.matches(wanted, known) if option == "run" else [wanted] if wanted in known else []
    if not wanted or len(found) == 1:
        return found[0] if found else ""
    there = (
        say("known {option}s: {known}", option=option, known=", ".join(known))
        if known
        else say("no {option} is named", option=option)
    )
    raise click.ClickException(
        say(
            "--{option} {wanted}: no such {option}; {unknown}",
            option=option,
            wanted=wanted,
            unknown=names.unknown(wanted, known) if option == "run" and known else there,
        )
    )


def _formed(course: RangeDiagnosis, form: str, *, verbose: bool) -> str:
    if form == "json":
        return json.dumps(range_json(course), indent=2, allow_nan=False) + "\n"
    if not course.diagnoses:
        notes = "".join(say("note: {note}\n", note=note) for note in course.notes)
        return say("no runs found; start one with `yoloscope run -- yolo train ...`\n{notes}", notes=notes)
    if form == "markdown":
        return to_markdown(course.diagnoses, course.notes, verbose=verbose)
    return to_text(course.diagnoses, course.notes, verbose=verbose)


def _write(path: Path, course: RangeDiagnosis, *, changes: bool) -> None:
    """The advice for the one run there is: that for one training does not fit another."""
    runs = sorted({(diagnosis.run, diagnosis.cluster) for diagnosis in course.diagnoses if diagnosis.run})
    if len(runs) > 1:
        there = ", ".join(
            say("{run} in {cluster}", run=run, cluster=cluster) if cluster else run for run, cluster in runs
        )
        options = say("--run and --cluster") if any(cluster for _, cluster in runs) else "--run"
        raise click.ClickException(
            say(
                "--write-cfg {path}: choose one run with {options}; known runs: {there}",
                path=path,
                options=options,
                there=there,
            )
        )
    try:
        write(path, [to_cfg(course.diagnoses, changes=changes)])
    except OSError as error:
        raise click.ClickException(say("--write-cfg {path}: {reason}", path=path, reason=reason(error))) from error
