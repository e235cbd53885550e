"""The GPU: how busy it is, what holds its clocks down, its memory, its link."""

from __future__ import annotations

from typing import Final

from yoloscope_exporter import catalog
from yoloscope_exporter.measures.formula import GPU, RANK, Formula, last, over_time, rate
from yoloscope_exporter.measures.measure import Measure
from yoloscope_exporter.measures.thresholds import THRESHOLDS
from yoloscope_exporter.measures.training import OUTSIDE

HEAT: Final = "sw_thermal_slowdown|hw_thermal_slowdown"
BRAKE: Final = "hw_power_brake_slowdown"
#: The hardware's slowdown for whatever reason. Drivers set it beside the reason's own flag; those from before 2017 have
#: no other, and there it is taken for heat.
HARDWARE: Final = "hw_slowdown"
#: In per cent, as in texts; a bound of the histogram's buckets.
_WELL_USED: Final = 100 * THRESHOLDS["gpu_well_used"].value


#: Xid errors by NVIDIA's catalogue: of the hardware, so that the GPU has to be reset or replaced (uncorrectable memory,
#: firmware, row remapping, NVLink, off the bus); of memory that one process met; of what a kernel did.
XIDS_OF_HARDWARE: Final = (48, 62, 64, 74, 79, 95, 119, 120)
XIDS_OF_PROCESS: Final = (94,)
XIDS_OF_KERNELS: Final = (13, 31)


def on_ranks(measured: Formula) -> Formula:
    """A GPU's figure for each living rank that trains on it: after a rank's death the GPU is somebody else's.

    GPU series know no run. `train_device_info` names the GPU of a rank and is the many-side of the join: a GPU that two
    runs share gives a value for each.
    """
    alive = last(catalog.TRAIN_UP).compared("==", 1)
    return last(catalog.TRAIN_DEVICE_INFO).where(alive, RANK).joined("*", measured.total("max", GPU), GPU)


def _peak(precision: str, amp: str) -> Formula:
    """Operations per second at most of the card of each rank that trains so; absent where its peak is not known."""
    most = last(catalog.GPU_PEAK_FLOPS_PER_SECOND, precision=precision).total("max", GPU)
    trains_so = last(catalog.TRAIN_RUN_INFO, amp=amp)
    return last(catalog.TRAIN_DEVICE_INFO).where(trains_so, RANK).joined("*", most, GPU).total("max", RANK)


def _throttled(reasons: str) -> Formula:
    return rate(catalog.GPU_THROTTLED_SECONDS_TOTAL, reason=reasons)


def _share(throttled: Formula) -> Formula:
    return throttled.total("max").clamped(most=1)


def _heat() -> Formula:
    """What names heat, and hardware slowdown unless the brake is seen: a driver that names that names heat, too."""
    return _throttled(f"=~{HEAT}").or_(_throttled(HARDWARE).unless(_throttled(BRAKE).compared(">", 0), GPU))


def _samples_up_to(bound: str) -> Formula:
    below = rate(catalog.GPU_UTILIZATION_SAMPLED_RATIO, "_bucket", le=bound).total("sum")
    return below / rate(catalog.GPU_UTILIZATION_SAMPLED_RATIO, "_count").total("sum")


