"""Where commands read runs from: a recording, a Prometheus, or what is left of them on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloscope_exporter.client.prometheus import read_prometheus
from yoloscope_exporter.fetching import SourceError
from yoloscope_exporter.language import joined, reason, say, text
from yoloscope_exporter.recordings import postmortem, reader
from yoloscope_exporter.reports import names, runs
from yoloscope_exporter.reports.summary import Summary, UnknownRunError, clusters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from yoloscope_exporter.measures.series import Store


@dataclass(frozen=True)
class Where:
    """Where runs are read from: a recording, a Prometheus, or else this machine."""

    recording: Path | None
    prometheus: str | None
    since: float
    cluster: str
    records: Path
    kept: Path | None


def newest(where: Where, others: Sequence[str], *, black_box: bool) -> tuple[str, ...]:
    """The run on this machine that began last; nothing where runs are compared, or read from elsewhere."""
    elsewhere = others or where.recording or where.prometheus
    return () if elsewhere else tuple(postmortem.runs(where.records, predictions=not black_box)[:1])


def summary(where: Where, run: str) -> Summary:
    """One run.

    Raises:
        click.ClickException: it is not there, or several are meant.
    """
    stores = _of_cluster(_stores(where, run), where.cluster)
    try:
        trainings, predictions = runs.known(stores)
        alone = trainings or predictions
        one = Path(run).exists() and len(alone) == 1
        name = alone[0] if one else _meant(run, [*trainings, *predictions])
        _refuse_several(name, clusters(stores, name))
        return runs.summarize(stores, name)
    except UnknownRunError as error:
        raise click.ClickException(_unknown(run, error)) from error


def _meant(run: str, known: Sequence[str]) -> str:
    """The one known run that is meant; `run` itself if it is not one."""
    found = names.matches(run, known)
    return found[0] if len(found) == 1 else run


def _of_cluster(stores: Sequence[Store], cluster: str) -> list[Store]:
    chosen = [store for store in stores if cluster in {"", store.cluster}]
    if stores and not chosen:
        known = sorted({store.cluster for store in stores} - {""})
        there = say("known clusters: {known}", known=", ".join(known)) if known else say("no cluster is named")
        raise click.ClickException(say("--cluster {cluster}: no such cluster; {there}", cluster=cluster, there=there))
    return chosen


def _refuse_several(run: str, found: Sequence[str]) -> None:
    """Equal names in two clusters are two runs."""
    if len(found) > 1:
        raise click.ClickException(
            say("{run} is a run in the clusters {found}; choose one with --cluster", run=run, found=", ".join(found))
        )


def _unknown(run: str, error: UnknownRunError) -> str:
    if Path(run).is_file():
        return say(
            "{run} holds {number} runs; choose with --recording {run} {names}",
            run=run,
            number=len(error.known),
            names=" ".join(error.known[:2]),
        )
    return reason(error)


def _stores(where: Where, run: str) -> list[Store]:
    """The stores in which `run` is to be found."""
    try:
        if Path(run).is_file() and not postmortem.of_results(where.records, run):
            return reader.read(Path(run))
        if where.recording:
            return reader.read(where.recording)
        if where.prometheus:
            return read_prometheus(where.prometheus, where.since, run, where.cluster)
        return [postmortem_of(where.records, run, where.kept).store]
    except (OSError, ValueError) as error:
        raise click.ClickException(joined((run, reason(error)), ": ")) from error
    except SourceError as error:
        raise click.ClickException(reason(error)) from error


def postmortem_of(records: Path, run: str, kept: Path | None) -> postmortem.PostMortem:
    """What is left of a run, by its name, the beginning of it if there is but one such run, or its results' folder.

    Raises:
        click.ClickException: there is nothing, its beginning only, or more than one run of such a name.
    """
    found, known = _left(records, run, kept), []
    if found is None:
        bases = [base for base in (records, kept) if base and base.is_dir()]
        known = list(dict.fromkeys(name for base in bases for name in postmortem.runs(base, predictions=True)))
        begin_so = [] if Path(run).is_dir() else names.matches(run, known)
        found = _left(records, begin_so[0], kept) if len(begin_so) == 1 else None
    if found is not None:
        return found
    if Path(run).suffix in {".om", ".gz"}:
        raise click.ClickException(say("{run}: no such file", run=run))
    what = (
        text("nothing of a run is kept in {run}", run=run)
        if Path(run).is_dir()
        else text("no run {run!r} on this machine", run=run)
    )
    there = names.unknown(run, known) if known else text("no runs in {records}", records=records)
    raise click.ClickException(joined((what, there)))


def _left(records: Path, run: str, kept: Path | None) -> postmortem.PostMortem | None:
    """What is left of the run of this name, if there is anything."""
    try:
        return postmortem.read(*postmortem.find(records, run, kept))
    except postmortem.StillOpenError as error:
        raise click.ClickException(str(error)) from None
    except KeyError:
        return None


def known(where: Where, *, predictions: bool) -> str:
    """Which runs can be named, in words."""
    if where.recording or where.prometheus:
        return say("see `yoloscope report --help`")
    known = postmortem.runs(where.records, predictions=predictions)
    return (
        say("known runs: {listed}", listed=names.listed(known))
        if known
        else say("no runs in {records}", records=where.records)
    )
