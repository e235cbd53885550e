"""Node: its GPUs, CPUs, memory, disks and network, and who uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yoloscope_exporter import catalog as m
from yoloscope_exporter.measures import gpu as gpu_measures
from yoloscope_exporter.measures import host as host_measures
from yoloscope_exporter.measures import memory, training
from yoloscope_exporter.measures.promql import Expr, known, named, over, since, total, zero

from dashboards import look, measures
from dashboards.board import CLUSTER, JOB, ONE_INSTANCE, Annotation, Board, Row
from dashboards.board import GPU as GPU_VARIABLE
from dashboards.panels import BOUND, HALF, THIRD, About, Column, Query, Size, lines, stat, table, timeline
from dashboards.views.common import GPUS, NODES, RUN_LINK, began

if TYPE_CHECKING:
    from yoloscope_exporter.measures.measure import Measure

ON = ("instance", "gpu")
ROW = Size(width=24, height=6)
P_STATES = look.mapping(
    {"0": ("P0, full speed", look.OK)} | {str(state): (f"P{state}", look.NEUTRAL) for state in range(1, 16)}
)
THROTTLED = look.mapping({"0": ("no", look.NEUTRAL), "1": ("slowed down", look.WARNING)})
UP_OR_DOWN = look.mapping({"0": ("failing", look.CRITICAL), "1": ("working", look.OK)})


def gpu(metric: m.Metric, **labels: str) -> Expr:
    """A gauge of each GPU."""
    return total("max", GPUS(metric, **labels), *ON)


def of_gpu(measure: Measure) -> Expr:
    """A measure of each GPU."""
    return measures.measured(GPUS, measure, *ON)


def of_all_gpus(measure: Measure) -> Expr:
    """The same, over all GPUs."""
    return measures.measured(GPUS, measure)


def of_node(measure: Measure, *more: str) -> Expr:
    """A measure of each node."""
    return measures.measured(NODES, measure, "instance", *more)


def row(expr: Expr) -> Expr:
    """One row for each GPU of each node; n/a where the GPU does not have the figure."""
    there = total("max", GPUS(m.GPU_INFO), *ON)
    return total("max", named(known(expr, there), "which", ", GPU ", *ON), "which")


def model() -> Expr:
    """The name of the model of each GPU."""
    return total("max", named(total("max", GPUS(m.GPU_INFO), *ON, "name"), "which", ", GPU ", *ON), "which", "name")


def grown(metric: m.Metric, **labels: str) -> Expr:
    """How much a counter of each GPU grew in the time range."""
    return total("sum", GPUS.increase(metric, window="$__range", **labels), *ON)


def grown_now(metric: m.Metric, *more: str) -> Expr:
    """How much a counter of each GPU grew in the window of the panel."""
    return total("sum", GPUS.increase(metric), *ON, *more)


def link_errors() -> Expr:
    """Errors of the NVLinks per second, by kind."""
    return total("sum", GPUS.rate(m.GPU_NVLINK_ERRORS_TOTAL), *ON, "kind")


def lifetime(metric: m.Metric, kind: str) -> Expr:
    """A count that the GPU itself keeps for life; not a counter to take a rate of."""
    return total("max", GPUS(metric, kind=kind), *ON)


def temperature() -> Expr:
    """Of each sensor of each GPU."""
    return total("max", GPUS(m.GPU_TEMPERATURE_CELSIUS), *ON, "sensor")


def throttled_at_all() -> Expr:
    """What held a GPU's clocks down at some time in the time range: reasons that never did say nothing."""
    now = total("max", GPUS(m.GPU_THROTTLED), *ON, "reason")
    return now.where(over("max_over_time", Expr(f"({now})"), "$__range:$__interval") > 0, (*ON, "reason"))


def xid(*more: str) -> Expr:
    """Errors since the exporter started; a series begins with its first error, which a rate would miss."""
    return total("sum", GPUS(m.GPU_XID_ERRORS_TOTAL), *ON, *more)


