"""The example notebooks, executed in real kernels with real trainings, and what they show."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from yoloscope_exporter.notebook.panels import panels
from yoloscope_exporter.recordings import reader
from yoloscope_exporter.reports.summary import known_runs

from tests.fake_nvml import FakeNvml, steps
from tests.live import wait_for
from tests.training import DEFAULTS, TINY, Options, environment, make_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbformat import NotebookNode

nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
nbclient = pytest.importorskip("nbclient", reason="needs the extra dev")
pytest.importorskip("plotly", reason="needs the extra notebook")

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"
ENGLISH, CHINESE = NOTEBOOKS / "watch.ipynb", NOTEBOOKS / "watch.zh-CN.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"
#: Seconds by which an image is slowed: pictures have a point every two seconds, and an epoch shall have several.
SLEEP, SLEEP_ALONE = 0.6, 0.3
#: What the notebooks' cell `parameters` is replaced by: no download, and loader workers on a CPU.
PARAMETERS = """
import sys; sys.path.insert(0, {tests!r})
import cpu_trainer
DATA, MODEL, EPOCHS = {data!r}, {model!r}, 3
SETTINGS = {settings!r} | {{"trainer": cpu_trainer.TRAINERS["detect"]}}
"""


def _read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def _code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_both_languages_have_the_same_code() -> None:
    """But for the language itself."""
    english, chinese = map(_code, map(_read, (ENGLISH, CHINESE)))
    assert [source.replace(', language="zh-CN"', "") for source in chinese] == english
    assert chinese != english


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    """Nobody's machine, paths and times."""
    notebook = _read(path)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)
    assert cells[0].metadata["tags"] == ["parameters"]


def _without_exporter() -> None:
    """The notebooks watch what answers on this machine, as anybody's do."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", 9911)) == 0:
            pytest.skip("an exporter runs on this machine, which would be watched")


@contextmanager
def _environ(changes: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _executed(path: Path, directory: Path, gpus: dict[str, str], **options: Any) -> NotebookNode:
    """The notebook with its outputs, after a training with these options."""
    data = make_dataset(directory / "data", images=16)
    chosen = Options(data=str(data), project=str(directory / "runs"), **options)
    settings = DEFAULTS | {"imgsz": 32, "batch": 4, "project": chosen.project, "name": "test"}
    notebook = _read(path)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    cell.source = PARAMETERS.format(tests=str(Path(__file__).parent), data=str(data), model=TINY, settings=settings)
    tests = {"CPU_TRAINER": json.dumps(chosen.__dict__), "IPYTHONDIR": str(directory / "ipython")}
    with _environ(environment(directory / "runs") | gpus | tests):
        nbclient.NotebookClient(
            notebook, timeout=150, kernel_name="python3", resources={"metadata": {"path": str(directory)}}
        ).execute()
    return notebook


def _shown(notebook: NotebookNode, mark: str) -> tuple[str, dict[str, Any]]:
    """Heading and figure below the cell with `mark`, as they are at the end."""
    (cell,) = [cell for cell in notebook.cells if cell.cell_type == "code" and mark in cell.source]
    data = [output["data"] for output in cell.outputs if "data" in output]
    (heading,) = ["".join(one["text/html"]) for one in data if "text/html" in one and PLOTLY not in one]
    (figure,) = [one[PLOTLY] for one in data if PLOTLY in one]
    return heading, figure


def _traces(figure: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace["type"] == kind]


@pytest.mark.train
@pytest.mark.slow
def test_the_english_notebook(tmp_path: Path) -> None:
    """Below the first cell stand three pictures with the data of the training of the second, and the verdict."""
    _without_exporter()
    nvml = FakeNvml(tmp_path, steps("healthy_h100x8")[0]).environment()
    gpus = {name: nvml[name] for name in ("LD_LIBRARY_PATH", "FAKE_NVML_CONTROL")}
    done = _executed(ENGLISH, tmp_path, gpus, workers=2, image_sleep=SLEEP)
    heading, figure = _shown(done, "watch(")

    lines = _traces(figure, "scatter")
    assert len(lines) == 3 * 8
    assert all(len(line["x"]) >= 3 for line in lines)
    titles = [note["text"] for note in figure["layout"]["annotations"]]
    assert titles[:3] == ["<b>GPU utilization</b>", "<b>GPU memory used</b>", "<b>Temperature</b>"]

    (heat,) = _traces(figure, "heatmap")
    assert heat["y"] == ["worker 0", "worker 1"]
    known = [value for row in heat["z"] for value in row if value is not None]
    assert known
    assert all(value >= 4 * 1000 * SLEEP for value in known)  # ms: four images of a batch, each slowed

    (memory,) = _traces(figure, "bar")
    assert memory["x"][-2:] == ["2", "3"]  # the first may be over before the exporter looks
    assert all(0.1 < gib < 8 for gib in memory["y"])
    assert any("trained on the CPU" in title for title in titles)

    assert "run runs/test" in heading
    assert "this node" in heading
    assert (tmp_path / "run.html").stat().st_size > 100_000


@pytest.mark.train
@pytest.mark.slow
def test_the_chinese_notebook_without_a_gpu(tmp_path: Path) -> None:
    """It says that there is none, draws no empty axes, and shows the process that loads its data itself."""
    _without_exporter()
    done = _executed(CHINESE, tmp_path, {}, workers=0, image_sleep=SLEEP_ALONE)
    heading, figure = _shown(done, "watch(")
    texts = [note["text"] for note in figure["layout"]["annotations"]]
    assert "本节点没有 GPU。" in texts
    assert not _traces(figure, "scatter")
    assert len([name for name in figure["layout"] if name.startswith("xaxis")]) == 2
    (heat,) = _traces(figure, "heatmap")
    assert heat["y"] == ["训练进程"]
    assert any(value for row in heat["z"] for value in row)
    assert _traces(figure, "bar")[0]["x"][-2:] == ["2", "3"]  # the first may be over before the exporter looks
    assert "训练任务 runs/test" in heading


WATCHED = """
from yoloscope_exporter.notebook import watch, watching
pictures = watch(recording={recording!r}, background={background}, language="en")
print("PID", pictures._helper._process.pid)
"""
RECORDING = Path(__file__).parent / "recordings" / "loader_workers.om.gz"


def _run(sources: list[str], **options: Any) -> tuple[NotebookNode, Any]:
    """Cells executed in a kernel that goes on; end it with `client._cleanup_kernel()`."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    client = nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", **options)
    client.create_kernel_manager()
    client.start_new_kernel()
    client.start_new_kernel_client()
    for index, cell in enumerate(notebook.cells):
        client.execute_cell(cell, index)
    return notebook, client


