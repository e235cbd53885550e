"""What probes measured, in words."""

from __future__ import annotations

from rich.console import Console
from yoloscope_exporter.diagnosis.signals import Signals
from yoloscope_exporter.tuning import table
from yoloscope_exporter.tuning.search import Setting, Trial
from yoloscope_exporter.tuning.speed import Speed

TRIALS = [
    Trial(Setting(), "the command as it is", Speed(50.0, 0.02, 0.62, 40, 8.0), workers=8),
    Trial(Setting(4, "ram"), "forecast: 80 to 120 images/s", Speed(99.5, 0.01, 0.0, 60, 9.5), workers=4),
    Trial(Setting(16), "forecast: 90 to 95 images/s", failure="it fails by itself (signal SIGKILL): "),
]


def test_the_table_has_every_probe() -> None:
    """Figures, reasons, and what became of the one that failed."""
    console = Console(width=140, record=True, file=open("/dev/null", "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    console.print(table.trials_table(TRIALS, Setting(4, "ram")))
    console.file.close()
    text = console.export_text()
    for part in ("as it is (8 workers)", "50 ±2.6%", "62%", "40 batches, 8.0 s", "workers=4 cache=ram", "99.5 ±1.3%"):
        assert part in text
    assert "signal SIGKILL" in text


def test_the_machine_in_words() -> None:
    """What is not known is left out."""
    numbers = {"rank_cores": 2.0, "node_cores": 8.0, "quota_cores": 2.0, "memory_available_bytes": 5.0 * 2**30}
    words = "2 of 8 CPUs for a rank, a quota of 2 CPUs, 5 GiB of memory, no GPU that can be seen"
    assert table.machine(Signals("run", "0", numbers=numbers)) == words
    assert table.machine(Signals("run", "0", numbers={"gpu_memory_total_bytes": 80.0 * 2**30})) == "a GPU with 80 GiB"


def test_a_probe_in_a_line() -> None:
    """Its figures, or why it has none."""
    assert table.outcome(TRIALS[0]) == "50 images/s ±2.6%, 62% waiting for data"
    assert table.outcome(TRIALS[2]).startswith("it fails by itself")
    hardly_known = Trial(Setting(), "", Speed(50.0, 0.9, 0.62, 5, 8.0))
    assert table.outcome(hardly_known) == "50 images/s, 62% waiting for data"
