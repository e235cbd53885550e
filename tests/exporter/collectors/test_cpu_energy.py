"""RAPL's counters as a counter: packages only, across wraps, absent where they may not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from yoloscope_exporter import catalog
from yoloscope_exporter.collectors.cpu_energy import PackageEnergy

from tests.exporter import world

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

MOST = 1000


def joules(energy: PackageEnergy) -> dict[str, float]:
    """By package."""
    samples = list(energy.collect())
    assert {sample.metric for sample in samples} <= {catalog.CPU_ENERGY_JOULES_TOTAL}
    return {sample.labels[0]: sample.value for sample in samples}  # type: ignore[misc]


def test_packages_without_their_parts_and_the_machine(tmp_path: Path) -> None:
    """DRAM below a package, and psys, which holds the packages, would count twice."""
    node = world.build(tmp_path)
    assert joules(PackageEnergy(node.context.sysfs)) == {"0": 80.0}


@given(st.lists(st.integers(0, MOST - 1), max_size=30))
def test_a_wrap_loses_nothing(tmp_path_factory: pytest.TempPathFactory, steps: list[int]) -> None:
    """The total is what was drawn, however often the counter has begun anew, if it did so once between two looks."""
    root = tmp_path_factory.mktemp("sys")
    energy, drawn = PackageEnergy(root), 0
    zone = "class/powercap/intel-rapl:0/"
    world.write(root, {f"{zone}name": "package-0", f"{zone}max_energy_range_uj": str(MOST)})
    for step in steps:
        drawn += step
        world.write(root, {f"{zone}energy_uj": str(drawn % MOST)})
        assert round(joules(energy)["0"] * 1e6) == drawn


def test_what_may_not_be_read_is_absent(tmp_path: Path) -> None:
    """No RAPL, or a counter that only root may read: no series, and no fault of the collector."""
    assert joules(PackageEnergy(tmp_path)) == {}
    node = world.build(tmp_path / "node")
    counter = node.context.sysfs / "class/powercap/intel-rapl:0/energy_uj"
    counter.unlink()
    counter.symlink_to(tmp_path)  # root may read anything, but not a directory
    assert joules(PackageEnergy(node.context.sysfs)) == {}