def _pid(notebook: NotebookNode) -> int:
    texts = [output.text for cell in notebook.cells for output in cell.outputs if output.output_type == "stream"]
    return int("".join(texts).split("PID ")[1].split()[0])


@pytest.mark.slow
def test_the_second_process_ends_with_the_kernel() -> None:
    """However the kernel ends, and without anybody saying so."""
    notebook, client = _run([WATCHED.format(recording=str(RECORDING), background=False)])
    helper = _pid(notebook)
    assert psutil.pid_exists(helper)
    kernel = psutil.Process(helper).ppid()
    assert os.getpgid(helper) != os.getpgid(kernel)  # Jupyter interrupts all of the kernel's group
    os.kill(kernel, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(helper), timeout=15, what="the second process ends")
    client._cleanup_kernel()


@pytest.mark.slow
def test_it_draws_while_the_kernel_is_blocked(tmp_path: Path) -> None:
    """A recording grows while a cell computes: the picture of the cell before has all of it when that cell ends."""
    lines = gzip.decompress(RECORDING.read_bytes()).decode().splitlines(keepends=True)
    half, whole = tmp_path / "night.om", tmp_path / "whole.om"
    half.write_text("".join(lines[: len(lines) // 2]))
    whole.write_text("".join(lines))
    before = _epochs(half)
    blocked = (
        f"import shutil, time\nshutil.copy({str(whole)!r}, {str(half)!r})\n"
        "end = time.monotonic() + 8\nwhile time.monotonic() < end: sum(range(100_000)); time.sleep(0.02)"
    )
    notebook, client = _run([WATCHED.format(recording=str(half), background=True), blocked])
    try:
        _, figure = _shown(notebook, "watch(")
    finally:
        client._cleanup_kernel()
    (bars, *_) = _traces(figure, "bar")
    assert len(bars["x"]) == _epochs(whole) > before


def _epochs(path: Path) -> int:
    stores = reader.read(path)
    return len(panels(stores, known_runs(stores)[-1]).memory)


@pytest.mark.slow
def test_refreshing_and_running_again() -> None:
    """`refresh()` draws in the place of before; the same cell once more has a picture of its own, from one process."""
    again = WATCHED.format(recording=str(RECORDING), background=False)
    notebook, client = _run([again, "pictures.refresh()", again, "watch(recording='nowhere.om')"], allow_errors=True)
    try:
        first, second, third, wrong = notebook.cells
        assert len([one for one in first.outputs if one.output_type == "display_data"]) == 2
        assert second.outputs == []
        assert len([one for one in third.outputs if one.output_type == "display_data"]) == 2
        assert _pid(notebook) == int(third.outputs[-1].text.split()[-1])
        assert wrong.outputs[0].evalue.startswith("recording='nowhere.om': no such file")
    finally:
        client._cleanup_kernel()
