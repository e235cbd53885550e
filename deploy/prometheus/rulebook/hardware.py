"""Is the GPU itself well? These alerts know no run: broken hardware concerns whoever comes next as well."""

from __future__ import annotations

from dataclasses import replace

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures import gpu

from .model import (
    CRITICAL,
    GPU,
    INFO,
    NO_FLAPPING,
    NODE,
    OF_GPU,
    OF_NODE,
    SLOW,
    STAY_VISIBLE,
    WARNING,
    Alert,
    increase,
    measured,
    rate,
    series,
)
from .records import NODE_GPUS as GPUS

_DRAIN = "Drain the node (scontrol update nodename=NODE state=drain, kubectl cordon NODE), resume=True elsewhere"


def _xid(numbers: tuple[int, ...]) -> str:
    """Xid errors that are new: a first error brings its series along, which no rate sees."""
    codes = "|".join(map(str, numbers))
    total = series(c.GPU_XID_ERRORS_TOTAL, xid=f"=~{codes}")
    new = f"{increase(c.GPU_XID_ERRORS_TOTAL, '10m', xid=f'=~{codes}')} > 0 or {total} > 0 unless {total} offset 10m"
    return f'label_replace(max by ({GPU}, xid) ({new}), "fault", "Xid $1", "xid", "(.*)")'


def _fault(name: str, expr: str) -> str:
    """What is true of a GPU, with its name as a label, which the texts show."""
    return f'label_replace(max by ({GPU}) ({expr}), "fault", "{name}", "", "")'


_UNCORRECTED = f"{increase(c.GPU_ECC_ERRORS_TOTAL, '1h', kind='uncorrected')} > 0"
_RETIRED = f"sum by ({GPU}) ({series(c.GPU_RETIRED_PAGES_TOTAL)}) >= @retired_pages@"

GPU_FAULTY = Alert(
    name="GpuFaulty",
    expr="\nor ".join(
        (
            _xid(gpu.XIDS_OF_HARDWARE),
            _fault("uncorrectable ECC errors", _UNCORRECTED),
            _fault("more SRAM errors than NVIDIA allows", f"{series(c.GPU_SRAM_ECC_THRESHOLD_EXCEEDED)} == 1"),
            _fault("no spare memory rows", f"{series(c.GPU_ROW_REMAP_FAILURE)} == 1"),
            _fault("too many retired memory pages", _RETIRED),
            _fault("off the bus", f"{series(c.GPU_UP)} == 0"),
        )
    ),
    labels=OF_GPU,
    severity=CRITICAL,
    hold="1m",
    why_hold="a reset of the GPU takes some seconds",
    keep="15m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-node",
    named=True,
    summary="the GPU is faulty: {{ $labels.fault }}",
    what="The driver reports {{ $labels.fault }} ({{ $value | humanize }}): memory, NVLink, firmware or the bus. What "
    "runs on this GPU is lost or wrong.",
    fix=f"{_DRAIN}, then reset the GPU (nvidia-smi --gpu-reset) or reboot; if it comes back, reseat or replace the "
    "board. Weights saved since may be damaged: go back to the checkpoint before.",
    meaning="Xid 48 and 95 are uncorrectable memory errors, 64 a failed row remapping, 62, 119 and 120 the GPU's own "
    "firmware, 74 NVLink, 79 fallen off the bus; those of applications (13, 31, 43) do not alert. Or the count of "
    "uncorrectable ECC errors grew within an hour (old ones do not count); or the spare rows of a bank are used up, "
    "@retired_pages@ pages retired, or the SRAM's threshold exceeded, the limits at which NVIDIA replaces a board; or "
    "the driver gets no answer from it. A warning is what a reset mends: Xid 94, of which one process has died, a row "
    "that is replaced at the reset, a fault of the NVLink fabric, or that the driver asks for a recovery action (1 a "
    "reset, 2 and 7 a reboot, 3 and 4 to drain the GPU first).",
    verify="`dmesg -T | grep -i xid`; `nvidia-smi -q -d ECC,ROW_REMAPPER,PAGE_RETIREMENT`; NVIDIA's Xid catalogue.",
    silence="The node is drained already.",
)