def xid_now() -> Expr:
    """The moments of Xid errors: the series begins, or its value changes."""
    errors = GPUS(m.GPU_XID_ERRORS_TOTAL)
    return Expr(f"({errors} unless {errors.offset('1m')}) or (changes({errors}[1m]) > 0)", "", errors.help)


def host_rate(metric: m.Metric, *by: str, **labels: str) -> Expr:
    """A counter's rate of each node."""
    return total("sum", NODES.rate(metric, **labels), "instance", *by)


def host(metric: m.Metric, *by: str, **labels: str) -> Expr:
    """A gauge of each node."""
    return total("max", NODES(metric, **labels), "instance", *by)


def processes(metric: m.Metric, *facts: str) -> Expr:
    """A figure of each process on each GPU, with some of its labels."""
    return total("max", named(GPUS(metric), "who", ", ", *ON, "pid"), "who", *facts)


#: Every process that holds device memory is in one metric, which therefore gives the facts of the table as well.
PROCESSES = processes(m.GPU_PROCESS_MEMORY_BYTES, "command", "run", "rank")


GLANCE = Row(
    "At a glance",
    [
        table(
            "GPUs",
            About(
                "While training: utilization above 85 %, no throttling, 5 °C or more to slowdown, all PCIe lanes.",
                "n/a means that this GPU or driver does not have the figure; no data, that collecting it failed.",
                "One row for each GPU.",
            ),
            ("which", "GPU"),
            Column(title="Status", expr=row(gpu(m.GPU_UP)), mappings=(UP_OR_DOWN,), filled=True),
            Column(title=gpu_measures.BUSY.title, expr=row(of_gpu(gpu_measures.BUSY)), highest=1, width=132),
            Column(
                title="GPU memory",
                expr=row(of_gpu(gpu_measures.MEMORY_USED)),
                steps=look.above("cuda_peak_share"),
                highest=1,
            ),
            Column(title="Temperature", expr=row(of_gpu(gpu_measures.HEAT_CELSIUS)), decimals=0),
            Column(
                title="To slowdown",
                expr=row(of_gpu(gpu_measures.TO_SLOWDOWN)),
                steps=look.below("margin", 1),
                decimals=0,
            ),
            Column(
                title="Throttled",
                expr=row(of_gpu(gpu_measures.SLOWED)),
                steps=look.above("thermal_share"),
            ),
            Column(
                title=gpu_measures.PCIE_WIDTH.title,
                expr=row(of_gpu(gpu_measures.PCIE_WIDTH)),
                steps=look.below(1),
                decimals=0,
                width=130,
            ),
            Column(
                title="ECC errors",
                expr=row(grown(m.GPU_ECC_ERRORS_TOTAL, kind="uncorrected")),
                steps=look.above(1, 1),
                decimals=0,
            ),
            Column(title="Xid", expr=row(zero(xid(), gpu(m.GPU_INFO))), steps=look.above(1), decimals=0, width=60),
            Column(title="Model", expr=model(), label="name"),
            size=Size(width=24, height=10),
        ),
        stat(
            "CPU utilization",
            About("Below 90 %.", "Full while GPUs wait: open Data pipeline.", "Mean over the nodes chosen."),
            Query(total("avg", of_node(host_measures.CPU_BUSY))),
            steps=look.above("busy"),
            decimals=0,
            graph=True,
            size=Size(width=8, height=3),
        ),
        stat(
            "Memory used",
            About("Below 90 %.", "Higher: the OOM killer is near. Fewer workers, cache=disk in place of cache=ram."),
            Query(total("max", of_node(memory.HOST_USED))),
            steps=look.above("host_memory", "busy_severe"),
            decimals=0,
            graph=True,
            size=Size(width=8, height=3),
        ),
        stat(
            "/dev/shm used",
            About(
                "Below 50 %.",
                "Full: loader workers die with a bus error. A larger shared memory (--shm-size, emptyDir sizeLimit).",
                "Carries batches from workers to trainers; the fuller of node's and containers'. n/a: not mounted.",
            ),
            Query(known(total("max", of_node(host_measures.SHM_USED)), total("max", NODES(m.BUILD_INFO)))),
            steps=look.above("shm_some", "shm"),
            decimals=0,
            size=Size(width=8, height=3),
        ),
        stat(
            "Waiting for storage",
            About(
                "Under 10 %.",
                "Higher: disks or network storage are too slow for what runs here.",
                "Share of time in which some task waited for storage. n/a: this kernel does not measure pressure.",
            ),
            Query(known(total("max", of_node(host_measures.IO_PRESSURE)), total("max", NODES(m.BUILD_INFO)))),
            steps=look.above("io_pressure", "pressure_severe"),
            decimals=1,
            size=Size(width=8, height=3),
        ),
        stat(
            "Swap",
            About("0.", "Any: memory was short. Training on swapped memory crawls.", "Swap in use."),
            Query(total("sum", NODES(m.SWAP_USED_BYTES))),
            steps=look.above(1),
            size=Size(width=8, height=3),
        ),
        stat(
            "Data age",
            About(
                "A few seconds.",
                "Grows: the exporter's sampler hangs; see the collectors at the bottom.",
                "Time since the values shown were gathered.",
            ),
            Query(total("max", since(NODES(m.SNAPSHOT_TIMESTAMP_SECONDS)))),
            steps=look.above("age_of_figures", "age_of_figures_severe"),
            size=Size(width=8, height=3),
        ),
    ],
)

