"""`yoloscope bundle`: files for Prometheus, Alertmanager, Grafana, Compose, systemd, Slurm and Helm, for this site."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoloscope_exporter import __version__
from yoloscope_exporter.bundle import folder, origin, shipped
from yoloscope_exporter.bundle.folder import BundleError, Manifest
from yoloscope_exporter.bundle.site import OutdatedError, Site, files
from yoloscope_exporter.commands import options
from yoloscope_exporter.config import types
from yoloscope_exporter.language import joined, reason, say
from yoloscope_exporter.terminal.cells import padded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DEFAULT = Site()
#: Longer ones leave the rules' windows of a minute with too few samples.
LONGEST_INTERVAL = 15.0
#: It is written into YAML, and into a file in which Compose replaces what begins with a dollar.
_ADDRESS = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._~-]+)(:\d{1,5})?(/[A-Za-z0-9._~/@%-]*)?")


def _grafana(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is None:
        return None
    if not _ADDRESS.fullmatch(url):
        raise click.BadParameter(say("{url!r} is no address; use for example https://grafana.example.org", url=url))
    return url.rstrip("/")


def _job(_context: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
        raise click.BadParameter(say("{name!r} is no job; use letters, digits, '-', '_' and '.'", name=name))
    return name


def _targets(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> tuple[str, ...] | None:
    named = [target for value in values for target in value.split(",") if target]
    for target in named or values:  # none is not meant by an empty one: it would scrape nobody
        if not re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}", target):
            raise click.BadParameter(
                say("{target!r} is no target; use HOST:PORT, for example node1:9911", target=target)
            )
    return tuple(dict.fromkeys(named)) or None


def _notify(_context: click.Context, _option: click.Parameter, values: Sequence[str]) -> tuple[str, ...] | None:
    urls = [url for value in values for url in value.split()]
    for url in urls:
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s'\"\\]+", url):
            raise click.BadParameter(
                say("an address is not as docs/notify.md has it, for example dingtalk://SECRET@TOKEN")
            )
    return tuple(dict.fromkeys(urls)) if values else None


@click.command(short_help="Write dashboards, rules and deployment files for your site, or compare those you have.")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option(
    "--grafana-url",
    callback=_grafana,
    metavar="URL",
    help=f"Grafana's address, to which alerts lead.  [default: {_DEFAULT.grafana_url}]",
)
@click.option(
    "--job", callback=_job, metavar="NAME", help=f"Name of Prometheus' scrape job.  [default: {_DEFAULT.job}]"
)
@options.language
@click.option(
    "--targets",
    multiple=True,
    callback=_targets,
    metavar="HOST:PORT",
    help=f"Exporters to scrape, separated by commas; may be repeated.  [default: {_DEFAULT.targets[0]}]",
)
@click.option(
    "--scrape-interval",
    type=types.duration(1.0, LONGEST_INTERVAL),
    metavar="DURATION",
    help=f"Time between two scrapes, 1s to {LONGEST_INTERVAL:g}s; Grafana's data source gets the same.  "
    f"[default: {_DEFAULT.scrape_interval:g}s]",
)
@click.option(
    "--notify",
    multiple=True,
    callback=_notify,
    metavar="URL",
    help="Service that alerts are sent to (docs/notify.md); may be repeated, '' for none. The files with it are mode "
    "0600.",
)
@click.option("--check", is_flag=True, help="Write nothing; say what differs from what would be written now.")
@click.option("--force", is_flag=True, help="Also overwrite files that were edited, or that yoloscope did not write.")
def bundle(directory: Path, *, check: bool, force: bool, **given: Any) -> None:  # noqa: ANN401 - the options
    """Write dashboards, rules and files for Alertmanager, Compose, systemd, Slurm and Helm to DIR, for your site.

    Without an option an earlier bundle in DIR keeps what it was written with. --check compares it with what this
    version of yoloscope would write: files that were edited in DIR, and files and rules that are new or changed.

    \b
      yoloscope bundle site --targets node1:9911,node2:9911 --grafana-url https://grafana.example.org
      yoloscope bundle --check site

    \b
    Exit codes:
      0  written; with --check: nothing differs
      1  with --check: something differs
      2  bad input, or files in DIR that would be lost
    """  # noqa: D301 - click reads the backslash
    context = click.get_current_context()
    try:
        known = folder.manifest(directory)
        site = _site(context, known, given)
        made = _made(site)
        if check:
            context.exit(_compared(directory, known, made))
        _written(directory, known, made, site, force=force)
    except (BundleError, OutdatedError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(joined((str(error.filename or directory), reason(error)), ": ")) from error


def _site(context: click.Context, known: Manifest | None, given: Mapping[str, Any]) -> Site:
    """What was asked for; what was not stays as the earlier bundle has it."""
    asked = {name: value for name, value in given.items() if value is not None}
    if known and context.get_parameter_source("language") == click.core.ParameterSource.DEFAULT:
        del asked["language"]
    return replace(known.site if known else _DEFAULT, **asked)


def _made(site: Site) -> dict[str, str]:
    texts = shipped.read()
    if not texts:
        raise click.ClickException(say("this installation has no deployment files: it was built without them"))
    return files(texts, site, __version__, origin.archive(__version__))


def _compared(directory: Path, known: Manifest | None, made: Mapping[str, str]) -> int:
    if known is None:
        raise BundleError(say("there is no bundle in {directory}", directory=directory))
    found = folder.differences(directory, known, made)
    for one in found:
        click.echo(f"{padded(say(one.kind), 8)} {say(joined((one.path, one.detail), ': '))}")
    versions = (
        __version__
        if known.version == __version__
        else say("{version}, now {now}", version=known.version, now=__version__)
    )
    click.echo(
        say("{found} of {made} files differ (version {versions})", found=len(found), made=len(made), versions=versions)
        if found
        else say("up to date ({versions})", versions=versions)
    )
    return int(bool(found))


def _written(directory: Path, known: Manifest | None, made: Mapping[str, str], site: Site, *, force: bool) -> None:
    lost = folder.lost(directory, known, made)
    if lost and not force:
        raise BundleError(
            say("edited, or not written by yoloscope: {lost}; --force overwrites them", lost=", ".join(lost))
        )
    folder.write(directory, made, site, __version__)
    click.echo(
        say(
            "{made} files written to {directory}; {readme} says what to do with them",
            made=len(made),
            directory=directory,
            readme=directory / "README.md",
        )
    )
