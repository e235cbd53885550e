"""How commands reach an exporter or a Prometheus."""
