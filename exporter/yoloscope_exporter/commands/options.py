"""Options that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
from yoloscope_record import keeping
from yoloscope_record.system import DIRECTORY

from yoloscope_exporter.notify.messages import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Mapping


def of_the_locale(environ: Mapping[str, str]) -> str:
    """The language of the messages that the locale asks for."""
    chosen = next((environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if environ.get(name)), "")
    return "zh-CN" if chosen.startswith("zh") else "en"


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
#: In which language people are written to.
language = click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    default=lambda: of_the_locale(os.environ),
    show_default="zh-CN in a Chinese locale, else en",
    envvar="YOLOSCOPE_NOTIFY_LANGUAGE",
    help="Language of what people are told.",
)