GPU_ROW = Row(
    "GPU activity",
    [
        lines(
            gpu_measures.BUSY.title,
            About(
                "Near 100 % while training.",
                "Saw teeth: waiting for data. Flat at zero: held but idle.",
                "Share of time in which a kernel ran.",
            ),
            Query(of_gpu(gpu_measures.BUSY), "GPU {{gpu}} of {{instance}}"),
            highest=1,
            size=HALF,
        ),
        lines(
            "SM, tensor core and memory activity",
            About(
                "SM active above 60 %.",
                "Utilization high, but few SMs active: the batch is too small, or CUDA kernels are.",
                "Mean over the GPUs. Absent where the driver or the hardware has no such counters.",
            ),
            Query(of_all_gpus(gpu_measures.SM_ACTIVE), "SM active"),
            Query(of_all_gpus(gpu_measures.SM_OCCUPANCY), "warps resident"),
            Query(of_all_gpus(gpu_measures.TENSOR_ACTIVE), "tensor cores"),
            Query(of_all_gpus(gpu_measures.DRAM_ACTIVE), "memory bandwidth"),
            highest=1,
            size=HALF,
        ),
        lines(
            "Utilization samples above 85 %",
            About(
                "Above 90 % while training.",
                "Lower at the same mean: the work comes in bursts, with gaps between.",
                "Share of the driver's own fine samples in which the GPU was busy above 85 %.",
            ),
            Query(of_gpu(gpu_measures.OFTEN_BUSY), "GPU {{gpu}} of {{instance}}"),
            highest=1,
            size=HALF,
        ),
        lines(
            "GPU memory used",
            About("Flat while training.", "Climbing: see the dashboard GPU memory."),
            Query(gpu(m.GPU_MEMORY_USED_BYTES), "GPU {{gpu}} of {{instance}}"),
            size=HALF,
        ),
        lines(
            "Power against the limit",
            About(
                "Below the limit, or at it on power-limited cards.",
                "At the limit with a low clock: raise it (nvidia-smi -pl), if the cooling allows.",
            ),
            Query(of_gpu(gpu_measures.POWER), "GPU {{gpu}} of {{instance}}"),
            Query(gpu(m.GPU_POWER_LIMIT_WATTS), "limit of GPU {{gpu}} of {{instance}}", BOUND),
            size=HALF,
        ),
        lines(
            "Temperature against the slowdown",
            About(
                "5 °C or more below.",
                "Close: the GPU slows itself down. Airflow, fans, dust, inlet temperature.",
            ),
            Query(temperature(), "{{sensor}} of GPU {{gpu}} of {{instance}}"),
            Query(
                gpu(m.GPU_TEMPERATURE_LIMIT_CELSIUS, kind="slowdown"), "slowdown of GPU {{gpu}} of {{instance}}", BOUND
            ),
            size=HALF,
        ),
        lines(
            "Clocks",
            About("Near 100 % under load.", "Low under load: throttled.", "Clock over the highest; low at idle."),
            Query(of_gpu(gpu_measures.CLOCK), "SM, GPU {{gpu}} of {{instance}}"),
            Query(of_gpu(gpu_measures.MEMORY_CLOCK), "memory, GPU {{gpu}} of {{instance}}", BOUND),
            highest=1,
            size=HALF,
        ),
        lines(
            "Memory, encoder and decoder utilization",
            About("Memory follows the load, the others are zero.", "Video work shares the GPU."),
            Query(of_gpu(gpu_measures.MEMORY_BUSY), "memory, GPU {{gpu}} of {{instance}}"),
            Query(of_gpu(gpu_measures.ENCODER), "encoder, GPU {{gpu}} of {{instance}}", BOUND),
            Query(of_gpu(gpu_measures.DECODER), "decoder, GPU {{gpu}} of {{instance}}", BOUND),
            highest=1,
            size=HALF,
        ),
        lines(
            "Energy",
            About("Follows power.", "High while the GPU waits: energy for nothing."),
            Query(of_gpu(gpu_measures.ENERGY), "GPU {{gpu}} of {{instance}}"),
            size=Size(width=24, height=6),
        ),
        timeline(
            "Throttling",
            About(
                "Grey; sw_power_cap under load is normal on power-limited cards.",
                "Thermal: cooling. Power brake: the node's power supply. Both show in the step time.",
            ),
            Query(total("max", GPUS(m.GPU_THROTTLED)), "any GPU, any reason"),
            Query(throttled_at_all(), "{{instance}}, GPU {{gpu}}, {{reason}}"),
            mappings=(THROTTLED,),
        ),
        timeline(
            "P-state",
            About("P0 under load.", "P2 or higher under load: a limit set by an operator, or heat."),
            Query(gpu(m.GPU_PERFORMANCE_STATE), "GPU {{gpu}} of {{instance}}"),
            mappings=(P_STATES,),
            size=Size(width=24, height=9),
        ),
    ],
)

