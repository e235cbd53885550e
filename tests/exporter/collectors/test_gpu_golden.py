"""The exposition of the GPU collectors in every scenario is the committed one, and promtool accepts it.

YOLOSCOPE_UPDATE_GOLDEN=1 writes the files anew; look at the difference before committing it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors import NoData
from yoloscope_exporter.sampling.exposition import Families, Form, Renderer
from yoloscope_exporter.sampling.families import families

from tests.conftest import require_binary
from tests.exporter.collectors.gpu_world import gpu_world
from tests.fake_nvml import NEWER_SYMBOLS, SCENARIOS, build, steps

if TYPE_CHECKING:
    from tests.exporter.collectors.gpu_world import GpuWorld

GOLDEN = Path(__file__).parent / "golden"
each_scenario = pytest.mark.parametrize("scenario", sorted(path.stem for path in SCENARIOS.glob("*.conf")))


def expositions(directory: Path, scenario: str) -> str:
    """What is published at the end of each step: half a minute of cycles at 1 s, the slow half every ten."""
    library = {"library": build(without=NEWER_SYMBOLS)} if scenario == "old_driver" else {}
    texts = []
    with gpu_world(directory, {}, **library) as world:
        for number, lines in enumerate(steps(scenario)):
            world.fake.set(lines)
            texts.append(f"# step {number}\n{_step(world)}")
    return "".join(texts)


def _step(world: GpuWorld) -> str:
    details: list[Sample] = []
    samples: list[Sample] = []
    problem = ""
    for tick in range(30):
        world.pass_time(1.0)
        try:
            details = world.cycle(0.0, "gpu_details") if tick % 10 == 0 else details
            samples = [*world.cycle(0.0), *details]
        except NoData as error:
            details, samples, problem = [], [], f"# {error}\n"
    rejected = [Sample(catalog.SAMPLES_REJECTED_TOTAL, ("gpu", why), float(n)) for why, n in world.rejected.items()]
    return _page([*samples, *rejected]) if samples else problem


def _page(samples: list[Sample]) -> str:
    """The exposition, which is the library's in both formats."""
    page = Renderer().render(samples)
    for form, generate in ((Form(openmetrics=True), generate_openmetrics), (Form(), generate_latest)):
        assert page.get(form) == generate(Families(families(samples)))
    return page.get(Form()).decode()


@each_scenario
def test_golden_exposition(tmp_path: Path, scenario: str) -> None:
    """Names, labels and values of every step are those of the committed file."""
    text, golden = expositions(tmp_path, scenario), GOLDEN / f"{scenario}.prom"
    if os.environ.get("YOLOSCOPE_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@each_scenario
def test_golden_exposition_passes_promtool(scenario: str) -> None:
    """Promtool has no complaint about any step."""
    command = [require_binary("promtool"), "check", "metrics"]
    for text in (GOLDEN / f"{scenario}.prom").read_text().split("# step ")[1:]:
        metrics = text.partition("\n")[2]
        lint = subprocess.run(command, input=metrics, capture_output=True, text=True, check=False)
        assert lint.stdout + lint.stderr == ""


def test_scenarios_show_the_whole_area() -> None:
    """Every GPU metric of the catalogue appears in some scenario."""
    shown = "".join(path.read_text() for path in GOLDEN.glob("*.prom"))
    names = {metric.name for metric in catalog.METRICS if metric.area == "gpu"}
    assert {name for name in names if f"# HELP {name} " not in shown} == set()
