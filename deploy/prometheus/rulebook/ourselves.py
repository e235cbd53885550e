"""Can the figures be trusted, and does measuring cost what it should?"""

from __future__ import annotations

from yoloscope_exporter import catalog as c
from yoloscope_exporter.measures.formula import TARGET

from .model import (
    AT_ONCE,
    CRITICAL,
    OF_NODE,
    OF_RANK,
    SLOW,
    STAY_VISIBLE,
    WARNING,
    Alert,
    increase,
    rate,
    series,
)
from .records import EXPORTERS

#: Targets that have answered as an exporter, whatever their job is called, and are scraped still.
_KNOWN = f"up and on ({', '.join(TARGET)}) last_over_time({EXPORTERS}[1d])"
_SIBLINGS = ", ".join(label for label in TARGET if label != "instance")


def _with_port(of: str) -> str:
    return f'label_replace({of}, "port", "$1", "instance", ".*:(.*)")'


_WITH_PORT = _with_port('up{instance=~".+:[0-9]+"}')
#: Targets at the port of exporters of the same job that answered: ones that never did. A job may hold other programs.
_LIKELY = f"max by ({', '.join(TARGET)}) ({_WITH_PORT} and on ({_SIBLINGS}, port) {_with_port(str(EXPORTERS))})"

EXPORTER_DOWN = Alert(
    name="ExporterDown",
    expr=f"({_KNOWN}\nor {_LIKELY}) == 0",
    labels=OF_NODE,
    severity=WARNING,
    hold="5m",
    why_hold="a restart or an upgrade takes a minute",
    dashboard="yoloscope-fleet",
    every=SLOW,
    summary="exporter does not answer (up = {{ $value }})",
    what="Prometheus has not been able to read the node's exporter for five minutes (up = {{ $value }}): nothing on "
    "this node is noticed. Runs continue and lose no counts.",
    fix="systemctl restart yoloscope, or look at its pod; if the whole node is gone, so are its runs: resume=True "
    "elsewhere.",
    meaning="Scrapes fail of a target that once answered as yoloscope, or of one at the same port of the same job: the "
    "exporter, the node or the network between them. It ends when the target is no longer scraped.",
    verify="`curl -s NODE:9911/-/ready`; `journalctl -u yoloscope -n 50`.",
    silence="The node is being maintained.",
)

EXPORTERS_ABSENT = Alert(
    name="ExportersAbsent",
    expr=f"absent({series(c.BUILD_INFO)})\nunless on () ({_KNOWN})",
    labels=(),
    severity=CRITICAL,
    hold="15m",
    why_hold="discovery may be reloading",
    dashboard="yoloscope-fleet",
    every=SLOW,
    summary="Prometheus scrapes no yoloscope exporter at all",
    what="Nothing that Prometheus scrapes answers as yoloscope (absent = {{ $value }}): every other alert is silent "
    "for that reason.",
    fix="Check the files in targets/ (exporter*.yml), the PodMonitor's labels, the port and the path.",
    meaning="No target publishes yoloscope_build_info, and none that ever did is scraped still, whatever the job is "
    "called. One that is scraped and does not answer is ExporterDown.",
    verify="Prometheus, Status, Targets.",
    silence="There is no cluster yet.",
)

COLLECTOR_FAILING = Alert(
    name="CollectorFailing",
    expr=(f"{series(c.COLLECTOR_UP)} == 0\nand {series(c.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS)} > 0"),
    labels=OF_NODE,
    severity=WARNING,
    hold="10m",
    why_hold="a driver is reloaded, a mount comes back",
    dashboard="yoloscope-node",
    summary="collector {{ $labels.collector }} fails (up = {{ $value }})",
    what="The collector {{ $labels.collector }} worked and has failed for ten minutes (up = {{ $value }}); what it "
    "measures is absent from dashboards and alerts. For gpu: the driver does not answer.",
    fix="See the exporter's log, which names the error once (journalctl -u yoloscope). gpu: nvidia-smi must work for "
    "the exporter's user. A source that is not wanted: --no-collector.{{ $labels.collector }}.",
    meaning="A collector whose source never existed here (no GPU) does not alert.",
    verify="`curl -s NODE:9911/metrics | grep collector_`.",
    silence="The driver is being replaced.",
)

