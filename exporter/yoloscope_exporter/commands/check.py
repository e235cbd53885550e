"""`yoloscope check`: the look before the start: machine, Python of the training, exporter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoloscope_exporter.checks import environment, folders, machine, readings, service
from yoloscope_exporter.checks.finding import FAIL, NOTE, OK, WARN, Finding
from yoloscope_exporter.commands import options
from yoloscope_exporter.config import Config, ReloadableCommand, settings
from yoloscope_exporter.language import say, text
from yoloscope_exporter.system import os
from yoloscope_exporter.terminal import progress
from yoloscope_exporter.terminal.cells import padded

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLOURS: dict[str, str] = {OK: "green", NOTE: "cyan", WARN: "yellow", FAIL: "red"}
#: Cells of the columns: severity, subject.
_WIDTHS = 4, 22


@click.command(cls=ReloadableCommand, short_help="Look at machine, training environment and exporter before a start.")
@click.option(
    "--python",
    callback=options.program,
    metavar="PATH",
    help="The Python that trains.  [default: ours if it has torch, else that of the yolo on the PATH]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json")),
    default="text",
    show_default=True,
    help="Output format.",
)
@settings
def check(config: Config, python: str | None, form: str) -> None:
    """Look at the machine before a training: driver, GPUs, memory, disk, /dev/shm, PyTorch and CUDA, exporter.

    The Python that trains says in a process of its own whether it can use CUDA; no GPU memory is taken, so that a
    training that runs is not disturbed. The configuration of `serve` is checked, and each collector is run once. What
    is wrong is told with what to do about it.

    Exit code: 0 no failures (warnings may be), 1 something does not work, 2 invalid configuration.

    \b
      yoloscope check
      yoloscope check --python ~/miniconda3/envs/yolo/bin/python
      yoloscope check --format json
    """  # noqa: D301 - click reads the backslash
    found = findings(config, python or environment.python_of_trainings())
    if form == "json":
        seen = list(found)
        click.echo(json.dumps({"findings": list(map(_json, seen))}, indent=2))
    else:
        seen = [_shown(finding) for finding in found]
    click.get_current_context().exit(int(any(finding.severity == FAIL for finding in seen)))


def findings(config: Config, python: str) -> Iterator[Finding]:
    """All findings, each as soon as it is known."""
    with progress.shown(say("running each collector once")):
        read, rejected = readings.read(config)
    driver = machine.driver(read)
    yield from machine.gpus(driver, machine.nvidia_on_the_bus(config.path_sysfs))
    yield from machine.memory(read)
    for folder in folders.written(os.environ, Path.home(), Path.cwd()):
        yield from machine.disk(folder)
    yield from machine.shared_memory(config.path_rootfs / "dev/shm")
    yield from _environment(python, driver)
    yield from service.findings(config)
    yield from readings.findings(read, rejected)


def _environment(python: str, driver: machine.Driver) -> Iterator[Finding]:
    try:
        with progress.shown(say("asking {python} for PyTorch and CUDA", python=python)):
            answer = environment.ask(python)
    except environment.NoAnswerError as error:
        yield Finding(WARN, "Python", error.args[0], text("name another one: --python PATH"))
        return
    capabilities = readings.capabilities() if driver.gpus else {}
    yield from environment.findings(python, answer, driver, capabilities, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _shown(finding: Finding) -> Finding:
    """Print a finding, with its fix below it."""
    mark, subject = (padded(say(told), width) for told, width in zip(finding[:2], _WIDTHS, strict=True))
    click.echo(f"{click.style(mark, _COLOURS[finding.severity])}  {subject} {say(finding.told)}")
    if finding.fix:
        click.echo(f"{' ' * _WIDTHS[0]}  {padded(say('fix'), _WIDTHS[1])} {say(finding.fix)}")
    return finding


def _json(finding: Finding) -> dict[str, str]:
    """In English, in any language; `fix` is empty where nothing has to be done."""
    severity, subject, told, fix = map(str, finding)
    return {"severity": severity.lower(), "subject": subject, "text": told, "fix": fix}
