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
    Text,
    increase,
    measured,
    rate,
    series,
)
from .records import NODE_GPUS as GPUS

_DRAIN = "Drain the node (scontrol update nodename=NODE state=drain, kubectl cordon NODE), resume=True elsewhere"
_DRAIN_ZH = "腾空节点（scontrol update nodename=NODE state=drain、kubectl cordon NODE），在别处用 resume=True 继续"


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
    why_hold=("a reset of the GPU takes some seconds", "复位 GPU 需要几秒钟"),
    keep="15m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-node",
    named=True,
    en=Text(
        summary="the GPU is faulty: {{ $labels.fault }}",
        what="The driver reports {{ $labels.fault }} ({{ $value | humanize }}): memory, NVLink, firmware or the bus. "
        "What runs on this GPU is lost or wrong.",
        fix=f"{_DRAIN}, then reset the GPU (nvidia-smi --gpu-reset) or reboot; if it comes back, reseat or replace the "
        "board. Weights saved since may be damaged: go back to the checkpoint before.",
        meaning="Xid 48 and 95 are uncorrectable memory errors, 64 a failed row remapping, 62, 119 and 120 the GPU's "
        "own firmware, 74 NVLink, 79 fallen off the bus; those of applications (13, 31, 43) do not alert. Or the "
        "count of uncorrectable ECC errors grew within an hour (old ones do not count); or the spare rows of a bank "
        "are used up, @retired_pages@ pages retired, or the SRAM's threshold exceeded, the limits at which NVIDIA "
        "replaces a board; or the driver gets no answer from it. A warning is what a reset mends: Xid 94, of which one "
        "process has died, a row that is replaced at the reset, a fault of the NVLink fabric, or that the driver "
        "asks for a recovery action (1 a reset, 2 and 7 a reboot, 3 and 4 to drain the GPU first).",
        verify="`dmesg -T | grep -i xid`; `nvidia-smi -q -d ECC,ROW_REMAPPER,PAGE_RETIREMENT`; NVIDIA's Xid catalogue.",
        silence="The node is drained already.",
    ),
    zh=Text(
        summary="GPU 故障：{{ $labels.fault }}",
        what="驱动报告 {{ $labels.fault }}（{{ $value | humanize }}）：显存、NVLink、固件或总线。该 GPU "
        "上运行的任务已丢失或结果错误。",
        fix=f"{_DRAIN_ZH}，然后复位 GPU（nvidia-smi --gpu-reset）或重启；若再次出现，重新插拔或更换显卡。"
        "此后保存的权重可能已损坏，请回到之前的检查点。",
        meaning="Xid 48、95 是不可纠正的显存错误，64 是行重映射失败，62、119、120 是 GPU 固件，74 是 NVLink，79 "
        "是掉卡；应用程序引起的（13、31、43）不告警。或一小时内不可纠正的 ECC 错误增加（以前的旧错误不计）；"
        "或某个存储体的备用行用完、停用页达到 @retired_pages@、SRAM 错误超过阈值，即 NVIDIA 更换显卡的界限；"
        "或驱动得不到它的应答。"
        "warning 表示复位即可解决：Xid 94（只有一个进程失败）、等待复位时替换的坏行、NVLink fabric 故障，"
        "或驱动自身要求恢复操作（1 复位，2、7 重启，3、4 先腾空 GPU）。",
        verify="`dmesg -T | grep -i xid`；`nvidia-smi -q -d ECC,ROW_REMAPPER,PAGE_RETIREMENT`；NVIDIA 的 Xid 目录。",
        silence="节点已腾空。",
    ),
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
    en=replace(
        GPU_FAULTY.en,
        summary="the GPU needs a reset: {{ $labels.fault }}",
        what="The driver reports {{ $labels.fault }} ({{ $value | humanize }}). A bad row of memory is in use until "
        "the GPU is reset; at Xid 94 the one process that met it has failed, the others go on; a fault of the NVLink "
        "fabric slows down or ends what runs on several GPUs.",
        fix="Restart the training that failed (resume=True). When the GPU is free: nvidia-smi --gpu-reset, or reboot.",
    ),
    zh=replace(
        GPU_FAULTY.zh,
        summary="GPU 需要复位：{{ $labels.fault }}",
        what="驱动报告 {{ $labels.fault }}（{{ $value | humanize }}）。显存坏行在复位之前仍在使用；Xid 94 "
        "时只有遇到它的进程失败，其他继续；NVLink fabric 故障会使多卡任务变慢或失败。",
        fix="重新启动失败的训练（resume=True）。GPU 空闲时执行 nvidia-smi --gpu-reset，或重启节点。",
    ),
)


