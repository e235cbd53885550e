"""`yoloscope report`: summarise a run, compare two runs, or show the last batches before a crash."""

from __future__ import annotations

import functools
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from yoloscope_record import paths

from yoloscope_exporter.collectors.stacks import finding
from yoloscope_exporter.collectors.stacks.inquiry import Inquiry
from yoloscope_exporter.commands import options, run_sources
from yoloscope_exporter.commands.output import write
from yoloscope_exporter.commands.run_sources import Where
from yoloscope_exporter.config import types
from yoloscope_exporter.diagnosis import markup, rules
from yoloscope_exporter.language import joined, reason, say, text
from yoloscope_exporter.recordings import postmortem
from yoloscope_exporter.reports import html as pages
from yoloscope_exporter.reports import runs as all_runs
from yoloscope_exporter.reports.comparison import ONE_EACH, PAIR, Comparison, chance_of_slowdown, compare
from yoloscope_exporter.reports.interval import Interval, interval
from yoloscope_exporter.reports.markdown import comparison_markdown, summary_markdown
from yoloscope_exporter.reports.prices import VARIABLES, Prices, priced
from yoloscope_exporter.reports.promises import heeded, promises
from yoloscope_exporter.terminal import progress
from yoloscope_exporter.terminal.last_batches import last_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from yoloscope_exporter.reports.summary import Summary


class _ManyAfterVs(click.Command):
    """`--vs B1 B2 B3` as click has it: `--vs B1 --vs B2 --vs B3`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Every word after --vs, up to the next option, is one of its."""
        options = [one for one in self.params if isinstance(one, click.Option) and not one.is_flag]
        return super().parse_args(ctx, _one_by_one(args, {name for option in options for name in option.opts}))


def _one_by_one(args: Sequence[str], with_value: Collection[str]) -> list[str]:
    """`args` with --vs before each run of its group.

    Raises:
        click.UsageError: it cannot be told to which group a run belongs.
    """
    words: list[str] = []
    in_group = named = named_before = False
    rest = iter(args)
    for word in rest:
        if word == "--":
            return [*words, word, *rest]
        if word.startswith("-"):
            in_group = word.partition("=")[0] == "--vs"
            named_before |= in_group and named
            words += [word, *_value(word, rest, with_value)]
        elif in_group:
            words += ["--vs", word]
        elif named_before:
            raise click.UsageError(say("{word}: name each group's runs together, A1 A2 --vs B1 B2", word=word))
        else:
            named = True
            words.append(word)
    return words


def _value(option: str, rest: Iterator[str], with_value: Collection[str]) -> list[str]:
    """The word after an option that has a value; click would take even another option for the run of --vs."""
    value = list(islice(rest, int(option in with_value)))
    if option == "--vs" and (not value or value[0].startswith("-")):
        raise click.BadOptionUsage(option, say("Option {name!r} requires an argument.", name=option))
    return value


