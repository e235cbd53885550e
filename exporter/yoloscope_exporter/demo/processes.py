"""Child processes of the demo, each in its own process group, ended when its `with` block is left."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from yoloscope_exporter.fetching import opener
from yoloscope_exporter.language import text
from yoloscope_exporter.system import APART, end_group, os, reuse_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TIMEOUT_SECONDS = 30.0
"""For a child to answer."""


@contextmanager
def child(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start `command`, its output in `log`; the whole process group is gone when the block is left."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command, stdout=output, stderr=output, env={**os.environ, **environment}, **APART
        )
    try:
        yield process
    finally:
        for kill in (False, True):
            end_group(process, kill=kill)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)


def free_port(wanted: int) -> int:
    """`wanted` if it is free on the loopback interface, else any port that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            reuse_address(probe)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise click.ClickException(text("no port is free on 127.0.0.1"))


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until `url` answers.

    Raises:
        click.ClickException: the child has ended, or is silent for TIMEOUT_SECONDS.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(urllib.error.URLError, OSError), opener(url).open(url, timeout=2):
            return
        time.sleep(0.2)
    raise click.ClickException(
        text("{url} does not answer; the end of {log}:\n{tail}", url=url, log=log, tail=tail(log))
    )


def tail(log: Path) -> str:
    """The last lines of a child's output."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
