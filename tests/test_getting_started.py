"""docs/getting-started: in both languages the same, and every block is run, parsed or checked by the tool it is for."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import bcrypt
import click
import pytest
import trustme
import yaml
from yoloscope_exporter import ADDRESS, SOURCE, __version__
from yoloscope_exporter.bundle import shipped
from yoloscope_exporter.bundle.site import Site, files
from yoloscope_exporter.catalog import BY_NAME
from yoloscope_exporter.cli import COMMANDS, main
from yoloscope_exporter.config import SETTINGS
from yoloscope_exporter.diagnosis import causes, rules
from yoloscope_exporter.web import config as web_config
from yoloscope_hooks.leftovers import KEEP_RUNS
from yoloscope_record.file_format import Identity
from yoloscope_record.writer import Writer

from tests.benchmarks.bench_scale import budget
from tests.conftest import require_binary

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs/getting-started"
NAMES = sorted(path.name for path in PAGES.glob("*.md") if not path.name.endswith(".zh-CN.md"))
SBATCH = ROOT / "deploy/slurm/training.sbatch"


def _text(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def _chinese(name: str) -> str:
    return name.replace(".md", ".zh-CN.md")


def _blocks(name: str, language: str = "") -> list[tuple[str, str]]:
    """Language and content of every block."""
    found = re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", _text(name))
    return [(kind, block) for kind, block in found if language in {"", kind}]


def _console(name: str) -> str:
    """What is typed; an exclamation mark is a notebook's."""
    return re.sub(r"(?m)^!", "", "".join(block for _, block in _blocks(name, "console")))


@pytest.mark.parametrize("name", NAMES)
def test_both_languages_have_the_same_blocks_tables_and_sections(name: str) -> None:
    """A command that changes in one language changes in the other."""
    english, chinese = _text(name), _text(_chinese(name))
    assert _blocks(name) == _blocks(_chinese(name))
    assert [line.count("|") for line in english.splitlines() if line.startswith("|")] == [
        line.count("|") for line in chinese.splitlines() if line.startswith("|")
    ]
    assert english.count("\n#") == chinese.count("\n#")


def test_every_kind_of_block_is_known() -> None:
    """A new kind needs a test of its own."""
    assert {kind for name in NAMES for kind, _ in _blocks(name)} == {"console", "python", "yaml", "ini"}


@pytest.mark.parametrize("name", NAMES)
def test_commands_are_shell(name: str) -> None:
    """Bash parses every block."""
    subprocess.run(["bash", "-n"], input=_console(name), text=True, check=True)


def _calls(text: str) -> list[list[str]]:
    """Every call of yoloscope in a text, wherever in a line and by whichever path, up to the shell's next word."""
    lines = text.replace("\\\n", " ").splitlines()
    found = [match for line in lines for match in re.findall(r"(?:^|[\s/])yoloscope\"? ((?!--index)[a-z].*)", line)]
    words = [shlex.split(part, comments=True) for part in found]
    ends = {"|", ">", "&", "&&", ";"}
    return [line[: next((i for i, word in enumerate(line) if word in ends), len(line))] for line in words]


@pytest.mark.parametrize("name", NAMES)
def test_options_of_commands_are_known(name: str) -> None:
    """Click takes every call, but for files and addresses that are not there."""
    for words in _calls(_console(name)):
        if words[0] not in COMMANDS:
            continue
        command = main.get_command(click.Context(main), words[0])
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        own = words[1 : words.index("--")] if "--" in words else words[1:]
        assert {word.partition("=")[0] for word in own if word.startswith("--")} <= known, words


def test_there_are_calls_to_look_at() -> None:
    """The pattern sees those with a path, after another program, and in a notebook."""
    text = "~/y/bin/yoloscope check\nnohup yoloscope record a --interval 3s > b &\n" + re.sub(
        "^!", "", "!yoloscope report"
    )
    assert _calls(text) == [["check"], ["record", "a", "--interval", "3s"], ["report"]]
    assert sum(len(_calls(_console(name))) for name in NAMES) > 15


@pytest.mark.parametrize("name", NAMES)
def test_files_in_commands_are_there(name: str) -> None:
    """Those of the repository, and those that a bundle has."""
    bundle = files(shipped.read(), Site(), __version__, SOURCE)
    for word in shlex.split(_console(name), comments=True):
        if word.startswith("deploy/"):
            assert (ROOT / word).exists(), word
        if word.startswith("site/"):
            inside = word.removeprefix("site/")
            assert any(path == inside or path.startswith(f"{inside}/") for path in bundle), word


@pytest.mark.parametrize("name", NAMES)
def test_python_is_python(name: str) -> None:
    """It compiles, and names of ours are there."""
    for _, block in _blocks(name, "python"):
        tree = ast.parse(block)
        called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _of_hooks(node)}
        assert called <= {"attach", "enable"}


