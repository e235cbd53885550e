"""`yoloscope report`: one run, two runs, the black box; Markdown, HTML; bad input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from yoloscope_exporter import catalog
from yoloscope_exporter.cli import main
from yoloscope_exporter.commands import report
from yoloscope_exporter.recordings.writer import Writer
from yoloscope_record.file_format import Identity
from yoloscope_record.paths import run_directory
from yoloscope_record.writer import Writer as RecordWriter

from tests.recordings.federated import federated
from tests.recordings.model import Plan, moments

if TYPE_CHECKING:
    from pathlib import Path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def record(path: Path, *plans: Plan) -> Path:
    writer = Writer(path)
    for index, plan in enumerate(plans):
        for time, samples in moments(plan, 2.0, 1_790_000_000.0 + 1000 * index):
            writer.samples(time, samples)
    writer.close()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of one starved run, one mended run, and both."""
    path = tmp_path_factory.mktemp("recordings")
    starved, mended = Plan(run="starved", workers=1, epochs=2, batches=60), Plan(run="mended", epochs=2, batches=60)
    record(path / "starved.om", starved)
    record(path / "mended.om.gz", mended)
    record(path / "both.om", starved, mended)
    return path


def test_one_run(folder: Path) -> None:
    """Figures, time budget, epochs, workers and verdicts as Markdown."""
    result = run(folder / "starved.om")
    assert result.exit_code == 0, result.output
    for part in (
        "# starved",
        "Where the time went",
        "| data_wait |",
        "## Epochs",
        "## Loader workers",
        "loader_workers",
    ):
        assert part in result.output


@pytest.mark.parametrize("arguments", [("starved.om", "mended.om.gz"), ("--recording", "both.om", "starved", "mended")])
def test_two_runs_and_a_page(folder: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """From two files or from one; the table first, the page beside it."""
    names = [str(folder / name) if "." in name else name for name in arguments]
    result = run(*names, "--html", tmp_path / "c.html", "--markdown", tmp_path / "c.md")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "c.md").read_text()
    assert "| throughput while training (images/s) |" in text
    assert "more than the runs' own spread" in text
    assert "<svg" in (tmp_path / "c.html").read_text()


def test_any_number_of_runs(folder: Path, tmp_path: Path) -> None:
    """A column each, and a part of the page."""
    result = run(
        *[folder / name for name in ("starved.om", "mended.om.gz", "starved.om")], "--html", tmp_path / "c.html"
    )
    assert result.exit_code == 0, result.output
    assert "| 1: starved | 2: mended | 3: starved |" in result.output
    page = (tmp_path / "c.html").read_text()
    assert all(f">{number}: {name}</h2>" in page for number, name in ((1, "starved"), (2, "mended"), (3, "starved")))


def test_repetitions(folder: Path) -> None:
    """Every name up to the next option is one of the second group's."""
    starved, mended = str(folder / "starved.om"), str(folder / "mended.om.gz")
    result = run(starved, starved, "--vs", mended, mended, mended, "--cluster", "")
    assert result.exit_code == 0, result.output
    assert "| before: starved, starved | after: mended, mended, mended |" in result.output
    assert " | significant (n=2+3) |" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        "A A --vs B --vs B B",
        "A A --vs=B B B",
        "A A --vs B --vs=B --vs B",
        "A A --vs B B --cluster= --vs B",
        "--vs B B B --gate 50% A A",
        "--vs B B B -- A A",
        "--cluster= A A --vs B B B",
    ],
)
def test_every_way_to_name_the_second_group(folder: Path, arguments: str) -> None:
    """It is never the first one's, and no option's value is a run."""
    files = {"A": folder / "mended.om.gz", "B": folder / "starved.om"}
    result = run(*(files.get(word, word.replace("=B", f"={files['B']}")) for word in arguments.split()))
    assert "| before: mended, mended | after: starved, starved, starved |" in result.output


def test_gate(folder: Path) -> None:
    """1 where the second run is slower beyond doubt, 0 where it is not, 2 where that cannot be said."""
    starved, mended = folder / "starved.om", folder / "mended.om.gz"
    slower = run(mended, starved, "--gate", "5%")
    assert (slower.exit_code, "slower by more than 5.0%" in slower.output) == (1, True)
    assert run(starved, mended, "--gate", "5%").exit_code == 0
    assert run(starved, starved, "--gate", "0%").exit_code == 0
    repeated = run(mended, mended, "--vs", starved, starved, "--gate", "5%")
    assert (repeated.exit_code, "slower by more than 5.0%, 95% sure\n" in repeated.output) == (1, True)
    short = record(folder / "short.om", Plan(run="short", epochs=1, batches=4))
    unknown = run(mended, short, "--gate", "5%")
    assert unknown.exit_code == 2
    assert "too little was seen" in unknown.output
    assert "  2  bad input, or --gate" in run("--help").output


