"""Files for Prometheus, Alertmanager, Grafana, Compose, systemd, Slurm and Helm, made ready for one site."""