def _of_hooks(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id == "yoloscope_hooks"


def _yaml(start: str) -> Any:
    (block,) = [block for _, block in _blocks("monitoring.md", "yaml") if block.startswith(start)]
    return yaml.safe_load(block)


def test_the_scrape_job_is_that_of_a_bundle() -> None:
    """Word for word what `yoloscope bundle` writes without options."""
    assert _yaml("- job_name") == yaml.safe_load(
        files(shipped.read(), Site(), __version__, SOURCE)["prometheus/scrape-job.yml"]
    )


def test_the_job_takes_tls_and_the_user_of_the_exporter(tmp_path: Path) -> None:
    """Promtool accepts the keys beside those of the job; the user is the one that the exporter is told of."""
    secured = _yaml("scheme: https")
    assert [secured["basic_auth"]["username"]] == [*_yaml("tls_server_config")["basic_auth_users"]]
    for part, key in (("tls_config", "ca_file"), ("basic_auth", "password_file")):
        file = tmp_path / key
        file.write_text("x", encoding="utf-8")
        secured[part][key] = str(file)
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump({"scrape_configs": [{**_yaml("- job_name")[0], **secured}]}), encoding="utf-8")
    subprocess.run([require_binary("promtool"), "check", "config", path], check=True, capture_output=True)


def test_an_alertmanager_takes_the_route(tmp_path: Path) -> None:
    """In front of its own: every category that there is, and nothing else, goes to the receiver that it names."""
    (route,) = _yaml("- matchers")
    shipped_alerts = (ROOT / "deploy/prometheus/rules/alerts.yml").read_text(encoding="utf-8")
    (matcher,) = route["matchers"]
    assert set(re.findall(r"\w+", matcher.partition("=~")[2])) == set(re.findall(r"category: (\w+)", shipped_alerts))
    receivers = [{"name": name} for name in ("own", "notify", "nobody")]
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump({"route": {"receiver": "own", "routes": [route]}, "receivers": receivers}), "utf-8")
    amtool = require_binary("amtool")
    subprocess.run([amtool, "check-config", path], check=True, capture_output=True)
    for labels, receiver in (
        (("category=data", "severity=warning", "run=x"), "notify"),
        (("category=host", "severity=info"), "nobody"),
        (("alertname=Other", "severity=critical"), "own"),
    ):
        asked = [amtool, "config", "routes", "test", f"--config.file={path}", *labels]
        done = subprocess.run(asked, check=True, capture_output=True, text=True)
        assert done.stdout.split() == [receiver]


def test_what_is_dropped_exists(tmp_path: Path) -> None:
    """Promtool accepts it; the series and labels are those of the catalogue."""
    relabel = _yaml("metric_relabel_configs")
    content = {"scrape_configs": [{"job_name": "x", **relabel}]}
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    subprocess.run([require_binary("promtool"), "check", "config", path], check=True, capture_output=True)
    series, labels = (rule["regex"] for rule in relabel["metric_relabel_configs"])
    assert len([name for name in BY_NAME if re.fullmatch(series, name)]) == 6
    assert set(labels.split("|")) <= {label for metric in BY_NAME.values() for label in metric.labels}


def test_every_metric_that_is_named_exists() -> None:
    """In tables and text, with `*` for several."""
    for name in (*NAMES, *map(_chinese, NAMES)):
        for word in re.findall(r"`(yoloscope_(?:train|gpu|memory|node|cpu)_\w+\*?)`", _text(name)):
            assert any(metric.startswith(word.rstrip("*")) for metric in BY_NAME), word


