"""The exporter's settings, each defined once, from the command line, the environment or a YAML file.

Command line > YOLOSCOPE_* environment > YAML file > default.

A setting `web.listen-address` is the flag `--web.listen-address`, the variable `YOLOSCOPE_WEB_LISTEN_ADDRESS` and the
YAML key `listen-address` below `web` (or `web.listen-address` at the top). click does the ranking.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from yoloscope_record import paths
from yoloscope_record.system import DIRECTORY

from yoloscope_exporter import ADDRESS, collectors, yaml_files
from yoloscope_exporter.collectors import state
from yoloscope_exporter.config.types import (
    Address,
    UnixAddress,
    address,
    duration,
    file,
    host_names,
    source_url,
    thresholds,
    url_path,
    words,
)
from yoloscope_exporter.language import text
from yoloscope_exporter.yaml_files import SettingsFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from yoloscope_exporter.diagnosis.thresholds import Thresholds

#: What `--privacy` takes; which labels that is stands in `sampling.privacy`.
PRIVATE = ("user", "command", "data")
_ARGUMENTS = "yoloscope.arguments"
#: Seconds. No shorter than the longest usual scrape interval: an end that no scrape has seen looks like lost records.
_SHOWN_AT_LEAST = 60.0


@dataclass(frozen=True)
class Setting:
    """One setting: its dotted name, its type as click takes it, its default and its help text."""

    name: str
    type: Any
    default: Any
    help: str
    metavar: str | None = None
    variable: str = ""
    """Environment variable, where it is not YOLOSCOPE_ and the name."""
    fixed: bool = False
    """Changes with a restart only."""

    @property
    def parameter(self) -> str:
        """Name of click's parameter."""
        return re.sub(r"\W", "_", self.name)

    @property
    def envvar(self) -> str:
        """Name of the environment variable."""
        return self.variable or f"YOLOSCOPE_{self.parameter.upper()}"


_shown = duration(_SHOWN_AT_LEAST)
SETTINGS = (
    Setting(
        "web.listen-address",
        address,
        ADDRESS,
        f"Address to listen on: {ADDRESS}, :9911 (all interfaces), port 0 (any free port) or unix:/PATH.",
        "HOST:PORT",
        fixed=True,
    ),
    Setting(
        "web.config.file",
        file,
        "",
        "TLS and basic auth, a file in the format of Prometheus' exporter-toolkit.",
        "FILE",
        fixed=True,
    ),
    Setting(
        "web.allowed-hosts",
        host_names,
        "",
        "On the loopback: further names, separated by commas, under which a reverse proxy asks; others are refused.",
        "NAME,...",
        fixed=True,
    ),
    Setting("web.telemetry-path", url_path, "/metrics", "Path of the metrics.", "PATH", fixed=True),
    Setting(
        "page.prometheus",
        source_url,
        "",
        "Prometheus that the live page shows instead of this node: runs of all nodes, at any time. If it needs a "
        "password, use YOLOSCOPE_PAGE_PROMETHEUS: others can read command lines.",
        "URL",
        fixed=True,
    ),
    Setting(
        "sample.interval",
        duration(0.1, 5.0),  # ten of them, a slow cycle, must stay below the gap that is still integrated over
        "1s",
        "Interval of the fast collectors, 100ms to 5s; slow collectors run every tenth interval.",
        "DURATION",
    ),
    Setting("runs.keep", _shown, "15m", "How long a finished or failed run stays visible, from 1m.", "DURATION"),
    Setting("runs.keep-killed", _shown, "1h", "How long a killed run stays visible, from 1m.", "DURATION"),
    Setting("runs.remove-after", _shown, "1d", "Age at which an ended run's record is deleted, from 1m.", "DURATION"),
    Setting(
        "privacy",
        words(*PRIVATE),
        "",
        f"What of users is shown nowhere, separated by commas: {', '.join(PRIVATE)} (docs/exporter.md).",
        "WORD,...",
    ),
    Setting(
        "keep-post-mortem",
        click.Path(path_type=Path, file_okay=False),
        None,
        "Directory for what is left of trainings that died, where it cannot be written beside their results; `off` "
        "keeps nothing.  [default: the run's own folder alone]",
        "DIR",
    ),
    Setting(
        "diagnosis.window",
        duration(5.0, 3600.0),
        "1m",
        "Time window that the diagnosis evaluates.",
        "DURATION",
        fixed=True,
    ),
    Setting(
        "diagnosis.thresholds",
        thresholds,
        "",
        "YAML file that overrides default thresholds (see docs/diagnosis.md).",
        "FILE",
    ),
    Setting(
        "path.records",
        click.Path(path_type=Path),
        None,
        f"Directory of the runs' records.  [default: {DIRECTORY}]",
        variable="YOLOSCOPE_DIR",
        fixed=True,
    ),
    Setting("path.procfs", click.Path(path_type=Path), "/proc", "Mount point of the node's /proc.", fixed=True),
    Setting("path.sysfs", click.Path(path_type=Path), "/sys", "Mount point of the node's /sys.", fixed=True),
    Setting("path.rootfs", click.Path(path_type=Path), "/", "Mount point of the node's /."),
    Setting(
        "path.state",
        click.Path(path_type=Path, file_okay=False),
        None,
        "Directory in which counters of energy are kept over a restart of the exporter.  "
        "[default: $STATE_DIRECTORY, else yoloscope below $XDG_STATE_HOME or ~/.local/state]",
        "DIR",
        fixed=True,
    ),
    Setting("log.level", click.Choice(("debug", "info", "warning", "error")), "info", "Lowest level to log."),
    Setting("log.format", click.Choice(("logfmt", "json")), "logfmt", "Log format."),
)


