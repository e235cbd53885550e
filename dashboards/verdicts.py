"""How severe each verdict of the diagnosis is, for colours and order."""

from __future__ import annotations

from typing import Final

from dashboards import look

#: Highest wins where one must be shown.
SEVERITIES: Final = {
    1: ("compute_bound",),
    2: ("insufficient_data", "plateau", "validation_bound", "checkpoint_bound", "small_batch"),
    3: (
        "loader_workers",
        "loader_cpu",
        "loader_io",
        "slow_worker",
        "cpu_oversubscribed",
        "cpu_throttled",
        "h2d_bound",
        "gpu_memory_pressure",
        "gpu_memory_leak",
        "host_memory_leak",
        "oom_retry",
        "straggler",
        "thermal_throttle",
        "power_capped",
        "pcie_degraded",
        "environment",
    ),
    4: ("stalled", "killed", "diverged"),
}
LEVELS: Final = look.mapping(
    {
        "0": ("no", look.NEUTRAL),
        "1": ("healthy", look.OK),
        "2": ("to note", look.NEUTRAL),
        "3": ("holds it back", look.WARNING),
        "4": ("broken", look.CRITICAL),
    }
)
STEPS: Final[look.Steps] = (
    (None, look.NEUTRAL),
    (1, look.OK),
    (2, look.NEUTRAL),
    (3, look.WARNING),
    (4, look.CRITICAL),
)