BUSY: Final = Measure(
    name="gpu_busy",
    title="GPU utilization",
    help="Share of time in which a kernel ran.",
    formula=rate(catalog.GPU_BUSY_SECONDS_TOTAL)
    .or_(over_time("avg", catalog.GPU_UTILIZATION_RATIO))
    .total("avg")
    .clamped(most=1),
    of=GPU,
    thresholds=("gpu_low", "held_idle", "gpu_under_load"),
)
BUSY_OF_RANK: Final = Measure(
    name="gpu_busy_of_rank",
    title="GPU utilization",
    help="Share of time in which a kernel ran on the GPUs of living ranks.",
    formula=on_ranks(rate(catalog.GPU_BUSY_SECONDS_TOTAL).or_(over_time("avg", catalog.GPU_UTILIZATION_RATIO)))
    .total("avg")
    .clamped(most=1),
    of=RANK,
    thresholds=("gpu_low", "gpu_well_used"),
)
IDLE: Final = Measure(
    name="gpu_idle",
    title="GPU idle",
    help="Share of the driver's utilization samples at or below 10 %.",
    formula=_samples_up_to("0.1"),
    of=GPU,
)
BELOW_FULL: Final = Measure(
    name="gpu_below_full",
    title="GPU below 90 %",
    help="Share of the driver's utilization samples at or below 90 %.",
    formula=_samples_up_to("0.9"),
    of=GPU,
)
BELOW_BUSY: Final = Measure(
    name="gpu_below_busy",
    title="GPU below 70 %",
    help="Share of the driver's utilization samples at or below 70 %.",
    formula=_samples_up_to("0.7"),
    of=GPU,
    thresholds=("swing_share",),
)
OFTEN_BUSY: Final = Measure(
    name="gpu_often_busy",
    title=f"GPU above {_WELL_USED:g} %",
    help=f"Share of the driver's utilization samples above {_WELL_USED:g} %.",
    formula=_samples_up_to(f"{_WELL_USED / 100:g}") * -1 + 1,
    of=GPU,
)
SM_ACTIVE: Final = Measure(
    name="sm_active",
    title="Multiprocessors active",
    help="Share of the multiprocessors that had a warp, mean over time.",
    formula=over_time("avg", catalog.GPU_SM_ACTIVE_RATIO).total("avg"),
    of=GPU,
)
SM_OCCUPANCY: Final = Measure(
    name="sm_occupancy",
    title="Warps resident",
    help="Warps resident over those that the multiprocessors can hold, mean over time.",
    formula=over_time("avg", catalog.GPU_SM_OCCUPANCY_RATIO).total("avg"),
    of=GPU,
)
TENSOR_ACTIVE: Final = Measure(
    name="tensor_active",
    title="Tensor cores active",
    help="Share of time in which the tensor cores worked.",
    formula=over_time("avg", catalog.GPU_TENSOR_ACTIVE_RATIO).total("avg"),
    of=GPU,
)
DRAM_ACTIVE: Final = Measure(
    name="dram_active",
    title="Memory bandwidth",
    help="Share of the memory bandwidth in use, mean over time.",
    formula=over_time("avg", catalog.GPU_DRAM_ACTIVE_RATIO).total("avg"),
    of=GPU,
)
MEMORY_BUSY: Final = Measure(
    name="memory_busy",
    title="Memory busy",
    help="Share of time in which device memory was read or written.",
    formula=rate(catalog.GPU_MEMORY_BUSY_SECONDS_TOTAL).total("avg").clamped(most=1),
    of=GPU,
)
ENCODER: Final = Measure(
    name="encoder",
    title="Encoder busy",
    help="Utilization of the video encoder, mean over time.",
    formula=over_time("avg", catalog.GPU_ENCODER_UTILIZATION_RATIO).total("avg"),
    of=GPU,
)
DECODER: Final = Measure(
    name="decoder",
    title="Decoder busy",
    help="Utilization of the video decoder, mean over time.",
    formula=over_time("avg", catalog.GPU_DECODER_UTILIZATION_RATIO).total("avg"),
    of=GPU,
)
THERMAL: Final = Measure(
    name="thermal",
    title="Thermal slowdown",
    help="Share of time in which temperature held the clocks down, by software or hardware.",
    formula=_share(_heat()),
    of=GPU,
    thresholds=("thermal_share",),
)
POWER_BRAKE: Final = Measure(
    name="power_brake",
    title="Power brake",
    help="Share of time in which the power supply held the clocks down.",
    formula=_share(_throttled(BRAKE)),
    of=GPU,
    thresholds=("power_brake",),
)
SLOWED: Final = Measure(
    name="slowed",
    title="Slowed down",
    help="Largest share of time in which heat or the power supply held the clocks of a GPU down.",
    formula=_share(_throttled(f"=~{HEAT}|{HARDWARE}|{BRAKE}")),
    of=GPU,
    thresholds=("thermal_share",),
)
POWER_CAP: Final = Measure(
    name="power_cap",
    title="Power limit reached",
    help="Share of time in which the power limit held the clocks down.",
    formula=_share(_throttled("sw_power_cap")),
    of=GPU,
    thresholds=("power_share",),
)
CLOCK: Final = Measure(
    name="clock",
    title="SM clock / max",
    help="Mean clock of the multiprocessors over the highest.",
    formula=over_time("avg", catalog.GPU_CLOCK_HERTZ, domain="sm").total("min")
    / last(catalog.GPU_CLOCK_MAX_HERTZ, domain="sm").total("max"),
    of=GPU,
    thresholds=("clock_ratio",),
)
MEMORY_CLOCK: Final = Measure(
    name="memory_clock",
    title="Memory clock / max",
    help="Mean clock of the device memory over the highest.",
    formula=over_time("avg", catalog.GPU_CLOCK_HERTZ, domain="memory").total("min")
    / last(catalog.GPU_CLOCK_MAX_HERTZ, domain="memory").total("max"),
    of=GPU,
)
HEAT_CELSIUS: Final = Measure(
    name="temperature",
    title="Temperature",
    help="Highest temperature of the core.",
    formula=over_time("max", catalog.GPU_TEMPERATURE_CELSIUS, sensor="core").total("max"),
    of=GPU,
)
TO_SLOWDOWN: Final = Measure(
    name="to_slowdown",
    title="To thermal slowdown",
    help="Degrees from the core's temperature to that at which the GPU slows itself down, or the driver's own margin "
    "where it does not tell that temperature (Ada and newer); 0 beyond.",
    formula=(
        last(catalog.GPU_TEMPERATURE_LIMIT_CELSIUS, kind="slowdown").total("min")
        - last(catalog.GPU_TEMPERATURE_CELSIUS, sensor="core").total("max")
    )
    .or_(last(catalog.GPU_TEMPERATURE_MARGIN_CELSIUS).total("min"))
    .clamped(least=0),
    of=GPU,
    thresholds=("margin",),
)
POWER: Final = Measure(
    name="power",
    title="Power",
    help="Mean power drawn.",
    formula=over_time("avg", catalog.GPU_POWER_WATTS).total("sum"),
    of=GPU,
)
ENERGY: Final = Measure(
    name="energy",
    title="Energy per second",
    help="Energy used per second, by the counter where the driver has one.",
    formula=rate(catalog.GPU_ENERGY_JOULES_TOTAL).total("sum"),
    of=GPU,
)
PCIE_RECEIVED: Final = Measure(
    name="pcie_received",
    title="PCIe to the GPU",
    help="Bytes per second over PCIe to the GPU.",
    formula=rate(catalog.GPU_PCIE_RECEIVE_BYTES_TOTAL).total("sum"),
    of=GPU,
)
MFU: Final = Measure(
    name="mfu",
    title="Operations / peak (MFU)",
    help="Floating-point operations of the model's layers in training time over the most that the card can do by its "
    "data sheet, dense, in the precision of the training.",
    formula=(
        rate(catalog.TRAIN_FLOPS_TOTAL).total("sum", RANK)
        / rate(catalog.TRAIN_PHASE_SECONDS_TOTAL, phase=f"!~{OUTSIDE}").total("sum", RANK)
        / _peak("half", "=~[Tt]rue").or_(_peak("single", "=~[Ff]alse"))
    ).total("avg"),
    of=RANK,
    thresholds=("mfu_low",),
)
PCIE_SENT: Final = Measure(
    name="pcie_sent",
    title="PCIe from the GPU",
    help="Bytes per second over PCIe from the GPU.",
    formula=rate(catalog.GPU_PCIE_TRANSMIT_BYTES_TOTAL).total("sum"),
    of=GPU,
)
NVLINK_RECEIVED: Final = Measure(
    name="nvlink_received",
    title="NVLink to the GPU",
    help="Bytes per second over NVLink to the GPU.",
    formula=rate(catalog.GPU_NVLINK_RECEIVE_BYTES_TOTAL).total("sum"),
    of=GPU,
)
NVLINK_SENT: Final = Measure(
    name="nvlink_sent",
    title="NVLink from the GPU",
    help="Bytes per second over NVLink from the GPU.",
    formula=rate(catalog.GPU_NVLINK_TRANSMIT_BYTES_TOTAL).total("sum"),
    of=GPU,
)
PCIE_WIDTH: Final = Measure(
    name="pcie_width",
    title="PCIe lanes / max",
    help="PCIe lanes in use over those that the link can have.",
    formula=over_time("max", catalog.GPU_PCIE_LINK_WIDTH).total("min")
    / last(catalog.GPU_PCIE_LINK_WIDTH_MAX).total("max"),
    of=GPU,
)
PCIE_GENERATION: Final = Measure(
    name="pcie_generation",
    title="PCIe generation / max",
    help="Highest PCIe generation in the window over what the link can have; it falls while the GPU idles.",
    formula=over_time("max", catalog.GPU_PCIE_LINK_GENERATION).total("min")
    / last(catalog.GPU_PCIE_LINK_GENERATION_MAX).total("max"),
    of=GPU,
)
MEMORY_USED: Final = Measure(
    name="gpu_memory_used",
    title="GPU memory used",
    help="Share of the device memory in use by anybody.",
    formula=last(catalog.GPU_MEMORY_USED_BYTES).total("sum") / last(catalog.GPU_MEMORY_TOTAL_BYTES).total("sum"),
    of=GPU,
    thresholds=("cuda_peak_share",),
)

MEASURES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Measure))
