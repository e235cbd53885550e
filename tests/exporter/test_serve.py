"""The exporter as a process: a real record, real /proc, real HTTP."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

import bcrypt
import pytest
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text
from yoloscope_exporter import catalog, cli

from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRAINER = """
import sys, time
from pathlib import Path
from yoloscope_record import paths
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
from yoloscope_exporter import catalog

base = paths.make_directory(paths.directory())
identity = Identity("demo")
writer = Writer(paths.run_directory(base, "demo") / identity.filename, identity, {"model": "yolo11n.yaml"})
batches, epoch = writer.slot(catalog.TRAIN_BATCHES_TOTAL, "demo", "0"), writer.slot(catalog.TRAIN_EPOCH, "demo", "0")
writer.begin(); writer.set_state("train"); writer.values[epoch] = 3.0; writer.end(time.time())
print("ready", flush=True)
while True:
    writer.begin(); writer.values[batches] += 1; writer.end(time.time()); time.sleep(0.02)
"""


@contextmanager
def process(*command: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A child that is gone when the block is left."""
    child = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def exporter(*flags: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running exporter on a free port, and its URL."""
    command = (sys.executable, "-m", "yoloscope_exporter.cli", "serve", "--web.listen-address=127.0.0.1:0")
    with process(*command, "--sample.interval=200ms", *flags, **environment) as child:
        lines = iter(child.stderr.readline, "")
        url = next(found[1] for line in lines if (found := re.search(r"url=(\S+)", line)))
        wait_for(lambda: get(f"{url}/-/ready")[0] in (200, 401))  # it is up, whether or not it lets us in
        yield child, url


def get(url: str, **headers: str) -> tuple[int, str, str]:
    """Status, body and content type."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers["Content-Type"]


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> float:
    """Seconds until `condition()` was true."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, "nothing has come of it"
        time.sleep(0.02)
    return time.monotonic() - start


def series(url: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """All samples of a scrape, by name and label values in the catalogue's order."""
    families = text(get(f"{url}/metrics")[1])
    return {(s.name, ordered(s.name, s.labels)): s.value for family in families for s in family.samples}


def ordered(name: str, labels: dict[str, str]) -> tuple[str, ...]:
    """Label values in the catalogue's order; in that of the exposition where the catalogue knows no such name."""
    known = catalog.BY_NAME[name].labels if name in catalog.BY_NAME else labels
    return tuple(labels[label] for label in known)


def test_sees_a_training_and_its_death() -> None:
    """A rank's series appear, its death shows as `killed`, and its last epoch stays readable."""
    with exporter() as (_, url), process(sys.executable, "-c", TRAINER) as trainer:
        assert trainer.stdout.readline() == "ready\n"
        batches = (catalog.TRAIN_BATCHES_TOTAL.name, ("demo", "0"))
        wait_for(lambda: series(url).get(batches, 0) > 3)
        assert series(url)[catalog.TRAIN_STATE.name, ("demo", "0", "train")] == 1
        trainer.kill()
        killed = (catalog.TRAIN_STATE.name, ("demo", "0", "killed"))
        wait_for(lambda: series(url)[killed] == 1)
        values = series(url)
        assert values[catalog.TRAIN_UP.name, ("demo", "0")] == 0
        assert values[catalog.TRAIN_EPOCH.name, ("demo", "0")] == 3
        assert "demo" in get(f"{url}/api/v1/runs")[1]


def test_restart_loses_no_count() -> None:
    """Counters live in the record: another exporter goes on where the first one was."""
    with process(sys.executable, "-c", TRAINER) as trainer:
        trainer.stdout.readline()
        batches = (catalog.TRAIN_BATCHES_TOTAL.name, ("demo", "0"))
        with exporter() as (_, url):
            wait_for(lambda: series(url).get(batches, 0) > 3)
            before = series(url)[batches]
        with exporter() as (_, url):
            wait_for(lambda: batches in series(url))
            assert series(url)[batches] > before


def test_expositions_are_valid() -> None:
    """Promtool has no complaint, and both formats parse to the same families."""
    promtool = require_binary("promtool")
    with exporter() as (_, url):
        _, plain, plain_type = get(f"{url}/metrics")
        _, modern, modern_type = get(f"{url}/metrics", Accept="application/openmetrics-text;version=1.0.0")
        lint = subprocess.run([promtool, "check", "metrics"], input=plain, capture_output=True, text=True, check=False)
    assert lint.stdout + lint.stderr == ""
    assert plain_type.startswith("text/plain")
    assert modern_type.startswith("application/openmetrics-text")
    assert {f"{f.name}" for f in text(plain)} - {"yoloscope_build_info"} == {f.name for f in openmetrics(modern)} - {
        "yoloscope_build"
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_cleanly(number: int) -> None:
    """SIGTERM and SIGINT end with exit code 0."""
    with exporter() as (child, _):
        child.send_signal(number)
        assert child.wait(10) == 0


def test_reload(tmp_path: Path) -> None:
    """SIGHUP takes over a changed file, keeps the old configuration when the new one is bad, and says why."""
    file = tmp_path / "yoloscope.yaml"
    file.write_text("collector: {memory: false}\n")
    total = (catalog.MEMORY_TOTAL_BYTES.name, ())
    with exporter(f"--config.file={file}") as (child, url):
        assert total not in series(url)
        file.write_text("collector: {memory: true}\nsample: {interval: 100ms}\n")
        child.send_signal(signal.SIGHUP)
        wait_for(lambda: total in series(url))
        file.write_text("colector: {memory: false}\n")
        child.send_signal(signal.SIGHUP)
        said = next(line for line in iter(child.stderr.readline, "") if "not reloaded" in line)
        assert "unknown key 'colector.memory'" in said
        assert total in series(url)


def test_reload_of_the_web_configuration(short_path: Path) -> None:
    """SIGHUP says what is wrong with it, without anybody having to connect; the address is a socket in a directory."""
    file, path = short_path / "web.yml", short_path / "web.sock"
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
    flags = (f"--web.listen-address=unix:{path}", f"--web.config.file={file}")
    with process(sys.executable, "-m", "yoloscope_exporter.cli", "serve", *flags) as child:
        lines = iter(child.stderr.readline, "")
        assert f"url=http+unix://{quote(str(path), safe='')}" in next(line for line in lines if "listening" in line)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
            assert b"x-frame-options: deny\r\n" in client.recv(1000)
        file.write_text("basic_auth_users: {ada: plain}\n")
        child.send_signal(signal.SIGHUP)
        assert "must be a bcrypt hash" in next(line for line in lines if "not reloaded" in line)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    assert not path.exists()


#: Files that no one error of YAML's covers, by what they are.
ODD = {
    "a date that does not exist": "sample: {interval: 2001-99-99}",
    "a tag that does not fit": "sample: {interval: !!int x}",
    "deep lists": "sample: " + "[" * 20_000,
    "deep mappings": "{a: " * 10_000,
    "a huge integer": f"sample: {{interval: {'9' * 5000}}}",
    "too long": "# a remark\n" * 10_000,
}
ODD_SETTINGS = {
    **ODD,
    "a mapping in itself": "&a {sample: *a}",
    "a huge hexadecimal number": f"sample: {{interval: 0x{'9' * 5000}}}",
    "a huge duration": f"sample: {{interval: {'9' * 400}d}}",
    "a NUL": 'path: {rootfs: "a\\0b"}',
    "half a character": 'path: {rootfs: "\\uD800"}',
}
ODD_WEB = {
    **ODD,
    "empty": "",
    "a remark": "# nothing\n",
    "an empty section": "basic_auth_users:\n",
    "passwords removed": "http_server_config: {headers: {X-Frame-Options: deny}}\n",
}
FILES = ("--config.file", "--web.config.file", "--diagnosis.thresholds")
#: How lines begin that say what became of a file that was read anew: one of the settings for each SIGHUP.
SETTINGS, WEB = 'msg="configuration ', 'msg="web configuration '
PASSWORD = "Basic " + base64.b64encode(b"ada:secret").decode()


class Guarded:
    """An exporter with passwords, and the two files it reads."""

    def __init__(self, child: subprocess.Popen[str], url: str, settings: Path, web: Path) -> None:
        """Take the files as they are for good."""
        self.child, self.url, self.settings, self.web = child, url, settings, web
        self._good = {path: path.read_text() for path in (settings, web)}

    def refuses(self, file: Path, content: str) -> str:
        """Put `content` in place of a file and reread all; what the log says of it. Then the file is as before."""
        told = WEB if file == self.web else SETTINGS  # a web configuration is read with the settings, too
        said = self._reread(file, content, *{told, SETTINGS})[told]
        assert "not reloaded" in said
        assert "configuration reloaded" in self._reread(file, self._good[file], SETTINGS)[SETTINGS]
        return said

    def _reread(self, file: Path, content: str, *parts: str) -> dict[str, str]:
        """Put it there and have all reread; the lines of the log with `parts`, which are all: it is over then."""
        self._put(file, content)
        self.child.send_signal(signal.SIGHUP)
        assert get(f"{self.url}/metrics")[0] == 401
        assert get(f"{self.url}/metrics", Authorization=PASSWORD)[0] == 200
        said: dict[str, str] = {}
        while len(said) < len(parts):
            line = self.child.stderr.readline()
            assert line
            for part in (SETTINGS, WEB):
                if part in line:
                    assert part in {*parts} - said.keys(), line
                    said[part] = line
        return said

    @staticmethod
    def _put(file: Path, content: str) -> None:
        """In one step, as editors do: half a file would be refused for what it lacks."""
        new = file.with_suffix(".new")
        new.write_text(content)
        new.replace(file)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One exporter for all the files."""
    base = tmp_path_factory.mktemp("guarded")
    settings, web = base / "yoloscope.yaml", base / "web.yml"
    settings.write_text("sample: {interval: 200ms}\n")
    web.write_text(f"basic_auth_users: {{ada: {bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}}}\n")
    with exporter(f"--config.file={settings}", f"--web.config.file={web}") as (child, url):
        yield Guarded(child, url, settings, web)


@pytest.mark.parametrize("name", ODD_SETTINGS)
def test_odd_settings_keep_the_old(guarded: Guarded, name: str) -> None:
    """The exporter goes on, and says in one line which file is wrong; passwords are asked for as before."""
    said = guarded.refuses(guarded.settings, ODD_SETTINGS[name])
    assert str(guarded.settings) in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ODD_WEB)
def test_odd_web_configurations_keep_the_old(guarded: Guarded, name: str) -> None:
    """Nobody is let in without a password, and everybody with the right one."""
    said = guarded.refuses(guarded.web, ODD_WEB[name])
    assert str(guarded.web) in said
    assert "Traceback" not in said
    assert name != "passwords removed" or "restart" in said


@pytest.mark.parametrize(
    ("option", "content"),
    [
        *((option, ODD[name]) for option in FILES for name in ("a date that does not exist", "deep lists")),
        ("--config.file", ODD_SETTINGS["a mapping in itself"]),
        ("--diagnosis.thresholds", f"input_share: 1{'0' * 400}"),
    ],
)
def test_odd_files_end_the_start_with_one_line(tmp_path: Path, option: str, content: str) -> None:
    """Exit code 2, no traceback."""
    file = tmp_path / "odd.yml"
    file.write_text(content)
    result = CliRunner().invoke(cli.main, ["serve", "--web.listen-address=127.0.0.1:0", f"{option}={file}"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.stderr
    assert str(file) in result.stderr


def test_what_wants_a_restart_is_said_by_its_name(tmp_path: Path) -> None:
    """As long as the file says so, at each reload; what else changed is taken over."""
    file = tmp_path / "yoloscope.yaml"
    file.write_text("sample: {interval: 200ms}\n")
    with exporter(f"--config.file={file}") as (child, _):
        for level in ("info", "debug"):
            file.write_text(f"web: {{telemetry-path: /other}}\npath: {{procfs: /}}\nlog: {{level: {level}}}\n")
            child.send_signal(signal.SIGHUP)
            lines = (line for line in iter(child.stderr.readline, "") if "restart" in line or "reloaded" in line)
            said = [next(lines) for _ in range(3)]
            assert ["needs a restart to change" in line for line in said] == [True, True, False], said
            assert "web.telemetry-path needs" in said[0]
            assert "path.procfs needs" in said[1]


def test_port_in_use() -> None:
    """A port that is taken is one line and exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        command = [sys.executable, "-m", "yoloscope_exporter.cli", "serve", f"--web.listen-address={address}"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 2
    taken_line = f"Error: --web.listen-address {address}: address already in use; choose another, or port 0\n"
    assert result.stderr == taken_line


def test_json_log() -> None:
    """--log.format=json writes one JSON object per line, the address among its fields."""
    command = (sys.executable, "-m", "yoloscope_exporter.cli", "serve", "--web.listen-address=127.0.0.1:0")
    with process(*command, "--log.format=json") as child:
        lines = map(json.loads, iter(child.stderr.readline, ""))
        line = next(line for line in lines if line["msg"] == "listening")
    assert line["url"].startswith("http://127.0.0.1:")
