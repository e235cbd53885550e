"""CONTRIBUTING.md's table of what to touch: followed for a collector, in a copy of the packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.measures.evaluate import evaluate
from yoloscope_exporter.measures.series import Store, Window

ROOT = Path(__file__).parents[1]
COPIED = ("exporter", "trainer_hooks", "tests/exporter", "tests/conftest.py", "tests/fake_nvml", "pyproject.toml")


def _example(kind: str, first: str) -> str:
    """The block of CONTRIBUTING.md that begins with these words."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(rf"(?ms)^```{kind}\n(.*?)^```$", text) if one.startswith(first)]
    return str(block)


COLLECTOR = _example("python", '"""How long')


def _added(place: int) -> str:
    """The lines that the example adds to its place-th file of the table."""
    return _example("diff", "--- ").split("--- ")[place].partition("\n")[2].replace("\n+", "\n").removeprefix("+")


#: What the table tells to touch, with what is inserted there: after which text, and the new lines.
TOUCHED = {
    "exporter/yoloscope_exporter/collectors/__init__.py": ('"pressure": ("pressure",),\n', _added(1)),
    "exporter/yoloscope_exporter/catalog/": ("from yoloscope_record.metrics import counter, gauge\n", "\n" + _added(2)),
    "tests/exporter/world.py": ("PROC = {\n", _added(3)),
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


def test_a_measure_is_the_same_in_python_and_on_a_panel() -> None:
    """The blocks are run one after the other; a quarter of the memory is in use as swap."""
    pytest.importorskip("grafana_foundation_sdk", reason="dashboards are generated with Python 3.11 and newer")
    names: dict[str, Any] = {}
    exec(_example("python", "from yoloscope_exporter import catalog"), names)
    exec(_example("python", "from dashboards.panels"), names)
    store = Store("node1:9911")
    for time in (100.0, 110.0):
        store.add(time, [Sample(catalog.SWAP_USED_BYTES, (), 1e9), Sample(catalog.MEMORY_TOTAL_BYTES, (), 4e9)])
    assert list(evaluate(names["SWAP_USED"].formula, [Window(store, 100.0, 110.0, 10.0)]).values()) == [0.25]
    (target,) = names["PANEL"].targets
    assert "yoloscope_swap_used_bytes" in target.expr
    assert "yoloscope_memory_total_bytes" in target.expr
    assert names["PANEL"].title == "Swap per memory"


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
