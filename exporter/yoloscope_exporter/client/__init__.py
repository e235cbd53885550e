"""HTTP clients of an exporter and of a Prometheus, for the commands."""
