"""`yoloscope simulate`: served as by real exporters, written as promtool takes it, clear about what it cannot do."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from yoloscope_exporter.commands.simulate import announced, serving, simulate, target_groups
from yoloscope_exporter.config.types import Address
from yoloscope_exporter.simulation import fleet

from tests.conftest import require_binary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START = 1_700_000_000.0


@contextmanager
def _served(nodes: int = 2, seconds: float = 500.0) -> Iterator[str]:
    made = fleet("healthy", nodes, 2, start=START, workers=2)
    with serving(made, Address("127.0.0.1", 0), wall=lambda: START + seconds) as server:
        yield server.url


def _get(url: str, **headers: str) -> str:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_serves_every_node() -> None:
    """Each node has its own metrics; what lies beyond the last is refused with a hint."""
    with _served() as url:
        pages = [_get(f"{url}/node/{number}/metrics") for number in (0, 1)]
        assert 'run="train/yolo11m-0000"' in pages[0]
        assert 'run="train/yolo11m-0001"' in pages[1]
        with pytest.raises(urllib.error.HTTPError) as caught:
            _get(f"{url}/node/2/metrics")
        assert caught.value.code == 404
        assert b"/node/1/metrics" in caught.value.read()


def test_prometheus_accepts_what_is_served() -> None:
    """Promtool parses the exposition; OpenMetrics is spoken to whom asks for it."""
    with _served(1) as url:
        plain = _get(f"{url}/node/0/metrics")
        modern = _get(f"{url}/node/0/metrics", Accept="application/openmetrics-text;version=1.0.0")
    done = subprocess.run(
        [require_binary("promtool"), "check", "metrics"], input=plain, capture_output=True, text=True, check=False
    )
    assert "parse error" not in done.stderr
    assert done.returncode in {0, 3}, done.stderr  # 3: parsed, with remarks on names, which are the catalogue's matter
    assert modern.endswith("# EOF\n")


def test_targets_are_those_of_http_sd() -> None:
    """One group per node: the server's address, the node's path and its instance label."""
    with _served() as url:
        groups = json.loads(_get(f"{url}/targets"))
    assert [group["labels"]["instance"] for group in groups] == ["node0000:9911", "node0001:9911"]
    assert groups[1]["labels"]["__metrics_path__"] == "/node/1/metrics"
    assert groups[1]["targets"] == [url.removeprefix("http://")]


def test_targets_fit_file_sd(tmp_path: Path) -> None:
    """Promtool finds every node in a written target file."""
    made = fleet("healthy", 3, 1, start=START)
    with serving(made, Address("127.0.0.1", 0)) as server:
        groups = target_groups(server.app, "127.0.0.1:9")
    (tmp_path / "exporter-simulated.yml").write_text(json.dumps(groups), encoding="utf-8")
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(
        "scrape_configs: [{job_name: yoloscope, file_sd_configs: [{files: ['exporter-*.yml']}]}]", encoding="utf-8"
    )
    command = [require_binary("promtool"), "check", "service-discovery", "--timeout=2s", configuration, "yoloscope"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    labels = [found["labels"] for found in json.loads(done.stdout)]
    assert {found["instance"] for found in labels} == {f"node000{number}:9911" for number in range(3)}
    assert {found["__metrics_path__"] for found in labels} == {f"/node/{number}/metrics" for number in range(3)}


def test_targets_are_there_while_the_nodes_are(tmp_path: Path) -> None:
    """A target file left behind would be nodes that are down, and alerts about them."""
    targets = tmp_path / "exporter-simulated.yml"
    command = [sys.executable, "-m", "yoloscope_exporter.cli", "simulate", "--web.listen-address=127.0.0.1:0"]
    with subprocess.Popen([*command, f"--targets={targets}"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "1 node at" in process.stderr.readline()
        (group,) = json.loads(targets.read_text(encoding="utf-8"))
        assert "yoloscope_gpu_up" in _get(f"http://{group['targets'][0]}{group['labels']['__metrics_path__']}")
        process.terminate()
    assert process.returncode == 0
    assert not targets.exists()


@pytest.mark.parametrize("there", ["[]", "- targets: [n1:9911]\n", '[{"targets": ["n1:9911"]}]', "milk"])
def test_targets_of_others_stay(tmp_path: Path, there: str) -> None:
    """They would be overwritten, and removed at the end; what a killed simulation has left is nobody's."""
    targets = tmp_path / "exporter.yml"
    targets.write_text(there, encoding="utf-8")
    if there == "[]":
        with announced(targets, [{"labels": {"__metrics_path__": "/node/0/metrics"}}]):
            left = targets.read_text(encoding="utf-8")
        targets.write_text(left, encoding="utf-8")
        with announced(targets, []):
            pass
        assert not targets.exists()
        return
    with pytest.raises(click.BadParameter, match="something else"), announced(targets, []):
        pass
    assert targets.read_text(encoding="utf-8") == there


