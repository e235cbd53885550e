"""deploy/compose/up: the profile for what is there, the password shown, and what is missing said in one line.

Docker itself cannot run here: a look-alike answers as Docker does and writes down what it was asked.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_binary

UP = Path(__file__).parents[2] / "deploy/compose/up"
DOCKER = """#!/bin/sh
echo "${COMPOSE_PROFILES:-} $*" >> "$SEEN"
case "$*" in
    "compose version") exit "${NO_COMPOSE:-0}" ;;
    "info --format {{.ServerVersion}}") [ -z "${DOWN:-}" ] || { echo "permission denied" >&2; exit 1; } ;;
    info*) echo "${RUNTIMES:-runc} " ;;
    *"cat /var/lib/grafana/admin_password") echo "s3cret+word" ;;
esac
"""


class Machine:
    """A machine with the programs that it is given; `asked` is what its docker was told to do."""

    def __init__(self, folder: Path) -> None:
        """With the shell's own programs alone."""
        self.bin, self.seen = folder / "bin", folder / "seen"
        self.bin.mkdir()
        for name in ("sh", "dirname", "sed", "grep", "cat"):
            (self.bin / name).symlink_to(require_binary(name))

    def program(self, name: str, text: str = "#!/bin/sh\n") -> None:
        """Install one."""
        (self.bin / name).write_text(text, encoding="utf-8")
        (self.bin / name).chmod(0o755)

    def up(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """What the script did."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "YOLOSCOPE_"))}
        environ = {**kept, "PATH": str(self.bin), "SEEN": str(self.seen), **environment}
        return subprocess.run([UP, *arguments], env=environ, capture_output=True, text=True, check=False)

    def asked(self) -> list[str]:
        """Profiles and arguments of each call."""
        return self.seen.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One with Docker and without a GPU."""
    made = Machine(tmp_path)
    made.program("docker", DOCKER)
    return made


def test_starts_and_shows_where_and_with_which_password(machine: Machine) -> None:
    """From any folder, without a GPU and with nothing prepared."""
    done = machine.up()
    assert done.returncode == 0, done.stderr
    assert "http://127.0.0.1:3000   user admin, password s3cret+word" in done.stdout
    assert "cpu compose up --detach --wait" in machine.asked()


@pytest.mark.parametrize(
    ("gpus", "environment", "profile", "told"),
    [
        (1, {"RUNTIMES": "io.containerd.runc.v2 nvidia runc"}, "gpu", ""),
        (1, {"RUNTIMES": "runc"}, "cpu", "NVIDIA Container Toolkit"),
        (1, {"RUNTIMES": "nvidia", "COMPOSE_PROFILES": "cpu,simulated"}, "cpu,simulated", ""),
        (0, {"RUNTIMES": "nvidia runc"}, "cpu", ""),
    ],
)
def test_profile_is_what_is_there(
    machine: Machine, gpus: int, environment: dict[str, str], profile: str, told: str
) -> None:
    """The GPUs where there are some and Docker can hand them on, unless somebody has chosen; why not is said."""
    if gpus:
        machine.program("nvidia-smi")
    done = machine.up(**environment)
    assert f"{profile} compose up --detach --wait" in machine.asked()
    assert told in done.stderr
    assert bool(told) == bool(done.stderr)


def test_the_other_exporter_is_removed_first(machine: Machine) -> None:
    """Otherwise two containers would answer to one name."""
    machine.program("nvidia-smi")
    machine.up(RUNTIMES="nvidia")
    asked = machine.asked()
    assert asked.index("cpu,gpu compose rm --stop --force exporter-cpu") < asked.index("gpu compose up --detach --wait")


@pytest.mark.parametrize(
    ("environment", "told"),
    [({"NO_COMPOSE": "1"}, "docker has no compose"), ({"DOWN": "1"}, "docker does not answer: permission denied")],
)
def test_what_is_missing_is_said(machine: Machine, environment: dict[str, str], told: str) -> None:
    """In one line, and nothing is started."""
    done = machine.up(**environment)
    assert done.returncode == 1
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not [line for line in machine.asked() if "compose up" in line]


def test_no_docker_is_said(tmp_path: Path) -> None:
    """With the address of its installation."""
    done = Machine(tmp_path).up()
    assert done.returncode == 1
    assert "there is no docker here: https://docs.docker.com" in done.stderr


def test_is_plain_shell() -> None:
    """Shellcheck finds nothing."""
    subprocess.run([require_binary("shellcheck"), UP], check=True)
