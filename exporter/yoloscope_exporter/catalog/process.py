"""Metrics of the processes each run consists of, seen from outside."""

import re
from collections.abc import Mapping

from yoloscope_record.metrics import counter, gauge, info

from yoloscope_exporter.language import Text, joined, text

#: The rank's own process and its helpers; processes of its training loader; of its validation's loader.
ROLES = ("main", "worker", "val_worker")

_PROCESS = ("run", "rank", "role")
TRAIN_PROCESS_CPU_SECONDS_TOTAL = counter(
    "train_process_cpu_seconds_total", "CPU time of the rank's processes by role (main, worker, val_worker).", *_PROCESS
)
TRAIN_PROCESS_RESIDENT_BYTES = gauge(
    "train_process_resident_bytes", "Resident memory of the rank's processes.", *_PROCESS
)
TRAIN_PROCESS_READ_BYTES_TOTAL = counter(
    "train_process_read_bytes_total", "Bytes the rank's processes had read from storage.", *_PROCESS
)
TRAIN_PROCESS_RUNQUEUE_SECONDS_TOTAL = counter(
    "train_process_runqueue_seconds_total",
    "Time the rank's processes were ready but had no CPU; a cgroup's throttling counts here too.",
    *_PROCESS,
)
TRAIN_PROCESS_IO_DELAY_SECONDS_TOTAL = counter(
    "train_process_io_delay_seconds_total",
    "Time the rank's processes waited for block I/O; absent where the kernel does not count it "
    "(`sysctl kernel.task_delayacct=1`).",
    *_PROCESS,
)
TRAIN_PROCESSES = gauge(
    "train_processes",
    "Processes of the rank: `worker` are those of the training loader only, `val_worker` those of the validation's, "
    "`main` the rank itself with its helpers. Older hooks do not tell the loaders apart: there `worker` is both.",
    *_PROCESS,
)
TRAIN_PROCESS_AFFINITY_CORES = gauge("train_process_affinity_cores", "CPUs the rank's processes may run on.", *_PROCESS)
TRAIN_PROCESS_FAIR_CORES = gauge(
    "train_process_fair_cores",
    "The same, but each CPU divided by the number of ranks on the node that may run on it.",
    *_PROCESS,
)
#: Whose energy: the label `source`.
ENERGY_SOURCES = ("gpu", "cpu")
TRAIN_ENERGY_JOULES_TOTAL = counter(
    "train_energy_joules_total",
    "Energy drawn for the rank since an exporter first saw it: of its GPU (gpu; a shared one by SM time, a MIG "
    "instance by size and load) and of the CPU packages by CPU time (cpu; where RAPL can be read).",
    "run",
    "rank",
    "source",
)
TRAIN_SHM_SIZE_BYTES = gauge(
    "train_shm_size_bytes", "Size of /dev/shm as the rank sees it, which in a container is another one.", "run", "rank"
)
TRAIN_SHM_AVAILABLE_BYTES = gauge("train_shm_available_bytes", "Space left in that /dev/shm.", "run", "rank")
#: Where a run stands still: the rank that the others wait for, its process, what that does, the call it does it in, and
#: what the other processes do.
HANG_FACTS = ("culprit", "process", "pid", "doing", "function", "file", "line", "others")
TRAIN_HANG_INFO = info(
    "train_hang_info",
    "Where a run that stands still does so, on each of its ranks: the rank and process the others wait for, what it "
    "does, in which function, file and line, and what the other processes do meanwhile. Absent while it moves.",
    "run",
    "rank",
    *HANG_FACTS,
)
TRAIN_POST_MORTEMS_TOTAL = counter(
    "train_post_mortems_total",
    "Dead ranks whose records were copied to where a reboot leaves them (kept), or could not be (refused); absent "
    "before the first.",
    "result",
)


def hang_in_words(facts: Mapping[str, str]) -> Text:
    """The facts of TRAIN_HANG_INFO as one sentence: `rank 1, worker 2 (pid 47), open() of /nfs/a.jpg: imread (...)`."""
    pid = f" (pid {facts['pid']})" if facts["pid"] else ""
    who = text("rank {culprit}, {process}{pid}", culprit=facts["culprit"], process=facts["process"], pid=pid)
    file = re.sub(r".*/(?:site|dist)-packages/", "", facts["file"])
    place = f"{facts['function']} ({file}:{facts['line'] or '?'})" if facts["function"] else ""
    doing = joined((who if facts["culprit"] else "", Text(facts["doing"])), ", ")
    return joined((joined((doing, place), ": "), Text(facts["others"])))