GPU_THERMAL_SLOWDOWN = Alert(
    name="GpuThermalSlowdown",
    expr=f"{measured(gpu.THERMAL, '5m')} >= @thermal_share@",
    labels=OF_GPU,
    severity=WARNING,
    hold="10m",
    why_hold=(
        "fans need a minute after a cold start, which the five minutes of the measure remember",
        "冷启动后风扇需要一分钟，五分钟的窗口会记住它",
    ),
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    fixed_by=("thermal_throttle",),
    en=Text(
        summary="heat slows the GPU down {{ $value | humanizePercentage }} of the time",
        what="For five minutes and more the GPU has lowered its clocks {{ $value | humanizePercentage }} of the time, "
        "because it is too hot. Every rank of the run waits for it.",
        fix="Cooling: fans, dust, blocked vents, the room. Until then a lower power limit keeps the clocks steady "
        "(nvidia-smi --power-limit=WATTS), or train elsewhere (device=).",
        meaning="Thermal slowdown by software or hardware, as in the verdict thermal_throttle. Hardware's slowdown "
        "whose reason is the power brake is GpuPowerBrake; the power limit, ordinary under load, does not alert. "
        "Within @margin@ °C of the slowdown it is for the dashboards.",
        verify="`nvidia-smi -q -d PERFORMANCE,TEMPERATURE`.",
        silence="Work on the cooling.",
    ),
    zh=Text(
        summary="GPU 因过热降频的时间占 {{ $value | humanizePercentage }}",
        what=("五分钟以上，GPU 因过热降频的时间占 {{ $value | humanizePercentage }}。该训练任务的所有 rank 都在等它。"),
        fix="散热：风扇、灰尘、风道、机房。在此之前降低功率上限可使频率稳定（nvidia-smi --power-limit=WATTS），"
        "或换卡训练（device=）。",
        meaning="软件或硬件的过热降频，与诊断结论 thermal_throttle 相同。原因是 power brake 的硬件降频见 "
        "GpuPowerBrake；功率上限在负载下很平常，不告警。距降频温度 @margin@ °C 以内只显示在仪表盘上。",
        verify="`nvidia-smi -q -d PERFORMANCE,TEMPERATURE`。",
        silence="正在维修散热。",
    ),
)

GPU_POWER_BRAKE = Alert(
    name="GpuPowerBrake",
    expr=f"{measured(gpu.POWER_BRAKE, '5m')} >= @power_brake@",
    labels=OF_GPU,
    severity=WARNING,
    hold="5m",
    why_hold=("a short brake protects the power supply as it should", "短暂的 power brake 是正常的供电保护"),
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    fixed_by=("power_brake",),
    en=Text(
        summary="GPU slowed down by a power brake {{ $value | humanizePercentage }} of the time",
        what="The node's power supply asked the GPU to slow down {{ $value | humanizePercentage }} of the time.",
        fix="Check the node's power supplies and cables (ipmitool sdr), spread the load, or set a power limit "
        "(nvidia-smi --power-limit=WATTS).",
        meaning="The external power brake signal of the board.",
        verify="`nvidia-smi -q -d PERFORMANCE`; the BMC's event log.",
        silence="Work on the power supply.",
    ),
    zh=Text(
        summary="GPU 因供电（power brake）降频的时间占 {{ $value | humanizePercentage }}",
        what="节点的供电要求 GPU 有 {{ $value | humanizePercentage }} 的时间降速。",
        fix="检查节点的电源和线缆（ipmitool sdr），分散负载，或设置功率上限（nvidia-smi --power-limit=WATTS）。",
        meaning="显卡的外部 power brake 信号。",
        verify="`nvidia-smi -q -d PERFORMANCE`；BMC 事件日志。",
        silence="正在维修供电。",
    ),
)

