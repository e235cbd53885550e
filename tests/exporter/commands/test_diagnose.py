"""`yoloscope diagnose`: three sources, three formats, exit codes, bad input."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml
from click.testing import CliRunner, Result
from yoloscope_exporter import catalog, config
from yoloscope_exporter.cli import main
from yoloscope_exporter.commands.serve import serve
from yoloscope_exporter.recordings.writer import Writer
from yoloscope_exporter.service.exporter import running

from tests import training
from tests.recordings import cases
from tests.recordings.federated import federated
from tests.recordings.model import Plan, moments
from tests.zone import local_time

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["diagnose", *map(str, arguments)])


def record(path: Path, plan: Plan) -> Path:
    writer = Writer(path)
    for time, samples in moments(plan, 2.0):
        writer.samples(time, samples)
    writer.close()
    return path


@pytest.fixture(scope="module")
def starved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a training that waits for data."""
    return record(tmp_path_factory.mktemp("starved") / "starved.om.gz", Plan(workers=1, epochs=1, batches=120))


def test_a_recording_as_text(starved: Path) -> None:
    """Verdict, evidence, verification, remedy and gain, for people; exit code 1."""
    result = run("--recording", starved)
    assert result.exit_code == 1
    for part in ("loader_workers", "waits for data", "htop", "workers=4", "images/s", "of the training time"):
        assert part in result.output


def test_a_recording_as_json(starved: Path) -> None:
    """The interface others build on."""
    result = run("--recording", starved, "--format", "json")
    content = json.loads(result.output)
    (rank,) = content["runs"]
    assert {"run", "rank", "state", "verdicts"} <= set(rank)
    (verdict,) = rank["verdicts"]
    assert {"name", "severity", "evidence", "cause", "verify", "fix", "gain"} <= set(verdict)
    assert (verdict["name"], verdict["severity"], verdict["fix"]) == ("loader_workers", "warning", "workers=4")
    assert verdict["when"][0][0].startswith("20")


def test_a_recording_as_markdown(starved: Path) -> None:
    """A table for a ticket."""
    result = run("--recording", starved, "--format", "markdown")
    assert "| loader_workers (" in result.output


def test_a_healthy_recording_exits_with_0(tmp_path: Path) -> None:
    """`compute_bound` is listed as ok and is no finding."""
    result = run("--recording", record(tmp_path / "a.om", Plan(epochs=1, batches=120)), "--format", "json")
    assert result.exit_code == 0
    assert [v["severity"] for v in json.loads(result.output)["runs"][0]["verdicts"]] == ["ok"]


def test_no_verdict_is_not_health(tmp_path: Path) -> None:
    """Too early is code 3, with the reason; so is a run of which too little is known; 0 is only for a healthy one."""
    early = run("--recording", record(tmp_path / "a.om", Plan(epochs=0, setup=60.0, end="running")))
    assert early.exit_code == 3
    assert "train/yolo11m, rank 0 (setup)" in early.output
    assert "no verdict: too early: the run is in its set-up" in early.output
    unknown = run("--recording", cases.path("no_phases"))
    assert unknown.exit_code == 3
    assert "insufficient_data" in unknown.output
    blind = Plan(epochs=1, batches=80, without=(catalog.TRAIN_PHASE_SECONDS_TOTAL, catalog.TRAIN_BATCHES_TOTAL))
    assert run("--recording", record(tmp_path / "b.om", blind), "--run", blind.run).exit_code == 3


def test_a_set_up_that_takes_long_is_a_finding() -> None:
    """With its stage, its progress and what makes it short, although nothing was trained."""
    result = run("--recording", cases.path("setup_slow"))
    assert result.exit_code == 1
    for part in ("setup_slow", "in set-up for ", "now in the stage scan, 9", "labels.cache"):
        assert part in result.output


def test_a_verdict_that_ended_says_so() -> None:
    """When, in local time with its offset, and that the run has been healthy since; programs read UTC."""
    with local_time("Asia/Shanghai"):
        shown = run("--recording", cases.path("setup_slow_cache")).output
        told = run("--recording", cases.path("setup_slow_cache"), "--format", "json").output
    assert "+08:00 (until 22:20:" in shown
    assert "; healthy since)" in shown
    (ended,) = [one for one in json.loads(told)["runs"][0]["verdicts"] if one["name"] == "setup_slow"]
    assert ended["after"] == "healthy since"
    assert "T14:20:" in ended["when"][-1][1]
    assert "until" not in run("--recording", cases.path("loader_workers")).output


def test_the_advice_as_a_file_for_yolo(starved: Path, tmp_path: Path) -> None:
    """A YAML of Ultralytics arguments, with what it rests on."""
    target = tmp_path / "better.yaml"
    run("--recording", starved, "--write-cfg", target)
    assert yaml.safe_load(target.read_text()) == {"mode": "train", "workers": 4}
    assert "# loader_workers: 58% of training time waits for data" in target.read_text()


