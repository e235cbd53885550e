"""CONTRIBUTING.md's examples, followed in a copy of the packages: a collector, a verdict, a measure with its panel."""

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
COPIED = (
    "exporter",
    "trainer_hooks",
    "deploy/prometheus",
    "docs/commands.py",
    "tests/exporter",
    "tests/conftest.py",
    "tests/fake_nvml",
    "pyproject.toml",
)
RECORDINGS = ("tests/recordings/cases.py", "tests/recordings/model.py")


def _example(kind: str, first: str) -> str:
    """The block of CONTRIBUTING.md that begins with these words."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = [one for one in re.findall(rf"(?ms)^```{kind}\n(.*?)^```$", text) if one.startswith(first)]
    return str(block)


COLLECTOR = _example("python", '"""How long')


def _added(example: str) -> dict[str, str]:
    """Place -> the lines that an example adds there; `example` is how its block begins."""
    parts = [part.partition("\n") for part in _example("diff", example).split("--- ")[1:]]
    return {place: lines.replace("\n+", "\n").removeprefix("+") for place, _, lines in parts}


#: What the table tells to touch, with what is inserted there: after which text, and the new lines.
BEFORE = {
    "exporter/yoloscope_exporter/collectors/__init__.py": '"pressure": ("pressure",),\n',
    "exporter/yoloscope_exporter/catalog/": "from yoloscope_record.metrics import counter, gauge\n\n",
    "tests/exporter/world.py": "PROC = {\n",
    "exporter/yoloscope_exporter/simulation/": "    yield Sample(catalog.SWAP_USED_BYTES, (), 0.0)\n",
    "exporter/yoloscope_exporter/language/zh_cn/": "TEXTS: Final[dict[str, str]] = {\n",
}
#: Which of the files of a folder that the examples mean.
IN_FOLDER = {
    "exporter/yoloscope_exporter/catalog/": "host.py",
    "exporter/yoloscope_exporter/simulation/": "host.py",
    "exporter/yoloscope_exporter/language/zh_cn/": "documents.py",
}
TOUCHED = {
    place: (BEFORE[place], lines) for place, lines in _added("--- exporter/yoloscope_exporter/collectors").items()
}
#: The same of a verdict.
BEFORE_OF_A_VERDICT = {
    "exporter/yoloscope_exporter/diagnosis/rules/memory.py": "RULES = (\n",
    "exporter/yoloscope_exporter/measures/thresholds.py": ' that ask the same; a YAML file may change them."""\n\n',
    "tests/recordings/cases.py": "CASES: dict[str, Case] = {\n",
    "exporter/yoloscope_exporter/language/zh_cn/": "TEXTS: Final[dict[str, str]] = {\n",
}
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
#: What asks for the simulation and the Chinese of a metric.
COMPLETE = (
    "tests/exporter/simulation/test_simulation.py::test_every_metric_of_the_catalogue_appears",
    "tests/exporter/language/test_complete.py::test_every_text_has_a_translation",
)
SCRAPE = """
import sys
from dataclasses import replace
from pathlib import Path
from prometheus_client import generate_latest
from yoloscope_exporter import config, registry

print(generate_latest(registry.build(replace(config.defaults(), path_procfs=Path(sys.argv[1])))).decode())
"""


def test_both_languages_have_the_same_examples_and_places() -> None:
    """Blocks letter by letter, rows of the table by the paths in them."""
    english, chinese = ((ROOT / f"CONTRIBUTING{end}.md").read_text(encoding="utf-8") for end in ("", ".zh-CN"))
    blocks = re.compile(r"(?ms)^```.*?^```$")
    assert blocks.findall(english) == blocks.findall(chinese)
    one, other = (
        [set(re.findall("`([^`]+)`", row)) for row in re.findall(r"(?m)^\|.*\*\*.*\|.*\|$", text)]
        for text in (english, chinese)
    )
    assert one == other
    assert len(one) > 15


