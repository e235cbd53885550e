"""Settings: their ranking, their types, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from yoloscope_exporter import cli, config
from yoloscope_exporter.collectors.gpu.gpm import LONGEST
from yoloscope_exporter.collectors.gpu.values import MAX_GAP
from yoloscope_exporter.config import Config, ReloadableCommand, types
from yoloscope_exporter.config.types import Address, UnixAddress
from yoloscope_exporter.sampling.sampler import SLOW_EVERY

if TYPE_CHECKING:
    from collections.abc import Mapping


def resolve(*arguments: str, environment: Mapping[str, str | None] | None = None) -> Config:
    """The settings of a command line."""
    seen: list[Config] = []

    @click.command(cls=ReloadableCommand)
    @config.settings
    def command(config: Config) -> None:
        seen.append(config)

    result = CliRunner(env=environment).invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return seen[0]


def refused(*arguments: str, **environment: str) -> str:
    """The one line that `yoloscope serve` says to bad arguments."""
    result = CliRunner(env=environment).invoke(cli.main, ["serve", *arguments])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Each source of settings wins over those below it."""
    file = tmp_path / "yoloscope.yaml"
    file.write_text("sample: {interval: 3s}\n")
    yaml, variable = f"--config.file={file}", {"YOLOSCOPE_SAMPLE_INTERVAL": "2s"}
    assert resolve().sample_interval == 1.0
    assert resolve(yaml).sample_interval == 3.0
    assert resolve(yaml, environment=variable).sample_interval == 2.0
    assert resolve(yaml, "--sample.interval=1500ms", environment=variable).sample_interval == 1.5
    assert resolve(environment={"YOLOSCOPE_CONFIG_FILE": str(file)}).sample_interval == 3.0


def test_file_takes_nested_and_dotted_keys(tmp_path: Path) -> None:
    """`web: {listen-address: ...}` and `web.listen-address: ...` are the same; collectors are booleans."""
    file = tmp_path / "yoloscope.yaml"
    file.write_text(
        "web.listen-address: '[::1]:80'\nruns: {keep: 1h30m}\ncollector: {disk: false}\nlog: {level: debug}\n"
    )
    found = resolve(f"--config.file={file}")
    assert (found.web_listen_address, found.runs_keep, found.log_level) == (Address("::1", 80), 5400.0, "debug")
    assert "disk" not in found.modules
    assert "cpu" in found.modules


def test_collectors_are_switched(tmp_path: Path) -> None:
    """By flag and by variable."""
    assert "cpu" not in resolve("--no-collector.cpu").modules
    assert "cpu" not in resolve(environment={"YOLOSCOPE_COLLECTOR_CPU": "false"}).modules
    assert "cpu" in resolve("--collector.cpu", environment={"YOLOSCOPE_COLLECTOR_CPU": "false"}).modules


def test_records_follow_the_hooks_variable(tmp_path: Path) -> None:
    """YOLOSCOPE_DIR names the directory for hooks and exporter alike."""
    assert resolve(environment={"YOLOSCOPE_DIR": str(tmp_path)}).path_records == tmp_path