LINKS = Row(
    "GPU links and health",
    [
        lines(
            "PCIe traffic",
            About("Far below the link's bandwidth.", "Near it: larger batches do not help; pin_memory, fewer copies."),
            Query(of_gpu(gpu_measures.PCIE_RECEIVED), "to GPU {{gpu}} of {{instance}}"),
            Query(of_gpu(gpu_measures.PCIE_SENT), "from GPU {{gpu}} of {{instance}}", BOUND),
            size=HALF,
        ),
        lines(
            "PCIe generation and lanes",
            About(
                "All lanes; the generation falls when the GPU idles.",
                "Fewer lanes, or a low generation under load: reseat the card, look at the riser and the BIOS.",
            ),
            Query(gpu(m.GPU_PCIE_LINK_WIDTH), "lanes, GPU {{gpu}} of {{instance}}"),
            Query(gpu(m.GPU_PCIE_LINK_GENERATION), "generation, GPU {{gpu}} of {{instance}}", BOUND),
            Query(gpu(m.GPU_PCIE_LINK_GENERATION_MAX), "highest generation, GPU {{gpu}} of {{instance}}"),
            size=HALF,
        ),
        lines(
            "NVLink traffic",
            About(
                "Under DDP, a burst with each step.",
                "None under DDP: NCCL takes PCIe, see NCCL_DEBUG=INFO.",
            ),
            Query(of_gpu(gpu_measures.NVLINK_RECEIVED), "to GPU {{gpu}} of {{instance}}"),
            Query(of_gpu(gpu_measures.NVLINK_SENT), "from GPU {{gpu}} of {{instance}}", BOUND),
            size=HALF,
        ),
        lines(
            "NVLink errors",
            About("Zero.", "Replays above 1/s: a bad bridge or switch; drain the node."),
            Query(link_errors(), "{{kind}}, GPU {{gpu}} of {{instance}}"),
            steps=look.above(1),
            size=HALF,
        ),
        lines(
            "ECC errors",
            About("Corrected ones now and then.", "Uncorrected ones end programs: drain the node, reset the GPU."),
            Query(grown_now(m.GPU_ECC_ERRORS_TOTAL, "kind"), "{{kind}}, GPU {{gpu}} of {{instance}}"),
            size=HALF,
        ),
        lines(
            "Xid errors",
            About(
                "None.",
                "48, 79, 94, 95: hardware; drain the node. 13, 31, 43: the program. NVIDIA's Xid list has the rest.",
            ),
            Query(xid("xid"), "Xid {{xid}}, GPU {{gpu}} of {{instance}}"),
            size=HALF,
        ),
        table(
            "Repairs",
            About(
                "Zeros.",
                "Pending, a recovery action, a fault of the fabric: reset the GPU when it is free. Failure, SRAM, or "
                "63 retired pages: replace it.",
                "Rows remapped and pages retired in the GPU's life; what the driver asks for.",
            ),
            ("which", "GPU"),
            Column(title="Rows, correctable", expr=row(lifetime(m.GPU_REMAPPED_ROWS_TOTAL, "correctable")), decimals=0),
            Column(
                title="Rows, uncorrectable",
                expr=row(lifetime(m.GPU_REMAPPED_ROWS_TOTAL, "uncorrectable")),
                steps=look.above(1),
                decimals=0,
            ),
            Column(
                title="Pages retired",
                expr=row(lifetime(m.GPU_RETIRED_PAGES_TOTAL, "double_bit")),
                steps=look.above("retired_pages_some", "retired_pages"),
                decimals=0,
            ),
            Column(title="Remap pending", expr=row(gpu(m.GPU_ROW_REMAP_PENDING)), steps=look.above(1), decimals=0),
            Column(title="Remap failed", expr=row(gpu(m.GPU_ROW_REMAP_FAILURE)), steps=look.above(1, 1), decimals=0),
            Column(
                title="SRAM over threshold",
                expr=row(gpu(m.GPU_SRAM_ECC_THRESHOLD_EXCEEDED)),
                steps=look.above(1, 1),
                decimals=0,
            ),
            Column(title="Recovery action", expr=row(gpu(m.GPU_RECOVERY_ACTION)), steps=look.above(1), decimals=0),
            Column(
                title="Fabric faults",
                expr=row(total("sum", GPUS(m.GPU_FABRIC_FAULT), *ON)),
                steps=look.above(1),
                decimals=0,
            ),
            size=ROW,
        ),
    ],
    collapsed=True,
)

