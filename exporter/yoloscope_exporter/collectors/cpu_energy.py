"""Energy of the CPU packages by RAPL: Intel's and AMD's counters, as far as the kernel lets this process read them.

Since Linux 5.10 only root may; the exporter's own systemd unit and container do not run as root, so an administrator
has to allow it. What may not be read is absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog
from yoloscope_exporter.catalog import Sample
from yoloscope_exporter.collectors.files import read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from yoloscope_exporter.collectors.state import StateFile

MICROJOULE = 1e-6
#: Zones of the first level; those below (`intel-rapl:0:0`) are parts of them, and `psys` is the whole machine.
ZONES = "class/powercap/intel-rapl:[0-9]*"
PACKAGE = "package-"


class PackageEnergy:
    """Joules since the machine started, as the counters give them; they wrap within minutes under load.

    How often they did is in a file, so that the total goes on after a restart of the exporter; of wraps while it did
    not run one is seen at most.
    """

    def __init__(self, sysfs: Path, state: StateFile | None = None) -> None:
        """Read the zones below `sysfs`; `state` is where totals are kept over a restart."""
        self._sysfs, self._state = sysfs, state
        self._last = _totals(state.load()) if state else {}

    def collect(self) -> Iterator[Sample]:
        """One sample for each package that can be read."""
        samples = list(self._read())
        if self._state and samples:
            self._state.store({name: list(pair) for name, pair in self._last.items()})
        yield from samples

    def _read(self) -> Iterator[Sample]:
        for zone in sorted(self._sysfs.glob(ZONES)):
            if ":" in zone.name.partition(":")[2]:
                continue
            try:
                name, now, most = (read(zone / file).strip() for file in ("name", "energy_uj", "max_energy_range_uj"))
            except OSError:
                continue
            if name.startswith(PACKAGE):
                total = self._unwrapped(name, int(now), int(most))
                yield Sample(catalog.CPU_ENERGY_JOULES_TOTAL, (name.removeprefix(PACKAGE),), total * MICROJOULE)

    def _unwrapped(self, name: str, now: int, most: int) -> int:
        """Microjoules: the counter begins at 0 again after `most`."""
        before, total = self._last.get(name, (0, 0))
        total += now - before if now >= before else now + most - before
        self._last[name] = now, total
        return total


def _totals(stored: dict[str, object]) -> dict[str, tuple[int, int]]:
    """The counter and the total of each package; what is none of them is left out."""
    found = {}
    for name, pair in stored.items():
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(one, int) for one in pair):  # noqa: PLR2004
            found[name] = pair[0], pair[1]
    return found
