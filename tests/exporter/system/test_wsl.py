"""WSL2: the kernel tells that it is one, and NVML of Windows' driver is preferred."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from yoloscope_exporter.system import wsl

from tests.fake_nvml import SONAME, FakeNvml, build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("release", "told"),
    [
        ("5.15.167.4-microsoft-standard-WSL2", True),
        ("4.19.84-microsoft-standard", True),
        ("6.6.36.3-custom-WSL2", True),
        ("4.4.0-19041-Microsoft", False),  # WSL 1, which has no GPU
        ("6.8.0-45-generic", False),
        ("5.15.0-1070-azure", False),
    ],
)
def test_kernel_of_wsl2(tmp_path: Path, release: str, told: bool) -> None:  # noqa: FBT001 - a parameter
    """By the release of the kernel; without one it is none."""
    assert not wsl.is_wsl2(tmp_path)
    file = tmp_path / "sys/kernel/osrelease"
    file.parent.mkdir(parents=True)
    file.write_text(f"{release}\n")
    assert wsl.is_wsl2(tmp_path) == told


def test_nvml_of_the_windows_driver_comes_first(tmp_path: Path) -> None:
    """The loader's path has a library without a driver; the exporter asks the one that was named."""
    fake = FakeNvml(tmp_path, {"driver_version": "591.44"})
    other = build(driver_version="1.0")  # refuses to fit the driver
    code = (
        "import sys; from pathlib import Path\n"
        "from yoloscope_exporter.collectors.gpu import session\n"
        "session.wsl.prefer_windows_driver(Path(sys.argv[1]))\n"
        "import pynvml as nvml; nvml.nvmlInit(); print(nvml.nvmlSystemGetDriverVersion())"
    )
    environ = fake.environment() | {"LD_LIBRARY_PATH": str(other)}
    for library, said in ((fake.library / SONAME, "591.44"), (tmp_path / "none", "")):
        done = subprocess.run(
            [sys.executable, "-c", code, str(library)], env=environ, capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == said, done.stderr
    assert "VersionMismatch" in done.stderr or "Mismatch" in done.stderr