HOST = Row(
    "CPU and memory",
    [
        lines(
            "CPU time by mode",
            About(
                "user fills most; iowait small.",
                "iowait: storage. system: many small files or threads. steal: the host is shared.",
                "CPUs in each mode, over the nodes chosen; idle is left out.",
            ),
            Query(total("sum", NODES.rate(m.CPU_SECONDS_TOTAL, mode="!=idle"), "mode").of("cores"), "{{mode}}"),
            stacked=True,
            size=THIRD,
        ),
        lines(
            "Load and CPUs",
            About("Load below the CPUs.", "Above twice the CPUs: too many workers or threads; OMP_NUM_THREADS=1."),
            Query(host(m.LOAD_AVERAGE, window="1m"), "load of {{instance}}"),
            Query(host(m.CPU_CORES), "CPUs of {{instance}}", BOUND),
            unit="processes",
            size=THIRD,
        ),
        lines(
            "Context switches",
            About("Steady.", "A jump without more work: threads fight for the CPUs."),
            Query(host_rate(m.CONTEXT_SWITCHES_TOTAL), "{{instance}}"),
            size=THIRD,
        ),
        lines(
            "Memory",
            About("Used below 90 %, the rest is page cache.", "Used climbs all along: a leak, or cache=ram filling."),
            Query(total("sum", NODES(m.MEMORY_USED_BYTES)), "used"),
            Query(total("sum", NODES(m.MEMORY_CACHED_BYTES)), "page cache"),
            Query(total("sum", NODES(m.MEMORY_AVAILABLE_BYTES)), "available"),
            Query(total("sum", NODES(m.MEMORY_TOTAL_BYTES)), "installed", BOUND),
            size=THIRD,
        ),
        lines(
            "Pressure",
            About(
                "Near zero.",
                "full: everything stood still. memory: reclaim, soon the OOM killer. io: storage. cpu: too few.",
                "Share of time in which some or all tasks waited for the resource; absent on old kernels.",
            ),
            Query(host_rate(m.PRESSURE_SECONDS_TOTAL, "resource", "kind"), "{{resource}}, {{kind}}, {{instance}}"),
            steps=look.above("pressure"),
            size=THIRD,
        ),
        lines(
            "File systems used",
            About(
                "Below 85 %.",
                "Full: checkpoints fail. Delete old runs' weights and the .npy files of cache=disk.",
                "Share of each file system in use.",
            ),
            Query(of_node(host_measures.FILE_SYSTEM_USED, "mountpoint"), "{{mountpoint}} of {{instance}}"),
            steps=look.above("disk_used", "disk_used_severe"),
            highest=1,
            size=THIRD,
        ),
    ],
    collapsed=True,
)

