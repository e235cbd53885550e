"""`yoloscope record`: follows an exporter into a file."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from yoloscope_exporter import catalog, config
from yoloscope_exporter.cli import main
from yoloscope_exporter.client import exporter as client
from yoloscope_exporter.client.prometheus import SourceError
from yoloscope_exporter.commands import record
from yoloscope_exporter.commands.serve import serve
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.recordings.writer import Writer
from yoloscope_exporter.service.exporter import running

if TYPE_CHECKING:
    from pathlib import Path


def exposition(time: float) -> str:
    return (
        f"# TYPE yoloscope_cpu_cores gauge\nyoloscope_cpu_cores 8\nyoloscope_snapshot_timestamp_seconds {time}\n# EOF\n"
    )


def test_an_exporter_is_recorded(tmp_path: Path) -> None:
    """A real exporter, scraped for a second, gives a recording of its moments."""
    settings = config.resolve(serve, ["--web.listen-address=127.0.0.1:0", "--sample.interval=200ms"])
    with running(settings) as exporter:
        path = tmp_path / "a.om"
        arguments = ["record", str(path), "--exporter", exporter.server.url, "--interval", "200ms", "--duration", "1s"]
        result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (store,) = reader.read(path)
    times = store.series[catalog.CPU_CORES.name][()].times
    assert 3 <= len(times) <= 6
    assert path.read_text().endswith("# EOF\n")


def test_without_an_exporter_the_node_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to start a server first."""
    monkeypatch.setattr(client, "URL", "http://127.0.0.1:1")
    path = tmp_path / "a.om.gz"
    result = CliRunner().invoke(main, ["record", str(path), "--interval", "500ms", "--duration", "1s"])
    assert result.exit_code == 0, result.output
    assert "reading this node directly" in result.output
    assert reader.read(path)[0].series[catalog.CPU_CORES.name]


def test_only_new_snapshots_are_kept(tmp_path: Path) -> None:
    """The same snapshot twice, a clock set back and a silent exporter add nothing; what comes after goes on."""
    moments: list[float | None] = [10, 10, None, 9, 11]
    stop = threading.Event()

    def read() -> str:
        time = moments.pop(0)
        if not moments:
            stop.set()
        if time is None:
            raise SourceError("gone")
        return exposition(time)

    writer = Writer(tmp_path / "a.om")
    assert record.follow(read, writer, stop, 0.01) == 2
    writer.close()
    (store,) = reader.read(tmp_path / "a.om")
    assert list(store.series[catalog.CPU_CORES.name][()].times) == [10, 11]


@pytest.mark.parametrize(
    ("name", "said"),
    [("missing/a.om", "No such file"), ("notes.txt", "is not a recording"), ("folder", "is a directory")],
)
def test_bad_places_are_refused(tmp_path: Path, name: str, said: str) -> None:
    """One line, exit code 2, nothing overwritten."""
    (tmp_path / "notes.txt").write_text("milk\n")
    (tmp_path / "folder").mkdir()
    result = CliRunner().invoke(main, ["record", str(tmp_path / name), "--duration", "1s"])
    assert result.exit_code == 2
    assert said in result.output
    assert (tmp_path / "notes.txt").read_text() == "milk\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be two users")
def test_a_link_of_another_user_in_a_shared_folder(tmp_path: Path) -> None:
    """An empty file that it leads to would become a recording, and one that is not there would be made."""
    shared, link = tmp_path / "tmp", tmp_path / "tmp" / "night.om"
    shared.mkdir()
    shared.chmod(0o1777)
    link.symlink_to(tmp_path / "authorized_keys")
    os.chown(link, 61002, 61002, follow_symlinks=False)
    result = CliRunner().invoke(main, ["record", str(link), "--duration", "1s"])
    assert result.exit_code == 2
    assert "another user" in result.output
    assert not (tmp_path / "authorized_keys").exists()


def test_a_full_disk_ends_it_with_a_line(tmp_path: Path) -> None:
    """What was written stays complete, and the user is told."""

    class Full(Writer):
        def _write(self, block: bytes) -> int:
            if len(block) > 10:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super()._write(block)

    writer = Full(tmp_path / "a.om")
    with pytest.raises(click.ClickException, match="No space left on device; what was written before is complete"):
        record.follow(lambda: exposition(1), writer, threading.Event(), 0.01)
    writer.close()
