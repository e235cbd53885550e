"""What the documents tell somebody to type first: it ends in a verdict, and is written in one way everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from yoloscope_exporter import SOURCE, pip_install

from tests.deploy.test_up import DOCKER, Machine
from tests.training import TINY, make_dataset, train

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
CHANGELOG, FIRST_FILE = ROOT / "CHANGELOG.md", ROOT / "exporter/yoloscope_exporter/__init__.py"
#: Images for training in Ultralytics' two smallest data sets.
COCO8, COCO128 = 4, 128


@pytest.mark.slow
@pytest.mark.train
@pytest.mark.parametrize(("images", "epochs", "judged"), [(COCO8, 3, False), (COCO128, 10, True)])
def test_the_first_training_gets_a_verdict(tmp_path: Path, images: int, epochs: int, judged: bool) -> None:  # noqa: FBT001
    """With as many batches as coco128 has, and not with those of coco8, which the documents say, too."""
    data = make_dataset(tmp_path / "data", images=images)
    steps: dict[str, Any] = {"model": TINY, "step_sleep": 0.2}  # that take as long as those of a small model
    train(data, tmp_path / "runs", epochs=epochs, batch=16, hooks="run", arguments={"val": False}, **steps)
    (summary,) = (tmp_path / "runs").rglob("summary.json")
    names = [verdict["name"] for verdict in json.loads(summary.read_text(encoding="utf-8"))["verdicts"]]
    assert names
    assert (names[0] != "insufficient_data") == judged, names


def _texts() -> Iterator[tuple[str, str]]:
    """What users read: documents, deployment files, and the source of what commands say."""
    folders = ("docs", "deploy", "exporter", "trainer_hooks")
    paths = [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    for path in paths:
        # CHANGELOG.md tells what was; what the package's first file says is the one place, and compared below
        if path.suffix in {".md", ".py", ".service", ".yaml", ".yml", ".env"} and path not in (CHANGELOG, FIRST_FILE):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")


def test_there_is_one_way_to_install() -> None:
    """From the source: no index has it, and a `.` needs a clone. Extras are named in front of the same address."""
    allowed = re.compile(rf"(?:'yoloscope\[[a-z,]+\] @ )?git\+{re.escape(SOURCE)}'?")
    wrong = [
        (name, line)
        for name, text in _texts()
        for line in re.findall(r"(?m)^.*pipx? install .*$", text)
        for what in re.findall(r"pipx? install (?:-\S+ )*(\S.*)", line)
        if ("yoloscope" in what or what.startswith((".", "'."))) and not allowed.match(what)
    ]
    assert wrong == []


def test_the_address_stands_in_the_package_too() -> None:
    """What pip is told is the address that the package tells of itself."""
    assert f'Repository = "{SOURCE}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert pip_install() == f"pip install git+{SOURCE}"
    assert pip_install("notify") == f"pip install 'yoloscope[notify] @ git+{SOURCE}'"


def _console_blocks(text: str) -> list[list[str]]:
    return [block.splitlines() for block in re.findall(r"(?ms)^ *```console\n(.*?)^ *```$", text)]


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")), ids=lambda p: p.name)
def test_what_runs_until_it_is_stopped_stands_alone(path: Path) -> None:
    """Whoever pastes a block would wait for ever: what follows belongs into another block, for a second terminal."""
    for block in _console_blocks(path.read_text(encoding="utf-8")):
        lines = [line for line in block if line.strip() and not line.lstrip().startswith("#")]
        waiting = [i for i, line in enumerate(lines) if re.match(r"\$? ?yoloscope serve\b(?!.*(--help|&\s*$))", line)]
        assert all(index == len(lines) - 1 for index in waiting), block


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "docs/getting-started/monitoring.md"])
def test_the_bundle_is_written_and_started_as_shown(name: str, tmp_path: Path) -> None:
    """The block as it stands, in a shell; in the README with a docker that writes down what it is asked."""
    text = (ROOT / name).read_text(encoding="utf-8")
    (block,) = [lines for lines in _console_blocks(text) if lines[0].startswith("yoloscope bundle site --targets")]
    machine = Machine(tmp_path)
    machine.program("docker", DOCKER)
    machine.program("yoloscope", f'#!/bin/sh\nexec "{sys.executable}" -m yoloscope_exporter.cli "$@"\n')
    environ = {
        **os.environ,
        "PATH": f"{machine.bin}:{os.environ['PATH']}",
        "SEEN": str(machine.seen),
        "LC_ALL": "C.UTF-8",
    }
    script = "\n".join(("set -e", *block))
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/bundle.json").is_file()
    assert ("password s3cret+word" in done.stdout) == name.startswith("README")
    assert "up to date" in done.stdout or name.startswith("README")