DISK = Row(
    "Disks and network",
    [
        lines(
            "Disk traffic",
            About("Bursts in the first epoch and at checkpoints.", "Constant reading: data larger than memory."),
            Query(host_rate(m.DISK_READ_BYTES_TOTAL, "device"), "read, {{device}} of {{instance}}"),
            Query(host_rate(m.DISK_WRITTEN_BYTES_TOTAL, "device"), "written, {{device}} of {{instance}}"),
            size=THIRD,
        ),
        lines(
            "Disk utilization",
            About("Below 80 %.", "Near 100 %: the disk is the limit.", "Share of time in which the disk had work."),
            Query(of_node(host_measures.DISK_BUSY, "device"), "{{device}} of {{instance}}"),
            steps=look.above("disk_busy"),
            highest=1,
            size=THIRD,
        ),
        lines(
            "Time of a disk operation",
            About(
                "Below 1 ms on NVMe, 10 ms on network disks.",
                "Growing: the disk or the network behind it is full.",
                "Mean time of a read and of a write.",
            ),
            Query(of_node(host_measures.READ_LATENCY, "device"), "read, {{device}} of {{instance}}"),
            Query(of_node(host_measures.WRITE_LATENCY, "device"), "write, {{device}} of {{instance}}"),
            size=THIRD,
        ),
        lines(
            "Network traffic",
            About(
                "Data from network storage, gradients.",
                "Near the link's speed: storage or DDP is limited.",
            ),
            Query(host_rate(m.NETWORK_RECEIVE_BYTES_TOTAL, "device"), "in, {{device}} of {{instance}}"),
            Query(host_rate(m.NETWORK_TRANSMIT_BYTES_TOTAL, "device"), "out, {{device}} of {{instance}}"),
            size=HALF,
        ),
        lines(
            "Network errors",
            About("Zero.", "Any: cable, transceiver, or a full queue."),
            Query(host_rate(m.NETWORK_RECEIVE_ERRORS_TOTAL, "device"), "in, {{device}} of {{instance}}"),
            Query(host_rate(m.NETWORK_TRANSMIT_ERRORS_TOTAL, "device"), "out, {{device}} of {{instance}}"),
            steps=look.above(1),
            size=HALF,
        ),
    ],
    collapsed=True,
)

