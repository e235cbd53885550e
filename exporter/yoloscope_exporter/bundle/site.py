"""The deployment files for one site: the shipped ones with its addresses, job, language and scrape interval. Pure.

Every change of a text says what it expects to find there: a shipped file that has changed fails here and in the tests,
and is never written half adapted.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from yoloscope_exporter.bundle import readme

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the shipped files say; `Site` begins with the same.
SHIPPED_GRAFANA = "http://localhost:3000"
#: A scrape may take this share of the interval, and no longer than 10 s.
TIMEOUT_SHARE, LONGEST_TIMEOUT = 0.8, 10.0
#: Who may read the addresses that alerts are sent to: they hold secrets.
SECRET = ("compose/.env", "systemd/yoloscope-notify.env")
#: In the Dockerfile, for the address of the source.
_ARCHIVE = "{archive}"
_FOLDERS = ("alertmanager", "compose", "dcgm", "grafana", "helm", "prometheus", "slurm", "systemd")
#: Renamed in what people read: the bundle has no folder `deploy`.
_IN_DEPLOY = re.compile(rf"(?<![\w/])deploy/(?=(?:{'|'.join(_FOLDERS)})\b)")


class OutdatedError(Exception):
    """A shipped file is not what this module expects."""


@dataclass(frozen=True, slots=True)
class Site:
    """What differs from one site to the next.

    Attributes:
        grafana_url: base address of Grafana, to which alerts lead.
        job: name of Prometheus' scrape job.
        language: of dashboards, messages and the bundle's README, one of `en` and `zh-CN`.
        targets: exporters, each `host:port`.
        scrape_interval: seconds between two scrapes.
        notify: addresses that alerts are sent to, as docs/notify.md writes them.
    """

    grafana_url: str = SHIPPED_GRAFANA
    job: str = "yoloscope"
    language: str = "en"
    targets: tuple[str, ...] = ("127.0.0.1:9911",)
    scrape_interval: float = 5.0
    notify: tuple[str, ...] = ()


def files(shipped: Mapping[str, str], site: Site, version: str, archive: str) -> dict[str, str]:
    """Path in the bundle -> text.

    Args:
        shipped: path in the repository -> text.
        site: what differs from one site to the next.
        version: of yoloscope.
        archive: address of its source, from which the image is built.

    Raises:
        OutdatedError: the shipped files do not fit this module.
    """
    made = {_place(path): text for path, text in shipped.items() if _is_for(path, site.language)}
    made |= _helm(shipped, site)
    for path, change in _CHANGES.items():
        if path not in made:
            raise OutdatedError(f"{path} is missing among the shipped files")
        made[path] = change(made[path], site)
    made["compose/Dockerfile"] = _swap(made["compose/Dockerfile"], _ARCHIVE, archive)
    made["prometheus/scrape-job.yml"] = _scrape_job(made["prometheus/prometheus.yml"], site)
    told = {path: text if path.endswith(".json") else _renamed(text) for path, text in made.items()}
    told["README.md"] = readme.readme(site.language, job=site.job, version=version)
    return dict(sorted(told.items()))


def _renamed(text: str) -> str:
    """The text with paths of the bundle for those of the repository."""
    return _IN_DEPLOY.sub("", text.replace("deploy/docker/exporter.Dockerfile", "compose/Dockerfile"))


def _is_for(path: str, language: str) -> bool:
    """Dashboards come in one language; Helm's values choose theirs, so its chart has all."""
    return not path.startswith("dashboards/generated/") or path.split("/")[2] == language


def _place(path: str) -> str:
    """Where a shipped file goes."""
    moved = {
        "deploy/docker/exporter.Dockerfile": "compose/Dockerfile",
        "deploy/docker/constraints.txt": "compose/constraints.txt",
    }
    if path.startswith("dashboards/generated/"):
        return f"grafana/dashboards/{path.removeprefix('dashboards/generated/')}"
    return moved.get(path, path.removeprefix("deploy/"))


