"""Metrics about the exporter itself."""

from yoloscope_record.metrics import counter, gauge, info

BUILD_INFO = info("build_info", "Version of the exporter and of the Python it runs on.", "version", "python")
COLLECTOR_UP = gauge("collector_up", "1 if the collector's last run succeeded, else 0.", "collector")
COLLECTOR_DURATION_SECONDS = gauge("collector_duration_seconds", "Duration of the collector's last run.", "collector")
COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS = gauge(
    "collector_last_success_timestamp_seconds", "Unix time of the collector's last success.", "collector"
)
SAMPLES_REJECTED_TOTAL = counter(
    "samples_rejected_total",
    "Values or whole records refused because they could not be true or safe, by reason.",
    "collector",
    "reason",
)
RECORDS_REFUSED_TOTAL = counter(
    "records_refused_total",
    "Records of trainings, their directories, or reads of them that were refused: by reason, and by whose they are.",
    "reason",
    "user",
)
SNAPSHOT_TIMESTAMP_SECONDS = gauge(
    "snapshot_timestamp_seconds", "Unix time at which the values in this exposition were gathered."
)
