"""`yoloscope notify` and `yoloscope run --notify` as processes: what comes in goes out, whatever happens between."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from yoloscope_exporter import pip_install
from yoloscope_exporter.cli import main

from tests import training
from tests.exporter.notify.json_service import Service
from tests.exporter.notify.notifications import alerts, notification
from tests.live import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
YOLOSCOPE = [sys.executable, "-m", "yoloscope_exporter.cli"]


@pytest.fixture
def service() -> Iterator[Service]:
    """A service on this machine."""
    with Service() as running:
        yield running


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a user's shell, with a state directory of its own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("YOLOSCOPE_")}
    kept["YOLOSCOPE_LANGUAGE"] = "en"
    path = os.pathsep.join([str(ROOT / "exporter"), str(ROOT / "trainer_hooks")])
    return kept | {"PYTHONPATH": path, "XDG_STATE_HOME": str(tmp_path), "YOLOSCOPE_DIR": str(tmp_path / "records")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "nonsense"], "--to: this is no address of a service: use dingtalk://SECRET@TOKEN"),
        (["--to", "http://["], "--to: this is no address of a service: use dingtalk://SECRET@TOKEN"),
        (["--to", "dingtalk://"], "--to: dingtalk://... is no address"),
        (["--listen", "9913"], "invalid address '9913': use for example 127.0.0.1:"),
        (["--language", "fr"], "'fr' is not one of 'en', 'zh-CN'"),
        (["--queue-size", "0"], "--queue-size"),
        (["--queue", "/dev/null/a"], "--queue /dev/null/a: "),
        (["--check"], "--check needs --to"),
    ],
)
def test_bad_input(arguments: list[str], said: str) -> None:
    """One line that names the option and the remedy, exit code 2."""
    result = CliRunner().invoke(main, ["notify", *arguments])
    assert result.exit_code == 2, result.output
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_without_apprise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    result = CliRunner().invoke(main, ["notify", "--to", "ntfy://topic"])
    assert f"--to needs Apprise: {pip_install('notify')}" in result.output


def test_an_address_in_use(service: Service, tmp_path: Path) -> None:
    """The option is named."""
    address = service.url.removeprefix("json://")
    result = CliRunner().invoke(main, ["notify", "--listen", address, "--queue", str(tmp_path)])
    assert result.exit_code == 2
    assert f"--listen {address}: address already in use" in result.output


def test_check(service: Service) -> None:
    """A test message to each; one that fails makes it exit with 1."""
    arguments = ["notify", "--check", "--language", "zh-CN", "--to", service.url]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert service.titles == ["yoloscope：测试消息"]  # noqa: RUF001 - Chinese
    service.away = True
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert re.search(r"失败 +json-\w+: .*503", result.output)


@contextmanager
def serving(environ: dict[str, str], *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A receiver in a process of its own, and the URL of its webhook."""
    command = [*YOLOSCOPE, "notify", "--listen", "127.0.0.1:0", *arguments]
    process = subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = next(line for line in process.stderr if "msg=listening" in line)
        yield process, re.findall(r"url=(\S+)", line)[0]
    finally:
        process.kill()
        process.communicate()


def post(url: str, body: bytes) -> int:
    """The status of the answer."""
    with urllib.request.urlopen(
        urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=10
    ) as answer:
        return int(answer.status)


def test_killed_while_the_service_is_away(environ: dict[str, str], service: Service) -> None:
    """What was answered with 200 arrives: after SIGKILL, with the next start, in its order."""
    service.away = True
    names = ["TrainingKilled/critical", "DataBound/warning", "GpuFaulty/critical"]
    with serving(environ, "--to", service.url) as (process, url):
        assert [post(url, notification(alerts()[name])) for name in names] == [200] * 3
        process.send_signal(signal.SIGKILL)
        process.wait()
    service.away = False
    with serving(environ, "--to", service.url) as (process, url):
        wait_for(lambda: len(service.got) == 3)
        post(url, notification(alerts()["CudaOutOfMemory/warning"]))
        wait_for(lambda: len(service.got) == 4)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) in {0, -signal.SIGTERM}
    summaries = [alerts()[name]["annotations"]["summary"] for name in [*names, "CudaOutOfMemory/warning"]]
    assert [title.partition("] ")[2] for title in service.titles] == summaries


