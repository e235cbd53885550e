"""Metrics of GPUs, from NVML."""

from yoloscope_record.metrics import counter, gauge, histogram, info

THROTTLE_REASONS = (
    "sw_power_cap",
    "sw_thermal_slowdown",
    "hw_slowdown",
    "hw_thermal_slowdown",
    "hw_power_brake_slowdown",
)
#: What limits the clocks without a state of its own: the driver only counts the time.
COUNTED_REASONS = ("board_limit", "reliability")
#: What the driver wants done, by number (nvmlDeviceGpuRecoveryAction_t); 0 is nothing.
RECOVERY_ACTIONS = (
    "none",
    "gpu_reset",
    "node_reboot",
    "drain_p2p",
    "drain_and_reset",
    "recover_imex_domain",
    "bus_reset",
    "system_reboot",
)
#: What may be wrong with a GPU's part of the NVLink fabric.
FABRIC_FAULTS = (
    "degraded_bandwidth",
    "route_recovery",
    "route_unhealthy",
    "access_timeout_recovery",
    "incorrect_configuration",
)
#: Ratios. Fine at the ends, because 'idle' and 'saturated' are the questions; 0.85 is 'busy' in the diagnosis.
UTILIZATION_BUCKETS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)

GPU_INFO = info("gpu_info", "Facts about a GPU.", "gpu", "uuid", "name", "driver", "cuda", "bus")
#: By what a training computes in: `half` with AMP, `single` without.
PRECISIONS = ("half", "single")
GPU_PEAK_FLOPS_PER_SECOND = gauge(
    "gpu_peak_flops_per_second",
    "Floating-point operations per second that the card can do at most by its data sheet, dense: half (FP16 or BF16) "
    "and single (FP32 as PyTorch's convolutions compute it); of a MIG instance by its multiprocessors. Absent for "
    "cards that are not in yoloscope's table.",
    "gpu",
    "precision",
    unit="per_second",
)
GPU_PART_RATIO = gauge(
    "gpu_part_ratio", "1 for a whole GPU; of a MIG instance its compute slices over the most that the GPU has.", "gpu"
)
GPU_UP = gauge("gpu_up", "1 while the GPU answers; 0 once it has fallen off the bus.", "gpu")
GPU_UTILIZATION_RATIO = gauge(
    "gpu_utilization_ratio", "Share of the driver's last sample period in which a kernel ran.", "gpu"
)
GPU_BUSY_SECONDS_TOTAL = counter(
    "gpu_busy_seconds_total", "Time in which a kernel ran; its rate is the true mean utilisation.", "gpu"
)
GPU_UTILIZATION_SAMPLED_RATIO = histogram(
    "gpu_utilization_sampled_ratio",
    "Utilisation samples, as finely as the driver gives them.",
    "gpu",
    buckets=UTILIZATION_BUCKETS,
)
GPU_MEMORY_USED_BYTES = gauge("gpu_memory_used_bytes", "Device memory in use by all processes.", "gpu")
GPU_MEMORY_FREE_BYTES = gauge("gpu_memory_free_bytes", "Device memory that is free.", "gpu")
GPU_MEMORY_RESERVED_BYTES = gauge("gpu_memory_reserved_bytes", "Device memory kept by the driver itself.", "gpu")
GPU_MEMORY_TOTAL_BYTES = gauge("gpu_memory_total_bytes", "Device memory installed.", "gpu")
GPU_MEMORY_BUSY_SECONDS_TOTAL = counter(
    "gpu_memory_busy_seconds_total", "Time in which device memory was read or written.", "gpu"
)
GPU_POWER_WATTS = gauge("gpu_power_watts", "Power drawn.", "gpu")
GPU_POWER_LIMIT_WATTS = gauge("gpu_power_limit_watts", "Power limit in force.", "gpu")
GPU_POWER_LIMIT_MIN_WATTS = gauge("gpu_power_limit_min_watts", "Lowest power limit that can be set.", "gpu")
GPU_POWER_LIMIT_DEFAULT_WATTS = gauge("gpu_power_limit_default_watts", "Power limit the GPU starts with.", "gpu")
GPU_POWER_LIMIT_MAX_WATTS = gauge("gpu_power_limit_max_watts", "Highest power limit that can be set.", "gpu")
GPU_ENERGY_JOULES_TOTAL = counter("gpu_energy_joules_total", "Energy drawn since the driver was loaded.", "gpu")
GPU_TEMPERATURE_CELSIUS = gauge(
    "gpu_temperature_celsius", "Temperature by sensor (core, memory).", "gpu", "sensor", signed=True
)
GPU_TEMPERATURE_LIMIT_CELSIUS = gauge(
    "gpu_temperature_limit_celsius", "Temperature limits (slowdown, shutdown, max_operating).", "gpu", "kind"
)
GPU_TEMPERATURE_MARGIN_CELSIUS = gauge(
    "gpu_temperature_margin_celsius",
    "Degrees to the nearest slowdown, as the driver tells; below 0 beyond it.",
    "gpu",
    signed=True,
)
GPU_FAN_SPEED_RATIO = gauge(
    "gpu_fan_speed_ratio", "Fan speed the GPU asks for, over the highest; it can be above 1.", "gpu"
)
GPU_CLOCK_HERTZ = gauge("gpu_clock_hertz", "Clock now, by domain (sm, memory, graphics, video).", "gpu", "domain")
GPU_CLOCK_MAX_HERTZ = gauge("gpu_clock_max_hertz", "Highest clock of the domain.", "gpu", "domain")
GPU_THROTTLED = gauge("gpu_throttled", "1 while the clocks are held down for this reason.", "gpu", "reason")
GPU_THROTTLED_SECONDS_TOTAL = counter(
    "gpu_throttled_seconds_total",
    "Time in which the clocks were held down for this reason; board_limit and reliability are counted only.",
    "gpu",
    "reason",
)
GPU_GRAPHICS_ACTIVE_RATIO = gauge(
    "gpu_graphics_active_ratio", "Share of time in which the graphics and compute engine was active.", "gpu"
)
GPU_SM_ACTIVE_RATIO = gauge(
    "gpu_sm_active_ratio", "Share of time in which a streaming multiprocessor had a warp, mean over all.", "gpu"
)
GPU_SM_OCCUPANCY_RATIO = gauge("gpu_sm_occupancy_ratio", "Resident warps over the most that fit.", "gpu")
GPU_TENSOR_ACTIVE_RATIO = gauge("gpu_tensor_active_ratio", "Share of cycles the tensor cores were active.", "gpu")
GPU_DRAM_ACTIVE_RATIO = gauge("gpu_dram_active_ratio", "Share of the memory bandwidth in use.", "gpu")
GPU_PCIE_RECEIVE_BYTES_TOTAL = counter("gpu_pcie_receive_bytes_total", "Bytes the GPU received over PCIe.", "gpu")
GPU_PCIE_TRANSMIT_BYTES_TOTAL = counter("gpu_pcie_transmit_bytes_total", "Bytes the GPU sent over PCIe.", "gpu")
GPU_PCIE_LINK_GENERATION = gauge(
    "gpu_pcie_link_generation", "PCIe generation of the link now; it falls when the GPU idles.", "gpu"
)
GPU_PCIE_LINK_GENERATION_MAX = gauge("gpu_pcie_link_generation_max", "Highest PCIe generation of the link.", "gpu")
GPU_PCIE_LINK_WIDTH = gauge("gpu_pcie_link_width", "PCIe lanes in use.", "gpu")
GPU_PCIE_LINK_WIDTH_MAX = gauge("gpu_pcie_link_width_max", "PCIe lanes the link can have.", "gpu")
GPU_PCIE_REPLAYS_TOTAL = counter("gpu_pcie_replays_total", "Packets sent again over PCIe.", "gpu")
GPU_NVLINK_RECEIVE_BYTES_TOTAL = counter(
    "gpu_nvlink_receive_bytes_total", "Bytes the GPU received over all its NVLinks.", "gpu"
)
GPU_NVLINK_TRANSMIT_BYTES_TOTAL = counter(
    "gpu_nvlink_transmit_bytes_total", "Bytes the GPU sent over all its NVLinks.", "gpu"
)
GPU_NVLINK_ERRORS_TOTAL = counter(
    "gpu_nvlink_errors_total",
    "NVLink errors over all links, by kind (replay, recovery, crc, ecc; generation 5: recovery, recovery_failed, "
    "receive, integrity, effective).",
    "gpu",
    "kind",
)
GPU_FABRIC_READY = gauge("gpu_fabric_ready", "1 once the GPU has joined its NVLink fabric.", "gpu")
GPU_FABRIC_FAULT = gauge(
    "gpu_fabric_fault", "1 while this is wrong with the GPU's part of the NVLink fabric.", "gpu", "fault"
)
GPU_ECC_ERRORS_TOTAL = counter(
    "gpu_ecc_errors_total", "ECC errors in the life of the GPU (corrected, uncorrected).", "gpu", "kind"
)
GPU_ECC_VOLATILE_ERRORS_TOTAL = counter(
    "gpu_ecc_volatile_errors_total",
    "ECC errors since the driver was loaded (corrected, uncorrected).",
    "gpu",
    "kind",
)
GPU_SRAM_ECC_ERRORS_TOTAL = counter(
    "gpu_sram_ecc_errors_total",
    "ECC errors of the SRAM (caches, registers) in the life of the GPU (corrected, uncorrected).",
    "gpu",
    "kind",
)
GPU_SRAM_ECC_THRESHOLD_EXCEEDED = gauge(
    "gpu_sram_ecc_threshold_exceeded", "1 if the SRAM has had more uncorrected errors than NVIDIA allows.", "gpu"
)
GPU_REMAPPED_ROWS_TOTAL = counter(
    "gpu_remapped_rows_total", "Memory rows remapped after errors (correctable, uncorrectable).", "gpu", "kind"
)
GPU_ROW_REMAP_PENDING = gauge("gpu_row_remap_pending", "1 if a row remapping waits for a GPU reset.", "gpu")
GPU_ROW_REMAP_FAILURE = gauge("gpu_row_remap_failure", "1 if a row remapping has failed.", "gpu")
GPU_RETIRED_PAGES_TOTAL = counter(
    "gpu_retired_pages_total", "Memory pages retired after errors (single_bit, double_bit).", "gpu", "kind"
)
GPU_XID_ERRORS_TOTAL = counter(
    "gpu_xid_errors_total", "Xid errors the driver reported since the exporter started.", "gpu", "xid"
)
GPU_RECOVERY_ACTION = gauge(
    "gpu_recovery_action",
    "What the driver wants done: "
    + ", ".join(f"{number} {name}" for number, name in enumerate(RECOVERY_ACTIONS))
    + ".",
    "gpu",
)
GPU_PERSISTENCE_MODE = gauge("gpu_persistence_mode", "1 if the driver stays loaded while nobody uses the GPU.", "gpu")
GPU_PERFORMANCE_STATE = gauge("gpu_performance_state", "P-state: 0 is the highest performance, 15 the lowest.", "gpu")
GPU_ENCODER_UTILIZATION_RATIO = gauge("gpu_encoder_utilization_ratio", "Utilisation of the video encoder.", "gpu")
GPU_DECODER_UTILIZATION_RATIO = gauge("gpu_decoder_utilization_ratio", "Utilisation of the video decoder.", "gpu")
_GPU_PROCESS = ("gpu", "pid", "command", "run", "rank", "user")
GPU_PROCESS_MEMORY_BYTES = gauge(
    "gpu_process_memory_bytes",
    "Device memory of a process; run and rank are empty if it is no training yoloscope knows, command and user if the "
    "exporter does not see it (another PID namespace).",
    *_GPU_PROCESS,
)
GPU_PROCESS_SM_RATIO = gauge("gpu_process_sm_ratio", "Share of the SM time used by a process.", *_GPU_PROCESS)
