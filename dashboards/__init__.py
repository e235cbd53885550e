"""The Grafana dashboards, as code: `python -m dashboards` writes `generated/`, `python -m dashboards --check` compares.

Metric names come from `yoloscope_exporter.catalog` and, for recorded series, from `deploy.prometheus.rulebook.records`;
they are written nowhere else. A dashboard is one file in `views/`; its Chinese twin is made from `translation.py`.
"""
