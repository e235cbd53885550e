"""README and docs/getting-started: every block that people are told to type is typed, on a machine of dummies.

The shell and `yoloscope` are real. All other programs write down what they were asked, and those that start another one
(`nohup`, `docker run`, `conda run`) do so. Of `yoloscope`, `bundle` is run, and `run` starts its command; the others
take their arguments as they would, files that have to exist included, and stop there: what they do has its own tests.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import require_binary
from tests.training import environment, make_dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/getting-started/{path.name}" for path in sorted((ROOT / "docs/getting-started").glob("*.md"))),
)
ENGLISH = tuple(name for name in PAGES if ".zh-CN" not in name)
BUILTINS = {"cd", "export", "eval", "sleep"}
#: Programs that people type, with what a dummy of each does beside writing down what it was asked.
PROGRAMS = {
    **dict.fromkeys(("pip", "yolo", "make", "git", "sudo", "tmux", "tail", "ssh", "sbatch", "kubectl", "helm"), ""),
    **dict.fromkeys(("rm", "systemctl", "tensorboard", "sh", "python", "pytest", "promtool"), ""),
    "python3": 'mkdir -p "$3/bin"; cp "$BIN/pip" "$BIN/yoloscope" "$3/bin"',  # -m venv FOLDER
    "nohup": '"$@"',
    "docker": 'while [ "$1" != IMAGE ]; do shift; done; shift; "$@"',
    "conda": """
case "$1" in
    info) echo "$HOME/conda" ;;
    create) mkdir -p "$HOME/conda/envs/yoloscope/bin"; cp "$BIN/yoloscope" "$HOME/conda/envs/yoloscope/bin" ;;
    run) shift 3; "$@" ;;
esac""",
}
#: `yoloscope` up to its arguments, and `bundle` to its end.
YOLOSCOPE = """
import os, sys
sys.path[:0] = {paths!r}
import click
from yoloscope_exporter.cli import main

with open(os.environ["SEEN"], "a") as seen:
    seen.write(" ".join(["yoloscope", *sys.argv[1:]]) + "\\n")
with main.make_context("yoloscope", list(sys.argv[1:])) as context:
    name, command, words = main.resolve_command(context, sys.argv[1:])
    taken = command.make_context(name, words, parent=context).params
if name == "run":
    os.execvp(taken["command"][0], taken["command"])
if name == "bundle":
    main()
"""


def blocks(name: str, kind: str = "console") -> list[str]:
    """What a page tells to type; an exclamation mark is a notebook's."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [re.sub(r"(?m)^!", "", block) for block in re.findall(rf"(?ms)^ *```{kind}\n(.*?)^ *```$", text)]


