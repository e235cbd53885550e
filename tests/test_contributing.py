"""CONTRIBUTING.md's table of what to touch: followed for a collector, in a copy of the packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("exporter", "trainer_hooks", "tests/exporter", "tests/conftest.py", "tests/fake_nvml", "pyproject.toml")

COLLECTOR = '''\
"""How long the node has been up, from /proc/uptime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import Collector
from yoloscope_exporter.collectors.files import read

if TYPE_CHECKING:
    from yoloscope_exporter.collectors import Context


def collectors(context: Context) -> list[Collector]:
    """One collector of the fast group."""
    path = str(context.procfs / "uptime")
    return [Collector("uptime", lambda: [Sample(catalog.UPTIME_SECONDS, (), float(read(path).split()[0]))])]
'''
#: What the table tells to touch, with what is inserted there: after which text, and the new lines.
TOUCHED = {
    "exporter/yoloscope_exporter/collectors/__init__.py": (
        '"pressure": ("pressure",),\n',
        '    "uptime": ("uptime",),\n',
    ),
    "exporter/yoloscope_exporter/catalog/": (
        "from yoloscope_record.metrics import counter, gauge\n",
        '\nUPTIME_SECONDS = gauge("uptime_seconds", "Time since the node was started.")\n',
    ),
    "tests/exporter/world.py": ("PROC = {\n", '    "uptime": "256.00 500.00\\n",\n'),
}
SCRAPE = """
import sys
from dataclasses import replace
from pathlib import Path
from prometheus_client import generate_latest
from yoloscope_exporter import config, registry

print(generate_latest(registry.build(replace(config.defaults(), path_procfs=Path(sys.argv[1])))).decode())
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages with a new collector in it, added as the table says and in no other way."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, target)
    (row,) = re.findall(
        r"(?m)^\| a \*\*collector\*\* \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    )
    places = [place for place in re.findall(r"`([^`]+)`", row) if "/" in place]
    assert places == ["exporter/yoloscope_exporter/collectors/", *TOUCHED]
    (tmp_path / places[0] / "uptime.py").write_text(COLLECTOR, encoding="utf-8")
    for place, (before, lines) in TOUCHED.items():
        path = tmp_path / (f"{place}host.py" if place.endswith("/") else place)
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1
        path.write_text(text.replace(before, before + lines), encoding="utf-8")
    return tmp_path


def python(copy: Path, *arguments: str, **environment: str) -> str:
    """What a Python in the copy prints, with the copy's packages and no other ones of ours."""
    path = os.pathsep.join(str(copy / folder) for folder in ("exporter", "trainer_hooks", "."))
    command = [sys.executable, *arguments]
    result = subprocess.run(
        command,
        cwd=copy,
        env={**os.environ, "PYTHONPATH": path, "YOLOSCOPE_DIR": str(copy / "records"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_a_collector_is_added_as_the_table_says(copy: Path) -> None:
    """Its metric is exposed and documented, it has a switch, and the contract test runs it."""
    (copy / "proc").mkdir()
    (copy / "proc/uptime").write_text("3072.50 6000.00\n", encoding="utf-8")
    text = python(copy, "-c", SCRAPE, str(copy / "proc"))
    assert "\nyoloscope_uptime_seconds 3072.5\n" in text
    assert '\nyoloscope_collector_up{collector="uptime"} 1.0\n' in text
    python(copy, "-m", "yoloscope_exporter.catalog.document", str(copy))
    assert "| `yoloscope_uptime_seconds` | gauge |" in (copy / "metrics.md").read_text(encoding="utf-8")
    assert "--no-collector.uptime" in python(copy, "-m", "yoloscope_exporter.cli", "serve", "--help")
    contract = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/exporter/test_contract.py", "-k")
    golden = python(copy, *contract, "uptime or golden_exposition", YOLOSCOPE_UPDATE_GOLDEN="1")
    assert re.search(r"\b[5-9] passed", golden), golden
    assert "\nyoloscope_uptime_seconds 256.0\n" in (copy / "tests/exporter/golden/node.prom").read_text(
        encoding="utf-8"
    )
