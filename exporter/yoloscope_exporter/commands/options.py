"""Options that several commands have."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
from yoloscope_record import keeping
from yoloscope_record.system import DIRECTORY

from yoloscope_exporter.language import LANGUAGES, VARIABLE, say, spoken

#: Where the records of runs lie.
records = click.option(
    "--records",
    type=click.Path(path_type=Path),
    envvar="YOLOSCOPE_DIR",
    metavar="DIR",
    help=f"Directory of the runs' records.  [default: {DIRECTORY}]",
)
#: Where the ends of runs are kept, beside the runs' own folders.
kept = click.option(
    "--keep-post-mortem",
    "kept",
    type=click.Path(path_type=Path),
    envvar=keeping.VARIABLE,
    metavar="DIR",
    help="Directory in which an exporter keeps the ends of runs whose records are gone.",
)
#: Where a source knows several clusters.
cluster = click.option(
    "--cluster", default="", metavar="NAME", help="Only this cluster, with --recording and --prometheus."
)
#: In which language people are written to: as `--language` of every command, with a variable of its own.
language = click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    default=spoken,
    show_default=False,
    envvar="YOLOSCOPE_NOTIFY_LANGUAGE",
    help=f"Language of what people are told.  [default: {VARIABLE}, else zh-CN in a Chinese locale, else en]",
)


def program(_context: click.Context, _option: click.Parameter, named: str | None) -> str | None:
    """The path of the program that `--python` names.

    Raises:
        click.UsageError: there is none.
    """
    found = shutil.which(named) if named is not None else None
    if named is not None and found is None:
        raise click.UsageError(say("--python {text}: no program that can be run", text=named))
    return found