class Machine:
    """A home and a PATH of dummies; nothing else can be started."""

    def __init__(self, folder: Path) -> None:
        """With every program of PROGRAMS."""
        self.home, self.bin, self.seen = folder / "home", folder / "bin", folder / "seen"
        self.home.mkdir()
        self.bin.mkdir()
        self.seen.touch()
        for name, more in PROGRAMS.items():
            self._program(name, f'#!/bin/sh\nPATH="$PATH:/usr/bin:/bin"\necho "{name} $*" >> "$SEEN"\n{more}\n')
        paths = [str(ROOT / part) for part in ("exporter", "trainer_hooks")]
        script = folder / "typed.py"
        script.write_text(YOLOSCOPE.format(paths=paths), encoding="utf-8")
        python = shlex.join([sys.executable, str(script)])  # a first line #! takes no folder with a blank
        self._program("yoloscope", f'#!/bin/sh\nexec {python} "$@"\n')
        (self.home / "deploy").symlink_to(ROOT / "deploy")
        (self.home / "best.pt").touch()

    def _program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text, encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def typed(self, block: str) -> list[str]:
        """Type a block; what was asked of which program."""
        before = len(self.asked())
        block = re.sub(r"(?:/opt/yoloscope|\.venv)/bin/", "", block)  # what is there for all users, or in a clone
        done = subprocess.run(
            [require_binary("bash"), "-euo", "pipefail", "-c", f"{block}\nwait"],
            cwd=self.home,
            env={
                **dict.fromkeys(("HOME", "PWD"), str(self.home)),
                **dict.fromkeys(("PATH", "BIN"), str(self.bin)),
                "SEEN": str(self.seen),
                "LC_ALL": "C.UTF-8",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        return self.asked()[before:]

    def asked(self) -> list[str]:
        """All that any program was asked so far."""
        return self.seen.read_text(encoding="utf-8").splitlines()


def commands(block: str) -> Iterator[str]:
    """The program of each command of a block that is not the shell's own."""
    for line in block.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in (*shlex.split(line, comments=True), "&&"):
            if word not in {"&&", ";", "&", "|"}:
                words += [word] if words or not re.match("[A-Z_]+=", word) else []
            elif words:
                yield from [] if words[0] in BUILTINS else [words[0].rpartition("/")[2]]
                words = []


@pytest.mark.parametrize("name", [name for name in ENGLISH if blocks(name)])
def test_every_block_is_typed(name: str, tmp_path: Path) -> None:
    """The shell takes it, each command of it is reached, and ours takes its arguments.

    The other language has the same commands: tests/test_getting_started.py, tests/test_documents.py.
    """
    machine = Machine(tmp_path)
    for block in blocks(name):
        asked = Counter(line.partition(" ")[0] for line in machine.typed(block))
        assert Counter(commands(block)) - asked == Counter(), block


@pytest.mark.parametrize(
    "line",
    [
        "yoloscope record night.om --interval soon",
        "yoloscope run --no-such -- yolo train",
        "yoloscope bundle --check nowhere",
        "nohup yoloscope diagnoze",
        "no-such-program",
    ],
)
def test_what_is_wrong_is_seen(line: str, tmp_path: Path) -> None:
    """A value, an option, a file that is not there, a command, a program, behind whatever stands before it."""
    with pytest.raises(AssertionError):
        Machine(tmp_path).typed(line)


def test_a_command_that_is_not_reached_is_seen() -> None:
    """Words of the shell and variables are none; both sides of `&&` are."""
    block = 'export A=1\nB=2 nohup yoloscope run -- yolo x &\ncd y && "~/z/bin/pip" install a  # && b\n'
    assert list(commands(block)) == ["nohup", "pip"]


SHORT = "epochs=2, imgsz=32, batch=4, device='cpu', workers=0, amp=False, plots=False, val=False, optimizer='SGD'"


@pytest.mark.slow
@pytest.mark.train
def test_the_lines_of_a_script_record_a_training(tmp_path: Path) -> None:
    """The same everywhere, as they stand, but for weights and data to download, and a training of two short epochs."""
    pages = ("README.md", "README.zh-CN.md", "docs/getting-started/README.md")
    (block,) = {one for name in pages for one in blocks(name, "python") if "attach(" in one}
    assert all(block in blocks(name, "python") for name in pages)
    data = make_dataset(tmp_path / "data", images=24)
    script = block.replace("yolo11n.pt", "yolo11n.yaml").replace("coco128.yaml", str(data))
    assert script.count("epochs=10") == 1
    project = tmp_path / "runs"
    records = tmp_path / "records"
    done = subprocess.run(
        [sys.executable, "-c", script.replace("epochs=10", f"project={str(project)!r}, {SHORT}")],
        env={**environment(project), "YOLOSCOPE_DIR": str(records)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = subprocess.run(
        [sys.executable, "-m", "yoloscope_exporter.cli", "report"],
        env={**environment(project), "YOLOSCOPE_DIR": str(records), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.returncode == 0, report.stderr
    assert "finished" in report.stdout


@pytest.mark.parametrize("name", ["docs/getting-started/trackers.md"])
def test_the_end_of_a_run_goes_into_either_tracker(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With look-alikes of both, which take what they are given."""
    (block,) = blocks(name, "python")
    (tmp_path / "summary.json").write_text('{"metrics": {"images_per_second": 21.5}}', encoding="utf-8")
    given: dict[str, Any] = {}

    class Run:
        summary = SimpleNamespace(update=given.update)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            """As W&B's."""

    opened: dict[str, Any] = {}
    trackers = {"mlflow": {"log_metrics": given.update}, "wandb": {"init": lambda **to: opened.update(to) or Run()}}
    for module, names in trackers.items():
        made = ModuleType(module)
        made.__dict__.update(names)
        monkeypatch.setitem(sys.modules, module, made)
    monkeypatch.setenv("MLFLOW_RUN_ID", "1")
    monkeypatch.setenv("WANDB_RUN_ID", "abc")
    exec(block, {"save_dir": str(tmp_path)})
    assert given == {"images_per_second": 21.5, "yoloscope/images_per_second": 21.5}
    assert opened == {"id": "abc", "resume": "allow"}
