"""The systemd unit: valid, hardened, with a record directory that all users share."""

from __future__ import annotations

import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require_binary

SYSTEMD = Path(__file__).parents[2] / "deploy/systemd"
UNIT = SYSTEMD / "yoloscope.service"
NOTIFY = SYSTEMD / "yoloscope-notify.service"


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _installed(tmp_path: Path, text: str) -> Path:
    """The unit as on a machine where the exporter is installed."""
    unit = tmp_path / UNIT.name
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text), encoding="utf-8")
    return unit


@pytest.mark.parametrize("shipped", [UNIT, NOTIFY], ids=lambda path: path.stem)
def test_unit_verifies(tmp_path: Path, shipped: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    unit = _installed(tmp_path, shipped.read_text(encoding="utf-8"))
    done = _run(require_binary("systemd-analyze"), "verify", "--man=no", unit)
    assert done.returncode == 0, done.stderr
    assert "yoloscope" not in done.stderr


def test_verification_notices_mistakes(tmp_path: Path) -> None:
    """The verification can fail: an unknown option is named."""
    text = UNIT.read_text(encoding="utf-8").replace("NoNewPrivileges=", "NoNewPriviliges=")
    done = _run(require_binary("systemd-analyze"), "verify", "--man=no", _installed(tmp_path, text))
    assert "NoNewPriviliges" in done.stderr


@pytest.mark.parametrize("unit", [UNIT, NOTIFY], ids=lambda path: path.stem)
@pytest.mark.parametrize(("tenths", "met"), [("20", True), ("5", False)])
def test_exposure_is_low(tenths: str, unit: Path, *, met: bool) -> None:
    """The exposure level is 2.0 or less (0 is the best), and the check can tell."""
    analyze = require_binary("systemd-analyze")
    done = _run(analyze, "security", "--offline=true", "--no-pager", f"--threshold={tenths}", unit)
    assert (done.returncode == 0) is met, done.stdout


def test_driver_devices_are_open_and_no_other() -> None:
    """NVML needs the driver's character devices; everything else stays closed."""
    text = UNIT.read_text(encoding="utf-8")
    assert "DevicePolicy=closed" in text
    assert all(device.startswith("char-nvidia") for device in re.findall(r"(?m)^DeviceAllow=(\S+)", text))


def test_record_directory_is_shared(tmp_path: Path) -> None:
    """systemd-tmpfiles makes the directory that the unit names, sticky and writable for all."""
    (directory,) = re.findall(r"YOLOSCOPE_DIR=(\S+)", UNIT.read_text(encoding="utf-8"))
    configuration = SYSTEMD / "yoloscope.tmpfiles.conf"
    done = _run(require_binary("systemd-tmpfiles"), "--create", f"--root={tmp_path}", configuration)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / directory.lstrip("/")).stat().st_mode) == 0o1777


def test_environment_listens_on_this_machine_only() -> None:
    """As shipped nothing is open to the network."""
    text = (SYSTEMD / "yoloscope.env").read_text(encoding="utf-8")
    (arguments,) = re.findall(r'(?m)^YOLOSCOPE_ARGS="(.*)"$', text)
    assert shlex.split(arguments) == ["--web.listen-address=127.0.0.1:9911"]
    assert "serve $YOLOSCOPE_ARGS" in UNIT.read_text(encoding="utf-8")