def test_advice_is_written_for_one_run(tmp_path: Path) -> None:
    """Of two trainings on a node one is to be chosen: what helps one may harm the other."""
    two, target = cases.path("two_runs"), tmp_path / "better.yaml"
    result = run("--recording", two, "--write-cfg", target)
    assert result.exit_code == 2
    assert "choose one run with --run; known runs: " in result.output
    assert not target.exists()


#: The command line of Ultralytics up to the training itself, which is replaced by saying what it was called with.
ENTRY = """
import json, sys
import ultralytics.cfg
import ultralytics.models
ultralytics.models.YOLO.train = lambda self, **given: print("TRAINED", json.dumps(given))
ultralytics.cfg.entrypoint(sys.argv[1])
"""


def test_yolo_accepts_that_file(starved: Path, tmp_path: Path) -> None:
    """`yolo train cfg=FILE ...` trains, with the advice and with what stands beside it, in the oldest version too."""
    target = tmp_path / "better.yaml"
    run("--recording", starved, "--write-cfg", target)
    words = f"yolo train cfg={target} model=yolo11n.yaml data=coco8.yaml epochs=3"
    environ = training.environment(tmp_path / "runs", "8.3.9")
    done = subprocess.run([sys.executable, "-c", ENTRY, words], env=environ, capture_output=True, text=True, check=True)
    given = json.loads(done.stdout.split("TRAINED", 1)[1].splitlines()[0])
    assert (given["workers"], given["epochs"], given["data"]) == (4, 3, "coco8.yaml")


def test_thresholds_from_a_file(starved: Path, tmp_path: Path) -> None:
    """What one calls starved is one's own business."""
    (tmp_path / "t.yaml").write_text("input_share: 0.9\ncompute_share: 0.2\ngpu_low: 0\n")
    assert run("--recording", starved, "--thresholds", tmp_path / "t.yaml").exit_code == 0


def test_a_running_exporter(tmp_path: Path) -> None:
    """Asked over HTTP; with no training there it is no data, and that is said with what to do."""
    settings = config.resolve(serve, ["--web.listen-address=127.0.0.1:0", "--no-collector.disk"])
    with running(settings) as exporter:
        result = run("--exporter", exporter.server.url)
        found = json.loads(run("--exporter", exporter.server.url, "--format", "json").output)
    assert result.exit_code == 2
    assert "yoloscope run --" in result.output
    (note,) = found.pop("notes")
    assert note == f"told by the exporter at {exporter.server.url} (user {getpass.getuser()})"
    assert found == {"runs": [], "from": None, "to": None}


def test_verbose_says_what_was_not_judged(starved: Path) -> None:
    """Abstention is visible."""
    assert "straggler            lag, peer_exposed_share" in run("--recording", starved, "-v").output


def test_one_cluster_of_two(tmp_path: Path) -> None:
    """Runs of the same name in two clusters are told apart, and one can be chosen."""
    both = federated(tmp_path, east=Plan(run="exp", workers=1, epochs=1), west=Plan(run="exp", epochs=1))
    found = json.loads(run("--recording", both, "--format", "json").output)["runs"]
    assert [(one["cluster"], one["verdicts"][0]["name"]) for one in found] == [
        ("east", "loader_workers"),
        ("west", "compute_bound"),
    ]
    result = run("--recording", both, "--run", "exp", "--cluster", "east")
    assert "exp, rank 0, cluster east (finished)" in result.output
    assert "west" not in result.output
    refused = run("--recording", both, "--cluster", "north")
    assert (refused.exit_code, refused.output.splitlines()[-1]) == (
        2,
        "Error: --cluster north: no such cluster; known clusters: east, west",
    )
    assert "exp in east, exp in west" in run("--recording", both, "--write-cfg", tmp_path / "x").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--recording", "{bad}"), "no samples of yoloscope"),
        (("--recording", "{missing}"), "does not exist"),
        (("--recording", "{starved}", "--exporter", "http://x"), "choose one of"),
        (("--recording", "{starved}", "--run", "other"), "no such run; known runs: train/yolo11m"),
        (("--recording", "{starved}", "--thresholds", "{typo}"), "unknown threshold 'input_shar'"),
        (("--recording", "{starved}", "--thresholds", "{wrong}"), "input_share must be a number of 0 or more"),
        (("--recording", "{starved}", "--write-cfg", "{missing}/x"), "No such file"),
        (("--exporter", "http://127.0.0.1:1"), "does not answer"),
        (("--prometheus", "http://127.0.0.1:1"), "does not answer"),
        (("--prometheus", "http://127.0.0.1:1", "--since", "soon"), "invalid duration"),
    ],
)
def test_bad_input_is_one_line(starved: Path, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """It names the thing, exits with 2, shows no traceback."""
    for name, content in (("bad", "x\n"), ("typo", "input_shar: 1\n"), ("wrong", "input_share: yes\n")):
        (tmp_path / name).write_text(content)
    names = {name: tmp_path / name for name in ("bad", "typo", "wrong", "missing")}
    result = run(*(argument.format(starved=starved, **names) for argument in arguments))
    assert result.exit_code == 2
    errors = [line for line in result.output.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert said in errors[0]