def _share(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    """`5%` as 0.05."""
    if text is None:
        return None
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not text.endswith("%") or not 0 <= share < 1:
        raise click.BadParameter(say("{text!r} is no share; use for example 5%", text=text))
    return share


#: By field of Prices.
_FACTORS = {
    "gpu_hour": ("--price-per-gpu-hour", "Price of a GPU held for an hour, in your currency."),
    "kwh": ("--price-per-kwh", "Price of a kilowatt-hour."),
    "co2_kwh": ("--co2-per-kwh", "Kilograms of CO2 for a kilowatt-hour of your grid."),
    "overhead": ("--energy-overhead", "Energy of everything over that of GPUs and CPU packages, such as 1.4."),
}


def _with_prices(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the factors by which energy becomes money, as `prices`."""

    @functools.wraps(command)
    def call(**values: Any) -> None:  # noqa: ANN401 - click's values
        said = {name: value for name in _FACTORS if (value := values.pop(f"price_{name}")) is not None}
        command(prices=Prices(**said), **values)

    for name, (option, help_text) in reversed(_FACTORS.items()):
        call = click.option(
            option, f"price_{name}", type=click.FloatRange(0), metavar="NUMBER", envvar=VARIABLES[name], help=help_text
        )(call)
    return call


@click.command(cls=_ManyAfterVs, short_help="Summarise a run, compare runs, or show the last batches before a crash.")
@click.argument("runs", nargs=-1, metavar="[RUN...]")
@click.option(
    "--vs",
    "others",
    multiple=True,
    metavar="RUN...",
    help="Compare repetitions: report A1 A2 A3 --vs B1 B2 B3.",
)
@click.option(
    "--gate",
    callback=_share,
    metavar="PERCENT",
    help="Exit with 1 if the second group is slower than the first by more than that, 95% sure; of one run each, if it "
    "is so beyond the spread within them, 97% sure, which says nothing about what a repetition would give.",
)
@click.option(
    "--recording",
    "recorded",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Read the runs from a file of `yoloscope record`.",
)
@click.option("--prometheus", metavar="URL", help="Read the runs from a Prometheus.")
@click.option(
    "--since",
    type=types.duration(10.0),
    default="1d",
    show_default=True,
    metavar="DURATION",
    help="How far back to read with --prometheus.",
)
@options.cluster
@options.records
@options.kept
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Also write an HTML report to FILE."
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write Markdown to FILE instead of stdout.",
)
@click.option(
    "--black-box",
    is_flag=True,
    help="Show the last minutes of one run, batch by batch, from its record (also after a crash).",
)
@_with_prices
def report(  # noqa: PLR0913, PLR0917 - a command's options
    runs: tuple[str, ...],
    recorded: Path | None,
    prometheus: str | None,
    since: float,
    cluster: str,
    records: Path | None,
    kept: Path | None,
    html: Path | None,
    markdown: Path | None,
    black_box: bool,  # noqa: FBT001 - click's
    others: tuple[str, ...],
    gate: float | None,
    prices: Prices,
) -> None:
    """Report on one run, or compare several.

    RUN is a run's name or its beginning, the folder of its results, a model that was exported, or a file of `yoloscope
    record` that holds one run; without it, the newest run on this machine.
    Names are looked up among the records on this machine, which hold the totals and the last 4096 batches of a run,
    also after a crash, or in a recording or a Prometheus, which hold the whole run. Of a run that died its folder has a
    copy of the record, which is found after a reboot too. Records go a day after a run's end, or with a reboot;
    `yoloscope record` or a Prometheus keeps a run.

    \b
      yoloscope report train/yolo11m
      yoloscope report before.om after.om --html compare.html
      yoloscope report small.om medium.om large.om
      yoloscope report A1.om A2.om A3.om --vs B1.om B2.om B3.om --gate 5%
      yoloscope report --recording week.om.gz starved mended
      yoloscope report --black-box train/yolo11m
      yoloscope report --black-box runs/detect/train7

    Of one run each, a difference is compared with the variation within the runs; only repetitions tell whether it is
    significant.

    \b
    Exit codes:
      0  done; with --gate: not slower beyond doubt
      1  with --gate: slower by more than PERCENT beyond doubt
      2  bad input, or --gate on runs too short to judge
    """  # noqa: D301 - click reads the backslash
    where = Where(recorded, prometheus, since, cluster, records or paths.directory(), kept)
    if recorded and prometheus:
        raise click.UsageError(say("choose one of --recording and --prometheus"))
    runs = runs or run_sources.newest(where, others, black_box=black_box)
    _check(runs, others, gate, black_box=black_box, where=where)
    if black_box:
        _black_box(where, runs[0], html)
        return
    found = [_priced(one, prices) for one in heeded([_read(where, run) for run in (*runs, *others)])]
    _refuse_several_kinds(found)
    groups = [found[: len(runs)], found[len(runs) :]] if others else [[summary] for summary in found]
    if len(groups) == 1:
        _write(markdown, summary_markdown(groups[0][0]))
        if html:
            _write(html, pages.one(groups[0][0]))
        return
    with progress.shown(say("comparing {number} runs", number=len(found))):
        comparison = compare(*groups)
    _write(markdown, _text(comparison))
    if html:
        _write(html, pages.several(comparison))
    if gate is not None:
        click.get_current_context().exit(_gate(comparison, gate))


def _priced(summary: Summary, prices: Prices) -> Summary:
    return replace(summary, figures=priced(summary.figures, prices))


def _refuse_several_kinds(found: Sequence[Summary]) -> None:
    """What a training does and what a prediction does have no figures in common."""
    kinds = {summary.kind: summary.run for summary in found}
    if len(kinds) > 1:
        there = ", ".join(f"{run} ({kind})" for kind, run in kinds.items())
        raise click.ClickException(say("only runs of one kind are compared, and these differ: {there}", there=there))


def _read(where: Where, run: str) -> Summary:
    with progress.shown(say("reading {what}", what=run)):
        return run_sources.summary(where, run)


def _check(runs: Sequence[str], others: Sequence[str], gate: float | None, *, black_box: bool, where: Where) -> None:
    """Refuse a number of runs that makes no sense."""
    if not runs or (black_box and len((*runs, *others)) != 1):
        raise click.UsageError(
            say(
                "name one run; {known}" if black_box else "name one run, or several to compare; {known}",
                known=run_sources.known(where, predictions=not black_box),
            )
        )
    if others and (len(runs) > 1) != (len(others) > 1):
        raise click.UsageError(say("--vs: one run has no spread; name at least two on either side, or one on each"))
    if gate is not None and not others and len(runs) != PAIR:
        raise click.UsageError(say("--gate compares two runs, or two groups with --vs"))


def _gate(comparison: Comparison, least: float) -> int:
    """The exit code, and why.

    Raises:
        click.ClickException: the throughputs cannot be compared.
    """
    chance = chance_of_slowdown(comparison, least)
    if chance is None:
        raise click.ClickException(say("--gate: too little was seen of the runs' throughput to compare it"))
    before, after = (column.speed for column in comparison.columns)
    slower = chance < 1 - comparison.confidence
    lost = 1 - after.mean / before.mean if before and after and before.mean else 0.0
    found = interval(before, after, relative=True) if before and after else None
    click.echo(say("gate: {in_words}", in_words=_in_words(comparison, lost, found, least, slower=slower)), err=True)
    return int(slower)


def _in_words(comparison: Comparison, lost: float, found: Interval | None, least: float, *, slower: bool) -> str:
    """What the gate has found, and what it could not find."""
    said = text("{lost:.1%} slower" if lost > 0 else "{lost:.1%} faster", lost=abs(lost))
    said = joined((said, text(" ({found})", found=found) if found else ""), "")
    sure = text(
        "{confidence:.0%} sure" if comparison.repeated else "{confidence:.0%} sure by the spread within the two runs",
        confidence=comparison.confidence,
    )
    verdict = (
        text("slower by more than {least:.1%}, {sure}", least=least, sure=sure)
        if slower
        else text("not slower by more than {least:.1%} beyond doubt", least=least)
    )
    told = joined((said, verdict))
    return told if comparison.repeated else text("{told}. {one_each}", told=told, one_each=text(ONE_EACH))


def _text(comparison: Comparison) -> str:
    runs = [summary for column in comparison.columns for summary in column.runs]
    title = say(" and ").join(dict.fromkeys(summary.run for summary in runs))
    head = [f"# {markup.name(title)}", "", comparison_markdown(comparison), *promises(runs)]
    return "\n".join([*head, *map(summary_markdown, runs)])


def _write(path: Path | None, text: str) -> None:
    if path is None:
        click.echo(text, nl=False)
        return
    try:
        write(path, [text])
    except OSError as error:
        raise click.ClickException(joined((str(path), reason(error)), ": ")) from error
    click.echo(say("written to {path}", path=path), err=True)


def _last_stacks(records: Path, run: str) -> list[str]:
    """What the run's processes answered when they were asked last, dead ones included; nobody is asked now."""
    try:
        inquiry = Inquiry(postmortem.place(records, run), lambda _: None)
    except OSError:
        return []
    try:
        answers = [answer for answer in inquiry.last_answers() if answer.dump]
    finally:
        inquiry.close()
    return (
        ["", say("the last stacks, from when somebody asked:"), *map(say, finding.stacks(answers))] if answers else []
    )


def _black_box(where: Where, wanted: str, html: Path | None) -> None:
    """Print and plot the last batches of a run."""
    found = run_sources.postmortem_of(where.records, wanted, where.kept)
    run = found.run
    summary = all_runs.summarize([found.store], run)
    if not summary.trains:
        raise click.ClickException(
            say("{run} is no training: its record has totals and no batches; see `yoloscope report {run}`", run=run)
        )
    click.echo(f"{run}: {say(summary.state)}")
    if found.base != where.records:
        click.echo(say("from {base}", base=found.base))
    for rank, verdict in summary.verdicts:
        click.echo(f"rank {rank}: {verdict.name}: {say(verdict.evidence)}")
        if verdict.name in rules.EXPLAINED:
            click.echo(say("  cause {cause}\n  fix   {fix}", cause=verdict.cause, fix=verdict.fix))
    for rank, state in found.states.items():
        click.echo(say("rank {rank}: state at its last write: {state}", rank=rank, state=text(state)))
    for line in _last_stacks(found.base, run):
        click.echo(line)
    for rank, rows in found.rows.items():
        click.echo(last_batches(rank, rows), nl=False)
    if html:
        _write(html, pages.one(summary))
