"""Metrics of the cgroup each run belongs to."""

from yoloscope_record.metrics import counter, gauge

CGROUP_CPU_SECONDS_TOTAL = counter("cgroup_cpu_seconds_total", "CPU time of the run's cgroup.", "run")
CGROUP_CPU_THROTTLED_SECONDS_TOTAL = counter(
    "cgroup_cpu_throttled_seconds_total", "Time the run's cgroup was stopped by its CPU quota, summed over CPUs.", "run"
)
CGROUP_CPU_PERIODS_TOTAL = counter(
    "cgroup_cpu_periods_total", "Periods of the CPU quota in which the run's cgroup had something to run.", "run"
)
CGROUP_CPU_THROTTLED_PERIODS_TOTAL = counter(
    "cgroup_cpu_throttled_periods_total", "Those of them in which the quota was used up and the cgroup stopped.", "run"
)
CGROUP_CPU_QUOTA_CORES = gauge(
    "cgroup_cpu_quota_cores", "CPU quota of the run's cgroup; absent when there is none.", "run"
)
CGROUP_MEMORY_USED_BYTES = gauge(
    "cgroup_memory_used_bytes", "Memory of the run's cgroup, page cache that can be dropped left out.", "run"
)
CGROUP_MEMORY_LIMIT_BYTES = gauge(
    "cgroup_memory_limit_bytes", "Memory limit of the run's cgroup; absent when there is none.", "run"
)
CGROUP_OOM_KILLS_TOTAL = counter(
    "cgroup_oom_kills_total", "Processes of the run's cgroup killed for lack of memory.", "run"
)
CGROUP_PRESSURE_SECONDS_TOTAL = counter(
    "cgroup_pressure_seconds_total",
    "Time in which some or all (full) tasks of the run's cgroup waited for the resource.",
    "run",
    "resource",
    "kind",
)
