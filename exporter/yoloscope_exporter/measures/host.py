"""CPUs and disks of the node, and of the run's cgroup."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.formula import RUN_ON_NODE, TARGET, last, rate
from yoloscope_exporter.measures.measure import Measure

#: Guests are counted in the other modes already; time that a hypervisor took is nobody's here.
NOT_USED: Final = "idle|iowait|steal|guest|guest_nice"

CPU_BUSY: Final = Measure(
    name="cpu_busy",
    title="CPU utilization",
    title_zh="CPU 利用率",
    help="Share of the node's CPU time in use.",
    help_zh="节点 CPU 时间的使用占比。",
    formula=(
        rate(catalog.CPU_SECONDS_TOTAL, mode=f"!~{NOT_USED}").total("sum") / last(catalog.CPU_CORES).total("sum")
    ).clamped(most=1),
    of=TARGET,
)
DISK_BUSY: Final = Measure(
    name="disk_busy",
    title="Disk utilization",
    title_zh="磁盘利用率",
    help="Share of time in which the busiest disk had work.",
    help_zh="最忙磁盘有 I/O 的时间占比。",
    formula=rate(catalog.DISK_IO_SECONDS_TOTAL).total("max").clamped(most=1),
    of=TARGET,
)
#: Throttled seconds are summed over CPUs and are no share of the time: they serve where the exporter, of version 0.1,
#: tells no periods.
THROTTLED: Final = Measure(
    name="throttled",
    title="Stopped by the CPU quota",
    title_zh="被 CPU 限额暂停",
    help="Share of the CPU quota's periods in which it was used up and the run's cgroup stopped.",
    help_zh="CPU 限额的周期中，配额用尽、该训练任务 cgroup 被暂停的周期占比。",
    formula=(
        rate(catalog.CGROUP_CPU_THROTTLED_PERIODS_TOTAL).total("max")
        / rate(catalog.CGROUP_CPU_PERIODS_TOTAL).total("max")
    )
    .or_(rate(catalog.CGROUP_CPU_THROTTLED_SECONDS_TOTAL).total("max"))
    .clamped(most=1),
    of=RUN_ON_NODE,
    thresholds=("throttled_share",),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
