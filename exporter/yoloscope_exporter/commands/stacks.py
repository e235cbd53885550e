"""`yoloscope stacks RUN`: what each process of a run is doing now, function by function."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import click
from yoloscope_record import paths

from yoloscope_exporter.collectors.stacks.finding import find
from yoloscope_exporter.collectors.stacks.finding import stacks as every_stack
from yoloscope_exporter.collectors.stacks.inquiry import AGAIN_SECONDS, Inquiry
from yoloscope_exporter.collectors.stacks.inquiry import answers as wait_for_answers
from yoloscope_exporter.commands import options
from yoloscope_exporter.language import reason, say
from yoloscope_exporter.recordings import postmortem
from yoloscope_exporter.reports import names
from yoloscope_exporter.terminal import progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from yoloscope_exporter.collectors.stacks.inquiry import Answer


@click.command(short_help="Show what each process of a run is doing now: rank, process, function, file and line.")
@click.argument("run", required=False)
@options.records
@click.pass_context
def stacks(context: click.Context, run: str | None, records: Path | None) -> None:
    """Show what each process of RUN is doing now, ranks and loader workers, equal stacks together.

    Each process that has announced that it answers is sent one real-time signal, on which Python writes the stacks of
    its threads into a file beside the run's record; the training goes on. You have to be the run's user, or root. A
    process is asked at most once in five minutes; until then its last answer is shown. Without RUN it is the newest
    run.

    Exit code: 0 somebody answered, 1 nobody did, 2 no such run or an error.
    """
    base = records or paths.directory()
    name = _named(base, run) if run else _newest(base)
    counts: Counter[str] = Counter()
    try:
        inquiry = Inquiry(postmortem.place(base, name), lambda reason: counts.update([reason]))
    except OSError as error:
        raise click.ClickException(
            say("no run {name!r} in {base}: {reason}", name=name, base=base, reason=reason(error))
        ) from error
    try:
        with progress.shown(say("waiting for answers")):
            answers = wait_for_answers(inquiry)
        ranks = inquiry.ranks
    finally:
        inquiry.close()
    for line in every_stack(answers):
        click.echo(say(line))
    hang = find(ranks, answers)
    if hang is not None:
        click.echo(f"\n{say(str(hang))}")
    _hints(answers, counts)
    context.exit(0 if any(answer.dump for answer in answers) else 1)


def _named(base: Path, run: str) -> str:
    """The run of this name, or the only one whose name begins so."""
    if paths.find_run(base, run).is_dir():
        return run
    known = postmortem.runs(base)
    found = names.matches(run, known)
    if len(found) == 1:
        return found[0]
    there = names.unknown(run, known) if known else say("there is none at all")
    raise click.ClickException(say("no run {run!r} in {base}; {there}", run=run, base=base, there=there))


def _newest(base: Path) -> str:
    known = postmortem.runs(base)
    if not known:
        raise click.ClickException(say("no runs in {base}; name another directory with --records", base=base))
    return known[0]


def _hints(answers: Sequence[Answer], counts: Counter[str]) -> None:
    if counts:
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        click.echo(say("not asked or not read: {refused} (docs/hooks.md#stacks)", refused=refused), err=True)
    if any(answer.dump is None for answer in answers):
        click.echo(
            say(
                "no answer where the process is stopped, waits in the kernel, was asked less than "
                "{again_seconds:.0f} minutes ago, or runs without these hooks",
                again_seconds=AGAIN_SECONDS / 60,
            ),
            err=True,
        )
    if answers and (program := shutil.which("py-spy")):
        click.echo(
            say("frames outside Python: {program} dump --native --pid {pid}", program=program, pid=answers[0].pid),
            err=True,
        )