_FABRIC = (
    f'label_replace(max by ({GPU}, fault) ({series(c.GPU_FABRIC_FAULT)} == 1), "fault", "NVLink fabric: $1", "fault", '
    '"(.*)")'
)

GPU_NEEDS_RESET = replace(
    GPU_FAULTY,
    expr="\nor ".join(
        (
            _xid(gpu.XIDS_OF_PROCESS),
            _fault("a memory row to replace", f"{series(c.GPU_ROW_REMAP_PENDING)} == 1"),
            _fault("a recovery action it asks for", f"{series(c.GPU_RECOVERY_ACTION)} > 0"),
            _FABRIC,
        )
    ),
    severity=WARNING,
    summary="the GPU needs a reset: {{ $labels.fault }}",
    what="The driver reports {{ $labels.fault }} ({{ $value | humanize }}). A bad row of memory is in use until the "
    "GPU is reset; at Xid 94 the one process that met it has failed, the others go on; a fault of the NVLink fabric "
    "slows down or ends what runs on several GPUs.",
    fix="Restart the training that failed (resume=True). When the GPU is free: nvidia-smi --gpu-reset, or reboot.",
)


GPU_THERMAL_SLOWDOWN = Alert(
    name="GpuThermalSlowdown",
    expr=f"{measured(gpu.THERMAL, '5m')} >= @thermal_share@",
    labels=OF_GPU,
    severity=WARNING,
    hold="10m",
    why_hold="fans need a minute after a cold start, which the five minutes of the measure remember",
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    fixed_by=("thermal_throttle",),
    summary="heat slows the GPU down {{ $value | humanizePercentage }} of the time",
    what="For five minutes and more the GPU has lowered its clocks {{ $value | humanizePercentage }} of the time, "
    "because it is too hot. Every rank of the run waits for it.",
    fix="Cooling: fans, dust, blocked vents, the room. Until then a lower power limit keeps the clocks steady "
    "(nvidia-smi --power-limit=WATTS), or train elsewhere (device=).",
    meaning="Thermal slowdown by software or hardware, as in the verdict thermal_throttle. Hardware's slowdown whose "
    "reason is the power brake is GpuPowerBrake; the power limit, ordinary under load, does not alert. Within @margin@ "
    "°C of the slowdown it is for the dashboards.",
    verify="`nvidia-smi -q -d PERFORMANCE,TEMPERATURE`.",
    silence="Work on the cooling.",
)

GPU_POWER_BRAKE = Alert(
    name="GpuPowerBrake",
    expr=f"{measured(gpu.POWER_BRAKE, '5m')} >= @power_brake@",
    labels=OF_GPU,
    severity=WARNING,
    hold="5m",
    why_hold="a short brake protects the power supply as it should",
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    fixed_by=("power_brake",),
    summary="GPU slowed down by a power brake {{ $value | humanizePercentage }} of the time",
    what="The node's power supply asked the GPU to slow down {{ $value | humanizePercentage }} of the time.",
    fix="Check the node's power supplies and cables (ipmitool sdr), spread the load, or set a power limit (nvidia-smi "
    "--power-limit=WATTS).",
    meaning="The external power brake signal of the board.",
    verify="`nvidia-smi -q -d PERFORMANCE`; the BMC's event log.",
    silence="Work on the power supply.",
)

GPU_NEARLY_TOO_HOT = replace(
    GPU_THERMAL_SLOWDOWN,
    expr=f"{measured(gpu.TO_SLOWDOWN, '1m')} <= @margin@",
    severity=INFO,
    why_hold="a peak passes",
    summary="{{ $value }} °C below the temperature at which it slows down",
    what="For ten minutes the GPU has been within {{ $value }} °C of the temperature at which the hardware halves its "
    "clocks.",
)