SNAPSHOT_STALE = Alert(
    name="SnapshotStale",
    expr=f"time() - {series(c.SNAPSHOT_TIMESTAMP_SECONDS)} > @snapshot_age@",
    labels=OF_NODE,
    severity=WARNING,
    hold="5m",
    why_hold="a node that was suspended catches up",
    dashboard="yoloscope-node",
    summary="figures are {{ $value | humanizeDuration }} old",
    what="What the exporter serves was gathered {{ $value | humanizeDuration }} ago, or the node's clock is off by "
    "that much; every other figure of this node is as old.",
    fix="Restart the exporter (systemctl restart yoloscope); check the clock (chronyc tracking).",
    meaning="The time written into the exposition, against Prometheus's own clock.",
    verify="`curl -s NODE:9911/metrics | grep snapshot_timestamp`; `date +%s`.",
    silence="The clock is being set.",
)

HOOKS_FAILING = Alert(
    name="HooksFailing",
    expr=f"{increase(c.TRAIN_HOOK_ERRORS_TOTAL, '15m')} > 0",
    labels=OF_RANK,
    severity=WARNING,
    hold="0m",
    why_hold=AT_ONCE,
    keep="30m",
    why_keep=STAY_VISIBLE,
    dashboard="yoloscope-run",
    summary="yoloscope's hooks caught errors of their own",
    what="About {{ $value | humanize }} errors were caught inside yoloscope's callbacks. The training is not affected; "
    "the part that fails turns itself off, and its figures end.",
    fix="Send us the one warning in the trainer's output, with the version of Ultralytics. YOLOSCOPE=off trains "
    "without hooks.",
    meaning="A hook never raises into the trainer; what it catches is counted here.",
    verify="grep for yoloscope in the trainer's output.",
    silence="Until the next release.",
)

HOOKS_EXPENSIVE = Alert(
    name="HooksExpensive",
    expr=f"{rate(c.TRAIN_HOOK_SECONDS_TOTAL, '15m')} > @hook_share@",
    labels=OF_RANK,
    severity=WARNING,
    hold="15m",
    why_hold="a suspended node distorts one measurement",
    dashboard="yoloscope-run",
    summary="yoloscope's hooks take {{ $value | humanizePercentage }} of the training's time",
    what="The callbacks take {{ $value | humanizePercentage }} of wall time, where a thousandth is meant.",
    fix="Steps far below a millisecond, or a CPU without time: OMP_NUM_THREADS=1, fewer workers. YOLOSCOPE=off trains "
    "without hooks.",
    meaning="Seconds spent inside the hooks per second, as they measure themselves.",
    verify="'Cost of the hooks' on the dashboard Node.",
    silence="The cost is acceptable.",
)


def _grown(reason: str, least: int) -> str:
    """Where more was refused in 15 minutes; also where that is counted for the first time."""
    now = series(c.RECORDS_REFUSED_TOTAL, reason=reason)
    return f"({now} - {now} offset 15m or {now} unless {now} offset 15m) > {least}"


RECORDS_REFUSED = Alert(
    name="RecordsRefused",
    # Refused for a moment is no news; for want of time it happens to a node without a free CPU, now and then.
    expr=f"{_grown('!~busy|missing|time', 0)}\nor {_grown('time', 100)}",
    labels=OF_NODE,
    severity=WARNING,
    hold="1m",
    why_hold="a file may be replaced meanwhile",
    dashboard="yoloscope-node",
    summary="records of {{ $labels.user }} are refused: {{ $labels.reason }}",
    what="Of {{ $labels.user }}'s records {{ $value }} were refused in 15 minutes ({{ $labels.reason }}): what is in "
    "them is not shown. Other users' trainings are.",
    fix="The exporter's log names files and reasons (journalctl -u yoloscope). unreadable: the training's umask, chmod "
    "755 of the directory. owner: somebody has made a directory of another user's name: remove it. runs, files, "
    "series, time: more than one user may have; see who it is, and what for. Anything else: the files are no records "
    "of this version, or somebody tries what they can do.",
    meaning="Reads, records and directories that were refused, by reason and by whose they are (docs/scale.md, "
    "SECURITY.md).",
    verify="`curl -s NODE:9911/metrics | grep records_refused`; `yoloscope check` on the node.",
    silence="The user knows, and needs no figures.",
)

ALERTS = (
    EXPORTER_DOWN,
    EXPORTERS_ABSENT,
    COLLECTOR_FAILING,
    SNAPSHOT_STALE,
    RECORDS_REFUSED,
    HOOKS_FAILING,
    HOOKS_EXPENSIVE,
)
