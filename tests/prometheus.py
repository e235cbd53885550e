"""A real Prometheus over data that a test has written: Debian's `prometheus` and `promtool`."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from tests.conftest import require_binary
from tests.live import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def promtool(*arguments: str) -> None:
    """Write blocks of a data directory."""
    command = [require_binary("promtool"), "tsdb", "create-blocks-from", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def prometheus(directory: Path, *flags: str) -> Iterator[str]:
    """A server of what lies in `directory`/data; the value is its address."""
    config = directory / "prometheus.yml"
    config.write_text("{}")
    port = free_port()
    command = [
        require_binary("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={directory}/data",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
        *flags,
    ]
    with running(command, directory / "prometheus.log", f"http://127.0.0.1:{port}") as url:
        yield url