def _helm(shipped: Mapping[str, str], site: Site) -> dict[str, str]:
    """The chart's own copies of rules and dashboards, which are links in the repository, and this site's values."""
    chart = "helm/yoloscope/files/"
    copies = {
        chart + path.replace("dashboards/generated/", "dashboards/").replace("deploy/prometheus/rules/", "rules/"): text
        for path, text in shipped.items()
        if path.startswith(("dashboards/generated/", "deploy/prometheus/rules/"))
    }
    values = {
        "grafana_url": site.grafana_url,
        "monitor": {"interval": seconds(site.scrape_interval), "scrapeTimeout": _timeout(site)},
        "dashboards": {"languages": [site.language]},
        "notify": {"language": site.language},
    }
    head = "# For `helm upgrade --install`, with your image: --set image.repository=...\n"
    return {**copies, "helm/site-values.yaml": head + yaml.safe_dump(values, sort_keys=False)}


def _swap(text: str, old: str, new: str) -> str:
    """`text` with `new` for every `old`, of which there must be one."""
    if old not in text:
        raise OutdatedError(f"{old!r} is not in the shipped file any more")
    return text.replace(old, new)


def seconds(value: float) -> str:
    """A duration as Prometheus writes it."""
    return f"{value:g}s" if value == int(value) else f"{round(value * 1000)}ms"


def _timeout(site: Site) -> str:
    return seconds(min(site.scrape_interval * TIMEOUT_SHARE, LONGEST_TIMEOUT))


def _prometheus(text: str, site: Site) -> str:
    text = _swap(text, "  scrape_interval: 5s\n", f"  scrape_interval: {seconds(site.scrape_interval)}\n")
    text = _swap(text, "  scrape_timeout: 4s\n", f"  scrape_timeout: {_timeout(site)}\n")
    return _swap(text, "job_name: yoloscope\n", f"job_name: {site.job}\n")


def _scrape_job(prometheus: str, site: Site) -> str:
    """The job alone, with its targets written out, for the configuration of a Prometheus that is there."""
    (job,) = yaml.safe_load(prometheus)["scrape_configs"]
    job = {key: value for key, value in job.items() if key != "file_sd_configs"}
    pace = {"scrape_interval": seconds(site.scrape_interval), "scrape_timeout": _timeout(site)}
    name = {"job_name": job.pop("job_name")}
    content = [{**name, **pace, **job, "static_configs": [{"targets": list(site.targets)}]}]
    return readme.scrape_job(site.language) + yaml.safe_dump(content, sort_keys=False)


def _targets(text: str, site: Site) -> str:
    listed = "".join(f'    - "{target}"\n' for target in site.targets)  # an IPv6 address would be a list
    return _swap(text, "    - 127.0.0.1:9911\n", listed)


def _compose_targets(text: str, site: Site) -> str:
    """Beside the exporter of this machine the others: in a container 127.0.0.1 is the container."""
    others = [target for target in site.targets if not re.match(r"(127\.|localhost:|\[::1\])", target)]
    listed = "".join(f', "{target}"' for target in others)
    return _swap(text, '["exporter:9911"]', f'["exporter:9911"{listed}]')


def _alerts(text: str, site: Site) -> str:
    text = _swap(text, f"{SHIPPED_GRAFANA}/d/", f"{site.grafana_url}/d/")
    return (
        text if site.language == "en" else re.sub(r"/d/(yoloscope-\w+)(?=\?|$)", r"/d/\1-zh", text, flags=re.MULTILINE)
    )


def _source(text: str, site: Site) -> str:
    return _swap(text, "timeInterval: 5s", f"timeInterval: {seconds(site.scrape_interval)}")


def _providers(text: str, site: Site) -> str:
    """Those of the language; the file's head stays."""
    head, _, listed = text.partition("providers:\n")
    chosen = [one for one in listed.split("  - name: ") if one.rstrip().endswith(f"/{site.language}")]
    if len(chosen) != 1:
        raise OutdatedError(f"there is no provider of dashboards in {site.language}")
    head = _swap(
        head, "The dashboards in dashboards/generated, mounted", "The dashboards in grafana/dashboards, mounted"
    )
    head = _swap(head, "change its Python and run `python -m dashboards`, or save", "save")
    return f"{head}providers:\n  - name: {chosen[0]}"


