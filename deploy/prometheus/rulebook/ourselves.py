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
    Text,
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
    why_hold=("a restart or an upgrade takes a minute", "重启或升级需要一分钟"),
    dashboard="yoloscope-fleet",
    every=SLOW,
    en=Text(
        summary="exporter does not answer (up = {{ $value }})",
        what="Prometheus has not been able to read the node's exporter for five minutes (up = {{ $value }}): nothing "
        "on this node is noticed. Runs continue and lose no counts.",
        fix="systemctl restart yoloscope, or look at its pod; if the whole node is gone, so are its runs: "
        "resume=True elsewhere.",
        meaning="Scrapes fail of a target that once answered as yoloscope, or of one at the same port of the same job: "
        "the exporter, the node or the network between them. It ends when the target is no longer scraped.",
        verify="`curl -s NODE:9911/-/ready`; `journalctl -u yoloscope -n 50`.",
        silence="The node is being maintained.",
    ),
    zh=Text(
        summary="exporter 没有应答（up = {{ $value }}）",
        what=(
            "Prometheus 已有五分钟读不到该节点的 exporter（up = {{ $value }}）：节点上的问题不会被发现。训练照常进行，"
            "计数不会丢失。"
        ),
        fix="systemctl restart yoloscope，或查看其 pod；如果整个节点都没了，训练任务也没了："
        "在别处用 resume=True 继续。",
        meaning="曾以 yoloscope 应答过的目标，或同一 job 中端口相同的目标抓取失败：exporter、节点或两者之间的网络。"
        "目标不再被抓取时告警结束。",
        verify="`curl -s NODE:9911/-/ready`；`journalctl -u yoloscope -n 50`。",
        silence="节点正在维护。",
    ),
)

EXPORTERS_ABSENT = Alert(
    name="ExportersAbsent",
    expr=f"absent({series(c.BUILD_INFO)})\nunless on () ({_KNOWN})",
    labels=(),
    severity=CRITICAL,
    hold="15m",
    why_hold=("discovery may be reloading", "服务发现可能正在重新加载"),
    dashboard="yoloscope-fleet",
    every=SLOW,
    en=Text(
        summary="Prometheus scrapes no yoloscope exporter at all",
        what="Nothing that Prometheus scrapes answers as yoloscope (absent = {{ $value }}): every other alert is "
        "silent for that reason.",
        fix="Check the files in targets/ (exporter*.yml), the PodMonitor's labels, the port and the path.",
        meaning="No target publishes yoloscope_build_info, and none that ever did is scraped still, "
        "whatever the job is called. One that is scraped and does not answer is ExporterDown.",
        verify="Prometheus, Status, Targets.",
        silence="There is no cluster yet.",
    ),
    zh=Text(
        summary="Prometheus 没有抓取任何 yoloscope exporter",
        what="Prometheus 抓取的目标中没有 yoloscope exporter（absent = {{ $value }}）：其他所有告警因此都不会触发。",
        fix="检查 targets/ 中的文件（exporter*.yml）、PodMonitor 的标签、端口和路径。",
        meaning="没有目标提供 yoloscope_build_info，曾经提供过它的目标也都不再被抓取；与 job 名称无关。"
        "仍被抓取但没有应答的见 ExporterDown。",
        verify="Prometheus 的 Status、Targets 页面。",
        silence="集群还不存在。",
    ),
)