GPU_NEARLY_TOO_HOT = replace(
    GPU_THERMAL_SLOWDOWN,
    expr=f"{measured(gpu.TO_SLOWDOWN, '1m')} <= @margin@",
    severity=INFO,
    why_hold=("a peak passes", "峰值会过去"),
    en=replace(
        GPU_THERMAL_SLOWDOWN.en,
        summary="{{ $value }} °C below the temperature at which it slows down",
        what="For ten minutes the GPU has been within {{ $value }} °C of the temperature at which the hardware halves "
        "its clocks.",
    ),
    zh=replace(
        GPU_THERMAL_SLOWDOWN.zh,
        summary="距降频温度仅 {{ $value }} °C",
        what="十分钟以来，GPU 距硬件降频温度只有 {{ $value }} °C。",
    ),
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
    why_hold=("single errors are repeated by the link itself", "个别错误由链路自行重传"),
    keep="5m",
    why_keep=NO_FLAPPING,
    dashboard="yoloscope-node",
    en=Text(
        summary="NVLink errors ({{ $labels.kind }}: {{ $value | humanize }})",
        what="The GPU's NVLinks report {{ $labels.kind }} errors, {{ $value | humanize }} of them (crc per second, "
        "others in five minutes); all ranks slow down with the link.",
        fix="Reset the GPU, reseat the board or the bridge; leave it out of multi-GPU runs (device=) until then.",
        meaning="CRC errors above what DCGM allows, or replays and recoveries that repeat.",
        verify="`nvidia-smi nvlink --errorcounters`.",
        silence="The repair is planned.",
    ),
    zh=Text(
        summary="NVLink 错误（{{ $labels.kind }}：{{ $value | humanize }}）",
        what=(
            "GPU 的 NVLink 报告 {{ $labels.kind }} 错误 {{ $value | humanize }} 次（crc 为每秒，其他为五分钟内）；所有 "
            "rank 随之变慢。"
        ),
        fix="复位 GPU，重新插拔显卡或桥接器；在此之前不要用于多卡训练（device=）。",
        meaning="CRC 错误超过 DCGM 允许的值，或重放、恢复反复出现。",
        verify="`nvidia-smi nvlink --errorcounters`。",
        silence="已计划维修。",
    ),
)

_MOST = f"max_over_time({GPUS}[6h])"

GPU_MISSING = Alert(
    name="GpuMissing",
    expr=f"{_MOST} - ({GPUS} or {_MOST} * 0) > 0\nand on ({NODE}) {series(c.BUILD_INFO)}",
    labels=OF_NODE,
    severity=CRITICAL,
    hold="10m",
    why_hold=("a driver is reloaded, MIG is set up anew", "重新加载驱动、重新配置 MIG"),
    dashboard="yoloscope-node",
    every=SLOW,
    en=Text(
        summary="{{ $value }} GPUs fewer than before",
        what="The node shows {{ $value }} GPUs fewer than at some time in the last six hours.",
        fix=f"{_DRAIN}, reboot; if the GPU stays away, reseat it. `lspci | grep -i nvidia` tells bus from driver.",
        meaning="GPUs (and MIG instances) seen now against the most in six hours, while the exporter answers. It ends "
        "by itself six hours later, for GPUs that were taken out on purpose.",
        verify="`nvidia-smi -L`; `dmesg -T | grep -i -e xid -e nvrm`.",
        silence="GPUs were taken out, or MIG was changed.",
    ),
    zh=Text(
        summary="GPU 比之前少了 {{ $value }} 块",
        what="该节点比最近六小时内最多时少了 {{ $value }} 块 GPU。",
        fix=f"{_DRAIN_ZH}，重启；若 GPU 仍不出现，重新插拔。`lspci | grep -i nvidia` 可区分总线与驱动问题。",
        meaning="当前 GPU（含 MIG 实例）数与六小时内最大值比较，仅当 exporter 正常应答。有意取出的 GPU "
        "在六小时后自动恢复。",
        verify="`nvidia-smi -L`；`dmesg -T | grep -i -e xid -e nvrm`。",
        silence="有意取出 GPU 或更改 MIG。",
    ),
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
    why_hold=("the link changes its speed with the load", "链路速度随负载变化"),
    dashboard="yoloscope-node",
    fixed_by=("pcie_degraded",),
    en=Text(
        summary="PCIe link at {{ $value | humanizePercentage }} of its width or generation under load",
        what="Under load the GPU's PCIe link runs at {{ $value | humanizePercentage }} of the lanes or the generation "
        "it "
        "could have: batches reach the GPU more slowly.",
        fix=(
            "Reseat the board or the riser, check the slot and the BIOS (bifurcation). Until then another GPU: device=."
        ),
        meaning="Only while the GPU is busy: an idle GPU slows its link to save power.",
        verify="`nvidia-smi -q | grep -A 12 'GPU Link Info'`; `lspci -vv | grep -i lnksta`.",
        silence="A slot known to be narrower.",
    ),
    zh=Text(
        summary="负载下 PCIe 链路仅为宽度或代次的 {{ $value | humanizePercentage }}",
        what="负载下 GPU 的 PCIe 链路只用到通道数或代次的 {{ $value | humanizePercentage }}：batch 传到 GPU 变慢。",
        fix="重新插拔显卡或转接卡，检查插槽和 BIOS（bifurcation）。在此之前换一块 GPU（device=）。",
        meaning="仅在 GPU 忙时判断：空闲的 GPU 会为省电降低链路速度。",
        verify="`nvidia-smi -q | grep -A 12 'GPU Link Info'`；`lspci -vv | grep -i lnksta`。",
        silence="已知较窄的插槽。",
    ),
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
