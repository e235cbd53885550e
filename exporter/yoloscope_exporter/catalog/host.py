"""Metrics of the node: CPU, memory, disks, file systems, network, pressure."""

from yoloscope_record.metrics import counter, gauge

CPU_SECONDS_TOTAL = counter("cpu_seconds_total", "CPU time of all cores by mode, as in /proc/stat.", "mode")
CPU_CORES = gauge("cpu_cores", "CPUs that are online.")
CPU_ENERGY_JOULES_TOTAL = counter(
    "cpu_energy_joules_total", "Energy drawn by a CPU package, where the kernel lets the exporter read it.", "package"
)
LOAD_AVERAGE = gauge("load_average", "Load average over 1m, 5m and 15m.", "window")
CONTEXT_SWITCHES_TOTAL = counter("context_switches_total", "Context switches of all cores.")
MEMORY_TOTAL_BYTES = gauge("memory_total_bytes", "Memory installed.")
MEMORY_AVAILABLE_BYTES = gauge("memory_available_bytes", "Memory that can be had without swapping.")
MEMORY_USED_BYTES = gauge("memory_used_bytes", "Memory in use: total less available.")
MEMORY_CACHED_BYTES = gauge("memory_cached_bytes", "Page cache, shared memory included.")
SWAP_USED_BYTES = gauge("swap_used_bytes", "Swap in use.")
MEMORY_OOM_KILLS_TOTAL = counter("memory_oom_kills_total", "Processes of the node killed for lack of memory.")
DISK_READ_BYTES_TOTAL = counter("disk_read_bytes_total", "Bytes read from the device.", "device")
DISK_WRITTEN_BYTES_TOTAL = counter("disk_written_bytes_total", "Bytes written to the device.", "device")
DISK_READS_TOTAL = counter("disk_reads_total", "Reads completed.", "device")
DISK_WRITES_TOTAL = counter("disk_writes_total", "Writes completed.", "device")
DISK_READ_SECONDS_TOTAL = counter("disk_read_seconds_total", "Time spent by all reads.", "device")
DISK_WRITE_SECONDS_TOTAL = counter("disk_write_seconds_total", "Time spent by all writes.", "device")
DISK_IO_SECONDS_TOTAL = counter(
    "disk_io_seconds_total", "Time in which the device had work; its rate is %util of iostat.", "device"
)
FILESYSTEM_SIZE_BYTES = gauge("filesystem_size_bytes", "Size of the file system.", "mountpoint", "fstype")
FILESYSTEM_AVAILABLE_BYTES = gauge(
    "filesystem_available_bytes", "Space left for ordinary users.", "mountpoint", "fstype"
)
NETWORK_RECEIVE_BYTES_TOTAL = counter("network_receive_bytes_total", "Bytes received.", "device")
NETWORK_TRANSMIT_BYTES_TOTAL = counter("network_transmit_bytes_total", "Bytes sent.", "device")
NETWORK_RECEIVE_ERRORS_TOTAL = counter("network_receive_errors_total", "Errors while receiving.", "device")
NETWORK_TRANSMIT_ERRORS_TOTAL = counter("network_transmit_errors_total", "Errors while sending.", "device")
PRESSURE_SECONDS_TOTAL = counter(
    "pressure_seconds_total",
    "Time in which some or all (full) tasks of the node waited for the resource.",
    "resource",
    "kind",
)