GPU_NVLINK_ERRORS = Alert(
    name="GpuNvlinkErrors",
    named=True,
    expr=(
        f"{rate(c.GPU_NVLINK_ERRORS_TOTAL, '5m', kind='crc')} >= @crc_rate@\n"
        f"or {increase(c.GPU_NVLINK_ERRORS_TOTAL, '5m', kind='=~replay|recovery')} > @replays@"
    ),
    labels=OF_GPU,
    severity=WARNING,
    hold="5m",
    why_hold="single errors are repeated by the link itself",
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    summary="NVLink errors ({{ $labels.kind }}: {{ $value | humanize }})",
    what="The GPU's NVLinks report {{ $labels.kind }} errors, {{ $value | humanize }} of them (crc per second, others "
    "in five minutes); all ranks slow down with the link.",
    fix="Reset the GPU, reseat the board or the bridge; leave it out of multi-GPU runs (device=) until then.",
    meaning="CRC errors above what DCGM allows, or replays and recoveries that repeat.",
    verify="`nvidia-smi nvlink --errorcounters`.",
    silence="The repair is planned.",
)

_MOST = f"max_over_time({GPUS}[6h])"

GPU_MISSING = Alert(
    name="GpuMissing",
    expr=f"{_MOST} - ({GPUS} or {_MOST} * 0) > 0\nand on ({NODE}) {series(c.BUILD_INFO)}",
    labels=OF_NODE,
    severity=CRITICAL,
    hold="10m",
    why_hold="a driver is reloaded, MIG is set up anew",
    dashboard="yoloscope-node",
    every=SLOW,
    summary="{{ $value }} GPUs fewer than before",
    what="The node shows {{ $value }} GPUs fewer than at some time in the last six hours.",
    fix=f"{_DRAIN}, reboot; if the GPU stays away, reseat it. `lspci | grep -i nvidia` tells bus from driver.",
    meaning="GPUs (and MIG instances) seen now against the most in six hours, while the exporter answers. It ends by "
    "itself six hours later, for GPUs that were taken out on purpose.",
    verify="`nvidia-smi -L`; `dmesg -T | grep -i -e xid -e nvrm`.",
    silence="GPUs were taken out, or MIG was changed.",
)

GPU_PCIE_LINK_DEGRADED = Alert(
    name="GpuPcieLinkDegraded",
    named=True,
    expr=(
        f"({measured(gpu.PCIE_WIDTH, '1m')} < 1 or {measured(gpu.PCIE_GENERATION, '1m')} < 1)\n"
        f"and on ({GPU}) {measured(gpu.BUSY, '5m')} > @gpu_under_load@"
    ),
    labels=OF_GPU,
    severity=WARNING,
    hold="15m",
    why_hold="the link changes its speed with the load",
    dashboard="yoloscope-node",
    fixed_by=("pcie_degraded",),
    summary="PCIe link at {{ $value | humanizePercentage }} of its width or generation under load",
    what="Under load the GPU's PCIe link runs at {{ $value | humanizePercentage }} of the lanes or the generation it "
    "could have: batches reach the GPU more slowly.",
    fix="Reseat the board or the riser, check the slot and the BIOS (bifurcation). Until then another GPU: device=.",
    meaning="Only while the GPU is busy: an idle GPU slows its link to save power.",
    verify="`nvidia-smi -q | grep -A 12 'GPU Link Info'`; `lspci -vv | grep -i lnksta`.",
    silence="A slot known to be narrower.",
)

ALERTS = (
    GPU_FAULTY,
    GPU_NEEDS_RESET,
    GPU_THERMAL_SLOWDOWN,
    GPU_NEARLY_TOO_HOT,
    GPU_POWER_BRAKE,
    GPU_NVLINK_ERRORS,
    GPU_MISSING,
    GPU_PCIE_LINK_DEGRADED,
)