COLLECTOR_FAILING = Alert(
    name="CollectorFailing",
    expr=(f"{series(c.COLLECTOR_UP)} == 0\nand {series(c.COLLECTOR_LAST_SUCCESS_TIMESTAMP_SECONDS)} > 0"),
    labels=OF_NODE,
    severity=WARNING,
    hold="10m",
    why_hold=("a driver is reloaded, a mount comes back", "驱动重新加载、挂载恢复"),
    dashboard="yoloscope-node",
    en=Text(
        summary="collector {{ $labels.collector }} fails (up = {{ $value }})",
        what="The collector {{ $labels.collector }} worked and has failed for ten minutes (up = {{ $value }}); what it "
        "measures is absent from dashboards and alerts. For gpu: the driver does not answer.",
        fix="See the exporter's log, which names the error once (journalctl -u yoloscope). gpu: nvidia-smi must work "
        "for "
        "the exporter's user. A source that is not wanted: --no-collector.{{ $labels.collector }}.",
        meaning="A collector whose source never existed here (no GPU) does not alert.",
        verify="`curl -s NODE:9911/metrics | grep collector_`.",
        silence="The driver is being replaced.",
    ),
    zh=Text(
        summary="采集器 {{ $labels.collector }} 失败（up = {{ $value }}）",
        what=(
            "采集器 {{ $labels.collector }} 此前正常，现已失败十分钟（up = {{ $value }}）；仪表盘和告警中缺少它的数据。"
            "gpu："
            "驱动没有应答。"
        ),
        fix="查看 exporter 日志，其中说明了错误（journalctl -u yoloscope）。gpu：exporter 的用户必须能运行 nvidia-smi。"
        "不需要的来源：--no-collector.{{ $labels.collector }}。",
        meaning="本机从未有过该来源（没有 GPU）的采集器不会告警。",
        verify="`curl -s NODE:9911/metrics | grep collector_`。",
        silence="正在更换驱动。",
    ),
)

SNAPSHOT_STALE = Alert(
    name="SnapshotStale",
    expr=f"time() - {series(c.SNAPSHOT_TIMESTAMP_SECONDS)} > @snapshot_age@",
    labels=OF_NODE,
    severity=WARNING,
    hold="5m",
    why_hold=("a node that was suspended catches up", "被挂起的节点会跟上"),
    dashboard="yoloscope-node",
    en=Text(
        summary="figures are {{ $value | humanizeDuration }} old",
        what="What the exporter serves was gathered {{ $value | humanizeDuration }} ago, or the node's clock is off by "
        "that much; every other figure of this node is as old.",
        fix="Restart the exporter (systemctl restart yoloscope); check the clock (chronyc tracking).",
        meaning="The time written into the exposition, against Prometheus's own clock.",
        verify="`curl -s NODE:9911/metrics | grep snapshot_timestamp`; `date +%s`.",
        silence="The clock is being set.",
    ),
    zh=Text(
        summary="数据已过时 {{ $value | humanizeDuration }}",
        what=(
            "exporter 提供的数据采集于 {{ $value | humanizeDuration }} 前，或节点时钟偏差这么多；"
            "该节点的其他数据同样陈旧。"
        ),
        fix="重启 exporter（systemctl restart yoloscope）；检查时钟（chronyc tracking）。",
        meaning="写在输出中的时间，与 Prometheus 自己的时钟比较。",
        verify="`curl -s NODE:9911/metrics | grep snapshot_timestamp`；`date +%s`。",
        silence="正在校时。",
    ),
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
    en=Text(
        summary="yoloscope's hooks caught errors of their own",
        what="About {{ $value | humanize }} errors were caught inside yoloscope's callbacks. The training is not "
        "affected; the part that fails turns itself off, and its figures end.",
        fix="Send us the one warning in the trainer's output, with the version of Ultralytics. YOLOSCOPE=off trains "
        "without hooks.",
        meaning="A hook never raises into the trainer; what it catches is counted here.",
        verify="grep for yoloscope in the trainer's output.",
        silence="Until the next release.",
    ),
    zh=Text(
        summary="yoloscope 的 hooks 捕获到自身错误",
        what=(
            "yoloscope 的回调内约捕获 {{ $value | humanize }} 个错误。训练不受影响；出错的部分会自行关闭，"
            "相应数据停止更新。"
        ),
        fix="请把训练输出中的那一条警告和 Ultralytics 版本发给我们。YOLOSCOPE=off 可不带 hooks 训练。",
        meaning="hooks 绝不向训练抛出异常；捕获到的错误在此计数。",
        verify="在训练输出中查找 yoloscope。",
        silence="直到下一个版本。",
    ),
)