@pytest.mark.parametrize(("first", "second"), [("mended.om.gz", "starved.om"), ("starved.om", "mended.om.gz")])
def test_gate_on_one_run_each_says_what_it_cannot_tell(folder: Path, first: str, second: str) -> None:
    """Whichever way it ends; and it never claims 95 %."""
    line = run(folder / first, folder / second, "--gate", "5%", "--markdown", folder / "g.md").stderr.splitlines()[-1]
    assert line.startswith("gate: ")
    assert " (x " in line
    assert "One run each says nothing about what a repetition would give" in line
    assert "95%" not in line


def test_gate_asks_more_of_one_run_each(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A doubt of 4 % is small enough of repetitions only."""
    monkeypatch.setattr(report, "chance_of_slowdown", lambda *_: 0.04)
    starved, mended = folder / "starved.om", folder / "mended.om.gz"
    assert run(mended, starved, "--gate", "5%").exit_code == 0
    assert run(mended, mended, "--vs", starved, starved, "--gate", "5%").exit_code == 1


def test_a_run_in_two_clusters_is_two_runs(tmp_path: Path) -> None:
    """One has to be chosen."""
    both = federated(tmp_path, east=Plan(run="exp", workers=1, epochs=1), west=Plan(run="exp", epochs=1))
    refused = run("--recording", both, "exp")
    assert refused.exit_code == 2
    assert "exp is a run in the clusters east, west; choose one with --cluster" in refused.output
    assert "loader_workers" in run("--recording", both, "exp", "--cluster", "east").output
    assert "loader_workers" not in run("--recording", both, "exp", "--cluster", "west").output
    assert "no such cluster; known clusters: east, west" in run("--recording", both, "exp", "--cluster", "n").output


def test_the_beginning_of_a_name_is_enough(folder: Path) -> None:
    """Of a run in a recording."""
    whole, part = (run("--recording", folder / "both.om", name) for name in ("starved", "star"))
    assert whole.exit_code == part.exit_code == 0
    assert part.output == whole.output


def leave_a_record(base: Path, name: str, start: float = 1_790_000_000.0) -> None:
    """Of a run that had begun and was killed."""
    identity = Identity(name)
    writer = RecordWriter(run_directory(base, name) / identity.filename, identity)
    slot = writer.slot(catalog.TRAIN_START_TIMESTAMP_SECONDS, name, "0")
    writer.begin()
    writer.set_state("train")
    writer.append((1_790_000_001.0, 0.1, 0.2, 3e9, 4e9, 1, 0, 1))
    writer.values[slot] = start
    writer.end(1_790_000_001.0)
    writer.close()


def test_the_beginning_of_a_name_finds_its_record(tmp_path: Path) -> None:
    """With the project or without; of two runs with this beginning both are named."""
    base = tmp_path / "records"
    names = ("train/yolo11m-20261127-101625", "train/night-20261127-111625", "train/night-20261127-121625")
    for place, name in enumerate(names):
        leave_a_record(base, name, 1_790_000_000.0 + place)
    for wanted in ("train/yolo11m", "yolo11m", "train/yolo11m-20261127-101625"):
        found = run("--records", base, "--black-box", wanted)
        assert found.exit_code == 0, found.output
        assert found.output.startswith("train/yolo11m-20261127-101625: ")
    several = run("--records", base, "--black-box", "train/night")
    assert several.exit_code == 2
    assert all(name in several.output for name in ("train/night-20261127-111625", "train/night-20261127-121625"))
    assert "write more of the name" in several.output
    newest = run("--records", base)
    assert newest.output.startswith(f"# {names[-1]}\n"), newest.output
    wrong = run("--records", base, "train/yolo12m")
    assert "did you mean train/yolo11m-20261127-101625?" in wrong.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no runs in"),
        (("a", "--vs", "b", "c"), "name at least two on either side"),
        (("a", "--vs"), "Option '--vs' requires an argument"),
        (("a", "--vs", "--gate", "5%"), "Option '--vs' requires an argument"),
        (("a", "b", "--vs", "c", "d", "--gate", "5%", "e"), "e: name each group's runs together"),
        (("--vs", "b"), "name one run, or several to compare"),
        (("a", "b", "c", "--gate", "5%"), "--gate compares two runs, or two groups"),
        (("a", "b", "--gate", "5"), "'5' is no share; use for example 5%"),
        (("a", "b", "--gate", "120%"), "'120%' is no share"),
        (("nobody",), "no run 'nobody' on this machine"),
        (("night.om.gz",), "night.om.gz: no such file"),
        (("{folder}/both.om",), "holds 2 runs; choose with --recording"),
        (("--recording", "{folder}/both.om", "x"), "known runs: starved, mended"),
        (("--recording", "{folder}/both.om", "stawed"), "did you mean starved? known runs: starved, mended"),
        (("--black-box", "a", "b"), "name one run"),
        (("{folder}/starved.om", "--html", "{folder}/no/x.html"), "No such file"),
        (("--prometheus", "http://127.0.0.1:1", "x"), "does not answer"),
    ],
)
def test_bad_input_is_one_line(folder: Path, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """It names the thing and exits with 2."""
    result = run("--records", tmp_path, *(argument.format(folder=folder) for argument in arguments))
    assert result.exit_code == 2, result.output
    assert said in next(line for line in result.output.splitlines() if line.startswith("Error:"))