RECORD = """
import os, sys, time
from pathlib import Path
from yoloscope_record import catalog, paths
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer
who = Identity("train/yolo11m")
path = paths.run_directory(paths.make_directory(paths.directory()), who.run) / who.filename
writer = Writer(path, who, {"launch": os.environ["YOLOSCOPE_LAUNCH"]})
writer.values[writer.slot(catalog.TRAIN_START_TIMESTAMP_SECONDS, who.run, "0")] = time.time() - 60
writer.begin()
writer.set_state("finished")
writer.end(time.time())
writer.close()
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize(("code", "said"), [(0, "已完成，用时"), (3, "失败，退出码 3，用时")])  # noqa: RUF001 - Chinese
def test_the_end_of_a_run(environ: dict[str, str], service: Service, code: int, said: str) -> None:
    """By its name in the record; the exit code and the output stay the training's."""
    arguments = ["--no-exporter", "--notify", service.url, "--language", "zh-CN"]
    command = [*YOLOSCOPE, "run", *arguments, "--", sys.executable, "-c", RECORD, str(code)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert len(service.got) == 1
    assert service.titles[0].startswith(f"train/yolo11m {said}")


@pytest.mark.train
@pytest.mark.slow
def test_the_end_of_a_real_training(service: Service, tmp_path: Path) -> None:
    """A real training, found among the records by the hooks' own fact: how far it came, and how fast."""
    told = {"YOLOSCOPE_NOTIFY": service.url, "XDG_STATE_HOME": str(tmp_path)}
    data = training.make_dataset(tmp_path / "data")
    done = training.train(data, tmp_path / "runs", model=training.TINY, epochs=2, hooks="run", environ=told)
    assert done.code == 0, done.output
    (got,) = service.got
    assert re.match(r"\S*test\S* finished after \d", got["title"])
    assert re.search(r"epochs 2/2 · images/s \d", got["message"])


def test_a_command_without_a_run(environ: dict[str, str], service: Service) -> None:
    """Killed before it trained: the command is named, and the signal."""
    kill = "import os; os.kill(os.getpid(), 9)"
    command = [*YOLOSCOPE, "run", "--no-exporter", "--notify", service.url, "--", sys.executable, "-c", kill]
    assert subprocess.run(command, env=environ, check=False).returncode == 137
    assert re.match(r".*python.* was killed by SIGKILL after \d", service.titles[0])


def test_one_task_of_a_job_tells_the_end(environ: dict[str, str], service: Service) -> None:
    """`srun yoloscope run` starts one for each node."""
    command = [*YOLOSCOPE, "run", "--no-exporter", "--notify", service.url, "--", sys.executable, "-c", "pass"]
    for task in ("1", "0"):
        subprocess.run(command, env=environ | {"SLURM_PROCID": task}, check=True)
        assert len(service.got) == (task == "0")


def test_no_address_for_the_end_of_a_run() -> None:
    """Is said before the training starts."""
    result = CliRunner().invoke(main, ["run", "--notify", "nonsense", "--", sys.executable])
    assert result.exit_code == 2
    assert "--notify: this is no address of a service" in result.output


def test_the_end_of_a_run_waits_for_a_service_that_is_away(
    environ: dict[str, str], service: Service, tmp_path: Path
) -> None:
    """On disk, and one line says so; the next run sends it first."""
    service.away = True
    quick = "from yoloscope_exporter.commands import run; run.NOTIFY_SECONDS = 0.5; "
    start = [sys.executable, "-c", f"{quick}from yoloscope_exporter.cli import main; main()"]
    command = [*start, "run", "--no-exporter", "--notify", service.url, "--", sys.executable, "-c"]
    done = subprocess.run([*command, "raise SystemExit(3)"], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert f"has not taken it: the message waits in {tmp_path}" in done.stderr
    service.away = False
    subprocess.run([*command, "pass"], env=environ, check=True)
    assert [" failed " in title for title in service.titles] == [True, False]