def test_targets_by_a_link(tmp_path: Path) -> None:
    """It is what the link leads to that Prometheus reads; others may have come meanwhile, and stay."""
    link, targets = tmp_path / "link.yml", tmp_path / "exporter.yml"
    link.symlink_to(targets)
    with announced(link, []):
        assert targets.exists()
    assert not targets.exists()
    with announced(link, []):
        targets.write_text("mine", encoding="utf-8")
    assert targets.read_text(encoding="utf-8") == "mine"


def test_written_history_becomes_blocks(tmp_path: Path) -> None:
    """Promtool makes blocks of a written history, with every series of both nodes."""
    history, data = tmp_path / "history.om", tmp_path / "data"
    arguments = ["--nodes=2", "--gpus=1", "--workers=1", "--range=5m", "--step=30s", f"--end={START}"]
    result = CliRunner().invoke(
        simulate, [*arguments, "--scenario=healthy", "--scenario=starved", f"--write={history}"]
    )
    assert result.exit_code == 0, result.output
    promtool = require_binary("promtool")
    subprocess.run(
        [promtool, "tsdb", "create-blocks-from", "openmetrics", history, data], check=True, capture_output=True
    )
    (data / "wal").mkdir()  # promtool reads no directory without one
    found = [
        subprocess.run([promtool, "tsdb", "dump", data], capture_output=True, text=True, check=True).stdout.count(
            f'instance="{instance}"'
        )
        for instance in ("node0000:9911", "node0001:9911")
    ]
    assert min(found) > 11 * 200  # eleven scrapes of a small node
    text = history.read_text(encoding="utf-8")
    assert "# TYPE yoloscope_train_images counter\n" in text
    assert text.endswith("# EOF\n")


def test_written_history_repeats() -> None:
    """The same seed and end give the same bytes, on the standard output, too."""
    arguments = ["--gpus=1", "--range=1m", f"--end={START}", "--write=-", "--seed=3"]
    first, second = (CliRunner().invoke(simulate, arguments).output for _ in range(2))
    assert first == second
    assert "yoloscope_gpu_utilization_ratio" in first


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--scenario=lazy"], "starved"),
        (["--ranks=9"], "--gpus 8"),
        (["--onset=soon"], "duration"),
        (["--nodes=0"], "--nodes"),
        (["--write=/nonexistent/file"], "cannot write"),
        (["--web.listen-address=nowhere"], "127.0.0.1:9911"),
    ],
)
def test_mistakes_are_named(arguments: list[str], named: str) -> None:
    """A wrong option costs exit code 2 and a line that says what is allowed."""
    result = CliRunner().invoke(simulate, arguments)
    assert result.exit_code == 2
    assert named in result.output


def test_address_in_use_is_said() -> None:
    """Two servers cannot have one address: the second says so, and what to do."""
    with _served(1) as url:
        result = CliRunner().invoke(simulate, ["--web.listen-address", url.removeprefix("http://")])
    assert result.exit_code != 0
    assert "address already in use" in result.output
    assert "port 0" in result.output
