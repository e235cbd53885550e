"""What a bundle says to people: its README.md, with what is in it and what to type next, and heads of files."""

from __future__ import annotations

from yoloscope_exporter import SOURCE

_ENGLISH = """\
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

_CHINESE = """\
# 本站点的 yoloscope {version}

由 `yoloscope bundle` 生成，所用选项记在 `bundle.json` 中。`yoloscope bundle --check .` 列出新版本 yoloscope 会写出的不同之处，以及在这里
手工改过的文件。

| 目录 | 内容 | 用法 |
|---|---|---|
| `prometheus` | 配置、记录规则、告警、抓取目标 | 接入已有的 Prometheus：把 `scrape-job.yml` 放进它的 `scrape_configs`，把 `rules` 的两个文件加入 `rule_files`。新建一个：`prometheus --config.file=prometheus/prometheus.yml` |
| `alertmanager` | 路由、抑制、接收者 | `alertmanager --config.file=alertmanager/alertmanager.yml` |
| `grafana` | 仪表盘、数据源 | 手工导入 `dashboards/{language}/*.json`，或者把 `dashboards` 复制到 `/var/lib/yoloscope/`，把 `provisioning` 复制到 `/etc/grafana/`。数据源的间隔必须等于抓取间隔 |
| `compose` | 用 Docker 启动以上全部和一个 exporter | `sh compose/up` |
| `systemd` | exporter 和 `yoloscope notify` 的系统服务 | 安装方法见各文件开头 |
| `slurm` | prolog 和 epilog | {source}/blob/main/docs/deploy.zh-CN.md#slurm |
| `helm` | chart | `helm upgrade --install {job} helm/yoloscope --values helm/site-values.yaml`，并指定你的镜像 |
| `dcgm` | GPU 由 dcgm-exporter 采集的节点所用的规则和抓取任务（job） | {source}/blob/main/docs/scale.zh-CN.md |

`compose/.env` 和 `systemd/yoloscope-notify.env` 含有告警的发送地址，其他人不可读取。
"""

#: How the scrape job begins, by language.
SCRAPE_JOB = {
    "en": "# For the scrape_configs of your prometheus.yml; its rule_files also need rules/alerts.yml and\n"
    "# rules/recording.yml, and Grafana's data source the timeInterval of this scrape_interval.\n"
    "# Exporters with TLS and a password need scheme, tls_config and basic_auth here, too.\n",
    "zh-CN": "# 放进你的 prometheus.yml 的 scrape_configs；rule_files 还需要 rules/alerts.yml 和 rules/recording.yml，\n"
    "# Grafana 数据源的 timeInterval 要等于这里的 scrape_interval。\n"
    "# exporter 使用 TLS 和密码时，这里还需要 scheme、tls_config 和 basic_auth。\n",
}


def text(language: str, *, job: str, version: str) -> str:
    """The page in `language`, one of `en` and `zh-CN`."""
    page = _CHINESE if language == "zh-CN" else _ENGLISH
    return page.format(version=version, language=language, job=job, source=SOURCE)