HOOKS_EXPENSIVE = Alert(
    name="HooksExpensive",
    expr=f"{rate(c.TRAIN_HOOK_SECONDS_TOTAL, '15m')} > @hook_share@",
    labels=OF_RANK,
    severity=WARNING,
    hold="15m",
    why_hold=("a suspended node distorts one measurement", "节点挂起会使一次测量失真"),
    dashboard="yoloscope-run",
    en=Text(
        summary="yoloscope's hooks take {{ $value | humanizePercentage }} of the training's time",
        what="The callbacks take {{ $value | humanizePercentage }} of wall time, where a thousandth is meant.",
        fix="Steps far below a millisecond, or a CPU without time: OMP_NUM_THREADS=1, fewer workers. YOLOSCOPE=off "
        "trains without hooks.",
        meaning="Seconds spent inside the hooks per second, as they measure themselves.",
        verify="'Cost of the hooks' on the dashboard Node.",
        silence="The cost is acceptable.",
    ),
    zh=Text(
        summary="yoloscope 的 hooks 占用 {{ $value | humanizePercentage }} 的训练时间",
        what="回调占用 {{ $value | humanizePercentage }} 的时间，而设计值是千分之一。",
        fix="单步远小于一毫秒，或 CPU 没有余量：OMP_NUM_THREADS=1，减少 workers。YOLOSCOPE=off 可不带 hooks 训练。",
        meaning="hooks 自己测得的每秒耗时。",
        verify="仪表盘“节点”的“hooks 的开销”。",
        silence="可以接受该开销。",
    ),
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
    why_hold=("a file may be replaced meanwhile", "期间文件可能被替换"),
    dashboard="yoloscope-node",
    en=Text(
        summary="records of {{ $labels.user }} are refused: {{ $labels.reason }}",
        what="Of {{ $labels.user }}'s records {{ $value }} were refused in 15 minutes ({{ $labels.reason }}): what is "
        "in them is not shown. Other users' trainings are.",
        fix="The exporter's log names files and reasons (journalctl -u yoloscope). unreadable: the training's umask, "
        "chmod 755 of the directory. owner: somebody has made a directory of another user's name: remove it. runs, "
        "files, series, time: more than one user may have; see who it is, and what for. Anything else: the files are "
        "no records of this version, or somebody tries what they can do.",
        meaning="Reads, records and directories that were refused, by reason and by whose they are (docs/scale.md, "
        "SECURITY.md).",
        verify="`curl -s NODE:9911/metrics | grep records_refused`; `yoloscope check` on the node.",
        silence="The user knows, and needs no figures.",
    ),
    zh=Text(
        summary="用户 {{ $labels.user }} 的记录被拒绝：{{ $labels.reason }}",
        what="15 分钟内拒绝了用户 {{ $labels.user }} 的 {{ $value }} 条记录（{{ $labels.reason }}）：其中的内容"
        "不会显示。其他用户的训练不受影响。",
        fix="exporter 日志中有文件名和原因（journalctl -u yoloscope）。unreadable：训练时的 umask，"
        "对目录执行 chmod 755。"
        "owner：有人用其他用户的名字建了目录，请删除。runs、files、series、time：超出单个用户的限额，请查明是谁、为何。"
        "其他原因：文件不是该版本的记录，或有人在试探。",
        meaning="被拒绝的读取、记录和目录，按原因和所有者计数（docs/scale.md、SECURITY.md）。",
        verify="`curl -s NODE:9911/metrics | grep records_refused`；在节点上运行 `yoloscope check`。",
        silence="该用户已知情，且不需要这些数据。",
    ),
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
