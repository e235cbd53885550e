"""What a bundle says to people: its README.md, with what is in it and what to type next, and heads of files."""

from __future__ import annotations

from yoloscope_exporter import SOURCE
from yoloscope_exporter.language import say_page, speaking

README = """\
# yoloscope {version} for this site

Written by `yoloscope bundle`; `bundle.json` remembers the options. `yoloscope bundle --check .` says what a newer yoloscope
would write differently, and what was edited here.

| folder | what it is | what to do with it |
|---|---|---|
| `prometheus` | configuration, recording rules, alerts, targets | into a Prometheus that is there: `scrape-job.yml` into its `scrape_configs`, both files of `rules` into its `rule_files`. For a new one: `prometheus --config.file=prometheus/prometheus.yml` |
| `alertmanager` | routes, inhibitions, receivers | `alertmanager --config.file=alertmanager/alertmanager.yml` |
| `grafana` | dashboards, data source | import `dashboards/{language}/*.json` by hand, or copy `dashboards` to `/var/lib/yoloscope/` and `provisioning` to `/etc/grafana/`. The data source's interval must be the scrape interval |
| `compose` | all of them with an exporter, in Docker | `sh compose/up` |
| `systemd` | exporter and `yoloscope notify` as services | the head of each file says how to install it |
| `slurm` | prolog and epilog | {source}/blob/main/docs/deploy.md#slurm |
| `helm` | the chart | `helm upgrade --install {job} helm/yoloscope --values helm/site-values.yaml` with your image |
| `dcgm` | rules and scrape job for nodes whose GPUs a dcgm-exporter reports | {source}/blob/main/docs/scale.md |

`compose/.env` and `systemd/yoloscope-notify.env` hold the addresses that alerts are sent to: nobody else may read them.
"""

#: How the scrape job begins.
SCRAPE_JOB = """\
# For the scrape_configs of your prometheus.yml; its rule_files also need rules/alerts.yml and
# rules/recording.yml, and Grafana's data source the timeInterval of this scrape_interval.
# Exporters with TLS and a password need scheme, tls_config and basic_auth here, too.
"""


def readme(language: str, *, job: str, version: str) -> str:
    """The page in `language`."""
    with speaking(language):
        return say_page(README, version=version, language=language, job=job, source=SOURCE)


def scrape_job(language: str) -> str:
    """The comment above the scrape job in `language`."""
    with speaking(language):
        return say_page(SCRAPE_JOB)
