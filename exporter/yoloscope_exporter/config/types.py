"""Types of options: what the command line, the environment and YAML give, converted and checked."""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

import click

from yoloscope_exporter import yaml_files
from yoloscope_exporter.language import say, text
from yoloscope_exporter.yaml_files import SettingsFileError

if TYPE_CHECKING:
    from collections.abc import Callable

    from yoloscope_exporter.diagnosis.thresholds import Thresholds

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0, 0.001)


class Address(NamedTuple):
    """Where the server listens; an empty host means every interface."""

    host: str
    port: int

    def __str__(self) -> str:
        """The usual notation, brackets around IPv6."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, scheme: str = "http") -> str:
        """The URL by which this machine reaches it."""
        every = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared
        return f"{scheme}://{self._replace(host=every.get(self.host, self.host))}"


@dataclass(frozen=True)
class UnixAddress:
    """A socket in the file system where the server listens."""

    path: Path

    def __str__(self) -> str:
        """The notation of the flag."""
        return f"unix:{self.path}"

    def url(self, scheme: str = "http") -> str:
        """Its URL, in the notation of HTTP clients that support unix sockets."""
        return text("{scheme}+unix://{path}", scheme=scheme, path=quote(str(self.path), safe=""))


def is_loopback(host: str) -> bool:
    """Whether it is a name or an address of this machine to itself."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def url_parts(url: str) -> SplitResult:
    """The parts of `url`, where `host:port` is one of HTTP; all are empty where it is none."""
    with suppress(ValueError):
        return urlsplit(url if "://" in url else f"http://{url}")
    return urlsplit("")


def host_names(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - a string, or what was converted before
    """A type of option: host names separated by commas."""
    if isinstance(value, tuple):
        return value
    names = tuple(filter(None, (name.strip() for name in str(value).split(","))))
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise click.BadParameter(
                text("invalid host name {name!r}: use for example gpu-node-7.example.org, no port", name=name)
            )
    return names


def source_url(value: Any) -> str:  # noqa: ANN401 - a string, or what YAML made of it
    """A type of option: the URL of a server, or nothing; a user and a password may stand before its name."""
    text_of = str(value)
    parts = url_parts(text_of)
    if text_of and (parts.scheme not in {"http", "https"} or not parts.hostname or not text_of.isprintable()):
        raise click.BadParameter(text("invalid URL: use for example http://prometheus:9090"))
    return text_of


def words(*known: str) -> Callable[[Any], tuple[str, ...]]:
    """A type of option: some of these words, separated by commas."""

    def convert(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - a string, or what was converted before
        given = value if isinstance(value, tuple) else tuple(filter(None, map(str.strip, str(value).split(","))))
        for word in given:
            if word not in known:
                raise click.BadParameter(
                    say("unknown {word!r}; allowed are {known}", word=word, known=", ".join(known))
                )
        return given

    return convert


def duration(shortest: float = 0.001, longest: float = 366 * 86400.0) -> Callable[[Any], float]:
    """A type of option: Prometheus' notation of durations (500ms, 1h30m, 1d) between two numbers of seconds."""

    def convert(value: Any) -> float:  # noqa: ANN401 - a string, or what YAML made of it
        if isinstance(value, float):
            return value  # converted before
        match = _DURATION.fullmatch(str(value))
        if match is None or not value:
            raise click.BadParameter(text("invalid duration {value!r}: use for example 500ms, 30s, 2h", value=value))
        seconds = sum(float(number) * unit for number, unit in zip(match.groups("0"), _UNITS, strict=True))
        if not shortest <= seconds <= longest:
            raise click.BadParameter(
                text(
                    "{value} is outside {shortest:g}s to {longest:g}s", value=value, shortest=shortest, longest=longest
                )
            )
        return seconds

    return convert


def address(value: Any) -> Address | UnixAddress:  # noqa: ANN401 - a string, or what YAML made of it
    """A type of option: HOST:PORT, [::1]:9911 for IPv6, :9911 for every interface, port 0 for any that is free.

    unix:/run/yoloscope.sock is a socket in the file system.
    """
    if isinstance(value, Address | UnixAddress):
        return value
    if str(value).startswith("unix:/"):
        return UnixAddress(Path(str(value).removeprefix("unix:")))
    host, colon, port = str(value).rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535 or (":" in bare and bare == host):  # noqa: PLR2004
        raise click.BadParameter(
            text(
                "invalid address {value!r}: use for example 127.0.0.1:9911, :9911, [::1]:9911 or unix:/run/x.sock",
                value=value,
            )
        )
    return Address(bare, int(port))


def file(value: Any) -> Path | None:  # noqa: ANN401 - a string, or what YAML made of it
    """A type of option: a file of settings that can be read; empty means none."""
    if not value:
        return None
    path = Path(str(value))
    try:
        yaml_files.read(path)
    except SettingsFileError as error:
        raise click.BadParameter(str(error)) from error
    return path


def thresholds(value: Any) -> Thresholds | None:  # noqa: ANN401 - a string, or what YAML made of it
    """A type of option: a YAML file with thresholds of the diagnosis; empty means the defaults."""
    if not value:
        return None
    from yoloscope_exporter.diagnosis import thresholds as known  # noqa: PLC0415 - `run` and `--help` need no rules

    if isinstance(value, known.Thresholds):
        return value
    try:
        return known.load(Path(str(value)))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def url_path(value: Any) -> str:  # noqa: ANN401 - a string, or what YAML made of it
    """A type of option: a path below the root of the server that is not one of its own."""
    path = str(value)
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]+", path) or path.startswith(("/-/", "/api/")):
        raise click.BadParameter(
            text("invalid path {path!r}: use for example /metrics; /-/ and /api/ are the exporter's own", path=path)
        )
    return path