def test_the_service_takes_its_credentials(tmp_path: Path) -> None:
    """The unit verifies the unit with these lines, and they set what the exporter has as settings."""
    ((_, drop_in),) = _blocks("monitoring.md", "ini")
    unit = tmp_path / "yoloscope.service"
    text = (ROOT / "deploy/systemd/yoloscope.service").read_text(encoding="utf-8")
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text), encoding="utf-8")
    (tmp_path / "yoloscope.service.d").mkdir()
    (tmp_path / "yoloscope.service.d/override.conf").write_text(drop_in, encoding="utf-8")
    done = subprocess.run(
        [require_binary("systemd-analyze"), "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "override.conf" not in done.stderr
    variables = set(re.findall(r"(?m)^Environment=(\w+)=", drop_in))
    assert variables <= {setting.envvar for setting in SETTINGS}
    named = set(re.findall(r"(?m)^LoadCredential=([\w.]+):", drop_in))
    web = _yaml("tls_server_config")
    assert named == {"web.yml", *web["tls_server_config"].values()}
    authority = trustme.CA()
    certificate = authority.issue_cert("node1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "exporter.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "exporter.key")
    web["basic_auth_users"]["prometheus"] = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(yaml.safe_dump(web), encoding="utf-8")
    loaded = web_config.load(tmp_path / "web.yml")
    assert loaded.tls is not None
    assert set(loaded.users) == {"prometheus"}


def test_the_table_of_verdicts_is_whole() -> None:
    """Each verdict that is a finding is found by a symptom, and nothing else is called one."""
    text = _text("faq.md").partition("## Symptom")[2].partition("## Which")[0]
    rows = re.findall(r"(?m)^\| [^|]+ \| ([^|]+) \|", text)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named <= rules.BY_NAME.keys()
    said_elsewhere = {*rules.HEALTHY, "insufficient_data"}  # neither is a trouble
    small = {
        "amp_off",
        "low_mfu",
        "plateau",
        "imbalanced_memory",
        "preprocess_bound",
        "cpu_oversubscribed",
        "failed",
    }  # rare, notes
    assert rules.BY_NAME.keys() - named == said_elsewhere | small


def test_practices_name_what_there_is() -> None:
    """Verdicts, causes, alerts and commands; arguments of articles aside; in both languages the same."""
    code = {name: set(re.findall(r"`([^`]+)`", _text(name))) for name in ("practices.md", "practices.zh-CN.md")}
    assert code["practices.md"] == code["practices.zh-CN.md"]
    words = code["practices.md"]
    of_articles = {"pin_memory", "persistent_workers", "master_port"}
    told = {word for word in words if re.fullmatch(r"(?!yoloscope_)[a-z]+(?:_[a-z]+)+", word)} - of_articles
    assert told <= rules.BY_NAME.keys() | causes.BY_NAME.keys()
    assert len(told) > 10
    alerts = (ROOT / "deploy/prometheus/rules/alerts.yml").read_text(encoding="utf-8")
    named = {word for word in words if re.fullmatch(r"(?:[A-Z][a-z]+){2,}", word)}
    assert named <= set(re.findall(r"- alert: (\w+)", alerts))
    assert {word.split()[1] for word in words if word.startswith("yoloscope ")} <= set(COMMANDS)


@pytest.mark.train
def test_arguments_of_ultralytics_are_its_own() -> None:
    """What the table says to write is in its defaults; what articles say and it refuses is not."""
    ultralytics = pytest.importorskip("ultralytics", reason="needs the extra train: make test installs it")
    path = Path(ultralytics.__file__).parent / "cfg/default.yaml"
    known = set(yaml.safe_load(path.read_text(encoding="utf-8")))
    rows = re.findall(r"(?m)^\|([^|]+)\|([^|]*)\|[^|]*\|$", _text("words.md").partition("Rules of thumb")[0])
    assert len(rows) > 20
    written = {name for _, right in rows for name in re.findall(r"`([a-z_]+)=", right)}
    assert written <= known
    refused = {"accumulate", "persistent_workers", "prefetch_factor", "pin_memory", "num_workers"}
    assert refused <= {name for left, _ in rows for name in re.findall(r"`([a-z_]+)=", left)}
    assert not refused & known


def test_the_job_for_slurm_asks_for_enough_cpus(tmp_path: Path) -> None:
    """Shellcheck finds nothing; ranks times workers fit; srun gets the CPUs and the command."""
    subprocess.run([require_binary("shellcheck"), SBATCH], check=True)
    text = SBATCH.read_text(encoding="utf-8")
    asked = dict(re.findall(r"(?m)^#SBATCH --([\w-]+)=(\S+)$", text))
    assert set(asked) == {"job-name", "nodes", "ntasks", "gres", "cpus-per-task", "mem", "time", "output"}
    srun = tmp_path / "srun"
    srun.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    srun.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": asked["cpus-per-task"]}
    done = subprocess.run(["bash", SBATCH], env=environ, capture_output=True, text=True, check=True)
    words = done.stdout.splitlines()
    assert words[0] == f"--cpus-per-task={asked['cpus-per-task']}"
    assert words[1:5] == ["yoloscope", "run", "--summary", "--"]
    arguments = dict(word.split("=") for word in words if "=" in word and not word.startswith("-"))
    ranks = len(arguments["device"].split(","))
    assert asked["gres"] == f"gpu:{ranks}"
    assert ranks * int(arguments["workers"]) + ranks <= int(asked["cpus-per-task"])


def test_pod_security_is_as_the_table_says() -> None:
    """The sidecar's pod asks for nothing that `restricted` forbids; the DaemonSet does."""
    job = yaml.safe_load((ROOT / "deploy/helm/examples/training-with-sidecar.yaml").read_text(encoding="utf-8"))
    pod = job["spec"]["template"]["spec"]
    assert _breaks_restricted(pod) == []
    daemons = yaml.safe_load_all((ROOT / "deploy/kustomize/base/daemonset.yaml").read_text(encoding="utf-8"))
    broken = [_breaks_restricted(one["spec"]["template"]["spec"]) for one in daemons if one["kind"] == "DaemonSet"]
    assert all("hostPID" in one and "hostPath" in one for one in broken)
    assert broken


def _breaks_restricted(pod: dict[str, Any]) -> list[str]:
    """Fields of a pod that Kubernetes' profile `restricted` forbids, of those that matter here."""
    found = [key for key in ("hostPID", "hostNetwork", "hostIPC") if pod.get(key)]
    found += ["hostPath" for volume in pod.get("volumes", ()) if "hostPath" in volume][:1]
    context = pod.get("securityContext", {})
    found += [] if context.get("runAsNonRoot") else ["runAsNonRoot"]
    found += [] if context.get("seccompProfile", {}).get("type") == "RuntimeDefault" else ["seccompProfile"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        own = container.get("securityContext", {})
        if own.get("privileged") or own.get("allowPrivilegeEscalation", True):
            found.append("allowPrivilegeEscalation")
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            found.append("capabilities")
    return found


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "deploy/prometheus/prometheus.yml"]


def test_numbers_agree() -> None:
    """Series of a node, and how many alerts there are: wherever a document names them."""
    scale = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    (series,) = re.findall(r"([\d,]+) with 8 GPUs, 8 ranks and 8 workers each", scale)
    node = int(series.replace(",", ""))
    assert node == pytest.approx(budget().node(8, 8, 8), rel=0.05)  # of the simulation, which has every metric
    assert series in (ROOT / "docs/scale.zh-CN.md").read_text(encoding="utf-8")
    about = f"{round(node, -2):,}"
    alerts = (ROOT / "deploy/prometheus/rules/alerts.yml").read_text(encoding="utf-8")
    counts = {str(alerts.count("- alert: ")), str(len(set(re.findall(r"- alert: (\w+)", alerts))))}
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        told = re.findall(r"([\d,]{4,}) (?:series|条序列)(?=.?.?\[scale|, so)", text)
        assert set(told) <= {series, about}, path
        assert set(re.findall(r"(?i)\b(\d+) (?:alerts|alert rules|rules in eight)", text)) <= counts, path


def test_costs_are_those_that_were_measured() -> None:
    """Memory and CPU of the exporter, time of the hooks: as docs/benchmarks.md has them, in both languages."""
    sections = re.split(r"(?m)^## ", (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8"))
    measured = {section.partition("\n")[0]: section for section in sections}
    (memory,) = re.findall(r"\| resident memory \| ([\d.]+ MB)", measured["Exporter"])
    (core,) = re.findall(r"\| CPU, of one core \| ([\d.]+) %", measured["Exporter"])
    (hooks,) = re.findall(r"\| yoloscope, all callbacks and wrappers \| ([\d.]+) us", measured["Hooks"])
    cards = "".join(section for heading, section in measured.items() if heading.startswith("On a real GPU, "))
    on_a_gpu = [float(us) / 1000 for us in re.findall(r"(?m)^\| `gpu_.*\| (\d+) us \|", cards)]
    least, most = f"{min(on_a_gpu):.2f}", f"{max(on_a_gpu):.2f} ms"
    for end in (".md", ".zh-CN.md"):
        sizes, questions = _text(f"monitoring{end}"), _text(f"faq{end}")
        assert memory in sizes
        assert f"{float(core):.1f} %" in sizes
        assert f"{float(hooks):.0f} µs" in questions
        assert re.search(rf"{re.escape(least)} (?:to|到) {re.escape(most)}", questions)


def test_a_record_is_as_large_as_the_documents_say(tmp_path: Path) -> None:
    """About half a megabyte, and the number of runs that are kept."""
    path = tmp_path / "run" / Identity("x").filename
    Writer(path, Identity("x")).close()
    assert 0.4e6 < path.stat().st_size < 0.6e6
    assert KEEP_RUNS == 50


def test_wandb_is_told_to_read_what_there_is() -> None:
    """The variables are JSON; each pattern has the endpoint's name in front and finds a metric."""
    variables = dict(re.findall(r"(?m)^export WANDB_X_STATS_OPEN_METRICS_(\w+)='(.*)'$", _console("trackers.md")))
    ((name, url),) = json.loads(variables["ENDPOINTS"]).items()
    assert url == f"http://{ADDRESS}/metrics"
    for pattern in json.loads(variables["FILTERS"]):
        assert any(re.fullmatch(pattern, f"{name}.{metric}") for metric in BY_NAME), pattern