def _compose(text: str, site: Site) -> str:
    text = _swap(text, "    context: ../..\n    dockerfile: deploy/docker/exporter.Dockerfile\n", "    context: .\n")
    text = _swap(text, "../../dashboards/generated", "../grafana/dashboards")
    text = _swap(text, f"GF_SERVER_ROOT_URL: {SHIPPED_GRAFANA}\n", f"GF_SERVER_ROOT_URL: {site.grafana_url}\n")
    return _swap(text, "/var/lib/yoloscope/dashboards/en/", f"/var/lib/yoloscope/dashboards/{site.language}/")


def _dockerfile(text: str, _: Site) -> str:
    """From the source's archive, because a bundle has no source."""
    text = _swap(
        text,
        "# The node exporter and the sender of alerts, without torch: build from the root of the repository,\n",
        "# The node exporter and the sender of alerts, without torch, from the source that wrote this bundle.\n"
        "# With another one: docker compose build --build-arg YOLOSCOPE=<address or file of an archive or a wheel>\n",
    )
    text = re.sub(r"(?m)^#   docker build .*\n", "", text)
    copied = (
        "COPY pyproject.toml README.md LICENSE deploy/docker/constraints.txt ./\n"
        "COPY exporter exporter\nCOPY trainer_hooks trainer_hooks\n"
    )
    text = _swap(text, copied, f"ARG YOLOSCOPE={_ARCHIVE}\nCOPY constraints.txt ./\n")
    return _swap(text, "'.[notify]'", '"yoloscope[notify] @ ${YOLOSCOPE}"')


def _environment(text: str, site: Site) -> str:
    text = _swap(text, "YOLOSCOPE_NOTIFY_TO=\n", f"YOLOSCOPE_NOTIFY_TO={_quoted(site)}\n")
    return _swap(text, "YOLOSCOPE_NOTIFY_LANGUAGE=en\n", f"YOLOSCOPE_NOTIFY_LANGUAGE={site.language}\n")


def _notify(text: str, site: Site) -> str:
    text = _swap(text, "#YOLOSCOPE_NOTIFY_LANGUAGE=zh-CN", f"YOLOSCOPE_NOTIFY_LANGUAGE={site.language}")
    if not site.notify:
        return text
    return re.sub(r"(?m)^#YOLOSCOPE_NOTIFY_TO=.*$", lambda _: f"YOLOSCOPE_NOTIFY_TO={_quoted(site)}", text)


def _quoted(site: Site) -> str:
    """As Compose and systemd read it; in both nothing within is replaced."""
    return f"'{' '.join(site.notify)}'" if site.notify else ""


def notify_of(text: str) -> tuple[str, ...]:
    """The addresses that are written in a bundle's systemd/yoloscope-notify.env."""
    found = re.search(r"(?m)^YOLOSCOPE_NOTIFY_TO=(.*)$", text)
    return tuple(" ".join(shlex.split(found[1])).split()) if found else ()


def _dcgm_rules(text: str, site: Site) -> str:
    return _swap(text, "{job: yoloscope}", f"{{job: {site.job}}}")


_CHANGES = {
    "compose/.env": _environment,
    "compose/Dockerfile": _dockerfile,
    "compose/compose.yaml": _compose,
    "compose/targets/exporter.yml": _compose_targets,
    "dcgm/rules.yml": _dcgm_rules,
    "grafana/provisioning/dashboards/yoloscope.yaml": _providers,
    "grafana/provisioning/datasources/yoloscope.yaml": _source,
    "prometheus/prometheus.yml": _prometheus,
    "prometheus/rules/alerts.yml": _alerts,
    "prometheus/targets/exporter.yml": _targets,
    "systemd/yoloscope-notify.env": _notify,
}
