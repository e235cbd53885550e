"""The wheel and the source distribution, built without an index and installed where nothing of the repository is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from yoloscope_exporter import __version__
from yoloscope_exporter.bundle import shipped

from tests.conftest import require_binary

ROOT = Path(__file__).parents[1]
BUILT_FROM = ("exporter", "trainer_hooks", "deploy", "dashboards", "pyproject.toml", "setup.py", "README.md", "LICENSE")
pytestmark = pytest.mark.slow


def _call(function: str, source: Path, target: Path) -> Path:
    """What setuptools builds of `source`: its hooks for wheels and source distributions, as pip calls them."""
    script = f"from setuptools import build_meta; print(build_meta.{function}({str(target)!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The source distribution of a copy of the repository, and the wheel that is built from it and nothing else."""
    folder = tmp_path_factory.mktemp("built")
    source = folder / "source"
    for name in BUILT_FROM:
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    sdist = _call("build_sdist", source, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return {"sdist": sdist, "unpacked": unpacked, "wheel": _call("build_wheel", unpacked, folder)}


def test_the_wheel_has_what_is_shipped(built: dict[str, Path]) -> None:
    """Every file of the repository's, once, with its content; no test, no generator, no link."""
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = wheel.namelist()
        before = "yoloscope_exporter/bundle/shipped/"
        found = {name.removeprefix(before): wheel.read(name) for name in names if name.startswith(before)}
    assert found == {path: (ROOT / path).read_bytes() for path in shipped.paths(ROOT)}
    assert len(found) > 50
    for folder, one in (
        ("yoloscope_exporter/web/static", "page.js"),
        ("yoloscope_exporter/charts/vendored", "LICENSE"),
    ):
        there = {path.name for path in (ROOT / "exporter" / folder).rglob("*") if path.is_file()}
        assert {name.rpartition("/")[2] for name in names if name.startswith(folder)} == there > {one}
    assert {name.split("/")[0].partition("-")[0] for name in names} == {
        "yoloscope_exporter",
        "yoloscope_hooks",
        "yoloscope_record",
        "yoloscope",
    }
    assert built["wheel"].name == f"yoloscope-{__version__}-py3-none-any.whl"
    assert built["wheel"].stat().st_size < 2_000_000


def test_the_wheel_has_every_file_of_the_packages(built: dict[str, Path]) -> None:
    """Modules, and what lies beside them: templates, scripts, markers; package-data names it, or it is forgotten."""
    tracked = subprocess.run(
        ["git", "ls-files", "exporter", "trainer_hooks"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:
        pytest.skip("no git here to say which files there are")
    wanted = {path.partition("/")[2] for path in tracked.stdout.splitlines()}
    with zipfile.ZipFile(built["wheel"]) as wheel:
        assert wanted - set(wheel.namelist()) == set()


@pytest.fixture(scope="module")
def installed(built: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and its dependencies from that of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    target = ["--target", site, "--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *target, built["wheel"]], check=True, capture_output=True)
    paths = {path for path in sys.path if path.endswith("site-packages")} | {sysconfig.get_path("purelib")}
    (site / "dependencies.pth").write_text("\n".join(sorted(paths)) + "\n", encoding="utf-8")
    return folder


def test_the_installed_command_writes_a_bundle_that_prometheus_accepts(installed: Path, tmp_path: Path) -> None:
    """Away from the repository: only what the wheel brought is there."""
    (site,) = installed.glob("lib/python*/site-packages")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "YOLOSCOPE"))}
    code = (
        "import yoloscope_exporter, sys; from yoloscope_exporter.cli import main; "
        "print(yoloscope_exporter.__file__, file=sys.stderr); main()"
    )
    command = [installed / "bin/python", "-c", code, "bundle", tmp_path / "site", "--targets", "n1:9911"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(str(site))
    configuration = tmp_path / "site/prometheus/prometheus.yml"
    subprocess.run([require_binary("promtool"), "check", "config", configuration], check=True, capture_output=True)
    assert "n1:9911" in (tmp_path / "site/prometheus/targets/exporter.yml").read_text(encoding="utf-8")


def test_the_version_is_one(built: dict[str, Path]) -> None:
    """That of the package is the distribution's; nobody writes it a second time."""
    assert built["sdist"].name == f"yoloscope-{__version__}.tar.gz"
    assert f'version = "{__version__}"' not in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
