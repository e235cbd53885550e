"""`yoloscope report`: one run, two runs, the black box; Markdown, HTML; bad input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from yoloscope_exporter.cli import main
from yoloscope_exporter.recordings.writer import Writer

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
    assert "95% sure" in text
    assert "<svg" in (tmp_path / "c.html").read_text()


def test_a_run_in_two_clusters_is_two_runs(tmp_path: Path) -> None:
    """One has to be chosen."""
    both = federated(tmp_path, east=Plan(run="exp", workers=1, epochs=1), west=Plan(run="exp", epochs=1))
    refused = run("--recording", both, "exp")
    assert refused.exit_code == 2
    assert "exp is a run in the clusters east, west; choose one with --cluster" in refused.output
    assert "loader_workers" in run("--recording", both, "exp", "--cluster", "east").output
    assert "loader_workers" not in run("--recording", both, "exp", "--cluster", "west").output
    assert "no such cluster; known clusters: east, west" in run("--recording", both, "exp", "--cluster", "n").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no runs in"),
        (("a", "b", "c"), "name one run, or two to compare"),
        (("nobody",), "no run 'nobody' on this machine"),
        (("night.om.gz",), "night.om.gz: no such file"),
        (("{folder}/both.om",), "holds 2 runs; choose with --recording"),
        (("--recording", "{folder}/both.om", "x"), "there are starved, mended"),
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