WHO = Row(
    "Processes and runs",
    [
        table(
            "Processes on the GPUs",
            About(
                "Each GPU has one run.",
                "A process without a run: somebody else's, or one whose trainer died. nvidia-smi, then end it.",
                "A click on the run opens it.",
            ),
            ("who", "Node, GPU, process"),
            Column(title="Program", expr=PROCESSES, label="command"),
            Column(title="Run", expr=PROCESSES, label="run", link=RUN_LINK),
            Column(title="Rank", expr=PROCESSES, label="rank"),
            Column(title="GPU memory", expr=PROCESSES),
            Column(
                title="Share of the GPU",
                expr=known(processes(m.GPU_PROCESS_SM_RATIO), processes(m.GPU_PROCESS_MEMORY_BYTES)),
                highest=1,
            ),
            sort="GPU memory",
        ),
        table(
            "Runs on the node",
            About(
                "What you expect.",
                "None while GPUs are in use: a run without yoloscope's hooks.",
                "One row for each run with a rank on the nodes chosen.",
            ),
            ("run", "Run"),
            Column(title="Ranks", expr=total("sum", NODES(m.TRAIN_UP), "run"), decimals=0),
            Column(title="Images per second", expr=measures.images(NODES, "run"), decimals=0),
            Column(
                title="Waiting for data",
                expr=measures.measured(NODES, training.DATA_WAIT, "run"),
                steps=look.above("input_share", "input_share_severe"),
                highest=1,
            ),
            link=RUN_LINK,
            empty="no runs",
            size=Size(width=24, height=5),
        ),
    ],
)

EXPORTER = Row(
    "Exporter",
    [
        timeline(
            "Collectors",
            About("All working.", "One fails: the exporter's log says why, once; its panels show no data."),
            Query(host(m.COLLECTOR_UP, "collector"), "{{collector}} of {{instance}}"),
            mappings=(UP_OR_DOWN,),
            size=Size(width=12),
        ),
        lines(
            "Duration of the collectors",
            About("Milliseconds.", "Seconds: a hung mount, or a driver that does not answer."),
            Query(host(m.COLLECTOR_DURATION_SECONDS, "collector"), "{{collector}} of {{instance}}"),
            size=Size(width=6),
        ),
        lines(
            "Rejected values",
            About("Zero.", "docs/metrics.md says what each reason means; most often a driver that answers nonsense."),
            Query(host_rate(m.SAMPLES_REJECTED_TOTAL, "collector", "reason"), "{{collector}}: {{reason}}"),
            size=Size(width=6),
        ),
        lines(
            "Since each collector's last success",
            About("Seconds.", "Minutes: it fails or hangs.", "Time since each collector last succeeded."),
            Query(
                since(host(m.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS, "collector")), "{{collector}} of {{instance}}"
            ),
            size=Size(width=12),
        ),
        lines(
            "Cost of the hooks",
            About(
                "Below 0.1 %.",
                "More: report it, with the versions of Ultralytics and torch.",
                "Share of the trainers' time.",
            ),
            Query(total("max", NODES.rate(m.TRAIN_HOOK_SECONDS_TOTAL), "run", "rank"), "{{run}}, rank {{rank}}"),
            size=Size(width=6),
        ),
        lines(
            "Errors in the hooks",
            About("Zero.", "The trainer's log has one warning; the hooks turn themselves off and training goes on."),
            Query(total("sum", NODES.rate(m.TRAIN_HOOK_ERRORS_TOTAL), "run", "rank"), "{{run}}, rank {{rank}}"),
            size=Size(width=6),
        ),
    ],
    collapsed=True,
)

BOARD = Board(
    name="node",
    title="Node",
    about="One node: its GPUs, CPUs, memory, disks and network, and who uses them.",
    variables=(CLUSTER, JOB, ONE_INSTANCE, GPU_VARIABLE),
    rows=(GLANCE, GPU_ROW, LINKS, HOST, DISK, WHO, EXPORTER),
    annotations=(
        Annotation("Run started", began(NODES), "{{run}}", look.OK, at_value=True),
        Annotation("Xid", xid_now(), "Xid {{xid}}, GPU {{gpu}}", look.CRITICAL),
    ),
)