def copied(names: tuple[str, ...], folder: Path) -> None:
    """Copies of parts of the repository, in the same places."""
    for name in names:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, target)


def inserted(path: Path, before: str, lines: str, in_front_of: str = "") -> None:
    """Lines between what stands before and behind them; there is one such place."""
    text = path.read_text(encoding="utf-8")
    assert text.count(before + in_front_of) == 1, before
    path.write_text(text.replace(before + in_front_of, before + lines + in_front_of), encoding="utf-8")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages with a new collector in it, added as the table says and in no other way."""
    copied(COPIED, tmp_path)
    (row,) = re.findall(
        r"(?m)^\| a \*\*collector\*\* \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    )
    places = [place for place in re.findall(r"`([^`]+)`", row) if "/" in place]
    assert places == ["exporter/yoloscope_exporter/collectors/", *TOUCHED]
    (tmp_path / places[0] / "uptime.py").write_text(COLLECTOR, encoding="utf-8")
    for place, (before, lines) in TOUCHED.items():
        inserted(tmp_path / f"{place}{IN_FOLDER.get(place, '')}", before, lines)
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
    contract = ("tests/exporter/test_contract.py", "-k", "uptime or golden_exposition")
    golden = python(copy, *PYTEST, *contract, YOLOSCOPE_UPDATE_GOLDEN="1")
    assert re.search(r"\b[5-9] passed", golden), golden
    python(copy, *PYTEST, *COMPLETE)
    assert "\nyoloscope_uptime_seconds 256.0\n" in (copy / "tests/exporter/golden/node.prom").read_text(
        encoding="utf-8"
    )


RECORD = """
from pathlib import Path
from tests.recordings import cases

for name in ("host_memory_full", "healthy_single"):
    Path(f"{name}.om.gz").write_bytes(cases.recorded(cases.CASES[name]))
print(*cases.CASES["host_memory_full"].findings)
"""


def test_a_verdict_is_added_as_the_example_says(tmp_path: Path) -> None:
    """It is told of its recording and of no healthy one, in both languages, with every text, and documented."""
    copied((*COPIED, *RECORDINGS), tmp_path)
    for place, lines in _added("--- exporter/yoloscope_exporter/diagnosis").items():
        name = f"{place}diagnosis.py" if place.endswith("/") else place
        inserted(tmp_path / name, BEFORE_OF_A_VERDICT[place], lines)
    rules = tmp_path / "exporter/yoloscope_exporter/diagnosis/rules/memory.py"
    inserted(rules, "\n\n", _example("python", "HOST_MEMORY_FULL"), in_front_of="\nRULES = (")
    assert python(tmp_path, "-c", RECORD) == "host_memory_full\n"
    told = diagnosed(tmp_path, "host_memory_full.om.gz", "en")
    assert "host_memory_full: Main memory is nearly full" in told
    assert "fix       workers=4; end what is not needed" in told
    assert "host_memory_full" not in diagnosed(tmp_path, "healthy_single.om.gz", "en")
    assert "host_memory_full\uff1a内存几乎用尽" in diagnosed(tmp_path, "host_memory_full.om.gz", "zh-CN")
    python(tmp_path, "-m", "yoloscope_exporter.diagnosis.document", str(tmp_path))
    assert "host_memory_full" in (tmp_path / "diagnosis.zh-CN.md").read_text(encoding="utf-8")
    texts = ("tests/exporter/language/test_complete.py", "-k", "every_text or nothing_is_translated or punctuation")
    python(tmp_path, *PYTEST, *texts)


def diagnosed(copy: Path, recording: str, language: str) -> str:
    """What `yoloscope diagnose` of the copy says; its exit code tells that there are findings or none."""
    command = ["diagnose", "--recording", recording]
    code = f"from yoloscope_exporter.cli import main; main({command}, standalone_mode=False)"
    return python(copy, "-c", code, YOLOSCOPE_LANGUAGE=language)