def test_numbers_in_a_file_are_text(tmp_path: Path) -> None:
    """A directory may be called 3, and a switch may be a word of YAML."""
    file = tmp_path / "yoloscope.yaml"
    file.write_text("path: {procfs: 3}\ncollector: {cpu: off, disk: 1}\n")
    found = resolve(f"--config.file={file}")
    assert str(found.path_procfs) == "3"
    assert ("cpu" in found.modules, "disk" in found.modules) == (False, True)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("sampel: {interval: 1s}", "unknown key 'sampel.interval'; allowed are collector.cgroup, "),
        ("sample: {interval: 5}", "sample.interval: invalid duration '5': use for example 500ms"),
        ("sample: {interval: 0.0}", "sample.interval: invalid duration '0.0'"),
        ("sample: {interval: }", "sample.interval must have one value"),
        ("path: {procfs: [a, b]}", "path.procfs must have one value"),
        ("collector: {gpu: [1]}", "collector.gpu must have one value"),
        ("log: {level: 3}", "log.level: '3' is not one of"),
        ("sample: {interval: 1h}", "sample.interval: 1h is outside 0.1s to 5s"),
        ("collector: {cpu: perhaps}", "collector.cpu: 'perhaps' is not a valid boolean"),
        ("log: {level: loud}", "log.level: 'loud' is not one of 'debug', 'info', 'warning', 'error'"),
        ("- a", "the file must be a mapping"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: str, expected: str) -> None:
    """One line with the file, the key and what is allowed."""
    file = tmp_path / "yoloscope.yaml"
    file.write_text(content)
    said = refused(f"--config.file={file}")
    assert said.startswith(f"Error: {file}: ")
    assert expected in said


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--web.listen-address=9911", "invalid address '9911': use for example 127.0.0.1:9911"),
        ("--web.listen-address=unix:run/x.sock", "or unix:/run/x.sock"),
        ("--web.listen-address=host:99999", "invalid address 'host:99999'"),
        ("--web.listen-address=::1:9911", "invalid address '::1:9911'"),
        ("--web.allowed-hosts=http://a:1", "invalid host name 'http://a:1': use for example gpu-node-7.example.org"),
        ("--web.telemetry-path=metrics", "invalid path 'metrics': use for example /metrics"),
        ("--web.telemetry-path=/-/ready", "invalid path '/-/ready': use for example /metrics"),
        ("--web.telemetry-path=/api/v1/diagnosis", "invalid path '/api/v1/diagnosis': use for example /metrics"),
        ("--page.prometheus=ftp://a", "invalid URL: use for example http://prometheus:9090"),
        ("--page.prometheus=http://", "invalid URL: use for example http://prometheus:9090"),
        ("--sample.interval=fast", "invalid duration 'fast'"),
        ("--sample.interval=", "invalid duration ''"),
        ("--runs.keep=59s", "59s is outside 60s to"),
        ("--runs.keep-killed=59s", "59s is outside 60s to"),
        ("--runs.remove-after=59s", "59s is outside 60s to"),
        ("--config.file=/nowhere.yaml", "/nowhere.yaml: cannot be read: No such file or directory"),
        ("--no-collector.gpus", "No such option '--no-collector.gpus'"),
        ("--log.format=xml", "'xml' is not one of 'logfmt', 'json'"),
    ],
)
def test_bad_arguments_are_named(argument: str, expected: str) -> None:
    """One line, exit code 2."""
    assert expected in refused(argument)


def test_bad_variable_is_named() -> None:
    """A bad value from the environment is refused like one from the command line."""
    assert "invalid duration 'soon'" in refused(YOLOSCOPE_SAMPLE_INTERVAL="soon")


def test_longest_interval_leaves_no_gap_in_counters() -> None:
    """What is polled in slow cycles is integrated over the time between them, and a longer one is refused."""
    longest = resolve("--sample.interval=5s").sample_interval
    assert longest * SLOW_EVERY < min(MAX_GAP, LONGEST)
    assert "5s1ms is outside 0.1s to 5s" in refused("--sample.interval=5s1ms")


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1s", 1.0), ("15m", 900.0), ("1h30m", 5400.0), ("2d", 172800.0)]
)
def test_durations(text: str, seconds: float) -> None:
    """Prometheus' notation."""
    assert types.duration()(text) == seconds


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9911", Address("", 9911)),
        ("[::]:0", Address("::", 0)),
        ("node-1:80", Address("node-1", 80)),
        ("unix:/run/yoloscope.sock", UnixAddress(Path("/run/yoloscope.sock"))),
    ],
)
def test_addresses(text: str, address: Address | UnixAddress) -> None:
    """Hosts, every interface, IPv6."""
    assert types.address(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    ("text", "url"),
    [(":9911", "http://127.0.0.1:9911"), ("[::]:80", "http://[::1]:80"), ("node-1:80", "http://node-1:80")],
)
def test_where_an_address_is_reached(text: str, url: str) -> None:
    """Every interface is reached by the loopback."""
    assert types.address(text).url() == url


def test_unknown_command_is_one_line() -> None:
    """As is a command that does not exist."""
    result = CliRunner().invoke(cli.main, ["surve"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "no such command 'surve'; did you mean serve?" in result.stderr


def test_help_lists_every_command() -> None:
    """Each command of the table is there and can be imported."""
    result = CliRunner().invoke(cli.main, ["--help"])
    assert result.exit_code == 0
    for name in cli.COMMANDS:
        assert name in result.output
        assert CliRunner().invoke(cli.main, [name, "--help"]).exit_code == 0


def test_version() -> None:
    """--version names the program."""
    assert CliRunner().invoke(cli.main, ["--version"]).output.startswith("yoloscope, version ")