@dataclass(frozen=True)
class Config:
    """All settings, resolved. Durations are in seconds."""

    web_listen_address: Address | UnixAddress
    web_config_file: Path | None
    web_allowed_hosts: tuple[str, ...]
    web_telemetry_path: str
    page_prometheus: str
    sample_interval: float
    runs_keep: float
    runs_keep_killed: float
    runs_remove_after: float
    privacy: tuple[str, ...]
    keep_post_mortem: Path | None
    diagnosis_window: float
    diagnosis_thresholds: Thresholds | None
    path_records: Path
    path_procfs: Path
    path_sysfs: Path
    path_rootfs: Path
    path_state: Path | None
    log_level: str
    log_format: str
    modules: frozenset[str]
    """Collectors that are switched on."""


def defaults() -> Config:
    """The settings without arguments, environment and file."""
    values = {one.parameter: one.default and click.types.convert_type(one.type)(one.default) for one in SETTINGS}
    return _config({**values, **{f"collector_{name}": True for name in collectors.names()}})


def settings(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a click command every setting as an option; it is called with a `Config`, as `config`, and its own ones."""
    ours = {one.parameter for one in SETTINGS} | {f"collector_{name}" for name in collectors.names()}

    def call(**values: Any) -> Any:  # noqa: ANN401 - click's values
        own = {name: value for name, value in values.items() if name not in ours}
        return command(config=_with_state(_config(values)), **own)

    call.__doc__ = command.__doc__
    call.__name__ = command.__name__
    for name in reversed(collectors.names()):
        call = _switch(name)(call)
    for setting in reversed(SETTINGS):
        call = click.option(
            setting.parameter,
            f"--{setting.name}",
            type=setting.type,
            default=setting.default,
            envvar=setting.envvar,
            metavar=setting.metavar,
            show_default=setting.default is not None,
            help=setting.help,
        )(call)
    return click.option(
        "config_file",
        "--config.file",
        type=file,
        default="",
        metavar="FILE",
        envvar="YOLOSCOPE_CONFIG_FILE",
        is_eager=True,
        expose_value=False,
        callback=_load,
        help=text("YAML file with these settings (sample.interval: key 'interval' under 'sample'); reread on SIGHUP."),
    )(call)


def _switch(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        f"collector_{name}",
        f"--collector.{name}/--no-collector.{name}",
        default=True,
        envvar=f"YOLOSCOPE_COLLECTOR_{name.upper()}",
        help=f"Enable or disable the collector {name}.",
    )


def _config(values: Mapping[str, Any]) -> Config:
    modules = frozenset(name for name in collectors.names() if values.get(f"collector_{name}"))  # new ones: not yet
    fields = {setting.parameter: values[setting.parameter] for setting in SETTINGS}
    fields["path_records"] = fields["path_records"] or paths.directory()
    return Config(**fields, modules=modules)


def _with_state(config: Config) -> Config:
    """The same with the directory that this process may keep state in, where none was named."""
    return replace(config, path_state=config.path_state or state.default_directory(os.environ))


class ReloadableCommand(click.Command):
    """A click command that keeps its arguments, so that `reread` can resolve the settings again."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, then parse them."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


def reread(ctx: click.Context) -> Config:
    """Read YAML file and environment again for the command line of a `ReloadableCommand` command.

    Raises:
        click.ClickException: what is wrong with them.
    """
    return resolve(ctx.command, ctx.meta[_ARGUMENTS], ctx)


def resolve(command: click.Command, arguments: Sequence[str] = (), ctx: click.Context | None = None) -> Config:
    """The settings of a command as `arguments`, the environment and the YAML file give them.

    Raises:
        click.ClickException: what is wrong with them.
    """
    name, parent = (ctx.info_name, ctx.parent) if ctx else (command.name, None)
    with command.make_context(name, list(arguments), parent=parent) as fresh:
        return _with_state(_config(fresh.params))


def from_environment() -> Config:
    """The settings of a command line without arguments.

    Raises:
        click.ClickException: what is wrong with them.
    """
    return resolve(click.command()(settings(lambda config: config)))


def merged(old: Config, new: Config) -> tuple[Config, list[str]]:
    """The configuration of a running exporter after a reload, and the names of changed settings that need a restart."""
    fixed = [
        setting
        for setting in SETTINGS
        if setting.fixed and getattr(old, setting.parameter) != getattr(new, setting.parameter)
    ]
    kept = {setting.parameter: getattr(old, setting.parameter) for setting in fixed}
    return replace(new, **kept), [setting.name for setting in fixed]


# --- the YAML file --------------------------------------------------------------------------------------------------


def _load(ctx: click.Context, param: click.Parameter, path: Path | None) -> None:  # noqa: ARG001 - click's signature
    """Use the file's values as the command's defaults."""
    if path is None:
        return
    parameters = {_key(option): option for option in ctx.command.params if option.expose_value}
    ctx.default_map = {}
    for key, value in _flat(_content(path), path):
        if key not in parameters:
            _refuse(
                path,
                text(
                    "unknown key {key!r}; allowed are {parameters}", key=key, parameters=", ".join(sorted(parameters))
                ),
            )
        if value is None or isinstance(value, list):
            _refuse(path, text("{key} must have one value; remove the line to use the default", key=key))
        if not value.isprintable():
            _refuse(path, text("{key}: {value!r} is not printable text", key=key, value=value))
        option = parameters[key]
        try:  # as text, like the same value on the command line
            ctx.default_map[str(option.name)] = option.type_cast_value(ctx, value)
        except click.BadParameter as error:
            _refuse(path, f"{key}: {error.message}")


def _key(option: click.Parameter) -> str:
    return option.opts[0].removeprefix("--")


def _content(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    try:
        return yaml_files.load(path) or {}
    except SettingsFileError as error:
        raise click.ClickException(str(error)) from error


def _flat(content: Any, path: Path, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - YAML
    if not isinstance(content, dict):
        _refuse(
            path, text("{prefix} must be a mapping such as 'sample: {{interval: 1s}}'", prefix=prefix or "the file")
        )
    for key, value in content.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict):
            yield from _flat(value, path, name)
        else:
            yield name, value


def _refuse(path: Path, text: str) -> NoReturn:
    raise click.ClickException(str(SettingsFileError(path, text)))
